//! `systole verify mutation`: units of the hardware with one bit broken at a time, and whether the checks notice.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use systole_checks::mutation::{self, Fate, Plan, Report, Tried, UNITS, Unit};

use super::table::TableArgs;
use crate::cli::OutputArgs;
use crate::error::{Error, Result};

/// Break units of the hardware one bit at a time, and see whether the checks notice
///
/// yosys inverts a bit of a cell, ties it to 0 or 1, or mixes it with its neighbour, hundreds of times; all of these mutants are
/// built into one simulator of each unit, which switches one on at a time, and the checks of `cargo test -p systole-hdl` are run
/// on it until one fails. A mutant that all let through is compared with the design by SymbiYosys: it is either equivalent, or a
/// hole in the checks. Exits with 8 if fewer of the others are killed than --at-least says. The tools are fetched once.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  systole verify mutation --list
  systole verify mutation deframer
  systole verify mutation --quick               a few mutants of every module
  systole verify mutation tiler --only 25,36    two of them again
  systole verify mutation --seed 7 --json       other mutants")]
pub(in crate::cli) struct MutationArgs {
    /// Which units [default: all]
    #[arg(value_name = "UNIT")]
    names: Vec<String>,
    /// Say which units there are, and break nothing
    #[arg(long)]
    list: bool,
    /// Two mutants of each module instead of all
    #[arg(long)]
    quick: bool,
    /// Only these mutants of one unit, as numbered in its table: what a new check or more time makes of survivors
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS", conflicts_with = "quick")]
    only: Vec<usize>,
    /// Seconds that the solver has for each question about a survivor; there are some for each
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    solver_seconds: u64,
    /// Seed of the choice of mutants
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    seed: u64,
    /// Percentage of the mutants that are not equivalent which must be killed
    #[arg(long, default_value_t = 97.0, value_name = "PERCENT")]
    at_least: f64,
    /// Mutants that are tried side by side
    #[arg(long, default_value_t = 2, value_name = "COUNT")]
    threads: usize,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Mutants of each module with `--quick`.
const QUICK: usize = 2;

const COLUMNS: [&str; 16] = [
    "unit", "module", "mutant", "mode", "cell", "port", "bit", "ctrl_bit", "wire", "source", "fate", "by", "how",
    "cycles", "seed", "design",
];

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    what: &'static str,
    mutants: usize,
    checks: Vec<&'static str>,
}

#[derive(Serialize)]
struct All {
    mutants: usize,
    killed: usize,
    equivalent: usize,
    bounded: usize,
    survived: usize,
    killed_percent: f64,
    units: Vec<Report>,
}

impl MutationArgs {
    pub(super) fn run(self) -> Result<()> {
        if !(0.0..=100.0).contains(&self.at_least) {
            return Err(Error::value("--at-least", self.at_least, "a percentage lies in 0..=100"));
        }
        if self.threads == 0 {
            return Err(Error::value("--threads", 0, "nothing would be tried"));
        }
        let units = self.chosen()?;
        if self.list {
            let list: Vec<Listed> = units.iter().map(|u| listed(u)).collect();
            self.output.print(&list, |list| {
                let line = |l: &Listed| format!("{:<10} {:>3} mutants  {}", l.name, l.mutants, l.what);
                list.iter().map(line).collect::<Vec<_>>().join("\n")
            });
            return Ok(());
        }
        let most = if self.quick { QUICK } else { usize::MAX };
        if units.len() > 1 && !self.only.is_empty() {
            return Err(Error::value("--only", numbers(&self.only), "each unit has numbers of its own: name one"));
        }
        let limit = Duration::from_secs(self.solver_seconds);
        let only = self.only.clone();
        let plan = Plan { seed: self.seed, most, only, prove: true, limit, threads: self.threads };
        let mut reports = Vec::new();
        for unit in units {
            let report =
                mutation::run(unit, &plan, &|tried, done, of| follow(unit, tried, done, of)).map_err(failed)?;
            eprintln!("{}", line(&report));
            let quick = if self.quick { " --quick" } else { "" };
            let only = if self.only.is_empty() { String::new() } else { format!(" --only {}", numbers(&self.only)) };
            let command = format!("systole verify mutation {} --seed {}{quick}{only}", unit.name, self.seed);
            let rows: Vec<_> = report.mutants.iter().map(|t| cells(&report, t)).collect();
            self.table.add(&COLUMNS, &command, &rows)?;
            reports.push(report);
        }
        let all = add_up(reports)?;
        self.output.print(&all, |all| {
            let lines: Vec<String> = all.units.iter().map(line).chain([total(all)]).collect();
            lines.join("\n")
        });
        if all.killed_percent < self.at_least {
            return Err(Error::Survived {
                survived: all.bounded + all.survived,
                mutants: all.mutants,
                killed: format!("{:.2} %", all.killed_percent),
                wanted: format!("{:.2} %", self.at_least),
            });
        }
        Ok(())
    }

    fn chosen(&self) -> Result<Vec<&'static Unit>> {
        if self.names.is_empty() {
            return Ok(UNITS.iter().collect());
        }
        let named = |name: &String| {
            let names: Vec<&str> = UNITS.iter().map(|u| u.name).collect();
            Unit::named(name).ok_or_else(|| Error::value("UNIT", name, format!("there are {}", names.join(", "))))
        };
        self.names.iter().map(named).collect()
    }
}

/// As `--only` takes them.
fn numbers(of: &[usize]) -> String {
    of.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

fn listed(unit: &Unit) -> Listed {
    Listed {
        name: unit.name,
        what: unit.what,
        mutants: unit.modules.iter().map(|m| m.1).sum(),
        checks: unit.checks.iter().map(|c| c.name).collect(),
    }
}

/// The sums over all units. No mutant at all is no pass.
fn add_up(units: Vec<Report>) -> Result<All> {
    let mut counts = [0; 4];
    for report in &units {
        report.counts().iter().zip(&mut counts).for_each(|(count, sum)| *sum += count);
    }
    let [killed, equivalent, bounded, survived] = counts;
    let others = killed + bounded + survived;
    if others == 0 {
        return Err(Error::Survived {
            survived,
            mutants: equivalent,
            killed: "none".into(),
            wanted: "at least one that is not equivalent".into(),
        });
    }
    let killed_percent = 100.0 * killed as f64 / others as f64;
    Ok(All { mutants: others + equivalent, killed, equivalent, bounded, survived, killed_percent, units })
}

/// One line now and then; survivors at once.
fn follow(unit: &Unit, tried: &Tried, done: usize, of: usize) {
    let m = &tried.mutant;
    let place = || {
        let wire = if m.wire.is_empty() { String::new() } else { format!(" ({})", m.wire) };
        format!("{} of {} {}[{}] in {}{wire}, {}", m.mode, m.cell, m.port, m.port_bit, m.module, m.source)
    };
    match &tried.fate {
        Fate::Survived { reason } => eprintln!("{} {}: survived: {}: {reason}", unit.name, m.number, place()),
        Fate::Equivalent { .. } => eprintln!("{} {}: equivalent: {}", unit.name, m.number, place()),
        Fate::Bounded { proof } => eprintln!("{} {}: {proof}: {}", unit.name, m.number, place()),
        Fate::Killed { .. } if done.is_multiple_of(10) => eprintln!("{}: {done} of {of} mutants", unit.name),
        Fate::Killed { .. } => {}
    }
}

fn line(r: &Report) -> String {
    let [killed, equivalent, bounded, survived] = r.counts();
    format!(
        "{:<10} {} mutants: {killed} killed, {equivalent} equivalent, {bounded} for some cycles, {survived} survived  (design {}, {:.0} s)",
        r.unit,
        r.mutants.len(),
        r.design,
        r.seconds
    )
}

fn total(all: &All) -> String {
    format!(
        "all        {} mutants: {} killed, {} equivalent, {} for some cycles, {} survived: {:.2} % of those that are not equivalent are killed",
        all.mutants, all.killed, all.equivalent, all.bounded, all.survived, all.killed_percent
    )
}

fn cells(report: &Report, tried: &Tried) -> [String; 16] {
    let m = &tried.mutant;
    let (fate, by, how, cycles) = match &tried.fate {
        Fate::Killed { by, how, cycles } => ("killed", by.to_string(), *how, cycles.to_string()),
        Fate::Equivalent { proof } => ("equivalent", proof.clone(), "", String::new()),
        Fate::Bounded { proof } => ("bounded", proof.clone(), "", String::new()),
        Fate::Survived { reason } => ("survived", reason.clone(), "", String::new()),
    };
    [
        report.unit.into(),
        m.module.clone(),
        m.number.to_string(),
        m.mode.clone(),
        m.cell.clone(),
        m.port.clone(),
        m.port_bit.clone(),
        m.ctrl_bit.clone(),
        m.wire.clone(),
        m.source.clone(),
        fate.into(),
        by,
        how.into(),
        cycles,
        report.seed.to_string(),
        report.design.clone(),
    ]
}

fn failed(e: mutation::Error) -> Error {
    match e {
        mutation::Error::Tool(e) => Error::from_tool("mutation testing", e),
        mutation::Error::Io { action, path, source } => Error::Io { action, path, source },
        mutation::Error::Number { number, last, .. } => {
            Error::value("--only", number, format!("its mutants are numbered from 1 to {last}"))
        }
        e => Error::Setup {
            what: "mutation testing".into(),
            reason: e.to_string(),
            help: "see that `cargo test --release -p systole-hdl` passes; then this is a bug worth reporting".into(),
        },
    }
}
