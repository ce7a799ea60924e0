//! GRU and LSTM, unrolled in time.
//!
//! The input's half of all gates is one product over all steps; per step there is one product with the state, kept in FP32,
//! and the gates' functions. Backwards the gradient of the state is an FP32 sum from step to step; the gradients of all gates
//! are kept in FP16, so that each weight's gradient is one product over all steps.

use super::dense::parameters;
use super::elementwise::{sigmoid, tanh};
use super::emitter::Emitter;
use super::network::Net;
use super::view::{Arg, NONE, Nd, ONE};
use crate::compile::build::Epilogue;
use crate::compile::plan::Class;
use crate::graph::{Cell, NodeId, Op};
use systole_isa::flag;
use systole_isa::instr::VectorOp;

fn cell(op: Op) -> (Cell, bool) {
    match op {
        Op::Gru(c) => (c, false),
        Op::Lstm(c) => (c, true),
        _ => unreachable!("a recurrent layer"),
    }
}

/// Forward. Keeps: input, states (one more than steps, the first zero), gates after their functions, and the GRU's candidate
/// term of the state or the LSTM's cells (one more than steps) and their tangents.
pub(super) fn forward(net: &mut Net, e: &mut Emitter, id: NodeId) {
    let node = net.graph.node(id);
    let ((c, lstm), name) = (cell(node.op), node.name.clone());
    let label = format!("{name} forward");
    let x = net.matrix(e, node.inputs[0], &name);
    let (steps, batch, h) = (x.dims[0], x.dims[1], node.shape[1] as u32);
    let gates = if lstm { 4 } else { 3 };
    let act = Class::Activations;
    let by_input = e.half(&format!("{name} gates by input"), act, &[steps, batch, gates * h]);
    let flags = Epilogue { flag: Some(flag::FORWARD), ..Epilogue::default() };
    let (w, b) = (net.half(e, c.weight_ih), net.half(e, c.bias_ih));
    e.product(&label, (&x, false), (&w, true), &by_input, Some(&b), flags);
    let states = e.half(&format!("{name} states"), act, &[steps + 1, batch, h]);
    let all_gates = e.half(&format!("{name} gates"), act, &[steps, batch, gates * h]);
    let first = states.index(0, 0);
    let first = e.padded(&first);
    e.fill(&label, 0.0, &first);
    // GRU: the candidate's term of the state. LSTM: cells and their tangents.
    let (extra, tangents) = if lstm {
        let cells = e.half(&format!("{name} cells"), act, &[steps + 1, batch, h]);
        let first = cells.index(0, 0);
        e.fill(&label, 0.0, &first);
        (cells, Some(e.half(&format!("{name} cell tangents"), act, &[steps, batch, h])))
    } else {
        (e.half(&format!("{name} candidate"), act, &[steps, batch, h]), None)
    };
    let (u, bu) = (net.half(e, c.weight_hh), net.half(e, c.bias_hh));
    for t in 0..steps {
        let (before, after) = (states.index(0, t), states.index(0, t + 1));
        let by_state = e.single(&format!("{label} by state"), 0, &[batch, gates * h]);
        e.product(&label, (&before, false), (&u, true), &by_state, Some(&bu), flags);
        let (p, kept) = (by_input.index(0, t), all_gates.index(0, t));
        let gate = |v: &Nd, from: u32, count: u32| v.range(1, from * h, count * h);
        // Sums of the gates that are sigmoids and lie together.
        let soft = if lstm { 4 } else { 2 };
        let sums = e.single(&format!("{label} sums"), 1, &[batch, soft * h]);
        e.mad(&label, Arg::X(gate(&p, 0, soft)), ONE, Arg::X(gate(&by_state, 0, soft)), &sums);
        if lstm {
            let s = sigmoid(e, &label, &sums);
            let g = tanh(e, &label, &gate(&sums, 2, 1));
            for (i, v) in [gate(&s, 0, 1), gate(&s, 1, 1), g.clone(), gate(&s, 3, 1)].iter().enumerate() {
                e.copy(&label, v, &gate(&kept, i as u32, 1));
            }
            let fresh = e.single(&format!("{label} cell"), 0, &[batch, h]);
            e.mad(&label, Arg::X(gate(&s, 0, 1)), Arg::X(g), NONE, &fresh);
            e.mad(&label, Arg::X(gate(&s, 1, 1)), Arg::X(extra.index(0, t)), Arg::X(fresh.clone()), &fresh);
            e.copy(&label, &fresh, &extra.index(0, t + 1));
            let tc = tanh(e, &label, &fresh);
            e.copy(&label, &tc, &tangents.as_ref().expect("an LSTM").index(0, t));
            let args = [Arg::X(gate(&s, 3, 1)), Arg::X(tc), NONE];
            e.flagged(&label, Some(flag::FORWARD), VectorOp::Mad, args, &after);
        } else {
            let rz = sigmoid(e, &label, &sums);
            e.copy(&label, &rz, &gate(&kept, 0, 2));
            let q = gate(&by_state, 2, 1);
            e.copy(&label, &q, &extra.index(0, t));
            let a = e.single(&format!("{label} candidate"), 1, &[batch, h]);
            e.mad(&label, Arg::X(q), Arg::X(gate(&rz, 0, 1)), Arg::X(gate(&p, 2, 1)), &a);
            let n = tanh(e, &label, &a);
            e.copy(&label, &n, &gate(&kept, 2, 1));
            let d = e.single(&format!("{label} difference"), 0, &[batch, h]);
            e.mad(&label, Arg::X(before), ONE, Arg::Neg(n.clone()), &d);
            let args = [Arg::X(d), Arg::X(gate(&rz, 1, 1)), Arg::X(n)];
            e.flagged(&label, Some(flag::FORWARD), VectorOp::Mad, args, &after);
        }
    }
    net.kept[id.0] = [x, states.clone(), all_gates, extra].into_iter().chain(tangents).collect();
    net.values[id.0] = Some(states.range(0, 1, steps));
}

/// Backward.
pub(super) fn backward(net: &mut Net, e: &mut Emitter, id: NodeId, dx: Option<&Nd>) {
    let node = net.graph.node(id);
    let ((c, lstm), name) = (cell(node.op), node.name.clone());
    let label = format!("{name} backward");
    let kept = net.kept[id.0].clone();
    let (x, states, gates_kept, extra) = (&kept[0], &kept[1], &kept[2], &kept[3]);
    let (steps, batch, h) = (x.dims[0], x.dims[1], node.shape[1] as u32);
    let gates = if lstm { 4 } else { 3 };
    let dy = net.gradient(id);
    let d_input = e.half(&format!("{name} gate gradients"), Class::Gradients, &[steps, batch, gates * h]);
    // An LSTM's gates take both halves alike.
    let d_state = match lstm {
        true => d_input.clone(),
        false => e.half(&format!("{name} state gate gradients"), Class::Gradients, &[steps, batch, gates * h]),
    };
    let u = net.half(e, c.weight_hh);
    let over = Some(flag::ACTIVATION_GRADIENT);
    let flags = Epilogue { flag: over, ..Epilogue::default() };
    let dims = [batch, h];
    let (dh, carried) = (e.single(&format!("{label} dh"), 0, &dims), e.single(&format!("{label} carried"), 1, &dims));
    let dc = e.single(&format!("{label} dc"), 1, &dims);
    let (t0, t1) = (e.single(&format!("{label} 0"), 0, &dims), e.single(&format!("{label} 1"), 1, &dims));
    for t in (0..steps).rev() {
        let gate = |v: &Nd, i: u32| v.index(0, t).range(1, i * h, h);
        let from_later = if t + 1 == steps { NONE } else { Arg::X(carried.clone()) };
        e.mad(&label, Arg::X(dy.index(0, t)), ONE, from_later, &dh);
        let mul =
            |e: &mut Emitter, a: &Nd, b: &Nd, d: &Nd| e.mad(&label, Arg::X(a.clone()), Arg::X(b.clone()), NONE, d);
        // d := a·s·(1 − s), into the gradient of a gate that is the sigmoid s.
        let through_sigmoid = |e: &mut Emitter, a: &Nd, s: &Nd, d: &Nd| {
            e.mad(&label, Arg::X(s.clone()), Arg::Neg(s.clone()), Arg::X(s.clone()), &t1);
            e.flagged(&label, over, VectorOp::Mad, [Arg::X(a.clone()), Arg::X(t1.clone()), NONE], d);
        };
        if lstm {
            let [i, f, g, o] = [0, 1, 2, 3].map(|k| gate(gates_kept, k));
            let tc = kept[4].index(0, t);
            mul(e, &dh, &tc, &t0);
            through_sigmoid(e, &t0, &o, &gate(&d_input, 3));
            // dc += dh·o·(1 − tanh² c)
            mul(e, &dh, &o, &t0);
            e.mad(&label, Arg::X(tc.clone()), Arg::Neg(tc), ONE, &t1);
            let later = if t + 1 == steps { NONE } else { Arg::X(dc.clone()) };
            e.mad(&label, Arg::X(t0.clone()), Arg::X(t1.clone()), later, &dc);
            mul(e, &dc, &g, &t0);
            through_sigmoid(e, &t0, &i, &gate(&d_input, 0));
            mul(e, &dc, &extra.index(0, t), &t0);
            through_sigmoid(e, &t0, &f, &gate(&d_input, 1));
            mul(e, &dc, &i, &t0);
            e.mad(&label, Arg::X(g.clone()), Arg::Neg(g), ONE, &t1);
            e.flagged(&label, over, VectorOp::Mad, [Arg::X(t0.clone()), Arg::X(t1.clone()), NONE], &gate(&d_input, 2));
            mul(e, &dc, &f, &dc);
        } else {
            let [r, z, n] = [0, 1, 2].map(|k| gate(gates_kept, k));
            let (before, q) = (states.index(0, t), extra.index(0, t));
            e.mad(&label, Arg::X(before), ONE, Arg::Neg(n.clone()), &t0);
            mul(e, &t0, &dh, &t0);
            through_sigmoid(e, &t0, &z, &gate(&d_input, 1));
            // dn = dh·(1 − z)·(1 − n²)
            e.mad(&label, Arg::X(dh.clone()), Arg::Neg(z.clone()), Arg::X(dh.clone()), &t0);
            e.mad(&label, Arg::X(n.clone()), Arg::Neg(n), ONE, &t1);
            mul(e, &t0, &t1, &t0);
            e.flagged(&label, over, VectorOp::Mad, [Arg::X(t0.clone()), ONE, NONE], &gate(&d_input, 2));
            e.flagged(&label, over, VectorOp::Mad, [Arg::X(t0.clone()), Arg::X(r.clone()), NONE], &gate(&d_state, 2));
            mul(e, &t0, &q, &t0);
            through_sigmoid(e, &t0, &r, &gate(&d_input, 0));
            let both = |v: &Nd| v.index(0, t).range(1, 0, 2 * h);
            e.copy(&label, &both(&d_input), &both(&d_state));
            mul(e, &dh, &z, &dh);
        }
        if t > 0 {
            e.product(&format!("{name} dState"), (&d_state.index(0, t), false), (&u, false), &carried, None, flags);
            if !lstm {
                e.mad(&label, Arg::X(carried.clone()), ONE, Arg::X(dh.clone()), &carried);
            }
        }
    }
    if net.graph.trains(id) {
        parameters(net, e, &format!("{name} dWih"), x, &d_input, [c.weight_ih, c.bias_ih]);
        let before = states.range(0, 0, steps);
        parameters(net, e, &format!("{name} dWhh"), &before, &d_state, [c.weight_hh, c.bias_hh]);
    }
    if let Some(dx) = dx {
        let w = net.half(e, c.weight_ih);
        e.product(&format!("{name} dX"), (&d_input, false), (&w, false), dx, None, flags);
    }
}
