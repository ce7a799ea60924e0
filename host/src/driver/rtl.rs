//! The Verilated RTL as a device: set-up and opening.

use std::path::PathBuf;

use systole_isa::machine::Machine;
use systole_sim::port::Port;
use systole_sim::rtl::{self, Report, Rtl, RtlOptions, SerialOptions, SerialRtl, Trace, Variant};

use crate::error::{Error, Result};

/// Builds what the RTL needs, if it is not there yet, and starts a device; also returns its firmware's ELF file.
///
/// A device that is to be traced is built separately, so that the other stays fast; so is one for several threads.
pub fn open(machine: Machine, trace: Option<Trace>, threads: u32) -> Result<(Box<dyn Port>, Option<PathBuf>)> {
    let options = RtlOptions::new(machine).options;
    let variant = Variant { traces: trace.is_some(), threads };
    let report = rtl::prepare(&options, machine, variant, &mut |_| ()).map_err(failed)?;
    let device = Rtl::start(&report.build, trace).map_err(failed)?;
    let elf = device.firmware_elf().to_path_buf();
    Ok((Box::new(device), Some(elf)))
}

/// As [`open`], behind a UART that is simulated bit by bit.
pub fn open_serial(machine: Machine, line: SerialOptions) -> Result<(SerialRtl, PathBuf)> {
    let rtl = || {
        let report = rtl::prepare_serial(&RtlOptions::new(machine).options, machine, line, &mut |_| ())?;
        SerialRtl::start(&report.build, line)
    };
    let device = rtl().map_err(|e| match e {
        rtl::Error::Rate { baud, .. } => Error::value("--uart", baud, e.to_string()),
        e => failed(e),
    })?;
    let elf = device.firmware_elf().to_path_buf();
    Ok((device, elf))
}

/// Seconds that the simulator of `machine` takes to be built from nothing but tools and sources.
pub fn time_build(machine: Machine, threads: u32) -> Result<f64> {
    let scratch = std::env::temp_dir().join(format!("systole-build-{}", std::process::id()));
    let variant = Variant { traces: false, threads };
    let seconds = rtl::time_build(&RtlOptions::new(machine).options, machine, variant, &scratch).map_err(failed);
    let removed = std::fs::remove_dir_all(&scratch).map_err(Error::io("delete", &scratch));
    // a build that failed is what went wrong, even where it left nothing to delete
    let seconds = seconds?;
    removed.map(|()| seconds)
}

/// Builds Verilator, firmware and simulator for `machine`, if they are not there yet. Says on stderr what takes long.
pub fn setup(machine: Machine) -> Result<Report> {
    rtl::setup(&RtlOptions::new(machine).options, machine, &mut |_| ()).map_err(failed)
}

fn failed(e: rtl::Error) -> Error {
    Error::Setup { what: "the simulated hardware".into(), reason: e.to_string(), help: e.help() }
}
