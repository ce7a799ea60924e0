//! Learning-rate schedules: a factor per update. Skipped steps are no updates, so a schedule stands still with the weights.

use std::str::FromStr;

use crate::compile::optimizer::decimal;
use crate::error::{Error, Result};

/// What becomes of the learning rate after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Shape {
    /// It stays.
    #[default]
    Constant,
    /// It is multiplied by `factor` after every `every` updates.
    Step {
        /// Updates between two falls.
        every: u64,
        /// What each multiplies by.
        factor: f32,
    },
    /// Half a cosine from 1 to `end`, over all updates after the warm-up.
    Cosine {
        /// The last factor.
        end: f32,
    },
}

impl FromStr for Shape {
    type Err = Error;
    fn from_str(s: &str) -> Result<Shape> {
        const FLAG: &str = "--schedule";
        let wrong = |why: &str| Err(Error::value(FLAG, s, why));
        let mut parts = s.split(':');
        let (name, rest) = (parts.next().unwrap_or(""), parts.collect::<Vec<_>>());
        match (name, rest.as_slice()) {
            ("constant", []) => Ok(Shape::Constant),
            ("cosine", []) => Ok(Shape::Cosine { end: 0.0 }),
            ("cosine", [end]) => match end.parse() {
                Ok(end) if (0.0..=1.0).contains(&end) => Ok(Shape::Cosine { end }),
                _ => wrong("cosine:END takes the last factor, 0 to 1"),
            },
            ("step", [every, factor]) => match (every.parse(), factor.parse()) {
                (Ok(every), Ok(factor)) if every > 0 && factor > 0.0 && factor <= 1.0 => {
                    Ok(Shape::Step { every, factor })
                }
                _ => wrong("step:UPDATES:FACTOR takes at least 1 update and a factor above 0, at most 1"),
            },
            _ => wrong("write constant, step:UPDATES:FACTOR, cosine, or cosine:END"),
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Shape::Constant => write!(f, "constant"),
            Shape::Step { every, factor } => write!(f, "step:{every}:{factor}"),
            Shape::Cosine { end } => write!(f, "cosine:{end}"),
        }
    }
}

/// A whole schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Schedule {
    /// Updates over which the rate rises in equal steps; the first of them already has one.
    pub warmup: u64,
    /// After that.
    pub shape: Shape,
    /// Updates that a cosine spans, warm-up included.
    pub total: u64,
}

impl Schedule {
    /// The learning rate of the update that follows `updates` others, `lr` being the largest.
    pub fn rate(&self, lr: f32, updates: u64) -> f32 {
        let factor = self.factor(updates);
        if factor == 1.0 { lr } else { (decimal(lr) * factor) as f32 }
    }

    fn factor(&self, updates: u64) -> f64 {
        if updates < self.warmup {
            return (updates + 1) as f64 / self.warmup as f64;
        }
        let t = updates - self.warmup;
        match self.shape {
            Shape::Constant => 1.0,
            Shape::Step { every, factor } => decimal(factor).powi((t / every).min(1 << 20) as i32),
            Shape::Cosine { end } => {
                let span = self.total.saturating_sub(self.warmup).max(1);
                let way = (t as f64 / span as f64).min(1.0);
                let end = decimal(end);
                end + (1.0 - end) * 0.5 * (1.0 + (std::f64::consts::PI * way).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let at = |s: Schedule, n: &[u64]| n.iter().map(|&t| s.rate(1.0, t)).collect::<Vec<_>>();
        let warm = Schedule { warmup: 4, ..Schedule::default() };
        assert_eq!(at(warm, &[0, 1, 2, 3, 4, 99]), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
        let step = Schedule { warmup: 2, shape: "step:3:0.5".parse().unwrap(), total: 0 };
        assert_eq!(at(step, &[0, 1, 2, 4, 5, 7, 8]), [0.5, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25]);
        let cosine = Schedule { warmup: 0, shape: "cosine:0.1".parse().unwrap(), total: 100 };
        assert_eq!(at(cosine, &[0, 50, 100, 1000]), [1.0, 0.55, 0.1, 0.1]);
        for text in ["constant", "step:3:0.5", "cosine:0.1"] {
            assert_eq!(text.parse::<Shape>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "linear",
            "step",
            "step:0:0.5",
            "step:3:0",
            "step:3:2",
            "step:3:NaN",
            "cosine:2",
            "cosine:-1",
            "constant:1",
        ] {
            assert!(bad.parse::<Shape>().is_err(), "{bad}");
        }
    }
}
