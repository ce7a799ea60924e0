//! What a checkpoint's numbers look like to FP16: exponents of its weights and of its gradients, and the loss scales that are safe
//! for it.
//!
//! Gradients are made on the device, at a static scale and with a learning rate of 0, so that nothing changes. They are read
//! where the update would read them: the FP16 gradients of the parameters, times the loss scale. Activation gradients stay
//! inside the backward pass; where one of them overflows, the weight gradients that it reaches do too, and the step counts
//! as unsafe.

mod text;

use std::path::PathBuf;

use serde::Serialize;
use systole_isa::frame::scaler;
use systole_isa::frame::step::Outcome;

use crate::compile;
use crate::data::dropout::Moment;
use crate::data::permutation;
use crate::driver::Device;
use crate::driver::device::DeviceOptions;
use crate::driver::session::{Hyper, Session, Weights};
use crate::error::{Error, Result};
use crate::exponents::Exponents;
use crate::run::checkpoint::Checkpoint;
use crate::run::options::LARGEST_SCALE;
use crate::run::prepare;
use crate::run::{LossScale, TrainOptions};

/// What to inspect, and how.
#[derive(Clone, Debug)]
pub struct InspectOptions {
    /// The checkpoint.
    pub checkpoint: PathBuf,
    /// Data set; `None`: what it was trained on.
    pub data: Option<String>,
    /// Device that makes the gradients.
    pub device: DeviceOptions,
    /// Batches to take gradients of.
    pub batches: usize,
    /// Share of the non-zero elements that the smallest safe scale may lose.
    pub tolerance: f64,
}

/// Exponents of some values, and the shares that matter to FP16: of all values, 0 included.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Values.
    pub count: u64,
    /// Exactly 0.
    pub zero: f64,
    /// Not 0 and below 2^-24.
    pub below_fp16: f64,
    /// In [2^-24, 2^-14).
    pub subnormal: f64,
    /// The histogram.
    pub exponents: Exponents,
}

impl From<Exponents> for Summary {
    fn from(e: Exponents) -> Summary {
        Summary {
            count: e.total(),
            zero: e.share(e.zeros),
            below_fp16: e.share(e.below_fp16()),
            subnormal: e.share(e.subnormal()),
            exponents: e,
        }
    }
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tensor {
    /// PyTorch's name.
    pub name: String,
    /// Its FP32 master values.
    pub weights: Summary,
    /// Its gradients, without the loss scale.
    pub gradients: Summary,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The checkpoint.
    pub checkpoint: String,
    /// The network.
    pub model: String,
    /// The data set.
    pub data: String,
    /// Steps that it was trained for.
    pub steps: u64,
    /// Batches that gradients were taken of.
    pub batches: usize,
    /// All master weights.
    pub weights: Summary,
    /// All gradients, without the loss scale.
    pub gradients: Summary,
    /// The loss scale that the gradients were measured at: the largest safe one.
    pub measured_at: f64,
    /// The loss scale of the checkpoint's next step.
    pub loss_scale: f64,
    /// Share of all gradient elements that FP16 would make 0 at scale 1 and holds at `loss_scale`.
    pub saved_by_scale: f64,
    /// Share of all gradient elements that are 0 in FP16 at each scale from 2^0 on.
    pub lost_at: Vec<f64>,
    /// Tolerance of the next number, as a share of the non-zero elements.
    pub tolerance: f64,
    /// Least power of two at which no more is lost than that.
    pub smallest_safe_scale: f64,
    /// Largest power of two at which no gradient of these batches overflows; 2^24 is the largest there is.
    pub largest_safe_scale: f64,
    /// Each parameter.
    pub tensors: Vec<Tensor>,
}

/// Inspects a checkpoint.
///
/// # Errors
/// The checkpoint, the data or the device are unusable; or gradients overflow even at scale 1.
pub fn inspect(options: &InspectOptions) -> Result<Inspection> {
    if options.batches == 0 {
        return Err(Error::value("--batches", 0, "it must be at least 1"));
    }
    if !(0.0..1.0).contains(&options.tolerance) {
        return Err(Error::value("--tolerance", options.tolerance, "it must be at least 0 and below 1"));
    }
    let checkpoint = Checkpoint::load(&options.checkpoint)?;
    let config = checkpoint.config()?;
    let defaults = TrainOptions::default();
    let train = TrainOptions {
        model: checkpoint.fact("model")?.into(),
        data: options.data.clone().map_or_else(|| checkpoint.data_source().map(Into::into), Ok)?,
        batch: config["batch"].as_u64().and_then(|b| u32::try_from(b).ok()).unwrap_or(defaults.batch),
        // gradients do not depend on the optimizer
        momentum: 0.0,
        ..defaults
    };
    let (model, data) = prepare(&train)?;
    if model.gan.is_some() {
        return Err(Error::NotForGans {
            command: "inspect",
            model: model.name,
            reason: "it searches one scale for all gradients, and each phase of a GAN has a scale of its own",
            help: "`systole report` shows both scales and the exponents of weights and gradients",
        });
    }
    let device = Device::open(&options.device)?;
    let compiled = compile::network(&model.graph, train.batch, train.optimizer(), device.info.machine)
        .map_err(|e| Error::from_compiler(&model.name, e))?;
    let masters = checkpoint.masters_of(&compiled.parameters)?;
    let names: Vec<String> = compiled.parameters.iter().map(|p| p.name.clone()).collect();
    let scale = config["feature_scale"].as_f64().map_or(data.scale, |s| s.log2() as i8);
    let weights: Vec<Exponents> = masters.iter().map(|m| Exponents::of_f32(m.iter().copied())).collect();
    let buffers = checkpoint.buffers_of(&compiled.buffers)?;
    let start = Weights { masters, buffers, ..Weights::default() };
    let mut session = Session::start(device, compiled, &start, &[train.scaler()], scale)?;

    let position = checkpoint.position()?;
    let seed = config["seed"].as_u64().unwrap_or(0);
    let order = permutation(seed, u64::from(position.epochs) + 1, data.train.len());
    let batches: Vec<&[usize]> = order.chunks(train.batch as usize).take(options.batches).collect();
    // the run's next batches, with the dropout that they would meet
    let at = Moment { seed, epoch: u64::from(position.epochs) + 1, batch: 0 };
    let mut measured = None;
    for exponent in (0..=LARGEST_SCALE).rev() {
        if let Some(gradients) = gradients(&mut session, &data.train, &batches, at, exponent)? {
            measured = Some((exponent, gradients));
            break;
        }
    }
    let Some((largest, gradients)) = measured else {
        return Err(Error::ScaleExhausted { step: position.steps + 1, skips: 1, scale: 1.0 });
    };
    let all = |parts: &[Exponents]| {
        let mut sum = Exponents::default();
        parts.iter().for_each(|p| sum.merge(p));
        sum
    };
    let total = all(&gradients);
    let may_lose = (options.tolerance * total.nonzero() as f64) as u64;
    let smallest = (0..=largest).find(|&e| total.flushed_at(e) <= may_lose).unwrap_or(largest);
    let now = checkpoint.scalers()?[0][scaler::EXPONENT] as i32;
    let tensors = names.into_iter().zip(weights.iter().zip(&gradients));
    Ok(Inspection {
        checkpoint: options.checkpoint.display().to_string(),
        model: model.name.clone(),
        data: data.name.clone(),
        steps: position.steps,
        batches: batches.len(),
        weights: all(&weights).into(),
        measured_at: power(largest),
        loss_scale: power(now),
        saved_by_scale: total.share(total.flushed_at(0).saturating_sub(total.flushed_at(now))),
        lost_at: (0..=largest).map(|e| total.share(total.flushed_at(e))).collect(),
        tolerance: options.tolerance,
        smallest_safe_scale: power(smallest),
        largest_safe_scale: power(largest),
        gradients: total.into(),
        tensors: tensors
            .map(|(name, (w, g))| Tensor { name, weights: w.clone().into(), gradients: g.clone().into() })
            .collect(),
    })
}

fn power(exponent: i32) -> f64 {
    f64::exp2(f64::from(exponent))
}

/// Exponents of each parameter's gradients over these batches, without the loss scale; `None` where one overflows.
fn gradients(
    session: &mut Session,
    rows: &crate::data::Rows,
    batches: &[&[usize]],
    at: Moment,
    exponent: i32,
) -> Result<Option<Vec<Exponents>>> {
    let words = TrainOptions { loss_scale: LossScale::Static(exponent), ..TrainOptions::default() }.scaler();
    session.set_scaler(0, &words)?;
    session.set_moment(at);
    let mut out = vec![Exponents::default(); session.compiled().parameters.len()];
    for batch in batches {
        let mut last = None;
        session.train(rows, batch, &[Hyper { lr: 0.0, momentum: 0.0 }], |_, _, phases| {
            last = phases.first().copied();
            Ok(())
        })?;
        match last.map(|reply| (reply.outcome, reply)) {
            Some((Outcome::SkippedForward, reply)) => return Err(session.forward_error(1, &reply)),
            Some((Outcome::SkippedGradient, _)) => return Ok(None),
            _ => {}
        }
        for (e, tensor) in out.iter_mut().zip(session.gradients()?) {
            e.add_f16(&tensor, exponent);
        }
    }
    Ok(Some(out))
}
