//! `systole plan`.

use clap::Args;
use serde::Serialize;
use systole_isa::machine::Machine;

use super::OutputArgs;
use crate::compile::plan::Class;
use crate::compile::{self, Recipe};
use crate::error::{Error, Result};
use crate::run::{TrainOptions, model_settings, parse_model};

/// Print where a network's tensors lie, and how long they live
///
/// Compiles the network for the simulated machine, without a device, and prints every tensor, the bytes of each class
/// against the same network in FP32, the peak, the program's size, and the cycles that the cost model expects.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// A model file, or mlp:IN-HIDDEN-…-OUT
    #[arg(default_value = "mlp:64-32-10", value_name = "MODEL")]
    model: String,
    /// Rows per step [default: the model file's, or 32]
    #[arg(long, value_name = "ROWS")]
    batch: Option<u32>,
    /// Lanes of the systolic array
    #[arg(long, default_value_t = 8, value_name = "N")]
    lanes: u32,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct ClassBytes {
    class: String,
    mixed: u32,
    fp32: u32,
}

#[derive(Serialize)]
struct Planned {
    model: String,
    batch: u32,
    parameters: usize,
    macs_per_step: u64,
    program_words: u32,
    predicted_cycles: u64,
    peak_bytes: u32,
    classes: Vec<ClassBytes>,
    #[serde(skip)]
    table: String,
}

impl PlanArgs {
    pub(super) fn run(self) -> Result<()> {
        let machine = Machine::with_lanes(self.lanes);
        if let Some(rule) = machine.invalid() {
            return Err(Error::value("--lanes", self.lanes, rule));
        }
        let usual = TrainOptions::default();
        let (model, settings) = (parse_model(&self.model)?, model_settings(&self.model)?);
        let batch = self.batch.or(settings.batch).unwrap_or(usual.batch);
        let options = settings.apply(usual);
        let recipes: Vec<Recipe> = options.of_phases(&model).iter().map(TrainOptions::recipe).collect();
        let compiled =
            compile::model(&model, batch, &recipes, machine).map_err(|e| Error::from_compiler(&model.name, e))?;
        let plan = &compiled.plan;
        let class = |c: Class| ClassBytes {
            class: c.name().into(),
            mixed: plan.class_bytes(c),
            fp32: plan.class_bytes_fp32(c),
        };
        let planned = Planned {
            model: model.name.clone(),
            batch,
            parameters: model.graph.parameters.iter().map(|p| p.len()).sum(),
            macs_per_step: compiled.macs_per_step,
            program_words: plan.program_words,
            predicted_cycles: compiled.predicted_step(),
            peak_bytes: plan.peak_bytes(),
            classes: Class::ALL.into_iter().map(class).collect(),
            table: plan.to_string(),
        };
        self.output.print(&planned, |p| {
            let cycles = p.predicted_cycles;
            let busy = p.macs_per_step as f64 / (cycles as f64 * f64::from(machine.lanes).powi(2));
            format!(
                "{}\n{}: {} parameters, batch {}, {} multiply-accumulates a step in about {cycles} cycles ({:.1} % of peak)",
                p.table,
                p.model,
                p.parameters,
                p.batch,
                p.macs_per_step,
                100.0 * busy
            )
        });
        Ok(())
    }
}
