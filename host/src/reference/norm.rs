//! Batch normalisation: statistics over the valid samples and all positions, per channel.

use super::Real;
use super::ops::{EPSILON, Operands};
use crate::graph::Node;

/// Share of a batch in the running statistics.
pub const MOMENTUM: f64 = 0.1;

/// Indices of the elements of `channel` in the samples that count, or in all.
fn elements(node: &Node, valid: &[bool], channel: usize, all: bool) -> Vec<usize> {
    let positions = node.features / node.shape[0];
    let of_row = |r: usize| (0..positions).map(move |p| (r * node.shape[0] + channel) * positions + p);
    (0..valid.len()).filter(|&r| all || valid[r]).flat_map(of_row).collect()
}

/// Mean and mean square deviation of some elements.
fn moments<T: Real>(x: &[T], of: &[usize]) -> (T, T) {
    let zero = T::of(0.0);
    let share = T::of(of.len().max(1) as f64).recip();
    let mean = of.iter().fold(zero, |a, &i| a + x[i]) * share;
    (mean, of.iter().fold(zero, |a, &i| a + (x[i] - mean) * (x[i] - mean)) * share)
}

/// The value of `node`, by the running statistics where there are some.
pub fn forward<T: Real>(node: &Node, o: &Operands<T>) -> Vec<T> {
    let x = o.x[0];
    let mut y = vec![T::of(0.0); x.len()];
    for c in 0..node.shape[0] {
        let (mean, variance) = match o.running {
            Some([mean, variance]) => (mean[c], variance[c]),
            None => moments(x, &elements(node, o.valid, c, false)),
        };
        let r = (variance + T::of(EPSILON)).sqrt().recip();
        for i in elements(node, o.valid, c, true) {
            y[i] = (x[i] - mean) * r * o.parameters[0][c] + o.parameters[1][c];
        }
    }
    y
}

/// Gradients by the input (0 in samples that do not count) and by weight and bias.
pub fn backward<T: Real>(node: &Node, o: &Operands<T>, dy: &[T]) -> (Vec<T>, Vec<Vec<T>>) {
    let x = o.x[0];
    let zero = T::of(0.0);
    let mut dx = vec![zero; x.len()];
    let (mut dw, mut db) = (Vec::new(), Vec::new());
    for c in 0..node.shape[0] {
        let of = elements(node, o.valid, c, false);
        let (mean, variance) = moments(x, &of);
        let r = (variance + T::of(EPSILON)).sqrt().recip();
        let share = T::of(of.len().max(1) as f64).recip();
        let by_weight = of.iter().fold(zero, |a, &i| a + dy[i] * (x[i] - mean) * r);
        let by_bias = of.iter().fold(zero, |a, &i| a + dy[i]);
        for &i in &of {
            let hat = (x[i] - mean) * r;
            dx[i] = o.parameters[0][c] * r * (dy[i] - by_bias * share - hat * by_weight * share);
        }
        dw.push(by_weight);
        db.push(by_bias);
    }
    (dx, vec![dw, db])
}

/// Moves running mean and (unbiased) variance by a batch `x`.
pub fn follow<T: Real>(node: &Node, valid: &[bool], x: &[T], running: [&mut Vec<T>; 2]) {
    let [means, variances] = running;
    let (old, new) = (T::of(1.0 - MOMENTUM), T::of(MOMENTUM));
    for c in 0..node.shape[0] {
        let of = elements(node, valid, c, false);
        let (mean, variance) = moments(x, &of);
        let n = of.len() as f64;
        let unbiased = variance * T::of(n / (n - 1.0).max(1.0));
        means[c] = means[c] * old + mean * new;
        variances[c] = variances[c] * old + unbiased * new;
    }
}
