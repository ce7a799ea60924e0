//! What a run says of itself: its settings, the identity of its data and program, its name.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::options::TrainOptions;
use super::schedule::Shape;
use crate::compile::{Clip, Compiled, Master};
use crate::data::Dataset;
use crate::driver::Device;
use crate::driver::device::HALF_SUMS;
use crate::error::{Error, Result};
use crate::graph::Model;

/// Settings that may differ between a checkpoint and the run that continues it: results do not depend on them.
const FREE: [&str; 10] = [
    "device",
    "data",
    "epochs",
    "max_skips",
    "lanes",
    "vector_lanes",
    "design_hash",
    "firmware_hash",
    "isa_version",
    "version",
];

/// A run's settings, and the device that it began on.
pub fn config(options: &TrainOptions, model: &Model, data: &Dataset, device: &Device) -> serde_json::Value {
    let m = device.info.machine;
    let (recipe, rules) = (options.recipe(), options.rules);
    let scale = |exponent: i32| f64::exp2(f64::from(exponent));
    let cosine = matches!(options.schedule, Shape::Cosine { .. });
    let (clip_norm, clip_value) = match options.clip {
        Clip::None => (None, None),
        Clip::Norm(limit) => (Some(limit), None),
        Clip::Value(limit) => (None, Some(limit)),
    };
    let mut all = json!({
        "device": options.device.name,
        "data": data.name,
        "model": model.name,
        "epochs": options.epochs,
        "batch": options.batch,
        "lr": options.lr,
        "optimizer": options.optimizer,
        "momentum": options.momentum,
        "nesterov": options.nesterov,
        "dampening": options.dampening,
        "betas": [options.betas.0, options.betas.1],
        "eps": options.eps,
        "weight_decay": options.weight_decay,
        "decay": if recipe.decoupled { "decoupled" } else { "l2" },
        "clip_norm": clip_norm,
        "clip_value": clip_value,
        "accumulate": options.accumulate,
        "ema": options.ema,
        "schedule": options.schedule.to_string(),
        "warmup": options.warmup,
        // a cosine depends on its end, whatever the number of epochs says
        "schedule_steps": cosine.then(|| options.schedule(data.train.len()).total),
        "master_weights": if options.master == Master::Half { "fp16" } else { "fp32" },
        "loss_scale": options.loss_scale,
        "loss_scale_init": f64::exp2(f64::from(options.loss_scale_init)),
        "growth_interval": options.growth_interval,
        "growth_factor": scale(rules.growth as i32),
        "backoff_factor": scale(-(rules.backoff as i32)),
        "scale_floor": scale(rules.floor),
        "scale_cap": scale(rules.cap),
        "hysteresis": rules.hysteresis,
        "hysteresis_refill": if rules.refill_on_growth { "growth" } else { "good-step" },
        "max_skips": options.max_skips,
        // not a setting of its own: the one device whose results differ
        "accumulation": if options.device.name == HALF_SUMS { "fp16" } else { "fp32" },
        "seed": options.seed,
        "feature_scale": f64::exp2(f64::from(data.scale)),
        "lanes": m.lanes,
        "vector_lanes": m.vector_lanes,
        "design_hash": format!("{:08x}", device.info.design_hash),
        "firmware_hash": format!("{:08x}", device.info.firmware_hash),
        "isa_version": systole_isa::ISA_VERSION,
        "version": env!("CARGO_PKG_VERSION"),
    });
    // beyond what one use of the macro can hold
    all["model_file"] = json!(model.source);
    if let Some(gan) = &model.gan {
        // each phase has its own, and the model file says which
        for key in ["optimizer", "lr", "momentum", "nesterov", "dampening", "betas", "eps"] {
            all[key] = json!(null);
        }
        for (p, o) in gan.phases.iter().zip(options.of_phases(model)) {
            all[p.name] = json!({ "optimizer": o.optimizer, "lr": o.lr, "momentum": o.momentum, "betas": [o.betas.0, o.betas.1] });
        }
    }
    all
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

/// Where a data set can be found again from any folder: its absolute path, or the name of a bundled one.
pub fn data_source(data: &str) -> String {
    let path = std::path::Path::new(data);
    if path.exists() {
        path.canonicalize().map_or_else(|_| data.into(), |p| p.display().to_string())
    } else {
        data.into()
    }
}

/// SHA-256 of a program's words. It depends on the device's lanes and memories.
pub fn program_sha256(compiled: &Compiled) -> String {
    let mut hash = Sha256::new();
    compiled.program.iter().for_each(|w| hash.update(w.to_le_bytes()));
    hex(hash)
}

fn hex(hash: Sha256) -> String {
    systole_verilator::hex(&hash.finalize())
}

/// A run's name, where none is given.
pub fn default_name(data: &Dataset, model: &Model, seed: u64) -> String {
    let text = match model.source {
        Some(_) => format!("{}-s{seed}", model.name),
        None => format!("{}-{}-s{seed}", data.name, model.name),
    };
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
        .collect::<String>()
        .trim_matches('-')
        .into()
}
