//! One constructor per operation, with the checks of its shapes.

use super::{Buffer, BufferId, Cell, Graph, Node, NodeId, Op, Parameter, ParameterId, Regression, Statistics, Window};

/// Why an operation cannot follow its inputs. Names both.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// An input of another kind than the operation takes.
    #[error("`{node}` ({op}) takes {takes}, but `{input}` gives {shape:?}")]
    Shape {
        /// The new node.
        node: String,
        /// Its operation.
        op: &'static str,
        /// What it takes.
        takes: String,
        /// The node that it was to read.
        input: String,
        /// That node's shape, without the batch.
        shape: Vec<usize>,
    },
    /// Two inputs that do not go together.
    #[error("`{node}` ({op}) cannot take `{first}` {first_shape:?} and `{second}` {second_shape:?}: {reason}")]
    Pair {
        /// The new node.
        node: String,
        /// Its operation.
        op: &'static str,
        /// First input.
        first: String,
        /// Its shape.
        first_shape: Vec<usize>,
        /// The other input.
        second: String,
        /// Its shape.
        second_shape: Vec<usize>,
        /// What they lack.
        reason: &'static str,
    },
}

type Made = Result<NodeId, GraphError>;

impl Graph {
    /// Adds a node and returns its id.
    pub fn add(&mut self, op: Op, inputs: &[NodeId], shape: &[usize], name: impl Into<String>) -> NodeId {
        let (shape, features) = (shape.to_vec(), shape.iter().product());
        self.nodes.push(Node { op, inputs: inputs.to_vec(), shape, features, name: name.into() });
        NodeId(self.nodes.len() - 1)
    }

    fn parameter_of(&mut self, name: String, shape: Vec<usize>, fan_in: usize, constant: Option<f32>) -> ParameterId {
        self.parameters.push(Parameter { name, shape, fan_in, constant, requires_grad: true });
        ParameterId(self.parameters.len() - 1)
    }

    fn refuse(&self, op: &'static str, name: &str, x: NodeId, takes: impl Into<String>) -> GraphError {
        let n = self.node(x);
        let (input, shape) = (n.name.clone(), n.shape.clone());
        GraphError::Shape { node: name.into(), op, takes: takes.into(), input, shape }
    }

    fn refuse_pair(&self, op: &'static str, name: &str, [a, b]: [NodeId; 2], reason: &'static str) -> GraphError {
        let (a, b) = (self.node(a), self.node(b));
        GraphError::Pair {
            node: name.into(),
            op,
            first: a.name.clone(),
            first_shape: a.shape.clone(),
            second: b.name.clone(),
            second_shape: b.shape.clone(),
            reason,
        }
    }

    fn image(&self, op: &'static str, name: &str, x: NodeId) -> Result<[usize; 3], GraphError> {
        <[usize; 3]>::try_from(self.node(x).shape.as_slice())
            .map_err(|_| self.refuse(op, name, x, "an image [channels, height, width]"))
    }

    /// Adds the batch's input, of this shape per row.
    pub fn input(&mut self, shape: &[usize]) -> NodeId {
        self.add(Op::Input, &[], shape, "input")
    }

    /// Adds a generator's input: `features` random numbers per row.
    pub fn latent(&mut self, features: usize) -> NodeId {
        self.add(Op::Latent, &[], &[features], "latent")
    }

    /// Adds what a loss compares with: `features` numbers of each row behind the input's.
    pub fn target(&mut self, features: usize) -> NodeId {
        self.add(Op::Target, &[], &[features], "target")
    }

    /// Adds a vector of `features` times `value`, a loss's target.
    pub fn constant(&mut self, value: f32, features: usize) -> NodeId {
        self.add(Op::Constant { value }, &[], &[features], "target")
    }

    /// Adds a dense layer called `name`, along the last axis, with its parameters `name.weight` and `name.bias`.
    pub fn dense(&mut self, x: NodeId, features: usize, name: &str) -> NodeId {
        let mut shape = self.node(x).shape.clone();
        let fan_in = shape.pop().unwrap_or(1);
        shape.push(features);
        let weight = self.parameter_of(format!("{name}.weight"), vec![features, fan_in], fan_in, None);
        let bias = self.parameter_of(format!("{name}.bias"), vec![features], fan_in, None);
        self.add(Op::Dense { weight, bias }, &[x], &shape, name)
    }

    /// Adds an elementwise operation called `name`.
    pub fn unary(&mut self, op: Op, x: NodeId, name: &str) -> NodeId {
        let shape = self.node(x).shape.clone();
        self.add(op, &[x], &shape, name)
    }

    /// Adds a convolution with `channels` outputs.
    pub fn conv2d(&mut self, x: NodeId, channels: usize, window: Window, name: &str) -> Made {
        let [c, h, w] = self.image("conv2d", name, x)?;
        let Window { kernel: k, stride, padding } = window;
        if h + 2 * padding < k || w + 2 * padding < k {
            return Err(self.refuse("conv2d", name, x, format!("images of at least {k}×{k} pixels, padding included")));
        }
        let out = |n: usize| (n + 2 * padding - k) / stride + 1;
        let fan_in = c * k * k;
        let weight = self.parameter_of(format!("{name}.weight"), vec![channels, c, k, k], fan_in, None);
        let bias = self.parameter_of(format!("{name}.bias"), vec![channels], fan_in, None);
        Ok(self.add(Op::Conv2d { weight, bias, window }, &[x], &[channels, out(h), out(w)], name))
    }

    /// Adds a transposed convolution with `channels` outputs.
    pub fn conv_transpose2d(&mut self, x: NodeId, channels: usize, window: Window, name: &str) -> Made {
        let [c, h, w] = self.image("conv_transpose2d", name, x)?;
        let Window { kernel: k, stride, padding } = window;
        let out = |n: usize| ((n - 1) * stride + k).saturating_sub(2 * padding);
        if out(h) == 0 || out(w) == 0 || padding >= k {
            return Err(self.refuse("conv_transpose2d", name, x, "an image that its padding leaves something of"));
        }
        let fan_in = channels * k * k;
        let weight = self.parameter_of(format!("{name}.weight"), vec![c, channels, k, k], fan_in, None);
        let bias = self.parameter_of(format!("{name}.bias"), vec![channels], fan_in, None);
        Ok(self.add(Op::ConvTranspose2d { weight, bias, window }, &[x], &[channels, out(h), out(w)], name))
    }

    /// Adds a max pooling ([`Op::MaxPool2d`]) or average pooling ([`Op::AvgPool2d`]).
    pub fn pool2d(&mut self, op: Op, x: NodeId, name: &str) -> Made {
        let [c, h, w] = self.image(op.name(), name, x)?;
        let (Op::MaxPool2d { kernel: k } | Op::AvgPool2d { kernel: k }) = op else {
            return Err(self.refuse(op.name(), name, x, "no pooling"));
        };
        if h % k != 0 || w % k != 0 {
            let takes = format!("images whose height and width are multiples of {k}");
            return Err(self.refuse(op.name(), name, x, takes));
        }
        Ok(self.add(op, &[x], &[c, h / k, w / k], name))
    }

    /// Adds a layer normalisation along the last axis of a vector or a sequence.
    pub fn layer_norm(&mut self, x: NodeId, name: &str) -> Made {
        let shape = self.node(x).shape.clone();
        let (1 | 2, Some(&f)) = (shape.len(), shape.last()) else {
            return Err(self.refuse("layer_norm", name, x, "a vector [features] or a sequence [steps, features]"));
        };
        let weight = self.parameter_of(format!("{name}.weight"), vec![f], f, Some(1.0));
        let bias = self.parameter_of(format!("{name}.bias"), vec![f], f, Some(0.0));
        Ok(self.add(Op::LayerNorm { weight, bias }, &[x], &shape, name))
    }

    /// Adds a batch normalisation of the features of a vector or the channels of an image.
    pub fn batch_norm(&mut self, x: NodeId, name: &str) -> Made {
        let shape = self.node(x).shape.clone();
        let (1 | 3, Some(&c)) = (shape.len(), shape.first()) else {
            let takes = "a vector [features] or an image [channels, height, width]; for a sequence there is layer_norm";
            return Err(self.refuse("batch_norm", name, x, takes));
        };
        let weight = self.parameter_of(format!("{name}.weight"), vec![c], c, Some(1.0));
        let bias = self.parameter_of(format!("{name}.bias"), vec![c], c, Some(0.0));
        let mut buffer = |what: &str, shape: &[usize], initial: f32| {
            self.buffers.push(Buffer { name: format!("{name}.{what}"), shape: shape.to_vec(), initial });
            BufferId(self.buffers.len() - 1)
        };
        let running = Statistics {
            mean: buffer("running_mean", &[c], 0.0),
            variance: buffer("running_var", &[c], 1.0),
            batches: buffer("num_batches_tracked", &[], 0.0),
        };
        Ok(self.add(Op::BatchNorm { weight, bias, running }, &[x], &shape, name))
    }

    /// Adds a vector of `features` for each of the batch's tokens, which are numbers below `vocabulary`.
    pub fn embedding(&mut self, x: NodeId, [vocabulary, features]: [usize; 2], name: &str) -> Made {
        let (&Op::Input, &[steps]) = (&self.node(x).op, self.node(x).shape.as_slice()) else {
            return Err(self.refuse("embedding", name, x, "the input itself, tokens in a shape [steps]"));
        };
        // one row at a time is what a user reads: PyTorch draws these without regard to their number, too
        let weight = self.parameter_of(format!("{name}.weight"), vec![vocabulary, features], 1, None);
        Ok(self.add(Op::Embedding { weight }, &[x], &[steps, features], name))
    }

    /// Adds a view of the same numbers in another shape.
    pub fn reshape(&mut self, x: NodeId, shape: &[usize], name: &str) -> Made {
        if shape.iter().product::<usize>() != self.node(x).features || shape.is_empty() || shape.len() > 3 {
            return Err(self.refuse("reshape", name, x, format!("as many numbers as {shape:?} holds")));
        }
        Ok(self.add(Op::Reshape, &[x], shape, name))
    }

    /// Adds the selection of one step of a sequence.
    pub fn select(&mut self, x: NodeId, index: usize, name: &str) -> Made {
        match self.node(x).shape[..] {
            [steps, f] if index < steps => Ok(self.add(Op::Select { index }, &[x], &[f], name)),
            _ => Err(self.refuse("select", name, x, format!("a sequence of more than {index} steps"))),
        }
    }

    /// Adds the entries from `start` to before `end` of the first axis.
    pub fn slice(&mut self, x: NodeId, [start, end]: [usize; 2], name: &str) -> Made {
        let mut shape = self.node(x).shape.clone();
        if start >= end || end > shape[0] {
            let takes = format!(
                "what has {} entries along its first axis, to give those from {start} to before {end}",
                end.max(start + 1)
            );
            return Err(self.refuse("slice", name, x, takes));
        }
        shape[0] = end - start;
        Ok(self.add(Op::Slice { start, end }, &[x], &shape, name))
    }

    /// Adds a sequence that has a vector at each of `steps` steps.
    pub fn repeat(&mut self, x: NodeId, steps: usize, name: &str) -> Made {
        match self.node(x).shape[..] {
            [f] => Ok(self.add(Op::Repeat, &[x], &[steps, f], name)),
            _ => Err(self.refuse("repeat", name, x, "a vector [features]")),
        }
    }

    /// Adds the concatenation of two or more nodes: along the channels of images, the features of vectors and sequences.
    pub fn concat(&mut self, xs: &[NodeId], name: &str) -> Made {
        let mut shape = self.node(xs[0]).shape.clone();
        let axis = if shape.len() == 2 { 1 } else { 0 };
        for &x in &xs[1..] {
            let other = &self.node(x).shape;
            let fits = other.len() == shape.len() && (0..shape.len()).all(|i| i == axis || shape[i] == other[i]);
            if !fits {
                return Err(self.refuse_pair(
                    "concat",
                    name,
                    [xs[0], x],
                    "they must differ in channels (features) only",
                ));
            }
            shape[axis] += other[axis];
        }
        Ok(self.add(Op::Concat, xs, &shape, name))
    }

    /// Adds the sum of two nodes.
    pub fn sum(&mut self, a: NodeId, b: NodeId, name: &str) -> Made {
        if self.node(a).shape != self.node(b).shape {
            return Err(self.refuse_pair("add", name, [a, b], "their shapes differ"));
        }
        let shape = self.node(a).shape.clone();
        Ok(self.add(Op::Add, &[a, b], &shape, name))
    }

    fn cell(&mut self, gates: usize, inputs: usize, hidden: usize, name: &str) -> Cell {
        let g = gates * hidden;
        Cell {
            weight_ih: self.parameter_of(format!("{name}.weight_ih_l0"), vec![g, inputs], hidden, None),
            weight_hh: self.parameter_of(format!("{name}.weight_hh_l0"), vec![g, hidden], hidden, None),
            bias_ih: self.parameter_of(format!("{name}.bias_ih_l0"), vec![g], hidden, None),
            bias_hh: self.parameter_of(format!("{name}.bias_hh_l0"), vec![g], hidden, None),
        }
    }

    /// Adds a GRU with `hidden` units over a sequence.
    pub fn gru(&mut self, x: NodeId, hidden: usize, name: &str) -> Made {
        let [steps, inputs] = self.sequence("gru", name, x)?;
        let cell = self.cell(3, inputs, hidden, name);
        Ok(self.add(Op::Gru(cell), &[x], &[steps, hidden], name))
    }

    /// Adds an LSTM with `hidden` units over a sequence.
    pub fn lstm(&mut self, x: NodeId, hidden: usize, name: &str) -> Made {
        let [steps, inputs] = self.sequence("lstm", name, x)?;
        let cell = self.cell(4, inputs, hidden, name);
        Ok(self.add(Op::Lstm(cell), &[x], &[steps, hidden], name))
    }

    fn sequence(&self, op: &'static str, name: &str, x: NodeId) -> Result<[usize; 2], GraphError> {
        <[usize; 2]>::try_from(self.node(x).shape.as_slice())
            .map_err(|_| self.refuse(op, name, x, "a sequence [steps, features]"))
    }

    /// Adds the loss over classes; the graph's last node.
    pub fn softmax_cross_entropy(&mut self, logits: NodeId) -> Made {
        match self.node(logits).shape[..] {
            [classes] | [_, classes] if (2..=2047).contains(&classes) => {
                Ok(self.add(Op::SoftmaxCrossEntropy, &[logits], &[1], "loss"))
            }
            _ => Err(self.refuse(
                "softmax_cross_entropy",
                "loss",
                logits,
                "a vector of 2 to 2047 classes, or a sequence of them",
            )),
        }
    }

    /// Adds a loss between two nodes, times `weight`; the graph's last node.
    pub fn regression(&mut self, kind: Regression, weight: f32, x: NodeId, target: NodeId) -> Made {
        let op = Op::Regression { kind, weight };
        if self.node(x).features != self.node(target).features {
            return Err(self.refuse_pair(op.name(), "loss", [x, target], "they differ in size"));
        }
        if self.node(x).shape.len() != 1 {
            return Err(self.refuse(op.name(), "loss", x, "a vector; put a reshape before it"));
        }
        Ok(self.add(op, &[x, target], &[1], "loss"))
    }
}
