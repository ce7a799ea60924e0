//! One lane: from queue heads to a result, never stalling.
//!
//! ```text
//!  x, y, z ──> to FP32, abs, neg ──[1]──┬─ fmul ──────[1+M]── fadd ──[1+M+A]──┬──> single
//!  (broadcasts)                         └─ alu (or z) ──delay line────────────┘      │
//!                                                                            single_to_half ──[+2]──> half
//! ```

use super::{Alu, many};
use crate::comment;
use crate::float::{FADD_LATENCY, FMUL_LATENCY, Fadd, Fmul, HalfToSingle, SingleToHalf};
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Cycles from a lane's operand registers to its FP32 result, the same for every operation.
pub const LANE_LATENCY: usize = FMUL_LATENCY + FADD_LATENCY;

/// One operand of one lane: conversion and modifiers, or a broadcast; combinational.
#[derive(LogicBlock, Default)]
pub struct Operand {
    /// What memory holds (`hmem`: in the low half).
    pub raw: Signal<In, Bits<32>>,
    /// The value of an operand that is not in memory.
    pub constant: Signal<In, Bits<32>>,
    /// Kind: 0 `hmem`, 1 `smem`, else the constant.
    pub kind: Signal<In, Bits<2>>,
    /// Clear bit 31.
    pub abs: Signal<In, Bit>,
    /// Then flip it.
    pub neg: Signal<In, Bit>,
    /// Exponent added to an `hmem` operand.
    pub exp: Signal<In, Bits<8>>,
    /// The operand.
    pub value: Signal<Out, Bits<32>>,
    convert: HalfToSingle,
    loaded: Signal<Local, Bits<32>>,
    sign: Signal<Local, Bit>,
}

impl Logic for Operand {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module vector_operand");
        self.convert.half.next = self.raw.val().get_bits::<16>(0);
        self.convert.offset.next = self.exp.val();
        self.loaded.next = self.raw.val();
        if !self.kind.val().get_bit(0) {
            self.loaded.next = self.convert.single.val();
        }
        self.sign.next = (self.loaded.val().get_bit(31) & !self.abs.val()) ^ self.neg.val();
        self.value.next = self.loaded.val() & 0x7fffffff;
        if self.sign.val() {
            self.value.next = self.loaded.val() | 0x80000000u64;
        }
        if self.kind.val().get_bit(1) {
            self.value.next = self.constant.val();
        }
    }
}

/// A lane. See the module's text.
#[derive(LogicBlock)]
pub struct Lane {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Take operands in this cycle.
    pub take: Signal<In, Bit>,
    /// First operand, as memory holds it.
    pub x: Signal<In, Bits<32>>,
    /// Second operand.
    pub y: Signal<In, Bits<32>>,
    /// Third operand.
    pub z: Signal<In, Bits<32>>,
    /// Kinds of the operands x, y, z.
    pub kind: Vec<Signal<In, Bits<2>>>,
    /// Clear bit 31.
    pub abs: Vec<Signal<In, Bit>>,
    /// Then flip it.
    pub neg: Vec<Signal<In, Bit>>,
    /// Exponents to add.
    pub exp: Vec<Signal<In, Bits<8>>>,
    /// Broadcast values.
    pub constant: Vec<Signal<In, Bits<32>>>,
    /// Operation of the operands in the operand registers.
    pub op: Signal<In, Bits<4>>,
    /// The result that is due now comes from the adder.
    pub mad: Signal<In, Bit>,
    /// The result that is due now is wanted as FP16.
    pub narrow: Signal<In, Bit>,
    /// Result, [`LANE_LATENCY`] + 1 cycles after `take`.
    pub single: Signal<Out, Bits<32>>,
    /// `single` is an infinity or NaN.
    pub single_bad: Signal<Out, Bit>,
    /// The result as FP16 in the low half, two cycles after `single`.
    pub half: Signal<Out, Bits<32>>,
    /// `half` is an infinity or NaN.
    pub half_bad: Signal<Out, Bit>,
    operand: Vec<Operand>,
    value: Vec<DFF<Bits<32>>>,
    alu: Alu,
    mul: Fmul,
    add: Fadd,
    to_half: SingleToHalf,
    line: Vec<DFF<Bits<32>>>,
    line_bad: Signal<Local, Bit>,
    add_bad: Signal<Local, Bit>,
    result: Signal<Local, Bits<32>>,
    _mul: usize,
    _all: usize,
}

impl Default for Lane {
    fn default() -> Lane {
        Lane {
            clock: Default::default(),
            take: Default::default(),
            x: Default::default(),
            y: Default::default(),
            z: Default::default(),
            kind: many(3),
            abs: many(3),
            neg: many(3),
            exp: many(3),
            constant: many(3),
            op: Default::default(),
            mad: Default::default(),
            narrow: Default::default(),
            single: Default::default(),
            single_bad: Default::default(),
            half: Default::default(),
            half_bad: Default::default(),
            operand: many(3),
            value: many(3),
            alu: Default::default(),
            mul: Default::default(),
            add: Default::default(),
            to_half: Default::default(),
            line: many(LANE_LATENCY),
            line_bad: Default::default(),
            add_bad: Default::default(),
            result: Default::default(),
            _mul: FMUL_LATENCY,
            _all: LANE_LATENCY,
        }
    }
}

impl Logic for Lane {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module vector_lane");
        clock!(self, clock, mul, add, to_half);
        self.operand[0].raw.next = self.x.val();
        self.operand[1].raw.next = self.y.val();
        self.operand[2].raw.next = self.z.val();
        for i in 0..3 {
            self.operand[i].constant.next = self.constant[i].val();
            self.operand[i].exp.next = self.exp[i].val();
            self.operand[i].kind.next = self.kind[i].val();
            self.operand[i].abs.next = self.abs[i].val();
            self.operand[i].neg.next = self.neg[i].val();
            self.value[i].clock.next = self.clock.val();
            self.value[i].d.next = self.value[i].q.val();
            if self.take.val() {
                self.value[i].d.next = self.operand[i].value.val();
            }
        }
        self.alu.op.next = self.op.val();
        self.alu.x.next = self.value[0].q.val();
        self.alu.y.next = self.value[1].q.val();
        self.alu.z.next = self.value[2].q.val();
        self.mul.a.next = self.value[0].q.val();
        self.mul.b.next = self.value[1].q.val();
        self.line[0].clock.next = self.clock.val();
        self.line[0].d.next = self.alu.d.val();
        for i in 1..self._all {
            self.line[i].clock.next = self.clock.val();
            self.line[i].d.next = self.line[i - 1].q.val();
        }
        self.add.x.next = self.mul.p.val();
        for m in self._mul..(self._mul + 1) {
            self.add.y.next = self.line[m - 1].q.val();
        }
        for a in self._all..(self._all + 1) {
            self.result.next = self.line[a - 1].q.val();
            self.line_bad.next = self.line[a - 1].q.val().get_bits::<8>(23) == 255;
        }
        self.add_bad.next = self.add.z.val().get_bits::<8>(23) == 255;
        // (each is looked at before one is chosen: the choice reaches all lanes, and so comes late)
        self.single_bad.next = self.line_bad.val();
        if self.mad.val() {
            self.result.next = self.add.z.val();
            self.single_bad.next = self.add_bad.val();
        }
        self.single.next = self.result.val();
        self.to_half.single.next = bits::<32>(0);
        if self.narrow.val() {
            self.to_half.single.next = self.result.val();
        }
        self.half.next = bit_cast::<32, 16>(self.to_half.half.val());
        self.half_bad.next = self.to_half.nonfinite.val();
    }
}
