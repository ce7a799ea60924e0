//! A run moves from the model to the hardware, and back, in the middle of an epoch.

#[path = "../../host/tests/stop_after/mod.rs"]
mod stop_after;

use stop_after::StopAfter;
use systole::driver::device::DeviceOptions;
use systole::error::Error;
use systole::run::{Silent, TrainOptions, train};

/// Trains on changing devices and compares with a run that stays on `model`. `stages`: (device, lanes, stopped after this step).
fn wander(model: &str, stages: &[(&str, u32, u64)]) {
    let runs = tempfile::tempdir().expect("a temporary folder");
    let base = |device: &str, lanes| TrainOptions {
        device: DeviceOptions { name: device.into(), lanes: Some(lanes), ..DeviceOptions::default() },
        runs: runs.path().into(),
        model: model.into(),
        epochs: 1,
        seed: 7,
        loss_scale_init: 24,
        growth_interval: 10,
        ..TrainOptions::default()
    };
    let whole = train(&base("model", 8), &mut Silent).expect("the whole run");
    assert!(whole.skipped > 0);
    let folder = runs.path().join("wanderer");
    for (i, &(device, lanes, stop)) in stages.iter().enumerate() {
        let mut options = base(device, lanes);
        match i {
            0 => options.name = Some("wanderer".into()),
            _ => options.resume = Some(folder.clone()),
        }
        let e = train(&options, &mut StopAfter::new(stop)).expect_err("it is stopped");
        assert!(matches!(e, Error::Interrupted { .. }), "{device}: {e}");
    }
    let last = train(&TrainOptions { resume: Some(folder), ..base("rtl", 8) }, &mut Silent).expect("the rest");
    assert_eq!(last.weights_sha256, whole.weights_sha256);
    assert_eq!((last.steps, last.skipped, last.loss_scale), (whole.steps, whole.skipped, whole.loss_scale));
    assert_eq!(last.final_loss, whole.final_loss);
}

#[test]
fn a_run_wanders_between_devices() {
    wander("mlp:64-32-10", &[("model", 4, 11), ("rtl", 8, 19), ("model", 8, 30), ("rtl", 8, 33)]);
}

#[test]
fn a_run_with_dropout_too() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/dropout-digits.toml");
    wander(file, &[("rtl", 8, 7), ("model", 4, 20)]);
}
