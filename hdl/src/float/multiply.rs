//! An unsigned product of any widths, which a kernel cannot write: rust-hdl multiplies 16 by 16 bits only.
//! The syntax tree is built by hand; synthesis maps it to as few DSP blocks as its widths need.

use rust_hdl_core::ast::{VerilogExpression, VerilogOp, VerilogStatement};
use rust_hdl_core::prelude::*;

/// `p = a · b`; combinational; `P` must be `A + B`, at most 64.
#[derive(LogicBlock, Default)]
pub struct Multiply<const A: usize, const B: usize, const P: usize> {
    /// Factor.
    pub a: Signal<In, Bits<A>>,
    /// Factor.
    pub b: Signal<In, Bits<B>>,
    /// Product, exact.
    pub p: Signal<Out, Bits<P>>,
}

impl<const A: usize, const B: usize, const P: usize> Logic for Multiply<A, B, P> {
    fn update(&mut self) {
        let product = self.a.val().to_u64() * self.b.val().to_u64();
        self.p.next = product.to_bits();
    }

    fn connect(&mut self) {
        self.p.connect();
    }

    fn hdl(&self) -> Verilog {
        let signal = |name: &str| VerilogExpression::Signal(name.to_string());
        Verilog::Combinatorial(vec![
            VerilogStatement::Comment(format!("module multiply_{A}x{B}")),
            VerilogStatement::Assignment(
                signal("p"),
                VerilogExpression::Binary(Box::new(signal("a")), VerilogOp::Mul, Box::new(signal("b"))),
            ),
        ])
    }
}
