//! What is to be compiled: graphs over one list of parameters, grouped by the update that their gradients make.

use crate::compile::Recipe;
use crate::graph::{Graph, ParameterId, Phase};

/// Passes whose gradients make one update of the parameters that require a gradient in them.
pub(crate) struct PhaseSpec<'a> {
    /// What learns; empty where there is one phase.
    pub(crate) name: &'a str,
    /// Name and graph of each pass.
    pub(crate) passes: Vec<(&'a str, &'a Graph)>,
    /// The update; its `accumulate` counts passes.
    pub(crate) recipe: Recipe,
}

impl<'a> PhaseSpec<'a> {
    /// The one phase of an ordinary network.
    pub(crate) fn only(graph: &'a Graph, recipe: Recipe) -> [PhaseSpec<'a>; 1] {
        [PhaseSpec { name: "", passes: vec![("", graph)], recipe }]
    }

    /// A phase of a GAN, with the recipe for a single pass.
    pub(crate) fn of(phase: &'a Phase, recipe: Recipe) -> PhaseSpec<'a> {
        let passes: Vec<_> = phase.passes.iter().map(|p| (p.name, &p.graph)).collect();
        let accumulate = recipe.accumulate * passes.len() as u32;
        PhaseSpec { name: phase.name, passes, recipe: Recipe { accumulate, ..recipe } }
    }

    /// Parameters that it updates.
    pub(crate) fn trained(&self) -> Vec<ParameterId> {
        let graph = self.passes[0].1;
        let all = graph.parameters.iter().enumerate();
        all.filter(|(_, p)| p.requires_grad).map(|(i, _)| ParameterId(i)).collect()
    }
}

/// A name from those of phase and pass, where they have one, and of what it is: `discriminator real compute`.
pub(crate) fn joined(parts: [&str; 3]) -> String {
    parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(" ")
}
