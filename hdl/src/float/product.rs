//! The exact product of two operand forms, as the array's adder takes it.
//!
//! ```text
//!  a ──[a]──┐
//!           ├─ 11×11, one DSP ─[m]── normalise by 0 or 1 ──[y]──> product form
//!  w ──[w]──┘                [e]   exponents add, classes
//! ```
//!
//! The product form is a partial sum (see [`super::PsumEncode`]) with a significand of 22 bits: the products of two FP16
//! numbers need no more. All of these registers lie outside the loop of the partial sums.

use super::Multiply;
use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Cycles from operands to product.
pub const PRODUCT_LATENCY: usize = 3;

/// Operand forms in, partial-sum form out, [`PRODUCT_LATENCY`] cycles later.
#[derive(LogicBlock, Default)]
pub struct Product {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Operand form.
    pub a: Signal<In, Bits<20>>,
    /// Operand form.
    pub b: Signal<In, Bits<20>>,
    /// `a` one cycle later, for the neighbour.
    pub a_out: Signal<Out, Bits<20>>,
    /// Partial-sum form, the lowest two bits of the fraction 0.
    pub p: Signal<Out, Bits<32>>,
    mul: Multiply<11, 11, 22>,
    a_reg: DFF<Bits<20>>,
    b_reg: DFF<Bits<20>>,
    sig: DFF<Bits<22>>,
    a_exp: DFF<Bits<6>>,
    b_exp: DFF<Bits<6>>,
    sign: DFF<Bit>,
    nan: DFF<Bit>,
    special: DFF<Bit>,
    a_zero: Signal<Local, Bit>,
    b_zero: Signal<Local, Bit>,
    field: Signal<Local, Bits<8>>,
    frac: Signal<Local, Bits<21>>,
    out_mag: DFF<Bits<28>>,
    out_sign: DFF<Bit>,
    out_special: DFF<Bit>,
}

impl Logic for Product {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module product");
        dff_setup!(self, clock, a_reg, b_reg, sig, a_exp, b_exp, sign, nan, special, out_mag, out_sign, out_special);
        self.a_reg.d.next = self.a.val();
        self.b_reg.d.next = self.b.val();
        self.a_out.next = self.a_reg.q.val();
        // Multiply. A number is zero if its top significand bit is.
        self.mul.a.next = self.a_reg.q.val().get_bits::<11>(0);
        self.mul.b.next = self.b_reg.q.val().get_bits::<11>(0);
        self.sig.d.next = self.mul.p.val();
        self.a_exp.d.next = self.a_reg.q.val().get_bits::<6>(11);
        self.b_exp.d.next = self.b_reg.q.val().get_bits::<6>(11);
        self.sign.d.next = self.a_reg.q.val().get_bit(17) ^ self.b_reg.q.val().get_bit(17);
        self.a_zero.next = !self.a_reg.q.val().get_bit(10);
        self.b_zero.next = !self.b_reg.q.val().get_bit(10);
        self.nan.d.next = self.a_reg.q.val().get_bit(19)
            | self.b_reg.q.val().get_bit(19)
            | (self.a_reg.q.val().get_bit(18) & self.b_zero.val())
            | (self.b_reg.q.val().get_bit(18) & self.a_zero.val());
        self.special.d.next = self.a_reg.q.val().get_bits::<2>(18).any() | self.b_reg.q.val().get_bits::<2>(18).any();
        // Normalise. The lowest place of the sum of the exponents makes the carry: 1 for a significand of 2 or more.
        self.field.next = ((bit_cast::<8, 6>(self.a_exp.q.val()) << 1) | 1)
            + ((bit_cast::<8, 6>(self.b_exp.q.val()) << 1) | bit_cast::<8, 1>(self.sig.q.val().get_bits::<1>(21)));
        self.frac.next = bit_cast::<21, 20>(self.sig.q.val().get_bits::<20>(0)) << 1;
        if self.sig.q.val().get_bit(21) {
            self.frac.next = self.sig.q.val().get_bits::<21>(0);
        }
        self.out_mag.d.next =
            (bit_cast::<28, 7>(self.field.val().get_bits::<7>(1)) << 21) | bit_cast::<28, 21>(self.frac.val());
        if self.special.q.val() | !self.sig.q.val().get_bits::<2>(20).any() {
            self.out_mag.d.next = bit_cast::<28, 1>(self.nan.q.val().into()) << 20;
        }
        self.out_sign.d.next = self.sign.q.val();
        self.out_special.d.next = self.special.q.val();
        self.p.next = (bit_cast::<32, 28>(self.out_mag.q.val()) << 2)
            | (bit_cast::<32, 1>(self.out_sign.q.val().into()) << 30)
            | (bit_cast::<32, 1>(self.out_special.q.val().into()) << 31);
    }
}
