//! What can go wrong between the description of the hardware and a device that runs.

use std::io;
use std::path::PathBuf;

use systole_hdl::emit::EmitError;
use systole_isa::frame::ErrorCode;

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the simulated hardware cannot be built, started or driven. [`Error::help`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The sizes contradict each other.
    #[error("no such machine: {0}")]
    Machine(&'static str),
    /// A UART cannot make this rate.
    #[error("a clock of {clock_hz} Hz does not make {baud} bits per second: a bit lasts 8 to 65535 cycles")]
    Rate {
        /// The clock.
        clock_hz: u32,
        /// Bits per second.
        baud: u32,
    },
    /// A tool is missing or failed, or the Verilated model did.
    #[error(transparent)]
    Tool(#[from] systole_verilator::Error),
    /// The design cannot be printed as Verilog.
    #[error("the design of {lanes} lanes cannot be printed as Verilog: {source}")]
    Emit {
        /// Lanes of the machine.
        lanes: u32,
        /// What is wrong with it.
        source: EmitError,
    },
    /// The firmware's sources are not where they were when this program was built, nor below the workspace's root.
    #[error("the firmware's sources are missing: no Cargo.toml in {}", searched.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", nor in "))]
    NoFirmwareSources {
        /// Folders that were looked at.
        searched: Vec<PathBuf>,
    },
    /// The firmware is larger than the machine's RAM.
    #[error("the firmware has {bytes} bytes, the machine's RAM {room}")]
    FirmwareTooLarge {
        /// Bytes of the image.
        bytes: usize,
        /// Bytes of RAM.
        room: u32,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The firmware did not announce itself.
    #[error("the firmware said nothing of note within {cycles} cycles after reset ({heard} bytes came)")]
    NoBoot {
        /// Cycles that it was given.
        cycles: u64,
        /// Bytes that it sent.
        heard: usize,
    },
    /// The firmware gave up.
    #[error("the firmware stopped in cycle {cycle} with code {code:#010x}: {}", explain(*code))]
    Panic {
        /// What it wrote into the panic register.
        code: u32,
        /// The cycle in which the simulator saw it.
        cycle: u64,
    },
}

impl Error {
    /// One line that says what to do.
    pub fn help(&self) -> String {
        match self {
            Error::Machine(_) => "choose other sizes, see `Machine::invalid`".into(),
            Error::Rate { .. } => "choose a lower rate or a faster clock".into(),
            Error::Tool(e) => e.help(),
            Error::Emit { .. } => {
                "this is a bug in the hardware's description; `cargo test -p systole-hdl` finds where".into()
            }
            Error::NoFirmwareSources { .. } => "run inside a checkout, or set SYSTOLE_ROOT to one".into(),
            Error::FirmwareTooLarge { .. } => "enlarge `Machine::firmware_bytes`, or build with DEFMT_LOG=off".into(),
            Error::Io { .. } => "check that the folder exists, is writable and has room".into(),
            Error::NoBoot { .. } => {
                "trace the first cycles with `RtlOptions::trace`, and look at the soft core's bus".into()
            }
            Error::Panic { .. } => "the last lines of the firmware's log say what it was doing".into(),
        }
    }

    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { action, path, source }
    }
}

impl From<Error> for io::Error {
    fn from(e: Error) -> io::Error {
        io::Error::other(e)
    }
}

/// A panic code in words.
fn explain(code: u32) -> String {
    match (code >> 16, ErrorCode::from_u32(code)) {
        (0xdead, _) => format!("a Rust panic in line {} of one of the firmware's files", code & 0xffff),
        (_, Some(known)) => format!("{known:?}"),
        _ => "a code that this program does not know".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_codes_are_explained() {
        let text = Error::Panic { code: 0xdead_002a, cycle: 7 }.to_string();
        assert!(text.contains("0xdead002a") && text.contains("line 42") && text.contains("cycle 7"), "{text}");
        assert!(Error::Panic { code: ErrorCode::Deadline as u32, cycle: 0 }.to_string().contains("Deadline"));
    }
}
