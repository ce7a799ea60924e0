//! Complete binary32 multiplier.
//!
//! ```text
//!  a ─┐ significands, │ 24×24   │ leading zeros, │ shift  │ round,
//!     ├ exponent sum, │ product │ shift amount   │ sticky │ classes ──> p
//!  b ─┘ classes      [1]       [2]              [3]      [4]        [5]
//! ```
//!
//! With `P` the 48-bit product and `s` the sum of the exponents (a subnormal's counts as 1), the result's exponent is
//! `s − 126 − zeros(P)`. Where that is below 1 the product is shifted left by only `s − 127`, or right by its negative: so
//! subnormals, in or out, take the same path.

use super::Multiply;
use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Cycles from operands to product.
pub const FMUL_LATENCY: usize = 5;

/// `p = a · b`, [`FMUL_LATENCY`] cycles later.
#[derive(LogicBlock, Default)]
pub struct Fmul {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// FP32.
    pub a: Signal<In, Bits<32>>,
    /// FP32.
    pub b: Signal<In, Bits<32>>,
    /// FP32.
    pub p: Signal<Out, Bits<32>>,
    a_exp: Signal<Local, Bits<10>>,
    b_exp: Signal<Local, Bits<10>>,
    a_low: Signal<Local, Bit>,
    b_low: Signal<Local, Bit>,
    a_top: Signal<Local, Bit>,
    b_top: Signal<Local, Bit>,
    a_frac: Signal<Local, Bit>,
    b_frac: Signal<Local, Bit>,
    s1_a: DFF<Bits<24>>,
    s1_b: DFF<Bits<24>>,
    s1_exp: DFF<Bits<10>>,
    s1_sign: DFF<Bit>,
    s1_nan: DFF<Bit>,
    s1_inf: DFF<Bit>,
    mul: Multiply<24, 24, 48>,
    s2_product: DFF<Bits<48>>,
    s2_exp: DFF<Bits<10>>,
    s2_sign: DFF<Bit>,
    s2_nan: DFF<Bit>,
    s2_inf: DFF<Bit>,
    z32: Signal<Local, Bit>,
    z16: Signal<Local, Bit>,
    z8: Signal<Local, Bit>,
    z4: Signal<Local, Bit>,
    z2: Signal<Local, Bit>,
    z1: Signal<Local, Bit>,
    c32: Signal<Local, Bits<32>>,
    c16: Signal<Local, Bits<16>>,
    c8: Signal<Local, Bits<8>>,
    c4: Signal<Local, Bits<4>>,
    c2: Signal<Local, Bits<2>>,
    zeros: Signal<Local, Bits<10>>,
    room: Signal<Local, Bits<10>>,
    back: Signal<Local, Bits<10>>,
    s3_product: DFF<Bits<48>>,
    s3_left: DFF<Bits<6>>,
    s3_right: DFF<Bits<6>>,
    s3_exp: DFF<Bits<10>>,
    s3_sign: DFF<Bit>,
    s3_nan: DFF<Bit>,
    s3_inf: DFF<Bit>,
    mask: Signal<Local, Bits<48>>,
    moved: Signal<Local, Bits<48>>,
    s4_frac: DFF<Bits<23>>,
    s4_exp: DFF<Bits<8>>,
    s4_guard: DFF<Bit>,
    s4_sticky: DFF<Bit>,
    s4_sign: DFF<Bit>,
    s4_nan: DFF<Bit>,
    s4_inf: DFF<Bit>,
    packed: Signal<Local, Bits<31>>,
    up: Signal<Local, Bit>,
    s5: DFF<Bits<32>>,
}

impl Logic for Fmul {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module fmul");
        dff_setup!(
            self, clock, s1_a, s1_b, s1_exp, s1_sign, s1_nan, s1_inf, s2_product, s2_exp, s2_sign, s2_nan, s2_inf,
            s3_product, s3_left, s3_right, s3_exp, s3_sign, s3_nan, s3_inf, s4_frac, s4_exp, s4_guard, s4_sticky,
            s4_sign, s4_nan, s4_inf, s5
        );
        // Stage 1.
        self.a_low.next = self.a.val().get_bits::<8>(23) == 0;
        self.b_low.next = self.b.val().get_bits::<8>(23) == 0;
        self.a_top.next = self.a.val().get_bits::<8>(23).all();
        self.b_top.next = self.b.val().get_bits::<8>(23).all();
        self.a_frac.next = self.a.val().get_bits::<23>(0).any();
        self.b_frac.next = self.b.val().get_bits::<23>(0).any();
        self.s1_a.d.next =
            bit_cast::<24, 23>(self.a.val().get_bits::<23>(0)) | (bit_cast::<24, 1>((!self.a_low.val()).into()) << 23);
        self.s1_b.d.next =
            bit_cast::<24, 23>(self.b.val().get_bits::<23>(0)) | (bit_cast::<24, 1>((!self.b_low.val()).into()) << 23);
        self.a_exp.next =
            bit_cast::<10, 8>(self.a.val().get_bits::<8>(23)) | bit_cast::<10, 1>(self.a_low.val().into());
        self.b_exp.next =
            bit_cast::<10, 8>(self.b.val().get_bits::<8>(23)) | bit_cast::<10, 1>(self.b_low.val().into());
        self.s1_exp.d.next = self.a_exp.val() + self.b_exp.val();
        self.s1_sign.d.next = self.a.val().get_bit(31) ^ self.b.val().get_bit(31);
        self.s1_nan.d.next = (self.a_top.val() & self.a_frac.val())
            | (self.b_top.val() & self.b_frac.val())
            | (self.a_top.val() & self.b_low.val() & !self.b_frac.val())
            | (self.b_top.val() & self.a_low.val() & !self.a_frac.val());
        self.s1_inf.d.next = self.a_top.val() | self.b_top.val();
        // Stage 2.
        self.mul.a.next = self.s1_a.q.val();
        self.mul.b.next = self.s1_b.q.val();
        self.s2_product.d.next = self.mul.p.val();
        self.s2_exp.d.next = self.s1_exp.q.val();
        self.s2_sign.d.next = self.s1_sign.q.val();
        self.s2_nan.d.next = self.s1_nan.q.val();
        self.s2_inf.d.next = self.s1_inf.q.val();
        // Stage 3: the product is counted as 64 bits, the lowest 16 of them ones.
        self.z32.next = self.s2_product.q.val().get_bits::<32>(16) == 0;
        self.c32.next = self.s2_product.q.val().get_bits::<32>(16);
        if self.z32.val() {
            self.c32.next = (bit_cast::<32, 16>(self.s2_product.q.val().get_bits::<16>(0)) << 16) | 0xffff;
        }
        self.z16.next = self.c32.val().get_bits::<16>(16) == 0;
        self.c16.next = self.c32.val().get_bits::<16>(16);
        if self.z16.val() {
            self.c16.next = self.c32.val().get_bits::<16>(0);
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
        self.zeros.next = (bit_cast::<10, 1>(self.z32.val().into()) << 5)
            | (bit_cast::<10, 1>(self.z16.val().into()) << 4)
            | (bit_cast::<10, 1>(self.z8.val().into()) << 3)
            | (bit_cast::<10, 1>(self.z4.val().into()) << 2)
            | (bit_cast::<10, 1>(self.z2.val().into()) << 1)
            | bit_cast::<10, 1>(self.z1.val().into());
        self.room.next = self.s2_exp.q.val() - 127;
        self.back.next = bits::<10>(127) - self.s2_exp.q.val();
        self.s3_left.d.next = bits::<6>(0);
        self.s3_right.d.next = bits::<6>(0);
        self.s3_exp.d.next = bits::<10>(0);
        if self.s2_exp.q.val() < 127 {
            self.s3_right.d.next = bits::<6>(63);
            if self.back.val() < 63 {
                self.s3_right.d.next = self.back.val().get_bits::<6>(0);
            }
        } else if self.room.val() < self.zeros.val() {
            self.s3_left.d.next = self.room.val().get_bits::<6>(0);
        } else {
            self.s3_left.d.next = self.zeros.val().get_bits::<6>(0);
            self.s3_exp.d.next = (self.room.val() - self.zeros.val()) + 1;
        }
        self.s3_product.d.next = self.s2_product.q.val();
        self.s3_sign.d.next = self.s2_sign.q.val();
        self.s3_nan.d.next = self.s2_nan.q.val();
        self.s3_inf.d.next = self.s2_inf.q.val();
        // Stage 4.
        self.mask.next = (bits::<48>(1) << self.s3_right.q.val()) - 1;
        self.moved.next = (self.s3_product.q.val() << self.s3_left.q.val()) >> self.s3_right.q.val();
        self.s4_frac.d.next = self.moved.val().get_bits::<23>(24);
        self.s4_guard.d.next = self.moved.val().get_bit(23);
        self.s4_sticky.d.next =
            self.moved.val().get_bits::<23>(0).any() | (self.s3_product.q.val() & self.mask.val()).any();
        self.s4_exp.d.next = bits::<8>(0);
        if self.moved.val().get_bit(47) {
            self.s4_exp.d.next = self.s3_exp.q.val().get_bits::<8>(0);
        }
        self.s4_sign.d.next = self.s3_sign.q.val();
        self.s4_nan.d.next = self.s3_nan.q.val();
        self.s4_inf.d.next = self.s3_inf.q.val() | (self.moved.val().get_bit(47) & (self.s3_exp.q.val() > 254));
        // Stage 5.
        self.packed.next = (bit_cast::<31, 8>(self.s4_exp.q.val()) << 23) | bit_cast::<31, 23>(self.s4_frac.q.val());
        self.up.next = self.s4_guard.q.val() & (self.s4_sticky.q.val() | self.s4_frac.q.val().get_bit(0));
        if self.s4_nan.q.val() {
            self.s5.d.next = bits::<32>(0x7fc00000);
        } else if self.s4_inf.q.val() {
            self.s5.d.next = (bit_cast::<32, 1>(self.s4_sign.q.val().into()) << 31) | 0x7f800000;
        } else {
            self.s5.d.next = (bit_cast::<32, 1>(self.s4_sign.q.val().into()) << 31)
                | bit_cast::<32, 31>(self.packed.val() + bit_cast::<31, 1>(self.up.val().into()));
        }
        self.p.next = self.s5.q.val();
    }
}
