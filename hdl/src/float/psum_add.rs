//! The array's adder: partial sum plus product, rounded once, to nearest even.
//!
//! ```text
//!  x ─┐ compare, swap │ add or subtract │ shift left │
//!     ├ align small,  │ count leading   │ round      ├─> z
//!  y ─┘ sticky bit   [1] zeros         [2] classes  [3]
//! ```
//!
//! No subnormal and no overflow can occur (see [`super::PsumEncode`]); infinities, NaN and the sign of zero are IEEE's.

use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Cycles from operands to sum: the array's row skew.
pub const PSUM_LATENCY: usize = 3;

/// `z = x + y` on the partial-sum form, [`PSUM_LATENCY`] cycles later.
#[derive(LogicBlock, Default)]
pub struct PsumAdd {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Partial sum.
    pub x: Signal<In, Bits<31>>,
    /// Product.
    pub y: Signal<In, Bits<31>>,
    /// Their sum.
    pub z: Signal<Out, Bits<31>>,
    swap: Signal<Local, Bit>,
    big: Signal<Local, Bits<31>>,
    small: Signal<Local, Bits<31>>,
    x_less_y: Signal<Local, Bits<7>>,
    y_less_x: Signal<Local, Bits<7>>,
    distance: Signal<Local, Bits<7>>,
    near: Signal<Local, Bits<5>>,
    small_sig: Signal<Local, Bits<26>>,
    mask: Signal<Local, Bits<26>>,
    aligned: Signal<Local, Bits<26>>,
    sticky: Signal<Local, Bit>,
    s1_big: DFF<Bits<24>>,
    s1_small: DFF<Bits<27>>,
    s1_exp: DFF<Bits<7>>,
    s1_sign: DFF<Bit>,
    s1_subtract: DFF<Bit>,
    s1_special: DFF<Bit>,
    s1_nan: DFF<Bit>,
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
    s2_sum: DFF<Bits<28>>,
    s2_zeros: DFF<Bits<5>>,
    s2_exp: DFF<Bits<7>>,
    s2_sign: DFF<Bit>,
    s2_zero_sign: DFF<Bit>,
    s2_special: DFF<Bit>,
    s2_nan: DFF<Bit>,
    norm: Signal<Local, Bits<28>>,
    exp: Signal<Local, Bits<7>>,
    packed: Signal<Local, Bits<30>>,
    up: Signal<Local, Bit>,
    s3_mag: DFF<Bits<30>>,
    s3_sign: DFF<Bit>,
}

impl Logic for PsumAdd {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module psum_add");
        dff_setup!(
            self,
            clock,
            s1_big,
            s1_small,
            s1_exp,
            s1_sign,
            s1_subtract,
            s1_special,
            s1_nan,
            s2_sum,
            s2_zeros,
            s2_exp,
            s2_sign,
            s2_zero_sign,
            s2_special,
            s2_nan,
            s3_mag,
            s3_sign
        );
        // Stage 1: the larger magnitude is `big`; the other is shifted right, what falls out is kept as one bit.
        self.swap.next = self.y.val().get_bits::<30>(0) > self.x.val().get_bits::<30>(0);
        self.x_less_y.next = self.x.val().get_bits::<7>(23) - self.y.val().get_bits::<7>(23);
        self.y_less_x.next = self.y.val().get_bits::<7>(23) - self.x.val().get_bits::<7>(23);
        self.big.next = self.x.val();
        self.small.next = self.y.val();
        self.distance.next = self.x_less_y.val();
        if self.swap.val() {
            self.big.next = self.y.val();
            self.small.next = self.x.val();
            self.distance.next = self.y_less_x.val();
        }
        self.small_sig.next = (bit_cast::<26, 23>(self.small.val().get_bits::<23>(0)) << 2)
            | (bit_cast::<26, 1>(self.small.val().get_bits::<7>(23).any().into()) << 25);
        self.near.next = self.distance.val().get_bits::<5>(0);
        self.mask.next = (bits::<26>(1) << self.near.val()) - 1;
        self.aligned.next = bits::<26>(0);
        self.sticky.next = self.small_sig.val().get_bit(25);
        if self.distance.val().get_bits::<2>(5) == 0 {
            self.aligned.next = self.small_sig.val() >> self.near.val();
            self.sticky.next = (self.small_sig.val() & self.mask.val()).any();
        }
        self.s1_small.d.next =
            (bit_cast::<27, 26>(self.aligned.val()) << 1) | bit_cast::<27, 1>(self.sticky.val().into());
        self.s1_big.d.next = bit_cast::<24, 23>(self.big.val().get_bits::<23>(0))
            | (bit_cast::<24, 1>(self.big.val().get_bits::<7>(23).any().into()) << 23);
        self.s1_exp.d.next = self.big.val().get_bits::<7>(23);
        self.s1_sign.d.next = self.big.val().get_bit(30);
        self.s1_subtract.d.next = self.x.val().get_bit(30) ^ self.y.val().get_bit(30);
        self.s1_special.d.next = self.big.val().get_bits::<7>(23).all();
        // A NaN is larger than an infinity, so it is `big`; two infinities of unlike sign make one.
        self.s1_nan.d.next = self.big.val().get_bit(22)
            | (self.small.val().get_bits::<7>(23).all() & (self.x.val().get_bit(30) ^ self.y.val().get_bit(30)));
        // Stage 2: sum and leading zeros.
        self.wide_big.next = bit_cast::<28, 24>(self.s1_big.q.val()) << 3;
        self.wide_small.next = bit_cast::<28, 27>(self.s1_small.q.val());
        if self.s1_subtract.q.val() {
            self.sum.next = self.wide_big.val() - self.wide_small.val();
        } else {
            self.sum.next = self.wide_big.val() + self.wide_small.val();
        }
        // The count treats the sum as 32 bits, the lowest four of them ones.
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
        self.s2_sum.d.next = self.sum.val();
        self.s2_zeros.d.next = self.zeros.val();
        self.s2_exp.d.next = self.s1_exp.q.val();
        self.s2_sign.d.next = self.s1_sign.q.val();
        self.s2_zero_sign.d.next = self.s1_sign.q.val() & !self.s1_subtract.q.val();
        self.s2_special.d.next = self.s1_special.q.val();
        self.s2_nan.d.next = self.s1_nan.q.val();
        // Stage 3: normalise, round, classes.
        self.norm.next = self.s2_sum.q.val() << self.s2_zeros.q.val();
        self.exp.next = (self.s2_exp.q.val() + 1) - bit_cast::<7, 5>(self.s2_zeros.q.val());
        self.packed.next =
            (bit_cast::<30, 7>(self.exp.val()) << 23) | bit_cast::<30, 23>(self.norm.val().get_bits::<23>(4));
        self.up.next =
            self.norm.val().get_bit(3) & (self.norm.val().get_bit(4) | self.norm.val().get_bits::<3>(0).any());
        self.s3_mag.d.next = self.packed.val() + bit_cast::<30, 1>(self.up.val().into());
        self.s3_sign.d.next = self.s2_sign.q.val();
        if self.s2_special.q.val() {
            self.s3_mag.d.next = bits::<30>(0x3f800000);
            if self.s2_nan.q.val() {
                self.s3_mag.d.next = bits::<30>(0x3fc00000);
                self.s3_sign.d.next = false;
            }
        } else if !self.norm.val().get_bit(27) {
            self.s3_mag.d.next = bits::<30>(0);
            self.s3_sign.d.next = self.s2_zero_sign.q.val();
        }
        self.z.next = (bit_cast::<31, 1>(self.s3_sign.q.val().into()) << 30) | bit_cast::<31, 30>(self.s3_mag.q.val());
    }
}
