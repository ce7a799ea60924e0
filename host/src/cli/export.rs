//! `systole export`.

use std::path::PathBuf;

use clap::Args;

use super::{CheckpointArgs, OutputArgs};
use crate::error::Result;
use crate::run::evaluate::export;

/// Write a checkpoint's weights as safetensors that PyTorch loads
///
/// Names and shapes are those of torch.nn.Sequential: `0.weight` [out, in], `0.bias` [out], `2.weight`, ….
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  systole export runs/digits-mlp-64-32-10-s0 --out w.safetensors --f16
In PyTorch: model.load_state_dict(safetensors.torch.load_file(\"w.safetensors\")), where model is the
torch.nn.Sequential of Linear, ReLU, Linear, … with the same sizes")]
pub(super) struct ExportArgs {
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// FP16, rounded as the device does it, instead of the FP32 master copies
    #[arg(long, conflicts_with = "f32")]
    f16: bool,
    /// The FP32 master copies (the default)
    #[arg(long)]
    f32: bool,
    /// The moving average of the weights, where the run kept one (`train --ema`)
    #[arg(long)]
    ema: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl ExportArgs {
    pub(super) fn run(self) -> Result<()> {
        let result = export(&self.checkpoint.path(), &self.out, self.f16, self.ema)?;
        if result.overflowed > 0 {
            eprintln!("{} weights are too large for FP16 and became infinite", result.overflowed);
        }
        self.output
            .print(&result, |r| format!("{} tensors, {} elements, {} in {}", r.tensors, r.elements, r.dtype, r.out));
        Ok(())
    }
}
