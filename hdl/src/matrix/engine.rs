//! The matrix engine: all its parts, wired.

use super::{Columns, Epilogue, Issue, Loader, Streamer};
use crate::array::{SystolicArray, p_out};
use crate::delay::{DelayLine, DelayRam};
use crate::memory::many;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use systole_isa::machine::Machine;

/// See [the module](super).
#[derive(LogicBlock)]
pub struct MatrixEngine {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Forget everything; finish nothing.
    pub abort: Signal<In, Bit>,
    /// An instruction word is offered.
    pub iw_valid: Signal<In, Bit>,
    /// It is taken.
    pub iw_ready: Signal<Out, Bit>,
    /// The word.
    pub iw_data: Signal<In, Bits<32>>,
    /// Address of the instruction (with its word 0, as the four below).
    pub iw_pc: Signal<In, Bits<16>>,
    /// Wait for `done_count` to reach `iw_wm`.
    pub iw_wm_en: Signal<In, Bit>,
    /// See `iw_wm_en`.
    pub iw_wm: Signal<In, Bits<8>>,
    /// Wait for `done_v` to reach `iw_wv`.
    pub iw_wv_en: Signal<In, Bit>,
    /// See `iw_wv_en`.
    pub iw_wv: Signal<In, Bits<8>>,
    /// The vector engine's completed instructions.
    pub done_v: Signal<In, Bits<8>>,
    /// Completed instructions modulo 256.
    pub done_count: Signal<Out, Bits<8>>,
    /// Nothing in hand.
    pub idle: Signal<Out, Bit>,
    /// A whole instruction, or the rest of one, is in hand.
    pub busy: Signal<Out, Bit>,
    /// The next instruction waits for another.
    pub stall_wait: Signal<Out, Bit>,
    /// A read was refused in this cycle.
    pub stall_mem: Signal<Out, Bit>,
    /// A row of X was granted in this cycle.
    pub row_streamed: Signal<Out, Bit>,
    /// Pulses: a non-finite value was written under this flag.
    pub flag_set: Signal<Out, Bits<4>>,
    /// By this instruction.
    pub flag_pc: Signal<Out, Bits<16>>,
    /// At this address; bit 20: smem.
    pub flag_addr: Signal<Out, Bits<21>>,
    /// Stopped, until `abort`.
    pub trap: Signal<Out, Bit>,
    /// A `systole_isa::regs::Trap`.
    pub trap_cause: Signal<Out, Bits<8>>,
    /// Offending word. Of an access out of range the memory system tells the element.
    pub trap_info: Signal<Out, Bits<32>>,
    /// Address of the instruction.
    pub trap_pc: Signal<Out, Bits<16>>,
    /// Port `m_w`: request, always to hmem, as `m_x`.
    pub w_req: Signal<Out, Bit>,
    /// Address.
    pub w_addr: Signal<Out, Bits<20>>,
    /// Stride.
    pub w_q: Signal<Out, Bits<16>>,
    /// Lanes.
    pub w_count: Signal<Out, Bits<5>>,
    /// Grant.
    pub w_gnt: Signal<In, Bit>,
    /// Data.
    pub w_rdata: Vec<Signal<In, Bits<32>>>,
    /// Out of range.
    pub w_trap: Signal<In, Bit>,
    /// Port `m_x`.
    pub x_req: Signal<Out, Bit>,
    /// Address.
    pub x_addr: Signal<Out, Bits<20>>,
    /// Stride.
    pub x_q: Signal<Out, Bits<16>>,
    /// Lanes.
    pub x_count: Signal<Out, Bits<5>>,
    /// Grant.
    pub x_gnt: Signal<In, Bit>,
    /// Data.
    pub x_rdata: Vec<Signal<In, Bits<32>>>,
    /// Out of range.
    pub x_trap: Signal<In, Bit>,
    /// Port `m_out`: always granted.
    pub out_req: Signal<Out, Bit>,
    /// To smem.
    pub out_smem: Signal<Out, Bit>,
    /// Address.
    pub out_addr: Signal<Out, Bits<20>>,
    /// Stride.
    pub out_q: Signal<Out, Bits<16>>,
    /// Lanes.
    pub out_count: Signal<Out, Bits<5>>,
    /// Data.
    pub out_data: Vec<Signal<Out, Bits<32>>>,
    /// Out of range.
    pub out_trap: Signal<In, Bit>,
    /// An access to mask memory is out of range.
    pub mask_trap: Signal<Out, Bit>,
    /// Offset of its lane 0.
    pub mask_off: Signal<Out, Bits<19>>,
    /// Its stride.
    pub mask_q: Signal<Out, Bits<16>>,
    issue: Issue,
    loader: Loader,
    streamer: Streamer,
    columns: Columns,
    array: SystolicArray,
    epilogue: Epilogue,
    skew: Vec<DelayLine<19>>,
    info_a: DelayRam,
    info_b: DelayRam,
    info_c: DelayRam,
    done: DFF<Bits<8>>,
    started: DFF<Bits<8>>,
    l_taken: DFF<Bit>,
    s_taken: DFF<Bit>,
    l_pc: DFF<Bits<16>>,
    s_pc: DFF<Bits<16>>,
    out_pc: DFF<Bits<16>>,
    l_pc1: DFF<Bits<16>>,
    s_pc1: DFF<Bits<16>>,
    out_pc1: DFF<Bits<16>>,
    drain: DFF<Bits<8>>,
    halted: DFF<Bit>,
    draining: DFF<Bit>,
    tail: DFF<Bits<2>>,
    trapped: DFF<Bit>,
    cause: DFF<Bits<8>>,
    info: DFF<Bits<32>>,
    pc: DFF<Bits<16>>,
    clear: Signal<Local, Bit>,
    stop: Signal<Local, Bit>,
    l_start: Signal<Local, Bit>,
    s_start: Signal<Local, Bit>,
    range_pc: Signal<Local, Bits<16>>,
    range_now: Signal<Local, Bit>,
    working: Signal<Local, Bit>,
    _n: usize,
    _l: usize,
}

impl MatrixEngine {
    /// The matrix engine of `machine`.
    pub fn new(machine: &Machine) -> MatrixEngine {
        let (n, l, m) = (machine.lanes as usize, machine.adder_latency as usize, machine.memory_latency as usize);
        MatrixEngine {
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
            done_v: Default::default(),
            done_count: Default::default(),
            idle: Default::default(),
            busy: Default::default(),
            stall_wait: Default::default(),
            stall_mem: Default::default(),
            row_streamed: Default::default(),
            flag_set: Default::default(),
            flag_pc: Default::default(),
            flag_addr: Default::default(),
            trap: Default::default(),
            trap_cause: Default::default(),
            trap_info: Default::default(),
            trap_pc: Default::default(),
            w_req: Default::default(),
            w_addr: Default::default(),
            w_q: Default::default(),
            w_count: Default::default(),
            w_gnt: Default::default(),
            w_rdata: many(n),
            w_trap: Default::default(),
            x_req: Default::default(),
            x_addr: Default::default(),
            x_q: Default::default(),
            x_count: Default::default(),
            x_gnt: Default::default(),
            x_rdata: many(n),
            x_trap: Default::default(),
            out_req: Default::default(),
            out_smem: Default::default(),
            out_addr: Default::default(),
            out_q: Default::default(),
            out_count: Default::default(),
            out_data: many(n),
            out_trap: Default::default(),
            mask_trap: Default::default(),
            mask_off: Default::default(),
            mask_q: Default::default(),
            issue: Issue::new(machine),
            loader: Loader::new(n, l, m),
            streamer: Streamer::new(n, l, m),
            columns: Columns::new(machine),
            array: SystolicArray::new(n, l),
            epilogue: Epilogue::new(machine),
            skew: (0..n).map(|i| DelayLine::new(i * l + 1)).collect(),
            info_a: DelayRam::new(p_out(n, l) + n + m - 1),
            info_b: DelayRam::new(p_out(n, l) + n + m - 1),
            info_c: DelayRam::new(p_out(n, l) + n + m - 1),
            done: Default::default(),
            started: Default::default(),
            l_taken: Default::default(),
            s_taken: Default::default(),
            l_pc: Default::default(),
            s_pc: Default::default(),
            out_pc: Default::default(),
            l_pc1: Default::default(),
            s_pc1: Default::default(),
            out_pc1: Default::default(),
            drain: Default::default(),
            halted: Default::default(),
            draining: Default::default(),
            tail: Default::default(),
            trapped: Default::default(),
            cause: Default::default(),
            info: Default::default(),
            pc: Default::default(),
            clear: Default::default(),
            stop: Default::default(),
            l_start: Default::default(),
            s_start: Default::default(),
            range_pc: Default::default(),
            range_now: Default::default(),
            working: Default::default(),
            _n: n,
            _l: l,
        }
    }
}

impl Logic for MatrixEngine {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self, clock, done, started, l_taken, s_taken, l_pc, s_pc, out_pc, l_pc1, s_pc1, out_pc1, drain, tail,
            halted, draining, trapped, cause, info, pc
        );
        clock!(self, clock, issue, loader, streamer, columns, array, epilogue, info_a, info_b, info_c);
        // An abort holds everything still until the last wave has left the array.
        self.clear.next = self.abort.val() | self.draining.q.val();
        self.draining.d.next = self.drain.q.val().get_bits::<7>(1) != 0;
        if self.abort.val() {
            self.drain.d.next = bits::<8>(127);
            self.draining.d.next = true;
        } else if self.draining.q.val() {
            self.drain.d.next = self.drain.q.val() - 1;
        }
        // (a flip-flop of its own: it holds much still)
        self.stop.next = self.abort.val() | self.halted.q.val();
        self.issue.clear.next = self.stop.val();
        self.loader.clear.next = self.stop.val();
        self.streamer.clear.next = self.stop.val();
        self.epilogue.mute.next = self.stop.val();
        // Instruction port.
        self.issue.iw_valid.next = self.iw_valid.val();
        self.iw_ready.next = self.issue.iw_ready.val();
        self.issue.iw_data.next = self.iw_data.val();
        self.issue.iw_pc.next = self.iw_pc.val();
        self.issue.iw_wm_en.next = self.iw_wm_en.val();
        self.issue.iw_wm.next = self.iw_wm.val();
        self.issue.iw_wv_en.next = self.iw_wv_en.val();
        self.issue.iw_wv.next = self.iw_wv.val();
        self.issue.done_m.next = self.done.q.val();
        self.issue.done_v.next = self.done_v.val();
        self.l_start.next = self.issue.go.val() & !self.l_taken.q.val() & !self.loader.active.val();
        self.s_start.next = self.issue.go.val() & !self.s_taken.q.val() & !self.streamer.active.val();
        self.issue.free.next =
            (self.l_start.val() | self.l_taken.q.val()) & (self.s_start.val() | self.s_taken.q.val());
        if self.l_start.val() {
            self.l_taken.d.next = true;
            self.l_pc.d.next = self.issue.pc.val();
        }
        if self.s_start.val() {
            self.s_taken.d.next = true;
            self.s_pc.d.next = self.issue.pc.val();
            self.started.d.next = self.started.q.val() + 1;
        }
        if self.issue.free.val() {
            self.l_taken.d.next = false;
            self.s_taken.d.next = false;
        }
        self.loader.start.next = self.l_start.val();
        self.streamer.start.next = self.s_start.val();
        self.loader.m_block.next = self.issue.m_block.val();
        self.loader.n_group.next = self.issue.n_group.val();
        self.streamer.m_block.next = self.issue.m_block.val();
        self.streamer.n_group.next = self.issue.n_group.val();
        self.streamer.pc.next = self.issue.pc.val();
        for i in 0..12 {
            self.loader.word[i].next = self.issue.word[i].val();
            self.streamer.word[i].next = self.issue.word[i].val();
        }
        self.streamer.opened.next = self.loader.opened.val();
        self.loader.closed.next = self.streamer.closed.val();
        // Memory.
        self.w_req.next = self.loader.req.val();
        self.w_addr.next = self.loader.addr.val();
        self.w_q.next = self.loader.q.val();
        self.w_count.next = self.loader.count.val();
        self.loader.gnt.next = self.w_gnt.val();
        self.x_req.next = self.streamer.req.val();
        self.x_addr.next = self.streamer.addr.val();
        self.x_q.next = self.streamer.q.val();
        self.x_count.next = self.streamer.count.val();
        self.streamer.gnt.next = self.x_gnt.val();
        self.out_req.next = self.epilogue.req.val();
        self.out_smem.next = self.epilogue.smem.val();
        self.out_addr.next = self.epilogue.addr.val();
        self.out_q.next = self.epilogue.q.val();
        self.out_count.next = self.epilogue.count.val();
        // Array and its surroundings.
        self.columns.token.next = self.streamer.token.val();
        self.columns.bias_we.next = self.loader.bias_we.val();
        self.columns.bias_addr.next = self.loader.bias_addr.val();
        self.array.w_slot.next = self.loader.w_slot.val();
        self.info_a.x.next = self.streamer.info_a.val();
        self.info_b.x.next = self.streamer.info_b.val();
        self.info_c.x.next = self.streamer.info_c.val();
        self.epilogue.info_a.next = self.info_a.y.val();
        self.epilogue.info_b.next = self.info_b.y.val();
        self.epilogue.info_c.next = self.info_c.y.val();
        for l in self._l..(self._l + 1) {
            for i in 0..self._n {
                self.loader.rdata[i].next = self.w_rdata[i].val();
                self.streamer.rdata[i].next = self.x_rdata[i].val();
                self.out_data[i].next = self.epilogue.data[i].val();
                self.skew[i].clock.next = self.clock.val();
                self.skew[i].x.next = self.streamer.act[i].val();
                self.array.act[i].next = self.skew[i].tap[i * l + 1].val().get_bits::<16>(0);
                self.array.act_tag[i].next = self.skew[i].tap[i * l + 1].val().get_bits::<2>(16);
                self.array.act_valid[i].next = self.skew[i].tap[i * l + 1].val().get_bit(18);
                self.array.w_we[i].next = self.loader.w_we[i].val();
                self.array.w_data[i].next = self.loader.w_data[i].val();
                self.columns.bias[i].next = self.loader.w_data[i].val();
                self.array.psum_in[i].next = self.columns.psum_in[i].val();
                self.columns.psum_out[i].next = self.array.psum_out[i].val();
                self.epilogue.sum[i].next = self.columns.sum[i].val();
            }
        }
        // Completion and status.
        if self.epilogue.done.val() {
            self.done.d.next = self.done.q.val() + 1;
        }
        // The last write's trap is still to come.
        if self.epilogue.done.val() {
            self.tail.d.next = bits::<2>(3);
        } else if self.tail.q.val() != 0 {
            self.tail.d.next = self.tail.q.val() - 1;
        }
        self.done_count.next = self.done.q.val();
        self.working.next = self.issue.occupied.val() | (self.started.q.val() != self.done.q.val());
        self.busy.next = self.working.val();
        self.idle.next = !self.working.val() & !self.draining.q.val() & (self.tail.q.val() == 0);
        self.stall_wait.next = self.issue.waiting.val();
        self.stall_mem.next =
            (self.loader.req.val() & !self.w_gnt.val()) | (self.streamer.req.val() & !self.x_gnt.val());
        self.row_streamed.next = self.streamer.req.val() & self.x_gnt.val();
        self.flag_set.next = self.epilogue.flag_set.val();
        self.flag_pc.next = self.epilogue.flag_pc.val();
        self.flag_addr.next = self.epilogue.flag_addr.val();
        // The first trap stays.
        self.out_pc.d.next = self.epilogue.pc.val();
        // A trap comes two cycles after its access.
        self.l_pc1.d.next = self.l_pc.q.val();
        self.s_pc1.d.next = self.s_pc.q.val();
        self.out_pc1.d.next = self.out_pc.q.val();
        self.range_now.next =
            self.w_trap.val() | self.x_trap.val() | self.out_trap.val() | self.epilogue.mask_trap.val();
        self.mask_trap.next = self.epilogue.mask_trap.val();
        self.mask_off.next = self.epilogue.mask_trap_off.val();
        self.mask_q.next = self.epilogue.mask_trap_q.val();
        self.range_pc.next = self.l_pc1.q.val();
        if self.x_trap.val() {
            self.range_pc.next = self.s_pc1.q.val();
        }
        if self.epilogue.mask_trap.val() {
            self.range_pc.next = self.epilogue.mask_trap_pc.val();
        }
        if self.out_trap.val() {
            self.range_pc.next = self.out_pc1.q.val();
        }
        if !self.trapped.q.val() {
            if self.range_now.val() {
                self.trapped.d.next = true;
                self.cause.d.next = bits::<8>(4);
                self.pc.d.next = self.range_pc.val();
            } else if self.issue.trap.val() {
                self.trapped.d.next = true;
                self.cause.d.next = self.issue.trap_cause.val();
                self.info.d.next = self.issue.trap_info.val();
                self.pc.d.next = self.issue.pc.val();
            }
        }
        self.trap.next = self.trapped.q.val();
        self.trap_cause.next = self.cause.q.val();
        self.trap_info.next = self.info.q.val();
        self.trap_pc.next = self.pc.q.val();
        if self.clear.val() {
            self.trapped.d.next = false;
            self.l_taken.d.next = false;
            self.s_taken.d.next = false;
            self.done.d.next = bits::<8>(0);
            self.started.d.next = bits::<8>(0);
        }
        self.halted.d.next = self.abort.val()
            | (self.drain.q.val().get_bits::<7>(1) != 0)
            | (!self.draining.q.val() & (self.trapped.q.val() | self.range_now.val() | self.issue.trap.val()));
    }
}
