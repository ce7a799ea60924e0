//! The one error type of this crate. Every variant says what failed and with which numbers; [`Error::help`] says what to do
//! about it, and [`Error::exit_code`] what the program exits with.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 2 | the command line asks for something impossible |
//! | 3 | a file cannot be read or written, or is malformed |
//! | 4 | it does not fit into this device |
//! | 5 | the device or the link failed |
//! | 6 | training cannot go on |
//! | 7 | a tool is missing or failed |
//! | 8 | a check found a difference |
//! | 130 | interrupted |
//!
//! `docs/errors.md` lists every variant with its exit code and an example; a test holds it against this file.

use std::path::PathBuf;
use std::time::Duration;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value given by the user is impossible.
    #[error("{what} cannot be {value:?}: {reason}")]
    InvalidValue {
        /// The flag or field.
        what: String,
        /// What was given.
        value: String,
        /// Why that is impossible.
        reason: String,
    },
    /// A model specification cannot be understood or built.
    #[error("the model {spec:?} is impossible: {reason}")]
    InvalidModel {
        /// As given.
        spec: String,
        /// Why.
        reason: String,
    },
    /// A command that has no meaning for a GAN.
    #[error("`systole {command}` has nothing to tell of the GAN {model}: {reason}")]
    NotForGans {
        /// The command.
        command: &'static str,
        /// The model's name.
        model: String,
        /// Why.
        reason: &'static str,
        /// What to do instead.
        help: &'static str,
    },
    /// Neither a simulated device nor a port.
    #[error("there is no device {name:?}: {reason}")]
    UnknownDevice {
        /// As given.
        name: String,
        /// What was tried.
        reason: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was being done, as a verb: "read", "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} is not a usable {format} file: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it was read as: ".npy", "CSV".
        format: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
    /// Matrices or data sets do not go together.
    #[error("{what} do not match: {reason}")]
    Shape {
        /// What was compared.
        what: String,
        /// Both sides.
        reason: String,
    },
    /// Something needs more memory than the device has.
    #[error("{what} does not fit: {reason}")]
    DoesNotFit {
        /// The model or product.
        what: String,
        /// Which tensor or program, how much it needs, how much there is.
        reason: String,
    },
    /// The compiler refuses a graph.
    #[error("cannot compile {what}: {reason}")]
    Compile {
        /// The model or product.
        what: String,
        /// Why.
        reason: String,
    },
    /// No answer in time.
    #[error(
        "{port} did not answer within {:.1} s while {phase} (request {request}, number {seq}, sent {sends} times; \
         {outstanding} requests outstanding; {received} bytes received from it so far)", limit.as_secs_f64()
    )]
    Timeout {
        /// The port.
        port: String,
        /// What was being done.
        phase: String,
        /// The limit that passed.
        limit: Duration,
        /// Kind of the oldest unanswered request.
        request: String,
        /// Its sequence number.
        seq: u8,
        /// How often it was sent.
        sends: u32,
        /// Unanswered requests.
        outstanding: usize,
        /// Bytes received since the port was opened.
        received: u64,
    },
    /// The port failed.
    #[error("the connection to {port} was lost while {phase}: {source}")]
    PortLost {
        /// The port.
        port: String,
        /// What was being done.
        phase: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The device started anew in the middle of a session.
    #[error("{port} restarted while {phase}: what was in its memories is lost")]
    DeviceRestarted {
        /// The port.
        port: String,
        /// What was being done.
        phase: String,
    },
    /// Host and firmware do not speak the same versions.
    #[error(
        "versions differ: this program speaks link protocol {host_protocol} and instruction set {host_isa}, the firmware on {port} \
         protocol {device_protocol} and instruction set {device_isa}"
    )]
    Version {
        /// The port.
        port: String,
        /// This program's link protocol.
        host_protocol: u32,
        /// This program's instruction set.
        host_isa: u32,
        /// The device's link protocol.
        device_protocol: u32,
        /// The device's instruction set.
        device_isa: u32,
    },
    /// The device answers, but not as a Systole device does.
    #[error("{port} gave an answer that makes no sense while {phase}: {reason}")]
    BadReply {
        /// The port.
        port: String,
        /// What was being done.
        phase: String,
        /// What is wrong.
        reason: String,
    },
    /// The device refused or gave up a request.
    #[error("the device refused {request} while {phase}: {explanation}")]
    Device {
        /// Kind of the request.
        request: String,
        /// What was being done.
        phase: String,
        /// [`systole_isa::frame::ErrorCode`] as a number.
        code: u32,
        /// The code and its details in words.
        explanation: String,
    },
    /// The forward pass overflowed, which no loss scale can cure.
    #[error("step {step}: the forward pass is not finite ({place}); the loss scale cannot cure that")]
    ForwardNotFinite {
        /// Step, counted from 1.
        step: u64,
        /// Which tensor or instruction.
        place: String,
    },
    /// Skip after skip at the smallest scale.
    #[error(
        "step {step}: gradients overflowed in {skips} steps in a row at loss scale {scale}, which cannot fall any further"
    )]
    ScaleExhausted {
        /// Step, counted from 1.
        step: u64,
        /// Skips in a row.
        skips: u32,
        /// The scale.
        scale: f64,
    },
    /// A simulator or tool could not be set up.
    #[error("cannot set up {what}: {reason}")]
    Setup {
        /// What was to be set up.
        what: String,
        /// Why it failed.
        reason: String,
        /// What to do about it.
        help: String,
    },
    /// A board cannot be programmed as asked.
    #[error("{board}: {reason}")]
    Board {
        /// The board's name.
        board: String,
        /// Which boards are there, or what the programmer cannot do.
        reason: String,
        /// What to do about it.
        help: String,
    },
    /// Tests have exercised less of the hardware than was asked for.
    #[error("{met} of the {what} were met, and {wanted} are wanted")]
    Uncovered {
        /// Lines or toggles.
        what: &'static str,
        /// The share that was met.
        met: String,
        /// The share that is wanted.
        wanted: String,
    },
    /// A device computes something else than it should.
    #[error("{what}: the device has {found}, and {expected} is right")]
    Mismatch {
        /// Which case, and which element of it.
        what: String,
        /// The device's value.
        found: String,
        /// The right one.
        expected: String,
    },
    /// A proof of the hardware fails.
    #[error("{property} is not proved: {reason}")]
    NotProved {
        /// The assertion or cover, the proof, and where it is written.
        property: String,
        /// What was found instead, with the path of a trace where there is one.
        reason: String,
    },
    /// Checks let too much broken hardware through.
    #[error("{survived} of {mutants} mutants survived: {killed} were killed, and {wanted} is wanted")]
    Survived {
        /// Mutants that no check noticed and that are not equivalent.
        survived: usize,
        /// All mutants.
        mutants: usize,
        /// The share of those that are not equivalent that was killed.
        killed: String,
        /// The share that is wanted.
        wanted: String,
    },
    /// Ctrl-C.
    #[error("interrupted{kept}")]
    Interrupted {
        /// What was kept, as an appendix to the sentence.
        kept: String,
    },
}

impl Error {
    /// What to do about it, in one line.
    pub fn help(&self) -> String {
        match self {
            Error::InvalidValue { .. } => "see `--help` of the command for the values that it takes".into(),
            Error::InvalidModel { .. } => {
                "write mlp:IN-HIDDEN-…-OUT, for example mlp:64-32-10: inputs, hidden units, classes".into()
            }
            Error::NotForGans { help, .. } => (*help).into(),
            Error::UnknownDevice { .. } => "use rtl, model, tcp:HOST:PORT, or the path of a serial port such as /dev/ttyUSB0".into(),
            Error::Io { action, source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    "permission is missing; choose another place, or run from a folder that you may write to".into()
                }
                std::io::ErrorKind::NotFound => "check the path".into(),
                _ => format!("the system could not {action} it; check path, disk and permissions"),
            },
            Error::Malformed { format, .. } => match *format {
                ".npy" => "write it with numpy.save(name, array.astype(numpy.float16)); float32 works too".into(),
                "board.toml" => "compare with the boards in boards/, and see docs/boards.md".into(),
                "metrics" | "JSON" => "is it the folder of a run? `systole train` writes it".into(),
                "checkpoint" => "an older checkpoint cannot be had back; start from another one, or train again".into(),
                "results" => "delete it: `systole reproduce` runs its cells again".into(),
                "CSV" => "each line holds the features, whole numbers 0..=255, and the class last".into(),
                _ => "the file may be truncated or of another format; fetch or write it again".into(),
            },
            Error::Shape { .. } => "compare the shapes; with --transpose-a or --transpose-b the file holds the transpose".into(),
            Error::DoesNotFit { .. } => "use a smaller model or batch, or a device with more memory".into(),
            Error::Compile { .. } => "see the reason; the layers and sizes that the compiler takes are in its documentation".into(),
            Error::Timeout { received, phase, .. } if *received > 0 && phase.starts_with("saying hello") => {
                "bytes come back, but no frame among them: check --baud, and that it is a Systole device".into()
            }
            Error::Timeout { received: 0, .. } => {
                "nothing at all came back: check that it is a Systole device, powered, at this baud rate, and not in use".into()
            }
            Error::Timeout { .. } => "the device answered before: it may be stuck or unplugged; reset it and run again".into(),
            Error::PortLost { .. } => "check cable and power, or whether the simulator still runs, then run again".into(),
            Error::DeviceRestarted { .. } => "check its power supply, then run again".into(),
            Error::Version { .. } => "build program and firmware from the same commit; `systole setup` builds the firmware".into(),
            Error::BadReply { .. } => "is it a Systole device of this version? If so, this is a bug worth reporting".into(),
            Error::Device { .. } => "this is a bug in host or firmware; please report it with this message and --log's output".into(),
            Error::ForwardNotFinite { .. } => "lower --lr, or scale the features down".into(),
            Error::ScaleExhausted { .. } => "lower --lr, or the scale or its floor; if the data hold huge values, scale them down".into(),
            Error::Setup { help, .. } | Error::Board { help, .. } => help.clone(),
            Error::Uncovered { .. } => {
                "--holes lists what was not met: test it, or waive it with a reason (--waivers)".into()
            }
            Error::Mismatch { .. } => "the same command shows it again; please report it with this message".into(),
            Error::NotProved { .. } => "open the trace in a waveform viewer, or read the log: docs/verification tells how harnesses work".into(),
            Error::Survived { .. } => "survivors are named above and in the table: let a check of hdl/checks meet what they change".into(),
            Error::Interrupted { .. } => "`systole train` with --resume and the run's folder continues a run, `systole reproduce` goes on as it is".into(),
        }
    }

    /// What the program exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::InvalidValue { .. }
            | Error::InvalidModel { .. }
            | Error::NotForGans { .. }
            | Error::UnknownDevice { .. } => 2,
            Error::Io { .. } | Error::Malformed { .. } | Error::Shape { .. } => 3,
            Error::DoesNotFit { .. } | Error::Compile { .. } => 4,
            Error::Timeout { .. }
            | Error::PortLost { .. }
            | Error::DeviceRestarted { .. }
            | Error::Version { .. }
            | Error::BadReply { .. }
            | Error::Device { .. }
            | Error::Board { .. } => 5,
            Error::ForwardNotFinite { .. } | Error::ScaleExhausted { .. } => 6,
            Error::Setup { .. } => 7,
            Error::Mismatch { .. } | Error::Uncovered { .. } | Error::NotProved { .. } | Error::Survived { .. } => 8,
            Error::Interrupted { .. } => 130,
        }
    }

    /// An [`Error::Io`], for `map_err`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { action, path, source }
    }

    /// An [`Error::InvalidValue`].
    pub fn value(what: impl Into<String>, value: impl ToString, reason: impl Into<String>) -> Error {
        Error::InvalidValue { what: what.into(), value: value.to_string(), reason: reason.into() }
    }
}

impl Error {
    /// A tool's error: what could not be provided or made.
    pub fn from_tool(what: impl Into<String>, e: systole_verilator::Error) -> Error {
        Error::Setup { what: what.into(), reason: e.to_string(), help: e.help() }
    }

    /// A compiler's error about `what`.
    pub fn from_compiler(what: impl Into<String>, e: crate::compile::CompileError) -> Error {
        use crate::compile::CompileError as C;
        let (what, reason) = (what.into(), e.to_string());
        match e {
            C::Memory { .. } | C::Mask { .. } | C::Program { .. } => Error::DoesNotFit { what, reason },
            _ => Error::Compile { what, reason },
        }
    }
}

#[cfg(test)]
mod tests;
