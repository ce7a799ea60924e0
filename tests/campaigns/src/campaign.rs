//! Cases to threads, comparison with the reference, counts, and the row of the table.

use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use rust_hdl_core::prelude::Block;
use serde::Serialize;
use systole_hdl::emit::{LINT_WAIVERS, emit_verilog};
use systole_verilator::{ModelSpec, Module, Optimise, Port, Verilator};

use crate::units::COPIES;

/// What the command line says.
pub struct Options {
    pub threads: usize,
    pub every: u64,
    pub seed: u64,
    pub out: PathBuf,
    pub command: String,
}

impl Options {
    /// Refuses options under which no case would be checked: that is no pass.
    pub fn refuse_nothing(&self) -> Result<(), CampaignError> {
        let bad = |what, reason| Err(CampaignError::Value { what, value: 0, reason });
        match (self.threads, self.every) {
            (0, _) => bad("--threads", "nothing would be checked"),
            (_, 0) => bad("--every", "1 checks every case"),
            _ => Ok(()),
        }
    }
}

/// Why a campaign did not run.
#[derive(Debug, thiserror::Error)]
pub enum CampaignError {
    #[error("{what} cannot be {value}: {reason}")]
    Value { what: &'static str, value: u64, reason: &'static str },
    #[error("cannot write {path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Tool(#[from] systole_verilator::Error),
}

impl CampaignError {
    pub fn help(&self) -> &'static str {
        match self {
            CampaignError::Value { .. } => "cargo campaign --help tells what there is",
            CampaignError::Io { .. } => "give a folder that can be written with --out",
            CampaignError::Tool(_) => {
                "the message above says which tool; `cargo run --release -- setup` fetches them all"
            }
        }
    }
}

/// Classes of results, counted so that a table shows that all were met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Nan,
    Infinite,
    Subnormal,
    Zero,
    Normal,
}

impl Class {
    pub fn single(bits: u32) -> Class {
        match (bits >> 23 & 255, bits & 0x7f_ffff) {
            (255, 0) => Class::Infinite,
            (255, _) => Class::Nan,
            (0, 0) => Class::Zero,
            (0, _) => Class::Subnormal,
            _ => Class::Normal,
        }
    }
    pub fn half(bits: u16) -> Class {
        match (bits >> 10 & 31, bits & 0x3ff) {
            (31, 0) => Class::Infinite,
            (31, _) => Class::Nan,
            (0, 0) => Class::Zero,
            (0, _) => Class::Subnormal,
            _ => Class::Normal,
        }
    }
}

/// One unit, one set of cases.
pub trait Cases: Sync {
    /// What the table calls it.
    fn name(&self) -> String;
    /// How many there are.
    fn count(&self) -> u64;
    /// Rising edges between operands and results.
    fn latency(&self) -> u64;
    /// Input ports of one copy, without its number.
    fn inputs(&self) -> &'static [&'static str];
    /// Output ports of one copy.
    fn outputs(&self) -> &'static [&'static str];
    /// Operands of a case, one word per input.
    fn operands(&self, index: u64, out: &mut [u64]);
    /// What must come out, one word per output, and the result's class.
    fn expected(&self, operands: &[u64], out: &mut [u64]) -> Class;
    /// Makes alike what came out and means the same inside the machine.
    fn read(&self, _got: &mut [u64]) {}
}

/// One row of a campaign's table.
pub trait TableRow: fmt::Display + Serialize {
    /// The table's header, but for threads and seconds.
    const COLUMNS: &'static str;
    /// The row under it.
    fn cells(&self) -> String;
    /// What makes the campaign fail.
    fn differences(&self) -> u64;
    /// Seconds of real time.
    fn seconds(&self) -> f64;
}

/// One row of the table of a unit.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: String,
    pub cases: u64,
    pub nan: u64,
    pub infinite: u64,
    pub subnormal: u64,
    pub zero: u64,
    pub normal: u64,
    pub differences: u64,
    pub seed: u64,
    pub design_sha256: String,
    pub seconds: f64,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<24} {:>13} cases, {} differences  (NaN {}, infinite {}, subnormal {}, zero {}, normal {})  {:.0} s",
            self.name,
            self.cases,
            self.differences,
            self.nan,
            self.infinite,
            self.subnormal,
            self.zero,
            self.normal,
            self.seconds
        )
    }
}

/// A unit as a shared object.
pub struct Unit {
    library: PathBuf,
    sha256: String,
}

impl Unit {
    /// Emits and verilates a block with a clock; every lint warning but the emitter's documented waivers is an error.
    pub fn build(mut block: impl Block, top: &str) -> Result<Unit, CampaignError> {
        block.connect_all();
        let text = emit_verilog(&block, top);
        let sha256 = Sha256::digest(&text).iter().map(|b| format!("{b:02x}")).collect();
        let mut spec = ModelSpec::new(top, text).clock("clock").optimise(Optimise::Most);
        for (warning, _) in LINT_WAIVERS {
            spec = spec.allow(*warning);
        }
        let library = Verilator::provision(&systole_verilator::Options::workspace())?.build(&spec)?;
        Ok(Unit { library, sha256 })
    }
}

/// Cases that one call of the simulator takes.
const BLOCK: u64 = 1 << 15;
/// Differences that are printed.
const SHOWN: u64 = 20;

/// A bar on stderr for so many cases.
pub fn progress(name: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let style = "{prefix:<16} {bar:30} {percent:>3} %  {per_sec}  {eta} left";
    bar.set_style(ProgressStyle::with_template(style).expect("a fixed template"));
    bar.set_prefix(name.to_string());
    bar
}

/// Runs all cases through a unit.
pub fn check(unit: &Unit, cases: &dyn Cases, options: &Options) -> Result<Row, CampaignError> {
    options.refuse_nothing()?;
    let total = cases.count().div_ceil(options.every);
    if total == 0 {
        let (what, reason) = ("the number of cases", "no case is no pass");
        return Err(CampaignError::Value { what, value: 0, reason });
    }
    let begun = Instant::now();
    let bar = progress(&cases.name(), total);
    let next = AtomicU64::new(0);
    let row = Mutex::new(Row {
        name: cases.name(),
        cases: 0,
        nan: 0,
        infinite: 0,
        subnormal: 0,
        zero: 0,
        normal: 0,
        differences: 0,
        seed: options.seed,
        design_sha256: unit.sha256.clone(),
        seconds: 0.0,
    });
    let work = || -> Result<(), CampaignError> {
        let mut module = Module::load(&unit.library)?;
        let ports = |module: &Module, names: &[&str]| -> Result<Vec<Port>, CampaignError> {
            let all = (0..COPIES).flat_map(|i| names.iter().map(move |n| format!("{n}_{i}")));
            all.map(|n| Ok(module.find(&n)?)).collect()
        };
        let (inputs, outputs) = (ports(&module, cases.inputs())?, ports(&module, cases.outputs())?);
        let clock = module.clocks()[0];
        let (width, depth) = (cases.inputs().len(), cases.outputs().len());
        let mut expected = vec![0; depth];
        loop {
            let first = next.fetch_add(BLOCK, Ordering::Relaxed);
            if first >= total {
                return Ok(());
            }
            let count = BLOCK.min(total - first);
            // whole vectors: what is left over repeats the last case
            let slots = (count as usize).next_multiple_of(COPIES);
            let mut stimuli = vec![0; slots * width];
            for (slot, words) in stimuli.chunks_exact_mut(width).enumerate() {
                let index = first + (slot as u64).min(count - 1);
                cases.operands(index * options.every, words);
            }
            let mut got = module.run_vectors(clock, &inputs, &outputs, &stimuli, cases.latency());
            let mut classes = [0u64; 5];
            let mut differences = Vec::new();
            for slot in 0..count as usize {
                let operands = &stimuli[slot * width..][..width];
                let class = cases.expected(operands, &mut expected);
                classes[class as usize] += 1;
                let got = &mut got[slot * depth..][..depth];
                cases.read(got);
                if got != expected {
                    differences
                        .push(format!("{}: {operands:08x?} gives {got:08x?}, expected {expected:08x?}", cases.name()));
                }
            }
            let mut row = row.lock().expect("no thread panics with it");
            for text in &differences {
                if row.differences < SHOWN {
                    bar.println(text);
                }
                row.differences += 1;
            }
            row.cases += count;
            row.nan += classes[Class::Nan as usize];
            row.infinite += classes[Class::Infinite as usize];
            row.subnormal += classes[Class::Subnormal as usize];
            row.zero += classes[Class::Zero as usize];
            row.normal += classes[Class::Normal as usize];
            bar.inc(count);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|t| t.join().expect("a thread that compares does not panic"))
    })?;
    bar.finish_and_clear();
    let mut row = row.into_inner().expect("all threads have ended");
    assert_eq!(row.cases, total, "every case is met once");
    row.seconds = begun.elapsed().as_secs_f64();
    Ok(row)
}

impl TableRow for Row {
    const COLUMNS: &'static str = "name,cases,nan,infinite,subnormal,zero,normal,differences,seed,design_sha256";
    fn cells(&self) -> String {
        format!(
            "\"{}\",{},{},{},{},{},{},{},{},{}",
            self.name,
            self.cases,
            self.nan,
            self.infinite,
            self.subnormal,
            self.zero,
            self.normal,
            self.differences,
            self.seed,
            self.design_sha256
        )
    }
    fn differences(&self) -> u64 {
        self.differences
    }
    fn seconds(&self) -> f64 {
        self.seconds
    }
}

/// Writes the table of a campaign, in place of the last one.
pub fn write<R: TableRow>(name: &str, rows: &[R], options: &Options) -> Result<PathBuf, CampaignError> {
    let mut text = format!("# {}\n{},threads,seconds\n", options.command, R::COLUMNS);
    for r in rows {
        text += &format!("{},{},{:.1}\n", r.cells(), options.threads, r.seconds());
    }
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| CampaignError::Io { path, source }
    };
    std::fs::create_dir_all(&options.out).map_err(failed(&options.out))?;
    let path = options.out.join(format!("{name}.csv"));
    let fresh = path.with_extension("csv.new");
    std::fs::write(&fresh, text).map_err(failed(&fresh))?;
    std::fs::rename(&fresh, &path).map_err(failed(&path))?;
    Ok(path)
}
