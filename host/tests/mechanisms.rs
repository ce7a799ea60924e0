//! The mechanisms of *Mixed Precision Training* (arXiv 1710.03740), each on the device: why weights need an FP32 master copy, and
//! why the loss is scaled.

mod update_bench;

use half::f16;
use systole::compile::{self, Master, Optimizer, Recipe};
use systole::data::Rows;
use systole::driver::Device;
use systole::driver::device::DeviceOptions;
use systole::driver::session::{Hyper, Session, Weights};
use systole::graph::Model;
use systole::run::{LossScale, TrainOptions};
use systole_isa::frame::step::Outcome;
use update_bench::Bench;

/// The FP16 number next to `p` in the direction of `towards`.
fn neighbour(p: f16, towards: f32) -> f16 {
    let away_from_zero = (towards > 0.0) == (p.to_f32() > 0.0);
    f16::from_bits(if away_from_zero { p.to_bits() + 1 } else { p.to_bits() - 1 })
}

/// Whether `p + d` rounds to `p` again in FP16: |d| is below half the distance to the neighbour on that side, or exactly half
/// and `p` is the even one of the two.
///
/// That distance is 2^(e−10) within a binade [2^e, 2^(e+1)), and half as much from its lower end towards zero. So the ratio |p/d|
/// above which an update vanishes runs from 2^11 = 2048 (the paper's; p = 2^e, away from zero) to just below 2^12 (p just below
/// 2^(e+1); or p = 2^e, towards zero).
fn vanishes(p: f16, d: f32) -> bool {
    let half = (neighbour(p, d).to_f32() - p.to_f32()).abs() / 2.0;
    d.abs() < half || d.abs() == half && p.to_bits() % 2 == 0
}

#[test]
fn small_updates_vanish_without_a_master_copy() {
    // weights of several binades, at their ends and inside, odd and even, of both signs
    let mut weights: Vec<f16> = Vec::new();
    for exponent in [15u16, 14, 12, 9] {
        for fraction in [0u16, 1, 2, 511, 512, 1022, 1023] {
            let p = exponent << 10 | fraction;
            weights.extend([f16::from_bits(p), f16::from_bits(p | 0x8000)]);
        }
    }
    // updates of a half, and a little less and more than a half, of the distance to the next number on either side
    let mut cases = Vec::new();
    for &p in &weights {
        for side in [1.0f32, -1.0] {
            let half = (neighbour(p, side).to_f32() - p.to_f32()).abs() / 2.0;
            for part in [0.5, 1.0 - 1.0 / 256.0, 1.0, 1.0 + 1.0 / 256.0, 2.0] {
                cases.push((p, side * half * part));
            }
        }
    }
    let ratios = cases.iter().filter(|c| vanishes(c.0, c.1)).map(|(p, d)| (p.to_f32() / d).abs());
    let (low, high) = ratios.fold((f32::MAX, 0.0f32), |(l, h), r| (l.min(r), h.max(r)));
    println!("updates vanish from a ratio of {low} on; the largest tried is {high}");
    assert_eq!(low, 2048.0);
    // 258 of them fit into the network; lr 2^-12 makes every gradient a normal FP16 number
    let (mut gone, mut kept) = (0, 0);
    for chunk in cases.chunks(258) {
        let start: Vec<f32> = chunk.iter().map(|c| c.0.to_f32()).collect();
        let gradients: Vec<f32> = chunk.iter().map(|c| -c.1 * 4096.0).collect();
        let sgd: Recipe = Optimizer::Sgd { momentum: false }.into();
        for master in [Master::Half, Master::Single] {
            let mut bench = Bench::new("model", "mlp:128-2", Recipe { master, ..sgd }, 0, &start);
            bench.lr = 1.0 / 4096.0;
            const STEPS: usize = 32;
            for step in 1..=STEPS {
                bench.update(&gradients);
                let got = bench.masters();
                for (&(p, d), &w) in chunk.iter().zip(&got) {
                    match master {
                        // what has vanished once vanishes for ever
                        Master::Half if vanishes(p, d) => {
                            assert_eq!(w, p.to_f32(), "{p} + {d}, step {step}");
                            gone += 1;
                        }
                        Master::Half if step == 1 => {
                            assert_ne!(w, p.to_f32(), "{p} + {d}");
                            assert_eq!(w, f16::from_f32(p.to_f32() + d).to_f32(), "{p} + {d}");
                            kept += 1;
                        }
                        Master::Half => {}
                        // all of these sums are exact in FP32
                        Master::Single => assert_eq!(w, p.to_f32() + step as f32 * d, "{p} + {step}·{d}"),
                    }
                }
            }
        }
    }
    assert!(gone > 1000 && kept > 100, "{gone} {kept}");
}

/// One step on a network without weights, whose weight gradients are known exactly: one row has features v·2^-21, all others are
/// zero, and dlogit = ∓½·S/32.
fn tiny_gradients(scale: i32) -> (Vec<u16>, Vec<f32>, Outcome) {
    let device = Device::open(&DeviceOptions { name: "model".into(), ..DeviceOptions::default() }).unwrap();
    let model = Model::mlp("mlp:8-2").unwrap();
    let recipe = Optimizer::Sgd { momentum: false };
    let compiled = compile::network(&model.graph, 32, recipe, device.info.machine).unwrap();
    let weights = Weights::from(vec![vec![0.0; 16], vec![0.0; 2]]);
    let options = TrainOptions { loss_scale: LossScale::Static(scale), ..TrainOptions::default() };
    let mut s = Session::start(device, compiled, &weights, &[options.scaler()], -21).unwrap();
    let mut features = vec![0u8; 8 * 32];
    features[..8].copy_from_slice(&[1, 2, 3, 4, 4, 3, 2, 1]);
    let rows = Rows::new(features, vec![0; 32]);
    let order: Vec<usize> = (0..32).collect();
    let mut outcome = None;
    s.train(&rows, &order, &[Hyper { lr: 1.0, momentum: 0.0 }], |_, _, phases| {
        outcome = Some(phases[0].outcome);
        Ok(())
    })
    .unwrap();
    let place = s.compiled().parameters[0].gradient;
    let bytes = s.device().link.read(systole::driver::product::block(&place)).unwrap();
    let gradient = bytes.chunks(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    (gradient, s.weights().unwrap().masters[0].clone(), outcome.unwrap())
}

#[test]
fn small_gradients_vanish_at_scale_1_and_survive_at_8() {
    let exact: Vec<f32> = [-1.0f32, 1.0]
        .iter()
        .flat_map(|sign| [1, 2, 3, 4, 4, 3, 2, 1].map(|v| sign * v as f32 * 2f32.powi(-27)))
        .collect();
    assert!(exact.iter().all(|g| (2f32.powi(-27)..=2f32.powi(-25)).contains(&g.abs())));
    let (gradient, weights, outcome) = tiny_gradients(0);
    assert_eq!(outcome, Outcome::Updated);
    assert!(gradient.iter().all(|g| g & 0x7fff == 0), "{gradient:x?}");
    assert!(weights.iter().all(|&w| w == 0.0), "nothing has been learned");
    let (gradient, weights, outcome) = tiny_gradients(3);
    assert_eq!(outcome, Outcome::Updated);
    let values: Vec<f32> = gradient.iter().map(|&g| f16::from_bits(g).to_f32() / 8.0).collect();
    assert_eq!(values, exact, "exact, after unscaling");
    assert_eq!(weights, exact.iter().map(|g| -g).collect::<Vec<_>>());
}

#[test]
fn long_sums_need_wide_accumulators() {
    use systole::compile::GemmSpec;
    use systole::driver::device::HALF_SUMS;
    // 4096 ones: an FP16 sum stops at 2048, where one more is half a unit in the last place and ties to even
    let ones = vec![0x3c00u16; 4096];
    let sum = |device: &str| {
        let mut d = Device::open(&DeviceOptions { name: device.into(), ..DeviceOptions::default() }).unwrap();
        let spec = GemmSpec { m: 1, k: 4096, n: 1, ..GemmSpec::default() };
        let out = systole::driver::product::multiply(&mut d, spec, &ones, &ones, None).unwrap().out;
        match out.elements {
            systole::npy::Elements::F32(v) => v[0],
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((sum("model"), sum(HALF_SUMS)), (4096.0, 2048.0));
}
