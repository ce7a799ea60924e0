//! What the firmware sees: every register of [`systole_isa::regs`], both rings, and the mover between rings and memories.

use systole_firmware::Hardware;
use systole_isa::machine::Machine;
use systole_isa::operand::Addr;
use systole_isa::regs::{self, Space};
use systole_isa::{AREGS, FLAGS, ISA_VERSION, SREGS};

use super::exec::Fetcher;
use super::float;
use super::link::Link;
use super::memory::Memory;

/// [`regs::DESIGN_HASH`] of the model, which has no design: `"modl"`.
pub const DESIGN_HASH: u32 = u32::from_le_bytes(*b"modl");

/// Cycles of program that one look at [`regs::SEG_STATUS`] lets pass.
const SLICE: u64 = 1 << 16;

/// Registers of the mover.
#[derive(Default)]
struct Mover {
    ring: u32,
    addr: u32,
    count: u32,
    pitch: u32,
    out_of_range: bool,
    /// What is on its way, kept for the next transfer.
    bytes: Vec<u8>,
}

/// The machine below the firmware.
pub struct ModelHardware {
    /// Memories and scalar registers.
    pub memory: Memory,
    /// Control flow, address registers, flags.
    pub fetcher: Fetcher,
    /// Rings and frames.
    pub link: Link,
    mover: Mover,
    segment: u32,
    /// Register accesses, and the least that programs take; see [`super::exec::cost`].
    cycles: u64,
    cycles_high: u32,
    uart_divisor: u32,
    leds: u32,
    panic: Option<u32>,
}

impl ModelHardware {
    /// A machine at rest, all memories zero.
    pub fn new(machine: Machine) -> ModelHardware {
        ModelHardware {
            memory: Memory::new(machine),
            fetcher: Fetcher::default(),
            link: Link::new(machine.rx_ring_bytes, machine.tx_ring_bytes),
            mover: Mover::default(),
            segment: 0,
            cycles: 0,
            cycles_high: 0,
            uart_divisor: 0,
            leds: 0,
            panic: None,
        }
    }

    /// The cycle counter.
    pub fn cycles(&self) -> u64 {
        self.cycles
    }

    /// What the LEDs show.
    pub fn leds(&self) -> u8 {
        self.leds as u8
    }

    /// The code with which the firmware gave up, if it did.
    pub fn panic(&self) -> Option<u32> {
        self.panic
    }

    /// Lets queued segments run for about `budget` cycles.
    pub fn advance(&mut self, budget: u64) {
        self.cycles += self.fetcher.advance(&mut self.memory, budget);
    }

    fn segment_status(&mut self) -> u32 {
        self.advance(SLICE);
        let f = &self.fetcher;
        u32::from(f.ended)
            | u32::from(f.skipped) << 8
            | u32::from(f.busy()) << 16
            | u32::from(f.full()) << 17
            | u32::from(f.trapped.is_some()) << 18
    }

    /// One transfer, done as it is started.
    fn transfer(&mut self, ctrl: u32) {
        self.mover.out_of_range = false;
        let Some(space) = Space::from_u8((ctrl & 7) as u8) else {
            return;
        };
        let (row_len, rows) = (self.mover.count & 0xffff, self.mover.count >> 16);
        let (ring, addr, pitch) = (self.mover.ring, self.mover.addr, self.mover.pitch);
        let mut bytes = std::mem::take(&mut self.mover.bytes);
        bytes.clear();
        let place = |r: u32| addr.wrapping_add(r.wrapping_mul(pitch)) & Addr::MASK;
        let memory = &mut self.memory;
        let mut inside = true;
        if ctrl & regs::MV_TO_RING != 0 {
            (0..rows).for_each(|r| inside &= memory.read(space, place(r), row_len, &mut bytes));
            self.link.tx.write(ring, &bytes);
        } else if ctrl & regs::MV_FILL != 0 {
            (0..rows).for_each(|r| inside &= memory.fill(space, place(r), row_len, ring));
        } else if row_len > 0 {
            let raw = ctrl & regs::MV_BYTES != 0 && space == Space::Hmem;
            let size = if raw { 1 } else { space.element_bytes() };
            self.link.rx.read(ring, row_len * rows * size, &mut bytes);
            let power = float::power_of_two((ctrl >> 8) as u8 as i8);
            for (r, row) in (0..rows).zip(bytes.chunks_exact((row_len * size) as usize)) {
                inside &= match raw {
                    true => memory.write_bytes(place(r), row, power),
                    false => memory.write(space, place(r), row),
                };
            }
        }
        self.mover.out_of_range = !inside;
        self.mover.bytes = bytes;
    }
}

/// Index of a register in an array of `count` registers of 4 bytes from `base`.
fn nth(register: u32, base: u32, count: usize) -> Option<usize> {
    let i = (register.checked_sub(base)? / 4) as usize;
    (i < count).then_some(i)
}

impl Hardware for ModelHardware {
    fn read(&mut self, register: u32) -> u32 {
        self.cycles += 1;
        let machine = self.memory.machine;
        if let Some(i) = nth(register, regs::AREG, AREGS) {
            return self.fetcher.aregs[i];
        }
        if let Some(i) = nth(register, regs::SREG, SREGS) {
            return self.memory.sregs[i];
        }
        if let Some(i) = nth(register, regs::FLAG_PC, 2 * FLAGS) {
            let flag = self.fetcher.flags[i / 2];
            return if i % 2 == 0 { flag.pc.into() } else { flag.addr };
        }
        match register {
            regs::MAGIC => regs::MAGIC_VALUE,
            regs::VERSION => ISA_VERSION,
            regs::LANES => machine.size_word(),
            regs::HMEM_WORDS => machine.hmem_words,
            regs::SMEM_WORDS => machine.smem_words,
            regs::PMEM_WORDS => machine.pmem_words,
            regs::ACC_ROWS => machine.acc_rows,
            regs::MASK_BITS => machine.mask_bits,
            regs::CYCLE_LO => {
                self.cycles_high = (self.cycles >> 32) as u32;
                self.cycles as u32
            }
            regs::CYCLE_HI => self.cycles_high,
            regs::DESIGN_HASH => DESIGN_HASH,
            regs::RING_BYTES => machine.rx_ring_bytes | machine.tx_ring_bytes << 16,
            regs::FIRMWARE_BYTES => machine.firmware_bytes,
            regs::SEG_ADDR => self.segment,
            regs::SEG_STATUS => self.segment_status(),
            regs::TRAP => self.fetcher.trapped.map_or(0, |t| t.trap as u32 | u32::from(t.pc) << 16),
            regs::TRAP_INFO => self.fetcher.trapped.map_or(0, |t| t.info),
            regs::FLAGS => self.fetcher.flag_bits(),
            regs::EXP => self.fetcher.exponent as u8 as u32,
            regs::MV_CTRL => u32::from(self.mover.out_of_range) << 1,
            regs::RX_HEAD => self.link.rx.head,
            regs::RX_TAIL => self.link.rx.tail,
            regs::RX_ERRORS => self.link.errors(),
            regs::TX_HEAD => self.link.tx.head,
            regs::TX_TAIL => self.link.tx.tail,
            regs::UART_DIVISOR => self.uart_divisor,
            regs::LEDS => self.leds,
            // An abort is done at once; there is no clock, and nothing that counters could count.
            _ => 0,
        }
    }

    fn write(&mut self, register: u32, value: u32) {
        self.cycles += 1;
        if let Some(i) = nth(register, regs::AREG, AREGS) {
            return self.fetcher.set_areg(i, value);
        }
        if let Some(i) = nth(register, regs::SREG, SREGS) {
            self.memory.sregs[i] = value;
            return;
        }
        match register {
            regs::SEG_ADDR => self.segment = value,
            regs::SEG_PUSH => self.fetcher.push(self.segment, value & 15),
            regs::TRAP => self.fetcher.trapped = None,
            regs::ABORT if value & 1 == 1 => self.fetcher.abort(),
            regs::FLAGS => self.fetcher.clear_flags(value),
            regs::EXP => self.fetcher.exponent = value as u8 as i8,
            regs::MV_RING => self.mover.ring = value,
            regs::MV_ADDR => self.mover.addr = value,
            regs::MV_COUNT => self.mover.count = value,
            regs::MV_PITCH => self.mover.pitch = value,
            regs::MV_CTRL => self.transfer(value),
            regs::RX_TAIL => self.link.rx.tail = self.link.rx.wrap(value),
            regs::TX_HEAD => {
                self.link.tx.head = self.link.tx.wrap(value);
                self.link.transmit();
            }
            regs::UART_DIVISOR => self.uart_divisor = value,
            regs::LEDS => self.leds = value & 0xff,
            regs::PANIC => self.panic = Some(value),
            _ => {}
        }
    }

    fn rx_word(&mut self, offset: u32) -> u32 {
        self.link.rx.word(offset)
    }

    fn tx_word(&mut self, offset: u32, value: u32) {
        self.link.tx.set_word(offset, value);
    }

    fn log_waiting(&self) -> bool {
        false
    }

    fn log_drain(&mut self, _: &mut [u8]) -> (usize, usize) {
        (0, 0)
    }

    fn firmware_hash(&self) -> u32 {
        0
    }
}
