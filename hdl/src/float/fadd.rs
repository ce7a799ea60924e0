//! Complete binary32 adder.
//!
//! ```text
//!  x ─┐ compare, │ align,     │ add or subtract, │ shift by 4, 2, 1, │
//!     ├ swap     │ sticky bit │ shift by 16, 8   │ round, classes    ├──> z
//!  y ─┘         [1]          [2]                [3]                 [4]
//! ```
//!
//! A subnormal's exponent counts as 1; the shift that normalises the sum finds its distance on the way, and stops where the
//! exponent would fall below that.

use super::ShiftSticky;
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
    align: ShiftSticky<26>,
    s2_big: DFF<Bits<24>>,
    s2_small: DFF<Bits<26>>,
    s2_sticky: DFF<Bit>,
    s2_exp: DFF<Bits<8>>,
    s2_sign: DFF<Bit>,
    s2_subtract: DFF<Bit>,
    s2_inf: DFF<Bit>,
    s2_nan: DFF<Bit>,
    wide_small: Signal<Local, Bits<28>>,
    addend: Signal<Local, Bits<29>>,
    total: Signal<Local, Bits<29>>,
    sum: Signal<Local, Bits<28>>,
    n16: Signal<Local, Bits<28>>,
    n8: Signal<Local, Bits<28>>,
    free16: Signal<Local, Bit>,
    free8: Signal<Local, Bit>,
    t16: Signal<Local, Bit>,
    t8: Signal<Local, Bit>,
    s3_sum: DFF<Bits<28>>,
    s3_t16: DFF<Bit>,
    s3_t8: DFF<Bit>,
    s3_free: DFF<Bit>,
    s3_room: DFF<Bits<3>>,
    s3_exp: DFF<Bits<8>>,
    s3_sign: DFF<Bit>,
    s3_zero_sign: DFF<Bit>,
    s3_inf: DFF<Bit>,
    s3_nan: DFF<Bit>,
    t4: Signal<Local, Bit>,
    t2: Signal<Local, Bit>,
    t1: Signal<Local, Bit>,
    free4: Signal<Local, Bit>,
    free2: Signal<Local, Bit>,
    n4: Signal<Local, Bits<28>>,
    n2: Signal<Local, Bits<28>>,
    norm: Signal<Local, Bits<28>>,
    moved: Signal<Local, Bits<8>>,
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
            s3_t16,
            s3_t8,
            s3_free,
            s3_room,
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
        // Stage 2: beyond 31 places everything is lost.
        self.align.x.next = bit_cast::<26, 24>(self.s1_small.q.val()) << 2;
        self.align.by.next = self.s1_distance.q.val().get_bits::<5>(0);
        self.s2_small.d.next = self.align.y.val();
        self.s2_sticky.d.next = self.align.lost.val();
        if self.s1_distance.q.val().get_bits::<3>(5).any() {
            self.s2_small.d.next = bits::<26>(0);
            self.s2_sticky.d.next = self.s1_small.q.val().any();
        }
        self.s2_big.d.next = self.s1_big.q.val();
        self.s2_exp.d.next = self.s1_exp.q.val();
        self.s2_sign.d.next = self.s1_sign.q.val();
        self.s2_subtract.d.next = self.s1_subtract.q.val();
        self.s2_inf.d.next = self.s1_inf.q.val();
        self.s2_nan.d.next = self.s1_nan.q.val();
        // Stage 3: one adder (the smaller operand inverted and a carry below the lowest bit subtract it), then the coarse half
        // of the shift that normalises. Step k is taken if the top k bits are zero and the exponent leaves room for it:
        // `free` once more room is left than all further steps could take.
        self.wide_small.next =
            (bit_cast::<28, 26>(self.s2_small.q.val()) << 1) | bit_cast::<28, 1>(self.s2_sticky.q.val().into());
        self.addend.next = bit_cast::<29, 28>(self.wide_small.val()) << 1;
        if self.s2_subtract.q.val() {
            self.addend.next = (bit_cast::<29, 28>(self.wide_small.val() ^ 0xfffffff) << 1) | 1;
        }
        self.total.next = ((bit_cast::<29, 24>(self.s2_big.q.val()) << 4) | 1) + self.addend.val();
        self.sum.next = self.total.val().get_bits::<28>(1);
        self.free16.next = self.s2_exp.q.val().get_bits::<3>(5).any();
        self.t16.next = !self.sum.val().get_bits::<16>(12).any() & (self.free16.val() | self.s2_exp.q.val().get_bit(4));
        self.n16.next = self.sum.val();
        if self.t16.val() {
            self.n16.next = self.sum.val() << 16;
        }
        self.free8.next = self.free16.val() | (self.s2_exp.q.val().get_bit(4) & !self.t16.val());
        self.t8.next = !self.n16.val().get_bits::<8>(20).any() & (self.free8.val() | self.s2_exp.q.val().get_bit(3));
        self.n8.next = self.n16.val();
        if self.t8.val() {
            self.n8.next = self.n16.val() << 8;
        }
        self.s3_sum.d.next = self.n8.val();
        self.s3_t16.d.next = self.t16.val();
        self.s3_t8.d.next = self.t8.val();
        self.s3_free.d.next = self.free8.val() | (self.s2_exp.q.val().get_bit(3) & !self.t8.val());
        self.s3_room.d.next = self.s2_exp.q.val().get_bits::<3>(0);
        self.s3_exp.d.next = self.s2_exp.q.val();
        self.s3_sign.d.next = self.s2_sign.q.val();
        self.s3_zero_sign.d.next = self.s2_sign.q.val() & !self.s2_subtract.q.val();
        self.s3_inf.d.next = self.s2_inf.q.val();
        self.s3_nan.d.next = self.s2_nan.q.val();
        // Stage 4: the fine half, rounding.
        self.t4.next =
            !self.s3_sum.q.val().get_bits::<4>(24).any() & (self.s3_free.q.val() | self.s3_room.q.val().get_bit(2));
        self.n4.next = self.s3_sum.q.val();
        if self.t4.val() {
            self.n4.next = self.s3_sum.q.val() << 4;
        }
        self.free4.next = self.s3_free.q.val() | (self.s3_room.q.val().get_bit(2) & !self.t4.val());
        self.t2.next = !self.n4.val().get_bits::<2>(26).any() & (self.free4.val() | self.s3_room.q.val().get_bit(1));
        self.n2.next = self.n4.val();
        if self.t2.val() {
            self.n2.next = self.n4.val() << 2;
        }
        self.free2.next = self.free4.val() | (self.s3_room.q.val().get_bit(1) & !self.t2.val());
        self.t1.next = !self.n2.val().get_bit(27) & (self.free2.val() | self.s3_room.q.val().get_bit(0));
        self.norm.next = self.n2.val();
        if self.t1.val() {
            self.norm.next = self.n2.val() << 1;
        }
        self.moved.next = (bit_cast::<8, 1>(self.s3_t16.q.val().into()) << 4)
            | (bit_cast::<8, 1>(self.s3_t8.q.val().into()) << 3)
            | (bit_cast::<8, 1>(self.t4.val().into()) << 2)
            | (bit_cast::<8, 1>(self.t2.val().into()) << 1)
            | bit_cast::<8, 1>(self.t1.val().into());
        self.exp.next = bits::<8>(0);
        if self.norm.val().get_bit(27) {
            self.exp.next = (self.s3_exp.q.val() + 1) - self.moved.val();
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
        } else if !self.s3_sum.q.val().any() {
            self.s4_sign.d.next = self.s3_zero_sign.q.val();
        }
        self.z.next = (bit_cast::<32, 1>(self.s4_sign.q.val().into()) << 31) | bit_cast::<32, 31>(self.s4_mag.q.val());
    }
}
