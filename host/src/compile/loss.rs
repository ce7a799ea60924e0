//! Softmax cross-entropy over integer labels: mean loss, its gradient, right predictions.
//!
//! Samples lie along the lanes and classes along the rows, so that a reduction over classes combines whole rows; the logits
//! `[batch, classes]` are simply read transposed. Per class and sample, `xs = logit − max`, `e = exp xs`; per sample,
//! `r = 1/Σe`. With `seed = valid·S/B`,
//!
//! ```text
//! dlogit = e·(r·seed) − onehot·seed,      rounded to FP16
//! loss   = valid·(log Σe − xs[label]),    mean over the valid rows
//! ```
//!
//! What depends on labels only is ready before the logits are; loss and predictions are not on the way to the gradient, so
//! the scheduler moves them beside the backward products. An overflow to Inf in `dlogit` reaches the flag of the weight
//! gradient by itself: the bias gradient adds the same elements times one. A padded row has seed 0, and its gradient is
//! exactly zero.

use super::build::{Builder, Matrix};
use super::functions::{ExpRange, exp, log, reciprocal};
use systole_isa::instr::VectorOp;
use systole_isa::operand::{Modifiers, Source};
use systole_isa::{flag, sreg};

/// Operands and scratch. `[classes, batch]` unless said otherwise.
pub(crate) struct LossTensors {
    pub(crate) classes: u32,
    pub(crate) batch: u32,
    /// FP16, `[batch, classes]`.
    pub(crate) logits: Matrix,
    /// FP16, `[batch, classes]`.
    pub(crate) gradient: Matrix,
    /// FP16, `[1, batch]`.
    pub(crate) labels: Matrix,
    /// 0, 1, 2, …, `[classes, 1]`.
    pub(crate) ramp: Matrix,
    /// `logit − max`; smem plane 0.
    pub(crate) shifted: Matrix,
    /// Temporaries of exp, per plane; 0/1 of plane 0 and 1 of plane 1 serve again afterwards.
    pub(crate) wide: [[Matrix; 2]; 2],
    /// 1 at the label; smem plane 1.
    pub(crate) onehot: Matrix,
    /// `onehot·seed`; smem plane 1.
    pub(crate) onehot_seed: Matrix,
    /// `[⌈classes/2⌉, batch]`; smem plane 1.
    pub(crate) maximum: Matrix,
    /// `[⌈classes/2⌉, batch]`; smem plane 0.
    pub(crate) sum: Matrix,
    /// `[1, batch]` each: valid, seed, seed·r, loss row, right row.
    pub(crate) valid: Matrix,
    pub(crate) seed: Matrix,
    pub(crate) factor: Matrix,
    pub(crate) row_loss: Matrix,
    pub(crate) right: Matrix,
    /// Temporaries of reciprocal and of log, `[1, batch]`, per plane.
    pub(crate) narrow: [[Matrix; 2]; 2],
    pub(crate) narrow_log: [[Matrix; 2]; 2],
}

fn scalar(register: usize) -> Source {
    Source::Sreg(register as u8, Modifiers::default())
}

const NONE: Source = Source::NEG_ZERO;

/// What depends on labels only.
pub(crate) fn labels(b: &mut Builder, t: &LossTensors, gradient: bool) {
    let (all, row) = ((t.classes, t.batch), (1, t.batch));
    let compare = [Source::f32((t.classes - 1) as f32), t.labels.source(), NONE];
    b.op("loss valid", VectorOp::GreaterEqual, row, compare, t.valid.dest());
    let equal = [t.labels.every_row().source(), t.ramp.every_col().source(), NONE];
    b.op("loss onehot", VectorOp::Equal, all, equal, t.onehot.dest());
    if gradient {
        let seed = [t.valid.source(), scalar(sreg::LOSS_SEED), NONE];
        b.op("loss seed", VectorOp::Mad, row, seed, t.seed.dest());
        let scaled = [t.onehot.source(), t.seed.every_row().source(), NONE];
        b.op("loss onehot·seed", VectorOp::Mad, all, scaled, t.onehot_seed.dest());
    }
}

/// Rows `start..start + rows` of the batch: from logits to `Σe` and, if wanted, the gradient. The operations on all classes
/// go by `parts` of `(start, rows)`, which hide each other's latency; those on one number per sample are too short for that.
pub(crate) fn chunk(b: &mut Builder, t: &LossTensors, (start, rows): (u32, u32), parts: &[(u32, u32)], gradient: bool) {
    let logits = t.logits.t();
    let chunk = |m: Matrix| m.at(0, start);
    b.fold_rows("loss max", VectorOp::Max, t.classes, rows, chunk(logits), chunk(t.maximum));
    let mut e = t.shifted;
    for &(start, rows) in parts {
        let part = |m: Matrix| m.at(0, start);
        let size = (t.classes, rows);
        let shift = [part(logits).source(), Source::ONE, part(t.maximum).every_row().neg()];
        b.op("loss shift", VectorOp::Mad, size, shift, part(t.shifted).dest());
        let wide = t.wide.map(|plane| plane.map(part));
        let result = b.function("loss exp", &exp(ExpRange::NonPositive), size, part(t.shifted), [&wide[0], &wide[1]]);
        if start == parts[0].0 {
            e = result;
        }
    }
    b.fold_rows("loss sum", VectorOp::Mad, t.classes, rows, e, chunk(t.sum));
    if gradient {
        let narrow = t.narrow.map(|plane| plane.map(chunk));
        let r = b.function("loss reciprocal", &reciprocal(), (1, rows), chunk(t.sum), [&narrow[0], &narrow[1]]);
        let factor = chunk(t.factor);
        b.op("loss factor", VectorOp::Mad, (1, rows), [r.source(), chunk(t.seed).source(), NONE], factor.dest());
        let d = [e.source(), factor.every_row().source(), chunk(t.onehot_seed).neg()];
        let to = chunk(t.gradient.t()).dest();
        b.flagged("loss gradient", Some(flag::ACTIVATION_GRADIENT), VectorOp::Mad, (t.classes, rows), d, to);
    }
}

/// Mean loss and right predictions of the whole batch, into scalar registers `LOSS` and `CORRECT`.
pub(crate) fn finish(b: &mut Builder, t: &LossTensors) {
    row_losses(b, t);
    mean(b, t.batch, t.row_loss);
    row_predictions(b, t);
    right(b, t.batch, t.right);
}

/// The mean of the losses `[1, rows]` into `LOSS`.
pub(crate) fn mean(b: &mut Builder, rows: u32, losses: Matrix) {
    b.sum_to_sreg("loss mean", rows, losses, scalar(sreg::INV_BATCH), sreg::LOSS, Some(flag::FORWARD));
}

/// The sum of `[1, rows]` into `CORRECT`.
pub(crate) fn right(b: &mut Builder, rows: u32, right: Matrix) {
    b.sum_to_sreg("correct sum", rows, right, Source::ONE, sreg::CORRECT, None);
}

/// The loss of each row.
pub(crate) fn row_losses(b: &mut Builder, t: &LossTensors) {
    let (all, row) = ((t.classes, t.batch), (1, t.batch));
    let log_sum = b.function("loss log", &log(), row, t.sum, [&t.narrow_log[0], &t.narrow_log[1]]);
    let picked = t.wide[0][0];
    let pick = [t.onehot.source(), t.shifted.source(), Source::f32(0.0)];
    b.op("loss pick", VectorOp::SelectPositive, all, pick, picked.dest());
    b.fold_rows("loss pick", VectorOp::Mad, t.classes, t.batch, picked, picked);
    b.op("loss rows", VectorOp::Mad, row, [log_sum.source(), Source::ONE, picked.neg()], t.row_loss.dest());
    let masked = [t.valid.source(), t.row_loss.source(), Source::f32(0.0)];
    b.flagged("loss rows", Some(flag::FORWARD), VectorOp::SelectPositive, row, masked, t.row_loss.dest());
}

/// Whether each row is predicted right; after its loss, whose temporaries serve again.
pub(crate) fn row_predictions(b: &mut Builder, t: &LossTensors) {
    let (all, row) = ((t.classes, t.batch), (1, t.batch));
    let first = t.wide[1][1];
    let index = [t.shifted.source(), Source::f32(4096.0), t.ramp.every_col().source()];
    b.op("correct index", VectorOp::SelectNegative, all, index, first.dest());
    b.fold_rows("correct first", VectorOp::Min, t.classes, t.batch, first, first);
    b.op("correct rows", VectorOp::Equal, row, [first.source(), t.labels.source(), NONE], t.right.dest());
}
