//! Runs the cells that are missing: the longest first, several at a time, each kept as soon as it ends.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use wildmatch::WildMatch;

use super::cell::Done;
use super::table::{Machine, Results};
use super::{Experiment, RTL};
use crate::cli::progress::stop_at_ctrl_c;
use crate::error::{Error, Result};

/// A cell of an experiment, or (`None`) its check on the hardware.
#[derive(Clone, Copy)]
struct Job {
    experiment: usize,
    cell: Option<usize>,
    seconds: f64,
}

enum Outcome {
    Cell(Box<Done>),
    Check(Box<Machine>),
}

/// Runs what `pattern` chooses and no table has.
///
/// # Errors
/// The first that a cell ends with, after the others that were running have ended; [`Error::Interrupted`] after Ctrl-C, with all
/// cells kept that had ended.
pub(super) fn run(
    experiments: &mut [Experiment],
    pattern: &WildMatch,
    jobs: usize,
    non_interactive: bool,
) -> Result<()> {
    let mut queue: Vec<Job> = Vec::new();
    for (experiment, e) in experiments.iter().enumerate() {
        queue.extend(e.left(pattern).into_iter().map(|(cell, seconds)| Job { experiment, cell, seconds }));
    }
    if queue.is_empty() {
        return Ok(());
    }
    queue.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let bar = Bar::new(&queue, non_interactive);
    let stop = stop_at_ctrl_c();
    // results are written to while everything else of an experiment is only read
    let tables: Vec<Mutex<Results>> =
        experiments.iter_mut().map(|e| Mutex::new(std::mem::take(&mut e.results))).collect();
    let (all, queue, failed) = (&*experiments, Mutex::new(VecDeque::from(queue)), Mutex::new(None));
    let worker = || {
        while !stop.load(Ordering::SeqCst) {
            let Some(job) = queue.lock().expect("no worker panics").pop_front() else { break };
            let kept = run_one(all, job, &stop, &bar).and_then(|outcome| {
                let mut table = tables[job.experiment].lock().expect("no worker panics");
                let said = keep(&mut table, outcome)?;
                bar.say(&format!("{:<18} {said}", all[job.experiment].prepared.network.name));
                Ok(())
            });
            if let Err(e) = kept {
                // kept before the others are told to end, so that it is this error that is told
                failed.lock().expect("no worker panics").get_or_insert(e);
                stop.store(true, Ordering::SeqCst);
            }
        }
    };
    std::thread::scope(|scope| (0..jobs).for_each(|_| drop(scope.spawn(worker))));
    bar.bar.finish_and_clear();
    for (e, table) in experiments.iter_mut().zip(tables) {
        e.results = table.into_inner().expect("no worker panics");
    }
    let left = queue.into_inner().expect("no worker panics").len();
    match failed.into_inner().expect("no worker panics") {
        Some(Error::Interrupted { .. }) | None if stop.load(Ordering::SeqCst) => {
            let kept = format!("; the cells that had ended are kept, {left} had not begun: the same command goes on");
            Err(Error::Interrupted { kept })
        }
        Some(e) => Err(e),
        None => Ok(()),
    }
}

fn run_one(all: &[Experiment], job: Job, stop: &std::sync::atomic::AtomicBool, bar: &Bar) -> Result<Outcome> {
    let e = &all[job.experiment];
    let seen = AtomicU64::new(0);
    let follow = |total: u64| {
        let (seen, total) = (&seen, total.max(1));
        move |step: u64| {
            let new = step.saturating_sub(seen.fetch_max(step, Ordering::Relaxed));
            bar.advance(job.seconds * new as f64 / total as f64);
        }
    };
    match (job.cell.map(|i| &e.cells[i]), &e.check) {
        (Some(cell), _) => Ok(Outcome::Cell(Box::new(cell.run(&e.prepared, stop, &follow(cell.steps))?))),
        (None, Some(check)) => Ok(Outcome::Check(Box::new(check.run(&e.prepared, &follow(check.steps))?))),
        (None, None) => unreachable!("only what the plan has is queued"),
    }
}

/// Keeps a result, on disk too, and says what it was.
fn keep(table: &mut Results, outcome: Outcome) -> Result<String> {
    let number = |v: Option<f64>| v.map_or("–".into(), crate::cli::loss);
    let said = match outcome {
        Outcome::Cell(done) => {
            let r = &done.row;
            let accuracy = r.test_accuracy.map_or(String::new(), |a| format!(", accuracy {:.2} %", 100.0 * a));
            let score = r.score.map_or(String::new(), |s| format!(", score {s:.2}"));
            let said = format!(
                "{:<24} seed {:<3} loss {} train, {} test{accuracy}{score}, {} of {} steps skipped, {}, {:.1} s",
                r.variant,
                r.seed,
                number(r.train_loss),
                number(r.test_loss),
                r.skipped,
                r.steps,
                r.outcome,
                r.seconds
            );
            table.rows.push(done.row);
            table.points.extend(done.points);
            table.bins.extend(done.bins);
            table.images.extend(done.images);
            said
        }
        Outcome::Check(m) => {
            let said = format!(
                "{RTL:<24} {} steps equal, {} elements compared, {:.1} s",
                m.steps_equal, m.elements, m.seconds
            );
            table.machine.push(*m);
            said
        }
    };
    table.save()?;
    Ok(said)
}

/// Progress over all cells: a bar on a terminal, a line per cell elsewhere.
struct Bar {
    bar: ProgressBar,
    shown: bool,
}

impl Bar {
    fn new(queue: &[Job], non_interactive: bool) -> Bar {
        let shown = !non_interactive && std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let milliseconds = queue.iter().map(|j| 1e3 * j.seconds).sum::<f64>() as u64;
        let bar = ProgressBar::with_draw_target(Some(milliseconds), target);
        let style = ProgressStyle::with_template("{bar:30} {percent} % [{elapsed}<{eta}]");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Bar { bar, shown }
    }

    fn advance(&self, seconds: f64) {
        self.bar.inc((1e3 * seconds) as u64);
    }

    fn say(&self, text: &str) {
        if self.shown { self.bar.suspend(|| eprintln!("{text}")) } else { eprintln!("{text}") }
    }
}
