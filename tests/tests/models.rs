//! Every model file on the hardware: the same bits as on the model, step by step.

use std::path::PathBuf;

use systole::compile::{self, Recipe};
use systole::data::Moment;
use systole::driver::Device;
use systole::driver::device::DeviceOptions;
use systole::driver::session::{Hyper, Session, Weights};
use systole::graph::initialize;
use systole::run::{TrainOptions, model_settings, parse_model, prepare};
use systole_isa::frame::step::Outcome;

/// What a few steps leave behind.
#[derive(Debug, PartialEq)]
struct Trace {
    /// Loss bits, right rows and outcome of every phase of every step.
    steps: Vec<(u32, u32, Outcome)>,
    weights: Weights,
    /// Loss bits of one batch, or the bits of a GAN's images.
    evaluated: Vec<u64>,
}

/// Trains `steps` steps from the file's settings, evaluates one batch; also cycles, multiply-accumulates and peak bytes.
fn train(file: &PathBuf, device: &str, steps: usize) -> (Trace, u64, u64, u32) {
    let spec = file.to_str().expect("a path");
    let (model, settings) = (parse_model(spec).expect("a model"), model_settings(spec).expect("settings"));
    let device = Device::open(&DeviceOptions { name: device.into(), ..DeviceOptions::default() }).expect("a device");
    let batch = settings.batch.expect("the file says so");
    let machine = device.info.machine;
    let options =
        settings.apply(TrainOptions { loss_scale_init: 10, model: spec.into(), batch, ..TrainOptions::default() });
    let data = settings.data.clone().expect("the file says so");
    let (_, data) = prepare(&TrainOptions { data, ..options.clone() }).expect("a data set");
    let phases = options.of_phases(&model);
    let recipes: Vec<Recipe> = phases.iter().map(TrainOptions::recipe).collect();
    let compiled = compile::model(&model, batch, &recipes, machine).expect("it compiles");
    let (macs, peak) = (compiled.macs_per_step, compiled.plan.peak_bytes());
    let weights = Weights::from(initialize(&model.graph, 0));
    let scalers: Vec<_> = phases.iter().map(TrainOptions::scaler).collect();
    let mut session = Session::start(device, compiled, &weights, &scalers, data.scale).expect("a session");
    let order: Vec<usize> = (0..steps * batch as usize).collect();
    let hypers: Vec<Hyper> = phases.iter().map(|o| Hyper { lr: o.lr, momentum: o.momentum }).collect();
    let (mut trace, mut cycles) = (Vec::new(), 0);
    session
        .train(&data.train, &order, &hypers, |_, _, replies| {
            trace.extend(replies.iter().map(|r| (r.loss.to_bits(), r.correct.to_bits(), r.outcome)));
            cycles += replies.iter().map(|r| u64::from(r.cycles)).sum::<u64>();
            Ok(())
        })
        .expect("training");
    let evaluated = if model.gan.is_some() {
        let shape = &model.graph.node(model.graph.output()).shape;
        let images = session.generate(Moment::default(), shape).expect("images");
        images.iter().map(|v| u64::from(v.to_bits())).collect()
    } else {
        vec![session.evaluate(&data.test.first(batch as usize, data.width)).expect("an evaluation").loss.to_bits()]
    };
    let weights = session.weights().expect("weights");
    (Trace { steps: trace, weights, evaluated }, cycles, macs, peak)
}

#[test]
fn every_model_trains_alike_on_the_hardware_and_on_the_model() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../models"));
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("models").map(|f| f.expect("a file").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "toml"));
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let steps = 3;
        let (rtl, cycles, macs, peak) = train(&file, "rtl", steps);
        let (model, ..) = train(&file, "model", steps);
        assert_eq!(rtl, model, "{}", file.display());
        assert!(rtl.steps.iter().all(|s| s.2 == Outcome::Updated), "{}: {:?}", file.display(), rtl.steps);
        let a_step = cycles / steps as u64;
        let busy = 100.0 * macs as f64 / (64.0 * a_step as f64);
        println!("{}: {a_step} cycles a step, array busy {busy:.1} %, peak {peak} bytes", file.display());
    }
}
