//! The Verilated RTL as a device: set-up and opening.

use std::path::PathBuf;

use systole_isa::machine::Machine;
use systole_sim::port::Port;

use crate::error::{Error, Result};

/// Builds what the RTL needs, if it is not there yet, and starts a device; also returns its firmware's ELF file.
pub fn open(machine: Machine) -> Result<(Box<dyn Port>, Option<PathBuf>)> {
    setup(machine)?;
    Err(missing())
}

/// Builds Verilator, firmware and simulator for `machine`, if they are not there yet.
pub fn setup(_machine: Machine) -> Result<()> {
    Err(missing())
}

fn missing() -> Error {
    Error::Setup {
        what: "the device rtl".into(),
        reason: "this build does not hold the simulated hardware yet".into(),
        help: "use --device model, or the path of a serial port".into(),
    }
}
