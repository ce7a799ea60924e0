//! From sources to files that a device starts from: Verilator, the soft core, the firmware's image, the Verilated SoC.
//!
//! Everything is kept by content below `<root>/target`, so that doing it again costs little and several processes do not
//! disturb each other.

use std::path::{Path, PathBuf};
use std::time::Instant;

use sha2::{Digest, Sha256};
use systole_hdl::soc;
use systole_isa::machine::Machine;
use systole_isa::regs;
use systole_verilator::firmware::{self, elf_to_words, write_hex};
use systole_verilator::{ModelSpec, Module, Options, Verilator, vexriscv_verilog};

use super::{Error, Result, SerialOptions};

/// Which simulator of a machine. Each is built once and kept beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// It can record traces, and is slower.
    pub traces: bool,
    /// Threads that it runs on.
    pub threads: u32,
}

impl Default for Variant {
    /// No traces, one thread.
    fn default() -> Variant {
        Variant { traces: false, threads: 1 }
    }
}

/// One part of set-up, done.
#[derive(Clone, Debug)]
pub struct Step {
    /// What was provided.
    pub what: &'static str,
    /// Which one: a version, a size, a file.
    pub detail: String,
    /// Seconds that it took; next to nothing where it was there already.
    pub seconds: f64,
}

/// What set-up did.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its parts, in order.
    pub steps: Vec<Step>,
    /// The files that came out.
    pub build: Build,
}

impl Report {
    /// Seconds in all.
    pub fn seconds(&self) -> f64 {
        self.steps.iter().map(|s| s.seconds).sum()
    }
}

/// Files that a device starts from.
#[derive(Clone, Debug)]
pub struct Build {
    /// The machine that was built.
    pub machine: Machine,
    /// The Verilated SoC.
    pub library: PathBuf,
    /// Whether it can record traces.
    pub traces: bool,
    /// Where an instance leaves its counts of lines and toggles, if it keeps any.
    pub coverage: Option<PathBuf>,
    /// The firmware's words, for `+firmware=`.
    pub image: PathBuf,
    /// The firmware's ELF file, with the strings of its log.
    pub elf: PathBuf,
}

/// Provides all that the simulated hardware needs, as far as it is not there yet. `progress` hears of each part as it is
/// done; slow parts also report to the progress of `options` while they run.
pub fn setup(options: &Options, machine: Machine, progress: &mut dyn FnMut(&Step)) -> Result<Report> {
    prepare(options, machine, Variant::default(), progress)
}

/// As [`setup`], with any variant of the simulator.
pub fn prepare(
    options: &Options,
    machine: Machine,
    variant: Variant,
    progress: &mut dyn FnMut(&Step),
) -> Result<Report> {
    build(options, machine, None, variant, progress)
}

/// Seconds that the simulator of a machine takes to be built from nothing but tools and sources. It is built below `scratch`.
pub fn time_build(options: &Options, machine: Machine, variant: Variant, scratch: &Path) -> Result<f64> {
    let verilator = Verilator::provision(options)?.keeping_models_in(&Options::new(scratch).quiet());
    let spec = spec(options, machine, None, variant)?;
    let begun = Instant::now();
    verilator.build(&spec)?;
    Ok(begun.elapsed().as_secs_f64())
}

/// What to Verilate.
fn spec(options: &Options, machine: Machine, line: Option<SerialOptions>, variant: Variant) -> Result<ModelSpec> {
    let (top, verilog) = match line {
        None => (soc::TOP, soc::verilog(&machine, 0)),
        Some(line) => (soc::SERIAL_TOP, soc::serial_verilog(&machine, line.clock_hz, line.baud)),
    };
    let verilog = verilog.map_err(|source| Error::Emit { lanes: machine.lanes, source })?;
    // Warnings do not stop a build here: the hardware's own tests lint it, and the foreign core has many.
    let spec = ModelSpec::new(top, verilog).clock("clock").source(vexriscv_verilog(options)?).allow("fatal");
    let spec = spec.threads(variant.threads);
    // Traces and counts show every instance; what neither wants is made to be fast.
    Ok(match (options.coverage.is_some(), variant.traces) {
        (false, false) => spec.share(),
        (counts, traces) => {
            let spec = if counts { spec.coverage() } else { spec };
            if traces { spec.trace() } else { spec }
        }
    })
}

/// As [`setup`], for the machine behind a UART.
pub fn prepare_serial(
    options: &Options,
    machine: Machine,
    line: SerialOptions,
    progress: &mut dyn FnMut(&Step),
) -> Result<Report> {
    if regs::uart_divisor(line.clock_hz, line.baud).is_none() {
        return Err(Error::Rate { clock_hz: line.clock_hz, baud: line.baud });
    }
    build(options, machine, Some(line), Variant::default(), progress)
}

fn build(
    options: &Options,
    machine: Machine,
    line: Option<SerialOptions>,
    variant: Variant,
    progress: &mut dyn FnMut(&Step),
) -> Result<Report> {
    if let Some(rule) = machine.invalid() {
        return Err(Error::Machine(rule));
    }
    let mut steps = Vec::new();
    let mut timed = |what: &'static str, begun: Instant, detail: String| {
        let step = Step { what, detail, seconds: begun.elapsed().as_secs_f64() };
        progress(&step);
        steps.push(step);
    };

    let begun = Instant::now();
    let verilator = Verilator::provision(options)?;
    timed("Verilator", begun, verilator.root().display().to_string());

    let begun = Instant::now();
    let core = vexriscv_verilog(options)?;
    timed("soft core", begun, core.display().to_string());

    let begun = Instant::now();
    let (image, elf, bytes) = firmware_image(options, &machine)?;
    timed("firmware", begun, format!("{bytes} bytes, {}", elf.display()));

    let begun = Instant::now();
    let spec = spec(options, machine, line, variant)?;
    timed("Verilog", begun, format!("{} lanes, {} kB", machine.lanes, spec.verilog.len() / 1000));

    let begun = Instant::now();
    let library = verilator.build(&spec)?;
    timed("simulator", begun, library.display().to_string());

    // Counts of different designs have nothing in common; a design is known by the folder of its model.
    let model = library.parent().and_then(|p| p.file_name()).unwrap_or_default().to_string_lossy();
    let design = format!("n{}v{}-{}", machine.lanes, machine.vector_lanes, &model[..model.len().min(8)]);
    let coverage = options.coverage.as_ref().map(|folder| folder.join(design));
    if let Some(folder) = &coverage {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    Ok(Report { build: Build { machine, library, traces: variant.traces, coverage, image, elf }, steps })
}

impl Build {
    /// Switches an instance on, in reset.
    pub(super) fn load(&self) -> Result<Module> {
        let mut module = Module::load_with(&self.library, &[format!("+firmware={}", self.image.display())])?;
        if let Some(folder) = &self.coverage {
            module.keep_coverage(folder);
        }
        Ok(module)
    }
}

/// Where the firmware's package lies: beside this crate, as it was compiled, else below the root.
fn firmware_sources(options: &Options) -> Result<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(|root| root.join("firmware/program"));
    let searched: Vec<PathBuf> = beside.into_iter().chain([options.root.join("firmware/program")]).collect();
    match searched.iter().find(|p| p.join("Cargo.toml").is_file()) {
        Some(found) => Ok(found.clone()),
        None => Err(Error::NoFirmwareSources { searched }),
    }
}

/// Builds the firmware and keeps its image and ELF in a folder named by their content, where no later build replaces them.
/// Also returns the image's size in bytes.
///
/// # Errors
/// No compiler, a program that does not compile, or one that is larger than the machine's RAM.
pub fn firmware_image(options: &Options, machine: &Machine) -> Result<(PathBuf, PathBuf, usize)> {
    let built = firmware::build(options, &firmware_sources(options)?)?;
    let elf = std::fs::read(&built.elf).map_err(Error::io("read", &built.elf))?;
    let digest = systole_verilator::hex(&Sha256::digest(&elf)[..16]);
    // absolute, because the model reads it from wherever the program runs
    let root = std::path::absolute(&options.root).map_err(Error::io("find", &options.root))?;
    let home = root.join("target/systole/firmware").join(digest);
    std::fs::create_dir_all(&home).map_err(Error::io("create", &home))?;
    let kept_elf = home.join("firmware.elf");
    appear(&kept_elf, |to| std::fs::write(to, &elf).map_err(Error::io("write", to)))?;
    let words = elf_to_words(&kept_elf)?;
    let bytes = 4 * words.len();
    if bytes > machine.firmware_bytes as usize {
        return Err(Error::FirmwareTooLarge { bytes, room: machine.firmware_bytes });
    }
    let image = home.join("firmware.hex");
    appear(&image, |to| Ok(write_hex(&words, to)?))?;
    Ok((image, kept_elf, bytes))
}

/// Makes a file that is there either whole or not at all. Its content follows from its path, so one that is there stays.
fn appear(path: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if path.is_file() {
        return Ok(());
    }
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    make(&temporary)?;
    std::fs::rename(&temporary, path).map_err(Error::io("rename into place", path))
}
