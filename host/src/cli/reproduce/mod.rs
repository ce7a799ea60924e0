//! `systole reproduce`: the experiments of Micikevicius et al. (arXiv 1710.03740) at the size of an on-chip memory.
//!
//! | module | what it does |
//! |---|---|
//! | [`experiment`] | networks, settings and variants: `experiments.toml` |
//! | [`cell`] | one run of one variant with one seed |
//! | [`detection`] | the score of a detector |
//! | [`gan`] | the score of a generator |
//! | [`machine`] | the check on the simulated hardware |
//! | [`table`] | results as CSV, cell by cell |
//! | [`work`] | runs what is missing, on several threads |
//! | [`stats`] | means, deviations, headroom |
//! | [`page`], [`summary`], [`plot`] | pages and pictures, from the CSV alone |

mod cell;
mod detection;
mod experiment;
mod gan;
mod machine;
mod page;
mod plot;
mod stats;
mod summary;
mod table;
mod work;

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::OutputArgs;
use crate::error::{Error, Result};
use cell::{Cell, Prepared, label};
use experiment::chosen;
use machine::Check;
use table::Results;

/// Where results go if nothing else is said, and those of a slice.
const OUT: &str = "docs/paper";
const QUICK_OUT: &str = "runs/paper-quick";
/// Name of the hardware's check for `--cells`.
const RTL: &str = "rtl";

/// Run the paper's experiments at on-chip scale: FP32, mixed precision, and what is missing without each of its techniques
///
/// Each network is trained in FP32 on the host, in mixed precision on the model of the machine, without loss scaling, without FP32
/// master weights, with sums in FP16, and at static scales from 2^-24 to 2^16; a check on the simulated hardware compares all
/// memory. Every run is a cell of a CSV table in --out, and a cell that is there already is not run again: the command can be
/// interrupted and repeated. Pages, pictures and the summary are made of the tables.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  systole reproduce --plan                               what is to be run, and how long it may take
  systole reproduce gru-digits --jobs 2
  systole reproduce lenet-digits --cells 'fp16-*'        some cells of one network
  systole reproduce --report                             pages again, from the tables
  systole reproduce --quick                              a slice of a minute or two")]
pub(super) struct ReproduceArgs {
    /// A network of the table, or all of them
    #[arg(default_value = "all", value_name = "NAME|all")]
    name: String,
    /// One epoch of one seed of some networks, without the hardware's check
    #[arg(long)]
    quick: bool,
    /// Print the plan and run nothing
    #[arg(long)]
    plan: bool,
    /// Run nothing; make pages and pictures of the tables as they are
    #[arg(long, conflicts_with = "plan")]
    report: bool,
    /// Cells to run: variant, slash, s and seed, with * for anything, such as 'mixed/s*' or 'rtl' [default: all]
    #[arg(long, default_value = "*", value_name = "PATTERN", hide_default_value = true)]
    cells: String,
    /// Cells that are run at the same time [default: a core each]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Folder of tables and pages [default: docs/paper; with --quick runs/paper-quick]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// A network with its plan and what there is of it.
struct Experiment {
    prepared: Prepared,
    cells: Vec<Cell>,
    check: Option<Check>,
    results: Results,
}

impl Experiment {
    fn new(prepared: Prepared, out: &Path, quick: bool) -> Result<Experiment> {
        let (mut cells, mut check) = (prepared.cells(quick)?, Check::of(&prepared)?);
        let order = cells.iter().map(|c| c.key.clone()).chain(check.iter().map(|c| c.key.clone())).collect();
        let results = Results::load(out, &prepared.network.name, order)?;
        for cell in &mut cells {
            // what such cells took here before is the best estimate
            let fp32 = cell.variant.device().is_none();
            let alike = |r: &&table::Row| r.scale.is_none() == fp32 && r.steps == cell.steps;
            let times = results.rows.iter().filter(alike).map(|r| r.seconds);
            cell.seconds = stats::Spread::of(times).map_or(cell.seconds, |s| s.mean);
        }
        if let (Some(check), Some(m)) = (&mut check, results.machine.first()) {
            check.seconds = m.seconds;
        }
        Ok(Experiment { prepared, cells, check, results })
    }

    /// What is chosen and has not been run: the number of a cell, or `None` for the hardware's check, with its expected seconds.
    fn left(&self, pattern: &wildmatch::WildMatch) -> Vec<(Option<usize>, f64)> {
        let wanted = |label: &str, key: &str| pattern.matches(label) && !self.results.has(key);
        let cells = self.cells.iter().enumerate().filter(|(_, c)| wanted(&label(&c.variant, c.seed), &c.key));
        let check = self.check.iter().filter(|c| wanted(RTL, &c.key));
        cells.map(|(i, c)| (Some(i), c.seconds)).chain(check.map(|c| (None, c.seconds))).collect()
    }
}

/// A network in the plan and in the result.
#[derive(Serialize)]
struct Line {
    network: String,
    /// Cells of the whole plan, the hardware's check among them.
    cells: usize,
    /// Those that have a row.
    done: usize,
    /// Expected seconds, on one core, of the chosen ones that have none.
    seconds_left: f64,
    /// Its page.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
}

#[derive(Serialize)]
struct Report {
    out: String,
    jobs: usize,
    networks: Vec<Line>,
}

impl ReproduceArgs {
    pub(super) fn run(self) -> Result<()> {
        let usual = if self.quick { QUICK_OUT } else { OUT };
        let out = self.out.clone().unwrap_or_else(|| usual.into());
        let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
        let jobs = self.jobs.map_or_else(cores, usize::from);
        let pattern = wildmatch::WildMatch::new(&self.cells);
        let networks = chosen(&self.name, self.quick)?;
        let experiment = |n| Experiment::new(Prepared::new(n)?, &out, self.quick);
        let mut experiments = networks.into_iter().map(experiment).collect::<Result<Vec<_>>>()?;
        let labels = experiments.iter().flat_map(|e| &e.cells).map(|c| label(&c.variant, c.seed));
        if !labels.chain([RTL.to_string()]).any(|l| pattern.matches(&l)) {
            let why = "no cell is called so; --plan tells variants and seeds, for example mixed/s0";
            return Err(Error::value("--cells", &self.cells, why));
        }
        let report = |experiments: &[Experiment], pages: bool| Report {
            out: out.display().to_string(),
            jobs,
            networks: experiments.iter().map(|e| line(e, &pattern, &out, pages)).collect(),
        };
        let plan = report(&experiments, false);
        if self.plan {
            self.output.print(&plan, text);
            return Ok(());
        }
        if !self.report {
            eprintln!("{}", text(&plan));
            work::run(&mut experiments, &pattern, jobs, self.output.non_interactive)?;
        }
        experiments.iter().try_for_each(|e| page::write(&out, e))?;
        if self.name == "all" {
            summary::write(&out, &experiments)?;
        }
        self.output.print(&report(&experiments, true), text);
        Ok(())
    }
}

fn line(e: &Experiment, pattern: &wildmatch::WildMatch, out: &Path, page: bool) -> Line {
    let keys = e.cells.iter().map(|c| &c.key).chain(e.check.iter().map(|c| &c.key));
    let name = &e.prepared.network.name;
    Line {
        network: name.clone(),
        cells: keys.clone().count(),
        done: keys.filter(|key| e.results.has(key)).count(),
        // (a sum of nothing is −0)
        seconds_left: (0.0 + e.left(pattern).iter().map(|l| l.1).sum::<f64>()).round(),
        page: page.then(|| out.join(format!("{name}.md")).display().to_string()),
    }
}

fn text(r: &Report) -> String {
    let minutes = |s: f64| format!("{:.0} min", (s / 60.0).ceil());
    let mut lines = vec![format!("{:<18} {:>5} {:>5}  expected on one core", "network", "cells", "done")];
    for n in &r.networks {
        let page = n.page.as_ref().map_or(String::new(), |p| format!("  {p}"));
        lines.push(format!("{:<18} {:>5} {:>5}  {:>7}{page}", n.network, n.cells, n.done, minutes(n.seconds_left)));
    }
    let all: f64 = r.networks.iter().map(|n| n.seconds_left).sum();
    lines.push(format!(
        "{} left, {} on {} idle cores; tables in {}",
        minutes(all),
        minutes(all / r.jobs as f64),
        r.jobs,
        r.out
    ));
    lines.join("\n")
}
