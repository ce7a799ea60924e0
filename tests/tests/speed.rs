//! Cycle counts of the simulated hardware: exact, so that a slowdown fails.

use systole::compile::{self, GemmSpec, Optimizer};
use systole::data::Dataset;
use systole::driver::Device;
use systole::driver::device::DeviceOptions;
use systole::driver::product::multiply;
use systole::driver::requests::StepReply;
use systole::driver::session::{Hyper, Session, Weights};
use systole::graph::{Model, initialize};
use systole::npy::Elements;
use systole::run::TrainOptions;

fn open(device: &str) -> Device {
    Device::open(&DeviceOptions { name: device.into(), lanes: Some(8), ..DeviceOptions::default() }).expect("a device")
}

/// Small finite values, as FP16 bits.
fn values(count: u32) -> Vec<u16> {
    (0..count).map(|i| systole::npy::round_f16((i * 37 % 101) as f32 / 64.0 - 0.75)).collect()
}

#[test]
fn products_keep_the_array_busy() {
    let mut device = open("rtl");
    let plain = |m, k, n| GemmSpec { m, k, n, ..GemmSpec::default() };
    for (spec, least) in [
        (plain(32, 32, 32), 0.92),
        (GemmSpec { transpose_b: true, ..plain(32, 32, 10) }, 0.78),
        (GemmSpec { transpose_b: true, ..plain(64, 128, 10) }, 0.965),
        (GemmSpec { transpose_a: true, ..plain(10, 32, 32) }, 0.78),
        (plain(32, 10, 32), 0.53),
        (plain(64, 10, 128), 0.61),
        (plain(128, 128, 128), 0.998),
    ] {
        let (a, b) = (values(spec.m * spec.k), values(spec.k * spec.n));
        let p = multiply(&mut device, spec, &a, &b, None).expect("a product");
        let (cycles, used) = (p.cycles.expect("rtl counts"), p.utilization.expect("rtl counts"));
        println!("{spec:?}: {cycles} cycles, {used:.4}, predicted {}", p.predicted);
        assert!(used >= least, "{spec:?}: {used}");
        assert!(p.predicted.abs_diff(cycles) * 100 <= 3 * cycles, "predicted {}, measured {cycles}", p.predicted);
    }
}

/// Larger than the memories, so by tiles; equal to the plain sum, element for element.
#[test]
fn tiles_change_no_bit() {
    let mut device = open("model");
    let (m, k, n) = (300, 257, 290);
    for (transpose_a, transpose_b) in [(false, false), (true, false), (false, true), (true, true)] {
        let spec = GemmSpec { m, k, n, transpose_a, transpose_b, bias: true, relu: true, half_out: false, cut: 0 };
        let (a, b, bias) = (values(m * k), values(k * n), values(n));
        let p = multiply(&mut device, spec, &a, &b, Some(&bias)).expect("a product");
        assert!(p.tiles > 1);
        let f = |bits: u16| half(bits);
        let Elements::F32(got) = p.out.elements else { panic!("FP32") };
        for i in 0..m {
            for j in (0..n).step_by(7) {
                let mut sum = f(bias[j as usize]);
                for r in 0..k {
                    let x = a[if transpose_a { r * m + i } else { i * k + r } as usize];
                    let y = b[if transpose_b { j * k + r } else { r * n + j } as usize];
                    sum += f(x) * f(y);
                }
                let want = if sum > 0.0 { sum } else { 0.0 };
                assert_eq!(got[(i * n + j) as usize].to_bits(), want.to_bits(), "({i}, {j})");
            }
        }
    }
}

/// Normal FP16 numbers and zero, widened.
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let magnitude = if exponent == 0 { 0.0 } else { (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15) };
    if sign == 1 { -magnitude } else { magnitude }
}

/// Cycles from one step's reply to the next, 64-32-10 at batch 32, everything included: 4,192 with the firmware's compiler of the
/// day. How many exactly depends a little on where that puts the code, for the soft core's cache is smaller than what a step touches.
const PERIOD_LIMIT: u32 = 4_350;

#[test]
fn a_training_step_is_fast() {
    let device = open("rtl");
    let options = TrainOptions::default();
    let data = Dataset::digits();
    let model = Model::mlp("mlp:64-32-10").expect("a model");
    let machine = device.info.machine;
    let compiled = compile::network(&model.graph, 32, Optimizer::Sgd { momentum: true }, machine).expect("it fits");
    let predicted: u64 = compiled.predicted[..2].iter().map(|p| p.cycles).sum();
    let weights = Weights::from(initialize(&model.graph, 0));
    let mut session = Session::start(device, compiled, &weights, &[options.scaler()], data.scale).expect("a session");
    let mut replies: Vec<StepReply> = Vec::new();
    let order: Vec<usize> = (0..32 * 12).collect();
    let hyper = Hyper { lr: 0.05, momentum: 0.9 };
    session
        .train(&data.train, &order, &[hyper], |_, _, phases| {
            replies.extend(phases);
            Ok(())
        })
        .expect("training");
    // the first steps fill the pipeline of batches and requests, the last ones have no batch behind them
    let steady = &replies[4..9];
    for r in steady {
        let segments = r.counters[6];
        println!("{} cycles from reply to reply, {segments} in segments", r.passed);
        assert_eq!(r.passed, r.cycles, "the step was asked for while the one before ran");
    }
    let mean = |of: fn(&StepReply) -> u32| steady.iter().map(of).sum::<u32>() / steady.len() as u32;
    let period = mean(|r| r.passed);
    assert!(period <= PERIOD_LIMIT, "{period}");
    let segments = mean(|r| r.counters[6]);
    assert!(predicted.abs_diff(u64::from(segments)) * 100 <= 3 * predicted, "predicted {predicted}, {segments} taken");
}
