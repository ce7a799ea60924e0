//! Whole runs: data set, compiler, link, firmware, engines, array, and back.

use systole::compile::{self, Optimizer};
use systole::data::Dataset;
use systole::driver::Device;
use systole::driver::device::DeviceOptions;
use systole::driver::session::{Hyper, Session, Weights};
use systole::graph::{Model, initialize};
use systole::run::{LossScale, Silent, TrainOptions, TrainReport, train};
use systole_isa::frame::{scaler, step::Outcome};

/// Trains on a device; runs are kept in a folder of their own. Also the metrics of every step, without times and cycles.
fn run(device: &str, lanes: u32, change: impl FnOnce(&mut TrainOptions)) -> (TrainReport, Vec<String>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut options = TrainOptions {
        device: DeviceOptions { name: device.into(), lanes: Some(lanes), ..DeviceOptions::default() },
        runs: folder.path().into(),
        seed: 7,
        epochs: 2,
        ..TrainOptions::default()
    };
    change(&mut options);
    println!("{device}, {lanes} lanes, seed {}", options.seed);
    let report = train(&options, &mut Silent).unwrap_or_else(|e| panic!("{device}: {e}\n{}", e.help()));
    let text = std::fs::read_to_string(std::path::Path::new(&report.run_dir).join("metrics.csv")).expect("metrics");
    let mut lines = text.lines();
    let wanted = ["step", "rows", "loss", "correct", "loss_scale", "outcome", "skipped"];
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let columns: Vec<usize> = wanted.iter().map(|w| names.iter().position(|n| n == w).expect("a column")).collect();
    let steps = lines
        .map(|l| {
            let fields: Vec<&str> = l.split(',').collect();
            columns.iter().map(|&c| fields[c]).collect::<Vec<_>>().join(" ")
        })
        .collect();
    (report, steps)
}

#[test]
fn rtl_and_model_train_the_same_weights() {
    let (rtl, rtl_steps) = run("rtl", 8, |_| ());
    let (model, model_steps) = run("model", 8, |_| ());
    assert_eq!(rtl.weights_sha256, model.weights_sha256);
    assert_eq!(rtl_steps, model_steps, "loss, scale and outcome of every step");
    assert_eq!(rtl.steps, 90);
    assert!(rtl.test_accuracy > Some(0.85), "{:?}", rtl.test_accuracy);
    assert!(rtl.cycles.is_some() && rtl.array_utilization.is_some() && model.cycles.is_none());
}

#[test]
fn another_network_of_odd_sizes_too_and_on_any_array() {
    let odd = |o: &mut TrainOptions| {
        o.model = "mlp:64-23-17-10".into();
        o.batch = 24;
        o.epochs = 1;
    };
    let (rtl, steps) = run("rtl", 8, odd);
    for (device, lanes) in [("model", 8), ("model", 4), ("model", 16), ("rtl", 4)] {
        let (other, other_steps) = run(device, lanes, odd);
        assert_eq!(rtl.weights_sha256, other.weights_sha256, "{device}, {lanes} lanes");
        assert_eq!(steps, other_steps, "{device}, {lanes} lanes");
    }
}

#[test]
fn the_scale_backs_off_and_then_the_network_learns() {
    let (r, steps) = run("rtl", 8, |o| o.loss_scale_init = 24);
    assert!(r.skipped > 0 && r.skipped < 30, "{} skipped", r.skipped);
    assert!(r.loss_scale < Some(16_777_216.0));
    assert!(steps.iter().any(|s| s.contains("skipped_gradient")));
    assert!(r.test_accuracy > Some(0.8), "{:?}", r.test_accuracy);
    for scale in [LossScale::None, LossScale::Static(10)] {
        let (r, _) = run("rtl", 8, |o| {
            o.loss_scale = scale;
            o.epochs = 1;
        });
        assert_eq!(r.skipped, 0);
        assert_eq!(r.loss_scale, Some(if scale == LossScale::None { 1.0 } else { 1024.0 }));
    }
}

#[test]
fn the_same_run_takes_the_same_cycles() {
    let once = || run("rtl", 8, |o| o.epochs = 1).0;
    let (a, b) = (once(), once());
    assert_eq!((a.cycles, a.weights_sha256), (b.cycles, b.weights_sha256));
}

#[test]
fn a_skipped_step_on_the_hardware_changes_no_weight() {
    let data = Dataset::digits();
    let model = Model::mlp("mlp:64-32-10").expect("a network");
    let device = Device::open(&DeviceOptions { name: "rtl".into(), ..DeviceOptions::default() }).expect("the hardware");
    let compiled =
        compile::network(&model.graph, 32, Optimizer::Sgd { momentum: true }, device.info.machine).expect("it fits");
    let weights = Weights::from(initialize(&model.graph, 3));
    let options = TrainOptions { loss_scale: LossScale::Static(24), ..TrainOptions::default() };
    let mut session = Session::start(device, compiled, &weights, &[options.scaler()], data.scale).expect("a session");
    let order: Vec<usize> = (0..32).collect();
    let mut skipped = 0;
    for _ in 0..4 {
        let before = session.weights().expect("weights");
        let mut outcome = None;
        let hyper = Hyper { lr: 0.05, momentum: 0.9 };
        session
            .train(&data.train, &order, &[hyper], |_, _, phases| {
                outcome = Some(phases[0].outcome);
                Ok(())
            })
            .expect("a step");
        if outcome == Some(Outcome::SkippedGradient) {
            skipped += 1;
            assert_eq!(session.weights().expect("weights"), before, "masters and momentum, bit for bit");
        }
    }
    assert!(skipped > 0, "at scale 2^24 gradients overflow");
    assert_eq!(session.scalers().expect("its state")[0][scaler::SKIPS], skipped);
}

/// Trains on the hardware with arrays of N and vector engines of V lanes; every step and all weights must be those of N = V = 8.
fn any_size(machines: &[(u32, u32)]) {
    let at = |lanes, vector_lanes| run("rtl", lanes, |o| o.device.vector_lanes = Some(vector_lanes));
    let (first, steps) = at(8, 8);
    for &(lanes, vector_lanes) in machines {
        let (other, other_steps) = at(lanes, vector_lanes);
        assert_eq!(first.weights_sha256, other.weights_sha256, "N = {lanes}, V = {vector_lanes}");
        assert_eq!(steps, other_steps, "N = {lanes}, V = {vector_lanes}");
    }
}

#[test]
#[ignore = "builds one more simulator, in minutes"]
fn vector_engines_of_any_size_train_the_same_weights() {
    any_size(&[(4, 4), (8, 4)]);
}

#[test]
#[ignore = "builds two simulators of 16 lanes, in many minutes"]
fn arrays_of_16_lanes_train_the_same_weights() {
    any_size(&[(16, 4), (16, 8)]);
}
