//! Networks as graphs, and their derivatives as graphs.
//!
//! A [`Graph`] is a list of nodes in an order in which each node's inputs come first. Shapes are PyTorch's and leave out the
//! batch: `[features]`, `[steps, features]` or `[channels, height, width]` per row (sample). [`differentiate`] turns a graph
//! into the list of gradient nodes that back-propagation evaluates, in order. The compiler and the reference trainer both
//! walk these two lists and nothing else.
//!
//! | module | what it does |
//! |---|---|
//! | `layers` | one constructor per operation, with the checks of its shapes |
//! | `autodiff` | the derivative |
//! | `init` | initial values |
//! | `mlp` | the notation `mlp:64-32-10` |
//! | `file` | models as TOML files |
//! | `gan` | generator and discriminator, and the passes that train them in turn |

mod autodiff;
mod file;
mod gan;
mod init;
mod layers;
mod mlp;

pub use autodiff::{Gradient, GradientOp, differentiate};
pub use file::{Settings, parse as parse_file};
pub use gan::{Gan, OptimizerSettings, Pass, Phase};
pub use init::initialize;
pub use layers::GraphError;
pub use mlp::{Model, ModelError};

/// Index of a node in [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// Index of a parameter in [`Graph::parameters`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterId(pub usize);

/// Index of a buffer in [`Graph::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub usize);

/// Running statistics of a batch normalisation, as PyTorch names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// `running_mean`, `[channels]`.
    pub mean: BufferId,
    /// `running_var`, `[channels]`: of unbiased variances.
    pub variance: BufferId,
    /// `num_batches_tracked`, one number.
    pub batches: BufferId,
}

/// Kernel, stride and padding of a convolution, the same along both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Distance of neighbouring windows.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: usize,
}

/// Parameters of a recurrent layer, as PyTorch's `GRU` and `LSTM` name and shape them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// `weight_ih_l0`, `[gates·hidden, inputs]`.
    pub weight_ih: ParameterId,
    /// `weight_hh_l0`, `[gates·hidden, hidden]`.
    pub weight_hh: ParameterId,
    /// `bias_ih_l0`.
    pub bias_ih: ParameterId,
    /// `bias_hh_l0`.
    pub bias_hh: ParameterId,
}

/// A loss between two tensors of one shape: the mean over all elements of the valid rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regression {
    /// `(x − y)²`.
    Mse,
    /// `½(x − y)²` where `|x − y| < 1`, else `|x − y| − ½`.
    SmoothL1,
    /// `log(1 + eˣ) − x·y`: binary cross-entropy of the logits x.
    SigmoidBce,
}

/// What a node computes. Each operation is a variant here, a constructor in `layers`, a rule in `autodiff`, a case in
/// `reference` and an emitter in `compile`: `docs/adding-a-layer.md`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// The batch, `[rows, features]`.
    Input,
    /// Random numbers that the host draws for every batch, `[rows, features]`: a generator's latent vectors.
    Latent,
    /// What a loss compares with: the numbers of each row behind the input's.
    Target,
    /// One value everywhere: the target of a discriminator.
    Constant {
        /// The value.
        value: f32,
    },
    /// `y = x·Wᵀ + b` along the last axis, W `[features, inputs]` and b `[features]` as in PyTorch's `Linear`.
    Dense {
        /// W.
        weight: ParameterId,
        /// b.
        bias: ParameterId,
    },
    /// `max(x, 0)`, derivative 0 at 0.
    Relu,
    /// x where x > 0, else `slope·x`.
    LeakyRelu {
        /// Factor of what is not positive.
        slope: f32,
    },
    /// While training, 0 with probability p, else `x/(1 − p)`; otherwise x: PyTorch's `Dropout`.
    Dropout {
        /// Share that is dropped, 0 ≤ p < 1.
        p: f32,
    },
    /// Hyperbolic tangent.
    Tanh,
    /// `1/(1 + e⁻ˣ)`.
    Sigmoid,
    /// Cross-correlation of an image with W `[channels, inputs, kernel, kernel]`, plus b `[channels]`: PyTorch's `Conv2d`.
    Conv2d {
        /// W.
        weight: ParameterId,
        /// b.
        bias: ParameterId,
        /// Geometry.
        window: Window,
    },
    /// The transpose of a convolution, W `[inputs, channels, kernel, kernel]`: PyTorch's `ConvTranspose2d`.
    ConvTranspose2d {
        /// W.
        weight: ParameterId,
        /// b.
        bias: ParameterId,
        /// Geometry of the convolution that it transposes.
        window: Window,
    },
    /// Largest of each `kernel × kernel` square; of equals the first takes the gradient.
    MaxPool2d {
        /// Edge of the square, and stride.
        kernel: usize,
    },
    /// Mean of each `kernel × kernel` square.
    AvgPool2d {
        /// Edge of the square, and stride.
        kernel: usize,
    },
    /// Normalised along the last axis, times weight, plus bias: PyTorch's `LayerNorm`, ε = 1e-5.
    LayerNorm {
        /// Factors.
        weight: ParameterId,
        /// Offsets.
        bias: ParameterId,
    },
    /// Normalised per feature of a vector or channel of an image over the valid rows of the batch (and all pixels), times weight,
    /// plus bias: PyTorch's `BatchNorm1d` and `BatchNorm2d`, ε = 1e-5, momentum 0.1. An evaluation normalises by the running
    /// statistics instead.
    BatchNorm {
        /// Factors.
        weight: ParameterId,
        /// Offsets.
        bias: ParameterId,
        /// What an evaluation uses.
        running: Statistics,
    },
    /// The same numbers in another shape, in row-major order.
    Reshape,
    /// `y[step] = W[token]`, W `[vocabulary, features]`, for the tokens `[steps]` of the batch itself: PyTorch's `Embedding`.
    Embedding {
        /// W.
        weight: ParameterId,
    },
    /// The entry at `index` of the first axis: one step of a sequence.
    Select {
        /// Which.
        index: usize,
    },
    /// The entries `start..end` of the first axis: steps of a sequence, channels of an image, features of a vector.
    Slice {
        /// The first.
        start: usize,
        /// One behind the last.
        end: usize,
    },
    /// A vector at every step of a sequence: what a decoder knows of all that its encoder read (Cho et al., arXiv 1406.1078).
    Repeat,
    /// Its inputs one after another along the first axis but the steps': channels of images, features of vectors and steps.
    Concat,
    /// Sum of two inputs of one shape.
    Add,
    /// PyTorch's `GRU` with initial state 0, `[steps, inputs]` to `[steps, hidden]`.
    Gru(Cell),
    /// PyTorch's `LSTM` with initial state 0, `[steps, inputs]` to `[steps, hidden]`.
    Lstm(Cell),
    /// Mean over the valid rows of `−log softmax(x)[label]`; one number. A row whose label is no class is not valid. Of a sequence
    /// `[steps, classes]` every step has a label, and the mean is over steps and rows.
    SoftmaxCrossEntropy,
    /// A loss between its two inputs; only the first has a gradient.
    Regression {
        /// Which.
        kind: Regression,
        /// What it is multiplied by.
        weight: f32,
    },
}

impl Op {
    /// The operation's name in model files and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input => "input",
            Op::Latent => "latent",
            Op::Target => "target",
            Op::Constant { .. } => "constant",
            Op::Dense { .. } => "dense",
            Op::Relu => "relu",
            Op::LeakyRelu { .. } => "leaky_relu",
            Op::Dropout { .. } => "dropout",
            Op::Tanh => "tanh",
            Op::Sigmoid => "sigmoid",
            Op::Conv2d { .. } => "conv2d",
            Op::ConvTranspose2d { .. } => "conv_transpose2d",
            Op::MaxPool2d { .. } => "max_pool2d",
            Op::AvgPool2d { .. } => "avg_pool2d",
            Op::LayerNorm { .. } => "layer_norm",
            Op::BatchNorm { .. } => "batch_norm",
            Op::Embedding { .. } => "embedding",
            Op::Reshape => "reshape",
            Op::Select { .. } => "select",
            Op::Slice { .. } => "slice",
            Op::Repeat => "repeat",
            Op::Concat => "concat",
            Op::Add => "add",
            Op::Gru(_) => "gru",
            Op::Lstm(_) => "lstm",
            Op::SoftmaxCrossEntropy => "softmax_cross_entropy",
            Op::Regression { kind: Regression::Mse, .. } => "mse",
            Op::Regression { kind: Regression::SmoothL1, .. } => "smooth_l1",
            Op::Regression { kind: Regression::SigmoidBce, .. } => "sigmoid_bce",
        }
    }

    /// Whether it is a loss.
    pub fn is_loss(&self) -> bool {
        matches!(self, Op::SoftmaxCrossEntropy | Op::Regression { .. })
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// Where its operands come from.
    pub inputs: Vec<NodeId>,
    /// Shape per row, without the batch.
    pub shape: Vec<usize>,
    /// Numbers per row that it produces: the product of `shape`.
    pub features: usize,
    /// For messages and reports; PyTorch's module index where there is one.
    pub name: String,
}

/// A trainable tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// PyTorch's name, such as `0.weight`.
    pub name: String,
    /// PyTorch's shape: `[out, in]` or `[out]`.
    pub shape: Vec<usize>,
    /// Inputs of the unit that it belongs to, which scale its initial values.
    pub fan_in: usize,
    /// Every element's initial value, where it is not drawn.
    pub constant: Option<f32>,
    /// Whether this graph's derivative has a gradient by it; PyTorch's `requires_grad`. It has one everywhere but in a [`Gan`].
    pub requires_grad: bool,
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

/// A tensor that training passes keep up to date as they go forward, without a gradient; PyTorch's buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// PyTorch's name, such as `1.running_mean`.
    pub name: String,
    /// PyTorch's shape; empty for a single number.
    pub shape: Vec<usize>,
    /// Every element's initial value.
    pub initial: f32,
}

impl Buffer {
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Nodes; inputs before users.
    pub nodes: Vec<Node>,
    /// Parameters in PyTorch's order.
    pub parameters: Vec<Parameter>,
    /// Buffers in PyTorch's order.
    pub buffers: Vec<Buffer>,
}

impl Graph {
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

    /// Nodes that drop values while training.
    pub fn dropouts(&self) -> Vec<NodeId> {
        let drops = |n: &Node| matches!(n.op, Op::Dropout { .. });
        self.nodes.iter().enumerate().filter(|(_, n)| drops(n)).map(|(i, _)| NodeId(i)).collect()
    }

    /// A node that normalises over a batch alone, so that one row has no variance there.
    pub fn needs_two_rows(&self) -> Option<&Node> {
        let values = |n: &Node| n.features / n.shape[0];
        self.nodes.iter().find(|n| matches!(n.op, Op::BatchNorm { .. }) && values(n) == 1)
    }

    /// The loss: the last node.
    pub fn loss(&self) -> NodeId {
        NodeId(self.nodes.len() - 1)
    }

    /// The node whose output is the logits: the loss's input.
    pub fn logits(&self) -> NodeId {
        self.node(self.loss()).inputs[0]
    }

    /// What an evaluation tells: the logits, or the last node of a graph without a loss.
    pub fn output(&self) -> NodeId {
        if self.node(self.loss()).op.is_loss() { self.logits() } else { self.loss() }
    }

    /// Whether its input is drawn by the host rather than read from a data set.
    pub fn reads_noise(&self) -> bool {
        self.nodes.first().is_some_and(|n| n.op == Op::Latent)
    }

    /// Whether the derivative has gradients by the parameters of a node; those of one operation are trained together.
    pub fn trains(&self, id: NodeId) -> bool {
        self.node(id).op.parameters().iter().any(|&p| self.parameter(p).requires_grad)
    }

    /// Numbers per row of a batch: the input's, and behind them the target's where there is one.
    pub fn input_features(&self) -> usize {
        let fed = |n: &&Node| matches!(n.op, Op::Input | Op::Latent | Op::Target);
        self.nodes.iter().filter(fed).map(|n| n.features).sum()
    }

    /// Number of classes: the last axis of the logits; 0 where the loss knows no classes.
    pub fn classes(&self) -> usize {
        match (self.node(self.loss()).op, self.node(self.logits()).shape.last()) {
            (Op::SoftmaxCrossEntropy, Some(&classes)) => classes,
            _ => 0,
        }
    }

    /// Labels of a row: one, or one for each step of a sequence.
    pub fn labels_per_row(&self) -> usize {
        match self.node(self.loss()).op {
            Op::SoftmaxCrossEntropy => self.node(self.logits()).features / self.classes(),
            _ => 1,
        }
    }

    /// Where the batch is tokens: how many different ones an embedding knows.
    pub fn vocabulary(&self) -> Option<usize> {
        let of = |n: &Node| match n.op {
            Op::Embedding { weight } => Some(self.parameter(weight).shape[0]),
            _ => None,
        };
        self.nodes.iter().filter_map(of).min()
    }
}
