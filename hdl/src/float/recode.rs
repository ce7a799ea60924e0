//! FP16 to the array's operand form: subnormals are normalised once, at the array's edge, and the special classes are
//! flags, so that no PE decodes an exponent.
//!
//! ```text
//!  19    18    17     16..11    10..0
//! ┌─────┬─────┬──────┬─────────┬─────────────┐
//! │ nan │ inf │ sign │ exp (6) │ sig (11)    │   value = (-1)^sign · sig · 2^(exp − 35)
//! └─────┴─────┴──────┴─────────┴─────────────┘
//! ```
//!
//! A non-zero finite number has its top significand bit set and `exp` in 1..=40; zero is `sig = 0`, `exp = 0`. With a flag
//! set, `exp` and `sig` say nothing, but the top bit of `sig` is set.

use crate::comment;
use rust_hdl_core::prelude::*;

/// FP16 bits in, operand form out; combinational.
#[derive(LogicBlock, Default)]
pub struct Recode {
    /// FP16.
    pub half: Signal<In, Bits<16>>,
    /// Operand form, see the module's drawing.
    pub operand: Signal<Out, Bits<20>>,
    exp: Signal<Local, Bits<6>>,
    frac: Signal<Local, Bits<10>>,
    s0: Signal<Local, Bits<11>>,
    s1: Signal<Local, Bits<11>>,
    s2: Signal<Local, Bits<11>>,
    s3: Signal<Local, Bits<11>>,
    e0: Signal<Local, Bits<6>>,
    e1: Signal<Local, Bits<6>>,
    e2: Signal<Local, Bits<6>>,
    e3: Signal<Local, Bits<6>>,
    special: Signal<Local, Bit>,
    nan: Signal<Local, Bit>,
    inf: Signal<Local, Bit>,
}

impl Logic for Recode {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module recode");
        self.exp.next = bit_cast::<6, 5>(self.half.val().get_bits::<5>(10));
        self.frac.next = self.half.val().get_bits::<10>(0);
        self.special.next = self.exp.val() == 31;
        self.nan.next = self.special.val() & (self.frac.val() != 0);
        self.inf.next = self.special.val() & (self.frac.val() == 0);
        // A subnormal's leading zeros are shifted out by 8, 4, 2, 1; its exponent field counts as 1, less the shift.
        self.s0.next = bit_cast::<11, 10>(self.frac.val());
        self.e0.next = bits::<6>(11);
        if self.frac.val().get_bits::<7>(3) == 0 {
            self.s0.next = bit_cast::<11, 10>(self.frac.val()) << 8;
            self.e0.next = bits::<6>(3);
        }
        self.s1.next = self.s0.val();
        self.e1.next = self.e0.val();
        if self.s0.val().get_bits::<4>(7) == 0 {
            self.s1.next = self.s0.val() << 4;
            self.e1.next = self.e0.val() - 4;
        }
        self.s2.next = self.s1.val();
        self.e2.next = self.e1.val();
        if self.s1.val().get_bits::<2>(9) == 0 {
            self.s2.next = self.s1.val() << 2;
            self.e2.next = self.e1.val() - 2;
        }
        self.s3.next = self.s2.val();
        self.e3.next = self.e2.val();
        if !self.s2.val().get_bit(10) {
            self.s3.next = self.s2.val() << 1;
            self.e3.next = self.e2.val() - 1;
        }
        if self.exp.val() != 0 {
            self.operand.next = (bit_cast::<20, 6>(self.exp.val() + 10) << 11)
                | bit_cast::<20, 10>(self.frac.val())
                | 0x400
                | (bit_cast::<20, 1>(self.half.val().get_bits::<1>(15)) << 17)
                | (bit_cast::<20, 1>(self.inf.val().into()) << 18)
                | (bit_cast::<20, 1>(self.nan.val().into()) << 19);
        } else if self.frac.val() == 0 {
            self.operand.next = bit_cast::<20, 1>(self.half.val().get_bits::<1>(15)) << 17;
        } else {
            self.operand.next = (bit_cast::<20, 6>(self.e3.val()) << 11)
                | bit_cast::<20, 11>(self.s3.val())
                | (bit_cast::<20, 1>(self.half.val().get_bits::<1>(15)) << 17);
        }
    }
}
