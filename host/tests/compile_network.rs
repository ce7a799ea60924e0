//! Compiled networks, executed by the model's fetcher and engines, against the FP64 reference.

mod bench;

use bench::{Bench, MOMENTUM, doubles, largest, pixels, rounded};
use half::f16;
use systole::compile::{self, CompileError, Optimizer, PADDED_LABEL};
use systole::graph::{Model, initialize};
use systole::reference;
use systole_isa::machine::Machine;
use systole_isa::{flag, sreg};

/// One step: loss, right rows, gradients, updated parameters and moments; `padded` rows at the end count for nothing.
fn step(model: &str, batch: usize, padded: usize, machine: Machine, slot: usize) {
    let model = Model::mlp(model).unwrap();
    let compiled = compile::network(&model.graph, batch as u32, MOMENTUM, machine).unwrap();
    let (features, classes) = (model.sizes[0], *model.sizes.last().unwrap() as u32);
    let mut bench = Bench::new(compiled);
    let parameters = initialize(&model.graph, 5);
    bench.parameters(&parameters);
    let mut x = pixels(batch * features, 3);
    x[(batch - padded) * features..].fill(0.0);
    let label = |i: usize| if i < batch - padded { (i * 7 + i / 3) as u32 % classes } else { PADDED_LABEL };
    let labels: Vec<u32> = (0..batch).map(label).collect();
    bench.batch(slot, &x, &labels);
    let (lr, momentum, scale) = (0.05, 0.9, 10);
    bench.scalars(batch - padded, scale, lr, momentum);
    bench.run(bench.compiled.phases[0].passes[0].segment);
    assert_eq!(bench.fetcher.flag_bits(), 0);

    let x64: Vec<f64> = x.iter().map(|&v| v as f64).collect();
    let want = reference::gradients(&model.graph, &rounded(&parameters), &x64, &labels);
    let loss = bench.sreg(sreg::LOSS) as f64;
    assert!((loss - want.loss).abs() < 2e-3, "loss {loss}, reference {}", want.loss);
    let correct = bench.sreg(sreg::CORRECT);
    assert!((correct - want.correct as f32).abs() <= 1.0, "{correct} right, reference {}", want.correct);
    let mut gradients = Vec::new();
    for (p, want) in bench.compiled.parameters.clone().iter().zip(&want.gradients) {
        let got: Vec<f32> = bench.read(p.gradient).iter().map(|g| g / 1024.0).collect();
        let tolerance = 4e-3 * largest(want) + 1e-6;
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            assert!((*g as f64 - w).abs() < tolerance, "{} [{i}]: {g}, reference {w}", p.name);
        }
        gradients.push(got);
    }
    let start: Vec<Vec<f32>> = gradients.iter().map(|g| g.iter().map(|v| v * 0.5 - 1e-3).collect()).collect();
    for (p, s) in bench.compiled.parameters.clone().iter().zip(&start) {
        assert_eq!(p.state[0].0, "momentum_buffer");
        bench.write(p.state[0].1, s);
    }
    bench.run(bench.compiled.phases[0].update);
    let mut sgd = reference::Sgd { lr, momentum: Some(momentum), buffers: start };
    let mut want = parameters.clone();
    sgd.step(&mut want, &gradients);
    for (i, p) in bench.compiled.parameters.iter().enumerate() {
        let (master, half) = (bench.read(p.master), bench.read(p.half));
        assert_eq!(bench.read(p.state[0].1), sgd.buffers[i], "{} momentum", p.name);
        assert_eq!(master, want[i], "{}", p.name);
        assert!(master.iter().zip(&half).all(|(m, h)| f16::from_f32(*m).to_f32() == *h), "{} FP16", p.name);
    }
}

#[test]
fn a_step_agrees_with_the_reference() {
    step("64-32-10", 32, 0, Machine::DEFAULT, 0);
    step("64-32-10", 32, 3, Machine::DEFAULT, 1);
}

#[test]
fn odd_sizes_and_other_machines_agree() {
    step("13-9-7-5", 24, 5, Machine::DEFAULT, 1);
    step("7-2", 3, 1, Machine::DEFAULT, 0);
    step("17-33-3", 19, 0, Machine::with_lanes(4), 0);
    step("1-1-2", 1, 0, Machine::with_lanes(2), 0);
    step("20-31-18-11", 40, 7, Machine::with_lanes(16), 1);
    step("64-32-10", 64, 0, Machine { vector_lanes: 4, ..Machine::DEFAULT }, 0);
}

/// Gradients of padded rows are exactly zero, whatever their inputs: the same batch without them gives the same bits.
#[test]
fn padded_rows_change_nothing() {
    let model = Model::mlp("12-9-5").unwrap();
    let run = |fill: f32| {
        let compiled = compile::network(&model.graph, 16, MOMENTUM, Machine::DEFAULT).unwrap();
        let mut bench = Bench::new(compiled);
        bench.parameters(&initialize(&model.graph, 2));
        let mut x = pixels(16 * 12, 1);
        x[11 * 12..].fill(fill);
        let labels: Vec<u32> = (0..16).map(|i| if i < 11 { i % 5 } else { PADDED_LABEL }).collect();
        bench.batch(0, &x, &labels);
        bench.scalars(11, 8, 0.1, 0.0);
        bench.run(0);
        bench.run(1);
        let masters: Vec<Vec<u32>> = bench.compiled.parameters.iter().map(|p| bits(bench.read(p.master))).collect();
        (masters, bench.sreg(sreg::LOSS).to_bits())
    };
    assert_eq!(run(0.0), run(3.5));
}

fn bits(v: Vec<f32>) -> Vec<u32> {
    v.iter().map(|v| v.to_bits()).collect()
}

/// The same network and data give the same bits on every machine: the compiler's choices are not part of the result.
#[test]
fn results_do_not_depend_on_the_machine() {
    let model = Model::mlp("30-20-10").unwrap();
    let run = |machine: Machine| {
        let mut bench = Bench::new(compile::network(&model.graph, 48, MOMENTUM, machine).unwrap());
        bench.parameters(&initialize(&model.graph, 9));
        let labels: Vec<u32> = (0..48).map(|i| i * 3 % 10).collect();
        for step in 0..3 {
            bench.batch(step % 2, &pixels(48 * 30, step), &labels);
            bench.scalars(48, 12, 0.1, 0.9);
            bench.run(0);
            bench.run(1);
        }
        let mut all: Vec<Vec<u32>> = bench.compiled.parameters.iter().map(|p| bits(bench.read(p.master))).collect();
        all.push(vec![bench.sreg(sreg::LOSS).to_bits(), bench.sreg(sreg::CORRECT).to_bits()]);
        all
    };
    let want = run(Machine::DEFAULT);
    for machine in
        [Machine::with_lanes(4), Machine::with_lanes(16), Machine { vector_lanes: 2, acc_rows: 32, ..Machine::DEFAULT }]
    {
        assert_eq!(run(machine), want, "{machine:?}");
    }
}

/// An overflow in the gradient of the logits cannot hide: it reaches the flag of the weight gradient.
#[test]
fn overflow_raises_the_weight_gradient_flag() {
    let model = Model::mlp("12-9-5").unwrap();
    let mut bench = Bench::new(compile::network(&model.graph, 16, MOMENTUM, Machine::DEFAULT).unwrap());
    // All inputs and weights zero: every hidden unit is masked, every product of the weight gradient is Inf times zero.
    bench.parameters(&model.graph.parameters.iter().map(|p| vec![0.0; p.len()]).collect::<Vec<_>>());
    bench.batch(0, &vec![0.0; 16 * 12], &[1; 16]);
    bench.scalars(16, 24, 0.1, 0.9);
    bench.run(0);
    let flags = bench.fetcher.flag_bits();
    assert_eq!(flags, 1 << flag::ACTIVATION_GRADIENT | 1 << flag::WEIGHT_GRADIENT);
}

#[test]
fn a_forward_overflow_raises_the_forward_flag() {
    let model = Model::mlp("4-2").unwrap();
    let mut bench = Bench::new(compile::network(&model.graph, 8, MOMENTUM, Machine::DEFAULT).unwrap());
    bench.parameters(&[vec![60000.0; 8], vec![0.0; 2]]);
    bench.batch(0, &[1.0; 32], &[0; 8]);
    bench.scalars(8, 0, 0.1, 0.9);
    bench.run(bench.compiled.evaluate.segment);
    assert!(bench.fetcher.flag_bits() >> flag::FORWARD & 1 == 1);
    assert!(!bench.sreg(sreg::LOSS).is_finite());
}

/// Evaluation gives the loss and hits of the compute segment.
#[test]
fn evaluation_agrees_with_training() {
    let model = Model::mlp("64-32-10").unwrap();
    let mut bench = Bench::new(compile::network(&model.graph, 32, MOMENTUM, Machine::DEFAULT).unwrap());
    bench.parameters(&initialize(&model.graph, 4));
    let labels: Vec<u32> = (0..32).map(|i| i % 10).collect();
    bench.batch(0, &pixels(2048, 8), &labels);
    bench.scalars(32, 3, 0.1, 0.9);
    bench.run(bench.compiled.phases[0].passes[0].segment);
    let trained = (bench.sreg(sreg::LOSS), bench.sreg(sreg::CORRECT));
    (bench.memory.sregs[sreg::LOSS], bench.memory.sregs[sreg::CORRECT]) = (0, 0);
    bench.run(bench.compiled.evaluate.segment);
    assert_eq!((bench.sreg(sreg::LOSS), bench.sreg(sreg::CORRECT)), trained);
}

#[test]
fn it_learns() {
    let model = Model::mlp("16-12-4").unwrap();
    let compiled = compile::network(&model.graph, 16, Optimizer::Sgd { momentum: false }, Machine::DEFAULT).unwrap();
    let mut bench = Bench::new(compiled);
    let start = initialize(&model.graph, 1);
    bench.parameters(&start);
    let x = pixels(256, 11);
    let labels: Vec<u32> = (0..16).map(|i| i * 5 % 4).collect();
    let mut want = doubles(&start);
    let mut sgd = reference::Sgd::new(0.5, None);
    let x64: Vec<f64> = x.iter().map(|&v| v as f64).collect();
    for _ in 0..300 {
        bench.batch(0, &x, &labels);
        bench.scalars(16, 10, 0.5, 0.0);
        bench.run(0);
        bench.run(1);
        let g = reference::gradients(&model.graph, &want, &x64, &labels).gradients;
        sgd.step(&mut want, &g);
    }
    let (loss, reference) = (bench.sreg(sreg::LOSS), reference::evaluate(&model.graph, &want, &x64, &labels).loss);
    println!("loss {loss}, FP64 {reference}");
    assert!(loss < 0.1 && bench.sreg(sreg::CORRECT) == 16.0, "loss {loss}, FP64 {reference}");
}

#[test]
fn what_does_not_fit_is_named() {
    let graph = |m: &str| Model::mlp(m).unwrap().graph;
    let refuse = |m: &str, batch, machine| compile::network(&graph(m), batch, MOMENTUM, machine).unwrap_err();
    let big = Machine { hmem_words: 1 << 19, smem_words: 1 << 19, ..Machine::DEFAULT };
    assert!(compile::network(&graph("784-128-10"), 64, MOMENTUM, big).is_ok());
    let e = refuse("784-128-10", 64, Machine::DEFAULT);
    let CompileError::Memory { tensor, need, room, .. } = &e else { panic!("{e}") };
    assert!(need > room, "{e}");
    assert!(e.to_string().contains(tensor.as_str()) && e.to_string().contains(&need.to_string()), "{e}");
    let e = refuse("64-2000-10", 32, big);
    assert!(matches!(e, CompileError::Mask { need: 64032, room: 32768, .. }), "{e}");
    let e = refuse("64-32-10", 32, Machine { pmem_words: 256, ..Machine::DEFAULT });
    assert!(matches!(e, CompileError::Program { room: 256, .. }), "{e}");
    let e = refuse("64-32-10", 0, Machine::DEFAULT);
    assert!(matches!(e, CompileError::Size { .. }), "{e}");
}

/// Predicted cycles of a step of 64-32-10 at batch 32 and of 784-128-10 at batch 64: a slower schedule fails here.
#[test]
fn predicted_steps_stay_fast() {
    let big = Machine { hmem_words: 1 << 19, smem_words: 1 << 19, ..Machine::DEFAULT };
    for (model, batch, machine, cycles) in [("64-32-10", 32, Machine::DEFAULT, 4_350), ("784-128-10", 64, big, 235_000)]
    {
        let c = compile::network(&Model::mlp(model).unwrap().graph, batch, MOMENTUM, machine).unwrap();
        let step = c.predicted_step();
        println!("{model}: {step} cycles, {} at peak", c.macs_per_step / 64);
        assert!(step <= cycles, "{model}: {step} cycles");
    }
}
