//! `systole verify lockstep`: a network in training on a device and on the model, compared after every segment.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::table::{TableArgs, command_line};
use crate::cli::task::TaskArgs;
use crate::cli::{DeviceArgs, OutputArgs};
use crate::compile::{self, Recipe};
use crate::data::dropout::Moment;
use crate::data::permutation;
use crate::driver::Device;
use crate::driver::device::{DeviceOptions, refuse_trace};
use crate::driver::lockstep::{Compared, Found, Lockstep, Task, recorded};
use crate::driver::session::Hyper;
use crate::driver::trace::outcome;
use crate::error::{Error, Result};
use crate::run::{TrainOptions, initial_weights, prepare};

/// Train on the device and on the model side by side, and compare their memories after every segment
///
/// A segment is one of the two programs of a step: forward, loss and backward; or the update. All memory that the network uses is
/// compared after each, and all memory that there is after the last. At the first difference the step is
/// repeated with beginnings of its segment until the instruction is found that makes it: it is named with its first wrong
/// element and both values, and the command exits with 8.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  systole verify lockstep --steps 50
  systole verify lockstep models/gru-digits.toml --steps 10
  systole verify lockstep --optimizer adamw --weight-decay 0.01 --clip-norm 1 --accumulate 2")]
pub(in crate::cli) struct LockstepArgs {
    #[command(flatten)]
    device: DeviceArgs,
    /// Steps to compare, at most those of the run
    #[arg(long, default_value_t = 20, value_name = "COUNT", allow_negative_numbers = true)]
    steps: u64,
    /// Where a difference is found, repeat the step up to its instruction once more and record the hardware's signals into this
    /// file. The simulator for it is built separately, once
    #[arg(long, value_name = "FILE.fst")]
    trace_fst: Option<PathBuf>,
    #[command(flatten)]
    task: TaskArgs,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl LockstepArgs {
    pub(super) fn run(self) -> Result<()> {
        let options = self.task.options(self.device.options())?;
        if let Some(path) = &self.trace_fst {
            refuse_trace(&recorded(&options.device, path))?;
        }
        let device = Device::open(&options.device)?;
        let info = device.info;
        let command = command_line();
        eprintln!("{command}");
        let mut said = Instant::now();
        let summary = verify_lockstep(device, &options, self.steps, self.trace_fst.as_deref(), |c| {
            if said.elapsed() >= Duration::from_secs(5) {
                said = Instant::now();
                eprintln!("{} of {} steps agree …", c.steps, self.steps);
            }
        })?;
        let c = &summary.compared;
        let row = [
            options.device.name.clone(),
            info.machine.lanes.to_string(),
            format!("{:08x}", info.design_hash),
            summary.network.clone(),
            c.steps.to_string(),
            c.skipped.to_string(),
            c.segments.to_string(),
            c.instructions.to_string(),
            c.elements.to_string(),
            // the first difference is an error, and makes no row
            "0".to_string(),
            summary.weights_sha256.clone(),
            options.seed.to_string(),
            format!("{:.1}", summary.seconds),
        ];
        self.table.add(&COLUMNS, &command, &[row])?;
        self.output.print(&summary, text);
        Ok(())
    }
}

const COLUMNS: [&str; 13] = [
    "device",
    "lanes",
    "design",
    "network",
    "steps",
    "skipped",
    "segments",
    "instructions",
    "elements",
    "differences",
    "weights_sha256",
    "seed",
    "seconds",
];

/// What was compared; all of it agreed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LockstepSummary {
    /// The network.
    pub network: String,
    /// Counts.
    #[serde(flatten)]
    pub compared: Compared,
    /// SHA-256 of the weights after the last step, as in [`crate::run::TrainReport`].
    pub weights_sha256: String,
    /// Seconds of real time.
    pub seconds: f64,
}

fn text(s: &LockstepSummary) -> String {
    let c = &s.compared;
    format!(
        "{}: {} steps agree ({} of them skipped)\n\
         compared       {} elements of memory, after each of {} segments of {} instructions in all\n\
         weights        sha256 {}\n\
         took           {:.1} s",
        s.network, c.steps, c.skipped, c.elements, c.segments, c.instructions, s.weights_sha256, s.seconds
    )
}

/// Trains for at most `steps` steps on `device` and on the model; `each` is told what has been compared after every batch.
/// Where they differ and `trace` names a file, the hardware's signals are recorded up to the instruction that made them.
///
/// # Errors
/// [`Error::Mismatch`] with the instruction that makes the first difference; what training and the link say.
pub fn verify_lockstep(
    device: Device,
    options: &TrainOptions,
    steps: u64,
    trace: Option<&Path>,
    mut each: impl FnMut(&Compared),
) -> Result<LockstepSummary> {
    if steps == 0 {
        return Err(Error::value("--steps", 0, "without a step, nothing is checked"));
    }
    let begun = Instant::now();
    let (model, data) = prepare(options)?;
    let machine = device.info.machine;
    let phases = options.of_phases(&model);
    let recipes: Vec<Recipe> = phases.iter().map(TrainOptions::recipe).collect();
    let compiled =
        compile::model(&model, options.batch, &recipes, machine).map_err(|e| Error::from_compiler(&model.name, e))?;
    let weights = initial_weights(options, &model);
    let schedule = options.schedule(data.train.len());
    let scalers = vec![options.scaler(); phases.len()];
    let task = Task { compiled: &compiled, weights: &weights, scalers, scale: data.scale, schedule };
    let right = Device::open_sized(&DeviceOptions { name: "model".into(), ..DeviceOptions::default() }, machine)?;
    let mut lockstep = Lockstep::start([device, right], &task)?;
    let hypers: Vec<Hyper> = phases.iter().map(|o| Hyper { lr: o.lr, momentum: o.momentum }).collect();
    let window = options.batch as usize * options.accumulate as usize;
    for epoch in 1..=options.epochs {
        let left = steps - lockstep.compared().steps;
        if left == 0 {
            break;
        }
        let epoch = u64::from(epoch);
        let mut order = permutation(options.seed, epoch, data.train.len());
        order.truncate(window.saturating_mul(left as usize));
        lockstep.set_moment(Moment { seed: options.seed, epoch, batch: 0 });
        if let Some(found) = lockstep.train(&data.train, &order, &hypers, |c, _| each(c))? {
            // the difference is what counts, with or without its picture
            if let Some(Err(e)) = trace.map(|path| record(&found, &task, &options.device, path)) {
                eprintln!("no trace: {e}\n help: {}", e.help());
            }
            return Err(found.error());
        }
    }
    lockstep.compare_all()?;
    Ok(LockstepSummary {
        network: model.name,
        compared: lockstep.compared().clone(),
        weights_sha256: lockstep.weights()?.sha256(),
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Records what the hardware does up to a difference, and says whether it shows again.
fn record(found: &Found, task: &Task, device: &DeviceOptions, path: &Path) -> Result<()> {
    let again = found.record(task, device, path)?;
    eprintln!("{}", outcome(path));
    if again != found.difference.found {
        eprintln!("recording, the device had {again:08x} there, not {:08x}", found.difference.found);
    }
    Ok(())
}
