//! The two rings in block RAM, the registers around them, and the arbitration between bus and mover.

use super::{Deframer, Framer};
use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use systole_isa::machine::Machine;

/// Block RAM of 32-bit words: one read port, one write port, addressed by byte offsets that are multiples of 4.
#[derive(LogicBlock, Default)]
pub struct WordMemory {
    /// Clock of both ports.
    pub clock: Signal<In, Clock>,
    /// Byte offset to read; the word is there in the next cycle.
    pub read_at: Signal<In, Bits<16>>,
    /// The word.
    pub read_data: Signal<Out, Bits<32>>,
    /// Write enable.
    pub write: Signal<In, Bit>,
    /// Byte offset to write.
    pub write_at: Signal<In, Bits<16>>,
    /// Word to write.
    pub write_data: Signal<In, Bits<32>>,
    _bytes: usize,
}

impl WordMemory {
    /// A memory of `bytes`, a power of two.
    pub fn new(bytes: u32) -> Self {
        WordMemory { _bytes: bytes as usize, ..Default::default() }
    }
}

impl Logic for WordMemory {
    fn update(&mut self) {}

    fn connect(&mut self) {
        self.read_data.connect();
    }

    fn hdl(&self) -> Verilog {
        // A memory primitive: the one place in this room where Verilog is text.
        let high = self._bytes.ilog2() - 1;
        Verilog::Custom(format!(
            "(* no_rw_check *) logic [31:0] mem[0:{last}];\n\
             always_ff @(posedge clock) begin\n\
             \x20  read_data <= mem[read_at[{high}:2]];\n\
             \x20  if (write) mem[write_at[{high}:2]] <= write_data;\n\
             end\n",
            last = self._bytes / 4 - 1,
        ))
    }
}

/// Link engine: byte port on one side; rings for bus and mover, and registers `0x400..0x500`, on the other.
#[derive(LogicBlock)]
pub struct Link {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A received byte is there; it is always taken.
    pub rx_valid: Signal<In, Bit>,
    /// The received byte.
    pub rx_data: Signal<In, Bits<8>>,
    /// A byte to send is there.
    pub tx_valid: Signal<Out, Bit>,
    /// The byte to send.
    pub tx_data: Signal<Out, Bits<8>>,
    /// The byte to send is taken.
    pub tx_ready: Signal<In, Bit>,
    /// Register port (see `ARCHITECTURE.md`).
    pub sel: Signal<In, Bit>,
    /// Register write.
    pub we: Signal<In, Bit>,
    /// Register byte offset.
    pub addr: Signal<In, Bits<12>>,
    /// Register write data.
    pub wdata: Signal<In, Bits<32>>,
    /// Register read data, in the cycle after `sel`.
    pub rdata: Signal<Out, Bits<32>>,
    /// The bus reads the receive ring in this cycle (always granted).
    pub bus_read: Signal<In, Bit>,
    /// Byte offset of the bus's read.
    pub bus_read_at: Signal<In, Bits<16>>,
    /// The bus writes the transmit ring in this cycle (always granted).
    pub bus_write: Signal<In, Bit>,
    /// Byte offset of the bus's write.
    pub bus_write_at: Signal<In, Bits<16>>,
    /// Word that the bus writes.
    pub bus_write_data: Signal<In, Bits<32>>,
    /// The mover wants a word of the receive ring.
    pub mover_read: Signal<In, Bit>,
    /// Its byte offset.
    pub mover_read_at: Signal<In, Bits<16>>,
    /// It is read; the word is in `ring_data` in the next cycle.
    pub mover_read_grant: Signal<Out, Bit>,
    /// Word of the receive ring, for bus and mover.
    pub ring_data: Signal<Out, Bits<32>>,
    /// The mover wants to write a word of the transmit ring.
    pub mover_write: Signal<In, Bit>,
    /// Its byte offset.
    pub mover_write_at: Signal<In, Bits<16>>,
    /// The word.
    pub mover_write_data: Signal<In, Bits<32>>,
    /// It is written.
    pub mover_write_grant: Signal<Out, Bit>,
    /// Clock cycles per UART bit in 1/65536, for the UART in front of the byte port, where there is one.
    pub uart_divisor: Signal<Out, Bits<32>>,
    /// As [`systole_isa::regs::UART_STATUS`]; zero where there is none.
    pub uart_status: Signal<In, Bits<32>>,
    rx_ring: WordMemory,
    tx_ring: WordMemory,
    deframer: Deframer,
    framer: Framer,
    tail: DFF<Bits<16>>,
    head: DFF<Bits<16>>,
    divisor: DFF<Bits<32>>,
    answer: DFF<Bits<32>>,
    rx_mask: Constant<Bits<16>>,
    tx_mask: Constant<Bits<16>>,
}

impl Link {
    /// A link engine with the rings of `machine`.
    pub fn new(machine: &Machine) -> Self {
        let (rx, tx) = (machine.rx_ring_bytes, machine.tx_ring_bytes);
        Link {
            clock: Default::default(),
            rx_valid: Default::default(),
            rx_data: Default::default(),
            tx_valid: Default::default(),
            tx_data: Default::default(),
            tx_ready: Default::default(),
            sel: Default::default(),
            we: Default::default(),
            addr: Default::default(),
            wdata: Default::default(),
            rdata: Default::default(),
            bus_read: Default::default(),
            bus_read_at: Default::default(),
            bus_write: Default::default(),
            bus_write_at: Default::default(),
            bus_write_data: Default::default(),
            mover_read: Default::default(),
            mover_read_at: Default::default(),
            mover_read_grant: Default::default(),
            ring_data: Default::default(),
            mover_write: Default::default(),
            mover_write_at: Default::default(),
            mover_write_data: Default::default(),
            mover_write_grant: Default::default(),
            uart_divisor: Default::default(),
            uart_status: Default::default(),
            rx_ring: WordMemory::new(rx),
            tx_ring: WordMemory::new(tx),
            deframer: Deframer::new(rx),
            framer: Framer::new(tx),
            tail: Default::default(),
            head: Default::default(),
            divisor: Default::default(),
            answer: Default::default(),
            rx_mask: Constant::new((rx as u64 - 4).to_bits()),
            tx_mask: Constant::new((tx as u64 - 4).to_bits()),
        }
    }
}

impl Logic for Link {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module link");
        dff_setup!(self, clock, tail, head, divisor, answer);
        clock!(self, clock, rx_ring, tx_ring, deframer, framer);
        // receive
        self.deframer.valid.next = self.rx_valid.val();
        self.deframer.data.next = self.rx_data.val();
        self.deframer.tail.next = self.tail.q.val();
        self.rx_ring.write.next = self.deframer.write.val();
        self.rx_ring.write_at.next = self.deframer.write_at.val();
        self.rx_ring.write_data.next = self.deframer.write_data.val();
        self.rx_ring.read_at.next = self.mover_read_at.val();
        self.mover_read_grant.next = self.mover_read.val() & !self.bus_read.val();
        if self.bus_read.val() {
            self.rx_ring.read_at.next = self.bus_read_at.val();
        }
        self.ring_data.next = self.rx_ring.read_data.val();
        // send
        self.framer.head.next = self.head.q.val();
        self.framer.ready.next = self.tx_ready.val();
        self.tx_valid.next = self.framer.valid.val();
        self.tx_data.next = self.framer.data.val();
        self.tx_ring.read_at.next = self.framer.read_at.val();
        self.framer.read_data.next = self.tx_ring.read_data.val();
        self.tx_ring.write.next = self.bus_write.val() | self.mover_write.val();
        self.tx_ring.write_at.next = self.mover_write_at.val();
        self.tx_ring.write_data.next = self.mover_write_data.val();
        self.mover_write_grant.next = self.mover_write.val() & !self.bus_write.val();
        if self.bus_write.val() {
            self.tx_ring.write_at.next = self.bus_write_at.val();
            self.tx_ring.write_data.next = self.bus_write_data.val();
        }
        // registers
        self.answer.d.next = bits::<32>(0);
        if self.sel.val() & !self.we.val() {
            if self.addr.val() == 0x400 {
                self.answer.d.next = bit_cast::<32, 16>(self.deframer.head.val());
            }
            if self.addr.val() == 0x404 {
                self.answer.d.next = bit_cast::<32, 16>(self.tail.q.val());
            }
            if self.addr.val() == 0x408 {
                self.answer.d.next = bit_cast::<32, 16>(self.deframer.damaged.val())
                    | (bit_cast::<32, 16>(self.deframer.overflowed.val()) << 16);
            }
            if self.addr.val() == 0x410 {
                self.answer.d.next = bit_cast::<32, 16>(self.head.q.val());
            }
            if self.addr.val() == 0x414 {
                self.answer.d.next = bit_cast::<32, 16>(self.framer.tail.val());
            }
            if self.addr.val() == 0x420 {
                self.answer.d.next = self.divisor.q.val();
            }
            if self.addr.val() == 0x424 {
                self.answer.d.next = self.uart_status.val();
            }
        }
        if self.sel.val() & self.we.val() {
            if self.addr.val() == 0x404 {
                self.tail.d.next = self.wdata.val().get_bits::<16>(0) & self.rx_mask.val();
            }
            if self.addr.val() == 0x410 {
                self.head.d.next = self.wdata.val().get_bits::<16>(0) & self.tx_mask.val();
            }
            if self.addr.val() == 0x420 {
                self.divisor.d.next = self.wdata.val();
            }
        }
        self.rdata.next = self.answer.q.val();
        self.uart_divisor.next = self.divisor.q.val();
    }
}
