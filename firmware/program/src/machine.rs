//! The machine behind the library's trait: volatile accesses to registers and rings (`systole_isa::regs`).

use systole_firmware::Hardware;
use systole_isa::frame::FIRMWARE_MARK;
use systole_isa::regs::{MMIO, PANIC, RX_RING, TX_RING};

/// The build's hash behind a name: with it, a host finds the ELF file of the firmware that a device runs.
#[repr(C)]
struct Mark {
    name: [u8; FIRMWARE_MARK.len()],
    hash: u32,
}

static MARK: Mark = Mark {
    name: *FIRMWARE_MARK,
    hash: {
        let mut bytes = env!("SYSTOLE_FIRMWARE_HASH").as_bytes();
        let mut v: u32 = 0;
        while let [digit, rest @ ..] = bytes {
            v = v * 10 + (*digit - b'0') as u32;
            bytes = rest;
        }
        v
    },
};

/// The one machine.
pub struct Machine(());

impl Machine {
    /// Called once, by `firmware_main`.
    pub fn take() -> Machine {
        Machine(())
    }
}

fn load(address: u32) -> u32 {
    // SAFETY: the address is a register or ring word of the memory map; reads have no effect on Rust's memory.
    unsafe { (address as usize as *const u32).read_volatile() }
}

fn store(address: u32, value: u32) {
    // SAFETY: the address is a register or ring word of the memory map, outside the RAM that Rust uses.
    unsafe { (address as usize as *mut u32).write_volatile(value) }
}

/// Tells the simulator or the board's LED that nothing more will come.
pub fn report_panic(code: u32) {
    store(MMIO + PANIC, code);
}

impl Hardware for Machine {
    fn read(&mut self, register: u32) -> u32 {
        load(MMIO + register)
    }
    fn write(&mut self, register: u32, value: u32) {
        store(MMIO + register, value);
    }
    fn rx_word(&mut self, offset: u32) -> u32 {
        load(RX_RING + offset)
    }
    fn tx_word(&mut self, offset: u32, value: u32) {
        store(TX_RING + offset, value);
    }
    fn log_waiting(&self) -> bool {
        crate::logger::waiting()
    }
    fn log_drain(&mut self, out: &mut [u8]) -> (usize, usize) {
        crate::logger::drain(out)
    }
    fn firmware_hash(&self) -> u32 {
        // SAFETY: a static of this program; the volatile read keeps it in the image, with the name before it.
        unsafe { (&raw const MARK.hash).read_volatile() }
    }
}
