//! `systole bench sim`: how fast the simulated hardware is simulated.

use std::time::Instant;

use serde::Serialize;

use super::{Common, WORKLOADS};
use crate::driver::device::DeviceKind;
use crate::driver::session::Hyper;
use crate::error::{Error, Result};

/// Arrays that are measured where `--lanes` names none.
const LANES: [u32; 3] = [4, 8, 16];
/// Steps over which speed is averaged.
const STEPS: usize = 45;

#[derive(Serialize)]
struct Row {
    model: &'static str,
    batch: u32,
    lanes: u32,
    threads: u32,
    cycles_per_step: u64,
    /// Simulated clock while training, in kHz.
    khz: f64,
    ms_per_step: f64,
}

pub(super) fn run(common: Common) -> Result<()> {
    let mut rows = Vec::new();
    let sizes = common.device.lanes.map_or(LANES.to_vec(), |n| vec![n]);
    for lanes in sizes {
        let w = &WORKLOADS[0];
        let (mut session, data) = w.session_with(&common, lanes)?;
        if session.device().kind != DeviceKind::Rtl {
            return Err(Error::value("--device", &common.device.device, "only rtl is simulated cycle by cycle"));
        }
        let order: Vec<usize> = (0..w.batch as usize * STEPS).map(|i| i % data.len()).collect();
        let before = session.device().link.cycles().unwrap_or(0);
        let started = Instant::now();
        session.train(&data, &order, Hyper { lr: 0.05, momentum: 0.9 }, |_, _, _| Ok(()))?;
        let seconds = started.elapsed().as_secs_f64();
        let cycles = session.device().link.cycles().unwrap_or(0) - before;
        let round = |v: f64| (v * 1000.0).round() / 1000.0;
        rows.push(Row {
            model: w.model,
            batch: w.batch,
            lanes,
            threads: 1,
            cycles_per_step: cycles / STEPS as u64,
            khz: round(cycles as f64 / seconds / 1000.0),
            ms_per_step: round(1000.0 * seconds / STEPS as f64),
        });
    }
    common.publish(rows, |rows| {
        let mut out = vec![format!(
            "{:<14} {:>5} {:>5} {:>7} {:>11} {:>7} {:>8}",
            "model", "batch", "lanes", "threads", "cycles/step", "kHz", "ms/step"
        )];
        for r in rows {
            out.push(format!(
                "{:<14} {:>5} {:>5} {:>7} {:>11} {:>7.0} {:>8.2}",
                r.model, r.batch, r.lanes, r.threads, r.cycles_per_step, r.khz, r.ms_per_step
            ));
        }
        out.join("\n")
    })
}
