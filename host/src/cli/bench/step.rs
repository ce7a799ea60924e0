//! `systole bench step`: a whole training step.

use serde::Serialize;

use super::optimizers::{self, OptimizerRow};
use super::{Common, cell, digits_session};
use crate::driver::Device;
use crate::driver::requests::StepReply;
use crate::driver::session::Hyper;
use crate::error::Result;
use crate::run::TrainOptions;

/// Steps that `bench step` runs before it measures, and measures.
const WARM_UP: usize = 4;
const MEASURED: usize = 12;

#[derive(Serialize)]
struct StepRow {
    model: String,
    batch: u32,
    lanes: u32,
    cycles: Option<u64>,
    matrix_busy: Option<u64>,
    matrix_wait: Option<u64>,
    matrix_memory: Option<u64>,
    vector_busy: Option<u64>,
    vector_wait: Option<u64>,
    vector_memory: Option<u64>,
    predicted_cycles: u64,
}

/// The step of the default network, and the update of every optimizer by itself.
#[derive(Serialize)]
struct StepTable {
    device: String,
    rows: Vec<StepRow>,
    optimizers: Vec<OptimizerRow>,
}

pub(super) fn run(common: Common) -> Result<()> {
    let device = Device::open(&common.device.options())?;
    let (has_cycles, lanes) = (device.has_cycles(), device.info.machine.lanes);
    let (mut session, data) = digits_session(device)?;
    let mut replies: Vec<StepReply> = Vec::new();
    let batch = session.compiled().batch;
    let order: Vec<usize> = (0..batch as usize * (WARM_UP + MEASURED)).collect();
    session.train(&data.train, &order, Hyper { lr: 0.05, momentum: 0.9 }, |_, _, reply| {
        replies.push(*reply);
        Ok(())
    })?;
    let mean = |f: &dyn Fn(&StepReply) -> u32| {
        let sum: u64 = replies[WARM_UP..].iter().map(|r| u64::from(f(r))).sum();
        has_cycles.then_some(sum / MEASURED as u64)
    };
    let c = session.compiled();
    let row = StepRow {
        model: TrainOptions::default().model,
        batch,
        lanes,
        cycles: mean(&|r| r.cycles),
        matrix_busy: mean(&|r| r.counters[0]),
        matrix_wait: mean(&|r| r.counters[1]),
        matrix_memory: mean(&|r| r.counters[2]),
        vector_busy: mean(&|r| r.counters[3]),
        vector_wait: mean(&|r| r.counters[4]),
        vector_memory: mean(&|r| r.counters[5]),
        predicted_cycles: [c.step.compute, c.step.update].iter().map(|&i| c.predicted[i as usize].cycles).sum(),
    };
    drop(session);
    let optimizers = optimizers::measure(&common.device.options())?;
    let table = StepTable { device: common.device.device.clone(), rows: vec![row], optimizers };
    common.output.print(&table, |t| {
        let r = &t.rows[0];
        format!(
            "{} batch {} lanes {}: {} cycles a step (predicted {})\n matrix engine: busy {}, waiting for others {}, for memory {}\n \
             vector engine: busy {}, waiting for others {}, for memory {}\n\n{}",
            r.model, r.batch, r.lanes, cell(r.cycles), r.predicted_cycles, cell(r.matrix_busy), cell(r.matrix_wait),
            cell(r.matrix_memory), cell(r.vector_busy), cell(r.vector_wait), cell(r.vector_memory),
            optimizers::text(&t.optimizers)
        )
    });
    Ok(())
}
