//! Dropout: gradients with a mask, on the device and in the reference; runs that resume.

mod bench;
mod stop_after;

use std::path::{Path, PathBuf};

use bench::{Bench, MOMENTUM, doubles, largest, pixels, rounded};
use stop_after::StopAfter;
use systole::compile::{self, PADDED_LABEL};
use systole::data::dropout::{Moment, kept};
use systole::driver::device::DeviceOptions;
use systole::error::Error;
use systole::graph::{Graph, initialize, parse_file};
use systole::reference;
use systole::run::checkpoint::{Checkpoint, FILE};
use systole::run::{Silent, TrainOptions, TrainReport, train};
use systole_isa::machine::Machine;
use systole_isa::{flag, sreg};

/// Dropouts behind a vector, a sequence and an image, and two in one network; parameters before each.
fn networks() -> Vec<Graph> {
    let dense = |features: u32| format!("[[layer]]\nop = 'dense'\nfeatures = {features}\n");
    let drop = |p: f32| format!("[[layer]]\nop = 'dropout'\np = {p:?}\n");
    let relu = "[[layer]]\nop = 'relu'\n";
    let flatten = "[[layer]]\nop = 'flatten'\n";
    let conv = "[[layer]]\nop = 'conv2d'\nchannels = 3\nkernel = 3\n";
    let graph = |input: &str, layers: &str| {
        let text = format!("name = 't'\ninput = {input}\nloss = 'softmax_cross_entropy'\n{layers}{}", dense(5));
        parse_file(&text).unwrap_or_else(|e| panic!("{e}\n{text}")).0.graph
    };
    vec![
        graph("[14]", &(dense(9) + relu + &drop(0.4))),
        graph("[14]", &(drop(0.1) + &dense(11) + &drop(0.25) + &dense(6) + &drop(0.5))),
        graph("[4, 5]", &(dense(6) + &drop(0.3) + flatten)),
        graph("[1, 5, 6]", &(conv.to_string() + &drop(0.6) + relu + flatten)),
    ]
}

/// A mask of its own for each dropout.
fn masks(graph: &Graph, rows: usize, batch: u64) -> Vec<Vec<bool>> {
    let at = Moment { seed: 5, epoch: 1, batch };
    let mask = |(i, id): (usize, _)| match graph.node(id).op {
        systole::graph::Op::Dropout { p } => kept(at, i as u64, p, rows * graph.node(id).features),
        other => unreachable!("{other:?}"),
    };
    graph.dropouts().into_iter().enumerate().map(mask).collect()
}

fn labels(batch: usize, padded: usize) -> Vec<u32> {
    (0..batch).map(|i| if i < batch - padded { (i * 3 % 5) as u32 } else { PADDED_LABEL }).collect()
}

/// Writes a batch and its masks where a session would.
fn send(bench: &mut Bench, slot: usize, x: &[f32], labels: &[u32], masks: &[Vec<bool>]) {
    bench.batch(slot, x, labels);
    let (dropouts, places) = (
        bench.compiled.phases[0].passes[0].dropouts.clone(),
        bench.compiled.phases[0].passes[0].slots[slot].masks.clone(),
    );
    assert_eq!(places.len(), masks.len());
    for ((dropout, place), mask) in dropouts.iter().zip(places).zip(masks) {
        let values: Vec<f32> = mask.iter().map(|&k| k as u32 as f32).collect();
        bench.write(place, &dropout.arrange(labels.len(), &values));
    }
}

#[test]
fn gradients_through_a_mask_match_finite_differences() {
    for graph in networks() {
        let mut p = doubles(&initialize(&graph, 3));
        let x: Vec<f64> = (0..4 * graph.input_features()).map(|i| ((i * 37 % 101) as f64 - 50.0) / 64.0).collect();
        let (labels, kept) = (labels(4, 1), masks(&graph, 4, 0));
        assert!(kept.iter().all(|m| m.contains(&true) && m.contains(&false)));
        let pass = reference::gradients_keeping(&graph, &p, &x, &labels, &kept);
        assert_ne!(pass.loss, reference::evaluate(&graph, &p, &x, &labels).loss, "the mask does something");
        let h = 1e-6;
        for t in 0..p.len() {
            for i in 0..p[t].len() {
                let at = p[t][i];
                let mut loss = |v: f64| {
                    p[t][i] = v;
                    reference::gradients_keeping(&graph, &p, &x, &labels, &kept).loss
                };
                let want = (loss(at + h) - loss(at - h)) / (2.0 * h);
                loss(at);
                let (got, name) = (pass.gradients[t][i], &graph.parameters[t].name);
                assert!((want - got).abs() < 1e-7, "{name} [{i}]: differences {want}, gradient {got}");
            }
        }
    }
}

/// Loss and gradients on the device are the reference's with the same masks; an evaluation drops and scales nothing.
#[test]
fn the_device_agrees_with_the_reference() {
    let narrow = Machine { pmem_words: 1 << 15, ..Machine::with_lanes(4) };
    for graph in networks() {
        for (machine, batch, padded, slot) in [(Machine::DEFAULT, 9, 2, 1), (narrow, 3, 0, 0)] {
            let mut bench = Bench::new(compile::network(&graph, batch as u32, MOMENTUM, machine).unwrap());
            let parameters = initialize(&graph, 5);
            bench.parameters(&parameters);
            let features = graph.input_features();
            let mut x = pixels(batch * features, 3);
            x[(batch - padded) * features..].fill(0.0);
            let (labels, kept) = (labels(batch, padded), masks(&graph, batch, 1));
            send(&mut bench, slot, &x, &labels, &kept);
            bench.scalars(batch - padded, 10, 0.05, 0.9);
            bench.run(bench.compiled.phases[0].passes[0].segment);
            assert_eq!(bench.fetcher.flag_bits(), 0);
            let x64: Vec<f64> = x.iter().map(|&v| v as f64).collect();
            let want = reference::gradients_keeping(&graph, &rounded(&parameters), &x64, &labels, &kept);
            let near =
                |loss: f32, want: f64| assert!((loss as f64 - want).abs() < 2e-3 * (1.0 + want), "{loss}, {want}");
            near(bench.sreg(sreg::LOSS), want.loss);
            let all = want.gradients.iter().map(|g| largest(g)).fold(0.0, f64::max);
            for (p, want) in bench.compiled.parameters.clone().iter().zip(&want.gradients) {
                let tolerance = 4e-3 * largest(want) + 1e-3 * all;
                for (i, (g, w)) in bench.read(p.gradient).iter().zip(want).enumerate() {
                    let far = (*g as f64 / 1024.0 - w).abs();
                    assert!(far < tolerance, "{} [{i}]: {}, reference {w}", p.name, g / 1024.0);
                }
            }
            bench.run(bench.compiled.evaluate.segment);
            near(bench.sreg(sreg::LOSS), reference::evaluate(&graph, &rounded(&parameters), &x64, &labels).loss);
        }
    }
}

#[test]
fn results_do_not_depend_on_the_machine() {
    for graph in networks() {
        let run = |machine: Machine| {
            let mut bench = Bench::new(compile::network(&graph, 6, MOMENTUM, machine).unwrap());
            bench.parameters(&initialize(&graph, 9));
            for step in 0..2 {
                let x = pixels(6 * graph.input_features(), step);
                send(&mut bench, step % 2, &x, &labels(6, 1), &masks(&graph, 6, step as u64));
                bench.scalars(5, 12, 0.1, 0.9);
                bench.run(0);
                bench.run(1);
            }
            let masters = bench.compiled.parameters.iter().flat_map(|p| bench.read(p.master));
            masters.map(f32::to_bits).collect::<Vec<_>>()
        };
        let want = run(Machine::DEFAULT);
        assert_eq!(run(Machine { pmem_words: 1 << 16, ..Machine::with_lanes(16) }), want);
        assert_eq!(run(Machine { vector_lanes: 2, pmem_words: 1 << 16, ..Machine::with_lanes(4) }), want);
    }
}

/// What is scaled beyond FP16 is flagged; what is dropped is not, however large.
#[test]
fn only_what_is_kept_can_overflow() {
    let graph = &networks()[0];
    let mut bench = Bench::new(compile::network(graph, 4, MOMENTUM, Machine::DEFAULT).unwrap());
    // biases of 60,000 and no weights: 60,000/(1 − 0.4) is no FP16 number
    let mut parameters = initialize(graph, 1);
    parameters.iter_mut().for_each(|p| p.fill(0.0));
    parameters[1].fill(60_000.0);
    bench.parameters(&parameters);
    for (keep, want) in [(false, 0), (true, 1)] {
        send(&mut bench, 0, &pixels(4 * 14, 1), &labels(4, 0), &[vec![keep; 4 * 9]]);
        bench.scalars(4, 0, 0.1, 0.9);
        bench.run(0);
        assert_eq!(bench.fetcher.flag_bits() >> flag::FORWARD & 1, want, "kept: {keep}");
    }
}

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/dropout-digits.toml");

fn options(runs: &Path) -> TrainOptions {
    TrainOptions {
        device: DeviceOptions { name: "model".into(), ..DeviceOptions::default() },
        runs: runs.into(),
        model: MODEL.into(),
        epochs: 2,
        seed: 7,
        loss_scale_init: 24,
        growth_interval: 10,
        ..TrainOptions::default()
    }
}

fn outcome(r: &TrainReport) -> (String, Vec<String>) {
    let folder = Path::new(&r.run_dir);
    let sums = Checkpoint::load(&folder.join(FILE)).unwrap().fact("sha256").unwrap().to_string();
    let text = std::fs::read_to_string(folder.join("metrics.csv")).unwrap();
    (sums, text.lines().map(String::from).collect())
}

#[test]
fn a_run_resumes_with_the_masks_that_it_would_have_had() {
    let runs = tempfile::tempdir().unwrap();
    for accumulate in [1, 3] {
        let base = TrainOptions { accumulate, ..options(runs.path()) };
        let whole = train(&base, &mut Silent).unwrap();
        assert!(whole.skipped > 0 && whole.skipped < whole.steps / 2);
        for at in [1, whole.steps / 2 - 3, whole.steps / 2, whole.steps / 2 + 4] {
            let name = format!("stopped-{accumulate}-{at}");
            let first = TrainOptions { name: Some(name.clone()), checkpoint_every: Some(5), ..base.clone() };
            let stopped = train(&first, &mut StopAfter::new(at)).unwrap_err();
            assert!(matches!(stopped, Error::Interrupted { .. }), "{stopped}");
            let resume: Option<PathBuf> = Some(runs.path().join(name));
            let resumed = train(&TrainOptions { resume, ..base.clone() }, &mut Silent).unwrap();
            assert_eq!(outcome(&resumed), outcome(&whole), "{accumulate} micro-batches, stopped after step {at}");
        }
    }
}

#[test]
fn dropout_changes_the_run_and_the_network_learns() {
    let runs = tempfile::tempdir().unwrap();
    let without: String = std::fs::read_to_string(MODEL).unwrap().replace("p = 0.2", "p = 0.0");
    let path = runs.path().join("without.toml");
    std::fs::write(&path, without).unwrap();
    let base = TrainOptions { epochs: 6, ..options(runs.path()) };
    let dropped = train(&base, &mut Silent).unwrap();
    let whole = train(&TrainOptions { model: path.display().to_string(), ..base }, &mut Silent).unwrap();
    assert_ne!(dropped.weights_sha256, whole.weights_sha256);
    assert!(dropped.final_loss > whole.final_loss, "fewer hidden values, a larger loss while training");
    assert!(dropped.test_accuracy > Some(0.9), "{:?}", dropped.test_accuracy);
}
