//! What to train, on what, how; checked before anything starts.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;
use systole_isa::frame::scaler::{self, Mode};

use crate::compile::Optimizer;
use crate::driver::device::DeviceOptions;
use crate::error::{Error, Result};

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
            _ => power_of_two("--loss-scale", s).map(LossScale::Static),
        }
    }
}

/// Parses a power of two from 1 to 2^24 and returns its exponent.
pub fn power_of_two(what: &str, text: &str) -> Result<i32> {
    let value: f64 = text.parse().map_err(|_| {
        Error::value(what, text, "a power of two such as 1024 is needed (--loss-scale also takes none and dynamic)")
    })?;
    if !(1.0..=f64::from(1 << 24)).contains(&value) || value.fract() != 0.0 || !(value as u64).is_power_of_two() {
        return Err(Error::value(
            what,
            text,
            "it must be a power of two from 1 to 16777216 (2^24), so that scaling is exact",
        ));
    }
    Ok((value as u64).trailing_zeros() as i32)
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
    /// Momentum; 0: plain gradient descent.
    pub momentum: f32,
    /// Loss scaling.
    pub loss_scale: LossScale,
    /// Exponent of the first scale of [`LossScale::Dynamic`].
    pub loss_scale_init: i32,
    /// Good steps before the scale grows.
    pub growth_interval: u32,
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
            momentum: 0.9,
            loss_scale: LossScale::Dynamic,
            loss_scale_init: 16,
            growth_interval: 2000,
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

impl TrainOptions {
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
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(Error::value("--momentum", self.momentum, "it must be at least 0 and below 1"));
        }
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

    /// The optimizer to compile.
    pub fn optimizer(&self) -> Optimizer {
        Optimizer::Sgd { momentum: self.momentum != 0.0 }
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
        w[scaler::GROWTH] = 1;
        w[scaler::BACKOFF] = 1;
        w[scaler::INTERVAL] = self.growth_interval;
        w[scaler::CAP] = 24;
        w[scaler::HYSTERESIS] = 1;
        w[scaler::HYSTERESIS_LEFT] = 1;
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
        for bad in ["1000", "0", "-2", "0.5", "x", "", "NaN", "inf", "33554432"] {
            assert!(bad.parse::<LossScale>().is_err(), "{bad}");
        }
    }
}
