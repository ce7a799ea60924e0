//! What an update is: the optimizer, and everything between a gradient and the weights.
//!
//! | module | what |
//! |---|---|
//! | [`Recipe`] | the choice, and the scalars that change from step to step |
//! | `program` | the update of one parameter as vector instructions |
//! | `norm` | the global norm of the gradients, and the factor that clips by it |
//! | `scratch` | which temporaries an update needs |
//!
//! **Order** (`docs/loss-scaling.md`): gradients are unscaled as they load (times 2^EXP, exact), accumulated in FP32, clipped, decayed,
//! and only then seen by the optimizer; moments hold unscaled gradients and never a learning rate. What is constant over a run
//! stands in the program; what changes from step to step ([`Recipe::scalars`]) travels in scalar registers and depends on the number
//! of *updates* so far: a skipped step does not count, so bias correction and schedule stand still with the weights.

mod norm;
mod program;
mod scratch;

pub(crate) use program::{accumulate, update};
pub(crate) use scratch::Scratch;

use super::build::Matrix;
use systole_isa::sreg;

/// The rule that turns a gradient into a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// `p −= lr·g`, or with momentum `buf = μ·buf + g; p −= lr·buf`, as in PyTorch.
    Sgd {
        /// Keep a momentum buffer.
        momentum: bool,
    },
    /// SGD with a momentum buffer, in PyTorch's other forms: `buf = μ·buf + (1 − dampening)·g` (the first gradient enters whole);
    /// with Nesterov's momentum the step is `g + μ·buf`.
    Momentum {
        /// Share of each gradient but the first that is left out.
        dampening: f32,
        /// Look ahead.
        nesterov: bool,
    },
    /// `m += (1 − β₁)·(g − m); v = β₂·v + (1 − β₂)·g²; p −= lr/(1 − β₁ᵗ) · m/(√v/√(1 − β₂ᵗ) + ε)` (Kingma & Ba, arXiv
    /// 1412.6980), t counting updates from 1.
    Adam {
        /// Decay of the mean.
        beta1: f32,
        /// Decay of the uncentred variance.
        beta2: f32,
        /// Added to the root.
        eps: f32,
    },
    /// `s += g²; p −= lr·g/(√s + ε)` (Duchi et al., JMLR 2011).
    Adagrad {
        /// Added to the root.
        eps: f32,
    },
}

/// Clipping of the unscaled gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Clip {
    /// As they are.
    #[default]
    None,
    /// All gradients times `min(1, limit/(norm + 1e-6))`, `norm` being the 2-norm of all of them together.
    Norm(f32),
    /// Every element into ±limit.
    Value(f32),
}

/// Where the weights themselves are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Master {
    /// In FP32; products read an FP16 copy.
    #[default]
    Single,
    /// In FP16 alone: the ablation of Micikevicius et al., section 3.1. The FP32 tensor is a widened copy that nothing reads.
    Half,
}

/// An optimizer with everything around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recipe {
    /// The rule.
    pub optimizer: Optimizer,
    /// λ; 0: none.
    pub weight_decay: f32,
    /// Decay the weights themselves (`p *= 1 − lr·λ`, Loshchilov & Hutter, arXiv 1711.05101) instead of adding `λ·p` to the gradient.
    pub decoupled: bool,
    /// Clipping.
    pub clip: Clip,
    /// Micro-batches per update, summed in FP32.
    pub accumulate: u32,
    /// Keep an exponential moving average of the weights with this decay.
    pub ema: Option<f32>,
    /// Where weights are kept.
    pub master: Master,
}

impl From<Optimizer> for Recipe {
    fn from(optimizer: Optimizer) -> Recipe {
        Recipe {
            optimizer,
            weight_decay: 0.0,
            decoupled: false,
            clip: Clip::None,
            accumulate: 1,
            ema: None,
            master: Master::Single,
        }
    }
}

/// Scalar register with `1/√(1 − β₂ᵗ)`, or the share of the gradient that enters the momentum.
pub(crate) const CORRECTION: usize = sreg::OPTIMIZER;
/// Scalar register with `1 − lr·λ`.
pub(crate) const DECAY: usize = sreg::OPTIMIZER + 1;
/// Scalar register with 0 for the first micro-batch of a window, 1 for the others: what the accumulated gradient is multiplied by
/// before a gradient is added.
pub const KEEP: usize = sreg::OPTIMIZER + 2;
/// Name of the state tensor that holds the moving average of the weights. It starts as the weights.
pub const EMA: &str = "ema";

impl Recipe {
    /// Names of the state tensors that are kept per parameter, as in PyTorch.
    pub fn state_names(&self) -> Vec<&'static str> {
        let mut names = match self.optimizer {
            Optimizer::Sgd { momentum: false } => vec![],
            Optimizer::Sgd { momentum: true } | Optimizer::Momentum { .. } => vec!["momentum_buffer"],
            Optimizer::Adam { .. } => vec!["exp_avg", "exp_avg_sq"],
            Optimizer::Adagrad { .. } => vec!["sum"],
        };
        names.extend(self.ema.map(|_| EMA));
        names
    }

    /// What the scalar registers hold for the update that follows `updates` others, as (register, bits).
    pub fn scalars(&self, lr: f32, momentum: f32, updates: u64) -> Vec<(u32, u32)> {
        let t = (updates + 1).min(i32::MAX as u64) as i32;
        let power = |b: f32| 1.0 - decimal(b).powi(t);
        let (step, correction) = match self.optimizer {
            Optimizer::Sgd { .. } => (lr, None),
            Optimizer::Momentum { dampening, .. } => {
                (lr, Some(if updates == 0 { 1.0 } else { (1.0 - decimal(dampening)) as f32 }))
            }
            Optimizer::Adam { beta1, beta2, .. } => {
                ((decimal(lr) / power(beta1)) as f32, Some((1.0 / power(beta2).sqrt()) as f32))
            }
            Optimizer::Adagrad { .. } => (lr, None),
        };
        let mut all = vec![(sreg::NEG_LR, -step), (sreg::MOMENTUM, momentum)];
        all.extend(correction.map(|c| (CORRECTION, c)));
        if self.decoupled && self.weight_decay != 0.0 {
            all.push((DECAY, (1.0 - decimal(lr) * decimal(self.weight_decay)) as f32));
        }
        all.into_iter().map(|(r, v)| (r as u32, v.to_bits())).collect()
    }
}

/// The shortest decimal number that is this FP32 number, in FP64: what a user wrote, so that 1 − 0.999 is 0.001 as it is in PyTorch.
pub fn decimal(v: f32) -> f64 {
    v.to_string().parse().expect("a number's own text")
}

/// One parameter's matrices, all of the same shape.
#[derive(Clone, Debug)]
pub(crate) struct UpdateTensors {
    pub(crate) name: String,
    pub(crate) rows: u32,
    pub(crate) cols: u32,
    pub(crate) master: Matrix,
    pub(crate) half: Matrix,
    pub(crate) gradient: Matrix,
    /// FP32 sum of gradients, where micro-batches are accumulated.
    pub(crate) sum: Option<Matrix>,
    /// In the order of [`Recipe::state_names`].
    pub(crate) state: Vec<Matrix>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_follow_the_number_of_updates() {
        let adam: Recipe = Optimizer::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8 }.into();
        let at = |r: &Recipe, updates| -> Vec<f32> {
            r.scalars(0.001, 0.0, updates).iter().map(|&(_, v)| f32::from_bits(v)).collect()
        };
        // lr/(1 − 0.9) and 1/√0.001, correctly rounded
        assert_eq!(at(&adam, 0), [-0.01, 0.0, 31.622_776]);
        assert_eq!(at(&adam, 100_000), [-0.001, 0.0, 1.0]);
        let dampened: Recipe = Optimizer::Momentum { dampening: 0.1, nesterov: false }.into();
        assert_eq!((at(&dampened, 0)[2], at(&dampened, 1)[2]), (1.0, 0.9));
        let adamw = Recipe { weight_decay: 0.01, decoupled: true, ..adam };
        assert_eq!(at(&adamw, 0)[3], 0.99999);
        let plain: Recipe = Optimizer::Sgd { momentum: true }.into();
        assert_eq!(plain.scalars(0.05, 0.9, 7).len(), 2, "what a plain step sends does not grow");
    }
}
