//! Layer normalisation along the last axis, with FP32 statistics.

use super::elementwise::{rsqrt, sum};
use super::emitter::Emitter;
use super::network::Net;
use super::view::{Arg, NONE, Nd, ONE};
use crate::compile::plan::Class;
use crate::graph::{NodeId, Op};
use systole_isa::flag;
use systole_isa::instr::VectorOp;

/// As in PyTorch.
pub(super) const EPSILON: f32 = 1e-5;

/// Rows and features as two axes.
pub(super) fn rows(x: &Nd) -> Nd {
    let (r, pitch, c, col) = x.matrix().expect("a standard tensor");
    Nd { dims: vec![r, c], strides: vec![pitch, col], ..x.clone() }
}

/// A parameter `[1, n]` for every row.
pub(super) fn every_row(p: &Nd, rows: u32) -> Nd {
    p.index(0, 0).repeat(0, rows)
}

/// `y = (x − mean)·r·weight + bias`, `r = 1/√(variance + ε)`.
pub(super) fn forward(net: &mut Net, e: &mut Emitter, id: NodeId) {
    let node = net.graph.node(id);
    let Op::LayerNorm { weight, bias } = node.op else { unreachable!("a layer normalisation") };
    let name = node.name.clone();
    let label = format!("{name} forward");
    let x = net.standard(e, node.inputs[0], &name);
    let y = e.half(&format!("{name} output"), Class::Activations, &x.dims);
    let (x, to) = (rows(&x), rows(&y));
    let (r, f) = (x.dims[0], x.dims[1]);
    let share = 1.0 / f as f32;
    let mean = sum(e, &format!("{label} mean"), &x, 1);
    e.mad(&label, Arg::X(mean.clone()), Arg::F(share), NONE, &mean);
    let d = e.single(&format!("{label} centred"), 0, &[r, f]);
    e.mad(&label, Arg::X(x), ONE, Arg::Neg(mean.repeat(1, f)), &d);
    let square = e.single(&format!("{label} square"), 1, &[r, f]);
    e.mad(&label, Arg::X(d.clone()), Arg::X(d.clone()), NONE, &square);
    let variance = sum(e, &format!("{label} variance"), &square, 1);
    e.mad(&label, Arg::X(variance.clone()), Arg::F(share), Arg::F(EPSILON), &variance);
    let rs = rsqrt(e, &format!("{label} rsqrt"), &variance);
    let hat = e.half(&format!("{name} normalised"), Class::Activations, &[r, f]);
    e.mad(&label, Arg::X(d), Arg::X(rs.repeat(1, f)), NONE, &hat);
    let (w, b) = (every_row(&net.half(e, weight), r), every_row(&net.half(e, bias), r));
    let args = [Arg::X(hat.clone()), Arg::X(w), Arg::X(b)];
    e.flagged(&label, Some(flag::FORWARD), VectorOp::Mad, args, &to);
    net.kept[id.0] = vec![hat, rs];
    net.values[id.0] = Some(y);
}

/// `dx = r·(g − mean g − x̂·mean(g·x̂))` with `g = dy·weight`; sums over rows for the parameters.
pub(super) fn backward(net: &mut Net, e: &mut Emitter, id: NodeId, dx: Option<&Nd>) {
    let node = net.graph.node(id);
    let Op::LayerNorm { weight, bias } = node.op else { unreachable!("a layer normalisation") };
    let label = format!("{} backward", node.name);
    let (hat, rs) = (net.kept[id.0][0].clone(), net.kept[id.0][1].clone());
    let dy = rows(&net.gradient(id));
    let (r, f) = (dy.dims[0], dy.dims[1]);
    let column = |net: &Net, p: crate::graph::ParameterId| net.parameters[p.0].gradient.index(1, 0);
    let t = e.single(&format!("{label} product"), 0, &[r, f]);
    e.mad(&label, Arg::X(dy.clone()), Arg::X(hat.clone()), NONE, &t);
    let trained = if net.graph.trains(id) { vec![("weight", &t, weight), ("bias", &dy, bias)] } else { Vec::new() };
    for (what, from, p) in trained {
        let sums = sum(e, &format!("{label} {what}"), from, 0);
        let to = column(net, p);
        e.flagged(&label, Some(flag::WEIGHT_GRADIENT), VectorOp::Mad, [Arg::X(sums), ONE, NONE], &to);
    }
    let Some(dx) = dx else { return };
    let share = 1.0 / f as f32;
    let g = e.single(&format!("{label} gradient"), 1, &[r, f]);
    e.mad(&label, Arg::X(dy), Arg::X(every_row(&net.half(e, weight), r)), NONE, &g);
    let a = sum(e, &format!("{label} mean"), &g, 1);
    e.mad(&label, Arg::X(a.clone()), Arg::F(-share), NONE, &a);
    e.mad(&label, Arg::X(g.clone()), Arg::X(hat.clone()), NONE, &t);
    let b = sum(e, &format!("{label} slope"), &t, 1);
    e.mad(&label, Arg::X(b.clone()), Arg::F(-share), NONE, &b);
    e.mad(&label, Arg::X(g.clone()), ONE, Arg::X(a.repeat(1, f)), &g);
    e.mad(&label, Arg::X(hat), Arg::X(b.repeat(1, f)), Arg::X(g), &t);
    let args = [Arg::X(t), Arg::X(rs.repeat(1, f)), NONE];
    e.flagged(&label, Some(flag::ACTIVATION_GRADIENT), VectorOp::Mad, args, &rows(dx));
}
