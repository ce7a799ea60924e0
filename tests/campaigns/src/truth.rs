//! The true values of functions: to 2^-44 of themselves, quickly, by `f64`; or to some 190 bits, by MPFR.
//!
//! `quick` decides how far a result is off wherever that cannot be mistaken; near every border, and near the largest error so
//! far, `exact` decides. [`SLACK`] is what `quick` is trusted for. For reciprocal and square root, IEEE 754 makes it true; for the
//! others it asks of the C library a hundred times less than glibc documents, and the campaign holds a share of all arguments
//! against `exact`.

use rug::Float;
use rug::ops::Pow;
use systole::compile::Elementary;

/// Bits of exact values: sigmoid(88) = 1 − 2^-127, and 60 more.
const PRECISION: u32 = 190;

/// By how many ulp of FP32 a quick error may be off: 2^-44 of the value.
pub const SLACK: f64 = 1.0 / (1 << 20) as f64;

/// What is promised of a function's result for an argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Promise {
    /// At most [`Elementary::ULPS`] from the truth.
    Close,
    /// The same bits as for this argument.
    Like(f32),
    /// A NaN.
    Nan,
    /// A NaN or an Inf.
    NotFinite,
    /// No NaN and no Inf.
    Finite,
    /// From 0 to so many ulp above the truth.
    NotAbove,
    /// Nothing.
    Nothing,
}

/// What `host/src/compile/functions.rs` and its callers promise.
pub fn promise(f: Elementary, x: f32) -> Promise {
    let normal = |low: i32, high: i32| {
        let (low, high) = (2f32.powi(low), 2f32.powi(high));
        move |v: f32| (low..=high).contains(&v)
    };
    match f {
        Elementary::Exp | Elementary::ExpNonPositive | Elementary::Tanh | Elementary::Sigmoid if x.is_nan() => {
            Promise::Nan
        }
        Elementary::Exp if x > 88.3 => Promise::Like(88.3),
        Elementary::ExpNonPositive if x > 0.0 => Promise::Nothing,
        Elementary::Exp | Elementary::ExpNonPositive if x < -87.0 => Promise::Like(-87.0),
        Elementary::Sigmoid if x < -87.0 => Promise::Like(-87.0),
        Elementary::Log if !(x.is_normal() && x > 0.0) => Promise::Finite,
        Elementary::Reciprocal if !x.is_finite() => Promise::NotFinite,
        Elementary::Reciprocal if !normal(-125, 125)(x.abs()) => Promise::Nothing,
        Elementary::Sqrt if x.is_subnormal() && x > 0.0 => Promise::NotAbove,
        Elementary::Sqrt if !(x >= 0.0 && x.is_finite()) => Promise::Nothing,
        _ => Promise::Close,
    }
}

/// The truth to within [`SLACK`].
pub fn quick(f: Elementary, x: f64) -> f64 {
    match f {
        Elementary::Exp | Elementary::ExpNonPositive => x.exp(),
        Elementary::Log => x.ln(),
        Elementary::Reciprocal => 1.0 / x,
        Elementary::Sqrt => x.sqrt(),
        Elementary::Tanh => x.tanh(),
        Elementary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
    }
}

/// The truth, rounded to [`PRECISION`] bits.
pub fn exact(f: Elementary, x: f32) -> Float {
    let x = Float::with_val(PRECISION, x);
    match f {
        Elementary::Exp | Elementary::ExpNonPositive => x.exp(),
        Elementary::Log => x.ln(),
        Elementary::Reciprocal => x.recip(),
        Elementary::Sqrt => x.sqrt(),
        Elementary::Tanh => x.tanh(),
        Elementary::Sigmoid => ((-x).exp() + 1u32).recip(),
    }
}

/// A format's bits of significand and its smallest normal number's exponent.
#[derive(Clone, Copy)]
pub struct Format {
    bits: i32,
    least: i32,
}

/// FP32.
pub const SINGLE: Format = Format { bits: 24, least: -126 };
/// FP16.
pub const HALF: Format = Format { bits: 11, least: -14 };

impl Format {
    /// The distance between the format's numbers around a value in 2^`exponent`..2^(`exponent` + 1), as a power of two.
    fn ulp(self, exponent: i32) -> i32 {
        exponent.max(self.least) - self.bits + 1
    }
}

/// How many ulp of FP32 `got` is from `truth`: an ulp is the distance between the FP32 numbers around the truth.
pub fn quick_error(got: f32, truth: f64) -> f64 {
    let distance = (f64::from(got) - truth).abs();
    if distance == 0.0 {
        return 0.0;
    }
    // (no truth here is an f64 subnormal, but for 0, and then only 0 is close)
    let exponent = (truth.to_bits() >> 52 & 0x7ff) as i32 - 1023;
    let ulp = f64::from_bits(((SINGLE.ulp(exponent) + 1023) as u64) << 52);
    distance / ulp
}

/// As [`quick_error`], exactly, in any format.
pub fn exact_error(got: f64, truth: &Float, format: Format) -> f64 {
    let distance = (Float::with_val(PRECISION, got) - truth).abs();
    if distance.is_zero() {
        return 0.0;
    }
    // MPFR's significands lie in ½..1
    let exponent = truth.get_exp().map_or(format.least, |e| e - 1);
    (distance / Float::with_val(PRECISION, 2).pow(format.ulp(exponent))).to_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_in_units_of_the_last_place() {
        let one = Float::with_val(PRECISION, 1);
        for (got, ulps) in [(1.0f32, 0.0), (1.0f32.next_up(), 1.0), (1.0f32.next_down(), 0.5)] {
            assert_eq!(quick_error(got, 1.0), ulps);
            assert_eq!(exact_error(got.into(), &one, SINGLE), ulps);
        }
        assert_eq!(exact_error(1.0 + 1.0 / 1024.0, &one, HALF), 1.0);
        // a subnormal's unit is the smallest number
        let tiny = f32::from_bits(5);
        assert_eq!(quick_error(tiny, 6.5 * 2f64.powi(-149)), 1.5);
        assert_eq!(quick_error(0.0, 0.0), 0.0);
    }

    #[test]
    fn both_truths_agree() {
        for f in Elementary::ALL {
            for x in [-30.5f32, -1.0, -0.0, 1e-20, 0.24, 0.7, 1.0, 3.5, 80.0, 88.0] {
                if promise(f, x) != Promise::Close || x == 0.0 {
                    continue;
                }
                let (q, e) = (quick(f, x.into()), exact(f, x));
                let off =
                    (Float::with_val(PRECISION, q) - &e).abs() / e.clone().abs().max(&Float::with_val(53, 1e-300));
                assert!(off < 2f64.powi(-50), "{f:?} of {x}: {q} and {e}");
            }
        }
    }
}
