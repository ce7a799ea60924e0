//! Flags that say what is trained on what, and how: those of `systole train` and `systole verify lockstep`.

use clap::Args;

use super::recipe::{RecipeArgs, ScalerArgs};
use crate::driver::device::DeviceOptions;
use crate::error::Result;
use crate::run::{TrainOptions, model_settings, parse_model};

/// Network, data, optimizer, loss scaling.
#[derive(Debug, Args)]
pub(super) struct TaskArgs {
    /// What to train on: the bundled `digits`, `mnist-sample`, `shakespeare-sample`, `reversal` or `digit-scenes`, a text (FILE.txt) for a model with an alphabet, a CSV
    /// or NPY file (whole numbers 0..=255, the class last), or a folder with
    /// MNIST's IDX files or with x_train.npy, y_train.npy, …; files may be compressed with gzip [default: digits]
    #[arg(long, value_name = "digits|mnist-sample|DIR|FILE")]
    data: Option<String>,
    /// A model file such as models/lenet-digits.toml; the settings in it are defaults of the flags below
    #[arg(value_name = "MODEL.toml", conflicts_with = "model")]
    model_file: Option<String>,
    /// The network: a model file, or fully connected layers with ReLU between them in this notation [default: mlp:64-32-10]
    #[arg(long, value_name = "mlp:IN-HIDDEN-…-OUT|FILE")]
    model: Option<String>,
    /// Passes over the training rows [default: 20]
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    epochs: Option<u32>,
    /// Rows per step; a last, smaller batch is used as it is [default: 32]
    #[arg(long, value_name = "ROWS", allow_negative_numbers = true)]
    batch: Option<u32>,
    /// Seed of initial weights and of the order of the rows. Equal seeds give equal weights, bit for bit, on any device
    /// [default: 0]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    scaler: ScalerArgs,
}

impl TaskArgs {
    /// With a model file's text in place of any other model.
    pub(super) fn of_model(mut self, text: &str) -> TaskArgs {
        (self.model_file, self.model) = (None, Some(text.into()));
        self
    }

    /// The options; a model file's settings count where no flag says otherwise.
    pub(super) fn options(self, device: DeviceOptions) -> Result<TrainOptions> {
        let usual = TrainOptions::default();
        let model = self.model_file.or(self.model).unwrap_or(usual.model);
        let file = model_settings(&model)?;
        let mut options = TrainOptions {
            device,
            data: self.data.or_else(|| file.data.clone()).unwrap_or(usual.data),
            model,
            epochs: self.epochs.or(file.epochs).unwrap_or(usual.epochs),
            batch: self.batch.or(file.batch).unwrap_or(usual.batch),
            seed: self.seed.or(file.seed).unwrap_or(usual.seed),
            ..TrainOptions::default()
        };
        if parse_model(&options.model)?.gan.is_some() {
            self.recipe.check_for_gan()?;
        }
        self.recipe.or(&file).apply(&mut options)?;
        self.scaler.or(&file).apply(&mut options)?;
        Ok(options)
    }
}
