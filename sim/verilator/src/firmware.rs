//! Builds the RISC-V program and turns it into words for the soft core's memory.
//!
//! Three ways of compiling for the soft core are tried in order: the target's core library is installed beside the compiler;
//! rustup installs it; Debian's packaged compiler builds it from source. The child processes see none of the variables
//! that an enclosing `cargo test` or `cargo run` sets.

use crate::process::{Job, tail};
use crate::{Error, Options, Result, debian};
use object::{Object, ObjectSegment};
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The soft core's target.
pub const TARGET: &str = "riscv32im-unknown-none-elf";

const BUILD_LIMIT: Duration = Duration::from_secs(15 * 60);
const ASK_LIMIT: Duration = Duration::from_secs(60);
const RUSTUP_LIMIT: Duration = Duration::from_secs(180);
/// No soft core here has more memory; an address beyond it is a linker script gone wrong.
const LARGEST_IMAGE: u64 = 16 << 20;
const CARGO_HELP: &str = "install Rust (rustup.rs), with the target riscv32im-unknown-none-elf";

/// How firmware is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The installed compiler has the target's core library.
    Target,
    /// As `Target`, once rustup has fetched it.
    Rustup,
    /// Debian's compiler, with the core library from source.
    Debian,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Toolchain::Target => "the installed target",
            Toolchain::Rustup => "rustup",
            Toolchain::Debian => "Debian's compiler",
        })
    }
}

/// A built program.
#[derive(Clone, Debug)]
pub struct FirmwareImage {
    /// The ELF, with symbols and defmt's table.
    pub elf: PathBuf,
    /// How it was compiled.
    pub toolchain: Toolchain,
}

impl FirmwareImage {
    /// The memory's contents from address 0.
    pub fn words(&self) -> Result<Vec<u32>> {
        elf_to_words(&self.elf)
    }
}

/// Builds the program whose `Cargo.toml` lies in `program_dir`, in release mode, below `<root>/target/firmware`.
pub fn build(options: &Options, program_dir: &Path) -> Result<FirmwareImage> {
    options.step("building firmware", || {
        let ways: &[Toolchain] = match std::env::var("SYSTOLE_FIRMWARE_TOOLCHAIN").as_deref() {
            Err(_) | Ok("") => &[Toolchain::Target, Toolchain::Rustup, Toolchain::Debian],
            Ok("target") => &[Toolchain::Target],
            Ok("rustup") => &[Toolchain::Rustup],
            Ok("debian") => &[Toolchain::Debian],
            Ok(other) => {
                let (variable, expected) = ("SYSTOLE_FIRMWARE_TOOLCHAIN", "target, rustup or debian");
                return Err(Error::BadSetting { variable, value: other.into(), expected });
            }
        };
        let mut tried = String::new();
        for way in ways {
            match prepare(options, *way, program_dir) {
                Ok(command) => return run_cargo(options, *way, command, program_dir),
                Err(e) => writeln!(tried, "  {way}: {e}").expect("writing to a string"),
            }
        }
        Err(Error::NoFirmwareToolchain { target: TARGET, tried })
    })
}

/// A `cargo` that can compile for the target in this way.
fn prepare(options: &Options, way: Toolchain, dir: &Path) -> Result<Command> {
    match way {
        Toolchain::Target => target_installed(dir)?,
        Toolchain::Rustup => {
            let mut command = clean("rustup");
            command.args(["target", "add", TARGET]).current_dir(dir);
            let purpose = "fetch the target's core library";
            options.step("rustup target add", || {
                Job { command, purpose, limit: RUSTUP_LIMIT, help: CARGO_HELP }.succeed()
            })?;
            target_installed(dir)?;
        }
        Toolchain::Debian => return debian::cargo(options, dir),
    }
    Ok(clean("cargo"))
}

fn target_installed(dir: &Path) -> Result<()> {
    let mut command = clean("rustc");
    command.args(["--print", "target-libdir", "--target", TARGET]).current_dir(dir);
    let done =
        Job { command, purpose: "find the target's core library", limit: ASK_LIMIT, help: CARGO_HELP }.succeed()?;
    let folder = PathBuf::from(done.stdout.trim());
    // The folder's name is printed whether it is there or not.
    std::fs::read_dir(&folder).map(drop).map_err(Error::io("find the target's core library in", folder))
}

fn run_cargo(options: &Options, way: Toolchain, mut command: Command, dir: &Path) -> Result<FirmwareImage> {
    command
        .args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics", "--target-dir"])
        .arg(std::path::absolute(options.root.join("target/firmware")).map_err(Error::io("find", &options.root))?)
        .current_dir(dir);
    let purpose = format!("build {}", dir.display());
    let done = Job { command, purpose: &purpose, limit: BUILD_LIMIT, help: CARGO_HELP }.finish()?;
    if !done.status.success() {
        let help = "read the compiler's message; the same command runs by hand in that folder".to_string();
        let (status, output) = (done.status.to_string(), tail(&done.stderr, 60));
        return Err(Error::ProgramFailed { program: "cargo".into(), purpose, status, output, help });
    }
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    };
    let mut found = done.stdout.lines().filter_map(executable);
    let elf = found
        .next()
        .ok_or_else(|| Error::Image { path: dir.into(), reason: "the package builds no program".into() })?;
    Ok(FirmwareImage { elf, toolchain: way })
}

/// A command without what cargo, rustup and build scripts leave in the environment, but with the user's network and home
/// settings.
pub(crate) fn clean(program: &str) -> Command {
    const KEPT: [&str; 6] =
        ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_TERM_"];
    const DROPPED: [&str; 9] = [
        "CARGO",
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_BOOTSTRAP",
        "RUST_RECURSION_COUNT",
    ];
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let leaked = text.starts_with("CARGO_") && !KEPT.iter().any(|k| text.starts_with(k));
        if leaked || DROPPED.contains(&text) {
            command.env_remove(&name);
        }
    }
    command
}

/// The loadable parts of an ELF as little-endian words from address 0; gaps are zero.
pub fn elf_to_words(elf: &Path) -> Result<Vec<u32>> {
    let bytes = std::fs::read(elf).map_err(Error::io("read", elf))?;
    let bad = |reason: String| Error::Image { path: elf.into(), reason };
    let file = object::File::parse(&*bytes).map_err(|e| bad(e.to_string()))?;
    let mut image = Vec::new();
    for segment in file.segments() {
        let data = segment.data().map_err(|e| bad(e.to_string()))?;
        if data.is_empty() {
            continue;
        }
        let end = segment.address().saturating_add(data.len() as u64);
        if end > LARGEST_IMAGE {
            return Err(bad(format!("a segment lies at {:#x}, beyond {LARGEST_IMAGE:#x}", segment.address())));
        }
        if image.len() < end as usize {
            image.resize(end as usize, 0);
        }
        image[segment.address() as usize..end as usize].copy_from_slice(data);
    }
    if image.is_empty() {
        return Err(bad("nothing in it is loaded".into()));
    }
    image.resize(image.len().next_multiple_of(4), 0);
    Ok(image.chunks_exact(4).map(|w| u32::from_le_bytes(w.try_into().expect("four bytes"))).collect())
}

/// Writes words as `$readmemh` reads them, one a line.
pub fn write_hex(words: &[u32], path: &Path) -> Result<()> {
    let mut text = String::with_capacity(words.len() * 9);
    words.iter().for_each(|w| writeln!(text, "{w:08x}").expect("writing to a string"));
    std::fs::write(path, text).map_err(Error::io("write", path))
}
