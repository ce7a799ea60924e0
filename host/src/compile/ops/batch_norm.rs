//! Batch normalisation per feature of a vector or channel of an image, with FP32 statistics.
//!
//! A pass that trains normalises by the statistics of its own valid rows and moves the running ones; an evaluation uses the
//! running ones. They change in the forward pass, as in PyTorch: a step that is skipped because its gradients overflowed has
//! changed them all the same.

use super::elementwise::{rsqrt, sum};
use super::emitter::Emitter;
use super::network::Net;
use super::norm::{EPSILON, every_row, rows};
use super::view::{Arg, NONE, Nd, ONE, Place};
use crate::compile::PADDED_LABEL;
use crate::compile::functions::reciprocal;
use crate::compile::plan::Class;
use crate::graph::{BufferId, NodeId, Op, ParameterId, Statistics};
use systole_isa::flag;
use systole_isa::instr::VectorOp;
use systole_isa::regs::Space;

/// Share of a batch in the running statistics; PyTorch's `momentum`.
const MOMENTUM: f32 = 0.1;

/// Which rows of a batch count, made once for all layers of a pass.
pub(super) struct Valid {
    /// 1 for a valid row, else 0, `[batch]`.
    rows: Nd,
    /// By the number of positions (pixels) that a row has.
    of: Vec<(u32, Counts)>,
}

/// Values of a feature that count.
#[derive(Clone)]
struct Counts {
    /// 1 for what counts, else 0, `[positions·batch]`.
    mask: Nd,
    /// 1/n, `[1]`.
    inverse: Nd,
    /// n/(n − 1), `[1]`: from the mean square to the unbiased variance. 1 where n is 1.
    unbiased: Nd,
}

/// A row of FP32 numbers.
fn row(e: &mut Emitter, name: &str, n: u32) -> Nd {
    let t = e.tensor(name, Class::Workspace, Space::Smem, Some(1), (1, n, n));
    Nd { place: Place::Tensor(t), offset: 0, dims: vec![n], strides: vec![1] }
}

/// One number for each of `n` channels.
fn every(one: &Nd, n: u32) -> Nd {
    one.index(0, 0).repeat(0, n)
}

fn counts(net: &mut Net, e: &mut Emitter, positions: u32) -> Counts {
    let batch = e.batch;
    let label = "valid rows";
    if net.valid.is_none() {
        let labels = Nd { place: Place::Labels, offset: 0, dims: vec![batch], strides: vec![1] };
        let rows = row(e, label, batch);
        e.op(label, VectorOp::GreaterEqual, [Arg::F((PADDED_LABEL - 1) as f32), Arg::X(labels), NONE], &rows);
        net.valid = Some(Valid { rows, of: Vec::new() });
    }
    let valid = net.valid.as_ref().expect("made above");
    if let Some((_, known)) = valid.of.iter().find(|o| o.0 == positions) {
        return known.clone();
    }
    let rows = valid.rows.clone();
    let n = sum(e, label, &rows.repeat(0, 1), 1);
    e.mad(label, Arg::X(n.clone()), Arg::F(positions as f32), NONE, &n);
    let inverse = e.function(label, &reciprocal(), &n);
    let unbiased = row(e, "unbiased", 1);
    e.mad(label, Arg::X(n.clone()), ONE, Arg::F(-1.0), &unbiased);
    e.op(label, VectorOp::Max, [Arg::X(unbiased.clone()), ONE, NONE], &unbiased);
    let rest = e.function(label, &reciprocal(), &unbiased);
    e.mad(label, Arg::X(n), Arg::X(rest), NONE, &unbiased);
    let mut mask = rows.clone();
    if positions > 1 {
        // one axis instead of two, so that what it multiplies is one instruction
        mask = row(e, "valid values", positions * batch);
        let by_position = Nd { dims: vec![positions, batch], strides: vec![batch, 1], ..mask.clone() };
        e.copy(label, &rows.repeat(0, positions), &by_position);
    }
    let made = Counts { mask, inverse, unbiased };
    net.valid.as_mut().expect("made above").of.push((positions, made.clone()));
    made
}

fn parts(op: Op) -> (ParameterId, ParameterId, Statistics) {
    match op {
        Op::BatchNorm { weight, bias, running } => (weight, bias, running),
        _ => unreachable!("a batch normalisation"),
    }
}

fn buffer(net: &Net, e: &Emitter, id: BufferId) -> Nd {
    e.whole(net.buffers[id.0]).index(0, 0)
}

/// `y = (x − mean)·r·weight + bias`, `r = 1/√(variance + ε)`.
pub(super) fn forward(net: &mut Net, e: &mut Emitter, id: NodeId) {
    let node = net.graph.node(id);
    let (name, (weight, bias, running)) = (node.name.clone(), parts(node.op));
    let label = format!("{name} forward");
    let x = net.standard(e, node.inputs[0], &name);
    let y = e.half(&format!("{name} output"), Class::Activations, &x.dims);
    let (x, to) = (rows(&x), rows(&y));
    let (r, c) = (x.dims[0], x.dims[1]);
    let (w, b) = (net.half(e, weight), net.half(e, bias));
    let (mean, variance) = (buffer(net, e, running.mean), buffer(net, e, running.variance));
    if net.training {
        let counts = counts(net, e, r / e.batch);
        let (mask, share) = (counts.mask.repeat(1, c), every(&counts.inverse, c));
        let d = e.single(&format!("{label} centred"), 0, &[r, c]);
        e.mad(&label, Arg::X(x.clone()), Arg::X(mask.clone()), NONE, &d);
        let m = sum(e, &format!("{label} mean"), &d, 0);
        e.mad(&label, Arg::X(m.clone()), Arg::X(share.clone()), NONE, &m);
        e.mad(&label, Arg::X(x), ONE, Arg::Neg(m.repeat(0, r)), &d);
        e.mad(&label, Arg::X(d.clone()), Arg::X(mask), NONE, &d);
        let square = e.single(&format!("{label} square"), 1, &[r, c]);
        e.mad(&label, Arg::X(d.clone()), Arg::X(d.clone()), NONE, &square);
        let v = sum(e, &format!("{label} variance"), &square, 0);
        e.mad(&label, Arg::X(v.clone()), Arg::X(share), NONE, &v);
        let shifted = row(e, &format!("{label} variance and ε"), c);
        e.mad(&label, Arg::X(v.clone()), ONE, Arg::F(EPSILON), &shifted);
        let rs = rsqrt(e, &format!("{label} rsqrt"), &shifted);
        let hat = e.half(&format!("{name} normalised"), Class::Activations, &[r, c]);
        e.mad(&label, Arg::X(d), Arg::X(rs.repeat(0, r)), NONE, &hat);
        let args = [Arg::X(hat.clone()), Arg::X(every_row(&w, r)), Arg::X(every_row(&b, r))];
        e.flagged(&label, Some(flag::FORWARD), VectorOp::Mad, args, &to);
        e.mad(&label, Arg::X(v.clone()), Arg::X(every(&counts.unbiased, c)), NONE, &v);
        let label = format!("{name} running statistics");
        for (kept, fresh) in [(mean, m), (variance, v)] {
            e.mad(&label, Arg::X(kept.clone()), Arg::F(1.0 - MOMENTUM), NONE, &kept);
            e.mad(&label, Arg::X(fresh), Arg::F(MOMENTUM), Arg::X(kept.clone()), &kept);
        }
        let batches = buffer(net, e, running.batches);
        e.mad(&label, Arg::X(batches.clone()), ONE, ONE, &batches);
        net.kept[id.0] = vec![hat, rs];
    } else {
        let shifted = row(e, &format!("{label} variance and ε"), c);
        e.mad(&label, Arg::X(variance), ONE, Arg::F(EPSILON), &shifted);
        let rs = rsqrt(e, &format!("{label} rsqrt"), &shifted);
        let (factor, offset) = (row(e, &format!("{label} factor"), c), row(e, &format!("{label} offset"), c));
        e.mad(&label, Arg::X(rs), Arg::X(w.index(0, 0)), NONE, &factor);
        e.mad(&label, Arg::Neg(mean), Arg::X(factor.clone()), Arg::X(b.index(0, 0)), &offset);
        let args = [Arg::X(x), Arg::X(factor.repeat(0, r)), Arg::X(offset.repeat(0, r))];
        e.flagged(&label, Some(flag::FORWARD), VectorOp::Mad, args, &to);
    }
    net.values[id.0] = Some(y);
}

/// `dx = weight·r·(dy − mean dy − x̂·mean(dy·x̂))` in valid rows, 0 in others; sums over rows for the parameters.
pub(super) fn backward(net: &mut Net, e: &mut Emitter, id: NodeId, dx: Option<&Nd>) {
    let node = net.graph.node(id);
    let (label, (weight, bias, _)) = (format!("{} backward", node.name), parts(node.op));
    let (hat, rs) = (net.kept[id.0][0].clone(), net.kept[id.0][1].clone());
    let dy = rows(&net.gradient(id));
    let (r, c) = (dy.dims[0], dy.dims[1]);
    let t = e.single(&format!("{label} product"), 0, &[r, c]);
    e.mad(&label, Arg::X(dy.clone()), Arg::X(hat.clone()), NONE, &t);
    let by_weight = sum(e, &format!("{label} weight"), &t, 0);
    let by_bias = sum(e, &format!("{label} bias"), &dy, 0);
    if net.graph.trains(id) {
        for (p, sums) in [(weight, &by_weight), (bias, &by_bias)] {
            let to = net.parameters[p.0].gradient.index(1, 0);
            let args = [Arg::X(sums.clone()), ONE, NONE];
            e.flagged(&label, Some(flag::WEIGHT_GRADIENT), VectorOp::Mad, args, &to);
        }
    }
    let Some(dx) = dx else { return };
    let counts = counts(net, e, r / e.batch);
    let share = every(&counts.inverse, c);
    for sums in [&by_weight, &by_bias] {
        e.mad(&label, Arg::X(sums.clone()), Arg::X(share.clone()), NONE, sums);
    }
    let factor = row(e, &format!("{label} factor"), c);
    e.mad(&label, Arg::X(rs), Arg::X(net.half(e, weight).index(0, 0)), NONE, &factor);
    let g = e.single(&format!("{label} gradient"), 1, &[r, c]);
    e.mad(&label, Arg::X(dy), ONE, Arg::Neg(by_bias.repeat(0, r)), &g);
    e.mad(&label, Arg::X(hat), Arg::Neg(by_weight.repeat(0, r)), Arg::X(g), &t);
    e.mad(&label, Arg::X(t.clone()), Arg::X(counts.mask.repeat(1, c)), NONE, &t);
    let args = [Arg::X(t), Arg::X(factor.repeat(0, r)), NONE];
    e.flagged(&label, Some(flag::ACTIVATION_GRADIENT), VectorOp::Mad, args, &rows(dx));
}
