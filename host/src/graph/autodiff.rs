//! Reverse-mode differentiation: from a graph to the list of gradient computations.

use super::{Graph, NodeId, Op, ParameterId};

/// One computation of the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradientOp {
    /// Gradient of the loss by its logits, scaled: `(softmax − one-hot) · valid · seed`, `[rows, classes]`.
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
}

/// A node of the backward graph: `op` belongs to forward node `node`, reads the gradient by that node's output (the loss
/// reads none) and, unless it makes parameter gradients, produces the gradient by the output of `node`'s input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gradient {
    /// What is computed.
    pub op: GradientOp,
    /// The forward node that it differentiates.
    pub node: NodeId,
    /// The forward node by whose output the result is the gradient; `None` for parameter gradients.
    pub produces: Option<NodeId>,
}

/// The backward graph, in an order that can be evaluated. Gradients by the network's input are left out: nobody reads them.
///
/// Every node of a graph has one user today; a node with several will need a sum of gradients here.
pub fn differentiate(graph: &Graph) -> Vec<Gradient> {
    let mut steps = Vec::new();
    for i in (0..graph.nodes.len()).rev() {
        let node = NodeId(i);
        let Some(&x) = graph.node(node).inputs.first() else { continue };
        debug_assert_eq!(graph.users(x).len(), 1, "gradients of a shared node need a sum");
        let wanted = graph.node(x).op != Op::Input;
        let produces = wanted.then_some(x);
        match graph.node(node).op {
            Op::Input => {}
            Op::SoftmaxCrossEntropy => steps.push(Gradient { op: GradientOp::Loss, node, produces }),
            Op::Relu if wanted => steps.push(Gradient { op: GradientOp::Relu, node, produces }),
            Op::Relu => {}
            Op::Dense { weight, bias } => {
                if wanted {
                    steps.push(Gradient { op: GradientOp::DenseInput, node, produces });
                }
                let op = GradientOp::DenseParameters { weight, bias };
                steps.push(Gradient { op, node, produces: None });
            }
        }
    }
    steps
}
