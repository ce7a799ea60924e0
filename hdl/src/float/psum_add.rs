//! The array's adder: partial sum plus product, rounded once, to nearest even.
//!
//! ```text
//!  x ─┐ exponents: swap,  ┊ align: 16, 8, 4 ┊ 2, 1, add,    ┊ normalise: 8, 4, 2, 1,
//!     ├ distance; classes ┊ sticky bit      ┊ normalise: 16 ┊ round                  ─[L]─> z
//!  y ─┘              L=4 [1]               [2]        L≥3  [3]
//! ```
//!
//! No subnormal and no overflow can occur (see [`super::PsumEncode`]); infinities, NaN and the sign of zero are IEEE's.
//!
//! What keeps it small:
//!
//! * The swap looks at exponents only. Operands of equal exponent may come in the wrong order; then nothing was shifted out,
//!   the difference is exact, and its sign tells: it is complemented and the sign flips.
//! * Two's complement needs `+ 1`. With unequal exponents that is the carry into the sum. With equal ones the carry is left
//!   out: a negative difference is then its plain complement, and a positive one is too small by less than its last place,
//!   which the normalising shift continues with ones: rounding carries them up to the exact difference.
//! * The negative distance is complemented instead of negated; the operand that moves then is taken half as large.
//! * The shift distance is found while shifting: is the upper half zero, the upper quarter, …
//! * Infinity and NaN are a flag; the fields beside it are cleared by the last register.

use super::Cut;
use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Latencies that the adder can be built with.
pub const PSUM_LATENCIES: std::ops::RangeInclusive<usize> = 2..=4;

/// `z = x + y` on the partial-sum form, as many cycles later as [`PsumAdd::new`] was told.
#[derive(LogicBlock)]
pub struct PsumAdd {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Partial sum.
    pub x: Signal<In, Bits<32>>,
    /// Product.
    pub y: Signal<In, Bits<32>>,
    /// Their sum.
    pub z: Signal<Out, Bits<32>>,
    d: Signal<Local, Bits<8>>,
    swap: Signal<Local, Bit>,
    far: Signal<Local, Bit>,
    same: Signal<Local, Bit>,
    unlike: Signal<Local, Bit>,
    special: Signal<Local, Bit>,
    nan: Signal<Local, Bit>,
    sign: Signal<Local, Bit>,
    x_sig: Signal<Local, Bits<24>>,
    y_sig: Signal<Local, Bits<24>>,
    flip: Signal<Local, Bits<5>>,
    c1_big: Cut<24>,
    c1_exp: Cut<7>,
    c1_small: Cut<25>,
    c1_by: Cut<5>,
    c1_rest: Cut<6>,
    a0: Signal<Local, Bits<27>>,
    a1: Signal<Local, Bits<27>>,
    a2: Signal<Local, Bits<27>>,
    a3: Signal<Local, Bits<27>>,
    c2_big: Cut<24>,
    c2_exp: Cut<7>,
    c2_small: Cut<27>,
    c2_by: Cut<2>,
    c2_rest: Cut<6>,
    a4: Signal<Local, Bits<27>>,
    a5: Signal<Local, Bits<27>>,
    invert: Signal<Local, Bits<28>>,
    addend: Signal<Local, Bits<28>>,
    wide: Signal<Local, Bits<29>>,
    sum: Signal<Local, Bits<28>>,
    negative: Signal<Local, Bit>,
    ones: Signal<Local, Bit>,
    n0: Signal<Local, Bits<28>>,
    n1: Signal<Local, Bits<28>>,
    n2: Signal<Local, Bits<28>>,
    z16: Signal<Local, Bit>,
    z8: Signal<Local, Bit>,
    c3_sig: Cut<28>,
    c3_exp: Cut<7>,
    c3_rest: Cut<6>,
    n3: Signal<Local, Bits<28>>,
    n4: Signal<Local, Bits<28>>,
    n5: Signal<Local, Bits<28>>,
    z4: Signal<Local, Bit>,
    z2: Signal<Local, Bit>,
    z1: Signal<Local, Bit>,
    low: Signal<Local, Bits<7>>,
    less: Signal<Local, Bits<7>>,
    up: Signal<Local, Bit>,
    rounded: Signal<Local, Bits<31>>,
    mag: DFF<Bits<30>>,
    z_sign: DFF<Bit>,
    z_special: DFF<Bit>,
}

impl PsumAdd {
    /// An adder of latency `l`, one of [`PSUM_LATENCIES`].
    pub fn new(l: usize) -> PsumAdd {
        assert!(PSUM_LATENCIES.contains(&l), "the adder takes 2 to 4 cycles, not {l}");
        let (c1, c2, c3) = (l == 4, true, l >= 3);
        PsumAdd {
            clock: Default::default(),
            x: Default::default(),
            y: Default::default(),
            z: Default::default(),
            d: Default::default(),
            swap: Default::default(),
            far: Default::default(),
            same: Default::default(),
            unlike: Default::default(),
            special: Default::default(),
            nan: Default::default(),
            sign: Default::default(),
            x_sig: Default::default(),
            y_sig: Default::default(),
            flip: Default::default(),
            c1_big: Cut::new(c1),
            c1_exp: Cut::new(c1),
            c1_small: Cut::new(c1),
            c1_by: Cut::new(c1),
            c1_rest: Cut::new(c1),
            a0: Default::default(),
            a1: Default::default(),
            a2: Default::default(),
            a3: Default::default(),
            c2_big: Cut::new(c2),
            c2_exp: Cut::new(c2),
            c2_small: Cut::new(c2),
            c2_by: Cut::new(c2),
            c2_rest: Cut::new(c2),
            a4: Default::default(),
            a5: Default::default(),
            invert: Default::default(),
            addend: Default::default(),
            wide: Default::default(),
            sum: Default::default(),
            negative: Default::default(),
            ones: Default::default(),
            n0: Default::default(),
            n1: Default::default(),
            n2: Default::default(),
            z16: Default::default(),
            z8: Default::default(),
            c3_sig: Cut::new(c3),
            c3_exp: Cut::new(c3),
            c3_rest: Cut::new(c3),
            n3: Default::default(),
            n4: Default::default(),
            n5: Default::default(),
            z4: Default::default(),
            z2: Default::default(),
            z1: Default::default(),
            low: Default::default(),
            less: Default::default(),
            up: Default::default(),
            rounded: Default::default(),
            mag: Default::default(),
            z_sign: Default::default(),
            z_special: Default::default(),
        }
    }
}

impl Logic for PsumAdd {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module psum_add");
        dff_setup!(self, clock, mag, z_sign, z_special);
        clock!(self, clock, c1_big, c1_exp, c1_small, c1_by, c1_rest);
        clock!(self, clock, c2_big, c2_exp, c2_small, c2_by, c2_rest, c3_sig, c3_exp, c3_rest);
        // The operand of the larger exponent is `big`.
        self.d.next =
            bit_cast::<8, 7>(self.x.val().get_bits::<7>(23)) - bit_cast::<8, 7>(self.y.val().get_bits::<7>(23));
        self.swap.next = self.d.val().get_bit(7);
        self.same.next = self.d.val() == 0;
        self.unlike.next = self.x.val().get_bit(30) ^ self.y.val().get_bit(30);
        self.x_sig.next = bit_cast::<24, 23>(self.x.val().get_bits::<23>(0))
            | (bit_cast::<24, 1>(self.x.val().get_bits::<7>(23).any().into()) << 23);
        self.y_sig.next = bit_cast::<24, 23>(self.y.val().get_bits::<23>(0))
            | (bit_cast::<24, 1>(self.y.val().get_bits::<7>(23).any().into()) << 23);
        // Swapped, the distance is −d = !d + 1: the one is in the way `small` is taken.
        self.c1_big.d.next = self.x_sig.val();
        self.c1_exp.d.next = self.x.val().get_bits::<7>(23);
        self.c1_small.d.next = bit_cast::<25, 24>(self.y_sig.val()) << 1;
        self.flip.next = self.d.val().get_bits::<5>(0);
        self.far.next = self.d.val().get_bits::<2>(5).any();
        if self.swap.val() {
            self.c1_big.d.next = self.y_sig.val();
            self.c1_exp.d.next = self.y.val().get_bits::<7>(23);
            self.c1_small.d.next = bit_cast::<25, 24>(self.x_sig.val());
            self.flip.next = !self.d.val().get_bits::<5>(0);
            self.far.next = !self.d.val().get_bits::<2>(5).all();
        }
        self.c1_by.d.next = self.flip.val();
        if self.far.val() {
            self.c1_by.d.next = bits::<5>(31);
        }
        // Classes and signs.
        self.special.next = self.x.val().get_bit(31) | self.y.val().get_bit(31);
        self.nan.next = (self.x.val().get_bit(31) & self.x.val().get_bit(22))
            | (self.y.val().get_bit(31) & self.y.val().get_bit(22))
            | (self.x.val().get_bit(31) & self.y.val().get_bit(31) & self.unlike.val());
        self.sign.next = self.x.val().get_bit(30);
        if (self.special.val() & !self.x.val().get_bit(31)) | (!self.special.val() & self.swap.val()) {
            self.sign.next = self.y.val().get_bit(30);
        }
        // rest: 0 sign, 1 special, 2 NaN, 3 subtract, 4 carry into the sum, 5 difference of equal exponents
        self.c1_rest.d.next = bit_cast::<6, 1>((self.sign.val() & !self.nan.val()).into())
            | (bit_cast::<6, 1>(self.special.val().into()) << 1)
            | (bit_cast::<6, 1>(self.nan.val().into()) << 2)
            | (bit_cast::<6, 1>(self.unlike.val().into()) << 3)
            | (bit_cast::<6, 1>((self.unlike.val() & !self.same.val()).into()) << 4)
            | (bit_cast::<6, 1>((self.unlike.val() & self.same.val() & !self.special.val()).into()) << 5);
        // Align: bit 0 gathers what falls out.
        self.a0.next = bit_cast::<27, 25>(self.c1_small.q.val()) << 2;
        self.a1.next = self.a0.val();
        if self.c1_by.q.val().get_bit(4) {
            self.a1.next = (bit_cast::<27, 10>(self.a0.val().get_bits::<10>(17)) << 1)
                | bit_cast::<27, 1>(self.a0.val().get_bits::<17>(0).any().into());
        }
        self.a2.next = self.a1.val();
        if self.c1_by.q.val().get_bit(3) {
            self.a2.next = (bit_cast::<27, 18>(self.a1.val().get_bits::<18>(9)) << 1)
                | bit_cast::<27, 1>(self.a1.val().get_bits::<9>(0).any().into());
        }
        self.a3.next = self.a2.val();
        if self.c1_by.q.val().get_bit(2) {
            self.a3.next = (bit_cast::<27, 22>(self.a2.val().get_bits::<22>(5)) << 1)
                | bit_cast::<27, 1>(self.a2.val().get_bits::<5>(0).any().into());
        }
        self.c2_big.d.next = self.c1_big.q.val();
        self.c2_exp.d.next = self.c1_exp.q.val();
        self.c2_small.d.next = self.a3.val();
        self.c2_by.d.next = self.c1_by.q.val().get_bits::<2>(0);
        self.c2_rest.d.next = self.c1_rest.q.val();
        self.a4.next = self.c2_small.q.val();
        if self.c2_by.q.val().get_bit(1) {
            self.a4.next = (bit_cast::<27, 24>(self.c2_small.q.val().get_bits::<24>(3)) << 1)
                | bit_cast::<27, 1>(self.c2_small.q.val().get_bits::<3>(0).any().into());
        }
        self.a5.next = self.a4.val();
        if self.c2_by.q.val().get_bit(0) {
            self.a5.next = (bit_cast::<27, 25>(self.a4.val().get_bits::<25>(2)) << 1)
                | bit_cast::<27, 1>(self.a4.val().get_bits::<2>(0).any().into());
        }
        // Add: the lowest place of `wide` makes the carry.
        self.invert.next = bits::<28>(0);
        if self.c2_rest.q.val().get_bit(3) {
            self.invert.next = bits::<28>(0xfffffff);
        }
        self.addend.next = bit_cast::<28, 27>(self.a5.val()) ^ self.invert.val();
        self.wide.next = ((bit_cast::<29, 24>(self.c2_big.q.val()) << 4) | 1)
            + ((bit_cast::<29, 28>(self.addend.val()) << 1) | bit_cast::<29, 1>(self.c2_rest.q.val().get_bits::<1>(4)));
        self.sum.next = self.wide.val().get_bits::<28>(1);
        // Normalise.
        self.negative.next = self.c2_rest.q.val().get_bit(5) & self.sum.val().get_bit(27);
        self.ones.next = self.c2_rest.q.val().get_bit(5) & !self.sum.val().get_bit(27);
        self.n0.next = self.sum.val();
        if self.negative.val() {
            self.n0.next = !self.sum.val();
        }
        self.z16.next = self.n0.val().get_bits::<16>(12) == 0;
        self.n1.next = self.n0.val();
        if self.z16.val() {
            self.n1.next = self.n0.val() << 16;
            if self.ones.val() {
                self.n1.next = (self.n0.val() << 16) | 0xffff;
            }
        }
        self.c3_sig.d.next = self.n1.val();
        self.c3_exp.d.next = self.c2_exp.q.val();
        // rest: 0 sign, 1 special, 2 NaN, 3 shift in ones, 4 difference of equal exponents, 5 shifted by 16
        self.c3_rest.d.next = bit_cast::<6, 1>((self.c2_rest.q.val().get_bit(0) ^ self.negative.val()).into())
            | (bit_cast::<6, 2>(self.c2_rest.q.val().get_bits::<2>(1)) << 1)
            | (bit_cast::<6, 1>(self.ones.val().into()) << 3)
            | (bit_cast::<6, 1>(self.c2_rest.q.val().get_bits::<1>(5)) << 4)
            | (bit_cast::<6, 1>(self.z16.val().into()) << 5);
        self.z8.next = self.c3_sig.q.val().get_bits::<8>(20) == 0;
        self.n2.next = self.c3_sig.q.val();
        if self.z8.val() {
            self.n2.next = self.c3_sig.q.val() << 8;
            if self.c3_rest.q.val().get_bit(3) {
                self.n2.next = (self.c3_sig.q.val() << 8) | 0xff;
            }
        }
        self.z4.next = self.n2.val().get_bits::<4>(24) == 0;
        self.n3.next = self.n2.val();
        if self.z4.val() {
            self.n3.next = self.n2.val() << 4;
            if self.c3_rest.q.val().get_bit(3) {
                self.n3.next = (self.n2.val() << 4) | 0xf;
            }
        }
        self.z2.next = self.n3.val().get_bits::<2>(26) == 0;
        self.n4.next = self.n3.val();
        if self.z2.val() {
            self.n4.next = self.n3.val() << 2;
            if self.c3_rest.q.val().get_bit(3) {
                self.n4.next = (self.n3.val() << 2) | 3;
            }
        }
        self.z1.next = !self.n4.val().get_bit(27);
        self.n5.next = self.n4.val();
        if self.z1.val() {
            self.n5.next = (self.n4.val() << 1) | bit_cast::<28, 1>(self.c3_rest.q.val().get_bits::<1>(3));
        }
        // `less` is 1 − zeros: −(zeros / 2) in its upper six bits, the complement of the lowest bit below.
        self.low.next = bit_cast::<7, 1>((!self.z1.val()).into())
            | (bit_cast::<7, 1>(self.z2.val().into()) << 1)
            | (bit_cast::<7, 1>((self.z4.val() ^ self.z2.val()).into()) << 2)
            | (bit_cast::<7, 1>((self.z8.val() ^ (self.z4.val() | self.z2.val())).into()) << 3)
            | (bit_cast::<7, 1>(
                (self.c3_rest.q.val().get_bit(5) ^ (self.z8.val() | self.z4.val() | self.z2.val())).into(),
            ) << 4);
        self.less.next = self.low.val();
        if self.c3_rest.q.val().get_bit(5) | self.z8.val() | self.z4.val() | self.z2.val() {
            self.less.next = self.low.val() | 0x60;
        }
        // Round; classes.
        self.up.next = self.n5.val().get_bit(3) & (self.n5.val().get_bit(4) | self.n5.val().get_bits::<3>(0).any());
        self.rounded.next = ((bit_cast::<31, 7>(self.c3_exp.q.val()) << 24)
            | (bit_cast::<31, 23>(self.n5.val().get_bits::<23>(4)) << 1)
            | 1)
            + ((bit_cast::<31, 7>(self.less.val()) << 24) | bit_cast::<31, 1>(self.up.val().into()));
        self.mag.d.next = self.rounded.val().get_bits::<30>(1);
        if self.c3_rest.q.val().get_bit(1) | !self.n5.val().get_bit(27) {
            self.mag.d.next = bit_cast::<30, 1>(self.c3_rest.q.val().get_bits::<1>(2)) << 22;
        }
        self.z_special.d.next = self.c3_rest.q.val().get_bit(1);
        self.z_sign.d.next =
            self.c3_rest.q.val().get_bit(0) & (self.n5.val().get_bit(27) | !self.c3_rest.q.val().get_bit(4));
        self.z.next = bit_cast::<32, 30>(self.mag.q.val())
            | (bit_cast::<32, 1>(self.z_sign.q.val().into()) << 30)
            | (bit_cast::<32, 1>(self.z_special.q.val().into()) << 31);
    }
}
