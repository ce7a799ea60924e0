//! Complete binary32 multiplier.
//!
//! ```text
//!  a ─┐ significands, │ 24×24   │ left by       │ left by 4, 2, 1,   │ round,
//!     ├ exponent sum, │ product │ 32, 16, 8     │ right with sticky  │ classes ──> p
//!  b ─┘ classes      [1]       [2]             [3]                  [4]        [5]
//! ```
//!
//! With `P` the 48-bit product and `s` the sum of the exponents (a subnormal's counts as 1), the result's exponent is
//! `s − 126 − zeros(P)`. Where that is below 1 the product is shifted left by only `s − 127`, or right by its negative: so
//! subnormals, in or out, take the same path.

use super::{Multiply, ShiftSticky};
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
    room: Signal<Local, Bits<10>>,
    back: Signal<Local, Bits<10>>,
    under: Signal<Local, Bit>,
    lead32: Signal<Local, Bit>,
    lead16: Signal<Local, Bit>,
    lead8: Signal<Local, Bit>,
    free32: Signal<Local, Bit>,
    free16: Signal<Local, Bit>,
    free8: Signal<Local, Bit>,
    t32: Signal<Local, Bit>,
    t16: Signal<Local, Bit>,
    t8: Signal<Local, Bit>,
    n32: Signal<Local, Bits<48>>,
    n16: Signal<Local, Bits<48>>,
    n8: Signal<Local, Bits<48>>,
    s3_product: DFF<Bits<48>>,
    s3_coarse: DFF<Bits<3>>,
    s3_free: DFF<Bit>,
    s3_room: DFF<Bits<3>>,
    s3_right: DFF<Bits<5>>,
    s3_exp: DFF<Bits<10>>,
    s3_sign: DFF<Bit>,
    s3_nan: DFF<Bit>,
    s3_inf: DFF<Bit>,
    t4: Signal<Local, Bit>,
    t2: Signal<Local, Bit>,
    t1: Signal<Local, Bit>,
    free4: Signal<Local, Bit>,
    free2: Signal<Local, Bit>,
    n4: Signal<Local, Bits<48>>,
    n2: Signal<Local, Bits<48>>,
    n1: Signal<Local, Bits<48>>,
    left: Signal<Local, Bits<10>>,
    exp: Signal<Local, Bits<10>>,
    to_right: ShiftSticky<25>,
    moved: Signal<Local, Bits<25>>,
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
            s3_product, s3_coarse, s3_free, s3_room, s3_right, s3_exp, s3_sign, s3_nan, s3_inf, s4_frac, s4_exp,
            s4_guard, s4_sticky, s4_sign, s4_nan, s4_inf, s5
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
        // Stage 3: the coarse half of the shift to the left. Step k is taken if the top k bits are zero and the exponent leaves
        // `room` for it: `free` once more room is left than all further steps could take. A product below the subnormals'
        // exponent has no room, and goes back to the right in stage 4.
        self.room.next = self.s2_exp.q.val() - 127;
        self.under.next = self.room.val().get_bit(9);
        self.back.next = bits::<10>(127) - self.s2_exp.q.val();
        self.s3_right.d.next = bits::<5>(0);
        if self.under.val() {
            self.s3_right.d.next = self.back.val().get_bits::<5>(0);
            if self.back.val().get_bits::<5>(5).any() {
                self.s3_right.d.next = bits::<5>(31);
            }
        }
        self.free32.next = !self.under.val() & self.room.val().get_bits::<4>(6).any();
        self.lead32.next = !self.under.val() & self.room.val().get_bit(5);
        self.lead16.next = !self.under.val() & self.room.val().get_bit(4);
        self.lead8.next = !self.under.val() & self.room.val().get_bit(3);
        self.t32.next = !self.s2_product.q.val().get_bits::<32>(16).any() & (self.free32.val() | self.lead32.val());
        self.n32.next = self.s2_product.q.val();
        if self.t32.val() {
            self.n32.next = self.s2_product.q.val() << 32;
        }
        self.free16.next = self.free32.val() | (self.lead32.val() & !self.t32.val());
        self.t16.next = !self.n32.val().get_bits::<16>(32).any() & (self.free16.val() | self.lead16.val());
        self.n16.next = self.n32.val();
        if self.t16.val() {
            self.n16.next = self.n32.val() << 16;
        }
        self.free8.next = self.free16.val() | (self.lead16.val() & !self.t16.val());
        self.t8.next = !self.n16.val().get_bits::<8>(40).any() & (self.free8.val() | self.lead8.val());
        self.n8.next = self.n16.val();
        if self.t8.val() {
            self.n8.next = self.n16.val() << 8;
        }
        self.s3_product.d.next = self.n8.val();
        self.s3_coarse.d.next = (bit_cast::<3, 1>(self.t32.val().into()) << 2)
            | (bit_cast::<3, 1>(self.t16.val().into()) << 1)
            | bit_cast::<3, 1>(self.t8.val().into());
        self.s3_free.d.next = self.free8.val() | (self.lead8.val() & !self.t8.val());
        self.s3_room.d.next = bits::<3>(0);
        if !self.under.val() {
            self.s3_room.d.next = self.room.val().get_bits::<3>(0);
        }
        self.s3_exp.d.next = self.room.val() + 1;
        self.s3_sign.d.next = self.s2_sign.q.val();
        self.s3_nan.d.next = self.s2_nan.q.val();
        self.s3_inf.d.next = self.s2_inf.q.val();
        // Stage 4: the fine half.
        self.t4.next =
            !self.s3_product.q.val().get_bits::<4>(44).any() & (self.s3_free.q.val() | self.s3_room.q.val().get_bit(2));
        self.n4.next = self.s3_product.q.val();
        if self.t4.val() {
            self.n4.next = self.s3_product.q.val() << 4;
        }
        self.free4.next = self.s3_free.q.val() | (self.s3_room.q.val().get_bit(2) & !self.t4.val());
        self.t2.next = !self.n4.val().get_bits::<2>(46).any() & (self.free4.val() | self.s3_room.q.val().get_bit(1));
        self.n2.next = self.n4.val();
        if self.t2.val() {
            self.n2.next = self.n4.val() << 2;
        }
        self.free2.next = self.free4.val() | (self.s3_room.q.val().get_bit(1) & !self.t2.val());
        self.t1.next = !self.n2.val().get_bit(47) & (self.free2.val() | self.s3_room.q.val().get_bit(0));
        self.n1.next = self.n2.val();
        if self.t1.val() {
            self.n1.next = self.n2.val() << 1;
        }
        self.left.next = (bit_cast::<10, 3>(self.s3_coarse.q.val()) << 3)
            | (bit_cast::<10, 1>(self.t4.val().into()) << 2)
            | (bit_cast::<10, 1>(self.t2.val().into()) << 1)
            | bit_cast::<10, 1>(self.t1.val().into());
        self.exp.next = self.s3_exp.q.val() - self.left.val();
        // The significand and the bit below it, to the right; 25 and more lose all.
        self.to_right.x.next = self.n1.val().get_bits::<25>(23);
        self.to_right.by.next = self.s3_right.q.val();
        self.moved.next = self.to_right.y.val();
        self.s4_frac.d.next = self.moved.val().get_bits::<23>(1);
        self.s4_guard.d.next = self.moved.val().get_bit(0);
        self.s4_sticky.d.next = self.n1.val().get_bits::<23>(0).any() | self.to_right.lost.val();
        self.s4_exp.d.next = bits::<8>(0);
        if self.moved.val().get_bit(24) {
            self.s4_exp.d.next = self.exp.val().get_bits::<8>(0);
        }
        self.s4_sign.d.next = self.s3_sign.q.val();
        self.s4_nan.d.next = self.s3_nan.q.val();
        self.s4_inf.d.next = self.s3_inf.q.val() | (self.moved.val().get_bit(24) & (self.exp.val() > 254));
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
