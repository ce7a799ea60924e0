//! Max and average pooling over squares that do not overlap.

use super::emitter::Emitter;
use super::network::Net;
use super::view::{Arg, NONE, Nd};
use crate::compile::plan::Class;
use crate::graph::{NodeId, Op};
use systole_isa::instr::VectorOp;

/// The pixels at place `i` of every square, in row-major order within it, free columns included.
fn corner(e: &Emitter, image: &Nd, k: u32, i: u32) -> Nd {
    let (h, w) = (image.dims[0] / k, image.dims[1] / k);
    let v = image.slice(0, i / k, h, k).slice(1, i % k, w, k);
    e.padded(&v)
}

/// Forward.
pub(super) fn forward(net: &mut Net, e: &mut Emitter, id: NodeId) {
    let node = net.graph.node(id);
    let (op, name, dims) = (node.op, node.name.clone(), net.dims(id));
    let label = format!("{name} forward");
    let x = net.standard(e, node.inputs[0], &name);
    let y = e.half(&format!("{name} output"), Class::Activations, &dims);
    let py = e.padded(&y);
    match op {
        Op::MaxPool2d { kernel } => {
            let k = kernel as u32;
            let mut so_far = corner(e, &x, k, 0);
            if k == 1 {
                e.copy(&label, &so_far, &py);
            }
            for i in 1..k * k {
                let next = corner(e, &x, k, i);
                e.op(&label, VectorOp::Max, [Arg::X(so_far), Arg::X(next), NONE], &py);
                so_far = py.clone();
            }
        }
        Op::AvgPool2d { kernel } => {
            let k = kernel as u32;
            let share = 1.0 / (k * k) as f32;
            let sums = e.single(&format!("{label} sums"), 0, &dims);
            let sums = e.padded(&sums);
            for i in 0..k * k {
                let so_far = if i == 0 { NONE } else { Arg::X(sums.clone()) };
                let d = if i + 1 == k * k { &py } else { &sums };
                let x = corner(e, &x, k, i);
                e.mad(&label, Arg::X(x), Arg::F(share), so_far, d);
            }
        }
        _ => unreachable!("a pooling"),
    }
    net.values[id.0] = Some(y);
}

/// Backward. Of equal largest pixels the first takes the gradient.
pub(super) fn backward(net: &mut Net, e: &mut Emitter, id: NodeId, dx: &Nd) {
    let node = net.graph.node(id);
    let (op, name) = (node.op, node.name.clone());
    let label = format!("{name} backward");
    let (y, dy) = (net.value(id), net.gradient(id));
    let (py, pdy) = (e.padded(&y), e.padded(&dy));
    match op {
        Op::MaxPool2d { kernel } => {
            let k = kernel as u32;
            let x = net.standard(e, node.inputs[0], &name);
            // What is left of dy: zero once some pixel has taken it.
            let left = e.single(&format!("{label} left"), 0, &y.dims);
            let hit = e.single(&format!("{label} hit"), 1, &y.dims);
            let (left, hit) = (e.padded(&left), e.padded(&hit));
            for i in 0..k * k {
                let (pixel, to) = (corner(e, &x, k, i), corner(e, dx, k, i));
                let before = if i == 0 { pdy.clone() } else { left.clone() };
                if i + 1 == k * k {
                    // Whatever is left belongs to the last pixel.
                    e.copy(&label, &before, &to);
                    break;
                }
                e.op(&label, VectorOp::GreaterEqual, [Arg::X(pixel), Arg::X(py.clone()), NONE], &hit);
                let taken = [Arg::X(hit.clone()), Arg::X(before.clone()), Arg::F(0.0)];
                e.op(&label, VectorOp::SelectPositive, taken, &to);
                let rest = [Arg::X(hit.clone()), Arg::F(0.0), Arg::X(before)];
                e.op(&label, VectorOp::SelectPositive, rest, &left);
            }
        }
        Op::AvgPool2d { kernel } => {
            let k = kernel as u32;
            for i in 0..k * k {
                let to = corner(e, dx, k, i);
                e.mad(&label, Arg::X(pdy.clone()), Arg::F(1.0 / (k * k) as f32), NONE, &to);
            }
        }
        _ => unreachable!("a pooling"),
    }
}
