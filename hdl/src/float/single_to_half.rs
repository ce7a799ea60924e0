//! FP32 to FP16, rounded to nearest even, with subnormals; too large becomes infinity.
//!
//! ```text
//!  single ── shift for subnormals, sticky ──[1]── round, classes ──[2]──> half, nonfinite
//! ```

use super::ShiftSticky;
use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Cycles from FP32 to FP16.
pub const TO_HALF_LATENCY: usize = 2;

/// FP32 in, FP16 out, [`TO_HALF_LATENCY`] cycles later.
#[derive(LogicBlock, Default)]
pub struct SingleToHalf {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// FP32.
    pub single: Signal<In, Bits<32>>,
    /// FP16.
    pub half: Signal<Out, Bits<16>>,
    /// `half` is an infinity or NaN.
    pub nonfinite: Signal<Out, Bit>,
    exp: Signal<Local, Bits<8>>,
    sig: Signal<Local, Bits<24>>,
    shift: Signal<Local, Bits<4>>,
    to_right: ShiftSticky<24>,
    shifted: Signal<Local, Bits<24>>,
    s1_frac: DFF<Bits<10>>,
    s1_exp: DFF<Bits<5>>,
    s1_guard: DFF<Bit>,
    s1_sticky: DFF<Bit>,
    s1_sign: DFF<Bit>,
    s1_inf: DFF<Bit>,
    s1_nan: DFF<Bit>,
    packed: Signal<Local, Bits<15>>,
    rounded: Signal<Local, Bits<15>>,
    magnitude: Signal<Local, Bits<15>>,
    sign: Signal<Local, Bit>,
    s2_half: DFF<Bits<16>>,
    s2_nonfinite: DFF<Bit>,
}

impl Logic for SingleToHalf {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module single_to_half");
        dff_setup!(self, clock, s1_frac, s1_exp, s1_guard, s1_sticky, s1_sign, s1_inf, s1_nan, s2_half, s2_nonfinite);
        // Stage 1: below 2^-14 (field 113) the significand moves right, by at most 15.
        self.exp.next = self.single.val().get_bits::<8>(23);
        self.sig.next = bit_cast::<24, 23>(self.single.val().get_bits::<23>(0));
        if self.exp.val() != 0 {
            self.sig.next = bit_cast::<24, 23>(self.single.val().get_bits::<23>(0)) | 0x800000;
        }
        self.shift.next = bits::<4>(0);
        self.s1_exp.d.next = bits::<5>(0);
        if self.exp.val() < 98 {
            self.shift.next = bits::<4>(15);
        } else if self.exp.val() < 113 {
            self.shift.next = bit_cast::<4, 8>(bits::<8>(113) - self.exp.val());
        } else {
            self.s1_exp.d.next = bit_cast::<5, 8>(self.exp.val() - 112);
        }
        self.to_right.x.next = self.sig.val();
        self.to_right.by.next = bit_cast::<5, 4>(self.shift.val());
        self.shifted.next = self.to_right.y.val();
        self.s1_frac.d.next = self.shifted.val().get_bits::<10>(13);
        self.s1_guard.d.next = self.shifted.val().get_bit(12);
        self.s1_sticky.d.next = self.shifted.val().get_bits::<12>(0).any() | self.to_right.lost.val();
        self.s1_sign.d.next = self.single.val().get_bit(31);
        self.s1_inf.d.next = self.exp.val() >= 143;
        self.s1_nan.d.next = self.exp.val().all() & self.single.val().get_bits::<23>(0).any();
        // Stage 2: a carry out of the fraction raises the exponent, up to infinity.
        self.packed.next = (bit_cast::<15, 5>(self.s1_exp.q.val()) << 10) | bit_cast::<15, 10>(self.s1_frac.q.val());
        self.rounded.next = self.packed.val();
        if self.s1_guard.q.val() & (self.s1_sticky.q.val() | self.s1_frac.q.val().get_bit(0)) {
            self.rounded.next = self.packed.val() + 1;
        }
        self.magnitude.next = self.rounded.val();
        self.sign.next = self.s1_sign.q.val();
        if self.s1_nan.q.val() {
            self.magnitude.next = bits::<15>(0x7e00);
            self.sign.next = false;
        } else if self.s1_inf.q.val() {
            self.magnitude.next = bits::<15>(0x7c00);
        }
        self.s2_half.d.next =
            bit_cast::<16, 15>(self.magnitude.val()) | (bit_cast::<16, 1>(self.sign.val().into()) << 15);
        self.s2_nonfinite.d.next = self.magnitude.val().get_bits::<5>(10).all();
        self.half.next = self.s2_half.q.val();
        self.nonfinite.next = self.s2_nonfinite.q.val();
    }
}
