//! Control: program memory, segment queue, fetcher, and the registers 0x000 to 0x2ff.
//!
//! ```text
//!          mover: writes, reads back
//!               |
//!        +--------------+  word   +---------+  iw_*   matrix engine, vector engine
//!        |  ProgramRam  |-------->| Fetcher |----------->
//!        +--------------+<--------+---------+<----------- done counts
//!                          address   ^   |
//!                  push, registers   |   | status, trap
//!                               +-----------+
//!   bus: sel we addr wdata ---->| Registers |----> abort, exp, sreg_*
//!        rdata              <---+-----------+<---- flags, traps, levels of the engines
//! ```
//!
//! Cycles: a control instruction takes 2, an engine instruction 12 (more where the engine is not ready), a FENCE 1 more once the
//! engines are done, a segment 1 from the queue and 2 after its last instruction is complete.

pub mod fetcher;
pub mod identity;
pub mod memory;
pub mod registers;

use fetcher::Fetcher;
use memory::ProgramRam;
use registers::Registers;
use rust_hdl_core::prelude::*;
use systole_isa::machine::Machine;

/// Program memory, fetcher and registers of one machine. Ports starting with `m_` belong to the matrix engine, `v_` to the vector
/// engine; the `iw_` words are shared, each engine has its own valid and ready.
#[derive(LogicBlock, Default)]
pub struct Control {
    /// The clock.
    pub clock: Signal<In, Clock>,

    /// Register port: an access.
    pub sel: Signal<In, Bit>,
    /// It is a write.
    pub we: Signal<In, Bit>,
    /// Byte offset from the registers' base.
    pub addr: Signal<In, Bits<12>>,
    /// Value to write.
    pub wdata: Signal<In, Bits<32>>,
    /// Value read, from the cycle after `sel`.
    pub rdata: Signal<Out, Bits<32>>,

    /// Mover: write a word of program memory.
    pub pm_we: Signal<In, Bit>,
    /// Its address.
    pub pm_waddr: Signal<In, Bits<16>>,
    /// Its value.
    pub pm_wdata: Signal<In, Bits<32>>,
    /// Mover: read a word of program memory.
    pub pm_req: Signal<In, Bit>,
    /// Its address.
    pub pm_raddr: Signal<In, Bits<16>>,
    /// Granted in this cycle; the word comes in the next.
    pub pm_gnt: Signal<Out, Bit>,
    /// The word.
    pub pm_rdata: Signal<Out, Bits<32>>,

    /// Instruction word, for both engines.
    pub iw_data: Signal<Out, Bits<32>>,
    /// With word 0: its word address.
    pub iw_pc: Signal<Out, Bits<16>>,
    /// With word 0: wait until `m_done` has reached `iw_wm`.
    pub iw_wm_en: Signal<Out, Bit>,
    /// See `iw_wm_en`.
    pub iw_wm: Signal<Out, Bits<8>>,
    /// With word 0: wait until `v_done` has reached `iw_wv`.
    pub iw_wv_en: Signal<Out, Bit>,
    /// See `iw_wv_en`.
    pub iw_wv: Signal<Out, Bits<8>>,

    /// The word is for the matrix engine.
    pub m_iw_valid: Signal<Out, Bit>,
    /// It takes it.
    pub m_iw_ready: Signal<In, Bit>,
    /// Instructions completed, mod 256.
    pub m_done_count: Signal<In, Bits<8>>,
    /// An instruction is in hand.
    pub m_busy: Signal<In, Bit>,
    /// It waits for another instruction.
    pub m_stall_wait: Signal<In, Bit>,
    /// It waits for a memory.
    pub m_stall_mem: Signal<In, Bit>,
    /// An array row is streamed.
    pub m_row: Signal<In, Bit>,
    /// Sets sticky flags.
    pub m_flag_set: Signal<In, Bits<4>>,
    /// By this instruction.
    pub m_flag_pc: Signal<In, Bits<16>>,
    /// At this element; bit 20: smem.
    pub m_flag_addr: Signal<In, Bits<21>>,
    /// Trap, a level until `abort`.
    pub m_trap: Signal<In, Bit>,
    /// A `regs::Trap`.
    pub m_trap_cause: Signal<In, Bits<8>>,
    /// As register TRAP_INFO.
    pub m_trap_info: Signal<In, Bits<32>>,
    /// Of this instruction.
    pub m_trap_pc: Signal<In, Bits<16>>,

    /// The word is for the vector engine.
    pub v_iw_valid: Signal<Out, Bit>,
    /// It takes it.
    pub v_iw_ready: Signal<In, Bit>,
    /// Instructions completed, mod 256.
    pub v_done_count: Signal<In, Bits<8>>,
    /// An instruction is in hand.
    pub v_busy: Signal<In, Bit>,
    /// It waits for another instruction.
    pub v_stall_wait: Signal<In, Bit>,
    /// It waits for a memory.
    pub v_stall_mem: Signal<In, Bit>,
    /// Sets sticky flags.
    pub v_flag_set: Signal<In, Bits<4>>,
    /// By this instruction.
    pub v_flag_pc: Signal<In, Bits<16>>,
    /// At this element; bit 20: smem.
    pub v_flag_addr: Signal<In, Bits<21>>,
    /// Trap, a level until `abort`.
    pub v_trap: Signal<In, Bit>,
    /// A `regs::Trap`.
    pub v_trap_cause: Signal<In, Bits<8>>,
    /// As register TRAP_INFO.
    pub v_trap_info: Signal<In, Bits<32>>,
    /// Of this instruction.
    pub v_trap_pc: Signal<In, Bits<16>>,

    /// An access of the vector engine is out of range (pulse or level); the engines' own traps come first.
    pub mem_trap: Signal<In, Bit>,
    /// Of this instruction.
    pub mem_trap_pc: Signal<In, Bits<16>>,
    /// As register TRAP_INFO: the element of the first access out of range, either engine's.
    pub range_info: Signal<In, Bits<32>>,
    /// `range_info` is being found.
    pub range_busy: Signal<In, Bit>,

    /// Write a scalar register.
    pub sreg_we: Signal<Out, Bit>,
    /// Which one is written or read.
    pub sreg_index: Signal<Out, Bits<4>>,
    /// Its new value.
    pub sreg_wdata: Signal<Out, Bits<32>>,
    /// Value of the one whose index stood in the cycle before.
    pub sreg_rdata: Signal<In, Bits<32>>,
    /// Exponent of `scaled` operands, signed.
    pub exp: Signal<Out, Bits<8>>,
    /// Level, 16 cycles: engines and mover clear all state.
    pub abort: Signal<Out, Bit>,

    fetcher: Fetcher,
    program_ram: ProgramRam,
    registers: Registers,
}

impl Control {
    /// The control of `machine`. `clock_hz` and `design_hash` (first 32 bits of the design's SHA-256) are for the identity
    /// registers only.
    pub fn new(machine: &Machine, clock_hz: u32, design_hash: u32) -> Self {
        Control {
            program_ram: ProgramRam::new(machine.pmem_words as usize),
            registers: Registers::new(machine, clock_hz, design_hash),
            ..Default::default()
        }
    }
}

impl Logic for Control {
    #[hdl_gen]
    fn update(&mut self) {
        clock!(self, clock, fetcher, program_ram, registers);

        // Bus.
        self.registers.sel.next = self.sel.val();
        self.registers.we.next = self.we.val();
        self.registers.addr.next = self.addr.val();
        self.registers.wdata.next = self.wdata.val();
        self.rdata.next = self.registers.rdata.val();
        self.sreg_we.next = self.registers.sreg_we.val();
        self.sreg_index.next = self.registers.sreg_index.val();
        self.sreg_wdata.next = self.registers.sreg_wdata.val();
        self.registers.sreg_rdata.next = self.sreg_rdata.val();
        self.exp.next = self.registers.exp.val();
        self.abort.next = self.registers.abort.val();

        // Program memory.
        self.program_ram.write_enable.next = self.pm_we.val();
        self.program_ram.write_address.next = self.pm_waddr.val();
        self.program_ram.write_data.next = self.pm_wdata.val();
        self.program_ram.read_address.next = self.fetcher.word_address.val();
        self.pm_rdata.next = self.program_ram.read_data.val();
        self.fetcher.word.next = self.program_ram.read_data.val();
        self.fetcher.read_req.next = self.pm_req.val();
        self.fetcher.read_address.next = self.pm_raddr.val();
        self.pm_gnt.next = self.fetcher.read_gnt.val();

        // Fetcher.
        self.fetcher.limit.next = self.registers.limit.val();
        self.fetcher.abort.next = self.registers.abort.val();
        self.fetcher.stop.next = self.registers.stop.val();
        self.fetcher.push.next = self.registers.push.val();
        self.fetcher.push_address.next = self.registers.push_address.val();
        self.fetcher.push_mask.next = self.registers.push_mask.val();
        self.fetcher.flags.next = self.registers.flags.val();
        self.fetcher.areg_we.next = self.registers.areg_we.val();
        self.fetcher.areg_index.next = self.registers.areg_index.val();
        self.fetcher.areg_wdata.next = self.wdata.val().get_bits::<20>(0);
        self.registers.areg_rdata.next = self.fetcher.areg_rdata.val();
        self.registers.ended.next = self.fetcher.ended.val();
        self.registers.skipped.next = self.fetcher.skipped.val();
        self.registers.busy.next = self.fetcher.busy.val();
        self.registers.full.next = self.fetcher.full.val();
        self.registers.stopped.next = self.fetcher.stopped.val();
        self.registers.segment_start.next = self.fetcher.segment_start.val();
        self.registers.segment_end.next = self.fetcher.segment_end.val();

        // Engines: instructions.
        self.iw_data.next = self.fetcher.iw_data.val();
        self.iw_pc.next = self.fetcher.iw_pc.val();
        self.iw_wm_en.next = self.fetcher.iw_wm_en.val();
        self.iw_wm.next = self.fetcher.iw_wm.val();
        self.iw_wv_en.next = self.fetcher.iw_wv_en.val();
        self.iw_wv.next = self.fetcher.iw_wv.val();
        self.m_iw_valid.next = self.fetcher.m_valid.val();
        self.fetcher.m_ready.next = self.m_iw_ready.val();
        self.fetcher.m_done.next = self.m_done_count.val();
        self.v_iw_valid.next = self.fetcher.v_valid.val();
        self.fetcher.v_ready.next = self.v_iw_ready.val();
        self.fetcher.v_done.next = self.v_done_count.val();

        // Counters.
        self.registers.m_issue.next = self.fetcher.m_issue.val();
        self.registers.m_issued.next = self.fetcher.m_issued.val().get_bits::<4>(0);
        self.registers.m_done.next = self.m_done_count.val().get_bits::<4>(0);
        self.registers.m_busy.next = self.m_busy.val();
        self.registers.m_stall_wait.next = self.m_stall_wait.val();
        self.registers.m_stall_mem.next = self.m_stall_mem.val();
        self.registers.v_busy.next = self.v_busy.val();
        self.registers.v_stall_wait.next = self.v_stall_wait.val();
        self.registers.v_stall_mem.next = self.v_stall_mem.val();
        self.registers.running.next = self.fetcher.running.val();
        self.registers.m_row.next = self.m_row.val();

        // Traps and flags.
        self.registers.trap[0].next = self.fetcher.trap.val();
        self.registers.trap_cause[0].next = self.fetcher.trap_cause.val();
        self.registers.trap_info[0].next = self.fetcher.trap_info.val();
        self.registers.trap_pc[0].next = self.fetcher.trap_pc.val();
        self.registers.trap[1].next = self.m_trap.val();
        self.registers.trap_cause[1].next = self.m_trap_cause.val();
        self.registers.trap_info[1].next = self.m_trap_info.val();
        self.registers.trap_pc[1].next = self.m_trap_pc.val();
        self.registers.trap[2].next = self.v_trap.val();
        self.registers.trap_cause[2].next = self.v_trap_cause.val();
        self.registers.trap_info[2].next = self.v_trap_info.val();
        self.registers.trap_pc[2].next = self.v_trap_pc.val();
        self.registers.trap[3].next = self.mem_trap.val();
        self.registers.trap_cause[3].next = bits::<8>(4);
        self.registers.trap_info[3].next = bits::<32>(0);
        self.registers.trap_pc[3].next = self.mem_trap_pc.val();
        self.registers.range_info.next = self.range_info.val();
        self.registers.range_busy.next = self.range_busy.val();
        self.registers.flag_set[0].next = self.m_flag_set.val();
        self.registers.flag_pc[0].next = self.m_flag_pc.val();
        self.registers.flag_addr[0].next = self.m_flag_addr.val();
        self.registers.flag_set[1].next = self.v_flag_set.val();
        self.registers.flag_pc[1].next = self.v_flag_pc.val();
        self.registers.flag_addr[1].next = self.v_flag_addr.val();
    }
}
