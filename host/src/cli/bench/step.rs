//! `systole bench step`: a whole training step in the steady state, split by cause; a roofline.

use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use systole_isa::frame::step::Outcome;

use super::optimizers::{self, OptimizerRow};
use super::roofline::{self, Point};
use super::{Common, WORKLOADS, Workload, cell, write_csv};
use crate::data::Rows;
use crate::driver::requests::StepReply;
use crate::driver::session::{Hyper, Session};
use crate::error::{Error, Result};

#[derive(Debug, Args)]
pub(in crate::cli) struct StepArgs {
    #[command(flatten)]
    common: Common,
    /// Draw a roofline of the steps there, as SVG
    #[arg(long, value_name = "FILE")]
    roofline: Option<PathBuf>,
}

/// Steps before the measured ones in the same run, and after them: these fill the pipeline of host, link and device, the last
/// has no next batch to send.
const BEFORE: usize = 2;
const AFTER: usize = 1;
/// Steps in which the loss scale may fall until gradients are finite. A step that skips its update would say nothing.
const SETTLING: usize = 40;

const HYPER: Hyper = Hyper { lr: 0.05, momentum: 0.9 };

#[derive(Serialize)]
struct Row {
    model: &'static str,
    batch: u32,
    lanes: u32,
    hmem_words: u32,
    smem_words: u32,
    acc_rows: u32,
    /// From one step's reply to the next, by the device's clock, with everything that happens in between. The five parts
    /// below add up to it.
    cycles: Option<u64>,
    predicted_cycles: u64,
    macs: u64,
    /// MACs / lanes².
    mac_bound: u64,
    /// The array takes a row.
    array: Option<u64>,
    /// The matrix engine has an instruction, but streams no row: it waits for the vector engine, fills or drains.
    matrix_idle: Option<u64>,
    /// A segment runs, and the matrix engine has nothing: mostly the update.
    vector_alone: Option<u64>,
    /// Exposed firmware: between a step's launch and its reply no segment runs.
    firmware: Option<u64>,
    /// Between a step's reply and the next one's launch: what of the update runs behind the reply, then exposed link and
    /// firmware. The next batch is still on its way into memory, or its request is being read.
    between: Option<u64>,
    /// Of `array` and `matrix_idle`: cycles in which an instruction waits for another.
    matrix_wait: Option<u64>,
    /// Cycles in which a read of the matrix engine was refused.
    matrix_memory: Option<u64>,
    vector_busy: Option<u64>,
    vector_wait: Option<u64>,
    vector_memory: Option<u64>,
    /// Payload bytes over the link per step.
    link_bytes: u64,
}

/// The steps, and the update of every optimizer by itself.
#[derive(Serialize)]
struct Report {
    device: String,
    rows: Vec<Row>,
    optimizers: Vec<OptimizerRow>,
}

/// Trains for some steps; what the device said of each.
fn train(session: &mut Session, data: &Rows, batch: u32, steps: usize) -> Result<Vec<StepReply>> {
    let order: Vec<usize> = (0..batch as usize * steps).map(|i| i % data.len()).collect();
    let mut replies = Vec::new();
    session.train(data, &order, &[HYPER], |_, _, phases| {
        replies.extend(phases);
        Ok(())
    })?;
    Ok(replies)
}

fn measure(common: &Common, w: &Workload) -> Result<Row> {
    let (mut session, data) = w.session(common)?;
    let has_cycles = session.device().has_cycles();
    let machine = session.device().info.machine;
    for _ in 0..SETTLING {
        if train(&mut session, &data, w.batch, 1)?[0].outcome == Outcome::Updated {
            break;
        }
    }
    let replies = train(&mut session, &data, w.batch, BEFORE + w.steps + AFTER)?;
    let measured = &replies[BEFORE..BEFORE + w.steps];
    if let Some(r) = measured.iter().find(|r| r.outcome != Outcome::Updated) {
        return Err(Error::Mismatch {
            what: format!("outcome of a measured step of {}", w.model),
            found: format!("{:?}", r.outcome),
            expected: format!("{:?}", Outcome::Updated),
        });
    }
    let mean = |f: &dyn Fn(&StepReply) -> u32| {
        let sum: u64 = measured.iter().map(|r| u64::from(f(r))).sum();
        has_cycles.then_some(sum / w.steps as u64)
    };
    let c = session.compiled();
    let slot = &c.phases[0].passes[0].slots[0];
    let difference = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a.saturating_sub(b));
    let passed = measured[w.steps - 1].end_cycle.wrapping_sub(replies[BEFORE - 1].end_cycle);
    let cycles = has_cycles.then_some(u64::from(passed) / w.steps as u64);
    let (launched, busy) = (mean(&|r| r.cycles), mean(&|r| r.counters[0]));
    // counters are read a little after the clock
    let fetch = mean(&|r| r.counters[6].min(r.cycles));
    let array = mean(&|r| r.counters[7]);
    Ok(Row {
        model: w.model,
        batch: w.batch,
        lanes: machine.lanes,
        hmem_words: machine.hmem_words,
        smem_words: machine.smem_words,
        acc_rows: machine.acc_rows,
        cycles,
        predicted_cycles: c.predicted_step(),
        macs: c.macs_per_step,
        mac_bound: c.macs_per_step / u64::from(machine.lanes).pow(2),
        array,
        matrix_idle: difference(busy, array),
        vector_alone: difference(fetch, busy),
        firmware: difference(launched, fetch),
        between: difference(cycles, launched),
        matrix_wait: mean(&|r| r.counters[1]),
        matrix_memory: mean(&|r| r.counters[2]),
        vector_busy: mean(&|r| r.counters[3]),
        vector_wait: mean(&|r| r.counters[4]),
        vector_memory: mean(&|r| r.counters[5]),
        link_bytes: u64::from(slot.input.cols * slot.input.rows + 2 * slot.labels.cols),
    })
}

/// Where the steps stand between what the link feeds and what the array can do.
fn points(rows: &[Row]) -> Vec<Point> {
    let mut points = Vec::new();
    for r in rows {
        let intensity = r.macs as f64 / r.link_bytes as f64;
        let name = format!("{} batch {}", r.model.trim_start_matches("mlp:"), r.batch);
        let mut add = |what: &str, cycles: Option<u64>| {
            let rate = cycles.filter(|&c| c > 0).map(|c| r.macs as f64 / c as f64);
            points.extend(rate.map(|rate| Point { label: format!("{name}, {what}"), intensity, rate }));
        };
        add("whole step", r.cycles);
        add("between launch and reply", r.cycles.zip(r.between).map(|(all, between)| all - between));
        add("while the array streams", r.array);
    }
    points
}

pub(super) fn run(args: StepArgs) -> Result<()> {
    let common = args.common;
    let rows = WORKLOADS.iter().map(|w| measure(&common, w)).collect::<Result<Vec<_>>>()?;
    if let Some(path) = &args.roofline {
        roofline::draw(path, rows[0].lanes, &points(&rows))?;
    }
    if let Some(path) = &common.csv {
        write_csv(path, &rows)?;
    }
    let optimizers = optimizers::measure(&common.device.options())?;
    common.output.print(&Report { device: common.device.device.clone(), rows, optimizers }, |r| {
        let steps: Vec<String> = r.rows.iter().map(text).collect();
        format!("{}\n\n{}", steps.join("\n"), optimizers::text(&r.optimizers))
    });
    Ok(())
}

fn text(r: &Row) -> String {
    let share = |v: Option<u64>| match (v, r.cycles) {
        (Some(v), Some(c)) => format!("{v:>8}  {:5.1} %", 100.0 * v as f64 / c as f64),
        _ => format!("{:>8}", "–"),
    };
    format!(
        "{} batch {}, {} lanes, hmem {} smem {}: {} cycles a step (segments predicted {}, MAC bound {})\n  \
         array streams                    {}\n  matrix waits, fills, drains      {}\n  vector engine alone (update)     {}\n  \
         firmware, exposed                {}\n  link and firmware between steps  {}\n  matrix engine: waiting for others {}, refused by memory {}\n  \
         vector engine: busy {}, waiting for others {}, refused by memory {}",
        r.model,
        r.batch,
        r.lanes,
        r.hmem_words,
        r.smem_words,
        cell(r.cycles),
        r.predicted_cycles,
        r.mac_bound,
        share(r.array),
        share(r.matrix_idle),
        share(r.vector_alone),
        share(r.firmware),
        share(r.between),
        cell(r.matrix_wait),
        cell(r.matrix_memory),
        cell(r.vector_busy),
        cell(r.vector_wait),
        cell(r.vector_memory)
    )
}
