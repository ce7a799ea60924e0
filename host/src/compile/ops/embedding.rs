//! Embeddings as products: the device makes a row of zeros with a one at the token's number, and multiplies.
//!
//! A product with ones and zeros is exact. The host sends a byte a token, as it sends pixels; rows of ones and zeros would be as many
//! bytes as there are tokens to know. The engines have no addresses that depend on data, so rows cannot be fetched; and the gradient,
//! a sum over all places where a token stands, is such a product anyway.

use super::emitter::Emitter;
use super::network::Net;
use super::view::{Arg, NONE, Nd, Place};
use crate::compile::build::Epilogue;
use crate::compile::plan::Class;
use crate::graph::{NodeId, Op, ParameterId};
use systole_isa::flag;
use systole_isa::instr::VectorOp;
use systole_isa::regs::Space;

fn weight(op: Op) -> ParameterId {
    match op {
        Op::Embedding { weight } => weight,
        _ => unreachable!("an embedding"),
    }
}

/// A row `[vocabulary]` for each step of each row of the batch, `[steps, batch, vocabulary]`: 1 at the token's number, else 0.
fn ones(net: &mut Net, e: &mut Emitter, id: NodeId, label: &str) -> Nd {
    let node = net.graph.node(id);
    let vocabulary = net.graph.parameter(weight(node.op)).shape[0] as u32;
    let x = net.value(node.inputs[0]).permute(&[1, 0]);
    let (steps, batch) = (x.dims[0], x.dims[1]);
    // a row in which steps and batch are one axis, so that the comparison is one instruction
    let rows = steps * batch;
    let t = e.tensor(&format!("{label} tokens"), Class::Activations, Space::Hmem, None, (1, rows, rows));
    let tokens = Nd { place: Place::Tensor(t), offset: 0, dims: vec![steps, batch], strides: vec![batch, 1] };
    e.copy(label, &x, &tokens);
    let numbers = net.ramp(e, vocabulary);
    let numbers = Nd { place: Place::Tensor(numbers), offset: 0, dims: vec![vocabulary], strides: vec![1] };
    let ones = e.half(&format!("{label} ones"), Class::Activations, &[steps, batch, vocabulary]);
    let args = [Arg::X(tokens.repeat(2, vocabulary)), Arg::X(numbers.repeat(0, batch).repeat(0, steps)), NONE];
    e.op(label, VectorOp::Equal, args, &ones);
    ones
}

/// Forward.
pub(super) fn forward(net: &mut Net, e: &mut Emitter, id: NodeId) {
    let node = net.graph.node(id);
    let label = format!("{} forward", node.name);
    let w = net.half(e, weight(node.op));
    let ones = ones(net, e, id, &label);
    let y = e.half(&format!("{} output", node.name), Class::Activations, &net.dims(id));
    let flags = Epilogue { flag: Some(flag::FORWARD), ..Epilogue::default() };
    e.product(&label, (&ones, false), (&w, false), &y, None, flags);
    net.values[id.0] = Some(y);
}

/// `dW = onesᵀ·dy`. The ones are made again: kept, they would be in the way of everything between.
pub(super) fn backward(net: &mut Net, e: &mut Emitter, id: NodeId) {
    let node = net.graph.node(id);
    let (ones, dy) = (ones(net, e, id, &format!("{} backward", node.name)), net.gradient(id));
    let to = net.parameters[weight(node.op).0].gradient.clone();
    let flags = Epilogue { flag: Some(flag::WEIGHT_GRADIENT), ..Epilogue::default() };
    e.product(&format!("{} dW", node.name), (&ones, true), (&dy, false), &to, None, flags);
}
