//! A graph as the chain of layers that the compiler has rules for, and a batch as parts.

use super::CompileError;
use crate::graph::{Graph, NodeId, Op, ParameterId};

/// Consecutive rows of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) start: u32,
    pub(crate) rows: u32,
}

impl Part {
    /// Cuts in proportion to `weights`, at multiples of `lanes` rows; pieces without rows are left out.
    pub(crate) fn cut(self, weights: &[u32], lanes: u32) -> Vec<Part> {
        let total: u32 = weights.iter().sum();
        let (mut before, mut start, mut parts) = (0, 0, Vec::new());
        for w in weights {
            before += w;
            let end = if before == total {
                self.rows
            } else {
                (self.rows * before / total).next_multiple_of(lanes).min(self.rows)
            };
            if end > start {
                parts.push(Part { start: self.start + start, rows: end - start });
            }
            start = end;
        }
        parts
    }
}

/// A dense layer with the ReLU that follows it, if one does.
pub(crate) struct Layer {
    pub(crate) name: String,
    pub(crate) inputs: u32,
    pub(crate) outputs: u32,
    pub(crate) relu: bool,
    pub(crate) weight: ParameterId,
    pub(crate) bias: ParameterId,
    /// Graph node whose value the layer reads.
    pub(crate) source: NodeId,
    /// The dense node.
    pub(crate) dense: NodeId,
    /// The node whose value it produces: the ReLU, or the dense node itself.
    pub(crate) value: NodeId,
}

/// Whether the graph is dense layers on vectors, each with at most a ReLU behind it, and softmax cross-entropy.
pub(crate) fn is_chain(graph: &Graph) -> bool {
    let last = graph.nodes.len() - 1;
    graph.nodes.iter().enumerate().all(|(i, n)| {
        let known = match n.op {
            Op::Input | Op::Dense { .. } => n.shape.len() == 1,
            Op::Relu => matches!(graph.node(n.inputs[0]).op, Op::Dense { .. }),
            Op::SoftmaxCrossEntropy => matches!(graph.node(n.inputs[0]).op, Op::Dense { .. }),
            _ => false,
        };
        known && n.inputs.iter().all(|x| x.0 + 1 == i) && (i == last || graph.users(NodeId(i)).len() == 1)
    })
}

/// The graph as a chain of layers, or what in it has no rule.
pub(crate) fn layers(graph: &Graph) -> Result<Vec<Layer>, CompileError> {
    let unsupported = |node: NodeId, why| CompileError::Unsupported { node: graph.node(node).name.clone(), why };
    let mut layers: Vec<Layer> = Vec::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        let id = NodeId(i);
        if node.op != Op::SoftmaxCrossEntropy && graph.users(id).len() != 1 {
            return Err(unsupported(id, "each value must have exactly one user"));
        }
        let previous = layers.last().map(|l| l.value);
        match node.op {
            Op::Input => {}
            Op::Dense { weight, bias } => {
                let source = node.inputs[0];
                layers.push(Layer {
                    name: node.name.clone(),
                    inputs: graph.node(source).features as u32,
                    outputs: node.features as u32,
                    relu: false,
                    weight,
                    bias,
                    source,
                    dense: id,
                    value: id,
                });
            }
            Op::Relu => match layers.last_mut() {
                Some(l) if l.value == node.inputs[0] && !l.relu => {
                    l.relu = true;
                    l.value = id;
                }
                _ => return Err(unsupported(id, "a ReLU must follow a dense layer")),
            },
            _ if node.op != Op::SoftmaxCrossEntropy => {
                return Err(unsupported(id, "it is no dense layer, ReLU or softmax cross-entropy"));
            }
            _ => {
                if previous != Some(node.inputs[0]) || layers.last().is_some_and(|l| l.relu) {
                    return Err(unsupported(id, "the loss must follow a dense layer"));
                }
            }
        }
    }
    if layers.is_empty() {
        return Err(CompileError::Unsupported { node: "network".into(), why: "it has no dense layer" });
    }
    Ok(layers)
}
