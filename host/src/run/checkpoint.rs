//! Checkpoints: one safetensors file with everything that a run is.
//!
//! Tensors: master weights under PyTorch's names (FP32), optimizer state as `optimizer.<name of the weight>.<name of the
//! state>`. Metadata: `model`, `data`, `seed`, `epoch`, `step`, `config` (JSON), and `scaler` (the firmware's state words,
//! JSON, as `systole_isa::frame::scaler` orders them).

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};

use crate::compile::Parameter;
use crate::driver::session::Weights;
use crate::error::Result;
use crate::npy::write_atomically;

/// Writes a checkpoint, whole or not at all.
pub fn save(path: &Path, parameters: &[Parameter], weights: &Weights, metadata: HashMap<String, String>) -> Result<()> {
    let bytes = |v: &[f32]| v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (i, p) in parameters.iter().enumerate() {
        tensors.push((p.name.clone(), p.shape.clone(), bytes(&weights.masters[i])));
        for ((name, _), values) in p.state.iter().zip(&weights.state[i]) {
            tensors.push((format!("optimizer.{}.{name}", p.name), p.shape.clone(), bytes(values)));
        }
    }
    let views = tensors.iter().map(|(name, shape, data)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), data).expect("shape and data agree"))
    });
    let file = safetensors::serialize(views, Some(metadata)).expect("names differ");
    write_atomically(path, &file)
}
