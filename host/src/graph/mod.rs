//! Networks as graphs, and their derivatives as graphs.
//!
//! A [`Graph`] is a list of nodes in an order in which each node's inputs come first. Shapes leave out the batch: a node
//! produces `features` numbers per row (sample). [`differentiate`] turns a graph into the list of gradient nodes that
//! back-propagation evaluates, in order. The compiler and the reference trainer both walk these two lists and nothing else.

mod autodiff;
mod init;
mod mlp;

pub use autodiff::{Gradient, GradientOp, differentiate};
pub use init::initialize;
pub use mlp::{Model, ModelError};

/// Index of a node in [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// Index of a parameter in [`Graph::parameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterId(pub usize);

/// What a node computes. Room for more: each new operation is a variant here, a rule in `autodiff`, a case in `reference`
/// and an emitter in `compile`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// The batch, `[rows, features]`.
    Input,
    /// `y = x·Wᵀ + b`, W `[features, inputs]` and b `[features]` as in PyTorch's `Linear`.
    Dense {
        /// W.
        weight: ParameterId,
        /// b.
        bias: ParameterId,
    },
    /// `max(x, 0)`, derivative 0 at 0.
    Relu,
    /// Mean over the valid rows of `−log softmax(x)[label]`; one number. A row whose label is no class is not valid.
    SoftmaxCrossEntropy,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// Where its operands come from.
    pub inputs: Vec<NodeId>,
    /// Numbers per row that it produces.
    pub features: usize,
    /// For messages and reports; PyTorch's module index where there is one.
    pub name: String,
}

/// A trainable tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// PyTorch's name, such as `0.weight`.
    pub name: String,
    /// PyTorch's shape: `[out, in]` or `[out]`.
    pub shape: Vec<usize>,
    /// Inputs of the unit that it belongs to, which scale its initial values.
    pub fan_in: usize,
}

impl Parameter {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// True for a tensor without elements (never the case in a valid graph).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A network with its loss.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// Nodes; inputs before users.
    pub nodes: Vec<Node>,
    /// Parameters in PyTorch's order.
    pub parameters: Vec<Parameter>,
}

impl Graph {
    /// Adds a node and returns its id.
    pub fn add(&mut self, op: Op, inputs: &[NodeId], features: usize, name: impl Into<String>) -> NodeId {
        self.nodes.push(Node { op, inputs: inputs.to_vec(), features, name: name.into() });
        NodeId(self.nodes.len() - 1)
    }

    /// Adds the batch's input, `features` numbers per row.
    pub fn input(&mut self, features: usize) -> NodeId {
        self.add(Op::Input, &[], features, "input")
    }

    /// Adds a dense layer called `name` with its parameters `name.weight` and `name.bias`.
    pub fn dense(&mut self, x: NodeId, features: usize, name: &str) -> NodeId {
        let fan_in = self.node(x).features;
        let mut parameter = |suffix: &str, shape: Vec<usize>| {
            self.parameters.push(Parameter { name: format!("{name}.{suffix}"), shape, fan_in });
            ParameterId(self.parameters.len() - 1)
        };
        let weight = parameter("weight", vec![features, fan_in]);
        let bias = parameter("bias", vec![features]);
        self.add(Op::Dense { weight, bias }, &[x], features, name)
    }

    /// Adds a ReLU called `name`.
    pub fn relu(&mut self, x: NodeId, name: &str) -> NodeId {
        let features = self.node(x).features;
        self.add(Op::Relu, &[x], features, name)
    }

    /// Adds the loss; the graph's last node.
    pub fn softmax_cross_entropy(&mut self, logits: NodeId) -> NodeId {
        self.add(Op::SoftmaxCrossEntropy, &[logits], 1, "loss")
    }

    /// The node with this id.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// The parameter with this id.
    pub fn parameter(&self, id: ParameterId) -> &Parameter {
        &self.parameters[id.0]
    }

    /// Ids of the nodes that read `id`.
    pub fn users(&self, id: NodeId) -> Vec<NodeId> {
        let reads = |n: &Node| n.inputs.contains(&id);
        self.nodes.iter().enumerate().filter(|(_, n)| reads(n)).map(|(i, _)| NodeId(i)).collect()
    }

    /// The loss: the last node.
    pub fn loss(&self) -> NodeId {
        NodeId(self.nodes.len() - 1)
    }

    /// The node whose output is the logits: the loss's input.
    pub fn logits(&self) -> NodeId {
        self.node(self.loss()).inputs[0]
    }

    /// Features of the input, numbers per row.
    pub fn input_features(&self) -> usize {
        self.nodes.iter().find(|n| n.op == Op::Input).map_or(0, |n| n.features)
    }

    /// Number of classes: features of the logits.
    pub fn classes(&self) -> usize {
        self.node(self.logits()).features
    }
}
