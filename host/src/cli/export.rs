//! `systole export`.

use std::path::PathBuf;

use clap::Args;

use super::OutputArgs;
use crate::error::Result;
use crate::run::evaluate::export;
use crate::run::resume::find;

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
    /// The checkpoint: a file, a run's folder, or the name of a run in --runs
    #[arg(value_name = "RUN|FILE")]
    checkpoint: PathBuf,
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
    /// Folder that runs are kept in
    #[arg(long, default_value = "runs", value_name = "DIR")]
    runs: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

impl ExportArgs {
    pub(super) fn run(self) -> Result<()> {
        let result = export(&find(&self.checkpoint, &self.runs), &self.out, self.f16, self.ema)?;
        if result.overflowed > 0 {
            eprintln!("{} weights are too large for FP16 and became infinite", result.overflowed);
        }
        self.output
            .print(&result, |r| format!("{} tensors, {} elements, {} in {}", r.tensors, r.elements, r.dtype, r.out));
        Ok(())
    }
}
