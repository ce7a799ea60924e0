//! Complete binary32 adder.
//!
//! ```text
//!  x ─┐ compare, │ align,     │ add or subtract, │ shift, round,
//!     ├ swap     │ sticky bit │ leading zeros    │ classes ──> z
//!  y ─┘         [1]          [2]                [3]           [4]
//! ```
//!
//! A subnormal's exponent counts as 1; the shift that normalises the sum stops where the exponent would fall below that.

use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Cycles from operands to sum.
pub const FADD_LATENCY: usize = 4;

/// `z = x + y`, [`FADD_LATENCY`] cycles later.
#[derive(LogicBlock, Default)]
pub struct Fadd {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// FP32.
    pub x: Signal<In, Bits<32>>,
    /// FP32.
    pub y: Signal<In, Bits<32>>,
    /// FP32.
    pub z: Signal<Out, Bits<32>>,
    big: Signal<Local, Bits<32>>,
    small: Signal<Local, Bits<32>>,
    big_exp: Signal<Local, Bits<8>>,
    small_exp: Signal<Local, Bits<8>>,
    s1_big: DFF<Bits<24>>,
    s1_small: DFF<Bits<24>>,
    s1_distance: DFF<Bits<8>>,
    s1_exp: DFF<Bits<8>>,
    s1_sign: DFF<Bit>,
    s1_subtract: DFF<Bit>,
    s1_inf: DFF<Bit>,
    s1_nan: DFF<Bit>,
    near: Signal<Local, Bits<5>>,
    wide: Signal<Local, Bits<26>>,
    mask: Signal<Local, Bits<26>>,
    s2_big: DFF<Bits<24>>,
    s2_small: DFF<Bits<26>>,
    s2_sticky: DFF<Bit>,
    s2_exp: DFF<Bits<8>>,
    s2_sign: DFF<Bit>,
    s2_subtract: DFF<Bit>,
    s2_inf: DFF<Bit>,
    s2_nan: DFF<Bit>,
    wide_big: Signal<Local, Bits<28>>,
    wide_small: Signal<Local, Bits<28>>,
    sum: Signal<Local, Bits<28>>,
    z16: Signal<Local, Bit>,
    z8: Signal<Local, Bit>,
    z4: Signal<Local, Bit>,
    z2: Signal<Local, Bit>,
    z1: Signal<Local, Bit>,
    c16: Signal<Local, Bits<16>>,
    c8: Signal<Local, Bits<8>>,
    c4: Signal<Local, Bits<4>>,
    c2: Signal<Local, Bits<2>>,
    zeros: Signal<Local, Bits<5>>,
    s3_sum: DFF<Bits<28>>,
    s3_shift: DFF<Bits<5>>,
    s3_exp: DFF<Bits<8>>,
    s3_sign: DFF<Bit>,
    s3_zero_sign: DFF<Bit>,
    s3_inf: DFF<Bit>,
    s3_nan: DFF<Bit>,
    norm: Signal<Local, Bits<28>>,
    exp: Signal<Local, Bits<8>>,
    packed: Signal<Local, Bits<31>>,
    up: Signal<Local, Bit>,
    s4_mag: DFF<Bits<31>>,
    s4_sign: DFF<Bit>,
}

impl Logic for Fadd {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module fadd");
        dff_setup!(
            self,
            clock,
            s1_big,
            s1_small,
            s1_distance,
            s1_exp,
            s1_sign,
            s1_subtract,
            s1_inf,
            s1_nan,
            s2_big,
            s2_small,
            s2_sticky,
            s2_exp,
            s2_sign,
            s2_subtract,
            s2_inf,
            s2_nan,
            s3_sum,
            s3_shift,
            s3_exp,
            s3_sign,
            s3_zero_sign,
            s3_inf,
            s3_nan,
            s4_mag,
            s4_sign
        );
        // Stage 1.
        self.big.next = self.x.val();
        self.small.next = self.y.val();
        if self.y.val().get_bits::<31>(0) > self.x.val().get_bits::<31>(0) {
            self.big.next = self.y.val();
            self.small.next = self.x.val();
        }
        self.big_exp.next = self.big.val().get_bits::<8>(23);
        self.s1_big.d.next = bit_cast::<24, 23>(self.big.val().get_bits::<23>(0)) | 0x800000;
        if self.big.val().get_bits::<8>(23) == 0 {
            self.big_exp.next = bits::<8>(1);
            self.s1_big.d.next = bit_cast::<24, 23>(self.big.val().get_bits::<23>(0));
        }
        self.small_exp.next = self.small.val().get_bits::<8>(23);
        self.s1_small.d.next = bit_cast::<24, 23>(self.small.val().get_bits::<23>(0)) | 0x800000;
        if self.small.val().get_bits::<8>(23) == 0 {
            self.small_exp.next = bits::<8>(1);
            self.s1_small.d.next = bit_cast::<24, 23>(self.small.val().get_bits::<23>(0));
        }
        self.s1_distance.d.next = self.big_exp.val() - self.small_exp.val();
        self.s1_exp.d.next = self.big_exp.val();
        self.s1_sign.d.next = self.big.val().get_bit(31);
        self.s1_subtract.d.next = self.x.val().get_bit(31) ^ self.y.val().get_bit(31);
        self.s1_inf.d.next = self.big_exp.val().all();
        self.s1_nan.d.next = (self.big.val().get_bits::<31>(0) > 0x7f800000)
            | (self.small_exp.val().all() & (self.x.val().get_bit(31) ^ self.y.val().get_bit(31)));
        // Stage 2.
        self.near.next = self.s1_distance.q.val().get_bits::<5>(0);
        self.wide.next = bit_cast::<26, 24>(self.s1_small.q.val()) << 2;
        self.mask.next = (bits::<26>(1) << self.near.val()) - 1;
        if self.s1_distance.q.val().get_bits::<3>(5) == 0 {
            self.s2_small.d.next = self.wide.val() >> self.near.val();
            self.s2_sticky.d.next = (self.wide.val() & self.mask.val()).any();
        } else {
            self.s2_small.d.next = bits::<26>(0);
            self.s2_sticky.d.next = self.s1_small.q.val().any();
        }
        self.s2_big.d.next = self.s1_big.q.val();
        self.s2_exp.d.next = self.s1_exp.q.val();
        self.s2_sign.d.next = self.s1_sign.q.val();
        self.s2_subtract.d.next = self.s1_subtract.q.val();
        self.s2_inf.d.next = self.s1_inf.q.val();
        self.s2_nan.d.next = self.s1_nan.q.val();
        // Stage 3: the count treats the sum as 32 bits, the lowest four of them ones.
        self.wide_big.next = bit_cast::<28, 24>(self.s2_big.q.val()) << 3;
        self.wide_small.next =
            (bit_cast::<28, 26>(self.s2_small.q.val()) << 1) | bit_cast::<28, 1>(self.s2_sticky.q.val().into());
        if self.s2_subtract.q.val() {
            self.sum.next = self.wide_big.val() - self.wide_small.val();
        } else {
            self.sum.next = self.wide_big.val() + self.wide_small.val();
        }
        self.z16.next = self.sum.val().get_bits::<16>(12) == 0;
        self.c16.next = self.sum.val().get_bits::<16>(12);
        if self.z16.val() {
            self.c16.next = (bit_cast::<16, 12>(self.sum.val().get_bits::<12>(0)) << 4) | 15;
        }
        self.z8.next = self.c16.val().get_bits::<8>(8) == 0;
        self.c8.next = self.c16.val().get_bits::<8>(8);
        if self.z8.val() {
            self.c8.next = self.c16.val().get_bits::<8>(0);
        }
        self.z4.next = self.c8.val().get_bits::<4>(4) == 0;
        self.c4.next = self.c8.val().get_bits::<4>(4);
        if self.z4.val() {
            self.c4.next = self.c8.val().get_bits::<4>(0);
        }
        self.z2.next = self.c4.val().get_bits::<2>(2) == 0;
        self.c2.next = self.c4.val().get_bits::<2>(2);
        if self.z2.val() {
            self.c2.next = self.c4.val().get_bits::<2>(0);
        }
        self.z1.next = !self.c2.val().get_bit(1);
        self.zeros.next = (bit_cast::<5, 1>(self.z16.val().into()) << 4)
            | (bit_cast::<5, 1>(self.z8.val().into()) << 3)
            | (bit_cast::<5, 1>(self.z4.val().into()) << 2)
            | (bit_cast::<5, 1>(self.z2.val().into()) << 1)
            | bit_cast::<5, 1>(self.z1.val().into());
        self.s3_shift.d.next = self.zeros.val();
        if bit_cast::<8, 5>(self.zeros.val()) > self.s2_exp.q.val() {
            self.s3_shift.d.next = self.s2_exp.q.val().get_bits::<5>(0);
        }
        self.s3_sum.d.next = self.sum.val();
        self.s3_exp.d.next = self.s2_exp.q.val();
        self.s3_sign.d.next = self.s2_sign.q.val();
        self.s3_zero_sign.d.next = self.s2_sign.q.val() & !self.s2_subtract.q.val();
        self.s3_inf.d.next = self.s2_inf.q.val();
        self.s3_nan.d.next = self.s2_nan.q.val();
        // Stage 4.
        self.norm.next = self.s3_sum.q.val() << self.s3_shift.q.val();
        self.exp.next = bits::<8>(0);
        if self.norm.val().get_bit(27) {
            self.exp.next = (self.s3_exp.q.val() + 1) - bit_cast::<8, 5>(self.s3_shift.q.val());
        }
        self.packed.next =
            (bit_cast::<31, 8>(self.exp.val()) << 23) | bit_cast::<31, 23>(self.norm.val().get_bits::<23>(4));
        self.up.next =
            self.norm.val().get_bit(3) & (self.norm.val().get_bit(4) | self.norm.val().get_bits::<3>(0).any());
        self.s4_mag.d.next = self.packed.val() + bit_cast::<31, 1>(self.up.val().into());
        self.s4_sign.d.next = self.s3_sign.q.val();
        if self.s3_nan.q.val() {
            self.s4_mag.d.next = bits::<31>(0x7fc00000);
            self.s4_sign.d.next = false;
        } else if self.s3_inf.q.val() | self.exp.val().all() {
            self.s4_mag.d.next = bits::<31>(0x7f800000);
        } else if self.s3_sum.q.val() == 0 {
            self.s4_sign.d.next = self.s3_zero_sign.q.val();
        }
        self.z.next = (bit_cast::<32, 1>(self.s4_sign.q.val().into()) << 31) | bit_cast::<32, 31>(self.s4_mag.q.val());
    }
}
