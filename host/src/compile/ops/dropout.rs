//! Dropout: the host sends a mask of zeros and ones with every batch to train on. An evaluation neither reads a mask nor scales.

use super::emitter::Emitter;
use super::network::Net;
use super::view::{Arg, NONE, Nd};
use crate::compile::optimizer::decimal;
use crate::compile::plan::Class;
use crate::graph::{NodeId, Op};
use systole_isa::flag;
use systole_isa::instr::VectorOp;

/// `to = from·mask/(1 − p)`. The mask goes first: it is exact, and what it drops cannot overflow any more.
fn apply(net: &Net, e: &mut Emitter, id: NodeId, (label, flag): (&str, usize), from: &Nd, to: &Nd) {
    let Op::Dropout { p } = net.graph.node(id).op else { unreachable!("only dropouts drop") };
    let factor = (1.0 / (1.0 - decimal(p))) as f32;
    e.mad(label, Arg::X(from.clone()), Arg::X(net.mask(e, id)), NONE, to);
    e.flagged(label, Some(flag), VectorOp::Mad, [Arg::X(to.clone()), Arg::F(factor), NONE], to);
}

/// Forward.
pub(super) fn forward(net: &mut Net, e: &mut Emitter, id: NodeId) {
    let node = net.graph.node(id);
    let x = net.value(node.inputs[0]);
    let y = match net.training {
        true => {
            let y = e.half(&format!("{} output", node.name), Class::Activations, &x.dims);
            apply(net, e, id, (&format!("{} forward", node.name), flag::FORWARD), &x, &y);
            y
        }
        false => x,
    };
    net.values[id.0] = Some(y);
}

/// Backward, into `dx`.
pub(super) fn backward(net: &Net, e: &mut Emitter, id: NodeId, dx: &Nd) {
    let label = format!("{} backward", net.graph.node(id).name);
    apply(net, e, id, (&label, flag::ACTIVATION_GRADIENT), &net.gradient(id), dx);
}
