//! What a machine says about itself: the read-only registers 0x000 to 0x034.

use rust_hdl_core::prelude::*;
use systole_isa::machine::Machine;
use systole_isa::{ISA_VERSION, regs};

/// A table of constants.
#[derive(LogicBlock)]
pub struct Identity {
    /// Register number (byte offset / 4).
    pub word: Signal<In, Bits<6>>,
    /// Its value; 0 behind the last register.
    pub value: Signal<Out, Bits<32>>,
    /// Words of program memory.
    pub limit: Signal<Out, Bits<17>>,
    table: Vec<Constant<Bits<32>>>,
    limit_is: Constant<Bits<17>>,
}

impl Identity {
    /// The table of `machine`.
    pub fn new(machine: &Machine, clock_hz: u32, design_hash: u32) -> Self {
        let table = [
            (regs::MAGIC, regs::MAGIC_VALUE),
            (regs::VERSION, ISA_VERSION),
            (regs::LANES, machine.size_word()),
            (regs::HMEM_WORDS, machine.hmem_words),
            (regs::SMEM_WORDS, machine.smem_words),
            (regs::PMEM_WORDS, machine.pmem_words),
            (regs::ACC_ROWS, machine.acc_rows),
            (regs::MASK_BITS, machine.mask_bits),
            (regs::CYCLE_LO, 0), // not constant: the register block puts its own value there
            (regs::CYCLE_HI, 0),
            (regs::CLOCK_HZ, clock_hz),
            (regs::DESIGN_HASH, design_hash),
            (regs::RING_BYTES, machine.rx_ring_bytes | machine.tx_ring_bytes << 16),
            (regs::FIRMWARE_BYTES, machine.firmware_bytes),
        ];
        for (i, (offset, _)) in table.iter().enumerate() {
            assert_eq!(*offset as usize, 4 * i, "identity registers are contiguous");
        }
        Identity {
            word: Default::default(),
            value: Default::default(),
            limit: Default::default(),
            table: table.iter().map(|(_, v)| Constant::new(bits::<32>(*v as u64))).collect(),
            limit_is: Constant::new(bits::<17>(machine.pmem_words as u64)),
        }
    }
}

impl Default for Identity {
    fn default() -> Self {
        Identity::new(&Machine::DEFAULT, 0, 0)
    }
}

impl Logic for Identity {
    #[hdl_gen]
    fn update(&mut self) {
        self.value.next = bits::<32>(0);
        match self.word.val().index() {
            0 => {
                self.value.next = self.table[0].val();
            }
            1 => {
                self.value.next = self.table[1].val();
            }
            2 => {
                self.value.next = self.table[2].val();
            }
            3 => {
                self.value.next = self.table[3].val();
            }
            4 => {
                self.value.next = self.table[4].val();
            }
            5 => {
                self.value.next = self.table[5].val();
            }
            6 => {
                self.value.next = self.table[6].val();
            }
            7 => {
                self.value.next = self.table[7].val();
            }
            8 => {
                self.value.next = self.table[8].val();
            }
            9 => {
                self.value.next = self.table[9].val();
            }
            10 => {
                self.value.next = self.table[10].val();
            }
            11 => {
                self.value.next = self.table[11].val();
            }
            12 => {
                self.value.next = self.table[12].val();
            }
            13 => {
                self.value.next = self.table[13].val();
            }
            _ => {}
        }
        self.limit.next = self.limit_is.val();
    }
}
