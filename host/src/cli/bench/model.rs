//! `systole bench model`: a training step of `--device model`, in microseconds of one thread.

use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::{Common, WORKLOADS, Workload, peers};
use crate::driver::device::DeviceKind;
use crate::driver::session::Hyper;
use crate::error::{Error, Result};

/// Repetitions, of which the fastest counts: what disturbs a measurement only ever slows it down. They are many and short, so
/// that some of them meet nothing else on a processor that does other things, too.
const ROUNDS: usize = 300;

/// Microseconds per training step of the model, on one thread (with --device model)
#[derive(Debug, Args)]
pub(in crate::cli) struct ModelArgs {
    #[command(flatten)]
    common: Common,
    /// Time another library, candle, on the same networks in the same run: FP32, SGD with momentum, one thread. It is built first,
    /// which takes minutes
    #[arg(long)]
    peers: bool,
    /// Time PyTorch (FP32, and autocast to FP16) and NumPy in the same run, too, with this Python, which has them: pip install
    /// torch numpy
    #[arg(long, value_name = "PYTHON")]
    peers_python: Option<String>,
}

#[derive(Serialize)]
struct Row {
    library: String,
    model: &'static str,
    batch: u32,
    steps: usize,
    /// Wall time of a step, host and link included.
    us_per_step: f64,
    /// The repetition in the middle.
    us_median: f64,
    /// Of the fastest repetition; products only, a multiplication and an addition being two.
    gflops: f64,
    #[serde(skip)]
    macs: u64,
}

/// Steps of one repetition.
fn steps(w: &Workload) -> usize {
    if w.large { 5 } else { 20 }
}

/// GFLOP/s of a step's products, a multiplication and an addition being two.
fn gflops(macs: u64, us: f64) -> f64 {
    round(2e-3 * macs as f64 / us)
}

fn round(v: f64) -> f64 {
    (v * 100.0).round() / 100.0
}

fn measure(common: &Common, w: &Workload) -> Result<Row> {
    let (mut session, data) = w.session(common)?;
    if session.device().kind != DeviceKind::Model {
        return Err(Error::value("--device", &common.device.device, "this bench is about the model"));
    }
    let steps = steps(w);
    let order: Vec<usize> = (0..w.batch as usize * steps).map(|i| i % data.len()).collect();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        session.train(&data, &order, &[Hyper { lr: 0.05, momentum: 0.9 }], |_, _, _| Ok(()))?;
        times.push(1e6 * started.elapsed().as_secs_f64() / steps as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(Row {
        library: "systole model".into(),
        model: w.model,
        batch: w.batch,
        steps,
        us_per_step: round(times[0]),
        us_median: round(times[ROUNDS / 2]),
        gflops: gflops(session.compiled().macs_per_step, times[0]),
        macs: session.compiled().macs_per_step,
    })
}

pub(super) fn run(args: ModelArgs) -> Result<()> {
    let common = args.common;
    let mut rows = WORKLOADS.iter().map(|w| measure(&common, w)).collect::<Result<Vec<_>>>()?;
    let work: Vec<_> = WORKLOADS.iter().map(|w| (w, steps(w))).collect();
    let mut peers = if args.peers { peers::candle(&work, ROUNDS)? } else { Vec::new() };
    if let Some(python) = args.peers_python {
        peers.extend(peers::python(&python, &work, ROUNDS)?);
    }
    for (i, p) in peers.into_iter().enumerate() {
        let Row { model, batch, steps, macs, .. } = rows[i % work.len()];
        rows.push(Row {
            library: p.library,
            us_per_step: p.us_per_step,
            us_median: p.us_median,
            gflops: gflops(macs, p.us_per_step),
            model,
            batch,
            steps,
            macs,
        });
    }
    common.publish(rows, |rows| {
        let mut out = vec![format!(
            "{:<21} {:<16} {:>5} {:>9} {:>11} {:>8}",
            "library", "model", "batch", "µs/step", "median", "GFLOP/s"
        )];
        for r in rows {
            out.push(format!(
                "{:<21} {:<16} {:>5} {:>9.1} {:>11.1} {:>8.2}",
                r.library, r.model, r.batch, r.us_per_step, r.us_median, r.gflops
            ));
        }
        out.join("\n")
    })
}
