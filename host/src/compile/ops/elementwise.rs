//! Activations, sums, and the functions that they are made of.

use super::emitter::Emitter;
use super::network::Net;
use super::view::{Arg, NONE, Nd, ONE};
use crate::compile::functions::{self, ExpRange, exp, log, reciprocal};
use crate::compile::plan::Class;
use crate::graph::{NodeId, Op};
use systole_isa::flag;
use systole_isa::instr::VectorOp;

/// Up to here the tangent is a polynomial, since `1 − 2/(1 + e^(2x))` cancels.
const SMALL: f32 = 0.625;
/// `tanh x = x + x³·P(x²)` for |x| ≤ [`SMALL`], highest power first: Cephes' tanhf.
const TANH: [f32; 5] = [-5.704_988_7e-3, 2.063_908_9e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328_2e-1];
/// Exponents are cut here; beyond, FP16 sees 0 or 1 anyway.
const LIMIT: f32 = 80.0;

/// `1/(1 + e^x)` of an FP32 tensor, which is overwritten.
fn logistic(e: &mut Emitter, label: &str, x: &Nd) -> Nd {
    e.op(label, VectorOp::Min, [Arg::X(x.clone()), Arg::F(LIMIT), NONE], x);
    let p = e.function(label, &exp(ExpRange::Full), x);
    e.mad(label, Arg::X(p), ONE, ONE, x);
    e.function(label, &reciprocal(), x)
}

/// `1/(1 + e^(−x))`, FP32.
pub(super) fn sigmoid(e: &mut Emitter, label: &str, x: &Nd) -> Nd {
    e.function(label, &functions::sigmoid(), x)
}

/// Hyperbolic tangent, FP32.
pub(super) fn tanh(e: &mut Emitter, label: &str, x: &Nd) -> Nd {
    let t = e.dense(&format!("{label} argument"), 0, &x.dims);
    e.mad(label, Arg::Abs(x.clone()), Arg::F(2.0), NONE, &t);
    let r = logistic(e, label, &t);
    let (big, small) = (e.dense(&format!("{label} large"), 0, &x.dims), e.dense(&format!("{label} small"), 1, &x.dims));
    let square = e.dense(&format!("{label} square"), 0, &x.dims);
    e.mad(label, Arg::X(r), Arg::F(-2.0), ONE, &big);
    e.op(label, VectorOp::SelectNegative, [Arg::X(x.clone()), Arg::Neg(big.clone()), Arg::X(big.clone())], &big);
    e.mad(label, Arg::X(x.clone()), Arg::X(x.clone()), NONE, &square);
    e.mad(label, Arg::X(square.clone()), Arg::F(TANH[0]), Arg::F(TANH[1]), &small);
    for &a in &TANH[2..] {
        e.mad(label, Arg::X(small.clone()), Arg::X(square.clone()), Arg::F(a), &small);
    }
    e.mad(label, Arg::X(small.clone()), Arg::X(square.clone()), NONE, &small);
    e.mad(label, Arg::X(small.clone()), Arg::X(x.clone()), Arg::X(x.clone()), &small);
    e.mad(label, Arg::Abs(x.clone()), ONE, Arg::F(-SMALL), &square);
    e.op(label, VectorOp::SelectPositive, [Arg::X(square), Arg::X(big), Arg::X(small.clone())], &small);
    small
}

/// `x^(−½)` for positive normal x.
pub(super) fn rsqrt(e: &mut Emitter, label: &str, x: &Nd) -> Nd {
    let l = e.function(label, &log(), x);
    let t = e.dense(&format!("{label} argument"), 0, &x.dims);
    e.mad(label, Arg::X(l), Arg::F(-0.5), NONE, &t);
    e.function(label, &exp(ExpRange::Full), &t)
}

/// Sum over `axis`, by halves: i meets i + ⌈n/2⌉. FP32, without the axis.
pub(super) fn sum(e: &mut Emitter, label: &str, x: &Nd, axis: usize) -> Nd {
    let mut n = x.dims[axis];
    let mut dims = x.dims.clone();
    dims[axis] = n.div_ceil(2);
    let to = e.single(&format!("{label} sum"), 1, &dims);
    let mut from = x.clone();
    if n == 1 {
        e.copy(label, &from, &to);
    }
    while n > 1 {
        let (low, high) = (n / 2, n.div_ceil(2));
        let (a, b) = (from.range(axis, 0, low), from.range(axis, high, low));
        e.mad(label, Arg::X(a), ONE, Arg::X(b), &to.range(axis, 0, low));
        if high > low && from.place != to.place {
            e.copy(label, &from.range(axis, low, 1), &to.range(axis, low, 1));
        }
        (n, from) = (high, to.clone());
    }
    to.index(axis, 0)
}

/// Elementwise forward of `node`.
pub(super) fn forward(net: &mut Net, e: &mut Emitter, id: NodeId) {
    let (op, name) = (net.graph.node(id).op, net.graph.node(id).name.clone());
    let label = format!("{name} forward");
    let x = net.standard(e, net.graph.node(id).inputs[0], &name);
    let y = e.half(&format!("{name} output"), Class::Activations, &x.dims);
    let (px, py) = (e.padded(&x), e.padded(&y));
    match op {
        Op::Relu => e.op(&label, VectorOp::Max, [Arg::X(px), Arg::F(0.0), NONE], &py),
        Op::LeakyRelu { slope } => {
            e.mad(&label, Arg::X(px.clone()), Arg::F(slope), NONE, &py);
            e.op(&label, VectorOp::SelectPositive, [Arg::X(px.clone()), Arg::X(px), Arg::X(py.clone())], &py);
        }
        Op::Tanh => {
            let t = tanh(e, &label, &x);
            e.copy(&label, &t, &y);
        }
        Op::Sigmoid => {
            let t = sigmoid(e, &label, &x);
            e.copy(&label, &t, &y);
        }
        Op::Add => {
            let z = net.standard(e, net.graph.node(id).inputs[1], &name);
            e.flagged(&label, Some(flag::FORWARD), VectorOp::Mad, [Arg::X(x), ONE, Arg::X(z)], &y);
        }
        _ => unreachable!("{op:?} is not elementwise"),
    }
    net.values[id.0] = Some(y);
}

/// Elementwise backward of `node`, into `dx`.
pub(super) fn backward(net: &mut Net, e: &mut Emitter, id: NodeId, dx: &Nd) {
    let (op, name) = (net.graph.node(id).op, net.graph.node(id).name.clone());
    let label = format!("{name} backward");
    let (y, dy) = (net.value(id), net.gradient(id));
    let (pdy, pdx) = (e.padded(&dy), e.padded(dx));
    match op {
        Op::Relu => {
            let y = e.padded(&y);
            e.op(&label, VectorOp::SelectPositive, [Arg::X(y), Arg::X(pdy), Arg::F(0.0)], &pdx);
        }
        Op::LeakyRelu { slope } => {
            let x = net.standard(e, net.graph.node(id).inputs[0], &name);
            let x = e.padded(&x);
            e.mad(&label, Arg::X(pdy.clone()), Arg::F(slope), NONE, &pdx);
            e.op(&label, VectorOp::SelectPositive, [Arg::X(x), Arg::X(pdy), Arg::X(pdx.clone())], &pdx);
        }
        Op::Tanh => {
            // dx = dy − dy·y²
            let t = e.dense(&format!("{label} factor"), 0, &y.dims);
            e.mad(&label, Arg::X(y.clone()), Arg::Neg(y), ONE, &t);
            e.mad(&label, Arg::X(t), Arg::X(dy), NONE, dx);
        }
        Op::Sigmoid => {
            let t = e.dense(&format!("{label} factor"), 0, &y.dims);
            e.mad(&label, Arg::X(y.clone()), Arg::Neg(y.clone()), Arg::X(y), &t);
            e.mad(&label, Arg::X(t), Arg::X(dy), NONE, dx);
        }
        Op::Add => e.copy(&label, &pdy, &pdx),
        _ => unreachable!("{op:?} is not elementwise"),
    }
}
