//! The top: every room wired together.
//!
//! Read with the picture in `ARCHITECTURE.md`. The kernel below is wiring only: each block of lines is one arrow of that picture.

use super::{Board, Bus, ClockGate, Cpu, FirmwareRam, RequestRegister};
use crate::comment;
use crate::control::Control;
use crate::link::Link;
use crate::matrix::MatrixEngine;
use crate::memory::{MemorySystem, read, write};
use crate::mover::Mover;
use crate::vector::VectorEngine;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use systole_isa::machine::Machine;

// The kernel writes the memory clients' numbers as literals, which is all that RustHDL's subset knows.
const _: () = {
    assert!(read::M_W == 0 && read::M_X == 1 && read::V_X == 2 && read::V_Y == 3 && read::V_Z == 4 && read::MV_R == 5);
    assert!(write::M_OUT == 0 && write::V_D == 1 && write::V_C == 2 && write::MV_W == 3);
};

/// What a SoC is built with beside the sizes of its machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocOptions {
    /// Clock frequency in Hz that firmware reads; 0 in simulation.
    pub clock_hz: u32,
    /// First 32 bits of a hash of the design, so that a device can be told from another.
    pub design_hash: u32,
}

/// The whole machine with a byte port.
#[derive(LogicBlock)]
pub struct Soc {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Holds the soft core in reset.
    pub cpu_reset: Signal<In, Bit>,
    /// A byte from the host is there.
    pub rx_valid: Signal<In, Bit>,
    /// The byte.
    pub rx_data: Signal<In, Bits<8>>,
    /// It is taken (always).
    pub rx_ready: Signal<Out, Bit>,
    /// A byte for the host is there.
    pub tx_valid: Signal<Out, Bit>,
    /// The byte.
    pub tx_data: Signal<Out, Bits<8>>,
    /// It is taken.
    pub tx_ready: Signal<In, Bit>,
    /// Clock cycles per bit in 1/65536 for a UART before the byte port; 0: the one that it was built with.
    pub uart_divisor: Signal<Out, Bits<32>>,
    /// Status of that UART ([`systole_isa::regs::UART_STATUS`]); zero where there is none.
    pub uart_status: Signal<In, Bits<32>>,
    /// LEDs.
    pub leds: Signal<Out, Bits<8>>,
    /// A result that is not finite was written in this cycle, by either engine, and a flag was set for it.
    pub overflow: Signal<Out, Bit>,
    /// What firmware gave up with.
    pub panic: Signal<Out, Bits<32>>,
    /// Firmware has given up.
    pub panic_valid: Signal<Out, Bit>,
    cpu: Cpu,
    ram: FirmwareRam,
    asking: RequestRegister,
    bus: Bus,
    board: Board,
    link: Link,
    mover: Mover,
    control: Control,
    matrix_gate: ClockGate,
    matrix: MatrixEngine,
    vector_gate: ClockGate,
    vector: VectorEngine,
    memory: MemorySystem,
    mem_trap: Signal<Local, Bit>,
    read_pc1: DFF<Bits<16>>,
    write_pc1: DFF<Bits<16>>,
    _n: usize,
    _v: usize,
}

impl Soc {
    /// The SoC of `machine`.
    ///
    /// # Panics
    /// If the machine breaks a rule of [`Machine::invalid`].
    pub fn new(machine: &Machine, options: SocOptions) -> Soc {
        if let Some(rule) = machine.invalid() {
            panic!("no such machine: {rule}");
        }
        let (n, v) = (machine.lanes as usize, machine.vector_lanes as usize);
        Soc {
            clock: Default::default(),
            cpu_reset: Default::default(),
            rx_valid: Default::default(),
            rx_data: Default::default(),
            rx_ready: Default::default(),
            tx_valid: Default::default(),
            tx_data: Default::default(),
            tx_ready: Default::default(),
            uart_divisor: Default::default(),
            uart_status: Default::default(),
            leds: Default::default(),
            overflow: Default::default(),
            panic: Default::default(),
            panic_valid: Default::default(),
            cpu: Default::default(),
            ram: FirmwareRam::new(machine.firmware_bytes),
            asking: RequestRegister::new(machine.memory_latency as usize - 2),
            bus: Default::default(),
            board: Default::default(),
            link: Link::new(machine),
            mover: Mover::new(machine),
            control: Control::new(machine, options.clock_hz, options.design_hash),
            matrix_gate: Default::default(),
            matrix: MatrixEngine::new(machine),
            vector_gate: Default::default(),
            vector: VectorEngine::new(n, v, machine.memory_latency as usize),
            memory: MemorySystem::new(machine),
            mem_trap: Default::default(),
            read_pc1: Default::default(),
            write_pc1: Default::default(),
            _n: n,
            _v: v,
        }
    }
}

impl Logic for Soc {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module soc");
        clock!(self, clock, cpu, ram, asking, bus, board, link, mover, control, memory, matrix_gate, vector_gate);
        clock!(self, clock, read_pc1, write_pc1);

        // soft core, its RAM and its bus
        self.cpu.reset.next = self.cpu_reset.val();
        self.bus.i_request.next = self.cpu.i_request.val();
        self.cpu.i_ack.next = self.bus.i_ack.val();
        self.bus.i_burst.next = self.cpu.i_burst.val();
        self.bus.i_address.next = self.cpu.i_address.val();
        self.ram.i_address.next = self.bus.i_fetch.val();
        self.cpu.i_data.next = self.ram.i_data.val();
        self.asking.request.next = self.cpu.d_request.val();
        self.asking.write.next = self.cpu.d_write.val();
        self.asking.address.next = self.cpu.d_address.val();
        self.asking.select.next = self.cpu.d_select.val();
        self.asking.wdata.next = self.cpu.d_wdata.val();
        self.asking.ack.next = self.bus.d_ack.val();
        self.bus.d_request.next = self.asking.bus_request.val();
        self.bus.d_write.next = self.asking.bus_write.val();
        self.bus.d_address.next = self.asking.bus_address.val();
        self.bus.d_select.next = self.asking.bus_select.val();
        self.cpu.d_ack.next = self.bus.d_ack.val();
        self.cpu.d_rdata.next = self.bus.d_rdata.val();
        self.ram.d_enable.next = self.bus.ram.val();
        self.ram.d_address.next = self.cpu.d_address.val();
        self.ram.d_write.next = self.bus.ram_write.val();
        self.ram.d_wdata.next = self.asking.bus_wdata.val();
        self.bus.ram_rdata.next = self.ram.d_rdata.val();

        // registers
        self.control.sel.next = self.bus.sel_control.val();
        self.control.we.next = self.bus.we.val();
        self.control.addr.next = self.bus.addr.val();
        self.control.wdata.next = self.asking.bus_wdata.val();
        self.bus.control_rdata.next = self.control.rdata.val();
        self.mover.sel.next = self.bus.sel_mover.val();
        self.mover.we.next = self.bus.we.val();
        self.mover.addr.next = self.bus.addr.val();
        self.mover.wdata.next = self.asking.bus_wdata.val();
        self.bus.mover_rdata.next = self.mover.rdata.val();
        self.link.sel.next = self.bus.sel_link.val();
        self.link.we.next = self.bus.we.val();
        self.link.addr.next = self.bus.addr.val();
        self.link.wdata.next = self.asking.bus_wdata.val();
        self.bus.link_rdata.next = self.link.rdata.val();
        self.board.sel.next = self.bus.sel_board.val();
        self.board.we.next = self.bus.we.val();
        self.board.addr.next = self.bus.addr.val();
        self.board.wdata.next = self.asking.bus_wdata.val();
        self.leds.next = self.board.leds.val();
        self.overflow.next = (self.matrix.flag_set.val() != 0) | (self.vector.flag_set.val() != 0);
        self.panic.next = self.board.panic.val();
        self.panic_valid.next = self.board.panic_valid.val();

        // bytes
        self.link.rx_valid.next = self.rx_valid.val();
        self.link.rx_data.next = self.rx_data.val();
        self.rx_ready.next = true;
        self.tx_valid.next = self.link.tx_valid.val();
        self.tx_data.next = self.link.tx_data.val();
        self.link.tx_ready.next = self.tx_ready.val();
        self.uart_divisor.next = self.link.uart_divisor.val();
        self.link.uart_status.next = self.uart_status.val();

        // rings: bus and mover
        self.link.bus_read.next = self.bus.rx_read.val();
        self.link.bus_read_at.next = self.bus.ring_at.val();
        self.bus.rx_rdata.next = self.link.ring_data.val();
        self.link.bus_write.next = self.bus.tx_write.val();
        self.link.bus_write_at.next = self.bus.ring_at.val();
        self.link.bus_write_data.next = self.asking.bus_wdata.val();
        self.link.mover_read.next = self.mover.rx_req.val();
        self.link.mover_read_at.next = self.mover.rx_addr.val();
        self.mover.rx_gnt.next = self.link.mover_read_grant.val();
        self.mover.rx_rdata.next = self.link.ring_data.val();
        self.link.mover_write.next = self.mover.tx_req.val();
        self.link.mover_write_at.next = self.mover.tx_addr.val();
        self.link.mover_write_data.next = self.mover.tx_wdata.val();
        self.mover.tx_gnt.next = self.link.mover_write_grant.val();

        // mover and program memory
        self.mover.abort.next = self.control.abort.val();
        self.control.pm_we.next = self.mover.pm_we.val();
        self.control.pm_waddr.next = self.mover.pm_waddr.val();
        self.control.pm_wdata.next = self.mover.pm_wdata.val();
        self.control.pm_req.next = self.mover.pm_req.val();
        self.control.pm_raddr.next = self.mover.pm_raddr.val();
        self.mover.pm_gnt.next = self.control.pm_gnt.val();
        self.mover.pm_rdata.next = self.control.pm_rdata.val();

        // fetcher and matrix engine, whose clock runs while it has work; a flag's pulse must end too
        self.matrix_gate.enable.next = self.control.m_iw_valid.val()
            | !self.matrix.idle.val()
            | (self.matrix.flag_set.val() != 0)
            | self.control.abort.val();
        self.matrix.clock.next = self.matrix_gate.gated.val();
        self.matrix.abort.next = self.control.abort.val();
        self.matrix.iw_valid.next = self.control.m_iw_valid.val();
        self.control.m_iw_ready.next = self.matrix.iw_ready.val();
        self.matrix.iw_data.next = self.control.iw_data.val();
        self.matrix.iw_pc.next = self.control.iw_pc.val();
        self.matrix.iw_wm_en.next = self.control.iw_wm_en.val();
        self.matrix.iw_wm.next = self.control.iw_wm.val();
        self.matrix.iw_wv_en.next = self.control.iw_wv_en.val();
        self.matrix.iw_wv.next = self.control.iw_wv.val();
        self.matrix.done_v.next = self.vector.done_count.val();
        self.control.m_done_count.next = self.matrix.done_count.val();
        self.control.m_busy.next = self.matrix.busy.val();
        self.control.m_stall_wait.next = self.matrix.stall_wait.val();
        self.control.m_stall_mem.next = self.matrix.stall_mem.val();
        self.control.m_row.next = self.matrix.row_streamed.val();
        self.control.m_flag_set.next = self.matrix.flag_set.val();
        self.control.m_flag_pc.next = self.matrix.flag_pc.val();
        self.control.m_flag_addr.next = self.matrix.flag_addr.val();
        self.control.m_trap.next = self.matrix.trap.val();
        self.control.m_trap_cause.next = self.matrix.trap_cause.val();
        self.control.m_trap_info.next = self.matrix.trap_info.val();
        self.control.m_trap_pc.next = self.matrix.trap_pc.val();

        // fetcher and vector engine
        self.vector_gate.enable.next = self.control.v_iw_valid.val()
            | !self.vector.idle.val()
            | (self.vector.flag_set.val() != 0)
            | self.control.abort.val()
            | self.control.sel.val();
        self.vector.clock.next = self.vector_gate.gated.val();
        self.vector.abort.next = self.control.abort.val();
        self.vector.iw_valid.next = self.control.v_iw_valid.val();
        self.control.v_iw_ready.next = self.vector.iw_ready.val();
        self.vector.iw_data.next = self.control.iw_data.val();
        self.vector.iw_pc.next = self.control.iw_pc.val();
        self.vector.iw_wm_en.next = self.control.iw_wm_en.val();
        self.vector.iw_wm.next = self.control.iw_wm.val();
        self.vector.iw_wv_en.next = self.control.iw_wv_en.val();
        self.vector.iw_wv.next = self.control.iw_wv.val();
        self.vector.done_m.next = self.matrix.done_count.val();
        self.control.v_done_count.next = self.vector.done_count.val();
        self.control.v_busy.next = self.vector.busy.val();
        self.control.v_stall_wait.next = self.vector.stall_wait.val();
        self.control.v_stall_mem.next = self.vector.stall_mem.val();
        self.control.v_flag_set.next = self.vector.flag_set.val();
        self.control.v_flag_pc.next = self.vector.flag_pc.val();
        self.control.v_flag_addr.next = self.vector.flag_addr.val();
        self.control.v_trap.next = self.vector.trap.val();
        self.control.v_trap_cause.next = self.vector.trap_cause.val();
        self.control.v_trap_info.next = self.vector.trap_info.val();
        self.control.v_trap_pc.next = self.vector.trap_pc.val();
        self.vector.exp.next = self.control.exp.val();
        self.vector.sreg_we.next = self.control.sreg_we.val();
        self.vector.sreg_index.next = self.control.sreg_index.val();
        self.vector.sreg_wdata.next = self.control.sreg_wdata.val();
        self.control.sreg_rdata.next = self.vector.sreg_rdata.val();

        // memory: matrix engine
        self.memory.r_req[0].next = self.matrix.w_req.val();
        self.memory.r_smem[0].next = false;
        self.memory.r_addr[0].next = self.matrix.w_addr.val();
        self.memory.r_q[0].next = self.matrix.w_q.val();
        self.memory.r_bcast[0].next = false;
        self.memory.r_count[0].next = self.matrix.w_count.val();
        self.matrix.w_gnt.next = self.memory.r_gnt[0].val();
        self.matrix.w_trap.next = self.memory.r_trap[0].val();
        self.memory.r_req[1].next = self.matrix.x_req.val();
        self.memory.r_smem[1].next = false;
        self.memory.r_addr[1].next = self.matrix.x_addr.val();
        self.memory.r_q[1].next = self.matrix.x_q.val();
        self.memory.r_bcast[1].next = false;
        self.memory.r_count[1].next = self.matrix.x_count.val();
        self.matrix.x_gnt.next = self.memory.r_gnt[1].val();
        self.matrix.x_trap.next = self.memory.r_trap[1].val();
        self.memory.w_req[0].next = self.matrix.out_req.val();
        self.memory.w_want[0].next = self.matrix.out_req.val();
        self.memory.w_smem[0].next = self.matrix.out_smem.val();
        self.memory.w_addr[0].next = self.matrix.out_addr.val();
        self.memory.w_q[0].next = self.matrix.out_q.val();
        self.memory.w_count[0].next = self.matrix.out_count.val();
        self.matrix.out_trap.next = self.memory.w_trap[0].val();
        self.memory.mask_trap.next = self.matrix.mask_trap.val();
        self.memory.mask_off.next = self.matrix.mask_off.val();
        self.memory.mask_q.next = self.matrix.mask_q.val();
        self.memory.abort.next = self.control.abort.val();
        self.control.range_info.next = self.memory.range_info.val();
        self.control.range_busy.next = self.memory.range_busy.val();
        for n in self._n..(self._n + 1) {
            for i in 0..self._n {
                self.matrix.w_rdata[i].next = self.memory.rdata[i].val();
                self.matrix.x_rdata[i].next = self.memory.rdata[n + i].val();
                self.memory.wdata[i].next = self.matrix.out_data[i].val();
            }
        }

        // memory: vector engine (three sources, a destination and an FP16 copy)
        for i in 0..3 {
            self.memory.r_req[i + 2].next = self.vector.r_req[i].val();
            self.memory.r_smem[i + 2].next = self.vector.r_smem[i].val();
            self.memory.r_addr[i + 2].next = self.vector.r_addr[i].val();
            self.memory.r_q[i + 2].next = self.vector.r_q[i].val();
            self.memory.r_bcast[i + 2].next = self.vector.r_bcast[i].val();
            self.memory.r_count[i + 2].next = self.vector.r_count[i].val();
            self.vector.r_gnt[i].next = self.memory.r_gnt[i + 2].val();
        }
        for i in 0..2 {
            self.memory.w_req[i + 1].next = self.vector.w_req[i].val();
            self.memory.w_want[i + 1].next = self.vector.w_want[i].val();
            self.memory.w_smem[i + 1].next = self.vector.w_smem[i].val();
            self.memory.w_addr[i + 1].next = self.vector.w_addr[i].val();
            self.memory.w_q[i + 1].next = self.vector.w_q[i].val();
            self.memory.w_count[i + 1].next = self.vector.w_count[i].val();
            self.vector.w_gnt[i].next = self.memory.w_gnt[i + 1].val();
        }
        for n in self._n..(self._n + 1) {
            for v in self._v..(self._v + 1) {
                for i in 0..self._v {
                    self.vector.rdata[i].next = self.memory.rdata[n * 2 + i].val();
                    self.vector.rdata[v + i].next = self.memory.rdata[n * 3 + i].val();
                    self.vector.rdata[v * 2 + i].next = self.memory.rdata[n * 4 + i].val();
                    self.memory.wdata[n + i].next = self.vector.wdata[i].val();
                    self.memory.wdata[n * 2 + i].next = self.vector.wdata[v + i].val();
                }
                // Lanes that a narrow client does not have are never enabled: they carry what spares a multiplexer.
                for i in self._v..self._n {
                    self.memory.wdata[n + i].next = self.matrix.out_data[i].val();
                    self.memory.wdata[n * 2 + i].next = self.matrix.out_data[i].val();
                }
            }
        }

        // memory: mover, one element at a time
        self.memory.r_req[5].next = self.mover.r_req.val();
        self.memory.r_smem[5].next = self.mover.r_smem.val();
        self.memory.r_addr[5].next = self.mover.r_addr.val();
        self.memory.r_q[5].next = bits::<16>(0);
        self.memory.r_bcast[5].next = false;
        self.memory.r_count[5].next = bits::<5>(1);
        self.mover.r_gnt.next = self.memory.r_gnt[5].val();
        self.memory.w_req[3].next = self.mover.w_req.val();
        self.memory.w_want[3].next = self.mover.w_req.val();
        self.memory.w_smem[3].next = self.mover.w_smem.val();
        self.memory.w_addr[3].next = self.mover.w_addr.val();
        self.memory.w_q[3].next = bits::<16>(0);
        self.memory.w_count[3].next = bits::<5>(1);
        self.mover.w_gnt.next = self.memory.w_gnt[3].val();
        for n in self._n..(self._n + 1) {
            self.mover.r_rdata.next = self.memory.rdata[n * 5].val();
            self.memory.wdata[n * 3].next = self.mover.w_wdata.val();
            for i in 1..self._n {
                self.memory.wdata[n * 3 + i].next = self.matrix.out_data[i].val();
            }
        }

        // memory: what the vector engine asked for and is not there
        self.mem_trap.next = self.memory.r_trap[2].val()
            | self.memory.r_trap[3].val()
            | self.memory.r_trap[4].val()
            | self.memory.w_trap[1].val()
            | self.memory.w_trap[2].val();
        self.read_pc1.d.next = self.vector.read_pc.val();
        self.write_pc1.d.next = self.vector.write_pc.val();
        self.control.mem_trap.next = self.mem_trap.val();
        self.control.mem_trap_pc.next = self.write_pc1.q.val();
        if self.memory.r_trap[2].val() | self.memory.r_trap[3].val() | self.memory.r_trap[4].val() {
            self.control.mem_trap_pc.next = self.read_pc1.q.val();
        }
    }
}
