//! `systole bench sim`: how fast the simulated hardware is simulated.

use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::{Common, WORKLOADS};
use crate::driver::device::{DeviceKind, DeviceOptions};
use crate::driver::rtl;
use crate::driver::session::Hyper;
use crate::error::{Error, Result};

/// Arrays that are measured where `--lanes` names none.
const LANES: [u32; 3] = [4, 8, 16];
/// Threads that are measured where `--sim-threads` names none.
const THREADS: [u32; 2] = [1, 2];
/// Repetitions, of which the fastest counts: what disturbs a measurement only ever slows it down.
const ROUNDS: usize = 20;
/// Steps of a repetition.
const STEPS: usize = 5;

/// How fast the simulated hardware is simulated: arrays of 4, 8 and 16 lanes, on one thread and on two
///
/// Without --lanes and --sim-threads, all of them are measured.
#[derive(Debug, Args)]
pub(in crate::cli) struct SimArgs {
    #[command(flatten)]
    common: Common,
    /// Time how long each simulator takes to be built from nothing but tools and sources, too
    #[arg(long)]
    build: bool,
}

#[derive(Serialize)]
struct Row {
    model: &'static str,
    batch: u32,
    lanes: u32,
    threads: u32,
    cycles_per_step: u64,
    /// Simulated clock while training, in kHz; the fastest repetition.
    khz: f64,
    /// The repetition in the middle.
    khz_median: f64,
    ms_per_step: f64,
    /// To build the simulator from nothing but tools and sources.
    build_seconds: Option<f64>,
    /// To open the device once it has been built, until its firmware has answered.
    cached_seconds: f64,
}

fn measure(common: &Common, lanes: u32, threads: u32, build: bool) -> Result<Row> {
    let w = &WORKLOADS[0];
    let options = DeviceOptions { sim_threads: Some(threads), ..common.device.options() };
    // The first opening builds what is missing.
    drop(w.session_with(&options, lanes)?);
    let started = Instant::now();
    let (mut session, data) = w.session_with(&options, lanes)?;
    let cached = started.elapsed().as_secs_f64();
    if session.device().kind != DeviceKind::Rtl {
        return Err(Error::value("--device", &common.device.device, "only rtl is simulated cycle by cycle"));
    }
    let order: Vec<usize> = (0..w.batch as usize * STEPS).map(|i| i % data.len()).collect();
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let before = session.device().link.cycles().unwrap_or(0);
        let started = Instant::now();
        session.train(&data, &order, &[Hyper { lr: 0.05, momentum: 0.9 }], |_, _, _| Ok(()))?;
        let seconds = started.elapsed().as_secs_f64();
        let cycles = session.device().link.cycles().unwrap_or(0) - before;
        rounds.push((cycles as f64 / seconds / 1000.0, cycles));
    }
    rounds.sort_by(|a, b| b.0.total_cmp(&a.0));
    let ((khz, cycles), round) = (rounds[0], |v: f64| (v * 1000.0).round() / 1000.0);
    let cycles_per_step = cycles / STEPS as u64;
    Ok(Row {
        model: w.model,
        batch: w.batch,
        lanes,
        threads,
        cycles_per_step,
        khz: round(khz),
        khz_median: round(rounds[ROUNDS / 2].0),
        ms_per_step: round(cycles as f64 / STEPS as f64 / khz),
        build_seconds: if build { Some(round(rtl::time_build(w.machine(lanes), threads)?)) } else { None },
        cached_seconds: round(cached),
    })
}

pub(super) fn run(args: SimArgs) -> Result<()> {
    let common = args.common;
    let mut rows = Vec::new();
    for lanes in common.device.lanes.map_or(LANES.to_vec(), |n| vec![n]) {
        for threads in common.device.sim_threads.map_or(THREADS.to_vec(), |t| vec![t]) {
            rows.push(measure(&common, lanes, threads, args.build)?);
        }
    }
    common.publish(rows, |rows| {
        let mut out = vec![format!(
            "{:<14} {:>5} {:>5} {:>7} {:>11} {:>7} {:>7} {:>8} {:>9} {:>9}",
            "model", "batch", "lanes", "threads", "cycles/step", "kHz", "median", "ms/step", "build s", "cached s"
        )];
        for r in rows {
            out.push(format!(
                "{:<14} {:>5} {:>5} {:>7} {:>11} {:>7.0} {:>7.0} {:>8.2} {:>9} {:>9.1}",
                r.model,
                r.batch,
                r.lanes,
                r.threads,
                r.cycles_per_step,
                r.khz,
                r.khz_median,
                r.ms_per_step,
                super::cell(r.build_seconds.map(|s| format!("{s:.1}"))),
                r.cached_seconds
            ));
        }
        out.join("\n")
    })
}
