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
    x_top: Signal<Local, Bit>,
    x_frac: Signal<Local, Bit>,
    x_zero: Signal<Local, Bit>,
    y_top: Signal<Local, Bit>,
    y_frac: Signal<Local, Bit>,
    y_zero: Signal<Local, Bit>,
    xs: Signal<Local, Bit>,
    ys: Signal<Local, Bit>,
    nan_x: Signal<Local, Bit>,
    nan: Signal<Local, Bit>,
    zeros: Signal<Local, Bit>,
    addend: Signal<Local, Bits<34>>,
    total: Signal<Local, Bits<34>>,
    sum: Signal<Local, Bits<32>>,
    no_borrow: Signal<Local, Bit>,
    differ: Signal<Local, Bit>,
    below: Signal<Local, Bit>,
    pass_x: Signal<Local, Bit>,
    pass_y: Signal<Local, Bit>,
    pass_z: Signal<Local, Bit>,
    from_x: Signal<Local, Bits<32>>,
    from_y: Signal<Local, Bits<32>>,
    from_z: Signal<Local, Bits<32>>,
    other: Signal<Local, Bits<32>>,
}

impl Logic for Alu {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module vector_alu");
        self.xs.next = self.x.val().get_bit(31);
        self.ys.next = self.y.val().get_bit(31);
        self.x_top.next = self.x.val().get_bits::<8>(23).all();
        self.y_top.next = self.y.val().get_bits::<8>(23).all();
        self.x_frac.next = self.x.val().get_bits::<23>(0).any();
        self.y_frac.next = self.y.val().get_bits::<23>(0).any();
        self.x_zero.next = !self.x.val().get_bits::<8>(23).any() & !self.x_frac.val();
        self.y_zero.next = !self.y.val().get_bits::<8>(23).any() & !self.y_frac.val();
        self.nan_x.next = self.x_top.val() & self.x_frac.val();
        self.nan.next = self.nan_x.val() | (self.y_top.val() & self.y_frac.val());
        self.zeros.next = self.x_zero.val() & self.y_zero.val();
        // One adder for sum, difference and order: y inverted and a carry below the lowest bit, but for the sum.
        self.addend.next = (bit_cast::<34, 32>(self.y.val() ^ 0xffffffffu64) << 1) | 1;
        if self.op.val() == 7 {
            self.addend.next = bit_cast::<34, 32>(self.y.val()) << 1;
        }
        self.total.next = ((bit_cast::<34, 32>(self.x.val()) << 1) | 1) + self.addend.val();
        self.sum.next = self.total.val().get_bits::<32>(1);
        self.no_borrow.next = self.total.val().get_bit(33);
        self.differ.next = self.sum.val().any();
        // x before y in the order -Inf … -0 +0 … +Inf: patterns of equal sign are magnitudes.
        if self.xs.val() != self.ys.val() {
            self.below.next = self.xs.val();
        } else if self.xs.val() {
            self.below.next = self.no_borrow.val() & self.differ.val();
        } else {
            self.below.next = !self.no_borrow.val();
        }
        // What passes; everything else goes beside, in `other`.
        self.pass_x.next = false;
        self.pass_y.next = false;
        self.pass_z.next = false;
        self.other.next = bits::<32>(0);
        match self.op.val().index() {
            1 => {
                self.pass_x.next = !self.nan.val() & !self.below.val();
                self.pass_y.next = !self.nan.val() & self.below.val();
                if self.nan.val() {
                    self.other.next = bits::<32>(0x7fc00000);
                }
            }
            2 => {
                self.pass_x.next = !self.nan.val() & self.below.val();
                self.pass_y.next = !self.nan.val() & !self.below.val();
                if self.nan.val() {
                    self.other.next = bits::<32>(0x7fc00000);
                }
            }
            3 => {
                self.pass_y.next = self.xs.val();
                self.pass_z.next = !self.xs.val();
            }
            4 => {
                self.pass_y.next = !self.xs.val() & !self.x_zero.val() & !self.nan_x.val();
                self.pass_z.next = self.xs.val() | self.x_zero.val() | self.nan_x.val();
            }
            5 => {
                if !self.nan.val() & (self.zeros.val() | !self.below.val()) {
                    self.other.next = bits::<32>(0x3f800000);
                }
            }
            6 => {
                if !self.nan.val() & (self.zeros.val() | !self.differ.val()) {
                    self.other.next = bits::<32>(0x3f800000);
                }
            }
            7 => {
                self.other.next = self.sum.val();
            }
            8 => {
                self.other.next = self.sum.val();
            }
            9 => {
                self.other.next = self.x.val() & self.y.val();
            }
            10 => {
                self.pass_x.next = true;
                self.pass_y.next = true;
            }
            11 => {
                self.other.next = self.x.val() ^ self.y.val();
            }
            12 => {
                self.other.next = self.x.val() << 23;
            }
            13 => {
                self.other.next = self.x.val() >> 23;
            }
            14 => {
                self.other.next = self.x.val() >> 1;
            }
            _ => {
                self.pass_z.next = true;
            }
        }
        self.from_x.next = bits::<32>(0);
        if self.pass_x.val() {
            self.from_x.next = self.x.val();
        }
        self.from_y.next = bits::<32>(0);
        if self.pass_y.val() {
            self.from_y.next = self.y.val();
        }
        self.from_z.next = bits::<32>(0);
        if self.pass_z.val() {
            self.from_z.next = self.z.val();
        }
        self.d.next = self.from_x.val() | self.from_y.val() | self.from_z.val() | self.other.val();
    }
}
