//! The model notation `mlp:IN-HIDDEN-…-OUT`.

use super::{Gan, Graph, Op};

/// Largest layer that the notation accepts, in features.
const MAX_FEATURES: usize = 16384;

/// Why a model's description was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// A prefix other than `mlp:`.
    #[error("unknown kind of model in `{0}`: write mlp:IN-HIDDEN-…-OUT, for example mlp:64-32-10")]
    Kind(String),
    /// A size is not a number, or out of range.
    #[error("`{size}` in model `{model}` is not a layer size: sizes are whole numbers from 1 to {MAX_FEATURES}")]
    Size {
        /// The text where a number was expected.
        size: String,
        /// The whole description.
        model: String,
    },
    /// Fewer than two sizes.
    #[error("model `{0}` has no layer: it needs at least an input and an output size, for example mlp:64-10")]
    NoLayer(String),
    /// One class only.
    #[error("model `{0}` ends in one class: a classifier needs at least 2 and at most 2047")]
    Classes(String),
}

/// A network with its loss and the text that describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Normal form of the description, such as `mlp:64-32-10`, or a model file's name for itself.
    pub name: String,
    /// Features per layer, input first; empty for a model from a file.
    pub sizes: Vec<usize>,
    /// The network with its loss; of a GAN the generator alone, with the parameters of both networks.
    pub graph: Graph,
    /// How a GAN is trained; `None` for a network with one loss.
    pub gan: Option<Gan>,
    /// Characters that a text may have, where it is trained on text: token i is number i of them.
    pub alphabet: Option<String>,
    /// The model file's text, where it came from one.
    pub source: Option<String>,
}

impl Model {
    /// Parses a multi-layer perceptron, `mlp:64-32-10` or just `64-32-10`: dense layers with ReLU between them and softmax
    /// cross-entropy behind. Parameters are named as in `nn.Sequential(Linear, ReLU, Linear, …)`.
    pub fn mlp(text: &str) -> Result<Model, ModelError> {
        let body = match text.split_once(':') {
            Some(("mlp", body)) => body,
            Some(_) => return Err(ModelError::Kind(text.into())),
            None if text.starts_with(|c: char| c.is_ascii_digit()) => text,
            None => return Err(ModelError::Kind(text.into())),
        };
        let size = |s: &str| match s.parse::<usize>() {
            Ok(v) if (1..=MAX_FEATURES).contains(&v) && s.bytes().all(|b| b.is_ascii_digit()) => Ok(v),
            _ => Err(ModelError::Size { size: s.into(), model: text.into() }),
        };
        let sizes = body.split('-').map(size).collect::<Result<Vec<_>, _>>()?;
        let [input, layers @ ..] = &sizes[..] else { return Err(ModelError::NoLayer(text.into())) };
        let Some(&classes) = layers.last() else { return Err(ModelError::NoLayer(text.into())) };
        if !(2..=2047).contains(&classes) {
            return Err(ModelError::Classes(text.into()));
        }
        let mut graph = Graph::default();
        let mut x = graph.input(&[*input]);
        for (i, &features) in layers.iter().enumerate() {
            x = graph.dense(x, features, &(2 * i).to_string());
            if i + 1 < layers.len() {
                x = graph.unary(Op::Relu, x, &(2 * i + 1).to_string());
            }
        }
        graph.softmax_cross_entropy(x).expect("checked: at least two classes");
        let name = sizes.iter().map(|s| s.to_string()).collect::<Vec<_>>().join("-");
        Ok(Model { name: format!("mlp:{name}"), sizes, graph, gan: None, alphabet: None, source: None })
    }

    /// Numbers per row of the data set that it is trained on: its input, or what a GAN's generator makes.
    pub fn row_features(&self) -> usize {
        match self.gan {
            Some(_) => self.graph.node(self.graph.output()).features,
            None => self.graph.input_features(),
        }
    }

    /// A graph that all of its layers are in.
    pub fn trained(&self) -> &Graph {
        self.gan.as_ref().map_or(&self.graph, |gan| &gan.phases[1].passes[0].graph)
    }

    /// Multiply-accumulates of one training step on `batch` rows: forward, weight gradients, and activation gradients of
    /// all layers but the first.
    pub fn macs_per_step(&self, batch: usize) -> u64 {
        let layer = |w: &[usize]| (w[0] * w[1] * batch) as u64;
        let forward: u64 = self.sizes.windows(2).map(layer).sum();
        let first = layer(&self.sizes[..2]);
        3 * forward - first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_shapes_follow_pytorch() {
        let m = Model::mlp("mlp:64-32-10").unwrap();
        let names: Vec<_> = m.graph.parameters.iter().map(|p| (p.name.as_str(), p.shape.clone())).collect();
        let want = [("0.weight", vec![32, 64]), ("0.bias", vec![32]), ("2.weight", vec![10, 32]), ("2.bias", vec![10])];
        assert_eq!(names, want);
        assert_eq!(m.macs_per_step(32), 161_792);
        assert_eq!(Model::mlp("64-32-10").unwrap(), m);
    }

    #[test]
    fn bad_descriptions_are_refused() {
        use ModelError::*;
        let refused = |t: &str| Model::mlp(t).unwrap_err();
        assert!(matches!(refused("cnn:3"), Kind(_)));
        assert!(matches!(refused("net"), Kind(_)));
        assert!(matches!(refused("mlp:64"), NoLayer(_)));
        assert!(matches!(refused("mlp:64-0-10"), Size { .. }));
        assert!(matches!(refused("mlp:64--10"), Size { .. }));
        assert!(matches!(refused("mlp:64-+3-10"), Size { .. }));
        assert!(matches!(refused("mlp:64-99999999999999999999-10"), Size { .. }));
        assert!(matches!(refused("mlp:64-1"), Classes(_)));
    }

    #[test]
    fn initial_values_are_bounded_and_seeded() {
        let m = Model::mlp("64-32-10").unwrap();
        let (a, b) = (super::super::initialize(&m.graph, 1), super::super::initialize(&m.graph, 2));
        assert_eq!(a, super::super::initialize(&m.graph, 1));
        assert_ne!(a, b);
        assert!(a[0].iter().all(|v| v.abs() <= 0.125) && a[0].iter().any(|v| v.abs() > 0.12));
        let mean = a[0].iter().sum::<f32>() / 2048.0;
        assert!(mean.abs() < 0.01, "{mean}");
    }
}
