//! The engine's parts wired together, and the scalar registers.

use super::{Execute, Issue, Lane, LaneRam, Reader, Writer, many};
use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Indices of the read clients.
pub mod read {
    /// First source.
    pub const V_X: usize = 0;
    /// Second source.
    pub const V_Y: usize = 1;
    /// Third source.
    pub const V_Z: usize = 2;
}

/// Indices of the write clients.
pub mod write {
    /// Destination.
    pub const V_D: usize = 0;
    /// FP16 copy.
    pub const V_C: usize = 1;
}

/// The vector engine. Clients are indexed as in [`read`] and [`write`], data as `client·V + lane`. See the module's text.
#[derive(LogicBlock)]
pub struct VectorEngine {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Level: clear all state, finish nothing. Scalar registers stay.
    pub abort: Signal<In, Bit>,
    /// A word of an instruction is offered.
    pub iw_valid: Signal<In, Bit>,
    /// It is taken if offered.
    pub iw_ready: Signal<Out, Bit>,
    /// The word; twelve in order.
    pub iw_data: Signal<In, Bits<32>>,
    /// With word 0: the instruction's address.
    pub iw_pc: Signal<In, Bits<16>>,
    /// With word 0: wait for the matrix engine.
    pub iw_wm_en: Signal<In, Bit>,
    /// With word 0: its count to wait for.
    pub iw_wm: Signal<In, Bits<8>>,
    /// With word 0: wait for the vector engine.
    pub iw_wv_en: Signal<In, Bit>,
    /// With word 0: its count to wait for.
    pub iw_wv: Signal<In, Bits<8>>,
    /// The matrix engine's count of completed instructions.
    pub done_m: Signal<In, Bits<8>>,
    /// Completed instructions modulo 256.
    pub done_count: Signal<Out, Bits<8>>,
    /// Exponent of `scaled` operands, signed.
    pub exp: Signal<In, Bits<8>>,
    /// Write a scalar register (only while the engine is idle).
    pub sreg_we: Signal<In, Bit>,
    /// Which one is written and read.
    pub sreg_index: Signal<In, Bits<4>>,
    /// Its new value.
    pub sreg_wdata: Signal<In, Bits<32>>,
    /// The value of `sreg_index` one cycle ago.
    pub sreg_rdata: Signal<Out, Bits<32>>,
    /// Read requests, held until granted.
    pub r_req: Vec<Signal<Out, Bit>>,
    /// `smem`, not `hmem`.
    pub r_smem: Vec<Signal<Out, Bit>>,
    /// Address of lane 0.
    pub r_addr: Vec<Signal<Out, Bits<20>>>,
    /// `(inner − 1)/N`, signed.
    pub r_q: Vec<Signal<Out, Bits<16>>>,
    /// Inner stride 0.
    pub r_bcast: Vec<Signal<Out, Bit>>,
    /// Enabled lanes.
    pub r_count: Vec<Signal<Out, Bits<5>>>,
    /// Granted in this cycle.
    pub r_gnt: Vec<Signal<In, Bit>>,
    /// Data, two cycles after the grant.
    pub rdata: Vec<Signal<In, Bits<32>>>,
    /// Write requests, held until granted.
    pub w_req: Vec<Signal<Out, Bit>>,
    /// The same without regard to whether the data are there.
    pub w_want: Vec<Signal<Out, Bit>>,
    /// `smem`, not `hmem`.
    pub w_smem: Vec<Signal<Out, Bit>>,
    /// Address of lane 0.
    pub w_addr: Vec<Signal<Out, Bits<20>>>,
    /// `(inner − 1)/N`, signed.
    pub w_q: Vec<Signal<Out, Bits<16>>>,
    /// Enabled lanes.
    pub w_count: Vec<Signal<Out, Bits<5>>>,
    /// Data, taken with the grant.
    pub wdata: Vec<Signal<Out, Bits<32>>>,
    /// Granted in this cycle.
    pub w_gnt: Vec<Signal<In, Bit>>,
    /// Nothing is here.
    pub idle: Signal<Out, Bit>,
    /// A whole instruction is in hand.
    pub busy: Signal<Out, Bit>,
    /// An instruction waits for another one.
    pub stall_wait: Signal<Out, Bit>,
    /// A memory request is refused.
    pub stall_mem: Signal<Out, Bit>,
    /// Flags to set.
    pub flag_set: Signal<Out, Bits<4>>,
    /// By the instruction at this address.
    pub flag_pc: Signal<Out, Bits<16>>,
    /// Writing this element; bit 20: `smem`.
    pub flag_addr: Signal<Out, Bits<21>>,
    /// A faulty instruction; level until `abort`.
    pub trap: Signal<Out, Bit>,
    /// As [`systole_isa::regs::Trap`].
    pub trap_cause: Signal<Out, Bits<8>>,
    /// The word at fault.
    pub trap_info: Signal<Out, Bits<32>>,
    /// The instruction's address.
    pub trap_pc: Signal<Out, Bits<16>>,
    /// Instruction that a read was for which was granted in the cycle before (for traps of the memory system).
    pub read_pc: Signal<Out, Bits<16>>,
    /// The same for writes.
    pub write_pc: Signal<Out, Bits<16>>,
    issue: Issue,
    reader: Vec<Reader>,
    execute: Execute,
    writer: Writer,
    lane: Vec<Lane>,
    operands: Vec<LaneRam>,
    singles: Vec<LaneRam>,
    halves: Vec<LaneRam>,
    sregs: Vec<LaneRam>,
    sreg_q: DFF<Bits<32>>,
    read_pc_q: DFF<Bits<16>>,
    write_pc_q: DFF<Bits<16>>,
    single_out: Vec<Signal<Local, Bits<32>>>,
    half_out: Vec<Signal<Local, Bits<32>>>,
    sreg_write: Signal<Local, Bit>,
    sreg_at: Signal<Local, Bits<4>>,
    sreg_value: Signal<Local, Bits<32>>,
    nothing: Signal<Local, Bit>,
    reading: Signal<Local, Bit>,
    r_refused: Vec<Signal<Local, Bit>>,
    w_refused: Vec<Signal<Local, Bit>>,
    _v: usize,
}

impl VectorEngine {
    /// For N memory banks that answer after M cycles, and V ≤ N lanes, both powers of two.
    pub fn new(n: usize, v: usize, m: usize) -> VectorEngine {
        assert!(n.is_power_of_two() && v.is_power_of_two() && v <= n && n <= 16);
        VectorEngine {
            clock: Default::default(),
            abort: Default::default(),
            iw_valid: Default::default(),
            iw_ready: Default::default(),
            iw_data: Default::default(),
            iw_pc: Default::default(),
            iw_wm_en: Default::default(),
            iw_wm: Default::default(),
            iw_wv_en: Default::default(),
            iw_wv: Default::default(),
            done_m: Default::default(),
            done_count: Default::default(),
            exp: Default::default(),
            sreg_we: Default::default(),
            sreg_index: Default::default(),
            sreg_wdata: Default::default(),
            sreg_rdata: Default::default(),
            r_req: many(3),
            r_smem: many(3),
            r_addr: many(3),
            r_q: many(3),
            r_bcast: many(3),
            r_count: many(3),
            r_gnt: many(3),
            rdata: many(3 * v),
            w_req: many(2),
            w_want: many(2),
            w_smem: many(2),
            w_addr: many(2),
            w_q: many(2),
            w_count: many(2),
            wdata: many(2 * v),
            w_gnt: many(2),
            idle: Default::default(),
            busy: Default::default(),
            stall_wait: Default::default(),
            stall_mem: Default::default(),
            flag_set: Default::default(),
            flag_pc: Default::default(),
            flag_addr: Default::default(),
            trap: Default::default(),
            trap_cause: Default::default(),
            trap_info: Default::default(),
            trap_pc: Default::default(),
            read_pc: Default::default(),
            write_pc: Default::default(),
            issue: Issue::new(n),
            reader: (0..3).map(|_| Reader::new(n, v, m)).collect(),
            execute: Execute::new(v),
            writer: Writer::new(n, v),
            lane: many(v),
            operands: many(3 * v),
            singles: many(v),
            halves: many(v),
            sregs: many(4),
            sreg_q: Default::default(),
            read_pc_q: Default::default(),
            write_pc_q: Default::default(),
            single_out: many(v),
            half_out: many(v),
            sreg_write: Default::default(),
            sreg_at: Default::default(),
            sreg_value: Default::default(),
            nothing: Default::default(),
            reading: Default::default(),
            r_refused: many(3),
            w_refused: many(2),
            _v: v,
        }
    }
}

impl Logic for VectorEngine {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module vector_engine");
        dff_setup!(self, clock, sreg_q, read_pc_q, write_pc_q);
        clock!(self, clock, issue, execute, writer);

        self.issue.abort.next = self.abort.val();
        self.issue.iw_valid.next = self.iw_valid.val();
        self.iw_ready.next = self.issue.iw_ready.val();
        self.issue.iw_data.next = self.iw_data.val();
        self.issue.iw_pc.next = self.iw_pc.val();
        self.issue.iw_wm_en.next = self.iw_wm_en.val();
        self.issue.iw_wm.next = self.iw_wm.val();
        self.issue.iw_wv_en.next = self.iw_wv_en.val();
        self.issue.iw_wv.next = self.iw_wv.val();
        self.issue.done_m.next = self.done_m.val();
        self.issue.done_v.next = self.writer.done.val();
        self.issue.finish.next = self.writer.finish.val();
        self.reading.next = self.reader[0].active.val() | self.reader[1].active.val() | self.reader[2].active.val();
        self.issue.reading.next = self.reading.val();
        self.issue.taken.next = self.execute.take.val();

        for i in 0..3 {
            self.reader[i].clock.next = self.clock.val();
            self.reader[i].abort.next = self.abort.val();
            self.reader[i].start.next = self.issue.start.val();
            self.reader[i].header.next = self.issue.word[0].val();
            self.reader[i].size.next = self.issue.word[1].val();
            self.reader[i].kind.next = self.issue.word[0].val().get_bits::<2>(2 * i + 19);
            self.reader[i].base.next = self.issue.word[2 * i + 2].val();
            self.reader[i].strides.next = self.issue.word[2 * i + 3].val();
            self.reader[i].row_done.next = self.writer.row_done.val();
            self.reader[i].gnt.next = self.r_gnt[i].val();
            self.reader[i].pop.next = self.execute.pop[i].val();
            self.r_req[i].next = self.reader[i].req.val();
            self.r_smem[i].next = self.reader[i].smem.val();
            self.r_addr[i].next = self.reader[i].addr.val();
            self.r_q[i].next = self.reader[i].q.val();
            self.r_bcast[i].next = self.reader[i].bcast.val();
            self.r_count[i].next = self.reader[i].count.val();
            self.r_refused[i].next = self.reader[i].req.val() & !self.r_gnt[i].val();
            self.execute.avail[i].next = self.reader[i].avail.val();
            self.execute.source[i].next = self.issue.word[2 * i + 2].val();
            self.execute.sreg[i].next = self.sregs[i].read_data.val();
            self.sregs[i].read_address.next = self.issue.word[2 * i + 2].val().get_bits::<4>(0);
        }
        for v in self._v..(self._v + 1) {
            for i in 0..3 {
                for j in 0..self._v {
                    self.operands[i * v + j].clock.next = self.clock.val();
                    self.operands[i * v + j].write_enable.next = self.reader[i].push.val();
                    self.operands[i * v + j].write_address.next = self.reader[i].tail.val();
                    self.operands[i * v + j].write_data.next = self.rdata[i * v + j].val();
                    self.operands[i * v + j].read_address.next = self.reader[i].head.val();
                }
            }
        }

        self.execute.abort.next = self.abort.val();
        self.execute.finish.next = self.writer.finish.val();
        for i in 0..2 {
            self.execute.offered[i].next = self.issue.pending[i].val() & self.writer.free[i].val();
        }
        self.execute.header.next = self.issue.word[0].val();
        self.execute.size.next = self.issue.word[1].val();
        self.execute.exp.next = self.exp.val();
        self.execute.advance.next = self.writer.advance.val();

        for v in self._v..(self._v + 1) {
            for j in 0..self._v {
                self.lane[j].clock.next = self.clock.val();
                self.lane[j].take.next = self.execute.enter.val();
                self.lane[j].x.next = self.operands[j].read_data.val();
                self.lane[j].y.next = self.operands[v + j].read_data.val();
                self.lane[j].z.next = self.operands[2 * v + j].read_data.val();
                for i in 0..3 {
                    self.lane[j].kind[i].next = self.execute.kind[i].val();
                    self.lane[j].abs[i].next = self.execute.abs[i].val();
                    self.lane[j].neg[i].next = self.execute.neg[i].val();
                    self.lane[j].exp[i].next = self.execute.exponent[i].val();
                    self.lane[j].constant[i].next = self.execute.constant[i].val();
                }
                self.lane[j].op.next = self.execute.op.val();
                self.lane[j].mad.next = self.execute.mad.val();
                self.lane[j].narrow.next = self.execute.narrow.val();
                self.writer.single_bad[j].next = self.lane[j].single_bad.val();
                self.writer.half_bad[j].next = self.lane[j].half_bad.val();

                self.singles[j].clock.next = self.clock.val();
                self.singles[j].write_enable.next = self.execute.single_valid.val();
                self.singles[j].write_address.next = self.writer.single_tail.val();
                self.singles[j].write_data.next = self.lane[j].single.val();
                self.singles[j].read_address.next = self.writer.head.val();
                self.halves[j].clock.next = self.clock.val();
                self.halves[j].write_enable.next = self.execute.half_valid.val();
                self.halves[j].write_address.next = self.writer.half_tail.val();
                self.halves[j].write_data.next = self.lane[j].half.val();
                self.halves[j].read_address.next = self.writer.head.val();

                self.single_out[j].next = self.lane[j].single.val();
                if self.writer.single_queued.val() {
                    self.single_out[j].next = self.singles[j].read_data.val();
                }
                self.half_out[j].next = self.lane[j].half.val();
                if self.writer.half_queued.val() {
                    self.half_out[j].next = self.halves[j].read_data.val();
                }
                self.wdata[j].next = self.half_out[j].val();
                if self.writer.smem.val() {
                    self.wdata[j].next = self.single_out[j].val();
                }
                self.wdata[v + j].next = self.half_out[j].val();
            }
        }

        self.writer.abort.next = self.abort.val();
        self.writer.take.next = self.execute.take.val();
        self.writer.followed.next = self.issue.begun_before.val();
        self.writer.header.next = self.issue.word[0].val();
        self.writer.d_base.next = self.issue.word[8].val();
        self.writer.d_strides.next = self.issue.word[9].val();
        self.writer.c_base.next = self.issue.word[10].val();
        self.writer.c_strides.next = self.issue.word[11].val();
        self.writer.pc.next = self.issue.pc.val();
        self.writer.single_valid.next = self.execute.single_valid.val();
        self.writer.count.next = self.execute.count.val();
        self.writer.row_last.next = self.execute.row_last.val();
        self.writer.last.next = self.execute.last.val();
        self.writer.half_valid.next = self.execute.half_valid.val();
        self.writer.half_count.next = self.execute.half_count.val();
        self.w_smem[0].next = self.writer.smem.val();
        self.w_smem[1].next = false;
        for i in 0..2 {
            self.w_req[i].next = self.writer.req[i].val();
            self.w_want[i].next = self.writer.want[i].val();
            self.w_addr[i].next = self.writer.addr[i].val();
            self.w_q[i].next = self.writer.q[i].val();
            self.w_count[i].next = self.writer.lanes_on.val();
            self.writer.gnt[i].next = self.w_gnt[i].val();
            self.w_refused[i].next = self.writer.req[i].val() & !self.w_gnt[i].val();
        }

        // Scalar registers: three copies for the operands, one for control.
        self.sreg_write.next = self.sreg_we.val() | self.writer.sreg_we.val();
        self.sreg_at.next = self.writer.sreg_index.val();
        self.sreg_value.next = self.single_out[0].val();
        if self.sreg_we.val() {
            self.sreg_at.next = self.sreg_index.val();
            self.sreg_value.next = self.sreg_wdata.val();
        }
        for i in 0..4 {
            self.sregs[i].clock.next = self.clock.val();
            self.sregs[i].write_enable.next = self.sreg_write.val();
            self.sregs[i].write_address.next = self.sreg_at.val();
            self.sregs[i].write_data.next = self.sreg_value.val();
        }
        self.sregs[3].read_address.next = self.sreg_index.val();
        self.sreg_q.d.next = self.sregs[3].read_data.val();
        self.sreg_rdata.next = self.sreg_q.q.val();

        self.nothing.next = !self.reading.val() & !self.execute.busy.val() & !self.writer.busy.val();
        self.idle.next = self.nothing.val() & !self.issue.occupied.val();
        self.busy.next = !self.nothing.val() | self.issue.occupied.val();
        self.stall_wait.next = self.issue.waiting.val();
        self.stall_mem.next = self.r_refused[0].val()
            | self.r_refused[1].val()
            | self.r_refused[2].val()
            | self.w_refused[0].val()
            | self.w_refused[1].val();
        self.done_count.next = self.writer.done.val();
        self.flag_set.next = self.writer.flag_set.val();
        self.flag_pc.next = self.writer.flag_pc.val();
        self.flag_addr.next = self.writer.flag_addr.val();
        self.trap.next = self.issue.trap.val();
        self.trap_cause.next = self.issue.trap_cause.val();
        self.trap_info.next = self.issue.trap_info.val();
        self.trap_pc.next = self.issue.pc.val();
        if self.issue.start.val() {
            self.read_pc_q.d.next = self.issue.pc.val();
        }
        self.write_pc_q.d.next = self.writer.hand_pc.val();
        self.read_pc.next = self.read_pc_q.q.val();
        self.write_pc.next = self.write_pc_q.q.val();
    }
}
