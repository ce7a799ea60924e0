//! The reference against gradients that PyTorch recorded: `tests/data/README.md`.

use safetensors::SafeTensors;

use super::ops::{Operands, backward, forward, regression};
use crate::graph::{BufferId, Cell, Node, Op, ParameterId, Regression, Statistics, Window};

const FILE: &[u8] = include_bytes!("../../tests/data/layer_gradients.safetensors");

fn tensor(name: &str) -> (Vec<usize>, Vec<f64>) {
    let file = SafeTensors::deserialize(FILE).unwrap();
    let t = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let word = |b: &[u8]| [b[0], b[1], b[2], b[3]];
    let value = |b: &[u8]| match t.dtype() {
        safetensors::Dtype::F32 => f32::from_le_bytes(word(b)) as f64,
        _ => i32::from_le_bytes(word(b)) as f64,
    };
    (t.shape().to_vec(), t.data().chunks(4).map(value).collect())
}

fn close(what: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(0.0, |a: f64, v| a.max(v.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        // Recorded in FP32.
        assert!((g - w).abs() <= 2e-7 * largest, "{what} [{i}]: {g}, recorded {w}");
    }
}

/// A layer: inputs of one batch, parameters in the order of the operation.
fn layer(case: &str, op: Op, parameters: &[&str]) {
    let tokens = matches!(op, Op::Embedding { .. });
    let (in_shape, x) = tensor(&format!("{case}.in.{}", if tokens { "ids" } else { "x" }));
    let (out_shape, want) = tensor(&format!("{case}.out"));
    let values: Vec<Vec<f64>> = parameters.iter().map(|p| tensor(&format!("{case}.param.{p}")).1).collect();
    let node = Node {
        op,
        inputs: Vec::new(),
        shape: out_shape[1..].to_vec(),
        features: out_shape[1..].iter().product(),
        name: case.into(),
    };
    let operands = Operands {
        rows: in_shape[0],
        x: vec![&x],
        shapes: vec![&in_shape[1..]],
        parameters: values.iter().map(Vec::as_slice).collect(),
        kept: None,
        valid: &vec![true; in_shape[0]],
        running: None,
    };
    let y = forward(&node, &operands);
    close(&format!("{case}.out"), &y, &want);
    let (dx, dp) = backward(&node, &operands, &y, &tensor(&format!("{case}.upstream")).1);
    if !tokens {
        close(&format!("{case}.grad.x"), &dx[0], &tensor(&format!("{case}.grad.x")).1);
    }
    for (p, d) in parameters.iter().zip(&dp) {
        close(&format!("{case}.grad.{p}"), d, &tensor(&format!("{case}.grad.{p}")).1);
    }
}

#[test]
fn layers_are_pytorchs() {
    let (weight, bias) = (ParameterId(0), ParameterId(1));
    let window = |kernel, stride, padding| Window { kernel, stride, padding };
    let wb = ["weight", "bias"];
    layer("conv2d", Op::Conv2d { weight, bias, window: window(3, 2, 1) }, &wb);
    layer("conv2d_valid5", Op::Conv2d { weight, bias, window: window(5, 1, 0) }, &wb);
    layer("conv_transpose2d", Op::ConvTranspose2d { weight, bias, window: window(4, 2, 1) }, &wb);
    layer("max_pool2d", Op::MaxPool2d { kernel: 2 }, &[]);
    layer("avg_pool2d", Op::AvgPool2d { kernel: 2 }, &[]);
    layer("layer_norm", Op::LayerNorm { weight, bias }, &wb);
    let running = Statistics { mean: BufferId(0), variance: BufferId(1), batches: BufferId(2) };
    layer("batch_norm2d", Op::BatchNorm { weight, bias, running }, &wb);
    layer("embedding", Op::Embedding { weight }, &["weight"]);
    layer("leaky_relu", Op::LeakyRelu { slope: 0.2 }, &[]);
    layer("tanh", Op::Tanh, &[]);
    layer("sigmoid", Op::Sigmoid, &[]);
    let cell = Cell { weight_ih: weight, weight_hh: bias, bias_ih: ParameterId(2), bias_hh: ParameterId(3) };
    let recurrent = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"];
    layer("gru", Op::Gru(cell), &recurrent);
    layer("lstm", Op::Lstm(cell), &recurrent);
}

#[test]
fn losses_are_pytorchs() {
    for (case, kind) in [("mse", Regression::Mse), ("smooth_l1", Regression::SmoothL1)] {
        let (x, y) = (tensor(&format!("{case}.in.x")), tensor(&format!("{case}.in.y")));
        let (loss, dx) = regression((kind, 1.0), &x.1, &y.1, &vec![0; x.0[0]]);
        close(case, &[loss], &tensor(&format!("{case}.out")).1);
        close(case, &dx, &tensor(&format!("{case}.grad.x")).1);
    }
    let (x, y) = (tensor("sigmoid_bce.in.logits"), tensor("sigmoid_bce.in.target"));
    let (loss, dx) = regression((Regression::SigmoidBce, 1.0), &x.1, &y.1, &vec![0; x.0[0]]);
    close("sigmoid_bce", &[loss], &tensor("sigmoid_bce.out").1);
    close("sigmoid_bce", &dx, &tensor("sigmoid_bce.grad.logits").1);
    let (x, y) = (tensor("softmax_cross_entropy.in.logits"), tensor("softmax_cross_entropy.in.target"));
    let labels: Vec<u32> = y.1.iter().map(|&v| v as u32).collect();
    close("softmax", &[super::loss(&x.1, &labels, 10).0], &tensor("softmax_cross_entropy.out").1);
    close("softmax", &super::loss_gradient(&x.1, &labels, 10), &tensor("softmax_cross_entropy.grad.logits").1);
}
