//! Histograms of exponents: how often values lie in each binade, as in figures 2 and 3 of Micikevicius et al.,
//! arXiv 1710.03740.

use std::collections::BTreeMap;

use half::f16;
use serde::{Deserialize, Serialize};

/// Exponent of the smallest FP16 value, a subnormal.
pub const FP16_LEAST: i32 = -24;
/// Exponent of the smallest normal FP16 value.
pub const FP16_LEAST_NORMAL: i32 = -14;
/// Exponent of the largest FP16 binade.
pub const FP16_LARGEST: i32 = 15;

/// Values by binade: `bins[e]` of them have a magnitude in [2^e, 2^(e+1)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exponents {
    /// Finite values other than 0.
    pub bins: BTreeMap<i32, u64>,
    /// Values that are exactly 0.
    pub zeros: u64,
    /// Infinities and NaN.
    pub nonfinite: u64,
    /// Of the values in `bins`, those that are exactly a power of two: the lower end of their binade.
    #[serde(default)]
    pub powers: BTreeMap<i32, u64>,
}

/// Exponent of a finite value other than 0, subnormals included.
fn exponent(v: f64) -> i32 {
    // an f64 holds every FP32 and FP16 value, scaled by any scale there is, as a normal number
    (v.to_bits() >> 52 & 0x7ff) as i32 - 1023
}

impl Exponents {
    /// Counts one value.
    pub fn add(&mut self, v: f64) {
        if v == 0.0 {
            self.zeros += 1;
        } else if !v.is_finite() {
            self.nonfinite += 1;
        } else {
            *self.bins.entry(exponent(v)).or_default() += 1;
            if v.to_bits() << 12 == 0 {
                *self.powers.entry(exponent(v)).or_default() += 1;
            }
        }
    }

    /// Counts FP32 values.
    pub fn of_f32(values: impl IntoIterator<Item = f32>) -> Exponents {
        let mut out = Exponents::default();
        values.into_iter().for_each(|v| out.add(f64::from(v)));
        out
    }

    /// Counts FP16 values divided by 2^`scale`, exactly: gradients without their loss scale.
    pub fn add_f16(&mut self, bits: &[u16], scale: i32) {
        let factor = f64::exp2(f64::from(-scale));
        bits.iter().for_each(|&b| self.add(f64::from(f16::from_bits(b).to_f32()) * factor));
    }

    /// Adds another histogram's counts.
    pub fn merge(&mut self, other: &Exponents) {
        other.bins.iter().for_each(|(&e, &n)| *self.bins.entry(e).or_default() += n);
        self.zeros += other.zeros;
        self.nonfinite += other.nonfinite;
        other.powers.iter().for_each(|(&e, &n)| *self.powers.entry(e).or_default() += n);
    }

    /// Finite values other than 0.
    pub fn nonzero(&self) -> u64 {
        self.bins.values().sum()
    }

    /// All values.
    pub fn total(&self) -> u64 {
        self.nonzero() + self.zeros + self.nonfinite
    }

    /// Least and largest exponent.
    pub fn range(&self) -> Option<(i32, i32)> {
        Some((*self.bins.keys().next()?, *self.bins.keys().next_back()?))
    }

    /// Values with an exponent in `from..to`.
    pub fn between(&self, from: i32, to: i32) -> u64 {
        self.bins.range(from..to).map(|(_, n)| n).sum()
    }

    /// Non-zero values below 2^-24, the least that FP16 can hold.
    pub fn below_fp16(&self) -> u64 {
        self.between(i32::MIN, FP16_LEAST)
    }

    /// Values in FP16's subnormal range, [2^-24, 2^-14).
    pub fn subnormal(&self) -> u64 {
        self.between(FP16_LEAST, FP16_LEAST_NORMAL)
    }

    /// Non-zero values that FP16 makes 0 once they are multiplied by 2^`scale`: those of at most 2^-25, half its least value.
    pub fn flushed_at(&self, scale: i32) -> u64 {
        let half = FP16_LEAST - 1 - scale;
        self.between(i32::MIN, half) + self.powers.get(&half).copied().unwrap_or(0)
    }

    /// Share of all values, 0..=1.
    pub fn share(&self, n: u64) -> f64 {
        if self.total() == 0 { 0.0 } else { n as f64 / self.total() as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binades_of_fp16_and_fp32() {
        let mut e = Exponents::default();
        // 0, -0, least subnormal, least normal, 1.5, largest, Inf, NaN
        e.add_f16(&[0, 0x8000, 1, 0x0400, 0x3e00, 0x7bff, 0x7c00, 0x7e00], 0);
        assert_eq!(e.bins, BTreeMap::from([(-24, 1), (-14, 1), (0, 1), (15, 1)]));
        assert_eq!((e.zeros, e.nonfinite, e.flushed_at(0), e.total()), (2, 2, 0, 8));
        assert_eq!((e.below_fp16(), e.subnormal(), e.range()), (0, 1, Some((-24, 15))));
        let f = Exponents::of_f32([f32::from_bits(1), 1e-20, -3.0]);
        assert_eq!(f.bins, BTreeMap::from([(-149, 1), (-67, 1), (1, 1)]));
        assert_eq!(f.below_fp16(), 2);
    }

    #[test]
    fn what_fp16_flushes_is_what_rounding_to_fp16_makes_zero() {
        // every positive FP16 value, seen through every scale, against the rounding of the crate `half`
        for scale in [0, 1, 8, 16, 24] {
            for bits in 0..=0x7bffu16 {
                let mut e = Exponents::default();
                e.add_f16(&[bits], scale);
                for back in [0, 3, scale] {
                    let seen = f16::from_bits(bits).to_f32() * f32::exp2((back - scale) as f32);
                    let lost = seen != 0.0 && f16::from_f32(seen).to_bits() == 0;
                    assert_eq!(e.flushed_at(back) == 1, lost, "{bits:#06x} at 2^{scale}, back by 2^{back}");
                }
            }
        }
    }
}
