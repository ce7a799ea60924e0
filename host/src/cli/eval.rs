//! `systole eval`.

use clap::Args;

use super::{CheckpointArgs, DeviceArgs, OutputArgs};
use crate::error::Result;
use crate::run::evaluate::{Evaluation, evaluate};

/// Loss and accuracy of a checkpoint
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  systole eval runs/digits-mlp-64-32-10-s0 --device model
  systole eval digits-mlp-64-32-10-s0 --data more.csv")]
pub(super) struct EvalArgs {
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// Another data set than the one that it was trained on
    #[arg(long, value_name = "digits|mnist-sample|DIR|FILE")]
    data: Option<String>,
    /// The moving average of the weights, where the run kept one (`train --ema`)
    #[arg(long)]
    ema: bool,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl EvalArgs {
    pub(super) fn run(self) -> Result<()> {
        let result = evaluate(&self.checkpoint.path(), self.data, self.ema, &self.device.options())?;
        self.output.print(&result, text);
        Ok(())
    }
}

fn text(e: &Evaluation) -> String {
    let line = |name, loss, accuracy, rows| {
        let loss = super::loss(loss);
        format!("{name}  loss {loss}  accuracy {:.2} %  of {rows} rows", 100.0 * accuracy)
    };
    [
        format!("{} after {} steps, on {}", e.model, e.steps, e.data),
        line("test    ", e.test_loss, e.test_accuracy, e.test_rows),
        line("training", e.train_loss, e.train_accuracy, e.train_rows),
    ]
    .join("\n")
}
