//! `systole eval`.

use std::path::PathBuf;

use clap::Args;

use super::{DeviceArgs, OutputArgs};
use crate::error::Result;
use crate::run::evaluate::{Evaluation, evaluate};
use crate::run::resume::find;

/// Loss and accuracy of a checkpoint
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  systole eval runs/digits-mlp-64-32-10-s0 --device model
  systole eval digits-mlp-64-32-10-s0 --data more.csv")]
pub(super) struct EvalArgs {
    /// The checkpoint: a file, a run's folder, or the name of a run in --runs
    #[arg(value_name = "RUN|FILE")]
    checkpoint: PathBuf,
    /// Another data set than the one that it was trained on
    #[arg(long, value_name = "digits|DIR|FILE")]
    data: Option<String>,
    /// The moving average of the weights, where the run kept one (`train --ema`)
    #[arg(long)]
    ema: bool,
    /// Folder that runs are kept in
    #[arg(long, default_value = "runs", value_name = "DIR")]
    runs: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl EvalArgs {
    pub(super) fn run(self) -> Result<()> {
        let result = evaluate(&find(&self.checkpoint, &self.runs), self.data, self.ema, &self.device.options())?;
        self.output.print(&result, text);
        Ok(())
    }
}

fn text(e: &Evaluation) -> String {
    let line = |name, loss, accuracy, rows| {
        format!("{name}  loss {loss:.4}  accuracy {:.2} %  of {rows} rows", 100.0 * accuracy)
    };
    [
        format!("{} after {} steps, on {}", e.model, e.steps, e.data),
        line("test    ", e.test_loss, e.test_accuracy, e.test_rows),
        line("training", e.train_loss, e.train_accuracy, e.train_rows),
    ]
    .join("\n")
}
