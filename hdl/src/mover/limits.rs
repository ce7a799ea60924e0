//! Where the memories and rings of a machine end.

use rust_hdl_core::prelude::*;
use systole_isa::machine::Machine;

/// Range check of one element address, and the masks that wrap ring offsets.
#[derive(LogicBlock)]
pub struct Limits {
    /// The address is one of smem.
    pub smem: Signal<In, Bit>,
    /// The address is one of program memory.
    pub in_program: Signal<In, Bit>,
    /// The address: bit 19 is the plane, except in program memory.
    pub address: Signal<In, Bits<20>>,
    /// The element exists.
    pub exists: Signal<Out, Bit>,
    /// Bits of a byte offset in the RX ring.
    pub rx_mask: Signal<Out, Bits<16>>,
    /// Bits of a byte offset in the TX ring.
    pub tx_mask: Signal<Out, Bits<16>>,
    offset: Signal<Local, Bits<20>>,
    hmem_plane: Constant<Bits<20>>,
    smem_plane: Constant<Bits<20>>,
    program_words: Constant<Bits<20>>,
    rx_offset: Constant<Bits<16>>,
    tx_offset: Constant<Bits<16>>,
}

impl Limits {
    /// The limits of `machine`.
    pub fn new(machine: &Machine) -> Self {
        Limits {
            smem: Default::default(),
            in_program: Default::default(),
            address: Default::default(),
            exists: Default::default(),
            rx_mask: Default::default(),
            tx_mask: Default::default(),
            offset: Default::default(),
            hmem_plane: Constant::new(bits::<20>(machine.hmem_plane() as u64)),
            smem_plane: Constant::new(bits::<20>(machine.smem_plane() as u64)),
            program_words: Constant::new(bits::<20>(machine.pmem_words as u64)),
            rx_offset: Constant::new(bits::<16>(machine.rx_ring_bytes as u64 - 4)),
            tx_offset: Constant::new(bits::<16>(machine.tx_ring_bytes as u64 - 4)),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits::new(&Machine::DEFAULT)
    }
}

impl Logic for Limits {
    #[hdl_gen]
    fn update(&mut self) {
        self.offset.next = bit_cast::<20, 19>(self.address.val().get_bits::<19>(0));
        if self.in_program.val() {
            self.exists.next = self.address.val() < self.program_words.val();
        } else if self.smem.val() {
            self.exists.next = self.offset.val() < self.smem_plane.val();
        } else {
            self.exists.next = self.offset.val() < self.hmem_plane.val();
        }
        self.rx_mask.next = self.rx_offset.val();
        self.tx_mask.next = self.tx_offset.val();
    }
}
