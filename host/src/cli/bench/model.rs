//! `systole bench model`: a training step of `--device model`, in microseconds of one thread.

use std::time::Instant;

use serde::Serialize;

use super::{Common, WORKLOADS, Workload};
use crate::driver::device::DeviceKind;
use crate::driver::session::Hyper;
use crate::error::{Error, Result};

/// Repetitions, of which the fastest counts: what disturbs a measurement only ever slows it down.
const ROUNDS: usize = 7;

#[derive(Serialize)]
struct Row {
    model: &'static str,
    batch: u32,
    steps: usize,
    /// Wall time of a step, host and link included.
    us_per_step: f64,
    /// The slowest repetition.
    us_slowest: f64,
    gflops: f64,
}

fn measure(common: &Common, w: &Workload) -> Result<Row> {
    let (mut session, data) = w.session(common)?;
    if session.device().kind != DeviceKind::Model {
        return Err(Error::value("--device", &common.device.device, "this bench is about the model"));
    }
    let steps = if w.batch == 32 { 500 } else { 100 };
    let order: Vec<usize> = (0..w.batch as usize * steps).map(|i| i % data.len()).collect();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        session.train(&data, &order, Hyper { lr: 0.05, momentum: 0.9 }, |_, _, _| Ok(()))?;
        times.push(1e6 * started.elapsed().as_secs_f64() / steps as f64);
    }
    times.sort_by(f64::total_cmp);
    let round = |v: f64| (v * 100.0).round() / 100.0;
    Ok(Row {
        model: w.model,
        batch: w.batch,
        steps,
        us_per_step: round(times[0]),
        us_slowest: round(times[ROUNDS - 1]),
        gflops: round(2e-3 * session.compiled().macs_per_step as f64 / times[0]),
    })
}

pub(super) fn run(common: Common) -> Result<()> {
    let rows = WORKLOADS.iter().map(|w| measure(&common, w)).collect::<Result<Vec<_>>>()?;
    common.publish(rows, |rows| {
        let mut out =
            vec![format!("{:<16} {:>5} {:>9} {:>11} {:>8}", "model", "batch", "µs/step", "slowest", "GFLOP/s")];
        for r in rows {
            out.push(format!(
                "{:<16} {:>5} {:>9.1} {:>11.1} {:>8.2}",
                r.model, r.batch, r.us_per_step, r.us_slowest, r.gflops
            ));
        }
        out.join("\n")
    })
}
