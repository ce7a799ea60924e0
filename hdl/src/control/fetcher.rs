//! The segment queue and the fetcher.
//!
//! ```text
//!          queue not empty, predicate clear      control word             second word
//!  +------+ -------------------------> +-------+ ----------> +--------+
//!  | Idle |   (predicate set: skip)    | First | <---------- | Second | --FENCE--> Fence --both engines done--> First
//!  +------+ <--+                       +-------+             +--------+
//!              |                        |  ^ word 11 taken       |
//!           Ended <--both done-- Drain  v  |                     |
//!                                 ^   +-------+                  |
//!                                 |   | Words |                  |
//!                                 |   +-------+                  |
//!                                 +-------------- END -----------+        any trap: Stopped, until abort
//! ```
//!
//! `pc` is the address of the word under consideration. The address that program memory reads for the *next* cycle is
//! computed in this one (`next_pc`), so a word is consumed in every cycle, jumps included: a control instruction takes 2
//! cycles, an engine instruction 12 where the engine is ready. `have` says that the memory's output is the word at `pc`; it is
//! lost only after a start and after the mover used the read port, which it may whenever the fetcher consumes nothing.
//!
//! Segments never overlap: END waits until both engines have completed what was issued, so the predicate of the next one sees
//! every flag. The engines must raise a flag no later than the cycle in which `done` shows the instruction complete, and a trap no
//! later than two cycles after it: the matrix engine counts a write when it makes it, and hears then whether it was in range. END
//! waits for that, too.
//!
//! A program that runs off the end of memory traps when a word from there would be consumed: `trap_pc` is then the first word of
//! the instruction that is cut off (or the target of the jump), `trap_info` the address of the missing word.

use super::memory::LutRam;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// What the fetcher is doing.
#[derive(Copy, Clone, PartialEq, Debug, LogicState)]
pub enum State {
    /// Nothing; the head of the queue starts from here.
    Idle,
    /// Word 0 of an instruction.
    First,
    /// Word 1 of a control instruction.
    Second,
    /// Words 1 to 11 of an engine's instruction.
    Words,
    /// FENCE: until both engines have completed everything.
    Fence,
    /// END: likewise.
    Drain,
    /// The segment has ended.
    Ended,
    /// A trap.
    Stopped,
}

/// Queue, fetcher, address registers, loop and return stacks.
#[derive(LogicBlock, Default)]
pub struct Fetcher {
    /// The clock.
    pub clock: Signal<In, Clock>,
    /// Words of program memory.
    pub limit: Signal<In, Bits<17>>,
    /// Forget everything; `issued` follows `done`.
    pub abort: Signal<In, Bit>,
    /// Something else trapped: stop.
    pub stop: Signal<In, Bit>,

    /// Queue a segment (ignored while `full`).
    pub push: Signal<In, Bit>,
    /// Word address of the segment to queue.
    pub push_address: Signal<In, Bits<32>>,
    /// Flags that must be clear for it to run.
    pub push_mask: Signal<In, Bits<4>>,
    /// The sticky flags.
    pub flags: Signal<In, Bits<4>>,

    /// Address register write by the bus; the fetcher is idle then.
    pub areg_we: Signal<In, Bit>,
    /// Address register that the bus writes or reads.
    pub areg_index: Signal<In, Bits<4>>,
    /// Value that the bus writes.
    pub areg_wdata: Signal<In, Bits<20>>,
    /// Value of the bus's address register, in the same cycle.
    pub areg_rdata: Signal<Out, Bits<20>>,

    /// Read address of program memory.
    pub word_address: Signal<Out, Bits<16>>,
    /// The word whose address was given in the cycle before.
    pub word: Signal<In, Bits<32>>,
    /// The mover wants the read port.
    pub read_req: Signal<In, Bit>,
    /// Its address.
    pub read_address: Signal<In, Bits<16>>,
    /// It has the port in this cycle.
    pub read_gnt: Signal<Out, Bit>,

    /// Word for the matrix engine.
    pub m_valid: Signal<Out, Bit>,
    /// The matrix engine takes it.
    pub m_ready: Signal<In, Bit>,
    /// Matrix instructions completed, mod 256.
    pub m_done: Signal<In, Bits<8>>,
    /// Matrix instructions handed over, mod 256.
    pub m_issued: Signal<Out, Bits<8>>,
    /// The twelfth word of a matrix instruction is taken in this cycle.
    pub m_issue: Signal<Out, Bit>,
    /// Word for the vector engine.
    pub v_valid: Signal<Out, Bit>,
    /// The vector engine takes it.
    pub v_ready: Signal<In, Bit>,
    /// Vector instructions completed, mod 256.
    pub v_done: Signal<In, Bits<8>>,
    /// The word, its address resolved.
    pub iw_data: Signal<Out, Bits<32>>,
    /// With word 0: its address.
    pub iw_pc: Signal<Out, Bits<16>>,
    /// With word 0: wait for matrix instructions.
    pub iw_wm_en: Signal<Out, Bit>,
    /// Matrix instructions that must be complete, mod 256.
    pub iw_wm: Signal<Out, Bits<8>>,
    /// With word 0: wait for vector instructions.
    pub iw_wv_en: Signal<Out, Bit>,
    /// Vector instructions that must be complete, mod 256.
    pub iw_wv: Signal<Out, Bits<8>>,

    /// Segments ended, run or skipped, mod 256.
    pub ended: Signal<Out, Bits<8>>,
    /// Segments skipped, mod 256.
    pub skipped: Signal<Out, Bits<8>>,
    /// Queue not empty, or a segment in hand.
    pub busy: Signal<Out, Bit>,
    /// Queue full.
    pub full: Signal<Out, Bit>,
    /// A segment is in hand and runs.
    pub running: Signal<Out, Bit>,
    /// In state Stopped.
    pub stopped: Signal<Out, Bit>,
    /// A segment starts in this cycle.
    pub segment_start: Signal<Out, Bit>,
    /// A segment has run and is complete.
    pub segment_end: Signal<Out, Bit>,
    /// The fetcher trapped in the cycle before, and stands.
    pub trap: Signal<Out, Bit>,
    /// Why.
    pub trap_cause: Signal<Out, Bits<8>>,
    /// The word, or the address outside program memory.
    pub trap_info: Signal<Out, Bits<32>>,
    /// Address of the instruction.
    pub trap_pc: Signal<Out, Bits<16>>,

    state: DFF<State>,
    /// Cycles that END has waited behind both engines.
    settle: DFF<Bits<2>>,
    pc: DFF<Bits<17>>,
    have: DFF<Bit>,
    start_pc: DFF<Bits<16>>,
    opcode: DFF<Bits<4>>,
    register: DFF<Bits<4>>,
    to_vector: DFF<Bit>,
    resolve: DFF<Bits<16>>,
    index: DFF<Bits<4>>,
    issued_m: DFF<Bits<8>>,
    issued_v: DFF<Bits<8>>,
    ended_count: DFF<Bits<8>>,
    skipped_count: DFF<Bits<8>>,

    queue: LutRam<21, 2>,
    queue_head: DFF<Bits<2>>,
    queue_tail: DFF<Bits<2>>,
    queue_count: DFF<Bits<3>>,
    loops: LutRam<49, 2>,
    loop_depth: DFF<Bits<3>>,
    calls: LutRam<17, 2>,
    call_depth: DFF<Bits<3>>,
    aregs: LutRam<20, 4>,
    aregs_bus: LutRam<20, 4>,

    beyond: Signal<Local, Bit>,
    consume: Signal<Local, Bit>,
    fetching: Signal<Local, Bit>,
    fault: Signal<Local, Bits<8>>,
    cause_q: DFF<Bits<8>>,
    info_q: DFF<Bits<32>>,
    fault_pc: DFF<Bits<16>>,
    pc_plus: Signal<Local, Bits<17>>,
    next_pc: Signal<Local, Bits<17>>,
    target: Signal<Local, Bits<17>>,
    complete: Signal<Local, Bit>,
    ready: Signal<Local, Bit>,
    push_ok: Signal<Local, Bit>,
    pop: Signal<Local, Bit>,
    entry: Signal<Local, Bits<21>>,
    blocked: Signal<Local, Bits<4>>,
    loop_below: Signal<Local, Bits<3>>,
    call_below: Signal<Local, Bits<3>>,
    again: Signal<Local, Bits<32>>,
    areg_at: Signal<Local, Bits<4>>,
    areg: Signal<Local, Bits<20>>,
    sum: Signal<Local, Bits<20>>,
    areg_put: Signal<Local, Bit>,
    areg_to: Signal<Local, Bits<4>>,
    areg_new: Signal<Local, Bits<20>>,
    next_m: Signal<Local, Bits<8>>,
    next_v: Signal<Local, Bits<8>>,
    is_gemm: Signal<Local, Bit>,
    is_vector: Signal<Local, Bit>,
    is_control: Signal<Local, Bit>,
}

impl Logic for Fetcher {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            state,
            settle,
            pc,
            have,
            start_pc,
            cause_q,
            info_q,
            fault_pc,
            opcode,
            register,
            to_vector,
            resolve,
            index,
            issued_m,
            issued_v,
            ended_count,
            skipped_count,
            queue_head,
            queue_tail,
            queue_count,
            loop_depth,
            call_depth
        );
        clock!(self, clock, queue, loops, calls, aregs, aregs_bus);

        // What the word at hand is.
        self.is_control.next = self.word.val().get_bits::<8>(0) < 9;
        self.is_gemm.next = self.word.val().get_bits::<8>(0) == 0x40;
        self.is_vector.next = (self.word.val().get_bits::<4>(4) == 8) & (self.word.val().get_bits::<4>(0) != 15);
        self.beyond.next = self.pc.q.val() >= self.limit.val();
        self.pc_plus.next = self.pc.q.val() + 1;
        // An address outside 16 bits stays outside.
        self.target.next = bit_cast::<17, 32>(self.word.val());
        if self.word.val().get_bits::<16>(16) != 0 {
            self.target.next = bit_cast::<17, 16>(self.word.val().get_bits::<16>(0)) | 0x10000;
        }
        self.complete.next =
            (self.m_done.val() == self.issued_m.q.val()) & (self.v_done.val() == self.issued_v.q.val());

        // Address registers: a second copy serves the bus. Register 0 is never written.
        self.areg_at.next = self.word.val().get_bits::<4>(20);
        if self.state.q.val() == State::Second {
            self.areg_at.next = self.register.q.val();
        }
        self.aregs.read_address.next = self.areg_at.val();
        self.areg.next = self.aregs.read_data.val();
        self.sum.next = self.word.val().get_bits::<20>(0) + self.areg.val();
        self.aregs_bus.read_address.next = self.areg_index.val();
        self.areg_rdata.next = self.aregs_bus.read_data.val();
        self.areg_to.next = self.areg_index.val();
        self.areg_new.next = self.areg_wdata.val();
        self.areg_put.next = self.areg_we.val();

        // Stacks: the top is read all the time.
        self.loop_below.next = self.loop_depth.q.val() - 1;
        self.loops.read_address.next = self.loop_below.val().get_bits::<2>(0);
        self.loops.write_address.next = self.loop_depth.q.val().get_bits::<2>(0);
        self.loops.write_data.next =
            (bit_cast::<49, 17>(self.pc_plus.val()) << 32) | bit_cast::<49, 32>(self.word.val());
        self.loops.write_enable.next = false;
        self.again.next = self.loops.read_data.val().get_bits::<32>(0) - 1;
        self.call_below.next = self.call_depth.q.val() - 1;
        self.calls.read_address.next = self.call_below.val().get_bits::<2>(0);
        self.calls.write_address.next = self.call_depth.q.val().get_bits::<2>(0);
        self.calls.write_data.next = self.pc_plus.val();
        self.calls.write_enable.next = false;

        // Queue.
        self.push_ok.next = self.push.val() & (self.queue_count.q.val() != 4) & !self.abort.val();
        self.queue.write_enable.next = self.push_ok.val();
        self.queue.write_address.next = self.queue_tail.q.val();
        self.queue.write_data.next = (bit_cast::<21, 4>(self.push_mask.val()) << 17)
            | bit_cast::<21, 16>(self.push_address.val().get_bits::<16>(0));
        if self.push_address.val().get_bits::<16>(16) != 0 {
            self.queue.write_data.next = (bit_cast::<21, 4>(self.push_mask.val()) << 17)
                | bit_cast::<21, 16>(self.push_address.val().get_bits::<16>(0))
                | 0x10000;
        }
        self.queue.read_address.next = self.queue_head.q.val();
        self.entry.next = self.queue.read_data.val();
        self.blocked.next = self.entry.val().get_bits::<4>(17) & self.flags.val();
        self.pop.next = false;

        // Outputs that only some states raise.
        self.m_valid.next = false;
        self.v_valid.next = false;
        self.m_issue.next = false;
        self.segment_start.next = false;
        self.segment_end.next = false;
        self.settle.d.next = bits::<2>(0);
        self.consume.next = false;
        self.fetching.next = false;
        self.fault.next = bits::<8>(0);
        self.next_pc.next = self.pc.q.val();
        self.ready.next = self.m_ready.val();
        if self.to_vector.q.val() {
            self.ready.next = self.v_ready.val();
        }
        self.next_m.next = self.issued_m.q.val() + 1;
        self.next_v.next = self.issued_v.q.val() + 1;

        match self.state.q.val() {
            State::Idle => {
                if self.queue_count.q.val() != 0 {
                    self.pop.next = true;
                    if self.blocked.val() != 0 {
                        self.ended_count.d.next = self.ended_count.q.val() + 1;
                        self.skipped_count.d.next = self.skipped_count.q.val() + 1;
                    } else {
                        self.segment_start.next = true;
                        self.next_pc.next = self.entry.val().get_bits::<17>(0);
                        self.loop_depth.d.next = bits::<3>(0);
                        self.call_depth.d.next = bits::<3>(0);
                        self.state.d.next = State::First;
                    }
                }
            }
            State::First => {
                self.fetching.next = true;
                if self.beyond.val() {
                    self.fault.next = bits::<8>(2);
                } else if self.have.q.val() {
                    self.start_pc.d.next = self.pc.q.val().get_bits::<16>(0);
                    self.opcode.d.next = self.word.val().get_bits::<4>(0);
                    self.register.d.next = self.word.val().get_bits::<4>(8);
                    self.to_vector.d.next = self.is_vector.val();
                    self.index.d.next = bits::<4>(1);
                    if self.is_control.val() {
                        self.consume.next = true;
                        self.next_pc.next = self.pc_plus.val();
                        self.state.d.next = State::Second;
                    } else if self.is_gemm.val() {
                        // Addresses: words 3, 5, 7, 9, 10.
                        self.resolve.d.next = bits::<16>(0x6a8);
                        self.m_valid.next = true;
                        if self.m_ready.val() {
                            self.consume.next = true;
                            self.next_pc.next = self.pc_plus.val();
                            self.state.d.next = State::Words;
                        }
                    } else if self.is_vector.val() {
                        // Addresses: words 2, 4, 6, 8 where their kind is a memory, 10 if there is a copy.
                        self.resolve.d.next = (bit_cast::<16, 1>(!self.word.val().get_bits::<1>(20)) << 2)
                            | (bit_cast::<16, 1>(!self.word.val().get_bits::<1>(22)) << 4)
                            | (bit_cast::<16, 1>(!self.word.val().get_bits::<1>(24)) << 6)
                            | (bit_cast::<16, 1>(!self.word.val().get_bits::<1>(26)) << 8)
                            | (bit_cast::<16, 1>(self.word.val().get_bits::<1>(27)) << 10);
                        self.v_valid.next = true;
                        if self.v_ready.val() {
                            self.consume.next = true;
                            self.next_pc.next = self.pc_plus.val();
                            self.state.d.next = State::Words;
                        }
                    } else {
                        self.fault.next = bits::<8>(1);
                    }
                }
            }
            State::Second => {
                self.fetching.next = true;
                if self.beyond.val() {
                    self.fault.next = bits::<8>(2);
                } else if self.have.q.val() {
                    self.consume.next = true;
                    self.next_pc.next = self.pc_plus.val();
                    self.state.d.next = State::First;
                    match self.opcode.q.val().index() {
                        1 => {
                            self.state.d.next = State::Drain;
                        }
                        2 => {
                            if self.word.val() == 0 {
                                self.fault.next = bits::<8>(6);
                            } else if self.loop_depth.q.val() == 4 {
                                self.fault.next = bits::<8>(3);
                            } else {
                                self.loops.write_enable.next = true;
                                self.loop_depth.d.next = self.loop_depth.q.val() + 1;
                            }
                        }
                        3 => {
                            if self.loop_depth.q.val() == 0 {
                                self.fault.next = bits::<8>(3);
                            } else if self.again.val() == 0 {
                                self.loop_depth.d.next = self.loop_below.val();
                            } else {
                                self.next_pc.next = self.loops.read_data.val().get_bits::<17>(32);
                                self.loops.write_enable.next = true;
                                self.loops.write_address.next = self.loop_below.val().get_bits::<2>(0);
                                self.loops.write_data.next =
                                    (bit_cast::<49, 17>(self.loops.read_data.val().get_bits::<17>(32)) << 32)
                                        | bit_cast::<49, 32>(self.again.val());
                            }
                        }
                        4 => {
                            if self.call_depth.q.val() == 4 {
                                self.fault.next = bits::<8>(3);
                            } else {
                                self.calls.write_enable.next = true;
                                self.call_depth.d.next = self.call_depth.q.val() + 1;
                                self.next_pc.next = self.target.val();
                            }
                        }
                        5 => {
                            if self.call_depth.q.val() == 0 {
                                self.fault.next = bits::<8>(3);
                            } else {
                                self.call_depth.d.next = self.call_below.val();
                                self.next_pc.next = self.calls.read_data.val();
                            }
                        }
                        6 => {
                            self.areg_to.next = self.register.q.val();
                            self.areg_new.next = self.word.val().get_bits::<20>(0);
                            self.areg_put.next = true;
                        }
                        7 => {
                            self.areg_to.next = self.register.q.val();
                            self.areg_new.next = self.sum.val();
                            self.areg_put.next = true;
                        }
                        8 => {
                            self.state.d.next = State::Fence;
                        }
                        _ => {}
                    }
                }
            }
            State::Words => {
                self.fetching.next = true;
                if self.beyond.val() {
                    self.fault.next = bits::<8>(2);
                } else if self.have.q.val() {
                    self.m_valid.next = !self.to_vector.q.val();
                    self.v_valid.next = self.to_vector.q.val();
                    if self.ready.val() {
                        self.consume.next = true;
                        self.next_pc.next = self.pc_plus.val();
                        self.index.d.next = self.index.q.val() + 1;
                        if self.index.q.val() == 11 {
                            self.state.d.next = State::First;
                            if self.to_vector.q.val() {
                                self.issued_v.d.next = self.next_v.val();
                            } else {
                                self.issued_m.d.next = self.next_m.val();
                                self.m_issue.next = true;
                            }
                        }
                    }
                }
            }
            State::Fence => {
                if self.complete.val() {
                    self.state.d.next = State::First;
                }
            }
            State::Drain => {
                if self.complete.val() {
                    self.settle.d.next = self.settle.q.val() + 1;
                    if self.settle.q.val() == 2 {
                        self.state.d.next = State::Ended;
                    }
                }
            }
            State::Ended => {
                self.segment_end.next = true;
                self.ended_count.d.next = self.ended_count.q.val() + 1;
                self.state.d.next = State::Idle;
            }
            State::Stopped => {}
        }

        // Traps.
        self.cause_q.d.next = self.fault.val();
        self.info_q.d.next = self.word.val();
        if self.beyond.val() {
            self.info_q.d.next = bit_cast::<32, 17>(self.pc.q.val());
        }
        self.fault_pc.d.next = self.start_pc.q.val();
        if self.state.q.val() == State::First {
            self.fault_pc.d.next = self.pc.q.val().get_bits::<16>(0);
        }
        self.trap.next = self.cause_q.q.val() != 0;
        self.trap_cause.next = self.cause_q.q.val();
        self.trap_info.next = self.info_q.q.val();
        self.trap_pc.next = self.fault_pc.q.val();
        if (self.fault.val() != 0) | self.stop.val() {
            self.state.d.next = State::Stopped;
        }

        // Program memory: the mover reads where nothing is consumed; a word that it displaced is read again.
        self.pc.d.next = self.next_pc.val();
        self.read_gnt.next = self.read_req.val() & (!self.fetching.val() | (self.have.q.val() & !self.consume.val()));
        self.have.d.next = !self.read_gnt.val();
        self.word_address.next = self.next_pc.val().get_bits::<16>(0);
        if self.read_gnt.val() {
            self.word_address.next = self.read_address.val();
        }

        // The word for the engines.
        self.iw_data.next = self.word.val();
        if (self.state.q.val() == State::Words) & self.resolve.q.val().get_bit(self.index.q.val().index()) {
            self.iw_data.next =
                (bit_cast::<32, 8>(self.word.val().get_bits::<8>(24)) << 24) | bit_cast::<32, 20>(self.sum.val());
        }
        self.iw_pc.next = self.pc.q.val().get_bits::<16>(0);
        self.iw_wm_en.next = self.word.val().get_bits::<4>(8) != 0;
        self.iw_wm.next = self.next_m.val() - bit_cast::<8, 4>(self.word.val().get_bits::<4>(8));
        self.iw_wv_en.next = self.word.val().get_bits::<4>(12) != 0;
        self.iw_wv.next = self.next_v.val() - bit_cast::<8, 4>(self.word.val().get_bits::<4>(12));
        self.m_issued.next = self.issued_m.q.val();

        // Writes of the address registers, both copies.
        self.aregs.write_enable.next = self.areg_put.val() & (self.areg_to.val() != 0);
        self.aregs.write_address.next = self.areg_to.val();
        self.aregs.write_data.next = self.areg_new.val();
        self.aregs_bus.write_enable.next = self.areg_put.val() & (self.areg_to.val() != 0);
        self.aregs_bus.write_address.next = self.areg_to.val();
        self.aregs_bus.write_data.next = self.areg_new.val();

        // Queue pointers.
        if self.push_ok.val() {
            self.queue_tail.d.next = self.queue_tail.q.val() + 1;
        }
        if self.pop.val() {
            self.queue_head.d.next = self.queue_head.q.val() + 1;
        }
        if self.push_ok.val() & !self.pop.val() {
            self.queue_count.d.next = self.queue_count.q.val() + 1;
        }
        if self.pop.val() & !self.push_ok.val() {
            self.queue_count.d.next = self.queue_count.q.val() - 1;
        }

        self.ended.next = self.ended_count.q.val();
        self.skipped.next = self.skipped_count.q.val();
        self.full.next = self.queue_count.q.val() == 4;
        self.busy.next = (self.queue_count.q.val() != 0) | (self.state.q.val() != State::Idle);
        self.running.next = (self.state.q.val() != State::Idle) & (self.state.q.val() != State::Stopped);
        self.stopped.next = self.state.q.val() == State::Stopped;

        if self.abort.val() {
            self.state.d.next = State::Idle;
            self.queue_head.d.next = self.queue_tail.q.val();
            self.queue_count.d.next = bits::<3>(0);
            self.ended_count.d.next = self.ended_count.q.val();
            self.skipped_count.d.next = self.skipped_count.q.val();
            self.issued_m.d.next = self.m_done.val();
            self.issued_v.d.next = self.v_done.val();
        }
    }
}
