//! Sixteen bytes between a sender that comes in bursts and a line that does not.

use crate::comment;
use crate::control::memory::LutRam;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// A FIFO of 16 bytes in distributed RAM.
#[derive(LogicBlock, Default)]
pub struct ByteFifo {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A byte comes in.
    pub in_valid: Signal<In, Bit>,
    /// The byte.
    pub in_data: Signal<In, Bits<8>>,
    /// There is room for it.
    pub in_ready: Signal<Out, Bit>,
    /// A byte is there.
    pub out_valid: Signal<Out, Bit>,
    /// The oldest byte.
    pub out_data: Signal<Out, Bits<8>>,
    /// It is taken.
    pub out_ready: Signal<In, Bit>,
    memory: LutRam<8, 4>,
    /// Bytes written and read so far, modulo 32.
    written: DFF<Bits<5>>,
    read: DFF<Bits<5>>,
    written_plus_1: Signal<Local, Bits<5>>,
    read_plus_1: Signal<Local, Bits<5>>,
    used: Signal<Local, Bits<5>>,
}

impl Logic for ByteFifo {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module byte_fifo");
        dff_setup!(self, clock, written, read);
        clock!(self, clock, memory);
        self.written_plus_1.next = self.written.q.val() + 1;
        self.read_plus_1.next = self.read.q.val() + 1;
        self.used.next = self.written.q.val() - self.read.q.val();
        self.in_ready.next = !self.used.val().get_bit(4);
        self.out_valid.next = self.used.val() != 0;
        self.memory.write_address.next = self.written.q.val().get_bits::<4>(0);
        self.memory.write_data.next = self.in_data.val();
        self.memory.write_enable.next = self.in_valid.val() & !self.used.val().get_bit(4);
        self.memory.read_address.next = self.read.q.val().get_bits::<4>(0);
        self.out_data.next = self.memory.read_data.val();
        if self.in_valid.val() & !self.used.val().get_bit(4) {
            self.written.d.next = self.written_plus_1.val();
        }
        if self.out_ready.val() & (self.used.val() != 0) {
            self.read.d.next = self.read_plus_1.val();
        }
    }
}
