//! The one trait between the firmware's policy and the machine.

/// Registers and rings, as [`systole_isa::regs`] describes them.
pub trait Hardware {
    /// Reads the register at byte offset `register` from [`systole_isa::regs::MMIO`].
    fn read(&mut self, register: u32) -> u32;
    /// Writes the register at byte offset `register`.
    fn write(&mut self, register: u32, value: u32);
    /// Reads the word of the receive ring at byte `offset`, which is a multiple of 4 below the ring's size.
    fn rx_word(&mut self, offset: u32) -> u32;
    /// Writes the word of the transmit ring at byte `offset`, which is a multiple of 4 below the ring's size.
    fn tx_word(&mut self, offset: u32, value: u32);
    /// Whether any of the defmt stream waits to be taken.
    fn log_waiting(&self) -> bool;
    /// Takes up to `out.len()` bytes of the defmt stream; returns how many, and how many were lost before them.
    fn log_drain(&mut self, out: &mut [u8]) -> (usize, usize);
    /// The first 32 bits of a hash of the firmware's build; 0 where it runs natively.
    fn firmware_hash(&self) -> u32;
}
