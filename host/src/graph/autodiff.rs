//! Reverse-mode differentiation: from a graph to the list of gradient computations.

use super::{Graph, NodeId, Op, ParameterId};

/// One computation of the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradientOp {
    /// Gradient of the loss by its first input, scaled.
    Loss,
    /// `dx = dy·W`, `[rows, inputs]`, for the dense node `layer`.
    DenseInput,
    /// `dW = dyᵀ·x`, `[outputs, inputs]`, and `db = Σ_rows dy`, for the dense node `layer`.
    DenseParameters {
        /// W.
        weight: ParameterId,
        /// b.
        bias: ParameterId,
    },
    /// `dx = dy where y > 0, else 0`.
    Relu,
    /// Gradients of the node's parameters, if it has any that require them, and by its input number `.0`, if that is wanted.
    Node(usize),
}

/// A node of the backward graph: `op` belongs to forward node `node`, reads the gradient by that node's output (the loss
/// reads none) and, unless it makes parameter gradients only, produces the gradient by the output of one of `node`'s inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gradient {
    /// What is computed.
    pub op: GradientOp,
    /// The forward node that it differentiates.
    pub node: NodeId,
    /// The forward node by whose output the result is the gradient; `None` for parameter gradients.
    pub produces: Option<NodeId>,
    /// The result is added to what an earlier step produced: the forward node has several users.
    pub accumulate: bool,
}

/// The backward graph, in an order that can be evaluated. Gradients by the network's input, and by what only depends on the
/// input without parameters that require one, are left out: nobody reads them. A node with several users gets the sum of its gradients, the
/// last user's first.
pub fn differentiate(graph: &Graph) -> Vec<Gradient> {
    // A gradient is wanted where a parameter that requires one lies at or before the node.
    let mut wanted: Vec<bool> = Vec::new();
    for (i, n) in graph.nodes.iter().enumerate() {
        wanted.push(graph.trains(NodeId(i)) || n.inputs.iter().any(|i| wanted[i.0]));
    }
    let mut started = vec![false; graph.nodes.len()];
    let mut steps = Vec::new();
    let mut push = |op: GradientOp, node: NodeId, produces: Option<NodeId>| {
        let accumulate = produces.is_some_and(|x| std::mem::replace(&mut started[x.0], true));
        steps.push(Gradient { op, node, produces, accumulate });
    };
    for i in (0..graph.nodes.len()).rev() {
        let node = NodeId(i);
        let n = graph.node(node);
        let Some(&x) = n.inputs.first() else { continue };
        let produces = wanted[x.0].then_some(x);
        match n.op {
            _ if !wanted[i] => {}
            Op::SoftmaxCrossEntropy | Op::Regression { .. } => push(GradientOp::Loss, node, produces),
            Op::Relu => push(GradientOp::Relu, node, produces),
            Op::Dense { weight, bias } => {
                if produces.is_some() {
                    push(GradientOp::DenseInput, node, produces);
                }
                if graph.trains(node) {
                    push(GradientOp::DenseParameters { weight, bias }, node, None);
                }
            }
            Op::Add | Op::Concat => {
                for (k, x) in n.inputs.iter().enumerate().filter(|(_, x)| wanted[x.0]) {
                    push(GradientOp::Node(k), node, Some(*x));
                }
            }
            _ => push(GradientOp::Node(0), node, produces),
        }
    }
    steps
}

impl Op {
    /// Parameters of the operation, in PyTorch's order.
    pub fn parameters(&self) -> Vec<ParameterId> {
        match *self {
            Op::Dense { weight, bias }
            | Op::Conv2d { weight, bias, .. }
            | Op::ConvTranspose2d { weight, bias, .. }
            | Op::LayerNorm { weight, bias }
            | Op::BatchNorm { weight, bias, .. } => vec![weight, bias],
            Op::Embedding { weight } => vec![weight],
            Op::Gru(c) | Op::Lstm(c) => vec![c.weight_ih, c.weight_hh, c.bias_ih, c.bias_hh],
            _ => Vec::new(),
        }
    }
}
