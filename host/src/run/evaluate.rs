//! A trained network from its checkpoint: loss and accuracy on a device, weights for other programs.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;

use super::checkpoint::Checkpoint;
use super::options::TrainOptions;
use super::training::prepare;
use crate::compile;
use crate::driver::Device;
use crate::driver::device::DeviceOptions;
use crate::driver::session::{Score, Session, Weights};
use crate::error::{Error, Result};
use crate::npy::{round_f16, write_atomically};

/// Scores of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// The checkpoint.
    pub checkpoint: String,
    /// The network.
    pub model: String,
    /// The data set.
    pub data: String,
    /// Steps that it was trained for.
    pub steps: u64,
    /// Training rows.
    pub train_rows: usize,
    /// Mean loss over them.
    pub train_loss: f64,
    /// Those predicted right, 0..=1.
    pub train_accuracy: f64,
    /// Test rows.
    pub test_rows: usize,
    /// Mean loss over them.
    pub test_loss: f64,
    /// Those predicted right, 0..=1.
    pub test_accuracy: f64,
    /// SHA-256 of the master weights, as training reports it.
    pub weights_sha256: String,
}

/// Evaluates a checkpoint on `data`, or on what it was trained on; with `average` the moving average of its weights.
pub fn evaluate(path: &Path, data: Option<String>, average: bool, device: &DeviceOptions) -> Result<Evaluation> {
    let checkpoint = Checkpoint::load(path)?;
    let config = checkpoint.config()?;
    let batch = config["batch"].as_u64().and_then(|b| u32::try_from(b).ok());
    let options = TrainOptions {
        model: checkpoint.fact("model")?.into(),
        data: data.map_or_else(|| checkpoint.data_source().map(Into::into), Ok)?,
        batch: batch.unwrap_or(TrainOptions::default().batch),
        // state of the optimizer has no say in an evaluation
        momentum: 0.0,
        ..TrainOptions::default()
    };
    let (model, data) = prepare(&options)?;
    if model.gan.is_some() {
        return Err(Error::NotForGans {
            command: "eval",
            model: model.name,
            reason: "it predicts nothing that could be right or wrong",
            help: "look at samples.svg in the run's folder",
        });
    }
    let device = Device::open(device)?;
    let compiled = compile::network(&model.graph, options.batch, options.optimizer(), device.info.machine)
        .map_err(|e| Error::from_compiler(&model.name, e))?;
    let masters = match average {
        true => checkpoint.averages_of(&compiled.parameters)?,
        false => checkpoint.masters_of(&compiled.parameters)?,
    };
    let buffers = checkpoint.buffers_of(&compiled.buffers)?;
    let weights = Weights { masters, buffers, ..Weights::default() };
    // features scaled as in training, whatever the largest one here is
    let scale = config["feature_scale"].as_f64().map_or(data.scale, |s| s.log2() as i8);
    let mut session = Session::start(device, compiled, &weights, &[options.scaler()], scale)?;
    let (train, test): (Score, Score) = (session.evaluate(&data.train)?, session.evaluate(&data.test)?);
    Ok(Evaluation {
        checkpoint: path.display().to_string(),
        model: model.name.clone(),
        data: data.name.clone(),
        steps: checkpoint.position()?.steps,
        train_rows: train.rows,
        train_loss: train.mean_loss(),
        train_accuracy: train.accuracy(),
        test_rows: test.rows,
        test_loss: test.mean_loss(),
        test_accuracy: test.accuracy(),
        weights_sha256: weights.sha256(),
    })
}

/// What an export wrote.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exported {
    /// The file.
    pub out: String,
    /// `F16` or `F32`.
    pub dtype: &'static str,
    /// Tensors.
    pub tensors: usize,
    /// Their elements.
    pub elements: usize,
    /// Finite FP32 weights that FP16 cannot hold and that became infinite.
    pub overflowed: usize,
}

/// Writes the master weights, in FP32 or rounded to FP16 as the device uses them, under PyTorch's names: `weight` is
/// `[out, in]`, as `torch.nn.Linear` keeps it. With `average` their moving average. Buffers go along as they are;
/// `num_batches_tracked` is a whole number there.
pub fn export(path: &Path, out: &Path, half: bool, average: bool) -> Result<Exported> {
    let checkpoint = Checkpoint::load(path)?;
    let dtype = if half { Dtype::F16 } else { Dtype::F32 };
    let (mut tensors, mut elements, mut overflowed) = (Vec::new(), 0, 0);
    let masters = checkpoint.masters().map(|m| (m, average)).chain(checkpoint.buffers().map(|b| (b, false)));
    for ((name, shape, kept), average) in masters {
        let values = if average { checkpoint.average_of(name)? } else { kept };
        elements += values.len();
        if name.ends_with(".num_batches_tracked") {
            let bytes = values.iter().flat_map(|&v| (v as i64).to_le_bytes()).collect();
            tensors.push((name, Dtype::I64, shape.to_vec(), bytes));
            continue;
        }
        let bytes: Vec<u8> = if half {
            let infinite = |v: &&f32| v.is_finite() && round_f16(**v) & 0x7fff == 0x7c00;
            overflowed += values.iter().filter(infinite).count();
            values.iter().flat_map(|&v| round_f16(v).to_le_bytes()).collect()
        } else {
            values.iter().flat_map(|v| v.to_le_bytes()).collect()
        };
        tensors.push((name, dtype, shape.to_vec(), bytes));
    }
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (*name, TensorView::new(*dtype, shape.clone(), data).expect("shape and data agree"))
    });
    let metadata = HashMap::from([
        ("format".to_string(), "pt".to_string()),
        ("model".to_string(), checkpoint.fact("model")?.to_string()),
    ]);
    let file = safetensors::serialize(views, Some(metadata)).expect("names differ");
    write_atomically(out, &file)?;
    let name = if half { "F16" } else { "F32" };
    Ok(Exported { out: out.display().to_string(), dtype: name, tensors: tensors.len(), elements, overflowed })
}
