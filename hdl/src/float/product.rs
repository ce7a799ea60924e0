//! The exact product of two operand forms, as the array's adder takes it.
//!
//! ```text
//!  a ──[a]──┐
//!           ├─ 11×11, one DSP ─[m]── normalise by 0 or 1 ──[y]──> product form
//!  w ──[w]──┘   exponents add  [e]   classes to exponent 127
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
    /// Partial-sum form: sign, exponent (7), fraction (23, the lowest two bits 0).
    pub p: Signal<Out, Bits<31>>,
    mul: Multiply<11, 11, 22>,
    a_reg: DFF<Bits<20>>,
    b_reg: DFF<Bits<20>>,
    sig: DFF<Bits<22>>,
    exp: DFF<Bits<7>>,
    sign: DFF<Bit>,
    nan: DFF<Bit>,
    special: DFF<Bit>,
    a_zero: Signal<Local, Bit>,
    b_zero: Signal<Local, Bit>,
    field: Signal<Local, Bits<7>>,
    magnitude: Signal<Local, Bits<30>>,
    out_mag: DFF<Bits<30>>,
    out_sign: DFF<Bit>,
}

impl Logic for Product {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module product");
        dff_setup!(self, clock, a_reg, b_reg, sig, exp, sign, nan, special, out_mag, out_sign);
        self.a_reg.d.next = self.a.val();
        self.b_reg.d.next = self.b.val();
        self.a_out.next = self.a_reg.q.val();
        // Multiply. A number is zero if its top significand bit is.
        self.mul.a.next = self.a_reg.q.val().get_bits::<11>(0);
        self.mul.b.next = self.b_reg.q.val().get_bits::<11>(0);
        self.sig.d.next = self.mul.p.val();
        self.exp.d.next = bit_cast::<7, 6>(self.a_reg.q.val().get_bits::<6>(11))
            + bit_cast::<7, 6>(self.b_reg.q.val().get_bits::<6>(11));
        self.sign.d.next = self.a_reg.q.val().get_bit(17) ^ self.b_reg.q.val().get_bit(17);
        self.a_zero.next = !self.a_reg.q.val().get_bit(10);
        self.b_zero.next = !self.b_reg.q.val().get_bit(10);
        self.nan.d.next = self.a_reg.q.val().get_bit(19)
            | self.b_reg.q.val().get_bit(19)
            | (self.a_reg.q.val().get_bit(18) & self.b_zero.val())
            | (self.b_reg.q.val().get_bit(18) & self.a_zero.val());
        self.special.d.next = self.a_reg.q.val().get_bits::<2>(18).any() | self.b_reg.q.val().get_bits::<2>(18).any();
        // Normalise. The FP32 exponent of the product is exp + 79 or exp + 80; the partial-sum form holds it less 78.
        self.field.next = self.exp.q.val() + (bits::<7>(1) + bit_cast::<7, 1>(self.sig.q.val().get_bits::<1>(21)));
        if self.special.q.val() {
            self.magnitude.next = bits::<30>(0x3f800000);
            if self.nan.q.val() {
                self.magnitude.next = bits::<30>(0x3fc00000);
            }
        } else if self.sig.q.val().get_bit(21) {
            self.magnitude.next = (bit_cast::<30, 7>(self.field.val()) << 23)
                | (bit_cast::<30, 21>(self.sig.q.val().get_bits::<21>(0)) << 2);
        } else if self.sig.q.val().get_bit(20) {
            self.magnitude.next = (bit_cast::<30, 7>(self.field.val()) << 23)
                | (bit_cast::<30, 20>(self.sig.q.val().get_bits::<20>(0)) << 3);
        } else {
            self.magnitude.next = bits::<30>(0);
        }
        self.out_mag.d.next = self.magnitude.val();
        self.out_sign.d.next = self.sign.q.val();
        self.p.next =
            (bit_cast::<31, 1>(self.out_sign.q.val().into()) << 30) | bit_cast::<31, 30>(self.out_mag.q.val());
    }
}
