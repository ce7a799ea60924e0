//! Reshape, selection of a step, slices, repetition, concatenation: views where they can be, copies where not.

use super::elementwise::sum;
use super::emitter::Emitter;
use super::network::{Net, to_device, to_torch};
use super::view::{Arg, NONE, Nd, ONE};
use crate::compile::CompileError;
use crate::compile::plan::Class;
use crate::graph::{Node, NodeId, Op};
use systole_isa::flag;
use systole_isa::instr::VectorOp;

/// The coarsest list of factors of which both shapes are merged lists, or `None`.
fn common(a: &[usize], b: &[usize]) -> Option<Vec<u32>> {
    // Boundaries as products of what lies behind them.
    let tails = |s: &[usize]| {
        s.iter()
            .rev()
            .scan(1usize, |p, &n| {
                *p *= n;
                Some(*p)
            })
            .collect::<Vec<_>>()
    };
    let mut all: Vec<usize> = tails(a).into_iter().chain(tails(b)).collect();
    all.sort_unstable();
    all.dedup();
    let mut factors = Vec::new();
    let mut before = 1;
    for t in all {
        if t % before != 0 {
            return None;
        }
        if t > before {
            factors.push((t / before) as u32);
        }
        before = t;
    }
    factors.reverse();
    Some(factors)
}

/// A view `[batch, shape…]` with its axes cut into `factors`.
fn refine(x: &Nd, factors: &[u32]) -> Nd {
    let mut v = x.clone();
    v.dims.truncate(1);
    v.strides.truncate(1);
    let mut next = factors.iter();
    for (&n, &stride) in x.dims[1..].iter().zip(&x.strides[1..]) {
        let mut left = n;
        while left > 1 {
            let f = *next.next().expect("factors of both shapes");
            left /= f;
            v.dims.push(f);
            v.strides.push(stride * left);
        }
    }
    v
}

/// `factors` merged into `shape`, where strides allow it.
fn coarsen(x: &Nd, shape: &[usize]) -> Option<Nd> {
    let mut v = x.clone();
    v.dims.truncate(1);
    v.strides.truncate(1);
    let mut at = 1;
    for &n in shape {
        let mut size = 1u32;
        let mut stride = 1;
        while size < n as u32 {
            if size > 1 && x.strides[at - 1] != x.strides[at] * x.dims[at] {
                return None;
            }
            size *= x.dims[at];
            stride = x.strides[at];
            at += 1;
        }
        v.dims.push(n as u32);
        v.strides.push(stride);
    }
    Some(v)
}

/// What `node`, a selection or a slice, gives of its input, whose first axis is the device's first, if it is steps, and else its last.
fn cut(node: &Node, x: &Nd) -> Nd {
    match node.op {
        Op::Select { index } => x.index(0, index as u32),
        Op::Slice { start, end } => {
            let axis = if node.shape.len() == 2 { 0 } else { node.shape.len() };
            x.range(axis, start as u32, (end - start) as u32)
        }
        _ => unreachable!("a part of a tensor"),
    }
}

/// Forward.
pub(super) fn forward(net: &mut Net, e: &mut Emitter, id: NodeId) {
    let node = net.graph.node(id);
    let name = node.name.clone();
    let label = format!("{name} forward");
    let x = net.value(node.inputs[0]);
    let from = net.graph.node(node.inputs[0]).shape.clone();
    let y = match node.op {
        Op::Reshape => {
            let Some(factors) = common(&from, &node.shape) else {
                let why = "a reshape must keep or split or join whole axes; put another reshape between";
                e.error.get_or_insert(CompileError::Unsupported { node: name, why });
                net.values[id.0] = Some(e.half("unsupported", Class::Workspace, &net.dims(id)));
                return;
            };
            let fine = refine(&to_torch(&x, &from), &factors);
            match coarsen(&fine, &node.shape) {
                Some(view) => to_device(&view),
                None => {
                    let y = e.half(&format!("{name} output"), Class::Activations, &net.dims(id));
                    let to = refine(&to_torch(&y, &node.shape), &factors);
                    e.copy(&label, &fine, &to);
                    y
                }
            }
        }
        Op::Select { .. } | Op::Slice { .. } => cut(node, &x),
        Op::Repeat => x.repeat(0, node.shape[0] as u32),
        Op::Concat => {
            let y = e.half(&format!("{name} output"), Class::Activations, &net.dims(id));
            let axis = y.dims.len() - 1;
            let mut at = 0;
            for &x in &node.inputs {
                let x = net.value(x);
                e.copy(&label, &x, &y.range(axis, at, x.dims[axis]));
                at += x.dims[axis];
            }
            y
        }
        _ => unreachable!("a change of shape"),
    };
    net.values[id.0] = Some(y);
}

/// Backward by input number `which`, into `dx`.
pub(super) fn backward(net: &mut Net, e: &mut Emitter, id: NodeId, which: usize, dx: &Nd) {
    let node = net.graph.node(id);
    let label = format!("{} backward", node.name);
    let dy = net.gradient(id);
    match node.op {
        Op::Reshape => {
            let from = &net.graph.node(node.inputs[0]).shape;
            let factors = common(from, &node.shape).expect("checked by the forward pass");
            let (fine, to) = (refine(&to_torch(&dy, &node.shape), &factors), refine(&to_torch(dx, from), &factors));
            e.copy(&label, &fine, &to);
        }
        Op::Select { .. } | Op::Slice { .. } => {
            let all = e.padded(dx);
            e.fill(&label, 0.0, &all);
            e.copy(&label, &dy, &cut(node, dx));
        }
        Op::Repeat => {
            let total = sum(e, &label, &dy, 0);
            e.flagged(&label, Some(flag::ACTIVATION_GRADIENT), VectorOp::Mad, [Arg::X(total), ONE, NONE], dx);
        }
        Op::Concat => {
            let axis = dy.dims.len() - 1;
            let size = |n: &NodeId| net.value(*n).dims[axis];
            let at = node.inputs[..which].iter().map(size).sum();
            e.copy(&label, &dy.range(axis, at, dx.dims[axis]), dx);
        }
        _ => unreachable!("a change of shape"),
    }
}
