//! The FP32 baseline: its updates against PyTorch's (recorded), its runs against mixed precision on the model.

use safetensors::SafeTensors;
use systole::compile::{Clip, Optimizer, Recipe};
use systole::driver::device::DeviceOptions;
use systole::reference::{Updates, train as baseline};
use systole::run::{Epoch, Progress, TrainOptions, prepare, train};

fn floats(file: &SafeTensors, name: &str) -> Vec<f32> {
    let bytes = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}")).data().to_vec();
    bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Every optimizer over 200 recorded gradients of 258 parameters. The record was made in FP32, so what is left is the order of a few
/// roundings.
#[test]
fn updates_equal_pytorch() {
    let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/optimizer_steps.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (start, scaled) = (floats(&file, "w0"), floats(&file, "scaled_grads"));
    let adam = Optimizer::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
    let with = |o: Optimizer, change: fn(&mut Recipe)| {
        let mut r = o.into();
        change(&mut r);
        r
    };
    let nesterov = Optimizer::Momentum { dampening: 0.0, nesterov: true };
    let plain = Optimizer::Sgd { momentum: false };
    let cases: [(&str, Recipe, f32, f32); 9] = [
        ("sgd", plain.into(), 0.1, 0.0),
        ("sgd_momentum", Optimizer::Sgd { momentum: true }.into(), 0.05, 0.9),
        ("sgd_dampening", Optimizer::Momentum { dampening: 0.1, nesterov: false }.into(), 0.05, 0.9),
        ("sgd_nesterov_decay", with(nesterov, |r| r.weight_decay = 0.001), 0.05, 0.9),
        ("adam", adam.into(), 0.001, 0.0),
        ("adam_l2", with(adam, |r| r.weight_decay = 0.01), 0.001, 0.0),
        ("adamw", with(adam, |r| (r.weight_decay, r.decoupled) = (0.01, true)), 0.001, 0.0),
        ("adagrad", Optimizer::Adagrad { eps: 1e-10 }.into(), 0.01, 0.0),
        ("sgd_clip_global_norm", with(plain, |r| r.clip = Clip::Norm(0.05)), 0.1, 0.0),
    ];
    for (name, recipe, lr, momentum) in cases {
        let mut updates = Updates::<f32>::new(recipe, momentum);
        // [2, 128] and [2]; the last parameter stays zero
        let mut p = vec![start[..256].to_vec(), start[256..].to_vec()];
        let mut worst = 0.0f32;
        for (t, g) in scaled.chunks(start.len()).enumerate() {
            let g: Vec<f32> = g.iter().map(|v| v / 1024.0).collect();
            updates.step(lr, &mut p, &[g[..256].to_vec(), g[256..].to_vec()], |_| true);
            if [1, 10, 50, 200].contains(&(t + 1)) {
                let want = floats(&file, &format!("{name}.step{}", t + 1));
                let off = |(g, w): (&f32, &f32)| (g - w).abs() / w.abs().max(lr);
                worst = p.iter().flatten().zip(&want).map(off).fold(worst, f32::max);
            }
        }
        println!("{name:<22} {worst:.2e}");
        assert!(worst < 5e-6, "{name}: {worst:e}");
    }
}

/// Test loss and accuracy after each epoch.
#[derive(Default)]
struct Curve(Vec<(f64, f64)>);

impl Progress for Curve {
    fn epoch(&mut self, phases: &[Epoch]) {
        self.0.push((phases[0].test_loss.unwrap(), phases[0].test_accuracy.unwrap_or(0.0)));
    }
}

/// The same weights, batches, dropout and rates: early on, before roundings have added up, both precisions tell the same test loss.
#[test]
fn a_run_is_the_devices_but_for_its_roundings() {
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/");
    for (file, change) in [
        ("lenet-digits", (|o| o.schedule = "cosine".parse().unwrap()) as fn(&mut TrainOptions)),
        ("residual-digits", |o| o.warmup = 40),
        ("batchnorm-digits", |_| ()),
        ("dropout-digits", |o| o.weight_decay = 0.01),
        ("gru-digits", |o| o.nesterov = true),
        ("detect-digits", |o| (o.data, o.batch, o.lr) = ("digit-scenes".into(), 8, 200.0)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut options = TrainOptions {
            device: DeviceOptions { name: "model".into(), ..DeviceOptions::default() },
            model: format!("{models}{file}.toml"),
            batch: 16,
            epochs: 2,
            lr: 0.01,
            seed: 3,
            runs: dir.path().into(),
            ..TrainOptions::default()
        };
        change(&mut options);
        let mut curve = Curve::default();
        train(&options, &mut curve).unwrap();
        let (model, data) = prepare(&options).unwrap();
        let mut steps = 0;
        let mut count = |n| {
            steps = n;
            true
        };
        let watch = baseline::Watch { steps: 8, go_on: &mut count };
        let run = baseline::train(&options, &model, &data, watch).unwrap();
        let all = 2 * options.steps_per_epoch(data.train.len());
        assert_eq!((run.steps, run.watched.updates.len() as u64), (all, all.div_ceil(all / 8)), "{file}");
        assert!(run.watched.activation_gradients.nonzero() > 1000);
        for (epoch, (loss, accuracy)) in run.epochs.iter().zip(&curve.0) {
            let test = epoch.test.unwrap();
            println!("{file}: {:.5} {loss:.5}  {:.4} {accuracy:.4}", test.mean_loss(), test.accuracy());
            assert!((test.mean_loss() / loss - 1.0).abs() < 0.05, "{file}: {} against {loss}", test.mean_loss());
            assert!((test.accuracy() - accuracy).abs() < 0.03, "{file}: {} against {accuracy}", test.accuracy());
        }
        assert_eq!(steps, all);
    }
}
