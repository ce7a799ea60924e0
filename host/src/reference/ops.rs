//! Forward and backward of every operation but dense layers, ReLU and classes, in the plainest form there is. Tensors are
//! `[rows, shape…]`, row-major, as in PyTorch.

use super::product::{Windows, affine, by_input, by_parameters, channels_first, channels_last};
use super::{Real, norm, recurrent};
use crate::compile::optimizer::decimal;
use crate::graph::{Node, Op, Regression};

/// ε of layer and batch normalisation.
pub const EPSILON: f64 = 1e-5;

/// What an operation reads.
pub struct Operands<'a, T> {
    /// Samples.
    pub rows: usize,
    /// Its inputs.
    pub x: Vec<&'a [T]>,
    /// Their shapes without the batch.
    pub shapes: Vec<&'a [usize]>,
    /// Its parameters, in PyTorch's order.
    pub parameters: Vec<&'a [T]>,
    /// What a dropout keeps; `None` drops and scales nothing.
    pub kept: Option<&'a [bool]>,
    /// Whether each sample counts.
    pub valid: &'a [bool],
    /// Running mean and variance of a batch normalisation, where those are to be used.
    pub running: Option<[&'a [T]; 2]>,
}

fn zero<T: Real>() -> T {
    T::of(0.0)
}

fn sigmoid<T: Real>(x: T) -> T {
    (T::of(1.0) + (zero::<T>() - x).exp()).recip()
}

/// Calls `f(output, inputs)` with the flat indices of every square of a pooling, in row-major order within the square.
fn squares(rows: usize, output: &[usize], k: usize, mut f: impl FnMut(usize, &[usize])) {
    let [c, h, w] = [output[0], output[1], output[2]];
    let mut square = Vec::with_capacity(k * k);
    for at in 0..rows * c * h * w {
        let (x, y, image) = (at % w, at / w % h, at / (w * h));
        let pixel = |i: usize| (image * h * k + y * k + i / k) * w * k + x * k + i % k;
        square.clear();
        square.extend((0..k * k).map(pixel));
        f(at, &square);
    }
}

/// Per group of `f` elements: mean and 1/σ.
fn statistics<T: Real>(x: &[T]) -> (T, T) {
    let n = T::of(x.len() as f64).recip();
    let mean = x.iter().fold(zero::<T>(), |a, &v| a + v) * n;
    let var = x.iter().fold(zero::<T>(), |a, &v| a + (v - mean) * (v - mean)) * n;
    (mean, (var + T::of(EPSILON)).sqrt().recip())
}

/// The place of element `at` of input `which` of a concatenation in the result.
fn concatenated(node: &Node, shapes: &[&[usize]], which: usize, at: usize) -> usize {
    let axis = if node.shape.len() == 2 { 1 } else { 0 };
    let inner: usize = node.shape[axis + 1..].iter().product();
    let own = shapes[which][axis] * inner;
    let before: usize = shapes[..which].iter().map(|s| s[axis] * inner).sum();
    at / own * node.shape[axis] * inner + before + at % own
}

/// The place in its input of element `at` of a slice from `start` on, or of the step `start`.
fn sliced(node: &Node, from: &[usize], start: usize, at: usize) -> usize {
    let inner: usize = from[1..].iter().product();
    at / node.features * from[0] * inner + start * inner + at % node.features
}

/// `x/(1 − p)` where it is kept, else 0.
fn dropped<T: Real>(x: &[T], kept: Option<&[bool]>, p: f32) -> Vec<T> {
    let factor = T::of(1.0 / (1.0 - decimal(p)));
    match kept {
        Some(kept) => x.iter().zip(kept).map(|(&x, &k)| if k { x * factor } else { zero() }).collect(),
        None => x.to_vec(),
    }
}

/// The number of a token.
fn token<T: Real>(x: T) -> usize {
    x.f64() as usize
}

/// The value of `node`.
pub fn forward<T: Real>(node: &Node, o: &Operands<T>) -> Vec<T> {
    let x = o.x[0];
    let each = |f: &dyn Fn(T) -> T| x.iter().map(|&v| f(v)).collect();
    let mut y = vec![zero::<T>(); o.rows * node.features];
    match node.op {
        Op::LeakyRelu { slope } => return each(&|v| if v > zero() { v } else { v * T::of(slope.into()) }),
        Op::Dropout { p } => return dropped(x, o.kept, p),
        Op::Tanh => return each(&|v| v.tanh()),
        Op::Sigmoid => return each(&sigmoid),
        Op::Reshape => return x.to_vec(),
        Op::Add => return x.iter().zip(o.x[1]).map(|(&a, &b)| a + b).collect(),
        Op::Conv2d { window, .. } => {
            let (channels, area) = (node.shape[0], node.shape[1] * node.shape[2]);
            let windows = Windows::new(o.rows, o.shapes[0], &node.shape, window).gather(x);
            return channels_first(&affine(&windows, o.parameters[0], o.parameters[1]), channels, area);
        }
        Op::ConvTranspose2d { window, .. } => {
            let (area, [c, h, w]) = (node.shape[1] * node.shape[2], [0, 1, 2].map(|i| o.shapes[0][i]));
            y.iter_mut().enumerate().for_each(|(i, y)| *y = o.parameters[1][i / area % node.shape[0]]);
            let windows = Windows::new(o.rows, &node.shape, o.shapes[0], window);
            let mut terms = vec![zero::<T>(); o.rows * h * w * o.parameters[0].len() / c];
            by_input(&mut terms, &channels_last(x, c, h * w), o.parameters[0], c);
            windows.scatter(&terms, &mut y);
        }
        Op::MaxPool2d { kernel } => squares(o.rows, &node.shape, kernel, |to, from| {
            y[to] = from.iter().skip(1).fold(x[from[0]], |m, &i| if x[i] > m { x[i] } else { m });
        }),
        Op::AvgPool2d { kernel } => squares(o.rows, &node.shape, kernel, |to, from| {
            let sum = from.iter().fold(zero::<T>(), |a, &i| a + x[i]);
            y[to] = sum * T::of((kernel * kernel) as f64).recip();
        }),
        Op::LayerNorm { .. } => {
            let f = o.parameters[0].len();
            for (x, y) in x.chunks(f).zip(y.chunks_mut(f)) {
                let (mean, r) = statistics(x);
                for i in 0..f {
                    y[i] = (x[i] - mean) * r * o.parameters[0][i] + o.parameters[1][i];
                }
            }
        }
        Op::BatchNorm { .. } => return norm::forward(node, o),
        Op::Embedding { .. } => {
            let f = node.shape[1];
            y.iter_mut().enumerate().for_each(|(i, y)| *y = o.parameters[0][token(x[i / f]) * f + i % f]);
        }
        Op::Select { index: start } | Op::Slice { start, .. } => {
            let place = |i: usize| sliced(node, o.shapes[0], start, i);
            y.iter_mut().enumerate().for_each(|(i, y)| *y = x[place(i)]);
        }
        Op::Repeat => {
            let f = node.shape[1];
            y.iter_mut().enumerate().for_each(|(i, y)| *y = x[i / node.features * f + i % f]);
        }
        Op::Concat => {
            for (k, x) in o.x.iter().enumerate() {
                x.iter().enumerate().for_each(|(i, &v)| y[concatenated(node, &o.shapes, k, i)] = v);
            }
        }
        Op::Gru(_) | Op::Lstm(_) => {
            return recurrent::run(matches!(node.op, Op::Lstm(_)), o, node.shape[1], None).0;
        }
        Op::Input
        | Op::Latent
        | Op::Target
        | Op::Constant { .. }
        | Op::Dense { .. }
        | Op::Relu
        | Op::SoftmaxCrossEntropy
        | Op::Regression { .. } => {
            unreachable!("{:?} is evaluated elsewhere", node.op)
        }
    }
    y
}

/// Gradients by each input and by each parameter of `node`, whose value is `y` and whose output has the gradient `dy`.
pub fn backward<T: Real>(node: &Node, o: &Operands<T>, y: &[T], dy: &[T]) -> (Vec<Vec<T>>, Vec<Vec<T>>) {
    let x = o.x[0];
    let one = T::of(1.0);
    let mut dx = vec![zero::<T>(); x.len()];
    let each = |f: &dyn Fn(usize) -> T| ((0..dy.len()).map(|i| dy[i] * f(i)).collect::<Vec<T>>(), Vec::new());
    let (dx, dp) = match node.op {
        Op::LeakyRelu { slope } => each(&|i| if x[i] > zero() { one } else { T::of(slope.into()) }),
        Op::Dropout { p } => (dropped(dy, o.kept, p), Vec::new()),
        Op::Tanh => each(&|i| one - y[i] * y[i]),
        Op::Sigmoid => each(&|i| y[i] * (one - y[i])),
        Op::Reshape => (dy.to_vec(), Vec::new()),
        Op::Add => return (vec![dy.to_vec(), dy.to_vec()], Vec::new()),
        Op::Conv2d { window, .. } => {
            let (channels, area) = (node.shape[0], node.shape[1] * node.shape[2]);
            let windows = Windows::new(o.rows, o.shapes[0], &node.shape, window);
            let (x, dy, w) = (windows.gather(x), channels_last(dy, channels, area), o.parameters[0]);
            let (mut dw, mut db) = (vec![zero::<T>(); w.len()], vec![zero::<T>(); channels]);
            by_parameters(&mut dw, &mut db, &dy, &x);
            let mut terms = vec![zero::<T>(); x.len()];
            by_input(&mut terms, &dy, w, channels);
            windows.scatter(&terms, &mut dx);
            (dx, vec![dw, db])
        }
        Op::ConvTranspose2d { window, .. } => {
            // a convolution with input and output exchanged: its windows lie on the output
            let (area, [c, h, w]) = (node.shape[1] * node.shape[2], [0, 1, 2].map(|i| o.shapes[0][i]));
            let windows = Windows::new(o.rows, &node.shape, o.shapes[0], window).gather(dy);
            let dx = channels_first(&affine(&windows, o.parameters[0], &vec![zero(); c]), c, h * w);
            let mut dw = vec![zero::<T>(); o.parameters[0].len()];
            by_parameters(&mut dw, &mut vec![zero(); c], &channels_last(x, c, h * w), &windows);
            let mut db = vec![zero::<T>(); node.shape[0]];
            dy.chunks(area).enumerate().for_each(|(i, dy)| {
                let b = &mut db[i % node.shape[0]];
                *b = dy.iter().fold(*b, |a, &d| a + d);
            });
            (dx, vec![dw, db])
        }
        Op::MaxPool2d { kernel } => {
            squares(o.rows, &node.shape, kernel, |to, from| {
                let first = from.iter().copied().find(|&i| x[i] >= y[to]).expect("the maximum is one of them");
                dx[first] = dx[first] + dy[to];
            });
            (dx, Vec::new())
        }
        Op::AvgPool2d { kernel } => {
            let share = T::of((kernel * kernel) as f64).recip();
            squares(o.rows, &node.shape, kernel, |to, from| from.iter().for_each(|&i| dx[i] = dy[to] * share));
            (dx, Vec::new())
        }
        Op::LayerNorm { .. } => {
            let g = o.parameters[0];
            let f = g.len();
            let (mut dg, mut db) = (vec![zero::<T>(); f], vec![zero::<T>(); f]);
            for ((x, dy), dx) in x.chunks(f).zip(dy.chunks(f)).zip(dx.chunks_mut(f)) {
                let (mean, r) = statistics(x);
                let hat = |i: usize| (x[i] - mean) * r;
                let n = T::of(f as f64).recip();
                let a = (0..f).fold(zero::<T>(), |a, i| a + dy[i] * g[i]) * n;
                let b = (0..f).fold(zero::<T>(), |a, i| a + dy[i] * g[i] * hat(i)) * n;
                for i in 0..f {
                    dx[i] = r * (dy[i] * g[i] - a - hat(i) * b);
                    dg[i] = dg[i] + dy[i] * hat(i);
                    db[i] = db[i] + dy[i];
                }
            }
            (dx, vec![dg, db])
        }
        Op::BatchNorm { .. } => norm::backward(node, o, dy),
        Op::Embedding { .. } => {
            let f = node.shape[1];
            let mut dw = vec![zero::<T>(); o.parameters[0].len()];
            for (i, &d) in dy.iter().enumerate() {
                let w = &mut dw[token(x[i / f]) * f + i % f];
                *w = *w + d;
            }
            (dx, vec![dw])
        }
        Op::Select { index: start } | Op::Slice { start, .. } => {
            dy.iter().enumerate().for_each(|(i, &d)| dx[sliced(node, o.shapes[0], start, i)] = d);
            (dx, Vec::new())
        }
        Op::Repeat => {
            let f = node.shape[1];
            for (i, &d) in dy.iter().enumerate() {
                let x = &mut dx[i / node.features * f + i % f];
                *x = *x + d;
            }
            (dx, Vec::new())
        }
        Op::Concat => {
            let part = |k: usize| (0..o.x[k].len()).map(|i| dy[concatenated(node, &o.shapes, k, i)]).collect();
            return ((0..o.x.len()).map(part).collect(), Vec::new());
        }
        Op::Gru(_) | Op::Lstm(_) => {
            let (_, dx, dp) = recurrent::run(matches!(node.op, Op::Lstm(_)), o, node.shape[1], Some(dy));
            (dx, dp)
        }
        Op::Input
        | Op::Latent
        | Op::Target
        | Op::Constant { .. }
        | Op::Dense { .. }
        | Op::Relu
        | Op::SoftmaxCrossEntropy
        | Op::Regression { .. } => {
            unreachable!("{:?} is differentiated elsewhere", node.op)
        }
    };
    (vec![dx], dp)
}

/// A regression loss, times `weight`, and its gradient by x.
pub fn regression<T: Real>((kind, weight): (Regression, f32), x: &[T], y: &[T], labels: &[u32]) -> (T, Vec<T>) {
    let width = x.len() / labels.len();
    let valid = |i: usize| labels[i / width] < crate::compile::PADDED_LABEL;
    let count = labels.iter().filter(|&&l| l < crate::compile::PADDED_LABEL).count().max(1) * width;
    let share = T::of(count as f64).recip() * T::of(weight.into());
    let (one, half) = (T::of(1.0), T::of(0.5));
    let mut total = zero::<T>();
    let mut dx = vec![zero::<T>(); x.len()];
    for i in (0..x.len()).filter(|&i| valid(i)) {
        let d = x[i] - y[i];
        let size = if d > zero() { d } else { zero::<T>() - d };
        let (loss, slope) = match kind {
            Regression::Mse => (d * d, d + d),
            Regression::SmoothL1 if size < one => (half * d * d, d),
            Regression::SmoothL1 => (size - half, if d > zero() { one } else { zero::<T>() - one }),
            Regression::SigmoidBce => {
                let positive = if x[i] > zero() { x[i] } else { zero() };
                let size = if x[i] > zero() { x[i] } else { zero::<T>() - x[i] };
                (positive + (one + (zero::<T>() - size).exp()).ln() - x[i] * y[i], sigmoid(x[i]) - y[i])
            }
        };
        total = total + loss;
        dx[i] = slope * share;
    }
    (total * share, dx)
}
