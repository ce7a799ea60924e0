//! The update by itself, for every optimizer: cycles per parameter.

use serde::Serialize;

use super::cell;
use crate::compile::{self, Clip, Master, Optimizer, Recipe};
use crate::data::Dataset;
use crate::driver::device::{Device, DeviceOptions};
use crate::driver::requests::Registers;
use crate::driver::session::{Session, Weights, deadline};
use crate::error::{Error, Result};
use crate::graph::initialize;
use crate::run::{TrainOptions, parse_model};

/// One optimizer's update of all parameters.
#[derive(Serialize)]
pub(super) struct OptimizerRow {
    optimizer: &'static str,
    parameters: usize,
    /// FP32 and FP16 bytes that every parameter takes for good, its FP16 gradient included.
    bytes_per_parameter: u32,
    cycles: Option<u64>,
    cycles_per_parameter: Option<f64>,
    predicted_cycles: u64,
}

fn recipes() -> [(&'static str, Recipe); 14] {
    let plain: Recipe = Optimizer::Sgd { momentum: false }.into();
    let momentum: Recipe = Optimizer::Sgd { momentum: true }.into();
    let form = |dampening, nesterov| Recipe::from(Optimizer::Momentum { dampening, nesterov });
    let adam: Recipe = Optimizer::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 }.into();
    [
        ("sgd", plain),
        ("sgd, momentum", momentum),
        ("sgd, momentum, dampening", form(0.1, false)),
        ("sgd, nesterov", form(0.0, true)),
        ("sgd, momentum, l2", Recipe { weight_decay: 0.01, ..momentum }),
        ("sgd, momentum, decoupled", Recipe { weight_decay: 0.01, decoupled: true, ..momentum }),
        ("sgd, momentum, clip by value", Recipe { clip: Clip::Value(1.0), ..momentum }),
        ("sgd, momentum, clip by norm", Recipe { clip: Clip::Norm(1.0), ..momentum }),
        ("sgd, momentum, accumulation", Recipe { accumulate: 2, ..momentum }),
        ("sgd, momentum, average", Recipe { ema: Some(0.99), ..momentum }),
        ("sgd, momentum, FP16 weights", Recipe { master: Master::Half, ..momentum }),
        ("adagrad", Optimizer::Adagrad { eps: 1e-10 }.into()),
        ("adam", adam),
        ("adamw, clip by norm", Recipe { weight_decay: 0.01, decoupled: true, clip: Clip::Norm(1.0), ..adam }),
    ]
}

/// Runs the update of the default network once per optimizer.
pub(super) fn measure(options: &DeviceOptions) -> Result<Vec<OptimizerRow>> {
    let defaults = TrainOptions::default();
    let model = parse_model(&defaults.model)?;
    let scale = Dataset::digits().scale;
    let mut rows = Vec::new();
    let mut device = Device::open(options)?;
    for (optimizer, recipe) in recipes() {
        let has_cycles = device.has_cycles();
        let compiled = compile::network(&model.graph, defaults.batch, recipe, device.info.machine)
            .map_err(|e| Error::from_compiler(&model.name, e))?;
        let update = compiled.phases[0].update;
        let predicted_cycles = compiled.predicted[update as usize].cycles;
        let parameters = compiled.parameters.iter().map(|p| p.shape.iter().product::<usize>()).sum();
        let weights = Weights::from(initialize(&model.graph, 0));
        let mut session = Session::start(device, compiled, &weights, &[defaults.scaler()], scale)?;
        let link = &mut session.device().link;
        let registers = Registers { address: Vec::new(), scalar: recipe.scalars(0.01, 0.9, 0) };
        let ticket = link.run(update, deadline(predicted_cycles), &registers)?;
        let cycles = link.run_reply(ticket)?.cycles;
        let single = 1 + recipe.state_names().len() as u32 + u32::from(recipe.accumulate > 1);
        rows.push(OptimizerRow {
            optimizer,
            parameters,
            bytes_per_parameter: 4 * single + 4,
            cycles: has_cycles.then_some(cycles.into()),
            cycles_per_parameter: has_cycles.then(|| f64::from(cycles) / parameters as f64),
            predicted_cycles,
        });
        device = session.into_device();
    }
    Ok(rows)
}

/// The table as text.
pub(super) fn text(rows: &[OptimizerRow]) -> String {
    let mut out = vec![format!(
        "{:<30} {:>10} {:>9} {:>8} {:>10} {:>9}",
        "update", "parameters", "bytes/par", "cycles", "cycles/par", "predicted"
    )];
    for r in rows {
        out.push(format!(
            "{:<30} {:>10} {:>9} {:>8} {:>10} {:>9}",
            r.optimizer,
            r.parameters,
            r.bytes_per_parameter,
            cell(r.cycles),
            cell(r.cycles_per_parameter.map(|c| format!("{c:.3}"))),
            r.predicted_cycles
        ));
    }
    out.join("\n")
}
