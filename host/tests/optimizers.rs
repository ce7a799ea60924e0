//! Update programs against PyTorch's optimizers (recorded), and against plain arithmetic where PyTorch has no record.

mod update_bench;

use safetensors::SafeTensors;
use systole::compile::{Clip, Optimizer, Recipe};
use systole_isa::frame::step::Outcome;
use update_bench::Bench;

/// 258 parameters: [2, 128] and [2]. The last one stays zero.
const MODEL: &str = "mlp:128-2";
const SCALE: i32 = 10;

fn recorded() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/optimizer_steps.safetensors")).unwrap()
}

fn floats(file: &SafeTensors, name: &str) -> Vec<f32> {
    let bytes = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}")).data().to_vec();
    bytes.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn with(optimizer: Optimizer, change: impl FnOnce(&mut Recipe)) -> Recipe {
    let mut r = optimizer.into();
    change(&mut r);
    r
}

/// Name in the record, recipe, learning rate, momentum.
fn cases() -> Vec<(&'static str, Recipe, f32, f32)> {
    let adam = Optimizer::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
    let plain = Optimizer::Sgd { momentum: false };
    vec![
        ("sgd", plain.into(), 0.1, 0.0),
        ("sgd_momentum", Optimizer::Sgd { momentum: true }.into(), 0.05, 0.9),
        ("sgd_dampening", Optimizer::Momentum { dampening: 0.1, nesterov: false }.into(), 0.05, 0.9),
        (
            "sgd_nesterov_decay",
            with(Optimizer::Momentum { dampening: 0.0, nesterov: true }, |r| r.weight_decay = 0.001),
            0.05,
            0.9,
        ),
        ("adam", adam.into(), 0.001, 0.0),
        ("adam_l2", with(adam, |r| r.weight_decay = 0.01), 0.001, 0.0),
        ("adamw", with(adam, |r| (r.weight_decay, r.decoupled) = (0.01, true)), 0.001, 0.0),
        ("adagrad", Optimizer::Adagrad { eps: 1e-10 }.into(), 0.01, 0.0),
        ("sgd_clip_global_norm", with(plain, |r| r.clip = Clip::Norm(0.05)), 0.1, 0.0),
    ]
}

fn ulps(a: f32, b: f32) -> u32 {
    let order =
        |v: f32| if v.to_bits() >> 31 == 1 { -((v.to_bits() & 0x7fff_ffff) as i64) } else { v.to_bits() as i64 };
    (order(a) - order(b)).unsigned_abs().min(u32::MAX as u64) as u32
}

#[test]
fn equal_pytorch() {
    let bytes = recorded();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (start, gradients) = (floats(&file, "w0"), floats(&file, "scaled_grads"));
    println!("optimizer               1: ulp   200: |Δ|/max(|p|, lr)");
    let mut failed = Vec::new();
    for (name, recipe, lr, momentum) in cases() {
        let mut bench = Bench::new("model", MODEL, recipe, SCALE, &start);
        (bench.lr, bench.momentum) = (lr, momentum);
        let mut first = 0;
        let mut last = 0.0f32;
        for (t, g) in gradients.chunks(start.len()).enumerate() {
            let reply = bench.update(g);
            assert_eq!(reply.outcome, Outcome::Updated);
            if [1, 10, 50, 200].contains(&(t + 1)) {
                let want = floats(&file, &format!("{name}.step{}", t + 1));
                let got = bench.masters();
                let worst = got.iter().zip(&want).map(|(g, w)| (g - w).abs() / w.abs().max(lr)).fold(0.0, f32::max);
                let ulp = got.iter().zip(&want).map(|(g, w)| ulps(*g, *w)).max().unwrap();
                if t == 0 {
                    first = ulp;
                }
                last = worst;
                if worst > 1e-5 || t == 0 && ulp > 4 {
                    failed.push(format!("{name} after {} steps: {ulp} ulp, {worst:e}", t + 1));
                }
            }
        }
        println!("{name:<22} {first:>8} {last:>12.2e}");
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Gradients of 258 parameters, exact in FP16 and far from its ends.
fn gradient(t: u32) -> Vec<f32> {
    (0..258u32).map(|i| ((i * 37 + t * 61) % 129) as f32 / 64.0 - 1.0).collect()
}

fn start() -> Vec<f32> {
    (0..258).map(|i| (i as f32 * 0.37).sin() * 0.25).collect()
}

#[test]
fn micro_batches_are_summed_in_fp32_and_update_once() {
    let recipe = with(Optimizer::Sgd { momentum: false }, |r| r.accumulate = 3);
    let mut bench = Bench::new("model", MODEL, recipe, 4, &start());
    let accumulate = bench.session.compiled().phases[0].accumulate.unwrap();
    let update = bench.session.compiled().phases[0].update;
    let keep = |k: f32| (systole::compile::optimizer::KEEP as u32, k.to_bits());
    let mut want = start();
    for window in 0..2 {
        let g: Vec<Vec<f32>> = (0..3).map(|i| gradient(3 * window + i)).collect();
        for (i, g) in g.iter().enumerate() {
            let keep = keep(if i == 0 { 0.0 } else { 1.0 });
            let mut scalars = bench.scalars();
            scalars.push(keep);
            if i < 2 {
                let before = bench.masters();
                assert_eq!(bench.step(g, accumulate, true, vec![keep]).outcome, Outcome::Accumulated);
                assert_eq!(bench.masters(), before);
            } else {
                assert_eq!(bench.step(g, update, false, scalars).outcome, Outcome::Updated);
            }
        }
        for (i, w) in want.iter_mut().enumerate() {
            let sum = (g[0][i] / 16.0 + g[1][i] / 16.0) + g[2][i] / 16.0;
            *w += sum * -0.1;
        }
        assert_eq!(bench.masters(), want, "window {window}");
    }
    let words = bench.session.scalers().unwrap()[0];
    assert_eq!(words[systole_isa::frame::scaler::STEPS], 2, "the scaler counts windows");
}

#[test]
fn clipping_sees_unscaled_gradients_and_reports_their_norm() {
    let plain = Optimizer::Sgd { momentum: false };
    let decayed = |clip| with(plain, |r| (r.clip, r.weight_decay) = (clip, 0.5));
    let g = gradient(5);
    for clip in [Clip::None, Clip::Norm(2.0), Clip::Norm(1e6), Clip::Value(0.5)] {
        let mut results = Vec::new();
        for scale in [0, 3, 10] {
            let mut bench = Bench::new("model", MODEL, decayed(clip), scale, &start());
            let scaled: Vec<f32> = g.iter().map(|v| v * (1 << scale) as f32).collect();
            let reply = bench.update(&scaled);
            let norm = g.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            let factor = match clip {
                Clip::Norm(limit) => {
                    assert!((f64::from(reply.grad_norm) / norm - 1.0).abs() < 1e-6, "{}: {norm}", reply.grad_norm);
                    (f64::from(limit) / (norm + 1e-6)).min(1.0)
                }
                _ => 1.0,
            };
            let limit = if let Clip::Value(v) = clip { f64::from(v) } else { f64::MAX };
            let got = bench.masters();
            for (i, (p, got)) in start().iter().zip(&got).enumerate() {
                let p = f64::from(*p);
                let clipped = (f64::from(g[i]) * factor).clamp(-limit, limit);
                let want = p - 0.1 * (clipped + 0.5 * p);
                assert!((want - f64::from(*got)).abs() < 1e-6, "{clip:?}, scale 2^{scale}, {i}: {got}, {want}");
            }
            results.push(got.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        }
        assert!(results.iter().all(|r| *r == results[0]), "{clip:?}: the scale leaves no trace");
    }
}

/// The moving averages of all weights, one after the other: the second state of SGD with momentum.
fn averages(bench: &mut Bench) -> Vec<f32> {
    bench.session.weights().unwrap().state.into_iter().flat_map(|mut s| s.remove(1)).collect()
}

#[test]
fn the_moving_average_follows_the_weights() {
    let recipe = with(Optimizer::Sgd { momentum: true }, |r| r.ema = Some(0.75));
    let mut bench = Bench::new("model", MODEL, recipe, 0, &start());
    bench.momentum = 0.5;
    let mut want: Vec<f64> = start().iter().map(|&v| v.into()).collect();
    assert_eq!(averages(&mut bench), start(), "it starts as the weights");
    for t in 0..20 {
        bench.update(&gradient(t));
        for (a, p) in want.iter_mut().zip(bench.masters()) {
            *a += 0.25 * (f64::from(p) - *a);
        }
        let worst = averages(&mut bench).iter().zip(&want).map(|(g, w)| (f64::from(*g) - w).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-6, "{worst}");
    }
}
