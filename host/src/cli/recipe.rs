//! Flags of `systole train` that say how weights are updated and how the loss is scaled, and which of them contradict each other.

use clap::{Args, ValueEnum};

use crate::compile::{Clip, Master};
use crate::error::{Error, Result};
use crate::graph::Settings;
use crate::run::options::{LARGEST_SCALE, LossScale, OptimizerName, TrainOptions, exponent_between, power_of_two};

/// Where weight decay goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Decay {
    /// Into the gradient, before the optimizer
    L2,
    /// Into the weights themselves
    Decoupled,
}

/// Precision of the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MasterWeights {
    /// FP32 master copy, FP16 for products
    Fp32,
    /// FP16 only: small updates vanish
    Fp16,
}

/// What forgets the overflows that hysteresis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Refill {
    /// Any step without overflow
    GoodStep,
    /// Growth of the scale only, as in Megatron-LM
    Growth,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Optimizer")]
pub(super) struct RecipeArgs {
    /// The rule of the update; each runs on the device, on FP32 weights [default: sgd]
    #[arg(long, value_enum, value_name = "sgd|adam|adamw|adagrad", hide_possible_values = true)]
    optimizer: Option<OptimizerName>,
    /// Learning rate [default: 0.05 for sgd, 0.001 for adam and adamw, 0.01 for adagrad]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    lr: Option<f32>,
    /// Momentum of sgd; 0 for plain gradient descent [default: 0.9]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    momentum: Option<f32>,
    /// Nesterov's momentum
    #[arg(long)]
    nesterov: bool,
    /// Share of each gradient but the first that does not enter the momentum
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    dampening: Option<f32>,
    /// Adam's decay rates [default: 0.9,0.999]
    #[arg(long, value_name = "B1,B2", allow_hyphen_values = true)]
    betas: Option<String>,
    /// Added to the root of the second moment [default: 1e-8 for adam and adamw, 1e-10 for adagrad]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    eps: Option<f32>,
    /// Weight decay
    #[arg(long, value_name = "LAMBDA", allow_negative_numbers = true)]
    weight_decay: Option<f32>,
    /// Where it goes [default: decoupled for adamw, else l2]
    #[arg(long, value_enum, value_name = "l2|decoupled", hide_possible_values = true)]
    decay: Option<Decay>,
    /// Clip all gradients together by their 2-norm, after unscaling
    #[arg(long, value_name = "LIMIT", allow_negative_numbers = true)]
    clip_norm: Option<f32>,
    /// Clip every element of the gradients, after unscaling
    #[arg(long, value_name = "LIMIT", allow_negative_numbers = true)]
    clip_value: Option<f32>,
    /// Batches whose gradients are summed, in FP32, for one step; an overflow in any of them skips it
    #[arg(long, default_value_t = 1, value_name = "BATCHES", allow_negative_numbers = true)]
    accumulate: u32,
    /// Keep an exponential moving average of the weights; `eval --ema` and `export --ema` use it
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    ema: Option<f32>,
    /// Learning rate over the updates; skipped steps do not count
    #[arg(long, default_value = "constant", value_name = "constant|step:UPDATES:FACTOR|cosine[:END]")]
    schedule: String,
    /// Updates over which the learning rate rises at the start
    #[arg(long, default_value_t = 0, value_name = "UPDATES")]
    warmup: u64,
    /// Updates that a cosine spans, warm-up included [default: all of the run]
    #[arg(long, value_name = "UPDATES")]
    schedule_steps: Option<u64>,
    /// Keep the weights in FP32, or, to see what goes wrong then, in FP16 alone
    #[arg(long, value_enum, default_value = "fp32", value_name = "fp32|fp16", hide_possible_values = true)]
    master_weights: MasterWeights,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Loss scaling")]
pub(super) struct ScalerArgs {
    /// `dynamic` grows and backs off, a power of two stays, `none` is 1. A step whose weight gradients overflow is skipped
    /// in any case [default: dynamic]
    #[arg(long, value_name = "none|dynamic|POWER_OF_TWO", allow_negative_numbers = true)]
    loss_scale: Option<String>,
    /// First scale of `--loss-scale dynamic` [default: 65536]
    #[arg(long, value_name = "POWER_OF_TWO", allow_negative_numbers = true)]
    loss_scale_init: Option<String>,
    /// What a dynamic scale is multiplied by when it grows [default: 2]
    #[arg(long, value_name = "POWER_OF_TWO", allow_negative_numbers = true)]
    growth_factor: Option<f64>,
    /// What it is multiplied by on an overflow [default: 0.5]
    #[arg(long, value_name = "POWER_OF_TWO", allow_negative_numbers = true)]
    backoff_factor: Option<f64>,
    /// Good steps in a row before it grows [default: 2000; short runs want less]
    #[arg(long, value_name = "STEPS", allow_negative_numbers = true)]
    growth_interval: Option<u32>,
    /// It never falls below this [default: 1]
    #[arg(long, value_name = "POWER_OF_TWO", allow_negative_numbers = true)]
    scale_floor: Option<f64>,
    /// It never grows above this [default: 16777216]
    #[arg(long, value_name = "POWER_OF_TWO", allow_negative_numbers = true)]
    scale_cap: Option<f64>,
    /// Overflows before it backs off [default: 1, at once]
    #[arg(long, value_name = "OVERFLOWS", allow_negative_numbers = true)]
    hysteresis: Option<u32>,
    /// What forgets overflows that were tolerated [default: good-step]
    #[arg(long, value_enum, value_name = "good-step|growth", hide_possible_values = true)]
    hysteresis_refill: Option<Refill>,
    /// Stop after so many skipped steps in a row at a scale that cannot fall any more
    #[arg(long, default_value_t = 50, value_name = "STEPS", allow_negative_numbers = true)]
    max_skips: u32,
}

/// Refuses a flag that was given where it has no meaning.
fn only(given: Option<impl ToString>, flag: &str, holds: bool, why: &str) -> Result<()> {
    match given {
        Some(value) if !holds => Err(Error::value(flag, value, why)),
        _ => Ok(()),
    }
}

impl RecipeArgs {
    /// With a model file's settings where no flag says otherwise. Its learning rate and momentum are those of its optimizer, which
    /// is sgd where it names none.
    pub(super) fn or(mut self, file: &Settings) -> RecipeArgs {
        let named = file.optimizer();
        let optimizer = *self.optimizer.get_or_insert(named);
        if optimizer == named {
            self.lr = self.lr.or(file.lr);
            self.momentum = self.momentum.or(file.momentum);
        }
        self
    }

    /// Refuses the flags of a single optimizer for a GAN, whose model file has one for each of its networks.
    pub(super) fn check_for_gan(&self) -> Result<()> {
        let text = |v: Option<f32>| v.map(|v| v.to_string());
        let other = self.optimizer.filter(|&o| o != OptimizerName::Sgd);
        for (flag, given) in [
            ("--optimizer", other.map(|o| format!("{o:?}").to_lowercase())),
            ("--lr", text(self.lr)),
            ("--momentum", text(self.momentum)),
            ("--nesterov", self.nesterov.then(|| "true".into())),
            ("--dampening", text(self.dampening)),
            ("--betas", self.betas.clone()),
            ("--eps", text(self.eps)),
        ] {
            only(given, flag, false, "each network of a GAN has an optimizer of its own: change its model file")?;
        }
        Ok(())
    }

    /// Writes the flags into `o`.
    pub(super) fn apply(&self, o: &mut TrainOptions) -> Result<()> {
        use OptimizerName as Name;
        let optimizer = self.optimizer.unwrap_or_default();
        let sgd = optimizer == Name::Sgd;
        let adam = matches!(optimizer, Name::Adam | Name::AdamW);
        only(self.momentum, "--momentum", sgd, "only --optimizer sgd has a momentum of this kind (adam: --betas)")?;
        only(self.nesterov.then_some(true), "--nesterov", sgd, "only --optimizer sgd has it")?;
        only(self.dampening, "--dampening", sgd, "only --optimizer sgd has it")?;
        only(self.betas.as_ref(), "--betas", adam, "only --optimizer adam and adamw have them")?;
        only(self.eps, "--eps", !sgd, "--optimizer sgd divides by nothing")?;
        let decay = self.decay.map(|d| if d == Decay::L2 { "l2" } else { "decoupled" });
        only(decay, "--decay", self.weight_decay.is_some(), "there is no --weight-decay")?;
        let l2 = self.decay == Some(Decay::L2);
        only(decay, "--decay", optimizer != Name::AdamW || !l2, "adamw decays decoupled; adam takes l2")?;
        only(self.clip_value, "--clip-value", self.clip_norm.is_none(), "--clip-norm is given, too: choose one")?;
        o.optimizer = optimizer;
        o.lr = self.lr.unwrap_or(optimizer.usual_lr());
        o.momentum = self.momentum.unwrap_or(if sgd { 0.9 } else { 0.0 });
        o.nesterov = self.nesterov;
        o.dampening = self.dampening.unwrap_or(0.0);
        if let Some(text) = &self.betas {
            let numbers: Option<Vec<f32>> = text.split(',').map(|t| t.trim().parse().ok()).collect();
            match numbers.as_deref() {
                Some(&[a, b]) => o.betas = (a, b),
                _ => return Err(Error::value("--betas", text, "two numbers with a comma are needed: 0.9,0.999")),
            }
        }
        o.eps = self.eps.unwrap_or(optimizer.usual_eps());
        o.weight_decay = self.weight_decay.unwrap_or(0.0);
        o.decoupled = self.decay == Some(Decay::Decoupled);
        o.clip = match (self.clip_norm, self.clip_value) {
            (Some(limit), _) => Clip::Norm(limit),
            (None, Some(limit)) => Clip::Value(limit),
            (None, None) => Clip::None,
        };
        o.accumulate = self.accumulate;
        o.ema = self.ema;
        o.schedule = self.schedule.parse()?;
        o.warmup = self.warmup;
        o.schedule_steps = self.schedule_steps;
        o.master = if self.master_weights == MasterWeights::Fp16 { Master::Half } else { Master::Single };
        Ok(())
    }
}

impl ScalerArgs {
    /// With a model file's settings where no flag says otherwise.
    pub(super) fn or(mut self, file: &Settings) -> ScalerArgs {
        self.loss_scale = self.loss_scale.or_else(|| file.loss_scale.clone());
        self
    }

    /// Writes the flags into `o`.
    pub(super) fn apply(&self, o: &mut TrainOptions) -> Result<()> {
        o.loss_scale = self.loss_scale.as_deref().unwrap_or("dynamic").parse()?;
        let dynamic = o.loss_scale == LossScale::Dynamic;
        let moves = |flag: &str, given: Option<String>| {
            only(given, flag, dynamic, "only --loss-scale dynamic moves; a fixed scale has no use for it")
        };
        let text = |v: Option<f64>| v.map(|v| v.to_string());
        moves("--loss-scale-init", self.loss_scale_init.clone())?;
        moves("--growth-factor", text(self.growth_factor))?;
        moves("--backoff-factor", text(self.backoff_factor))?;
        moves("--growth-interval", self.growth_interval.map(|v| v.to_string()))?;
        moves("--scale-floor", text(self.scale_floor))?;
        moves("--scale-cap", text(self.scale_cap))?;
        moves("--hysteresis", self.hysteresis.map(|v| v.to_string()))?;
        moves("--hysteresis-refill", self.hysteresis_refill.map(|r| format!("{r:?}")))?;
        let exponent = |flag: &str, given: Option<f64>, low: i32, high: i32, default: i32| match given {
            None => Ok(default),
            Some(v) => exponent_between(v, low, high).ok_or_else(|| {
                let (low, high) = (f64::from(low).exp2(), f64::from(high).exp2());
                Error::value(flag, v, format!("it must be a power of two from {low} to {high}"))
            }),
        };
        if let Some(init) = &self.loss_scale_init {
            o.loss_scale_init = power_of_two("--loss-scale-init", init)?;
        }
        let rules = &mut o.rules;
        rules.growth = exponent("--growth-factor", self.growth_factor, 1, 8, 1)? as u32;
        rules.backoff = -exponent("--backoff-factor", self.backoff_factor, -8, -1, -1)? as u32;
        rules.floor = exponent("--scale-floor", self.scale_floor, -LARGEST_SCALE, LARGEST_SCALE, 0)?;
        rules.cap = exponent("--scale-cap", self.scale_cap, -LARGEST_SCALE, LARGEST_SCALE, LARGEST_SCALE)?;
        rules.hysteresis = self.hysteresis.unwrap_or(1);
        rules.refill_on_growth = self.hysteresis_refill == Some(Refill::Growth);
        only(
            self.hysteresis_refill.map(|r| if r == Refill::Growth { "growth" } else { "good-step" }),
            "--hysteresis-refill",
            rules.hysteresis > 1,
            "there is nothing to refill without --hysteresis 2 or more",
        )?;
        o.growth_interval = self.growth_interval.unwrap_or(2000);
        o.max_skips = self.max_skips;
        Ok(())
    }
}
