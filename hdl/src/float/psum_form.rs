//! The partial-sum form, in which sums flow down the array's columns.
//!
//! ```text
//!  31        30     29..23    22..0
//! ┌─────────┬──────┬─────────┬───────────┐   exp 0: zero.  exp 1..=127: 1.frac · 2^(exp − 50).
//! │ special │ sign │ exp (7) │ frac (23) │   special: NaN if frac's top bit is set, else infinity; exp and the rest
//! └─────────┴──────┴─────────┴───────────┘   of frac are 0.
//! ```
//!
//! It is FP32 with another bias, and a flag for what is no number. Products of FP16 numbers are multiples of 2^-48, so sums that start from zero, an FP16
//! number or an earlier sum are zero or at least 2^-48, and stay below 2^78 at any depth that memory can hold: seven bits
//! of exponent suffice, and neither subnormals nor overflow exist. FP32 numbers outside that range must not be encoded.

use crate::comment;
use rust_hdl_core::prelude::*;

/// FP32 to partial-sum form; combinational.
#[derive(LogicBlock, Default)]
pub struct PsumEncode {
    /// FP32: ±0, Inf, the one NaN, or a number of 2^-48 ≤ |x| < 2^78.
    pub single: Signal<In, Bits<32>>,
    /// Partial-sum form.
    pub psum: Signal<Out, Bits<32>>,
    exp: Signal<Local, Bits<8>>,
    low: Signal<Local, Bits<8>>,
    sign: Signal<Local, Bits<32>>,
}

impl Logic for PsumEncode {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module psum_encode");
        self.exp.next = self.single.val().get_bits::<8>(23);
        self.low.next = self.exp.val() - 77;
        self.sign.next = bit_cast::<32, 1>(self.single.val().get_bits::<1>(31)) << 30;
        if self.exp.val().all() {
            self.psum.next = self.sign.val() | 0x80000000u64 | bit_cast::<32, 23>(self.single.val().get_bits::<23>(0));
        } else if self.exp.val() == 0 {
            self.psum.next = self.sign.val();
        } else {
            self.psum.next = self.sign.val()
                | (bit_cast::<32, 7>(self.low.val().get_bits::<7>(0)) << 23)
                | bit_cast::<32, 23>(self.single.val().get_bits::<23>(0));
        }
    }
}

/// Partial-sum form to FP32; combinational.
#[derive(LogicBlock, Default)]
pub struct PsumDecode {
    /// Partial-sum form.
    pub psum: Signal<In, Bits<32>>,
    /// FP32.
    pub single: Signal<Out, Bits<32>>,
    exp: Signal<Local, Bits<8>>,
    field: Signal<Local, Bits<8>>,
}

impl Logic for PsumDecode {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module psum_decode");
        self.exp.next = bit_cast::<8, 7>(self.psum.val().get_bits::<7>(23));
        self.field.next = self.exp.val() + 77;
        if self.psum.val().get_bit(31) {
            self.field.next = bits::<8>(255);
        } else if self.exp.val() == 0 {
            self.field.next = bits::<8>(0);
        }
        self.single.next = (bit_cast::<32, 1>(self.psum.val().get_bits::<1>(30)) << 31)
            | (bit_cast::<32, 8>(self.field.val()) << 23)
            | bit_cast::<32, 23>(self.psum.val().get_bits::<23>(0));
    }
}
