//! What to train, on what, how; checked before anything starts.

use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum as _;
use serde::Serialize;
use systole_isa::frame::scaler::{self, Mode};

use crate::compile::{Clip, Master, Optimizer, Recipe};
use crate::driver::device::DeviceOptions;
use crate::error::{Error, Result};
use crate::graph::{Model, OptimizerSettings, Phase, Settings};
use crate::run::schedule::{Schedule, Shape};

/// Loss scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LossScale {
    /// Scale 1.
    None,
    /// Grows and backs off.
    Dynamic,
    /// 2 to this power.
    Static(i32),
}

impl FromStr for LossScale {
    type Err = Error;
    fn from_str(s: &str) -> Result<LossScale> {
        match s {
            "none" => Ok(LossScale::None),
            "dynamic" => Ok(LossScale::Dynamic),
            // a loss may be scaled down, too: what that loses shows how far gradients are from the end of FP16
            _ => power_between("--loss-scale", s, -LARGEST_SCALE, "2^-24").map(LossScale::Static),
        }
    }
}

/// Largest exponent of a loss scale.
pub const LARGEST_SCALE: i32 = 24;

/// Parses a power of two from 1 to 2^24 and returns its exponent.
pub fn power_of_two(what: &str, text: &str) -> Result<i32> {
    power_between(what, text, 0, "1")
}

/// Parses a power of two from 2^`least`, which is also called `name`, to 2^24 and returns its exponent.
fn power_between(what: &str, text: &str, least: i32, name: &str) -> Result<i32> {
    let value: f64 = text.parse().map_err(|_| {
        Error::value(what, text, "a power of two such as 1024 is needed (--loss-scale also takes none and dynamic)")
    })?;
    exponent_between(value, least, LARGEST_SCALE).ok_or_else(|| {
        let why = format!("it must be a power of two from {name} to 16777216 (2^24), so that scaling is exact");
        Error::value(what, text, why)
    })
}

/// The exponent of a power of two between two others.
pub fn exponent_between(value: f64, low: i32, high: i32) -> Option<i32> {
    let exponent = value.log2();
    let whole = exponent.fract() == 0.0 && exponent.exp2() == value;
    (whole && (f64::from(low)..=f64::from(high)).contains(&exponent)).then_some(exponent as i32)
}

/// How a dynamic scale moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScalerRules {
    /// log2 of what it is multiplied by when it grows.
    pub growth: u32,
    /// −log2 of what it is multiplied by on an overflow.
    pub backoff: u32,
    /// Exponent below which it never falls.
    pub floor: i32,
    /// Exponent above which it never grows.
    pub cap: i32,
    /// Overflows after which it backs off.
    pub hysteresis: u32,
    /// Only growth forgets overflows, not any good step.
    pub refill_on_growth: bool,
}

impl Default for ScalerRules {
    fn default() -> Self {
        ScalerRules { growth: 1, backoff: 1, floor: 0, cap: LARGEST_SCALE, hysteresis: 1, refill_on_growth: false }
    }
}

/// Optimizers by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Gradient descent, with momentum unless that is 0
    #[default]
    Sgd,
    /// Adam; its weight decay goes into the gradient
    Adam,
    /// Adam with decoupled weight decay
    AdamW,
    /// Adagrad
    Adagrad,
}

/// Everything that `systole train` can be told.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// Device.
    pub device: DeviceOptions,
    /// `digits`, a folder, or a file.
    pub data: String,
    /// `mlp:IN-HIDDEN-…-OUT`, or a file that holds it.
    pub model: String,
    /// Passes over the training rows.
    pub epochs: u32,
    /// Rows per step.
    pub batch: u32,
    /// Learning rate.
    pub lr: f32,
    /// The optimizer.
    pub optimizer: OptimizerName,
    /// Momentum; 0: plain gradient descent. SGD only.
    pub momentum: f32,
    /// Nesterov's momentum.
    pub nesterov: bool,
    /// Share of a gradient that does not enter the momentum.
    pub dampening: f32,
    /// Adam's β₁ and β₂.
    pub betas: (f32, f32),
    /// ε of Adam and Adagrad.
    pub eps: f32,
    /// λ.
    pub weight_decay: f32,
    /// Decay the weights themselves rather than add to the gradient.
    pub decoupled: bool,
    /// Clipping of the unscaled gradients.
    pub clip: Clip,
    /// Micro-batches per step.
    pub accumulate: u32,
    /// Decay of the moving average of the weights, if one is kept.
    pub ema: Option<f32>,
    /// What becomes of the learning rate.
    pub schedule: Shape,
    /// Updates over which the learning rate rises at the start.
    pub warmup: u64,
    /// Updates that a cosine spans; `None`: all of this run.
    pub schedule_steps: Option<u64>,
    /// Where the weights are kept.
    pub master: Master,
    /// Loss scaling.
    pub loss_scale: LossScale,
    /// Exponent of the first scale of [`LossScale::Dynamic`].
    pub loss_scale_init: i32,
    /// Good steps before the scale grows.
    pub growth_interval: u32,
    /// How a dynamic scale moves.
    pub rules: ScalerRules,
    /// Skips in a row, at a scale that cannot fall any more, after which a run stops.
    pub max_skips: u32,
    /// Seed of initial weights and order.
    pub seed: u64,
    /// Show the firmware's log.
    pub log: bool,
    /// ELF file of the firmware, where the device was not started by this program.
    pub firmware_elf: Option<PathBuf>,
    /// Folder that runs are kept in.
    pub runs: PathBuf,
    /// Name of the run; `None`: made from data, model and seed.
    pub name: Option<String>,
    /// Steps between checkpoints, besides the one at the end of each epoch.
    pub checkpoint_every: Option<u64>,
    /// A run's folder, its name in `runs`, or a checkpoint: continue it.
    pub resume: Option<PathBuf>,
}

impl Default for TrainOptions {
    fn default() -> Self {
        TrainOptions {
            device: DeviceOptions { name: "rtl".into(), ..DeviceOptions::default() },
            data: "digits".into(),
            model: "mlp:64-32-10".into(),
            epochs: 20,
            batch: 32,
            lr: 0.05,
            optimizer: OptimizerName::Sgd,
            momentum: 0.9,
            nesterov: false,
            dampening: 0.0,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
            clip: Clip::None,
            accumulate: 1,
            ema: None,
            schedule: Shape::Constant,
            warmup: 0,
            schedule_steps: None,
            master: Master::Single,
            loss_scale: LossScale::Dynamic,
            loss_scale_init: 16,
            growth_interval: 2000,
            rules: ScalerRules::default(),
            max_skips: 50,
            seed: 0,
            log: false,
            firmware_elf: None,
            runs: "runs".into(),
            name: None,
            checkpoint_every: None,
            resume: None,
        }
    }
}

impl Settings {
    /// The optimizer that a model file names; sgd where it names none.
    pub fn optimizer(&self) -> OptimizerName {
        let named = self.optimizer.as_deref().map(|name| OptimizerName::from_str(name, false));
        named.map_or(OptimizerName::Sgd, |name| name.expect("model files are checked for it"))
    }

    /// These options with the file's optimizer and its rates.
    pub fn apply(&self, options: TrainOptions) -> TrainOptions {
        let optimizer = self.optimizer();
        let sgd = optimizer == OptimizerName::Sgd;
        TrainOptions {
            optimizer,
            lr: self.lr.unwrap_or(optimizer.usual_lr()),
            momentum: self.momentum.unwrap_or(if sgd { options.momentum } else { 0.0 }),
            eps: optimizer.usual_eps(),
            ..options
        }
    }
}

impl OptimizerName {
    /// Its learning rate where none is given.
    pub fn usual_lr(self) -> f32 {
        match self {
            OptimizerName::Sgd => 0.05,
            OptimizerName::Adam | OptimizerName::AdamW => 0.001,
            OptimizerName::Adagrad => 0.01,
        }
    }

    /// What it adds to a root where nothing else is said, as in PyTorch.
    pub fn usual_eps(self) -> f32 {
        if self == OptimizerName::Adagrad { 1e-10 } else { 1e-8 }
    }
}

impl TrainOptions {
    /// What each phase of the model's training is to do: these options, in a GAN with the phase's own optimizer.
    pub fn of_phases(&self, model: &Model) -> Vec<TrainOptions> {
        let Some(gan) = &model.gan else { return vec![self.clone()] };
        let of = |p: &Phase| {
            let OptimizerSettings { name, lr, betas, momentum } = &p.optimizer;
            let optimizer = OptimizerName::from_str(name, false).expect("model files are checked for it");
            let (lr, betas, momentum, eps) = (*lr, *betas, *momentum, optimizer.usual_eps());
            TrainOptions { optimizer, lr, betas, momentum, eps, nesterov: false, dampening: 0.0, ..self.clone() }
        };
        gan.phases.iter().map(of).collect()
    }

    /// Refuses what cannot be.
    pub fn check(&self) -> Result<()> {
        let positive = |what: &str, v: u32, limit: u32| match v {
            0 => Err(Error::value(what, v, "it must be at least 1")),
            v if v > limit => Err(Error::value(what, v, format!("it must be at most {limit}"))),
            _ => Ok(()),
        };
        positive("--epochs", self.epochs, 1_000_000)?;
        positive("--batch", self.batch, 4096)?;
        positive("--growth-interval", self.growth_interval, u32::MAX)?;
        if !(self.lr > 0.0 && self.lr.is_finite()) {
            return Err(Error::value("--lr", self.lr, "a learning rate is a positive number"));
        }
        positive("--accumulate", self.accumulate, 4096)?;
        positive("--max-skips", self.max_skips, u32::MAX)?;
        self.check_optimizer()?;
        self.check_scaler()?;
        if self.checkpoint_every == Some(0) {
            return Err(Error::value("--checkpoint-every", 0, "it must be at least 1"));
        }
        if let (Some(name), Some(_)) = (&self.name, &self.resume) {
            return Err(Error::value("--name", name, "a resumed run keeps its folder: leave --name out"));
        }
        if let Some(name) = &self.name {
            let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || name.starts_with('.') || !name.chars().all(good) {
                return Err(Error::value("--name", name, "letters, digits, '-', '_' and '.' are allowed"));
            }
        }
        Ok(())
    }

    fn check_optimizer(&self) -> Result<()> {
        let fraction = |what: &str, v: f32| match (0.0..1.0).contains(&v) {
            true => Ok(()),
            false => Err(Error::value(what, v, "it must be at least 0 and below 1")),
        };
        fraction("--momentum", self.momentum)?;
        fraction("--dampening", self.dampening)?;
        fraction("--betas", self.betas.0)?;
        fraction("--betas", self.betas.1)?;
        if let Some(decay) = self.ema {
            fraction("--ema", decay)?;
        }
        if !(self.eps >= 1e-30 && self.eps <= 1.0) {
            return Err(Error::value(
                "--eps",
                self.eps,
                "it must be from 1e-30 to 1: it keeps a division from infinity",
            ));
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return Err(Error::value("--weight-decay", self.weight_decay, "it must be at least 0"));
        }
        if self.decoupled && self.lr * self.weight_decay >= 1.0 {
            let why = "times the learning rate it must stay below 1, or a step would turn the weights around";
            return Err(Error::value("--weight-decay", self.weight_decay, why));
        }
        let (flag, limit) = match self.clip {
            Clip::None => ("", 1.0),
            Clip::Norm(limit) => ("--clip-norm", limit),
            Clip::Value(limit) => ("--clip-value", limit),
        };
        if !(limit > 0.0 && limit.is_finite()) {
            return Err(Error::value(flag, limit, "a limit is a positive number"));
        }
        if self.nesterov && self.momentum == 0.0 {
            return Err(Error::value("--nesterov", true, "it is a form of momentum, and --momentum is 0"));
        }
        if self.nesterov && self.dampening != 0.0 {
            return Err(Error::value("--dampening", self.dampening, "Nesterov's momentum takes no dampening"));
        }
        if self.dampening != 0.0 && self.momentum == 0.0 {
            return Err(Error::value("--dampening", self.dampening, "it dampens the momentum, and --momentum is 0"));
        }
        match (self.schedule_steps, self.schedule) {
            (Some(0), _) => Err(Error::value("--schedule-steps", 0, "it must be at least 1")),
            (Some(n), Shape::Constant | Shape::Step { .. }) => {
                Err(Error::value("--schedule-steps", n, "only --schedule cosine has an end"))
            }
            (Some(n), Shape::Cosine { .. }) if n <= self.warmup => {
                Err(Error::value("--schedule-steps", n, format!("--warmup takes {} of them", self.warmup)))
            }
            _ => Ok(()),
        }
    }

    fn check_scaler(&self) -> Result<()> {
        let r = &self.rules;
        let show = |e: i32| f64::exp2(f64::from(e));
        if r.floor > r.cap {
            return Err(Error::value("--scale-floor", show(r.floor), format!("--scale-cap is {}", show(r.cap))));
        }
        if self.loss_scale == LossScale::Dynamic && !(r.floor..=r.cap).contains(&self.loss_scale_init) {
            let why = format!("it must lie between --scale-floor {} and --scale-cap {}", show(r.floor), show(r.cap));
            return Err(Error::value("--loss-scale-init", show(self.loss_scale_init), why));
        }
        if r.hysteresis == 0 {
            return Err(Error::value("--hysteresis", 0, "it must be at least 1: the first overflow backs off"));
        }
        if r.refill_on_growth && r.hysteresis == 1 {
            return Err(Error::value("--hysteresis-refill", "growth", "there is nothing to refill at --hysteresis 1"));
        }
        Ok(())
    }

    /// The optimizer to compile.
    pub fn optimizer(&self) -> Optimizer {
        let (beta1, beta2) = self.betas;
        match self.optimizer {
            OptimizerName::Sgd if self.nesterov || self.dampening != 0.0 => {
                Optimizer::Momentum { dampening: self.dampening, nesterov: self.nesterov }
            }
            OptimizerName::Sgd => Optimizer::Sgd { momentum: self.momentum != 0.0 },
            OptimizerName::Adam | OptimizerName::AdamW => Optimizer::Adam { beta1, beta2, eps: self.eps },
            OptimizerName::Adagrad => Optimizer::Adagrad { eps: self.eps },
        }
    }

    /// The optimizer with everything around it.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            weight_decay: self.weight_decay,
            decoupled: self.decoupled || self.optimizer == OptimizerName::AdamW,
            clip: self.clip,
            accumulate: self.accumulate,
            ema: self.ema,
            master: self.master,
            ..self.optimizer().into()
        }
    }

    /// Steps of an epoch over `rows` rows: updates, if none is skipped.
    pub fn steps_per_epoch(&self, rows: usize) -> u64 {
        rows.div_ceil(self.batch as usize * self.accumulate as usize) as u64
    }

    /// The learning rate over the updates of a run on `rows` rows.
    pub fn schedule(&self, rows: usize) -> Schedule {
        let all = u64::from(self.epochs) * self.steps_per_epoch(rows);
        Schedule { warmup: self.warmup, shape: self.schedule, total: self.schedule_steps.unwrap_or(all) }
    }

    /// The scaler's state at the start.
    pub fn scaler(&self) -> [u32; scaler::WORDS] {
        let mut w = [0; scaler::WORDS];
        let (mode, exponent) = match self.loss_scale {
            LossScale::None => (Mode::None, 0),
            LossScale::Static(e) => (Mode::Static, e),
            LossScale::Dynamic => (Mode::Dynamic, self.loss_scale_init),
        };
        w[scaler::MODE] = mode as u32;
        w[scaler::EXPONENT] = exponent as u32;
        let r = &self.rules;
        w[scaler::GROWTH] = r.growth;
        w[scaler::BACKOFF] = r.backoff;
        w[scaler::INTERVAL] = self.growth_interval;
        w[scaler::FLOOR] = r.floor as u32;
        w[scaler::CAP] = r.cap as u32;
        w[scaler::HYSTERESIS] = r.hysteresis;
        w[scaler::HYSTERESIS_MODE] = u32::from(r.refill_on_growth);
        w[scaler::HYSTERESIS_LEFT] = r.hysteresis;
        w
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_scales() {
        assert_eq!("1024".parse::<LossScale>().unwrap(), LossScale::Static(10));
        assert_eq!("1".parse::<LossScale>().unwrap(), LossScale::Static(0));
        assert_eq!("dynamic".parse::<LossScale>().unwrap(), LossScale::Dynamic);
        assert_eq!("0.0625".parse::<LossScale>().unwrap(), LossScale::Static(-4));
        assert!(power_of_two("--loss-scale-init", "0.5").is_err());
        for bad in ["1000", "0", "-2", "0.3", "1e-9", "x", "", "NaN", "inf", "33554432"] {
            assert!(bad.parse::<LossScale>().is_err(), "{bad}");
        }
    }
}
