//! Takes results out of the lanes in order and writes them: to `smem` or `hmem` (client `v_d`), as an FP16 copy (`v_c`), or to a
//! scalar register; counts completed instructions; finds non-finite values.
//!
//! ```text
//!  take ──> next instruction ──> instruction in hand ── Walk d, Walk c ──> req, addr
//!  results ──> note (count, ends, first bad lane) ──> queue, or past it when it is empty ──> advance when all are granted
//! ```
//!
//! FP16 results arrive two cycles after the FP32 results of the same vector, so the two queues have their own ends and one
//! common head; the end of the FP16 queue may lie behind the head while an instruction wants no FP16. Whether a queue holds the
//! oldest result is a flip-flop: everything that a result does in a cycle waits for it.

use super::{LaneRam, Walk, many};
use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Writes results in order. See the module's text.
#[derive(LogicBlock)]
pub struct Writer {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Forget everything.
    pub abort: Signal<In, Bit>,
    /// Take an instruction (only if `free`).
    pub take: Signal<In, Bit>,
    /// An instruction can be taken: without and with `finish`. Not while a scalar register is written, which it may read.
    pub free: Vec<Signal<Out, Bit>>,
    /// A later instruction has started to read, and is not taken yet.
    pub followed: Signal<In, Bit>,
    /// Word 0.
    pub header: Signal<In, Bits<32>>,
    /// Word 8.
    pub d_base: Signal<In, Bits<32>>,
    /// Word 9.
    pub d_strides: Signal<In, Bits<32>>,
    /// Word 10.
    pub c_base: Signal<In, Bits<32>>,
    /// Word 11.
    pub c_strides: Signal<In, Bits<32>>,
    /// The instruction's address.
    pub pc: Signal<In, Bits<16>>,
    /// FP32 results arrive.
    pub single_valid: Signal<In, Bit>,
    /// Their enabled lanes.
    pub count: Signal<In, Bits<5>>,
    /// They end a row.
    pub row_last: Signal<In, Bit>,
    /// They end the instruction.
    pub last: Signal<In, Bit>,
    /// Lanes with an infinity or NaN.
    pub single_bad: Vec<Signal<In, Bit>>,
    /// FP16 results arrive.
    pub half_valid: Signal<In, Bit>,
    /// Their enabled lanes.
    pub half_count: Signal<In, Bits<5>>,
    /// Lanes with an infinity or NaN.
    pub half_bad: Vec<Signal<In, Bit>>,
    /// Queue slot for the arriving FP32 results.
    pub single_tail: Signal<Out, Bits<4>>,
    /// Queue slot for the arriving FP16 results.
    pub half_tail: Signal<Out, Bits<4>>,
    /// Queue slot of the oldest results.
    pub head: Signal<Out, Bits<4>>,
    /// The oldest FP32 results are in the queue (else they arrive right now).
    pub single_queued: Signal<Out, Bit>,
    /// The oldest FP16 results are in the queue (else they arrive right now).
    pub half_queued: Signal<Out, Bit>,
    /// Requests of the destination and of the FP16 copy.
    pub req: Vec<Signal<Out, Bit>>,
    /// The same without regard to whether the data are there.
    pub want: Vec<Signal<Out, Bit>>,
    /// The destination is in `smem`.
    pub smem: Signal<Out, Bit>,
    /// Addresses of lane 0.
    pub addr: Vec<Signal<Out, Bits<20>>>,
    /// `(inner − 1)/N`.
    pub q: Vec<Signal<Out, Bits<16>>>,
    /// Enabled lanes of both.
    pub lanes_on: Signal<Out, Bits<5>>,
    /// Granted, if requested.
    pub gnt: Vec<Signal<In, Bit>>,
    /// The oldest results are gone.
    pub advance: Signal<Out, Bit>,
    /// A row of the newest instruction is wholly written.
    pub row_done: Signal<Out, Bit>,
    /// Write the first lane's result to a scalar register.
    pub sreg_we: Signal<Out, Bit>,
    /// Which.
    pub sreg_index: Signal<Out, Bits<4>>,
    /// Completed instructions.
    pub done: Signal<Out, Bits<8>>,
    /// One ends in this cycle.
    pub finish: Signal<Out, Bit>,
    /// Flags that a non-finite value sets.
    pub flag_set: Signal<Out, Bits<4>>,
    /// Address of the instruction.
    pub flag_pc: Signal<Out, Bits<16>>,
    /// Address of the element.
    pub flag_addr: Signal<Out, Bits<21>>,
    /// An instruction is here.
    pub busy: Signal<Out, Bit>,
    /// Its address.
    pub hand_pc: Signal<Out, Bits<16>>,
    walk: Vec<Walk>,
    next_valid: DFF<Bit>,
    next_header: DFF<Bits<32>>,
    next_d_base: DFF<Bits<32>>,
    next_d_strides: DFF<Bits<32>>,
    next_c_base: DFF<Bits<32>>,
    next_c_strides: DFF<Bits<32>>,
    next_pc: DFF<Bits<16>>,
    valid: DFF<Bit>,
    kind: DFF<Bits<2>>,
    copy: DFF<Bit>,
    flag: DFF<Bits<3>>,
    sreg_q: DFF<Bits<4>>,
    pc_q: DFF<Bits<16>>,
    taken: Vec<DFF<Bit>>,
    single_end: DFF<Bits<6>>,
    half_end: DFF<Bits<6>>,
    head_q: DFF<Bits<6>>,
    done_q: DFF<Bits<8>>,
    flag_q: DFF<Bits<4>>,
    flag_pc_q: DFF<Bits<16>>,
    lane_q: DFF<Bits<4>>,
    inner_q: DFF<Bits<16>>,
    base_q: DFF<Bits<20>>,
    single_q: DFF<Bit>,
    bad_now: Signal<Local, Bit>,
    single_notes: LaneRam,
    half_notes: LaneRam,
    single_note: Signal<Local, Bits<32>>,
    half_note: Signal<Local, Bits<32>>,
    note: Signal<Local, Bits<32>>,
    half_head: Signal<Local, Bits<32>>,
    half_apart: DFF<Bit>,
    single_there: Signal<Local, Bit>,
    half_there: Signal<Local, Bit>,
    half_kept: DFF<Bit>,
    single_kept: DFF<Bit>,
    single_end_then: Signal<Local, Bits<6>>,
    half_end_then: Signal<Local, Bits<6>>,
    head_then: Signal<Local, Bits<6>>,
    half_gap: Signal<Local, Bits<6>>,
    half_gap_gone: Signal<Local, Bits<6>>,
    avail: Signal<Local, Bit>,
    wants: Vec<Signal<Local, Bit>>,
    open: Vec<Signal<Local, Bit>>,
    request: Vec<Signal<Local, Bit>>,
    granted: Vec<Signal<Local, Bit>>,
    written: Vec<Signal<Local, Bit>>,
    gone: Signal<Local, Bit>,
    load: Signal<Local, Bit>,
    plus: Signal<Local, Bits<8>>,
    d_bad: Signal<Local, Bit>,
    c_bad: Signal<Local, Bit>,
    d_lane: Signal<Local, Bits<4>>,
    c_lane: Signal<Local, Bits<4>>,
    lane: Signal<Local, Bits<4>>,
    use_d: Signal<Local, Bit>,
    bad_inner: Signal<Local, Bits<16>>,
    bad_inner_wide: Signal<Local, Bits<20>>,
    bad_base: Signal<Local, Bits<20>>,
    part: Vec<Signal<Local, Bits<20>>>,
    multiple: Vec<Signal<Local, Bits<20>>>,
    bad_addr: Signal<Local, Bits<21>>,
    single_first: Vec<Signal<Local, Bits<6>>>,
    half_first: Vec<Signal<Local, Bits<6>>>,
    id: Vec<Constant<Bits<6>>>,
    id5: Vec<Constant<Bits<5>>>,
    _v: usize,
}

impl Writer {
    /// For N banks and V lanes.
    pub fn new(n: usize, v: usize) -> Writer {
        Writer {
            clock: Default::default(),
            abort: Default::default(),
            take: Default::default(),
            free: many(2),
            followed: Default::default(),
            header: Default::default(),
            d_base: Default::default(),
            d_strides: Default::default(),
            c_base: Default::default(),
            c_strides: Default::default(),
            pc: Default::default(),
            single_valid: Default::default(),
            count: Default::default(),
            row_last: Default::default(),
            last: Default::default(),
            single_bad: many(v),
            half_valid: Default::default(),
            half_count: Default::default(),
            half_bad: many(v),
            single_tail: Default::default(),
            half_tail: Default::default(),
            head: Default::default(),
            single_queued: Default::default(),
            half_queued: Default::default(),
            req: many(2),
            want: many(2),
            smem: Default::default(),
            addr: many(2),
            q: many(2),
            lanes_on: Default::default(),
            gnt: many(2),
            advance: Default::default(),
            row_done: Default::default(),
            sreg_we: Default::default(),
            sreg_index: Default::default(),
            done: Default::default(),
            flag_set: Default::default(),
            flag_pc: Default::default(),
            flag_addr: Default::default(),
            busy: Default::default(),
            hand_pc: Default::default(),
            walk: vec![Walk::new(n, v), Walk::new(n, v)],
            next_valid: Default::default(),
            next_header: Default::default(),
            next_d_base: Default::default(),
            next_d_strides: Default::default(),
            next_c_base: Default::default(),
            next_c_strides: Default::default(),
            next_pc: Default::default(),
            valid: Default::default(),
            kind: Default::default(),
            copy: Default::default(),
            flag: Default::default(),
            sreg_q: Default::default(),
            pc_q: Default::default(),
            taken: many(2),
            single_end: Default::default(),
            half_end: Default::default(),
            head_q: Default::default(),
            done_q: Default::default(),
            flag_q: Default::default(),
            flag_pc_q: Default::default(),
            lane_q: Default::default(),
            inner_q: Default::default(),
            base_q: Default::default(),
            single_q: Default::default(),
            bad_now: Default::default(),
            single_notes: Default::default(),
            half_notes: Default::default(),
            single_note: Default::default(),
            half_note: Default::default(),
            note: Default::default(),
            half_head: Default::default(),
            half_apart: Default::default(),
            single_there: Default::default(),
            half_there: Default::default(),
            half_kept: Default::default(),
            single_kept: Default::default(),
            single_end_then: Default::default(),
            half_end_then: Default::default(),
            head_then: Default::default(),
            half_gap: Default::default(),
            half_gap_gone: Default::default(),
            avail: Default::default(),
            wants: many(2),
            open: many(2),
            request: many(2),
            granted: many(2),
            written: many(2),
            gone: Default::default(),
            finish: Default::default(),
            load: Default::default(),
            plus: Default::default(),
            d_bad: Default::default(),
            c_bad: Default::default(),
            d_lane: Default::default(),
            c_lane: Default::default(),
            lane: Default::default(),
            use_d: Default::default(),
            bad_inner: Default::default(),
            bad_inner_wide: Default::default(),
            bad_base: Default::default(),
            part: many(5),
            multiple: many(4),
            bad_addr: Default::default(),
            single_first: many(v + 1),
            half_first: many(v + 1),
            id: (0..v).map(|i| Constant::new(bits(0x20 | i as u64))).collect(),
            id5: (0..v).map(|i| Constant::new(bits(i as u64))).collect(),
            _v: v,
        }
    }
}

impl Logic for Writer {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module vector_writer");
        dff_setup!(
            self,
            clock,
            next_valid,
            next_header,
            next_d_base,
            next_d_strides,
            next_c_base,
            next_c_strides,
            next_pc,
            valid,
            kind,
            copy,
            flag,
            sreg_q,
            pc_q,
            single_end,
            half_end,
            head_q,
            done_q,
            flag_q,
            flag_pc_q,
            lane_q,
            inner_q,
            base_q,
            single_q,
            half_apart,
            half_kept,
            single_kept
        );
        clock!(self, clock, single_notes, half_notes);

        // Instruction in hand, and the next one.
        self.load.next = self.next_valid.q.val() & (!self.valid.q.val() | self.finish.val());
        self.free[0].next = !self.next_valid.q.val() | !self.valid.q.val();
        // what a scalar register is written by has one vector, so that its write is its end
        self.free[1].next = self.kind.q.val() != 3;
        if self.load.val() {
            self.next_valid.d.next = false;
        }
        if self.take.val() {
            self.next_valid.d.next = true;
            self.next_header.d.next = self.header.val();
            self.next_d_base.d.next = self.d_base.val();
            self.next_d_strides.d.next = self.d_strides.val();
            self.next_c_base.d.next = self.c_base.val();
            self.next_c_strides.d.next = self.c_strides.val();
            self.next_pc.d.next = self.pc.val();
        }
        if self.load.val() {
            self.valid.d.next = true;
            self.kind.d.next = self.next_header.q.val().get_bits::<2>(25);
            self.copy.d.next = self.next_header.q.val().get_bit(27);
            self.flag.d.next = self.next_header.q.val().get_bits::<3>(16);
            self.sreg_q.d.next = self.next_d_base.q.val().get_bits::<4>(0);
            self.pc_q.d.next = self.next_pc.q.val();
        } else if self.finish.val() {
            self.valid.d.next = false;
        }
        self.walk[0].base.next = self.next_d_base.q.val();
        self.walk[0].strides.next = self.next_d_strides.q.val();
        self.walk[1].base.next = self.next_c_base.q.val();
        self.walk[1].strides.next = self.next_c_strides.q.val();
        for i in 0..2 {
            self.walk[i].clock.next = self.clock.val();
            self.walk[i].load.next = self.load.val();
            self.walk[i].go_on.next = self.gone.val();
            self.walk[i].row_end.next = self.note.val().get_bit(5);
        }

        // Notes on arriving results: 4:0 count, 5 row_last, 6 last, 11:7 first bad lane (bit 11: there is one).
        for v in self._v..(self._v + 1) {
            self.single_first[v].next = bits::<6>(0);
            self.half_first[v].next = bits::<6>(0);
            for i in 0..self._v {
                self.single_first[v - 1 - i].next = self.single_first[v - i].val();
                if self.single_bad[v - 1 - i].val() & (self.count.val() > self.id5[v - 1 - i].val()) {
                    self.single_first[v - 1 - i].next = self.id[v - 1 - i].val();
                }
                self.half_first[v - 1 - i].next = self.half_first[v - i].val();
                if self.half_bad[v - 1 - i].val() & (self.half_count.val() > self.id5[v - 1 - i].val()) {
                    self.half_first[v - 1 - i].next = self.id[v - 1 - i].val();
                }
            }
        }
        self.single_note.next =
            bit_cast::<32, 5>(self.count.val()) | (bit_cast::<32, 6>(self.single_first[0].val()) << 7);
        if self.last.val() {
            self.single_note.next =
                bit_cast::<32, 5>(self.count.val()) | (bit_cast::<32, 6>(self.single_first[0].val()) << 7) | 0x60;
        } else if self.row_last.val() {
            self.single_note.next =
                bit_cast::<32, 5>(self.count.val()) | (bit_cast::<32, 6>(self.single_first[0].val()) << 7) | 0x20;
        }
        self.half_note.next = bit_cast::<32, 6>(self.half_first[0].val());
        self.single_notes.write_enable.next = self.single_valid.val();
        self.single_notes.write_data.next = self.single_note.val();
        self.single_notes.write_address.next = self.single_end.q.val().get_bits::<4>(0);
        self.single_notes.read_address.next = self.head_q.q.val().get_bits::<4>(0);
        self.half_notes.write_enable.next = self.half_valid.val();
        self.half_notes.write_data.next = self.half_note.val();
        self.half_notes.write_address.next = self.half_end.q.val().get_bits::<4>(0);
        self.half_notes.read_address.next = self.head_q.q.val().get_bits::<4>(0);

        // The oldest result.
        self.single_there.next = self.single_kept.q.val() | self.single_valid.val();
        self.half_there.next = self.half_kept.q.val() | (self.half_valid.val() & !self.half_apart.q.val());
        self.note.next = self.single_note.val();
        if self.single_kept.q.val() {
            self.note.next = self.single_notes.read_data.val();
        }
        self.half_head.next = self.half_note.val();
        if self.half_kept.q.val() {
            self.half_head.next = self.half_notes.read_data.val();
        }
        self.wants[0].next = !self.kind.q.val().get_bit(1);
        self.wants[1].next = self.copy.q.val();
        self.avail.next = self.valid.q.val()
            & self.single_there.val()
            & (self.half_there.val() | ((self.kind.q.val() != 0) & !self.copy.q.val()));
        for i in 0..2 {
            self.taken[i].clock.next = self.clock.val();
            self.open[i].next = self.wants[i].val() & !self.taken[i].q.val();
            self.request[i].next = self.avail.val() & self.open[i].val();
            self.granted[i].next = self.open[i].val() & self.gnt[i].val();
            self.want[i].next = self.valid.q.val() & self.open[i].val();
            self.written[i].next = !self.wants[i].val() | self.taken[i].q.val() | self.granted[i].val();
            self.taken[i].d.next = (self.taken[i].q.val() | (self.avail.val() & self.granted[i].val()))
                & !self.gone.val()
                & !self.abort.val();
            self.req[i].next = self.request[i].val();
            self.addr[i].next = self.walk[i].addr.val();
            self.q[i].next = self.walk[i].q.val();
        }
        self.gone.next = self.avail.val() & self.written[0].val() & self.written[1].val();
        self.finish.next = self.gone.val() & self.note.val().get_bit(6);
        self.advance.next = self.gone.val();
        // Not the rows of an instruction that a later one already follows: they release nothing of that one.
        self.row_done.next =
            self.gone.val() & self.note.val().get_bit(5) & !self.next_valid.q.val() & !self.followed.val();
        self.smem.next = self.kind.q.val().get_bit(0);
        self.lanes_on.next = self.note.val().get_bits::<5>(0);
        self.sreg_we.next = self.gone.val() & (self.kind.q.val() == 3);
        self.sreg_index.next = self.sreg_q.q.val();

        self.plus.next = self.done_q.q.val() + 1;
        if self.finish.val() {
            self.done_q.d.next = self.plus.val();
        }
        self.done.next = self.done_q.q.val();

        // Flags: the destination's first bad lane or the copy's, whichever comes first; the destination's of equals.
        self.d_bad.next = false;
        self.d_lane.next = self.note.val().get_bits::<4>(7);
        if self.kind.q.val() == 0 {
            self.d_bad.next = self.half_head.val().get_bit(5);
            self.d_lane.next = self.half_head.val().get_bits::<4>(0);
        } else if self.kind.q.val() != 2 {
            self.d_bad.next = self.note.val().get_bit(12);
        }
        self.c_bad.next = self.copy.q.val() & self.half_head.val().get_bit(5);
        self.c_lane.next = self.half_head.val().get_bits::<4>(0);
        self.use_d.next = self.d_bad.val() & (!self.c_bad.val() | (self.d_lane.val() <= self.c_lane.val()));
        self.bad_now.next = self.gone.val() & (self.d_bad.val() | self.c_bad.val());
        self.bad_inner.next = self.walk[1].inner.val();
        self.bad_base.next = self.walk[1].addr.val();
        self.lane.next = self.c_lane.val();
        if self.use_d.val() {
            self.lane.next = self.d_lane.val();
            self.bad_inner.next = self.walk[0].inner.val();
            self.bad_base.next = self.walk[0].addr.val();
        }
        // In the next cycle: the element's address.
        self.bad_inner_wide.next = bit_cast::<20, 16>(self.inner_q.q.val());
        if self.inner_q.q.val().get_bit(15) {
            self.bad_inner_wide.next = bit_cast::<20, 16>(self.inner_q.q.val()) | 0xf0000;
        }
        self.part[0].next = self.base_q.q.val();
        self.multiple[0].next = self.bad_inner_wide.val();
        for i in 1..4 {
            self.multiple[i].next = self.multiple[i - 1].val() << 1;
        }
        for i in 0..4 {
            self.part[i + 1].next = self.part[i].val();
            if self.lane_q.q.val().get_bit(i) {
                self.part[i + 1].next = self.part[i].val() + self.multiple[i].val();
            }
        }
        self.bad_addr.next = bit_cast::<21, 20>(self.part[4].val());
        if self.single_q.q.val() {
            self.bad_addr.next = bit_cast::<21, 20>(self.part[4].val()) | 0x100000;
        }
        self.flag_q.d.next = bits::<4>(0);
        if self.bad_now.val() {
            if self.flag.q.val() == 1 {
                self.flag_q.d.next = bits::<4>(1);
            } else if self.flag.q.val() == 2 {
                self.flag_q.d.next = bits::<4>(2);
            } else if self.flag.q.val() == 3 {
                self.flag_q.d.next = bits::<4>(4);
            } else if self.flag.q.val() == 4 {
                self.flag_q.d.next = bits::<4>(8);
            }
            self.flag_pc_q.d.next = self.pc_q.q.val();
            self.lane_q.d.next = self.lane.val();
            self.inner_q.d.next = self.bad_inner.val();
            self.base_q.d.next = self.bad_base.val();
            self.single_q.d.next = self.use_d.val() & (self.kind.q.val() == 1);
            if self.use_d.val() & (self.kind.q.val() == 3) {
                // a scalar register: its number
                self.lane_q.d.next = bits::<4>(0);
                self.base_q.d.next = bit_cast::<20, 4>(self.sreg_q.q.val());
            }
        }
        self.hand_pc.next = self.pc_q.q.val();
        self.flag_set.next = self.flag_q.q.val();
        self.flag_pc.next = self.flag_pc_q.q.val();
        self.flag_addr.next = self.bad_addr.val();

        // Queues. That a result leaves is known last, so both cases are ready beside.
        self.single_end_then.next = self.single_end.q.val();
        if self.single_valid.val() {
            self.single_end_then.next = self.single_end.q.val() + 1;
        }
        self.half_end_then.next = self.half_end.q.val();
        if self.half_valid.val() {
            self.half_end_then.next = self.half_end.q.val() + 1;
        }
        self.single_end.d.next = self.single_end_then.val();
        self.half_end.d.next = self.half_end_then.val();
        self.head_then.next = self.head_q.q.val() + 1;
        self.half_gap.next = self.half_end_then.val() - self.head_q.q.val();
        self.half_gap_gone.next = self.half_end_then.val() - self.head_then.val();
        self.single_kept.d.next = self.single_end_then.val() != self.head_q.q.val();
        self.half_apart.d.next = self.half_gap.val() != 0;
        self.half_kept.d.next = (self.half_gap.val() != 0) & !self.half_gap.val().get_bit(5);
        if self.gone.val() {
            self.head_q.d.next = self.head_then.val();
            self.single_kept.d.next = self.single_end_then.val() != self.head_then.val();
            self.half_apart.d.next = self.half_gap_gone.val() != 0;
            self.half_kept.d.next = (self.half_gap_gone.val() != 0) & !self.half_gap_gone.val().get_bit(5);
        }
        self.single_tail.next = self.single_end.q.val().get_bits::<4>(0);
        self.half_tail.next = self.half_end.q.val().get_bits::<4>(0);
        self.head.next = self.head_q.q.val().get_bits::<4>(0);
        self.single_queued.next = self.single_kept.q.val();
        self.half_queued.next = self.half_kept.q.val();
        self.busy.next = self.valid.q.val() | self.next_valid.q.val();

        if self.abort.val() {
            self.next_valid.d.next = false;
            self.valid.d.next = false;
            self.single_end.d.next = bits::<6>(0);
            self.half_end.d.next = bits::<6>(0);
            self.head_q.d.next = bits::<6>(0);
            self.single_kept.d.next = false;
            self.half_apart.d.next = false;
            self.half_kept.d.next = false;
            self.done_q.d.next = bits::<8>(0);
            self.flag_q.d.next = bits::<4>(0);
        }
    }
}
