//! Dense layers along the last axis, and what every layer with a weight matrix shares: products with a column of ones.

use super::emitter::Emitter;
use super::network::Net;
use super::view::{Nd, Place};
use crate::compile::build::Epilogue;
use crate::compile::plan::Class;
use crate::graph::{NodeId, Op, ParameterId};
use systole_isa::flag;

/// `x` with one column more that holds ones, where the tensor has a free one.
fn with_ones(net: &Net, e: &mut Emitter, label: &str, x: &Nd) -> Option<Nd> {
    let n = x.dims.len();
    let mut v = x.clone();
    v.dims[n - 1] += 1;
    let whole = x.offset == 0 && x.strides[n - 1] == 1;
    match x.place {
        // The host writes them once.
        Place::Input => (whole && x.dims[n - 1] == net.graph.input_features() as u32).then_some(v),
        Place::Tensor(t) if whole && x.dims[n - 1] == e.tensors[t].cols && e.tensors[t].pitch > e.tensors[t].cols => {
            let column = v.range(n - 1, x.dims[n - 1], 1);
            e.fill(&format!("{label} ones"), 1.0, &column);
            Some(v)
        }
        _ => None,
    }
}

/// Gradients of a weight `[outputs, inputs]` and its bias from `dy` and what the weight was multiplied with.
pub(super) fn parameters(
    net: &mut Net,
    e: &mut Emitter,
    label: &str,
    x: &Nd,
    dy: &Nd,
    [weight, bias]: [ParameterId; 2],
) {
    let (weight, bias) = (net.parameters[weight.0].gradient.clone(), net.parameters[bias.0].gradient.clone());
    let flags = Epilogue { flag: Some(flag::WEIGHT_GRADIENT), ..Epilogue::default() };
    match with_ones(net, e, label, x) {
        Some(x) => {
            let mut both = weight;
            both.dims[1] += 1;
            e.product(label, (dy, true), (&x, false), &both, None, flags);
        }
        None => {
            e.product(label, (dy, true), (x, false), &weight, None, flags);
            sum_rows(net, e, label, dy, &bias);
        }
    }
}

/// Column sums of `dy` into `out[columns, 1]`, as a product with ones.
pub(super) fn sum_rows(net: &mut Net, e: &mut Emitter, label: &str, dy: &Nd, out: &Nd) {
    let rows = dy.matrix().map_or(1, |m| m.0);
    let ones = net.ones(e, rows);
    let flags = Epilogue { flag: Some(flag::WEIGHT_GRADIENT), ..Epilogue::default() };
    e.product(&format!("{label} bias"), (dy, true), (&ones, false), out, None, flags);
}

/// Forward of a dense layer, with the ReLU that follows it.
pub(super) fn forward(net: &mut Net, e: &mut Emitter, id: NodeId) {
    let node = net.graph.node(id);
    let Op::Dense { weight, bias } = node.op else { unreachable!("a dense node") };
    let name = node.name.clone();
    let x = net.matrix(e, node.inputs[0], &name);
    let y = e.half(&format!("{name} output"), Class::Activations, &net.dims(id));
    let (w, b) = (net.half(e, weight), net.half(e, bias));
    let relu = net.fused_relu(id);
    let flags = Epilogue { relu: relu.is_some(), flag: Some(flag::FORWARD), ..Epilogue::default() };
    e.product(&format!("{name} forward"), (&x, false), (&w, true), &y, Some(&b), flags);
    net.set(id, relu, y);
}

/// `dx = dy·W`.
pub(super) fn input(net: &mut Net, e: &mut Emitter, id: NodeId, dx: &Nd) {
    let node = net.graph.node(id);
    let Op::Dense { weight, .. } = node.op else { unreachable!("a dense node") };
    let flags = Epilogue { flag: Some(flag::ACTIVATION_GRADIENT), ..Epilogue::default() };
    let (dy, w) = (net.gradient(id), net.half(e, weight));
    e.product(&format!("{} dX", node.name), (&dy, false), (&w, false), dx, None, flags);
}

/// `dW = dyᵀ·x` and `db`.
pub(super) fn weights(net: &mut Net, e: &mut Emitter, id: NodeId) {
    let node = net.graph.node(id);
    let Op::Dense { weight, bias } = node.op else { unreachable!("a dense node") };
    let name = node.name.clone();
    let x = net.matrix(e, node.inputs[0], &name);
    let dy = net.gradient(id);
    parameters(net, e, &format!("{name} dW"), &x, &dy, [weight, bias]);
}
