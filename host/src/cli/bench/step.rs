//! `systole bench step`: a whole training step in the steady state, split by cause; a roofline.

use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

use super::optimizers::{self, OptimizerRow};
use super::roofline::{self, Point};
use super::{Common, WORKLOADS, Workload, cell, write_csv};
use crate::driver::requests::StepReply;
use crate::driver::session::Hyper;
use crate::error::Result;

#[derive(Debug, Args)]
pub(in crate::cli) struct StepArgs {
    #[command(flatten)]
    common: Common,
    /// Draw a roofline of the steps there, as SVG
    #[arg(long, value_name = "FILE")]
    roofline: Option<PathBuf>,
}

/// Steps that run before the measured ones.
const WARM_UP: usize = 2;

#[derive(Serialize)]
struct Row {
    model: &'static str,
    batch: u32,
    lanes: u32,
    hmem_words: u32,
    smem_words: u32,
    acc_rows: u32,
    /// From one step's reply to the next, with everything that happens in between.
    cycles: Option<u64>,
    predicted_cycles: u64,
    macs: u64,
    /// MACs / lanes².
    mac_bound: u64,
    /// The next four add up to `cycles`. The array takes a row.
    array: Option<u64>,
    /// The matrix engine has an instruction, but streams no row: it waits for the vector engine, fills or drains.
    matrix_idle: Option<u64>,
    /// Only the vector engine has work: the update.
    vector_alone: Option<u64>,
    /// No segment is in hand: firmware and link.
    exposed: Option<u64>,
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

fn measure(common: &Common, w: &Workload) -> Result<Row> {
    let (mut session, data) = w.session(common)?;
    let has_cycles = session.device().has_cycles();
    let machine = session.device().info.machine;
    let mut replies: Vec<StepReply> = Vec::new();
    let order: Vec<usize> = (0..w.batch as usize * (WARM_UP + w.steps)).map(|i| i % data.len()).collect();
    session.train(&data, &order, Hyper { lr: 0.05, momentum: 0.9 }, |_, _, reply| {
        replies.push(*reply);
        Ok(())
    })?;
    let mean = |f: &dyn Fn(&StepReply) -> u32| {
        let sum: u64 = replies[WARM_UP..].iter().map(|r| u64::from(f(r))).sum();
        has_cycles.then_some(sum / w.steps as u64)
    };
    let c = session.compiled();
    let difference = |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| a.saturating_sub(b));
    let (cycles, busy) = (mean(&|r| r.cycles), mean(&|r| r.counters[0]));
    let (fetch, array) = (mean(&|r| r.counters[6]), mean(&|r| r.counters[7]));
    Ok(Row {
        model: w.model,
        batch: w.batch,
        lanes: machine.lanes,
        hmem_words: machine.hmem_words,
        smem_words: machine.smem_words,
        acc_rows: machine.acc_rows,
        cycles,
        predicted_cycles: [c.step.compute, c.step.update].iter().map(|&i| c.predicted[i as usize].cycles).sum(),
        macs: c.macs_per_step,
        mac_bound: c.macs_per_step / u64::from(machine.lanes).pow(2),
        array,
        matrix_idle: difference(busy, array),
        vector_alone: difference(fetch, busy),
        exposed: difference(cycles, fetch),
        matrix_wait: mean(&|r| r.counters[1]),
        matrix_memory: mean(&|r| r.counters[2]),
        vector_busy: mean(&|r| r.counters[3]),
        vector_wait: mean(&|r| r.counters[4]),
        vector_memory: mean(&|r| r.counters[5]),
        link_bytes: u64::from(c.input.cols * c.input.rows + 2 * c.labels.cols),
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
         firmware and link, exposed       {}\n  matrix engine: waiting for others {}, refused by memory {}\n  \
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
        share(r.exposed),
        cell(r.matrix_wait),
        cell(r.matrix_memory),
        cell(r.vector_busy),
        cell(r.vector_wait),
        cell(r.vector_memory)
    )
}
