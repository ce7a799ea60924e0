//! An inspection on the terminal.

use std::fmt;

use super::{Inspection, Summary};
use crate::exponents::{Exponents, FP16_LEAST, FP16_LEAST_NORMAL};

/// Width of the longest bar, in characters.
const WIDTH: f64 = 40.0;
/// Least exponent with a line of its own.
const LEAST: i32 = -40;

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} after {} steps, on {}", self.model, self.steps, self.data)?;
        writeln!(f, "\nweights (FP32 masters): {}", shares(&self.weights))?;
        bars(f, &self.weights.exponents)?;
        writeln!(
            f,
            "\ngradients of {} batches, without the loss scale (measured at 2^{}): {}",
            self.batches,
            self.measured_at.log2(),
            shares(&self.gradients)
        )?;
        bars(f, &self.gradients.exponents)?;
        writeln!(f, "\nloss scale now          {} (2^{})", self.loss_scale, self.loss_scale.log2())?;
        writeln!(f, "saved by it from 0      {:.2} % of all gradient elements", 100.0 * self.saved_by_scale)?;
        writeln!(
            f,
            "smallest safe scale     {} (2^{}): at most {} % of the non-zero elements become 0",
            self.smallest_safe_scale,
            self.smallest_safe_scale.log2(),
            100.0 * self.tolerance
        )?;
        let end = if self.largest_safe_scale.log2() >= 24.0 { ", the largest there is" } else { "" };
        write!(
            f,
            "largest safe scale      {} (2^{}{end}): none of these gradients overflows",
            self.largest_safe_scale,
            self.largest_safe_scale.log2()
        )
    }
}

fn shares(s: &Summary) -> String {
    format!(
        "{} values, {:.2} % are 0, {:.2} % below 2^-24, {:.2} % subnormal in FP16",
        s.count,
        100.0 * s.zero,
        100.0 * s.below_fp16,
        100.0 * s.subnormal
    )
}

/// A line per binade, the largest first.
fn bars(f: &mut fmt::Formatter<'_>, e: &Exponents) -> fmt::Result {
    let Some((low, high)) = e.range() else { return Ok(()) };
    let count = |x: i32| if x == LEAST { e.between(i32::MIN, LEAST + 1) } else { e.between(x, x + 1) };
    let top = (low.max(LEAST)..=high.max(LEAST)).map(count).max().unwrap_or(1).max(1) as f64;
    for x in (low.max(LEAST)..=high.max(LEAST)).rev() {
        let n = count(x);
        let bar = "█".repeat((WIDTH * n as f64 / top).ceil() as usize);
        let zone = match x {
            x if x < FP16_LEAST => "  0 in FP16",
            x if x < FP16_LEAST_NORMAL => "  subnormal",
            _ => "",
        };
        let less = if x == LEAST { "≤" } else { " " };
        let share = 100.0 * n as f64 / e.nonzero() as f64;
        writeln!(f, " {less}2^{x:<4}{share:6.2} %  {bar:40}{zone}")?;
    }
    Ok(())
}
