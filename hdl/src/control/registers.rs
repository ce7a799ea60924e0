//! Registers 0x000 to 0x2ff: identity, segment queue and trap status, flags, EXP, windows to address and scalar registers,
//! counters; and the sequence of an abort.
//!
//! ```text
//!  sel, addr --> mux --> held --+
//!                               or --> rdata     (one cycle after sel; 0 for other blocks' offsets)
//!  sreg_rdata (next cycle) -----+
//!
//!  write 1 to ABORT --> 16 cycles of `abort`; every engine, the mover and the fetcher clear their state meanwhile
//!
//!  trap of fetcher, matrix, vector, memory (in this order) --> latched once per run, until TRAP is written;
//!                                                              `stop` holds the fetcher until the abort
//! ```

use super::identity::Identity;
use super::memory::LutRam;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use systole_isa::machine::Machine;

/// The register block of control.
#[derive(LogicBlock, Default)]
pub struct Registers {
    /// The clock.
    pub clock: Signal<In, Clock>,
    /// An access of the bus.
    pub sel: Signal<In, Bit>,
    /// It is a write.
    pub we: Signal<In, Bit>,
    /// Byte offset.
    pub addr: Signal<In, Bits<12>>,
    /// Value to write.
    pub wdata: Signal<In, Bits<32>>,
    /// Value read, from the cycle after `sel`.
    pub rdata: Signal<Out, Bits<32>>,

    /// Level: clear all state.
    pub abort: Signal<Out, Bit>,
    /// Exponent of `scaled` operands.
    pub exp: Signal<Out, Bits<8>>,
    /// Words of program memory.
    pub limit: Signal<Out, Bits<17>>,

    /// Queue a segment.
    pub push: Signal<Out, Bit>,
    /// Its address.
    pub push_address: Signal<Out, Bits<32>>,
    /// Its predicate.
    pub push_mask: Signal<Out, Bits<4>>,
    /// Sticky flags.
    pub flags: Signal<Out, Bits<4>>,
    /// Write an address register.
    pub areg_we: Signal<Out, Bit>,
    /// Which one is written or read.
    pub areg_index: Signal<Out, Bits<4>>,
    /// Its value.
    pub areg_rdata: Signal<In, Bits<20>>,
    /// Write a scalar register (with `sreg_wdata`).
    pub sreg_we: Signal<Out, Bit>,
    /// Which one is written or read.
    pub sreg_index: Signal<Out, Bits<4>>,
    /// Value to write.
    pub sreg_wdata: Signal<Out, Bits<32>>,
    /// Value of the one whose index stood in the cycle before.
    pub sreg_rdata: Signal<In, Bits<32>>,

    /// Segments ended.
    pub ended: Signal<In, Bits<8>>,
    /// Segments skipped.
    pub skipped: Signal<In, Bits<8>>,
    /// Segments wait or run.
    pub busy: Signal<In, Bit>,
    /// Queue full.
    pub full: Signal<In, Bit>,
    /// The fetcher has stopped for a trap.
    pub stopped: Signal<In, Bit>,
    /// Stop it.
    pub stop: Signal<Out, Bit>,
    /// A segment starts.
    pub segment_start: Signal<In, Bit>,
    /// A segment is complete.
    pub segment_end: Signal<In, Bit>,
    /// A GEMM's last word is taken.
    pub m_issue: Signal<In, Bit>,
    /// GEMMs handed over before it, mod 16.
    pub m_issued: Signal<In, Bits<4>>,
    /// GEMMs completed, mod 16.
    pub m_done: Signal<In, Bits<4>>,
    /// Level to count: the matrix engine has an instruction in hand.
    pub m_busy: Signal<In, Bit>,
    /// It waits for another instruction.
    pub m_stall_wait: Signal<In, Bit>,
    /// It waits for a memory.
    pub m_stall_mem: Signal<In, Bit>,
    /// The vector engine has an instruction in hand.
    pub v_busy: Signal<In, Bit>,
    /// It waits for another instruction.
    pub v_stall_wait: Signal<In, Bit>,
    /// It waits for a memory.
    pub v_stall_mem: Signal<In, Bit>,
    /// The fetcher has a segment in hand.
    pub running: Signal<In, Bit>,
    /// An array row is streamed.
    pub m_row: Signal<In, Bit>,

    /// Traps: fetcher, matrix engine, vector engine, the vector engine's accesses out of range.
    pub trap: Vec<Signal<In, Bit>>,
    /// Their causes.
    pub trap_cause: Vec<Signal<In, Bits<8>>>,
    /// What was wrong.
    pub trap_info: Vec<Signal<In, Bits<32>>>,
    /// At which instruction.
    pub trap_pc: Vec<Signal<In, Bits<16>>>,
    /// What was wrong where an access was out of range.
    pub range_info: Signal<In, Bits<32>>,
    /// That is being found: the trap is not shown before.
    pub range_busy: Signal<In, Bit>,
    /// Flags to set: matrix engine, vector engine.
    pub flag_set: Vec<Signal<In, Bits<4>>>,
    /// By which instruction.
    pub flag_pc: Vec<Signal<In, Bits<16>>>,
    /// At which element (bit 20: smem).
    pub flag_addr: Vec<Signal<In, Bits<21>>>,

    identity: Identity,

    held: DFF<Bits<32>>,
    sreg_fresh: DFF<Bit>,
    sreg_last: DFF<Bits<4>>,
    cycle_lo: DFF<Bits<32>>,
    cycle_hi: DFF<Bits<32>>,
    cycle_latch: DFF<Bits<32>>,
    segment: DFF<Bits<32>>,
    abort_left: DFF<Bits<5>>,
    /// There are some left, as a flip-flop: it reaches everything.
    aborting: DFF<Bit>,
    sticky: DFF<Bits<4>>,
    exponent: DFF<Bits<8>>,
    cause: DFF<Bits<8>>,
    info: DFF<Bits<32>>,
    where_pc: DFF<Bits<16>>,
    first_pc: Vec<DFF<Bits<16>>>,
    first_addr: Vec<DFF<Bits<21>>>,
    count: Vec<DFF<Bits<32>>>,
    issue_times: LutRam<32, 4>,
    done_seen: DFF<Bits<4>>,
    ended_seen: DFF<Bits<8>>,
    ended_shown: DFF<Bits<8>>,
    settle: DFF<Bits<3>>,
    gemm_time: DFF<Bits<32>>,
    segment_begun: DFF<Bits<32>>,
    segment_time: DFF<Bits<32>>,

    write: Signal<Local, Bit>,
    read: Signal<Local, Bit>,
    page: Signal<Local, Bits<4>>,
    word: Signal<Local, Bits<6>>,
    is_areg: Signal<Local, Bit>,
    is_sreg: Signal<Local, Bit>,
    value: Signal<Local, Bits<32>>,
    busy_bit: Signal<Local, Bits<32>>,
    full_bit: Signal<Local, Bits<32>>,
    trap_bit: Signal<Local, Bits<32>>,
    abort_bit: Signal<Local, Bits<32>>,
    exp_sign: Signal<Local, Bits<32>>,
    flag_at: Signal<Local, Bits<21>>,
    flag_address: Signal<Local, Bits<32>>,
    flag_where: Signal<Local, Bits<32>>,
    counter: Signal<Local, Bits<32>>,
    queue_part: Signal<Local, Bits<32>>,
    caught: Signal<Local, Bit>,
    clear: Signal<Local, Bits<4>>,
    raised: Signal<Local, Bits<4>>,
    cycle_next: Signal<Local, Bits<32>>,
}

fn many<T: Default>(n: usize) -> Vec<T> {
    (0..n).map(|_| T::default()).collect()
}

impl Registers {
    /// The block for `machine`, with the other values of the identity registers.
    pub fn new(machine: &Machine, clock_hz: u32, design_hash: u32) -> Self {
        Registers {
            identity: Identity::new(machine, clock_hz, design_hash),
            trap: many(4),
            trap_cause: many(4),
            trap_info: many(4),
            trap_pc: many(4),
            flag_set: many(2),
            flag_pc: many(2),
            flag_addr: many(2),
            first_pc: many(4),
            first_addr: many(4),
            count: many(8),
            ..Default::default()
        }
    }
}

impl Logic for Registers {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            held,
            sreg_fresh,
            sreg_last,
            cycle_lo,
            cycle_hi,
            cycle_latch,
            segment,
            abort_left,
            aborting,
            sticky,
            exponent,
            cause,
            info,
            where_pc,
            done_seen,
            ended_seen,
            ended_shown,
            settle,
            gemm_time,
            segment_begun,
            segment_time
        );
        clock!(self, clock, issue_times);
        for i in 0..4 {
            self.first_pc[i].clock.next = self.clock.val();
            self.first_pc[i].d.next = self.first_pc[i].q.val();
            self.first_addr[i].clock.next = self.clock.val();
            self.first_addr[i].d.next = self.first_addr[i].q.val();
        }
        for i in 0..8 {
            self.count[i].clock.next = self.clock.val();
            self.count[i].d.next = self.count[i].q.val();
        }
        if self.m_busy.val() {
            self.count[0].d.next = self.count[0].q.val() + 1;
        }
        if self.m_stall_wait.val() {
            self.count[1].d.next = self.count[1].q.val() + 1;
        }
        if self.m_stall_mem.val() {
            self.count[2].d.next = self.count[2].q.val() + 1;
        }
        if self.v_busy.val() {
            self.count[3].d.next = self.count[3].q.val() + 1;
        }
        if self.v_stall_wait.val() {
            self.count[4].d.next = self.count[4].q.val() + 1;
        }
        if self.v_stall_mem.val() {
            self.count[5].d.next = self.count[5].q.val() + 1;
        }
        if self.running.val() {
            self.count[6].d.next = self.count[6].q.val() + 1;
        }
        if self.m_row.val() {
            self.count[7].d.next = self.count[7].q.val() + 1;
        }

        // Cycle counter.
        self.cycle_next.next = self.cycle_lo.q.val() + 1;
        self.cycle_lo.d.next = self.cycle_next.val();
        if self.cycle_next.val() == 0 {
            self.cycle_hi.d.next = self.cycle_hi.q.val() + 1;
        }

        // Decoding.
        self.write.next = self.sel.val() & self.we.val();
        self.read.next = self.sel.val() & !self.we.val();
        self.page.next = self.addr.val().get_bits::<4>(8);
        self.word.next = self.addr.val().get_bits::<6>(2);
        self.is_areg.next = (self.page.val() == 1) & (self.word.val().get_bits::<2>(4) == 2);
        self.is_sreg.next = (self.page.val() == 1) & (self.word.val().get_bits::<2>(4) == 3);

        // Page 0: identity and cycle counter.
        self.identity.word.next = self.word.val();
        self.limit.next = self.identity.limit.val();

        // Page 1: fetcher.
        self.busy_bit.next = bits::<32>(0);
        if self.busy.val() | (self.ended.val() != self.ended_shown.q.val()) {
            self.busy_bit.next = bits::<32>(0x10000);
        }
        self.full_bit.next = bits::<32>(0);
        if self.full.val() {
            self.full_bit.next = bits::<32>(0x20000);
        }
        self.trap_bit.next = bits::<32>(0);
        if (self.cause.q.val() != 0) & !self.range_busy.val() {
            self.trap_bit.next = bits::<32>(0x40000);
        }
        self.abort_bit.next = bits::<32>(0);
        if self.aborting.q.val() {
            self.abort_bit.next = bits::<32>(1);
        }
        self.exp_sign.next = bits::<32>(0);
        if self.exponent.q.val().get_bit(7) {
            self.exp_sign.next = bits::<32>(0xffffff00u64);
        }
        self.queue_part.next = bits::<32>(0);
        match self.word.val().get_bits::<4>(0).index() {
            0 => {
                self.queue_part.next = self.segment.q.val();
            }
            2 => {
                self.queue_part.next = self.busy_bit.val()
                    | self.full_bit.val()
                    | self.trap_bit.val()
                    | (bit_cast::<32, 8>(self.skipped.val()) << 8)
                    | bit_cast::<32, 8>(self.ended_shown.q.val());
            }
            3 => {
                self.queue_part.next =
                    (bit_cast::<32, 16>(self.where_pc.q.val()) << 16) | bit_cast::<32, 8>(self.cause.q.val());
            }
            4 => {
                self.queue_part.next = self.info.q.val();
                if self.cause.q.val() == 4 {
                    self.queue_part.next = self.range_info.val();
                }
            }
            5 => {
                self.queue_part.next = self.abort_bit.val();
            }
            6 => {
                self.queue_part.next = bit_cast::<32, 4>(self.sticky.q.val());
            }
            7 => {
                self.queue_part.next = self.exp_sign.val() | bit_cast::<32, 8>(self.exponent.q.val());
            }
            _ => {}
        }
        self.flag_where.next = bits::<32>(0);
        self.flag_at.next = bits::<21>(0);
        self.flag_address.next = (bit_cast::<32, 1>(self.flag_at.val().get_bits::<1>(20)) << 31)
            | bit_cast::<32, 20>(self.flag_at.val().get_bits::<20>(0));
        match self.word.val().get_bits::<3>(0).index() {
            0 => {
                self.flag_where.next = bit_cast::<32, 16>(self.first_pc[0].q.val());
            }
            1 => {
                self.flag_at.next = self.first_addr[0].q.val();
                self.flag_where.next = self.flag_address.val();
            }
            2 => {
                self.flag_where.next = bit_cast::<32, 16>(self.first_pc[1].q.val());
            }
            3 => {
                self.flag_at.next = self.first_addr[1].q.val();
                self.flag_where.next = self.flag_address.val();
            }
            4 => {
                self.flag_where.next = bit_cast::<32, 16>(self.first_pc[2].q.val());
            }
            5 => {
                self.flag_at.next = self.first_addr[2].q.val();
                self.flag_where.next = self.flag_address.val();
            }
            6 => {
                self.flag_where.next = bit_cast::<32, 16>(self.first_pc[3].q.val());
            }
            7 => {
                self.flag_at.next = self.first_addr[3].q.val();
                self.flag_where.next = self.flag_address.val();
            }
            _ => {}
        }

        // Page 2: counters.
        self.counter.next = bits::<32>(0);
        match self.word.val().index() {
            0 => {
                self.counter.next = self.count[0].q.val();
            }
            1 => {
                self.counter.next = self.count[1].q.val();
            }
            2 => {
                self.counter.next = self.count[2].q.val();
            }
            3 => {
                self.counter.next = self.count[3].q.val();
            }
            4 => {
                self.counter.next = self.count[4].q.val();
            }
            5 => {
                self.counter.next = self.count[5].q.val();
            }
            6 => {
                self.counter.next = self.count[6].q.val();
            }
            7 => {
                self.counter.next = self.gemm_time.q.val();
            }
            8 => {
                self.counter.next = self.segment_time.q.val();
            }
            9 => {
                self.counter.next = self.count[7].q.val();
            }
            _ => {}
        }

        self.value.next = bits::<32>(0);
        if self.page.val() == 0 {
            self.value.next = self.identity.value.val();
            if self.word.val() == 8 {
                self.value.next = self.cycle_lo.q.val();
            }
            if self.word.val() == 9 {
                self.value.next = self.cycle_latch.q.val();
            }
        } else if self.page.val() == 1 {
            if self.is_areg.val() {
                self.value.next = bit_cast::<32, 20>(self.areg_rdata.val());
            } else if self.word.val().get_bits::<3>(3) == 1 {
                self.value.next = self.flag_where.val();
            } else if self.word.val().get_bits::<2>(4) == 0 {
                self.value.next = self.queue_part.val();
            }
        } else if self.page.val() == 2 {
            self.value.next = self.counter.val();
        }

        // The answer: a scalar register comes one cycle later than all others.
        self.rdata.next = self.held.q.val();
        self.sreg_fresh.d.next = false;
        if self.sreg_fresh.q.val() {
            self.rdata.next = self.sreg_rdata.val();
            self.held.d.next = self.sreg_rdata.val();
        }
        if self.sel.val() {
            self.held.d.next = bits::<32>(0);
            if !self.we.val() {
                self.held.d.next = self.value.val();
                self.sreg_fresh.d.next = self.is_sreg.val();
            }
        }
        if self.read.val() & (self.page.val() == 0) & (self.word.val() == 8) {
            self.cycle_latch.d.next = self.cycle_hi.q.val();
        }

        // Address and scalar registers.
        self.areg_index.next = self.word.val().get_bits::<4>(0);
        self.areg_we.next = self.write.val() & self.is_areg.val();
        self.sreg_index.next = self.sreg_last.q.val();
        if self.sel.val() & self.is_sreg.val() {
            self.sreg_index.next = self.word.val().get_bits::<4>(0);
            self.sreg_last.d.next = self.word.val().get_bits::<4>(0);
        }
        self.sreg_we.next = self.write.val() & self.is_sreg.val();
        self.sreg_wdata.next = self.wdata.val();

        // A segment's last access may trap after the segment has ended: its end is shown when that would be known.
        self.ended_seen.d.next = self.ended.val();
        if (self.ended.val() != self.ended_seen.q.val()) | self.range_busy.val() {
            self.settle.d.next = bits::<3>(4);
        } else if self.settle.q.val() != 0 {
            self.settle.d.next = self.settle.q.val() - 1;
        } else {
            self.ended_shown.d.next = self.ended.val();
        }

        // Traps, first one first.
        self.abort.next = self.aborting.q.val();
        self.stop.next = (self.trap[1].val() | self.trap[2].val() | self.trap[3].val()) & !self.abort.val();
        // The fetcher stops a cycle before it says why.
        self.caught.next = (self.trap[0].val() | (self.stop.val() & !self.stopped.val())) & !self.abort.val();
        if self.caught.val() & (self.cause.q.val() == 0) {
            self.cause.d.next = self.trap_cause[3].val();
            self.info.d.next = self.trap_info[3].val();
            self.where_pc.d.next = self.trap_pc[3].val();
            for i in 0..3 {
                if self.trap[2 - i].val() {
                    self.cause.d.next = self.trap_cause[2 - i].val();
                    self.info.d.next = self.trap_info[2 - i].val();
                    self.where_pc.d.next = self.trap_pc[2 - i].val();
                }
            }
        }

        // Flags: the first offender stays until its flag is cleared; a flag raised while it is cleared stays set.
        self.clear.next = bits::<4>(0);
        self.raised.next = self.flag_set[0].val() | self.flag_set[1].val();
        for i in 0..4 {
            if self.raised.val().get_bit(i) & (!self.sticky.q.val().get_bit(i) | self.clear.val().get_bit(i)) {
                self.first_pc[i].d.next = self.flag_pc[1].val();
                self.first_addr[i].d.next = self.flag_addr[1].val();
                if self.flag_set[0].val().get_bit(i) {
                    self.first_pc[i].d.next = self.flag_pc[0].val();
                    self.first_addr[i].d.next = self.flag_addr[0].val();
                }
            }
        }
        self.flags.next = self.sticky.q.val();
        self.exp.next = self.exponent.q.val();

        // Writing.
        self.push.next = false;
        self.push_address.next = self.segment.q.val();
        self.push_mask.next = self.wdata.val().get_bits::<4>(0);
        self.aborting.d.next = self.abort_left.q.val().get_bits::<4>(1) != 0;
        if self.aborting.q.val() {
            self.abort_left.d.next = self.abort_left.q.val() - 1;
        }
        if self.write.val() & (self.page.val() == 1) & (self.word.val().get_bits::<3>(3) == 0) {
            match self.word.val().get_bits::<3>(0).index() {
                0 => {
                    self.segment.d.next = self.wdata.val();
                }
                1 => {
                    self.push.next = true;
                }
                3 => {
                    if !self.caught.val() {
                        self.cause.d.next = bits::<8>(0);
                        self.info.d.next = bits::<32>(0);
                        self.where_pc.d.next = bits::<16>(0);
                    }
                }
                5 => {
                    if self.wdata.val().get_bit(0) {
                        self.abort_left.d.next = bits::<5>(16);
                        self.aborting.d.next = true;
                    }
                }
                6 => {
                    self.clear.next = self.wdata.val().get_bits::<4>(0);
                }
                7 => {
                    self.exponent.d.next = self.wdata.val().get_bits::<8>(0);
                }
                _ => {}
            }
        }
        self.sticky.d.next = (self.sticky.q.val() & !self.clear.val()) | self.raised.val();

        // Durations.
        self.issue_times.write_enable.next = self.m_issue.val();
        self.issue_times.write_address.next = self.m_issued.val();
        self.issue_times.write_data.next = self.cycle_lo.q.val();
        self.issue_times.read_address.next = self.done_seen.q.val();
        self.done_seen.d.next = self.m_done.val();
        if (self.m_done.val() != self.done_seen.q.val()) & !self.abort.val() {
            self.gemm_time.d.next = self.cycle_lo.q.val() - self.issue_times.read_data.val();
        }
        if self.segment_start.val() {
            self.segment_begun.d.next = self.cycle_lo.q.val();
        }
        if self.segment_end.val() {
            self.segment_time.d.next = self.cycle_lo.q.val() - self.segment_begun.q.val();
        }
    }
}
