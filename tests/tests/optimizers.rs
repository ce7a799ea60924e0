//! Every optimizer, and everything around it, on the hardware and on the model: the same bits in weights and state.

use std::path::Path;

use systole::compile::{Clip, Master};
use systole::driver::device::DeviceOptions;
use systole::run::checkpoint::FILE;
use systole::run::{LossScale, OptimizerName, Silent, TrainOptions, train};

/// All tensors of a run's checkpoint (bytes by name), the losses of its steps, and how many of these were skipped.
fn run(device: &str, lanes: u32, change: &dyn Fn(&mut TrainOptions)) -> (Vec<(String, Vec<u8>)>, Vec<String>, u64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut options = TrainOptions {
        device: DeviceOptions { name: device.into(), lanes: Some(lanes), ..DeviceOptions::default() },
        runs: folder.path().into(),
        model: "mlp:64-20-10".into(),
        seed: 11,
        epochs: 1,
        // a few overflows, so that skips freeze what they must
        loss_scale_init: 22,
        growth_interval: 20,
        ..TrainOptions::default()
    };
    change(&mut options);
    let report = train(&options, &mut Silent).unwrap_or_else(|e| panic!("{device}: {e}\n{}", e.help()));
    let run = Path::new(&report.run_dir);
    let bytes = std::fs::read(run.join(FILE)).expect("a checkpoint");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let mut tensors: Vec<_> = file.tensors().into_iter().map(|(n, t)| (n, t.data().to_vec())).collect();
    tensors.sort();
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let steps = text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).expect("JSON"));
    let steps = steps.filter(|l| l["event"] == "step").map(|mut l| {
        l.as_object_mut().expect("an object").remove("cycles");
        l.to_string()
    });
    (tensors, steps.collect(), report.skipped)
}

fn cases() -> Vec<(&'static str, Box<dyn Fn(&mut TrainOptions)>)> {
    use OptimizerName::*;
    let adam = |o: &mut TrainOptions, name| (o.optimizer, o.lr) = (name, 0.002);
    vec![
        ("sgd without momentum, by norm", Box::new(|o| (o.momentum, o.clip) = (0.0, Clip::Norm(0.5)))),
        (
            "dampening, l2, by value",
            Box::new(|o| {
                (o.dampening, o.weight_decay, o.clip) = (0.2, 0.01, Clip::Value(0.01));
            }),
        ),
        ("nesterov, average", Box::new(|o| (o.nesterov, o.ema) = (true, Some(0.9)))),
        (
            "adam, l2",
            Box::new(move |o| {
                adam(o, Adam);
                o.weight_decay = 0.01;
            }),
        ),
        (
            "adamw, by norm, accumulated, cosine",
            Box::new(move |o| {
                adam(o, AdamW);
                (o.weight_decay, o.clip, o.accumulate) = (0.01, Clip::Norm(1.0), 3);
                (o.schedule, o.warmup) = ("cosine:0.1".parse().expect("a schedule"), 3);
            }),
        ),
        ("adagrad", Box::new(|o| (o.optimizer, o.lr) = (Adagrad, 0.02))),
        (
            "fp16 weights, decoupled",
            Box::new(|o| {
                (o.master, o.decoupled, o.weight_decay) = (Master::Half, true, 0.01);
                o.loss_scale = LossScale::Static(10);
            }),
        ),
    ]
}

#[test]
fn rtl_equals_model() {
    let mut skipped = 0;
    for (name, change) in cases() {
        let (rtl, rtl_steps, skips) = run("rtl", 8, &change);
        let (model, model_steps, _) = run("model", 8, &change);
        assert_eq!(rtl_steps, model_steps, "{name}");
        assert!(rtl == model, "{name}: tensors differ");
        let (other, other_steps, _) = run("model", 4, &change);
        assert!(other == rtl && other_steps == rtl_steps, "{name}: another array, other bits");
        println!("{name}: {} tensors, {} steps, {skips} skipped", rtl.len(), rtl_steps.len());
        skipped += skips;
    }
    assert!(skipped > 0, "the runs are to skip");
}

#[test]
fn a_skipped_window_changes_nothing() {
    // at 2^24 every window overflows until the scale has come down; up to then nothing may move
    let fixed = |steps: u64| {
        move |o: &mut TrainOptions| {
            (o.optimizer, o.accumulate, o.ema, o.lr) = (OptimizerName::AdamW, 2, Some(0.5), 0.01);
            (o.loss_scale, o.max_skips) = (LossScale::Static(24), 1000);
            (o.warmup, o.seed) = (steps, 11);
        }
    };
    let (tensors, steps, skipped) = run("rtl", 8, &fixed(5));
    assert_eq!(skipped as usize, steps.len(), "all of them");
    for (name, bytes) in tensors.iter().filter(|(n, _)| n.contains(".exp_avg")) {
        assert!(bytes.iter().all(|&b| b == 0), "{name}");
    }
    for (name, bytes) in tensors.iter().filter(|(n, _)| n.ends_with(".ema")) {
        let weight = name.trim_start_matches("optimizer.").trim_end_matches(".ema");
        assert!(tensors.iter().any(|(n, b)| n == weight && b == bytes), "{name}");
    }
    let rates: Vec<f64> = steps
        .iter()
        .map(|s| serde_json::from_str::<serde_json::Value>(s).expect("JSON")["lr"].as_f64().expect("a rate"))
        .collect();
    assert!(rates.iter().all(|&r| r == rates[0]), "the warm-up waits: {rates:?}");
}
