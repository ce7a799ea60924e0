//! The whole machine: soft core, bus, and every room of `hdl` wired together.
//!
//! [`verilog`] is what simulators and synthesis take, beside the soft core's own `VexRiscv.v`.

mod board;
mod bus;
mod cpu;
mod primitives;
mod request;
mod serial;
mod top;

pub use board::Board;
pub use bus::Bus;
pub use cpu::Cpu;
pub use primitives::{ClockGate, FirmwareRam};
pub use request::RequestRegister;
pub use serial::SerialSoc;
pub use top::{Soc, SocOptions};

use crate::emit::{EmitError, try_emit_verilog};
use rust_hdl_core::prelude::Block;
use sha2::{Digest, Sha256};
use systole_isa::machine::Machine;

/// Name of the top module.
pub const TOP: &str = "soc";
/// Name of the top module with a UART.
pub const SERIAL_TOP: &str = "serial_soc";

/// The SoC of `machine` as one Verilog text, which instantiates `VexRiscv` and defines everything else.
///
/// The device reports the first 32 bits of the SHA-256 of the text that has a zero in that place.
///
/// # Errors
/// What [`try_emit_verilog`] finds wrong with the design.
///
/// # Panics
/// If `machine` breaks a rule of [`Machine::invalid`].
pub fn verilog(machine: &Machine, clock_hz: u32) -> Result<String, EmitError> {
    hashed(|design_hash| {
        let mut soc = Soc::new(machine, SocOptions { clock_hz, design_hash });
        soc.connect_all();
        try_emit_verilog(&soc, TOP)
    })
}

/// As [`verilog`], behind a UART that starts at `baud`.
///
/// # Errors
/// As [`verilog`].
///
/// # Panics
/// As [`SerialSoc::new`].
pub fn serial_verilog(machine: &Machine, clock_hz: u32, baud: u32) -> Result<String, EmitError> {
    hashed(|design_hash| {
        let mut soc = SerialSoc::new(machine, SocOptions { clock_hz, design_hash }, baud);
        soc.connect_all();
        try_emit_verilog(&soc, SERIAL_TOP)
    })
}

/// Emits with zero, and again with the hash of that.
fn hashed(emit: impl Fn(u32) -> Result<String, EmitError>) -> Result<String, EmitError> {
    let digest = Sha256::digest(emit(0)?.as_bytes());
    emit(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
}
