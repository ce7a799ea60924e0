//! `systole inspect`.

use std::path::PathBuf;

use clap::Args;

use super::{CheckpointArgs, DeviceArgs, OutputArgs};
use crate::error::{Error, Result};
use crate::inspect::{InspectOptions, inspect};
use crate::npy::write_atomically;
use crate::report::histogram;

/// Histograms of the exponents of a checkpoint's weights and gradients, and which loss scales are safe for it
///
/// Gradients come from the device: batches of the training rows run forward and backward from the checkpoint, and nothing is
/// updated. The largest safe scale is found by running them, from 2^24 downwards, until no gradient overflows; the smallest
/// is the least power of two at which no more than --tolerance of the gradients' non-zero elements become 0 in FP16.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// Another data set than the one that it was trained on
    #[arg(long, value_name = "digits|mnist-sample|DIR|FILE")]
    data: Option<String>,
    /// Batches to take gradients of
    #[arg(long, default_value_t = 16, value_name = "COUNT", allow_negative_numbers = true)]
    batches: usize,
    /// Share of the non-zero gradient elements that the smallest safe scale may lose
    #[arg(long, default_value_t = 0.01, value_name = "SHARE", allow_negative_numbers = true)]
    tolerance: f64,
    /// Write weights.svg and gradients.svg into this folder
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl InspectArgs {
    pub(super) fn run(self) -> Result<()> {
        let options = InspectOptions {
            checkpoint: self.checkpoint.path(),
            data: self.data,
            device: self.device.options(),
            batches: self.batches,
            tolerance: self.tolerance,
        };
        let found = inspect(&options)?;
        if let Some(folder) = &self.svg {
            std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
            let weights = histogram("Weights (FP32 masters)", &found.weights.exponents, None);
            write_atomically(&folder.join("weights.svg"), weights.as_bytes())?;
            let scale = found.measured_at.log2() as i32;
            let title = "Gradients, without a loss scale";
            let gradients = histogram(title, &found.gradients.exponents, Some(scale));
            write_atomically(&folder.join("gradients.svg"), gradients.as_bytes())?;
        }
        self.output.print(&found, |f| f.to_string());
        Ok(())
    }
}
