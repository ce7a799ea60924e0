//! The operations that pass or make 32-bit patterns without rounding; combinational.

use crate::comment;
use rust_hdl_core::prelude::*;

/// Everything of [`systole_isa::instr::VectorOp`] but `Mad`, whose place is taken by z.
#[derive(LogicBlock, Default)]
pub struct Alu {
    /// Operation.
    pub op: Signal<In, Bits<4>>,
    /// First operand.
    pub x: Signal<In, Bits<32>>,
    /// Second operand.
    pub y: Signal<In, Bits<32>>,
    /// Third operand.
    pub z: Signal<In, Bits<32>>,
    /// Result.
    pub d: Signal<Out, Bits<32>>,
    xm: Signal<Local, Bits<31>>,
    ym: Signal<Local, Bits<31>>,
    xs: Signal<Local, Bit>,
    ys: Signal<Local, Bit>,
    nan_x: Signal<Local, Bit>,
    nan: Signal<Local, Bit>,
    zeros: Signal<Local, Bit>,
    below: Signal<Local, Bit>,
    sum: Signal<Local, Bits<32>>,
    difference: Signal<Local, Bits<32>>,
}

impl Logic for Alu {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module vector_alu");
        self.xm.next = self.x.val().get_bits::<31>(0);
        self.ym.next = self.y.val().get_bits::<31>(0);
        self.xs.next = self.x.val().get_bit(31);
        self.ys.next = self.y.val().get_bit(31);
        self.nan_x.next = self.xm.val() > 0x7f800000;
        self.nan.next = self.nan_x.val() | (self.ym.val() > 0x7f800000);
        self.zeros.next = (self.xm.val() == 0) & (self.ym.val() == 0);
        // x before y in the order -Inf … -0 +0 … +Inf
        if self.xs.val() != self.ys.val() {
            self.below.next = self.xs.val();
        } else if self.xs.val() {
            self.below.next = self.ym.val() < self.xm.val();
        } else {
            self.below.next = self.xm.val() < self.ym.val();
        }
        self.sum.next = self.x.val() + self.y.val();
        self.difference.next = self.x.val() - self.y.val();
        self.d.next = self.z.val();
        if self.op.val() == 1 {
            self.d.next = self.x.val();
            if self.nan.val() {
                self.d.next = bits::<32>(0x7fc00000);
            } else if self.below.val() {
                self.d.next = self.y.val();
            }
        } else if self.op.val() == 2 {
            self.d.next = self.y.val();
            if self.nan.val() {
                self.d.next = bits::<32>(0x7fc00000);
            } else if self.below.val() {
                self.d.next = self.x.val();
            }
        } else if self.op.val() == 3 {
            if self.xs.val() {
                self.d.next = self.y.val();
            }
        } else if self.op.val() == 4 {
            if !self.xs.val() & (self.xm.val() != 0) & !self.nan_x.val() {
                self.d.next = self.y.val();
            }
        } else if self.op.val() == 5 {
            self.d.next = bits::<32>(0);
            if !self.nan.val() & (self.zeros.val() | !self.below.val()) {
                self.d.next = bits::<32>(0x3f800000);
            }
        } else if self.op.val() == 6 {
            self.d.next = bits::<32>(0);
            if !self.nan.val() & (self.zeros.val() | (self.x.val() == self.y.val())) {
                self.d.next = bits::<32>(0x3f800000);
            }
        } else if self.op.val() == 7 {
            self.d.next = self.sum.val();
        } else if self.op.val() == 8 {
            self.d.next = self.difference.val();
        } else if self.op.val() == 9 {
            self.d.next = self.x.val() & self.y.val();
        } else if self.op.val() == 10 {
            self.d.next = self.x.val() | self.y.val();
        } else if self.op.val() == 11 {
            self.d.next = self.x.val() ^ self.y.val();
        } else if self.op.val() == 12 {
            self.d.next = self.x.val() << 23;
        } else if self.op.val() == 13 {
            self.d.next = self.x.val() >> 23;
        } else if self.op.val() == 14 {
            self.d.next = self.x.val() >> 1;
        }
    }
}
