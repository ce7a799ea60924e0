//! Updates of all parameters in plain arithmetic, as PyTorch makes them: divisions and roots round once. What a [`Recipe`] says of
//! loss scales, FP16 weights and moving averages has no meaning here.

use super::Real;
use crate::compile::optimizer::decimal;
use crate::compile::{Clip, Optimizer, Recipe};

/// Added to the norm of the gradients before it divides, as in PyTorch.
const TINY: f64 = 1e-6;

/// An optimizer with its state.
#[derive(Clone, Debug)]
pub struct Updates<T> {
    recipe: Recipe,
    momentum: T,
    /// Updates so far.
    count: u64,
    /// Of each parameter: momentum, or mean and uncentred variance, or sum of squares; empty before the first update.
    state: Vec<[Vec<T>; 2]>,
}

impl<T: Real> Updates<T> {
    /// An optimizer that has not stepped yet.
    pub fn new(recipe: Recipe, momentum: f32) -> Updates<T> {
        Updates { recipe, momentum: T::of(decimal(momentum)), count: 0, state: Vec::new() }
    }

    /// Updates so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// One update of all parameters for which `learns` holds.
    pub fn step(&mut self, lr: f32, parameters: &mut [Vec<T>], gradients: &[Vec<T>], learns: impl Fn(usize) -> bool) {
        if self.state.is_empty() {
            self.state = gradients.iter().map(|g| [0, 1].map(|_| vec![T::of(0.0); g.len()])).collect();
        }
        let recipe = self.recipe;
        let learning = || gradients.iter().enumerate().filter(|(i, _)| learns(*i)).map(|(_, g)| g);
        let factor = match recipe.clip {
            Clip::Norm(limit) => {
                let zero = T::of(0.0);
                let norm = learning().flatten().fold(zero, |a, &g| a + g * g).sqrt();
                let factor = T::of(limit.into()) / (norm + T::of(TINY));
                if factor < T::of(1.0) { factor } else { T::of(1.0) }
            }
            _ => T::of(1.0),
        };
        let rule = Rule::new(&recipe, self.momentum, lr, self.count);
        for i in (0..parameters.len()).filter(|&i| learns(i)) {
            let [first, second] = &mut self.state[i];
            let elements = parameters[i].iter_mut().zip(&gradients[i]).zip(first.iter_mut().zip(second));
            for ((p, &g), (first, second)) in elements {
                let g = match recipe.clip {
                    Clip::Value(limit) => clamp(g, T::of(limit.into())),
                    _ => g * factor,
                };
                *p = rule.apply(*p, g, first, second);
            }
        }
        self.count += 1;
    }
}

fn clamp<T: Real>(v: T, limit: T) -> T {
    let least = T::of(0.0) - limit;
    match (v > limit, v < least) {
        (true, _) => limit,
        (_, true) => least,
        _ => v,
    }
}

/// The numbers of one update.
struct Rule<T> {
    optimizer: Optimizer,
    /// λ that goes into the gradient.
    decay: Option<T>,
    /// What weights are multiplied by, where they decay themselves.
    shrink: Option<T>,
    /// Learning rate, in Adam over 1 − β₁ᵗ.
    lr: T,
    momentum: T,
    /// Share of the gradient that enters the momentum; in Adam √(1 − β₂ᵗ).
    correction: T,
    /// In Adam 1 − β₁, β₂, 1 − β₂.
    betas: [T; 3],
    eps: T,
}

impl<T: Real> Rule<T> {
    /// Of the update that follows `updates` others.
    fn new(recipe: &Recipe, momentum: T, lr: f32, updates: u64) -> Rule<T> {
        let t = (updates + 1).min(i32::MAX as u64) as i32;
        let lambda = decimal(recipe.weight_decay);
        let decays = |decoupled: bool| lambda != 0.0 && recipe.decoupled == decoupled;
        let (mut rate, mut correction, mut betas, mut eps) = (decimal(lr), 1.0, [0.0; 3], 0.0);
        match recipe.optimizer {
            Optimizer::Momentum { dampening, .. } if updates > 0 => correction = 1.0 - decimal(dampening),
            Optimizer::Sgd { .. } | Optimizer::Momentum { .. } => {}
            Optimizer::Adam { beta1, beta2, eps: e } => {
                let (beta1, beta2) = (decimal(beta1), decimal(beta2));
                rate /= 1.0 - beta1.powi(t);
                correction = (1.0 - beta2.powi(t)).sqrt();
                (betas, eps) = ([1.0 - beta1, beta2, 1.0 - beta2], decimal(e));
            }
            Optimizer::Adagrad { eps: e } => eps = decimal(e),
        }
        Rule {
            optimizer: recipe.optimizer,
            decay: decays(false).then(|| T::of(lambda)),
            shrink: decays(true).then(|| T::of(1.0 - decimal(lr) * lambda)),
            lr: T::of(rate),
            momentum,
            correction: T::of(correction),
            betas: betas.map(T::of),
            eps: T::of(eps),
        }
    }

    /// A parameter's element after its update.
    fn apply(&self, p: T, g: T, first: &mut T, second: &mut T) -> T {
        let g = self.decay.map_or(g, |lambda| g + lambda * p);
        let step = match self.optimizer {
            Optimizer::Sgd { momentum: false } => g,
            Optimizer::Sgd { momentum: true } => {
                *first = self.momentum * *first + g;
                *first
            }
            Optimizer::Momentum { nesterov, .. } => {
                *first = self.momentum * *first + self.correction * g;
                if nesterov { g + self.momentum * *first } else { *first }
            }
            Optimizer::Adam { .. } => {
                let [mean, keep, square] = self.betas;
                *first = *first + mean * (g - *first);
                *second = keep * *second + square * g * g;
                *first / (second.sqrt() / self.correction + self.eps)
            }
            Optimizer::Adagrad { .. } => {
                *first = *first + g * g;
                g / (first.sqrt() + self.eps)
            }
        };
        self.shrink.map_or(p, |s| p * s) - self.lr * step
    }
}
