//! Generative adversarial networks (Goodfellow et al., arXiv 1406.2661): a generator makes images from random numbers, a
//! discriminator tells them from real ones, and a step trains each in a phase of its own.
//!
//! | phase | passes | learns |
//! |---|---|---|
//! | `discriminator` | `real`: images of the data set, against 1; `fake`: generated ones, against 0 | the discriminator |
//! | `generator` | generated images, against 1 (the non-saturating loss) | the generator, through the discriminator |
//!
//! All graphs share one list of parameters, the generator's first; they differ in which of them require a gradient.

use std::ops::Range;

use super::{Graph, GraphError, Node, NodeId, Regression};

/// The optimizer of one phase, as the model file names it.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerSettings {
    /// `sgd`, `adam`, `adamw` or `adagrad`.
    pub name: String,
    /// Learning rate.
    pub lr: f32,
    /// Adam's β₁ and β₂.
    pub betas: (f32, f32),
    /// Momentum of sgd; 0: none.
    pub momentum: f32,
}

/// Forward and backward over one batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    /// What tells it from the others of its phase.
    pub name: &'static str,
    /// What it computes; the loss is the last node.
    pub graph: Graph,
}

/// Passes whose gradients together make one update.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// The network that learns.
    pub name: &'static str,
    /// In their order. Their losses, and so their gradients, are summed.
    pub passes: Vec<Pass>,
    /// What updates it.
    pub optimizer: OptimizerSettings,
}

/// How a generator and a discriminator are trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Gan {
    /// The phases of a step, in their order: discriminator, generator.
    pub phases: [Phase; 2],
}

/// From the generator with the discriminator behind it: the generator alone, and the passes that train both.
///
/// `image` is the generator's last node, the graph's last node is the discriminator's logit, and the first `of_generator`
/// parameters are the generator's. `optimizers` are those of discriminator and generator.
///
/// # Errors
/// The logit is no vector.
pub(super) fn adversaries(
    both: Graph,
    image: NodeId,
    of_generator: usize,
    [of_d, of_g]: [OptimizerSettings; 2],
) -> Result<(Graph, Gan), GraphError> {
    let all = both.parameters.len();
    let judge = |name, mut graph: Graph, target: f32, learns: Range<usize>| {
        let logit = NodeId(graph.nodes.len() - 1);
        let target = graph.constant(target, graph.node(logit).features);
        graph.regression(Regression::SigmoidBce, 1.0, logit, target)?;
        graph.parameters.iter_mut().enumerate().for_each(|(i, p)| p.requires_grad = learns.contains(&i));
        Ok(Pass { name, graph })
    };
    let real = judge("real", behind(&both, image), 1.0, of_generator..all)?;
    let fake = judge("fake", both.clone(), 0.0, of_generator..all)?;
    let fooled = judge("", both.clone(), 1.0, 0..of_generator)?;
    let generator = Graph { nodes: both.nodes[..=image.0].to_vec(), ..both };
    let discriminator = Phase { name: "discriminator", passes: vec![real, fake], optimizer: of_d };
    let phases = [discriminator, Phase { name: "generator", passes: vec![fooled], optimizer: of_g }];
    Ok((generator, Gan { phases }))
}

/// What lies behind a node on which alone it depends, with an input of that node's shape in its place.
fn behind(graph: &Graph, node: NodeId) -> Graph {
    let mut part = Graph { nodes: Vec::new(), ..graph.clone() };
    part.input(&graph.node(node).shape);
    let moved = |n: &Node| Node { inputs: n.inputs.iter().map(|i| NodeId(i.0 - node.0)).collect(), ..n.clone() };
    part.nodes.extend(graph.nodes[node.0 + 1..].iter().map(moved));
    part
}
