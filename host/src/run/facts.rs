//! What a run says of itself: its settings, the identity of its data and program, its name.

use sha2::{Digest, Sha256};

use super::options::TrainOptions;
use crate::compile::Compiled;
use crate::data::Dataset;
use crate::driver::Device;
use crate::error::{Error, Result};
use crate::graph::Model;

/// Settings that may differ between a checkpoint and the run that continues it: results do not depend on them.
const FREE: [&str; 9] =
    ["device", "data", "epochs", "lanes", "vector_lanes", "design_hash", "firmware_hash", "isa_version", "version"];

/// A run's settings, and the device that it began on.
pub fn config(options: &TrainOptions, model: &Model, data: &Dataset, device: &Device) -> serde_json::Value {
    let m = device.info.machine;
    serde_json::json!({
        "device": options.device.name,
        "data": data.name,
        "model": model.name,
        "epochs": options.epochs,
        "batch": options.batch,
        "lr": options.lr,
        "momentum": options.momentum,
        "loss_scale": options.loss_scale,
        "loss_scale_init": f64::exp2(f64::from(options.loss_scale_init)),
        "growth_interval": options.growth_interval,
        "seed": options.seed,
        "feature_scale": f64::exp2(f64::from(data.scale)),
        "lanes": m.lanes,
        "vector_lanes": m.vector_lanes,
        "design_hash": format!("{:08x}", device.info.design_hash),
        "firmware_hash": format!("{:08x}", device.info.firmware_hash),
        "isa_version": systole_isa::ISA_VERSION,
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// Refuses to continue a run under settings other than its own.
///
/// # Errors
/// The first setting that differs, with both values.
pub fn same_settings(before: &serde_json::Value, now: &serde_json::Value) -> Result<()> {
    // both sides through text, so that decimal numbers are read alike
    let now: serde_json::Value = serde_json::from_str(&now.to_string()).expect("written as JSON");
    let (Some(before), Some(now)) = (before.as_object(), now.as_object()) else { return Ok(()) };
    let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
    keys.sort();
    for key in keys {
        let (a, b) = (before.get(key), now.get(key));
        if a != b && !FREE.contains(&key.as_str()) {
            let show = |v: Option<&serde_json::Value>| v.map_or("nothing".to_string(), ToString::to_string);
            return Err(Error::value(
                format!("--{}", key.replace('_', "-")),
                show(b),
                format!("the checkpoint's run has {}; repeat its flags, and add --resume", show(a)),
            ));
        }
    }
    Ok(())
}

/// SHA-256 of a data set's contents: width, scale, then features and labels of the training and of the test rows.
pub fn data_sha256(data: &Dataset) -> String {
    let mut hash = Sha256::new();
    hash.update((data.width as u64).to_le_bytes());
    hash.update(data.scale.to_le_bytes());
    for part in [&data.train, &data.test] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(&part.features);
        hash.update(&part.labels);
    }
    hex(hash)
}

/// SHA-256 of a program's words. It depends on the device's lanes and memories.
pub fn program_sha256(compiled: &Compiled) -> String {
    let mut hash = Sha256::new();
    compiled.program.iter().for_each(|w| hash.update(w.to_le_bytes()));
    hex(hash)
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// A run's name, where none is given.
pub fn default_name(data: &Dataset, model: &Model, seed: u64) -> String {
    let text = format!("{}-{}-s{seed}", data.name, model.name);
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
        .collect::<String>()
        .trim_matches('-')
        .into()
}
