//! Decides when a vector enters the lanes, and says what it is when it comes out.
//!
//! ```text
//!  operand queues ──avail──> go ──enter──> tag[0] … tag[LANE_LATENCY] ──> single_valid, count, row_last, last
//!  free result slots ────────^                                  └──> tag_half[..] ──> half_valid
//! ```

use super::{LANE_LATENCY, many};
use crate::comment;
use crate::float::TO_HALF_LATENCY;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Sends vectors into the lanes, with tags that tell the writer what comes out. See the module's text.
#[derive(LogicBlock)]
pub struct Execute {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Forget everything.
    pub abort: Signal<In, Bit>,
    /// A started instruction is there and the writer can take it: without and with `finish`, which is known last.
    pub offered: Vec<Signal<In, Bit>>,
    /// The writer's instruction ends in this cycle.
    pub finish: Signal<In, Bit>,
    /// The instruction is taken in this cycle.
    pub take: Signal<Out, Bit>,
    /// Word 0.
    pub header: Signal<In, Bits<32>>,
    /// Word 1: rows, columns << 16.
    pub size: Signal<In, Bits<32>>,
    /// Words 2, 4, 6.
    pub source: Vec<Signal<In, Bits<32>>>,
    /// The scalar registers that these words name.
    pub sreg: Vec<Signal<In, Bits<32>>>,
    /// Exponent of `scaled` operands.
    pub exp: Signal<In, Bits<8>>,
    /// Operand queues that hold a vector.
    pub avail: Vec<Signal<In, Bit>>,
    /// Take it from those queues.
    pub pop: Vec<Signal<Out, Bit>>,
    /// A vector enters the lanes.
    pub enter: Signal<Out, Bit>,
    /// A result has left its queue.
    pub advance: Signal<In, Bit>,
    /// Kind per operand.
    pub kind: Vec<Signal<Out, Bits<2>>>,
    /// Clear bit 31, per operand.
    pub abs: Vec<Signal<Out, Bit>>,
    /// Then flip it.
    pub neg: Vec<Signal<Out, Bit>>,
    /// Exponent per operand.
    pub exponent: Vec<Signal<Out, Bits<8>>>,
    /// Broadcast value per operand.
    pub constant: Vec<Signal<Out, Bits<32>>>,
    /// Operation of the vector in the operand registers.
    pub op: Signal<Out, Bits<4>>,
    /// An FP32 result comes out of the lanes.
    pub single_valid: Signal<Out, Bit>,
    /// It comes from the adder.
    pub mad: Signal<Out, Bit>,
    /// It is wanted as FP16.
    pub narrow: Signal<Out, Bit>,
    /// Its enabled lanes.
    pub count: Signal<Out, Bits<5>>,
    /// It ends a row.
    pub row_last: Signal<Out, Bit>,
    /// It ends the instruction.
    pub last: Signal<Out, Bit>,
    /// An FP16 result comes out of the lanes.
    pub half_valid: Signal<Out, Bit>,
    /// Its enabled lanes.
    pub half_count: Signal<Out, Bits<5>>,
    /// There are vectors to enter.
    pub busy: Signal<Out, Bit>,
    going: DFF<Bit>,
    opcode: DFF<Bits<4>>,
    op_1: DFF<Bits<4>>,
    narrow_q: DFF<Bit>,
    kind_q: Vec<DFF<Bits<2>>>,
    abs_q: Vec<DFF<Bit>>,
    neg_q: Vec<DFF<Bit>>,
    scaled: Vec<DFF<Bit>>,
    constant_q: Vec<DFF<Bits<32>>>,
    need: Vec<DFF<Bit>>,
    ready: Vec<Signal<Local, Bit>>,
    sign: Vec<Signal<Local, Bit>>,
    passed: Vec<Signal<Local, Bits<32>>>,
    cols: DFF<Bits<16>>,
    cols_left: DFF<Bits<16>>,
    rows_left: DFF<Bits<16>>,
    room_used: DFF<Bits<5>>,
    go: Signal<Local, Bit>,
    row_end: Signal<Local, Bit>,
    end: Signal<Local, Bit>,
    fewer: Signal<Local, Bits<16>>,
    lanes_on: Signal<Local, Bits<5>>,
    room: Signal<Local, Bit>,
    taking: Signal<Local, Bit>,
    tag_in: Signal<Local, Bits<10>>,
    tag_out: Signal<Local, Bits<10>>,
    tag_mad: Signal<Local, Bits<10>>,
    tag_kind: Signal<Local, Bits<10>>,
    tag_end: Signal<Local, Bits<10>>,
    tag: Vec<DFF<Bits<10>>>,
    tag_half: Vec<DFF<Bits<6>>>,
    lanes: Constant<Bits<16>>,
    _last: usize,
    _half: usize,
}

impl Execute {
    /// For V lanes.
    pub fn new(v: usize) -> Execute {
        Execute {
            clock: Default::default(),
            abort: Default::default(),
            offered: many(2),
            finish: Default::default(),
            take: Default::default(),
            header: Default::default(),
            size: Default::default(),
            source: many(3),
            sreg: many(3),
            exp: Default::default(),
            avail: many(3),
            pop: many(3),
            enter: Default::default(),
            advance: Default::default(),
            kind: many(3),
            abs: many(3),
            neg: many(3),
            exponent: many(3),
            constant: many(3),
            op: Default::default(),
            single_valid: Default::default(),
            mad: Default::default(),
            narrow: Default::default(),
            count: Default::default(),
            row_last: Default::default(),
            last: Default::default(),
            half_valid: Default::default(),
            half_count: Default::default(),
            busy: Default::default(),
            going: Default::default(),
            opcode: Default::default(),
            op_1: Default::default(),
            narrow_q: Default::default(),
            kind_q: many(3),
            abs_q: many(3),
            neg_q: many(3),
            scaled: many(3),
            constant_q: many(3),
            need: many(3),
            ready: many(3),
            sign: many(3),
            passed: many(3),
            cols: Default::default(),
            cols_left: Default::default(),
            rows_left: Default::default(),
            room_used: Default::default(),
            go: Default::default(),
            row_end: Default::default(),
            end: Default::default(),
            fewer: Default::default(),
            lanes_on: Default::default(),
            room: Default::default(),
            taking: Default::default(),
            tag_in: Default::default(),
            tag_out: Default::default(),
            tag_mad: Default::default(),
            tag_kind: Default::default(),
            tag_end: Default::default(),
            tag: many(LANE_LATENCY + 1),
            tag_half: many(TO_HALF_LATENCY),
            lanes: Constant::new(bits(v as u64)),
            _last: LANE_LATENCY,
            _half: TO_HALF_LATENCY,
        }
    }
}

impl Logic for Execute {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module vector_execute");
        dff_setup!(self, clock, going, opcode, op_1, narrow_q, cols, cols_left, rows_left, room_used);
        self.row_end.next = self.cols_left.q.val() <= self.lanes.val();
        self.end.next = self.row_end.val() & (self.rows_left.q.val() == 1);
        self.fewer.next = self.cols_left.q.val() - self.lanes.val();
        self.lanes_on.next = self.cols_left.q.val().get_bits::<5>(0);
        if !self.row_end.val() {
            self.lanes_on.next = self.lanes.val().get_bits::<5>(0);
        }
        for i in 0..3 {
            self.ready[i].next = self.avail[i].val() | !self.need[i].q.val();
        }
        self.go.next = self.going.q.val()
            & self.ready[0].val()
            & self.ready[1].val()
            & self.ready[2].val()
            & !self.room_used.q.val().get_bit(4);
        self.room.next = !self.going.q.val() | (self.go.val() & self.end.val());
        self.taking.next = self.room.val() & self.offered[0].val();
        if self.finish.val() {
            self.taking.next = self.room.val() & self.offered[1].val();
        }
        self.take.next = self.taking.val();
        self.enter.next = self.go.val();
        for i in 0..3 {
            self.pop[i].next = self.go.val() & self.need[i].q.val();
        }

        if self.go.val() {
            self.op_1.d.next = self.opcode.q.val();
            self.cols_left.d.next = self.fewer.val();
            if self.row_end.val() {
                self.cols_left.d.next = self.cols.q.val();
                self.rows_left.d.next = self.rows_left.q.val() - 1;
            }
            if self.end.val() {
                self.going.d.next = false;
            }
        }
        if self.go.val() & !self.advance.val() {
            self.room_used.d.next = self.room_used.q.val() + 1;
        } else if self.advance.val() & !self.go.val() {
            self.room_used.d.next = self.room_used.q.val() - 1;
        }

        for i in 0..3 {
            self.kind_q[i].clock.next = self.clock.val();
            self.kind_q[i].d.next = self.kind_q[i].q.val();
            self.abs_q[i].clock.next = self.clock.val();
            self.abs_q[i].d.next = self.abs_q[i].q.val();
            self.neg_q[i].clock.next = self.clock.val();
            self.neg_q[i].d.next = self.neg_q[i].q.val();
            self.scaled[i].clock.next = self.clock.val();
            self.scaled[i].d.next = self.scaled[i].q.val();
            self.need[i].clock.next = self.clock.val();
            self.need[i].d.next = self.need[i].q.val();
            self.constant_q[i].clock.next = self.clock.val();
            self.constant_q[i].d.next = self.constant_q[i].q.val();
            // A scalar register passes the modifiers; an immediate has none.
            self.sign[i].next =
                (self.sreg[i].val().get_bit(31) & !self.source[i].val().get_bit(26)) ^ self.source[i].val().get_bit(24);
            self.passed[i].next = self.sreg[i].val() & 0x7fffffff;
            if self.sign[i].val() {
                self.passed[i].next = self.sreg[i].val() | 0x80000000u64;
            }
            if self.taking.val() {
                self.kind_q[i].d.next = self.header.val().get_bits::<2>(2 * i + 19);
                self.abs_q[i].d.next = self.source[i].val().get_bit(26);
                self.neg_q[i].d.next = self.source[i].val().get_bit(24);
                self.scaled[i].d.next = self.source[i].val().get_bit(25);
                self.need[i].d.next = !self.header.val().get_bit(2 * i + 20);
                self.constant_q[i].d.next = self.source[i].val();
                if self.header.val().get_bit(2 * i + 19) {
                    self.constant_q[i].d.next = self.passed[i].val();
                }
            }
            self.kind[i].next = self.kind_q[i].q.val();
            self.abs[i].next = self.abs_q[i].q.val();
            self.neg[i].next = self.neg_q[i].q.val();
            self.constant[i].next = self.constant_q[i].q.val();
            self.exponent[i].next = bits::<8>(0);
            if self.scaled[i].q.val() {
                self.exponent[i].next = self.exp.val();
            }
        }
        if self.taking.val() {
            self.going.d.next = true;
            self.opcode.d.next = self.header.val().get_bits::<4>(0);
            self.narrow_q.d.next = (self.header.val().get_bits::<2>(25) == 0) | self.header.val().get_bit(27);
            self.cols.d.next = self.size.val().get_bits::<16>(16);
            self.cols_left.d.next = self.size.val().get_bits::<16>(16);
            self.rows_left.d.next = self.size.val().get_bits::<16>(0);
        }

        // Tags: 9 valid, 8 from the adder, 7 narrow, 6 last, 5 row_last, 4:0 count.
        self.tag_mad.next = bits::<10>(0);
        if self.opcode.q.val() == 0 {
            self.tag_mad.next = bits::<10>(0x100);
        }
        self.tag_kind.next = bits::<10>(0);
        if self.narrow_q.q.val() {
            self.tag_kind.next = bits::<10>(0x80);
        }
        self.tag_end.next = bits::<10>(0);
        if self.end.val() {
            self.tag_end.next = bits::<10>(0x60);
        } else if self.row_end.val() {
            self.tag_end.next = bits::<10>(0x20);
        }
        self.tag_in.next = bits::<10>(0);
        if self.go.val() {
            self.tag_in.next = bits::<10>(0x200)
                | bit_cast::<10, 5>(self.lanes_on.val())
                | self.tag_mad.val()
                | self.tag_kind.val()
                | self.tag_end.val();
        }
        self.tag[0].clock.next = self.clock.val();
        self.tag[0].d.next = self.tag_in.val();
        for i in 1..(self._last + 1) {
            self.tag[i].clock.next = self.clock.val();
            self.tag[i].d.next = self.tag[i - 1].q.val();
        }
        for k in self._last..(self._last + 1) {
            self.tag_out.next = self.tag[k].q.val();
        }
        self.single_valid.next = self.tag_out.val().get_bit(9);
        self.mad.next = self.tag_out.val().get_bit(8);
        self.narrow.next = self.tag_out.val().get_bit(7);
        self.last.next = self.tag_out.val().get_bit(6);
        self.row_last.next = self.tag_out.val().get_bit(5);
        self.count.next = self.tag_out.val().get_bits::<5>(0);
        self.tag_half[0].d.next = bit_cast::<6, 5>(self.tag_out.val().get_bits::<5>(0))
            | (bit_cast::<6, 1>(self.tag_out.val().get_bits::<1>(9)) << 5);
        self.tag_half[0].clock.next = self.clock.val();
        for i in 1..self._half {
            self.tag_half[i].clock.next = self.clock.val();
            self.tag_half[i].d.next = self.tag_half[i - 1].q.val();
        }
        for k in self._half..(self._half + 1) {
            self.half_valid.next = self.tag_half[k - 1].q.val().get_bit(5);
            self.half_count.next = self.tag_half[k - 1].q.val().get_bits::<5>(0);
        }

        if self.abort.val() {
            self.going.d.next = false;
            self.room_used.d.next = bits::<5>(0);
            for i in 0..(self._last + 1) {
                self.tag[i].d.next = bits::<10>(0);
            }
            for i in 0..self._half {
                self.tag_half[i].d.next = bits::<6>(0);
            }
        }
        self.op.next = self.op_1.q.val();
        self.busy.next = self.going.q.val();
    }
}
