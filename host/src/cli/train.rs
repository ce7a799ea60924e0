//! `systole train`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::progress::Bars;
use super::task::TaskArgs;
use super::trace::TraceArgs;
use super::{DeviceArgs, OutputArgs};
use crate::driver::device::DeviceOptions;
use crate::driver::trace::Span;
use crate::error::Result;
use crate::run::{Progress as _, TrainOptions, TrainReport, train, train_patiently};

/// Train a network
///
/// Without any flags: the bundled handwritten digits on the simulated hardware. Metrics, configuration and a checkpoint go to
/// runs/<name>/; Ctrl-C writes a checkpoint first, and --resume continues from it.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  systole train --device model --epochs 3              the hardware's bits, at once
  systole train --loss-scale-init 16777216             watch the scale back off
  systole train --data DIR --model mlp:784-32-10       a folder with MNIST's files; or --data mnist-sample
  systole train --resume runs/digits-mlp-64-32-10-s0   continue a run, with its other flags repeated
  systole train --trace-fst s.fst --trace-start step:12   the hardware's signals in step 12")]
pub(super) struct TrainArgs {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    task: TaskArgs,
    /// Show the firmware's log
    #[arg(long)]
    log: bool,
    /// ELF file of the firmware, which holds the strings of its log, for a device that this program did not start
    #[arg(long, value_name = "FILE")]
    firmware_elf: Option<PathBuf>,
    /// Folder that runs are kept in
    #[arg(long, default_value = "runs", value_name = "DIR")]
    runs: PathBuf,
    /// Name of the run's folder [default: from data, model and seed]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Write a checkpoint every so many steps, too; one is always written after an epoch and at Ctrl-C
    #[arg(long, value_name = "STEPS")]
    checkpoint_every: Option<u64>,
    /// Continue a run, bit for bit: its folder, its name in --runs, or a checkpoint file. Repeat the run's other flags;
    /// --epochs may grow, and the device may be another
    #[arg(long, value_name = "RUN|FILE")]
    resume: Option<PathBuf>,
    /// Where a device on a port is lost in mid-run, wait so long for it to come back, and go on from the last checkpoint
    #[arg(long, value_name = "SECONDS")]
    reconnect: Option<u32>,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl TrainArgs {
    pub(super) fn run(self) -> Result<()> {
        let device = DeviceOptions { trace: self.trace.options(Span::Steps(1..=1))?, ..self.device.options() };
        let options = TrainOptions {
            log: self.log,
            firmware_elf: self.firmware_elf,
            runs: self.runs,
            name: self.name,
            checkpoint_every: self.checkpoint_every,
            resume: self.resume,
            ..self.task.options(device)?
        };
        let mut bars = Bars::new(self.output.non_interactive);
        let report = match self.reconnect {
            Some(seconds) => train_patiently(&options, Duration::from_secs(seconds.into()), &mut bars),
            None => train(&options, &mut bars),
        };
        bars.finish();
        self.trace.report(report.is_err());
        self.output.print(&report?, text);
        Ok(())
    }
}

fn text(r: &TrainReport) -> String {
    let percent = |v: Option<f64>| v.map_or("–".into(), |v| format!("{:.2} %", 100.0 * v));
    let loss = |v: Option<f64>| v.map_or("–".into(), super::loss);
    let mut lines =
        vec![format!("{} on {}: {} epochs, {} steps, {} skipped", r.model, r.device, r.epochs, r.steps, r.skipped)];
    if r.phases.is_empty() {
        if r.test_accuracy.is_some() {
            let (test, train) = (percent(r.test_accuracy), percent(r.train_accuracy));
            lines.push(format!("test accuracy  {test}   (training rows {train})"));
        }
        lines.push(format!("final loss     {}", loss(r.final_loss)));
        lines.push(format!("loss scale     {}", r.loss_scale.unwrap_or(1.0)));
    }
    for p in &r.phases {
        let (name, loss) = (p.name, loss(p.final_loss));
        lines.push(format!("{name:<14} final loss {loss}, loss scale {}, {} skipped", p.loss_scale, p.skipped));
    }
    if let (Some(cycles), Some(u)) = (r.cycles, r.array_utilization) {
        lines.push(format!(
            "cycles         {cycles} ({} a step), array busy with products {:.1} %",
            cycles / r.steps.max(1),
            100.0 * u
        ));
    }
    if let Some(khz) = r.sim_khz {
        lines.push(format!("simulated at   {khz:.0} kHz"));
    }
    lines.push(format!("weights        sha256 {}", r.weights_sha256));
    lines.push(format!("run            {}", r.run_dir));
    lines.join("\n")
}
