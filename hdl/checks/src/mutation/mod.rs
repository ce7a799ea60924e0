//! Mutation testing of the hardware: units are broken on purpose, one bit of one cell at a time, and the checks must notice.
//!
//! ```text
//!  a check's design ──yosys: proc, mutate -list──> mutants 1..n of the unit's modules
//!         │                                              │ mutate -ctrl, all of them in one netlist
//!         └──── its other modules as they are ──> Verilator, once ──> check with +mutant=k, for each k
//!                                                                         │ lets it through
//!                                                              SymbiYosys: is it equivalent?
//! ```
//!
//! A mutant inverts a bit of a cell's port, ties it to 0 or 1, or mixes it with another bit of the port; it is active if the plusarg
//! `+mutant` has its number, in every instance of its module. With number 0 none is, and every check must pass: else it is the
//! harness that is broken. A check kills a mutant if it panics, as in `hdl/tests`; one that runs twice as long as the design as it
//! stands is called a hang. Which mutants there are follows from the design and the seed alone.
//!
//! | module | what |
//! |---|---|
//! | `units` | what is mutated, and which checks are asked |
//! | `netlist` | mutants listed and built in, by yosys |
//! | `kill` | checks against mutants |
//! | `equivalence` | survivors against the design as it stands, by SymbiYosys |

mod equivalence;
mod kill;
mod netlist;
mod units;

use crate::design::Check;
use equivalence::Prover;
use kill::{Harness, Outcome};
use netlist::Workshop;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::time::Duration;
use systole_verilator::Options;
use systole_verilator::formal::{FormalTools, Solver};

pub use units::UNITS;

/// A part of the hardware, what of it is mutated, and what must notice.
#[derive(Debug)]
pub struct Unit {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in words.
    pub what: &'static str,
    /// Modules of the checks' design, and how many mutants of each.
    pub modules: &'static [(&'static str, usize)],
    /// Survivors are compared in these, where their modules alone can answer differently.
    pub contexts: &'static [Context<'static>],
    /// Checks in the order in which they are asked. All of them have the same design.
    pub checks: &'static [&'static Check],
}

/// What keeps from a unit's modules what they never meet, or ignores of their outputs what nobody looks at.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Its top module.
    pub top: &'a str,
    /// Its text, if it is not a module of the design.
    pub text: &'a str,
    /// Its file, to be named where it decides.
    pub file: &'a str,
    /// The modules that it is for. Another is not in it, and would be found equivalent for nothing.
    pub of: &'a [&'a str],
}

impl<'a> Context<'a> {
    /// A module of the design.
    pub const fn inside(top: &'a str, of: &'a [&'a str]) -> Context<'a> {
        Context { top, text: "", file: "", of }
    }

    fn words(&self) -> String {
        if self.file.is_empty() { self.top.into() } else { format!("{} ({})", self.top, self.file) }
    }
}

impl Unit {
    /// The unit of a name.
    pub fn named(name: &str) -> Option<&'static Unit> {
        UNITS.iter().find(|u| u.name == name)
    }
}

/// One change of one bit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mutant {
    /// Its number, which activates it: 1 and up, over all modules of the unit.
    pub number: usize,
    /// Module.
    pub module: String,
    /// `inv`: the bit is inverted; `const0`, `const1`: tied; `cnot0`, `cnot1`: inverted where the port's bit `ctrl_bit` is 0, 1.
    pub mode: String,
    /// yosys' name of the cell.
    pub cell: String,
    /// The cell's port.
    pub port: String,
    /// The port's bit.
    pub port_bit: String,
    /// The other bit, of `cnot0` and `cnot1`.
    pub ctrl_bit: String,
    /// The wire behind the port, where it has a name.
    pub wire: String,
    /// Line and columns in the printed Verilog, innermost first.
    pub source: String,
    /// The options of `mutate` that make it.
    #[serde(skip)]
    pub(crate) arguments: String,
}

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "fate")]
pub enum Fate {
    /// A check noticed.
    Killed {
        /// The check.
        by: &'static str,
        /// `difference`, or `hang`.
        how: &'static str,
        /// Clock cycles from the check's start to the panic.
        cycles: u64,
    },
    /// No check can notice: its module does what it did.
    Equivalent {
        /// How that was shown.
        proof: String,
    },
    /// No check noticed, and none of so many cycles can.
    Bounded {
        /// How that was shown.
        proof: String,
    },
    /// No check noticed, and it is not shown to be equivalent.
    Survived {
        /// What is known.
        reason: String,
    },
}

/// A mutant, and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// The mutant.
    #[serde(flatten)]
    pub mutant: Mutant,
    /// Its fate.
    #[serde(flatten)]
    pub fate: Fate,
}

/// A unit, done.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The unit.
    pub unit: &'static str,
    /// First 32 bits of the SHA-256 of the checks' design.
    pub design: String,
    /// The seed of the mutants.
    pub seed: u64,
    /// Every mutant.
    pub mutants: Vec<Tried>,
    /// Seconds.
    pub seconds: f64,
}

impl Report {
    /// How many were killed, how many are equivalent, how many for some cycles, how many survived.
    pub fn counts(&self) -> [usize; 4] {
        let mut counts = [0; 4];
        for tried in &self.mutants {
            counts[match tried.fate {
                Fate::Killed { .. } => 0,
                Fate::Equivalent { .. } => 1,
                Fate::Bounded { .. } => 2,
                Fate::Survived { .. } => 3,
            }] += 1;
        }
        counts
    }
}

/// Why nothing can be said of the mutants.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tool is missing, or fails.
    #[error(transparent)]
    Tool(#[from] systole_verilator::Error),
    /// A file of the work folder.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A mutant that there is not.
    #[error("{unit} has no mutant {number}; they are numbered from 1 to {last}")]
    Number {
        /// The unit.
        unit: &'static str,
        /// The number asked for.
        number: usize,
        /// The largest there is.
        last: usize,
    },
    /// The netlist with no mutant active does not pass, or no mutant can be made.
    #[error("{unit}: {reason}")]
    Harness {
        /// The unit.
        unit: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How much is done, and with which mutants.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seed of the choice of mutants.
    pub seed: u64,
    /// At most so many mutants of each module.
    pub most: usize,
    /// Only the mutants of these numbers, if there are any here.
    pub only: Vec<usize>,
    /// Whether survivors are compared with the design as it stands; without, each is one that survived.
    pub prove: bool,
    /// What each question may take the solver.
    pub limit: Duration,
    /// Mutants that are tried side by side.
    pub threads: usize,
}

impl Default for Plan {
    fn default() -> Plan {
        let limit = Duration::from_secs(600);
        Plan { seed: 0, most: usize::MAX, only: Vec::new(), prove: true, limit, threads: 1 }
    }
}

/// The mutants of a unit under a plan.
///
/// # Errors
/// A tool is missing or fails; there are no mutants.
pub fn list(unit: &'static Unit, plan: &Plan) -> Result<Vec<Mutant>> {
    let options = Options::workspace();
    let tools = FormalTools::provision(&options, Solver::Yices)?;
    let design = (unit.checks[0].design)();
    Workshop::open(&options, &tools, unit, &design)?.list(plan.most, plan.seed)
}

/// Breaks a unit in every way of the plan and asks its checks; `hear` is told of each mutant, with how many are done of how many.
///
/// # Errors
/// A tool is missing or fails; a check does not pass with no mutant active; there are no mutants.
pub fn run(unit: &'static Unit, plan: &Plan, hear: &(dyn Fn(&Tried, usize, usize) + Sync)) -> Result<Report> {
    let begun = std::time::Instant::now();
    let options = Options::workspace();
    let tools = FormalTools::provision(&options, Solver::Yices)?;
    let design = (unit.checks[0].design)();
    let harness = |reason: String| Error::Harness { unit: unit.name, reason };
    if let Some(other) = unit.checks.iter().find(|c| (c.design)().verilog != design.verilog) {
        return Err(harness(format!("{} runs on another design", other.name)));
    }
    let workshop = Workshop::open(&options, &tools, unit, &design)?;
    let mut mutants = workshop.list(plan.most, plan.seed)?;
    if let Some(number) = plan.only.iter().find(|&&n| !(1..=mutants.len()).contains(&n)) {
        return Err(Error::Number { unit: unit.name, number: *number, last: mutants.len() });
    }
    // the netlist holds all of them: numbers stay what they are, and it is built once
    let netlist = workshop.netlist(&mutants)?;
    mutants.retain(|m| plan.only.is_empty() || plan.only.contains(&m.number));
    let killing = Harness::build(&options, unit, &design, netlist)?;
    if let Some(line) = workshop.starts_otherwise() {
        return Err(workshop.wrong(format!("a register does not start as zero, and proofs would: {}", line.trim())));
    }
    let prover = Prover { workshop: &workshop, contexts: unit.contexts, limit: plan.limit };
    let decide = |mutant: &Mutant| -> Result<Tried> {
        let fate = match killing.attempt(mutant.number)? {
            Outcome::Killed { by, how, cycles } => Fate::Killed { by, how, cycles },
            Outcome::Passed if plan.prove => prover.decide(mutant)?,
            Outcome::Passed => Fate::Survived { reason: "not compared".into() },
        };
        Ok(Tried { mutant: mutant.clone(), fate })
    };
    let tried = kill::side_by_side(plan.threads, &mutants, &decide, hear)?;
    Ok(Report {
        unit: unit.name,
        design: systole_verilator::hex(&Sha256::digest(design.verilog.as_bytes())[..4]),
        seed: plan.seed,
        mutants: tried,
        seconds: begun.elapsed().as_secs_f64(),
    })
}
