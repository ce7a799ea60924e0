//! One error type: every variant says what failed and where, and [`Error::help`] says what to do about it.

use std::path::PathBuf;
use std::time::Duration;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between a Verilog text and a running model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was being done, as a verb: "read", "create".
        action: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A program that is needed cannot be started.
    #[error("cannot run {program}, needed to {purpose}: {source}")]
    MissingProgram {
        /// The program as it was called.
        program: String,
        /// What it was to do.
        purpose: String,
        /// The system's reason.
        source: std::io::Error,
        /// What to install or set.
        help: String,
    },
    /// A program ran and failed.
    #[error("{program} failed to {purpose} ({status}):\n{output}")]
    ProgramFailed {
        /// The program as it was called.
        program: String,
        /// What it was to do.
        purpose: String,
        /// Its exit status, in words.
        status: String,
        /// The end of what it printed.
        output: String,
        /// What to look at.
        help: String,
    },
    /// A program did not finish in time and was stopped.
    #[error("{program} was stopped after {} s: too long to {purpose}\n{output}", limit.as_secs())]
    TimedOut {
        /// The program as it was called.
        program: String,
        /// What it was to do.
        purpose: String,
        /// The time that it was allowed.
        limit: Duration,
        /// The end of what it printed.
        output: String,
    },
    /// A fetched file is not the one that this project pins.
    #[error("{what} does not have the pinned SHA-256:\n{detail}")]
    HashMismatch {
        /// The package or file.
        what: String,
        /// Expected and found hashes.
        detail: String,
    },
    /// A pinned tool could not be fetched.
    #[error("cannot fetch {what}:\n{detail}")]
    Fetch {
        /// The package.
        what: String,
        /// The end of what the installer printed.
        detail: String,
        /// What to install or set instead.
        help: String,
    },
    /// A tool is there but is not usable.
    #[error("{what} at {path} is not usable: {reason}", path = path.display())]
    BadTool {
        /// The tool.
        what: &'static str,
        /// Where it was found.
        path: PathBuf,
        /// Why it is not usable.
        reason: String,
    },
    /// Another process held a lock for too long.
    #[error("waited {} s for another process that {purpose} (lock {path})", waited.as_secs(), path = path.display())]
    LockTimeout {
        /// What the other process does.
        purpose: String,
        /// The lock file.
        path: PathBuf,
        /// How long this process waited.
        waited: Duration,
    },
    /// Verilator refused the design.
    #[error("Verilator refuses top `{top}` (text kept in {source_file}):\n{messages}", source_file = source_file.display())]
    Verilog {
        /// The top module.
        top: String,
        /// Where the refused text lies.
        source_file: PathBuf,
        /// Verilator's own words.
        messages: String,
    },
    /// The C++ that Verilator wrote did not compile.
    #[error("{compiler} cannot compile the model of `{top}` (sources kept in {folder}):\n{output}", folder = folder.display())]
    Compile {
        /// The top module.
        top: String,
        /// The compiler as it was called.
        compiler: String,
        /// Where the C++ lies.
        folder: PathBuf,
        /// The end of what the compiler printed.
        output: String,
    },
    /// The design has a port that the shim cannot pass.
    #[error("port `{port}` of `{top}` cannot be passed: {reason}")]
    UnsupportedPort {
        /// The top module.
        top: String,
        /// The port, or its declaration where the name is unclear.
        port: String,
        /// Why not.
        reason: String,
    },
    /// A port was asked for that the design does not have.
    #[error("`{top}` has no port `{port}`; it has: {known}")]
    NoSuchPort {
        /// The top module.
        top: String,
        /// The name asked for.
        port: String,
        /// The names that exist.
        known: String,
    },
    /// A shared object could not be loaded, or is not one of ours.
    #[error("cannot load model {path}: {reason}", path = path.display())]
    Load {
        /// The shared object.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The running design called `$fatal` or `$stop`, or could not read a memory file.
    #[error("model `{top}` stopped in cycle {cycle}: {message}")]
    Simulation {
        /// The top module.
        top: String,
        /// Ticks since the model was created.
        cycle: u64,
        /// The design's or Verilator's message.
        message: String,
    },
    /// A trace was asked for from a model built without one, or the file cannot be written.
    #[error("cannot trace `{top}`: {reason}")]
    Trace {
        /// The top module.
        top: String,
        /// Why not.
        reason: String,
    },
    /// The firmware's ELF is not a flat image from address 0.
    #[error("firmware image {path}: {reason}", path = path.display())]
    Image {
        /// The ELF.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No way of compiling for the soft core worked.
    #[error("no compiler for {target}:\n{tried}")]
    NoFirmwareToolchain {
        /// The target triple.
        target: &'static str,
        /// Each way and why it failed.
        tried: String,
    },
    /// A setting in the environment cannot be understood.
    #[error("{variable} is `{value}`, expected {expected}")]
    BadSetting {
        /// The environment variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
}

impl Error {
    /// One line that says what to do.
    pub fn help(&self) -> String {
        let fixed = match self {
            Error::MissingProgram { help, .. } | Error::ProgramFailed { help, .. } | Error::Fetch { help, .. } => {
                return help.clone();
            }
            Error::Io { .. } => "check that the folder exists, is writable and has room",
            Error::TimedOut { .. } => "check the network and the machine's load, then try again; finished work is kept",
            Error::HashMismatch { .. } => {
                "something on the way altered the file, or the package index offers another build: do not use it"
            }
            Error::BadTool { .. } => "install Verilator 5.020 or later, or unset the variable that points here",
            Error::LockTimeout { .. } => "wait for that process or stop it; its lock ends with it",
            Error::Verilog { .. } => "correct the Verilog, or name the warning in ModelSpec::allow",
            Error::Compile { .. } => {
                "read the compiler's first error; g++ 11 and clang++ 14 or later are known to work"
            }
            Error::UnsupportedPort { .. } => "flatten the port into packed vectors",
            Error::NoSuchPort { .. } => {
                "check the name against the Verilog; `$` and `.` in names are written as in the Verilog"
            }
            Error::Load { .. } => "delete the folder that holds the model and build it again",
            Error::Simulation { .. } => "look at the design at that cycle, for example with ModelSpec::trace",
            Error::Trace { .. } => "build the model with ModelSpec::trace, and write to a folder that exists",
            Error::Image { .. } => "link every loadable section into RAM from address 0",
            Error::NoFirmwareToolchain { .. } => {
                "run `rustup target add riscv32im-unknown-none-elf` once with a network"
            }
            Error::BadSetting { .. } => "correct or unset the variable",
        };
        fixed.to_string()
    }

    /// An [`Error::Io`], for `map_err`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { action, path, source }
    }
}
