//! A plain trainer of the same graph, in FP32 (the baseline) or FP64 (the yardstick of tests). No FP16 anywhere, no loss
//! scale, nothing shared with the compiler.

mod norm;
mod ops;
mod optimizer;
mod product;
#[cfg(test)]
mod recorded;
mod recurrent;
pub mod train;

use crate::compile::PADDED_LABEL;
use crate::graph::{GradientOp, Graph, Node, NodeId, Op, ParameterId, differentiate};
use ops::Operands;
pub use optimizer::Updates;

/// The arithmetic of a reference run.
pub trait Real:
    Copy
    + PartialOrd
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
{
    /// From a double.
    fn of(v: f64) -> Self;
    /// To a double.
    fn f64(self) -> f64;
    /// e^self.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// 1/self.
    fn recip(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
}

macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            fn of(v: f64) -> Self {
                v as $t
            }
            fn f64(self) -> f64 {
                self as f64
            }
            fn exp(self) -> Self {
                self.exp()
            }
            fn ln(self) -> Self {
                self.ln()
            }
            fn recip(self) -> Self {
                1.0 / self
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn tanh(self) -> Self {
                self.tanh()
            }
        }
    };
}
real!(f32);
real!(f64);

/// Loss, right predictions and gradients of one batch.
#[derive(Clone, Debug)]
pub struct Pass<T> {
    /// Mean loss over the valid rows.
    pub loss: T,
    /// Valid rows whose largest logit (the first of equals) is their label.
    pub correct: usize,
    /// Logits, `[rows, classes]` or `[rows, steps, classes]`; of a graph without a loss its output.
    pub logits: Vec<T>,
    /// One gradient per parameter, in the graph's order, row-major, zeros for those that require none; empty after [`evaluate`].
    pub gradients: Vec<Vec<T>>,
}

/// Forward pass and loss on `x` (`[rows, features]`) and `labels` (`[rows]`, or `[rows, steps]`); rows with a label that is no class count for nothing. Batch
/// normalisations use the batch's own statistics, as in training.
pub fn evaluate<T: Real>(graph: &Graph, parameters: &[Vec<T>], x: &[T], labels: &[u32]) -> Pass<T> {
    run(graph, &State::of(graph, parameters, labels), x, labels).0
}

/// As [`evaluate`], by the running statistics in `buffers`: what an evaluation on a device does.
pub fn evaluate_trained<T: Real>(
    graph: &Graph,
    parameters: &[Vec<T>],
    buffers: &[Vec<T>],
    x: &[T],
    labels: &[u32],
) -> Pass<T> {
    run(graph, &State { buffers: Some(buffers), ..State::of(graph, parameters, labels) }, x, labels).0
}

/// Moves `buffers` (in the graph's order) as a training pass over this batch does.
pub fn follow<T: Real>(graph: &Graph, parameters: &[Vec<T>], buffers: &mut [Vec<T>], x: &[T], labels: &[u32]) {
    let state = State::of(graph, parameters, labels);
    let values = run(graph, &state, x, labels).1;
    for node in &graph.nodes {
        let Op::BatchNorm { running, .. } = node.op else { continue };
        let [mean, variance, batches] =
            buffers.get_disjoint_mut([running.mean.0, running.variance.0, running.batches.0]).expect("buffers differ");
        norm::follow(node, &state.valid, &values[node.inputs[0].0], [mean, variance]);
        batches[0] = batches[0] + T::of(1.0);
    }
}

/// What a pass reads besides its batch.
struct State<'a, T> {
    parameters: &'a [Vec<T>],
    /// What each of [`Graph::dropouts`] keeps.
    kept: &'a [Vec<bool>],
    /// Where the running statistics are to be used.
    buffers: Option<&'a [Vec<T>]>,
    /// Rows that count.
    valid: Vec<bool>,
}

impl<'a, T> State<'a, T> {
    /// For a pass that trains and drops nothing.
    fn of(graph: &Graph, parameters: &'a [Vec<T>], labels: &[u32]) -> State<'a, T> {
        let valid = labels.chunks(graph.labels_per_row()).map(|l| l[0] < PADDED_LABEL).collect();
        State { parameters, kept: &[], buffers: None, valid }
    }
}

/// Forward pass, loss and all gradients, nothing dropped.
pub fn gradients<T: Real>(graph: &Graph, parameters: &[Vec<T>], x: &[T], labels: &[u32]) -> Pass<T> {
    gradients_keeping(graph, parameters, x, labels, &[])
}

/// As [`gradients`], with what each of [`Graph::dropouts`] keeps, `[rows, features]`; the others keep everything, unscaled.
pub fn gradients_keeping<T: Real>(
    graph: &Graph,
    parameters: &[Vec<T>],
    x: &[T],
    labels: &[u32],
    kept: &[Vec<bool>],
) -> Pass<T> {
    gradients_watched(graph, parameters, x, labels, kept, |_, _| ())
}

/// As [`gradients_keeping`]; `watch` is shown each node's value's gradient, `[rows, features]`, where there is one.
pub fn gradients_watched<T: Real>(
    graph: &Graph,
    parameters: &[Vec<T>],
    x: &[T],
    labels: &[u32],
    kept: &[Vec<bool>],
    mut watch: impl FnMut(&Node, &[T]),
) -> Pass<T> {
    let state = State { kept, ..State::of(graph, parameters, labels) };
    let (mut pass, values) = run(graph, &state, x, labels);
    let zero = T::of(0.0);
    let samples = state.valid.len();
    pass.gradients = parameters.iter().map(|p| vec![zero; p.len()]).collect();
    let mut by_output: Vec<Vec<T>> = vec![Vec::new(); graph.nodes.len()];
    for step in differentiate(graph) {
        let node = graph.node(step.node);
        let input = node.inputs[0];
        let n_out = *node.shape.last().unwrap_or(&1);
        let n_in = *graph.node(input).shape.last().unwrap_or(&1);
        let rows = samples * (node.features / n_out);
        let dy = std::mem::take(&mut by_output[step.node.0]);
        let dx = match step.op {
            GradientOp::Loss => match node.op {
                Op::Regression { kind, weight } => {
                    ops::regression((kind, weight), &values[input.0], &values[node.inputs[1].0], labels).1
                }
                _ => loss_gradient(&pass.logits, labels, graph.classes()),
            },
            GradientOp::Node(which) => {
                let o = operands(graph, step.node, &state, &values, samples);
                let (mut inputs, by_parameter) = ops::backward(node, &o, &values[step.node.0], &dy);
                for (p, g) in node.op.parameters().into_iter().zip(by_parameter) {
                    if graph.parameter(p).requires_grad {
                        pass.gradients[p.0] = g;
                    }
                }
                inputs.swap_remove(which)
            }
            GradientOp::Relu => {
                let keep = |(&d, &y): (&T, &T)| if y > zero { d } else { zero };
                dy.iter().zip(&values[step.node.0]).map(keep).collect()
            }
            GradientOp::DenseInput => {
                let Op::Dense { weight, .. } = node.op else { unreachable!("DenseInput belongs to a dense node") };
                let mut dx = vec![zero; rows * n_in];
                product::by_input(&mut dx, &dy, &parameters[weight.0], n_out);
                dx
            }
            GradientOp::DenseParameters { weight, bias } => {
                let [dw, db] = pass.gradients.get_disjoint_mut([weight.0, bias.0]).expect("parameters differ");
                product::by_parameters(dw, db, &dy, &values[input.0]);
                Vec::new()
            }
        };
        by_output[step.node.0] = dy;
        if let Some(NodeId(i)) = step.produces {
            by_output[i] = match step.accumulate {
                true => by_output[i].iter().zip(&dx).map(|(&a, &b)| a + b).collect(),
                false => dx,
            };
        }
    }
    let shown = graph.nodes.iter().zip(&by_output).filter(|(_, g)| !g.is_empty());
    shown.for_each(|(node, g)| watch(node, g));
    pass
}

fn operands<'a, T: Real>(
    graph: &'a Graph,
    node: NodeId,
    state: &'a State<T>,
    values: &'a [Vec<T>],
    rows: usize,
) -> Operands<'a, T> {
    let n = graph.node(node);
    let dropout = graph.dropouts().iter().position(|&d| d == node);
    Operands {
        rows,
        x: n.inputs.iter().map(|i| values[i.0].as_slice()).collect(),
        shapes: n.inputs.iter().map(|&i| graph.node(i).shape.as_slice()).collect(),
        parameters: n.op.parameters().iter().map(|&ParameterId(p)| state.parameters[p].as_slice()).collect(),
        kept: dropout.and_then(|d| state.kept.get(d)).map(Vec::as_slice),
        valid: &state.valid,
        running: match (n.op, state.buffers) {
            (Op::BatchNorm { running, .. }, Some(buffers)) => {
                Some([running.mean, running.variance].map(|b| buffers[b.0].as_slice()))
            }
            _ => None,
        },
    }
}

fn run<T: Real>(graph: &Graph, state: &State<T>, x: &[T], labels: &[u32]) -> (Pass<T>, Vec<Vec<T>>) {
    let parameters = state.parameters;
    let zero = T::of(0.0);
    let rows = state.valid.len();
    let mut values: Vec<Vec<T>> = Vec::new();
    let mut pass = Pass { loss: zero, correct: 0, logits: Vec::new(), gradients: Vec::new() };
    for (id, node) in graph.nodes.iter().enumerate() {
        let input = node.inputs.first().map(|i| &values[i.0]);
        let value = match (&node.op, input) {
            (Op::Input | Op::Latent, _) => part(x, graph.input_features(), 0, node.features),
            (Op::Target, _) => part(x, graph.input_features(), graph.input_features() - node.features, node.features),
            (Op::Constant { value }, _) => vec![T::of((*value).into()); rows * node.features],
            (Op::Dense { weight, bias }, Some(v)) => product::affine(v, &parameters[weight.0], &parameters[bias.0]),
            (Op::Relu, Some(v)) => v.iter().map(|&v| if v > zero { v } else { zero }).collect(),
            (Op::SoftmaxCrossEntropy, Some(v)) => {
                (pass.loss, pass.correct) = loss(v, labels, graph.classes());
                pass.logits = v.clone();
                vec![pass.loss]
            }
            (Op::Regression { kind, weight }, Some(v)) => {
                pass.loss = ops::regression((*kind, *weight), v, &values[node.inputs[1].0], labels).0;
                pass.logits = v.clone();
                vec![pass.loss]
            }
            (op, None) => unreachable!("{op:?} without an input"),
            _ => ops::forward(node, &operands(graph, NodeId(id), state, &values, rows)),
        };
        values.push(value);
    }
    if !graph.node(graph.loss()).op.is_loss() {
        pass.logits = values.last().cloned().unwrap_or_default();
    }
    (pass, values)
}

/// `features` numbers of each row of `width`, from number `from` on.
fn part<T: Real>(x: &[T], width: usize, from: usize, features: usize) -> Vec<T> {
    x.chunks(width).map(|row| &row[from..from + features]).collect::<Vec<_>>().concat()
}

fn softmax<T: Real>(row: &[T]) -> (Vec<T>, T, T, usize) {
    let mut best = 0;
    for (i, &v) in row.iter().enumerate() {
        if v > row[best] {
            best = i;
        }
    }
    let e: Vec<T> = row.iter().map(|&v| (v - row[best]).exp()).collect();
    let sum = e.iter().fold(T::of(0.0), |a, &v| a + v);
    (e, sum, row[best], best)
}

fn valid(labels: &[u32], classes: usize) -> usize {
    labels.iter().filter(|&&l| (l as usize) < classes).count()
}

fn loss<T: Real>(logits: &[T], labels: &[u32], classes: usize) -> (T, usize) {
    let (mut total, mut correct) = (T::of(0.0), 0);
    for (row, &label) in logits.chunks(classes).zip(labels) {
        let label = label as usize;
        if label < classes {
            let (_, sum, max, best) = softmax(row);
            total = total + (sum.ln() - (row[label] - max));
            correct += (best == label) as usize;
        }
    }
    (total * T::of(valid(labels, classes).max(1) as f64).recip(), correct)
}

fn loss_gradient<T: Real>(logits: &[T], labels: &[u32], classes: usize) -> Vec<T> {
    let seed = T::of(valid(labels, classes).max(1) as f64).recip();
    let mut out = Vec::with_capacity(logits.len());
    for (row, &label) in logits.chunks(classes).zip(labels) {
        let (e, sum, _, _) = softmax(row);
        let weight = if (label as usize) < classes { seed } else { T::of(0.0) };
        let one = |c: usize| T::of((c == label as usize) as u32 as f64);
        out.extend(e.iter().enumerate().map(|(c, &v)| (v * sum.recip() - one(c)) * weight));
    }
    out
}

/// SGD as in PyTorch: `buf = momentum·buf + g; p −= lr·buf`.
#[derive(Clone, Debug)]
pub struct Sgd<T> {
    /// Learning rate.
    pub lr: T,
    /// Momentum; `None` keeps no buffers.
    pub momentum: Option<T>,
    /// One buffer per parameter, empty before the first step.
    pub buffers: Vec<Vec<T>>,
}

impl<T: Real> Sgd<T> {
    /// An optimizer that has not stepped yet.
    pub fn new(lr: T, momentum: Option<T>) -> Sgd<T> {
        Sgd { lr, momentum, buffers: Vec::new() }
    }

    /// One update of all `parameters`.
    pub fn step(&mut self, parameters: &mut [Vec<T>], gradients: &[Vec<T>]) {
        if self.buffers.is_empty() {
            self.buffers = gradients.iter().map(|g| vec![T::of(0.0); g.len()]).collect();
        }
        for ((p, g), buf) in parameters.iter_mut().zip(gradients).zip(&mut self.buffers) {
            for ((p, &g), b) in p.iter_mut().zip(g).zip(buf) {
                *b = if let Some(mu) = self.momentum { mu * *b + g } else { g };
                *p = *p - self.lr * *b;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Model, initialize};

    /// Every gradient against central differences in f64, with one padded row.
    #[test]
    fn gradients_match_finite_differences() {
        let model = Model::mlp("5-4-3-3").unwrap();
        let mut p: Vec<Vec<f64>> =
            initialize(&model.graph, 3).iter().map(|t| t.iter().map(|&v| v as f64).collect()).collect();
        let x: Vec<f64> = (0..20).map(|i| ((i * 37 % 11) as f64 - 5.0) / 4.0).collect();
        let labels = [2, 0, 255, 1];
        let pass = gradients(&model.graph, &p, &x, &labels);
        let h = 1e-6;
        for t in 0..p.len() {
            for i in 0..p[t].len() {
                let at = p[t][i];
                p[t][i] = at + h;
                let up = evaluate(&model.graph, &p, &x, &labels).loss;
                p[t][i] = at - h;
                let down = evaluate(&model.graph, &p, &x, &labels).loss;
                p[t][i] = at;
                let (want, got) = ((up - down) / (2.0 * h), pass.gradients[t][i]);
                assert!((want - got).abs() < 1e-8, "{} [{i}]: {want} {got}", model.graph.parameters[t].name);
            }
        }
    }

    #[test]
    fn sgd_lowers_the_loss() {
        let model = Model::mlp("4-8-3").unwrap();
        let mut p = initialize(&model.graph, 1);
        let x: Vec<f32> = (0..48).map(|i| ((i * 29 % 17) as f32 - 8.0) / 8.0).collect();
        let labels: Vec<u32> = (0..12).map(|i| i * 7 % 3).collect();
        let mut sgd = Sgd::new(0.1, Some(0.9));
        let first = evaluate(&model.graph, &p, &x, &labels).loss;
        for _ in 0..200 {
            let g = gradients(&model.graph, &p, &x, &labels).gradients;
            sgd.step(&mut p, &g);
        }
        let last = evaluate(&model.graph, &p, &x, &labels);
        assert!(last.loss < first / 10.0, "{first} -> {}", last.loss);
        assert_eq!(last.correct, 12);
    }
}
