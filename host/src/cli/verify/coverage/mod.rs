//! `systole verify coverage`: which lines of the SoC ran, and which of its bits rose and fell, while tests were running.
//!
//! Tests leave counts where `SYSTOLE_COVERAGE` says: a folder for each design, a file for each time it was switched on. Here they
//! are added up, module by module.

mod constants;
mod counts;
mod waivers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::table::{TableArgs, command_line};
use crate::cli::OutputArgs;
use crate::error::{Error, Result};
use constants::Constants;
use counts::{Counts, Kind};
use waivers::Waivers;

/// Say how much of the simulated hardware the tests have exercised: lines, and bits that rose and fell
///
/// First run tests with SYSTOLE_COVERAGE set to a folder, for instance
/// `SYSTOLE_COVERAGE=target/coverage cargo test --release -p systole-sim`. Their simulators then count, which makes them slower, and
/// leave the counts there. Exits with 8 if less was exercised than --at-least says.
#[derive(Debug, Args)]
pub(in crate::cli) struct CoverageArgs {
    /// The folder that SYSTOLE_COVERAGE named
    #[arg(default_value = "target/coverage", value_name = "FOLDER")]
    folder: PathBuf,
    /// The design to look at, one of the folders there; by default the one with the most runs
    #[arg(long, value_name = "NAME")]
    design: Option<String>,
    /// Points that need not be met, and why: a TOML file
    #[arg(long, value_name = "FILE")]
    waivers: Option<PathBuf>,
    /// Ask yosys which bits are tied to a constant in every instance of their module, and leave them out: half a minute
    #[arg(long)]
    constants: bool,
    /// Also print every point that was not met and is not waived
    #[arg(long)]
    holes: bool,
    /// Percentage that must be reached, of lines and of toggles
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    at_least: f64,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What was met of a module, or of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Share {
    module: String,
    lines: usize,
    lines_met: usize,
    lines_waived: usize,
    toggles: usize,
    toggles_met: usize,
    toggles_waived: usize,
}

impl Share {
    fn count(&mut self, kind: Kind, met: bool, waived: bool) {
        let (all, hit, excused) = match kind {
            Kind::Line => (&mut self.lines, &mut self.lines_met, &mut self.lines_waived),
            Kind::Toggle => (&mut self.toggles, &mut self.toggles_met, &mut self.toggles_waived),
        };
        *all += 1;
        *hit += usize::from(met && !waived);
        *excused += usize::from(waived);
    }

    /// Percent of the lines, and of the toggles, that are not waived.
    fn percent(&self) -> [f64; 2] {
        let of = |met: usize, all: usize| if all == 0 { 100.0 } else { 100.0 * met as f64 / all as f64 };
        [of(self.lines_met, self.lines - self.lines_waived), of(self.toggles_met, self.toggles - self.toggles_waived)]
    }
}

/// A waiver and what it has covered.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Waived {
    module: String,
    signal: String,
    reason: String,
    points: usize,
}

#[derive(Serialize)]
struct Report {
    design: String,
    runs: usize,
    line_percent: f64,
    toggle_percent: f64,
    total: Share,
    modules: Vec<Share>,
    waivers: Vec<Waived>,
    holes: Vec<String>,
}

impl CoverageArgs {
    pub(super) fn run(self) -> Result<()> {
        if !(0.0..=100.0).contains(&self.at_least) {
            return Err(Error::value("--at-least", self.at_least, "a percentage lies in 0..=100"));
        }
        let (design, files) = self.files()?;
        let mut waivers = self.waivers.as_deref().map_or(Ok(Waivers::default()), Waivers::read)?;
        let mut all = Counts::new();
        files.iter().try_for_each(|f| counts::add(&mut all, f))?;
        let constants = if self.constants { Constants::of(&design)? } else { Constants::default() };
        if let Some((point, _)) = all.iter().find(|&(p, &count)| count > 0 && constants.contradicted(p)) {
            let (module, what) = (&point.module, &point.what);
            let reason = format!("{what} of {module} was seen, and yosys says that it is constant");
            return Err(Error::Malformed { path: self.folder.clone(), format: "coverage", reason });
        }
        let report = summarise(design, files.len(), &all, &constants, &mut waivers);
        if let Some(idle) = report.waivers.iter().find(|w| w.points == 0) {
            let name = format!("{} {}", idle.module, idle.signal);
            let reason = "it takes nothing out: every point that it names was met, or there is none";
            return Err(Error::value("a waiver", name, reason));
        }
        self.keep(&report)?;
        let holes = self.holes;
        self.output.print(&report, |r| text(r, holes));
        for (what, percent) in [("lines", report.line_percent), ("toggles", report.toggle_percent)] {
            if percent < self.at_least {
                let (met, wanted) = (format!("{percent:.2} %"), format!("{:.2} %", self.at_least));
                return Err(Error::Uncovered { what, met, wanted });
            }
        }
        Ok(())
    }

    /// The design's name and its files.
    fn files(&self) -> Result<(String, Vec<PathBuf>)> {
        let mut designs = BTreeMap::new();
        for folder in entries(&self.folder)?.into_iter().filter(|p| p.is_dir()) {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut files = entries(&folder)?;
            files.retain(|f| f.extension().is_some_and(|e| e == "dat"));
            if !files.is_empty() {
                designs.insert(name, files);
            }
        }
        let names = designs.keys().cloned().collect::<Vec<_>>().join(", ");
        match &self.design {
            Some(d) => {
                let files = designs.remove(d);
                let files = files.ok_or_else(|| Error::value("--design", d, format!("there are counts of {names}")))?;
                Ok((d.clone(), files))
            }
            None => designs.into_iter().max_by_key(|d| d.1.len()).ok_or_else(|| Error::Malformed {
                path: self.folder.clone(),
                format: "coverage",
                reason: "it holds no counts; run tests with SYSTOLE_COVERAGE set to it".into(),
            }),
        }
    }

    fn keep(&self, r: &Report) -> Result<()> {
        let cells = |s: &Share| {
            let counts = [s.lines, s.lines_met, s.lines_waived, s.toggles, s.toggles_met, s.toggles_waived];
            let [lines, lines_met, lines_waived, toggles, toggles_met, toggles_waived] = counts.map(|n| n.to_string());
            let [l, t] = s.percent().map(|p| format!("{p:.2}"));
            let module = s.module.clone();
            [r.design.clone(), module, lines, lines_met, lines_waived, l, toggles, toggles_met, toggles_waived, t]
        };
        let rows: Vec<_> = std::iter::once(&r.total).chain(&r.modules).map(cells).collect();
        self.table.add(&COLUMNS, &command_line(), &rows)
    }
}

const COLUMNS: [&str; 10] = [
    "design",
    "module",
    "lines",
    "lines_met",
    "lines_waived",
    "line_percent",
    "toggles",
    "toggles_met",
    "toggles_waived",
    "toggle_percent",
];

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = std::fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let paths: std::io::Result<Vec<PathBuf>> = listed.map(|e| e.map(|e| e.path())).collect();
    paths.map_err(Error::io("read", folder))
}

fn summarise(design: String, runs: usize, all: &Counts, constants: &Constants, waivers: &mut Waivers) -> Report {
    let mut modules: BTreeMap<&str, Share> = BTreeMap::new();
    let mut total = Share { module: "all".into(), ..Share::default() };
    let (mut holes, mut tied) = (Vec::new(), 0);
    for (point, &count) in all {
        let (met, module) = (count > 0, &point.module);
        let constant = constants.tied(point);
        tied += usize::from(constant);
        let waived = constant || waivers.cover(point, met);
        total.count(point.kind, met, waived);
        let own = modules.entry(module).or_insert_with(|| Share { module: module.clone(), ..Share::default() });
        own.count(point.kind, met, waived);
        if !met && !waived {
            holes.push(format!("{module}:{}:{} {}", point.line, point.column, point.what));
        }
    }
    let [line_percent, toggle_percent] = total.percent();
    let (modules, mut waivers) = (modules.into_values().collect(), waivers.used());
    if tied > 0 {
        let reason = "tied to 0 or 1 in every instance of its module, says yosys".into();
        waivers.push(Waived { module: "*".into(), signal: "*".into(), reason, points: tied });
    }
    Report { design, runs, line_percent, toggle_percent, total, modules, waivers, holes }
}

fn text(r: &Report, holes: bool) -> String {
    let mut out = vec![format!(
        "{:<28} {:>7} {:>7} {:>8} {:>8} {:>7} {:>8}",
        "module", "lines", "waived", "met", "toggles", "waived", "met"
    )];
    for s in r.modules.iter().chain([&r.total]) {
        let [l, t] = s.percent();
        out.push(format!(
            "{:<28} {:>7} {:>7} {:>6.2} % {:>8} {:>7} {:>6.2} %",
            s.module, s.lines, s.lines_waived, l, s.toggles, s.toggles_waived, t
        ));
    }
    if holes {
        out.extend(r.holes.iter().map(|h| format!("not met  {h}")));
    }
    out.extend(
        r.waivers.iter().map(|w| format!("waived   {} {} ({} points): {}", w.module, w.signal, w.points, w.reason)),
    );
    out.push(format!("{}, {} runs", r.design, r.runs));
    out.join("\n")
}
