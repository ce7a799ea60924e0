//! Every operation, compiled and executed by the model's engines, against the FP64 reference; the reference's gradients
//! against central differences.

mod bench;

use bench::{Bench, MOMENTUM, doubles, largest, pixels, rounded};
use systole::compile::{self, CompileError, PADDED_LABEL};
use systole::graph::{Graph, initialize, parse_file};
use systole::reference;
use systole_isa::machine::Machine;
use systole_isa::{flag, sreg};

/// A graph from the layers of a model file.
fn graph(input: &str, layers: &str, loss: &str) -> Graph {
    let mut text = format!("name = \"t\"\ninput = {input}\nloss = \"{loss}\"\n");
    for layer in layers.split(';') {
        text += "[[layer]]\n";
        for field in layer.split(" & ") {
            text += &format!("{}\n", field.trim());
        }
    }
    parse_file(&text).unwrap_or_else(|e| panic!("{e}\n{text}")).0.graph
}

const CLASSES: &str = "softmax_cross_entropy";

/// Networks that between them hold every operation, with parameters before it, so that its input's gradient is wanted.
/// An image's loss against numbers behind it.
fn targeted(layers: &str, target: usize, weight: f32) -> Graph {
    graph("[1, 5, 5]", layers, &format!("smooth_l1\"\ntarget = {target}\nloss_weight = {weight} #\""))
}

fn networks() -> Vec<(&'static str, Graph)> {
    let conv = "op = 'conv2d' & channels = 3 & kernel = 3 & padding = 1";
    let end = "op = 'flatten';op = 'dense' & features = 5";
    let image = |middle: &str| graph("[1, 6, 6]", &format!("{conv};{middle};{end}"), CLASSES);
    let vector = |middle: &str| {
        let dense = "op = 'dense' & features = 9";
        graph("[14]", &format!("{dense} & name = 'a';{middle};op = 'dense' & features = 5"), CLASSES)
    };
    let sequence = |middle: &str| {
        let dense = "op = 'dense' & features = 6";
        graph("[4, 5]", &format!("{dense};{middle};op = 'dense' & features = 5"), CLASSES)
    };
    vec![
        ("conv2d", image("op = 'relu';op = 'conv2d' & channels = 4 & kernel = 3")),
        ("conv2d, strides", image("op = 'conv2d' & channels = 4 & kernel = 3 & stride = 2 & padding = 1;op = 'relu'")),
        ("two channels", graph("[2, 5, 4]", &format!("op = 'conv2d' & channels = 3 & kernel = 2;{end}"), CLASSES)),
        ("conv_transpose2d", image("op = 'conv_transpose2d' & channels = 2 & kernel = 4 & stride = 2 & padding = 1")),
        ("max_pool2d", image("op = 'relu';op = 'max_pool2d' & kernel = 2")),
        ("max_pool2d by 3", image("op = 'max_pool2d' & kernel = 3")),
        ("avg_pool2d", image("op = 'avg_pool2d' & kernel = 2")),
        ("relu", vector("op = 'relu'")),
        ("leaky_relu", vector("op = 'leaky_relu' & slope = 0.2")),
        ("tanh", vector("op = 'tanh'")),
        ("sigmoid", vector("op = 'sigmoid'")),
        ("layer_norm", vector("op = 'layer_norm'")),
        ("batch_norm", vector("op = 'batch_norm'")),
        ("batch_norm of images", image("op = 'batch_norm';op = 'relu'")),
        (
            "batch_norms",
            image("op = 'batch_norm';op = 'tanh';op = 'flatten';op = 'dense' & features = 6;op = 'batch_norm'"),
        ),
        ("add", vector("op = 'tanh';op = 'add' & inputs = ['a', '1']")),
        ("concat", vector("op = 'tanh';op = 'concat' & inputs = ['1', 'a', '1']")),
        ("concat of images", image("op = 'relu';op = 'concat' & inputs = ['0', '1']")),
        (
            "reshape",
            vector("op = 'reshape' & shape = [1, 3, 3];op = 'conv2d' & channels = 2 & kernel = 2;op = 'flatten'"),
        ),
        ("gru", sequence("op = 'gru' & hidden = 7;op = 'last'")),
        ("lstm", sequence("op = 'lstm' & hidden = 7;op = 'last'")),
        ("whole sequence", sequence("op = 'gru' & hidden = 3;op = 'layer_norm';op = 'flatten'")),
        ("classes of steps", sequence("op = 'gru' & hidden = 7")),
        (
            "embedding",
            graph(
                "[5]",
                "op = 'embedding' & vocabulary = 7 & features = 6;op = 'lstm' & hidden = 4;op = 'dense' & features = 5",
                CLASSES,
            ),
        ),
        ("select", sequence("op = 'lstm' & hidden = 3;op = 'select' & index = 2")),
        ("slice", vector("op = 'tanh';op = 'slice' & start = 2 & end = 7")),
        ("slice of images", image("op = 'relu';op = 'slice' & start = 1;op = 'conv2d' & channels = 2 & kernel = 2")),
        (
            "slices of a sequence",
            sequence(
                "op = 'tanh' & name = 't';op = 'slice' & end = 3 & name = 'a';op = 'slice' & start = 1 & inputs = ['t'];\
                 op = 'concat' & inputs = ['a', '3'];op = 'gru' & hidden = 3",
            ),
        ),
        ("repeat", vector("op = 'repeat' & steps = 3;op = 'gru' & hidden = 4")),
        (
            "encoder and decoder",
            sequence(
                "op = 'slice' & end = 2 & name = 'a';op = 'lstm' & hidden = 3;op = 'last';op = 'repeat' & steps = 3 & name = 'c';\
                 op = 'slice' & start = 1 & inputs = ['0'];op = 'concat' & inputs = ['5', 'c'];op = 'lstm' & hidden = 4",
            ),
        ),
        ("mse", graph("[10]", "op = 'dense' & features = 4;op = 'tanh';op = 'dense' & features = 10", "mse")),
        ("a target", targeted("op = 'conv2d' & channels = 3 & kernel = 3 & stride = 2;op = 'flatten'", 12, 0.375)),
        ("smooth_l1", graph("[10]", "op = 'dense' & features = 4;op = 'dense' & features = 10", "smooth_l1")),
        ("sigmoid_bce", graph("[10]", "op = 'dense' & features = 4;op = 'dense' & features = 10", "sigmoid_bce")),
    ]
}

/// Labels `[batch]` or `[batch, steps]`, with the last `padded` rows without one.
fn labels(graph: &Graph, batch: usize, padded: usize) -> Vec<u32> {
    let steps = graph.labels_per_row();
    let valid = (batch - padded) * steps;
    (0..batch * steps).map(|i| if i < valid { (i * 3 % 5) as u32 } else { PADDED_LABEL }).collect()
}

/// A batch that FP16 holds exactly: tokens where the graph takes some.
fn batch_of(graph: &Graph, batch: usize, seed: usize) -> Vec<f32> {
    let n = batch * graph.input_features();
    match graph.vocabulary() {
        Some(v) => (0..n).map(|i| ((i * 7919 + seed * 31 + i * i % 101) % v) as f32).collect(),
        None => pixels(n, seed),
    }
}

#[test]
fn gradients_of_every_operation_match_finite_differences() {
    for (name, graph) in networks() {
        let mut p = doubles(&initialize(&graph, 3));
        let features = graph.input_features();
        let x: Vec<f64> = match graph.vocabulary() {
            Some(_) => batch_of(&graph, 4, 1).iter().map(|&v| v as f64).collect(),
            None => (0..4 * features).map(|i| ((i * 37 % 101) as f64 - 50.0) / 64.0).collect(),
        };
        let labels = labels(&graph, 4, 1);
        let pass = reference::gradients(&graph, &p, &x, &labels);
        let h = 1e-6;
        for t in 0..p.len() {
            for i in (0..p[t].len()).step_by(1 + p[t].len() / 60) {
                let at = p[t][i];
                let mut loss = |v: f64| {
                    p[t][i] = v;
                    reference::evaluate(&graph, &p, &x, &labels).loss
                };
                let want = (loss(at + h) - loss(at - h)) / (2.0 * h);
                loss(at);
                let got = pass.gradients[t][i];
                let parameter = &graph.parameters[t].name;
                assert!((want - got).abs() < 1e-7, "{name}, {parameter} [{i}]: differences {want}, gradient {got}");
            }
        }
    }
}

/// Loss and gradients on the device are the reference's within FP16's error, whatever the array.
#[test]
fn every_operation_on_the_device_agrees_with_the_reference() {
    let narrow = Machine { pmem_words: 1 << 15, ..Machine::with_lanes(4) };
    for (name, graph) in networks() {
        for (machine, batch, padded) in [(Machine::DEFAULT, 9, 2), (narrow, 3, 0)] {
            let compiled =
                compile::network(&graph, batch as u32, MOMENTUM, machine).unwrap_or_else(|e| panic!("{name}: {e}"));
            let mut bench = Bench::new(compiled);
            let parameters = initialize(&graph, 5);
            bench.parameters(&parameters);
            let features = graph.input_features();
            let mut x = batch_of(&graph, batch, 3);
            x[(batch - padded) * features..].fill(0.0);
            let labels = labels(&graph, batch, padded);
            bench.batch(1, &x, &labels);
            bench.scalars(batch - padded, 10, 0.05, 0.9);
            bench.run(bench.compiled.phases[0].passes[0].segment);
            assert_eq!(bench.fetcher.flag_bits(), 0, "{name}");
            let x64: Vec<f64> = x.iter().map(|&v| v as f64).collect();
            let want = reference::gradients(&graph, &rounded(&parameters), &x64, &labels);
            let loss = bench.sreg(sreg::LOSS) as f64;
            assert!(
                (loss - want.loss).abs() < 2e-3 * (1.0 + want.loss),
                "{name}: loss {loss}, reference {}",
                want.loss
            );
            // A gradient may be a small sum of large terms, each of them rounded to FP16: the network's largest counts too.
            let all = want.gradients.iter().map(|g| largest(g)).fold(0.0, f64::max);
            for (p, want) in bench.compiled.parameters.clone().iter().zip(&want.gradients) {
                let got: Vec<f32> = bench.read(p.gradient).iter().map(|g| g / 1024.0).collect();
                let tolerance = 4e-3 * largest(want) + 1e-3 * all;
                for (i, (g, w)) in got.iter().zip(want).enumerate() {
                    let far = (*g as f64 - w).abs();
                    assert!(far < tolerance, "{name}, batch {batch}, {} [{i}]: {g}, reference {w}", p.name);
                }
            }
            bench.run(bench.compiled.evaluate.segment);
            let evaluated = bench.sreg(sreg::LOSS) as f64;
            if graph.buffers.is_empty() {
                assert_eq!(evaluated, loss, "{name}: the evaluation's loss");
                continue;
            }
            let mut buffers: Vec<Vec<f64>> = graph.buffers.iter().map(|b| vec![b.initial as f64; b.len()]).collect();
            reference::follow(&graph, &rounded(&parameters), &mut buffers, &x64, &labels);
            for (b, want) in bench.compiled.buffers.clone().iter().zip(&buffers) {
                let got = bench.read(b.place);
                let near = |(&g, w): (&f32, &f64)| (g as f64 - w).abs() < 1e-3 * (0.1 + w.abs());
                assert!(
                    got.len() == want.len() && got.iter().zip(want).all(near),
                    "{name}, {}: {got:?}, {want:?}",
                    b.name
                );
            }
            let want = reference::evaluate_trained(&graph, &rounded(&parameters), &buffers, &x64, &labels).loss;
            assert!((evaluated - want).abs() < 2e-3 * (1.0 + want), "{name}: evaluation {evaluated}, reference {want}");
        }
    }
}

/// The device's layout depends on its lanes; the numbers do not.
#[test]
fn results_do_not_depend_on_the_machine() {
    for (name, graph) in networks() {
        let run = |machine: Machine| {
            let mut bench = Bench::new(compile::network(&graph, 6, MOMENTUM, machine).unwrap());
            bench.parameters(&initialize(&graph, 9));
            for step in 0..2 {
                bench.batch(step % 2, &batch_of(&graph, 6, step), &labels(&graph, 6, 1));
                bench.scalars(5, 12, 0.1, 0.9);
                bench.run(0);
                bench.run(1);
            }
            let masters = bench.compiled.parameters.iter().flat_map(|p| bench.read(p.master));
            let buffers = bench.compiled.buffers.iter().flat_map(|b| bench.read(b.place));
            let mut bits: Vec<u32> = masters.chain(buffers).map(f32::to_bits).collect();
            bits.push(bench.sreg(sreg::LOSS).to_bits());
            bits
        };
        let wide = Machine { pmem_words: 1 << 16, ..Machine::with_lanes(16) };
        let slow = Machine { vector_lanes: 2, acc_rows: 32, pmem_words: 1 << 16, ..Machine::with_lanes(4) };
        let want = run(Machine::DEFAULT);
        assert_eq!(run(wide), want, "{name}");
        assert_eq!(run(slow), want, "{name}");
    }
}

#[test]
fn an_overflow_inside_a_network_is_flagged() {
    let graph = &networks()[0].1;
    let mut bench = Bench::new(compile::network(graph, 8, MOMENTUM, Machine::DEFAULT).unwrap());
    bench.parameters(&initialize(graph, 1));
    bench.batch(0, &pixels(8 * 36, 1), &labels(graph, 8, 0));
    bench.scalars(8, 24, 0.1, 0.9);
    bench.run(0);
    assert_ne!(bench.fetcher.flag_bits() & 1 << flag::WEIGHT_GRADIENT, 0);
    assert_eq!(bench.fetcher.flag_bits() & 1 << flag::FORWARD, 0);
}

/// Memory is used again, and what cannot fit is named with what it needs.
#[test]
fn plans_reuse_memory_and_refuse_what_does_not_fit() {
    let graph = graph(
        "[1, 8, 8]",
        "op = 'conv2d' & channels = 8 & kernel = 3;op = 'flatten';op = 'dense' & features = 10",
        CLASSES,
    );
    let plan = compile::network(&graph, 16, MOMENTUM, Machine::DEFAULT).unwrap().plan;
    let all: u32 = plan.tensors.iter().map(|t| t.bytes()).sum();
    assert!(plan.peak_bytes() < all, "{} of {all}", plan.peak_bytes());
    let text = plan.to_string();
    assert!(text.contains("FP16") && text.contains("activations") && text.contains("peak"), "{text}");
    match compile::network(&graph, 256, MOMENTUM, Machine::DEFAULT) {
        Err(e @ CompileError::Memory { .. }) => {
            let text = e.to_string();
            let CompileError::Memory { tensor, need, room, plane, demand, .. } = e else { unreachable!() };
            assert!(need > room && demand.bytes() > 2 * plane, "{text}");
            assert!(demand.tensors.iter().any(|t| t.0 == tensor), "{text}");
            assert!(text.contains("activations") && text.contains("gradients") && text.contains("patches` "), "{text}");
        }
        other => panic!("{:?}", other.map(|c| c.plan.to_string())),
    }
}
