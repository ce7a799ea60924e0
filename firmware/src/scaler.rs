//! Loss scaling: the scale is a power of two, held as its exponent, so that scaling and unscaling are exact.
//!
//! Dynamic scaling follows PyTorch's `GradScaler` (multiply by the growth factor after `interval` good steps in a row, by the
//! backoff factor on an overflow), extended by a floor, a cap, and the hysteresis of Megatron-LM: an overflow backs off only
//! once the budget of tolerated overflows is used up. The budget is refilled on growth (Megatron's rule) or on any good step.
//! Static scaling and no scaling skip a step with non-finite gradients as well, but never change the scale.

use systole_isa::frame::scaler::{self as word, Mode};

/// Largest magnitude of an exponent: what the machine's exact unscale on load allows.
pub const EXPONENT_LIMIT: i32 = 100;

/// A loss scaler and its whole state. Every field is part of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaler {
    /// Policy.
    pub mode: Mode,
    /// The scale is `2^exponent`.
    pub exponent: i32,
    /// log2 of the growth factor.
    pub growth: u32,
    /// −log2 of the backoff factor.
    pub backoff: u32,
    /// Good steps in a row before the scale grows.
    pub interval: u32,
    /// Smallest exponent that backing off may reach.
    pub floor: i32,
    /// Largest exponent that growing may reach.
    pub cap: i32,
    /// Overflows that use up the budget; 1 backs off at once.
    pub hysteresis: u32,
    /// Refill the budget only on growth.
    pub refill_on_growth: bool,
    /// Good steps in a row since the last growth or overflow.
    pub good_steps: u32,
    /// What is left of the budget.
    pub hysteresis_left: u32,
    /// Skipped steps in a row.
    pub skips_in_a_row: u32,
    /// Skipped steps in all.
    pub skips: u32,
    /// Steps in all, skipped ones included.
    pub steps: u32,
}

impl Scaler {
    /// No scaling: scale 1, overflow still skips.
    pub const DISABLED: Scaler = Scaler {
        mode: Mode::None,
        exponent: 0,
        growth: 1,
        backoff: 1,
        interval: 2000,
        floor: 0,
        cap: 24,
        hysteresis: 1,
        refill_on_growth: false,
        good_steps: 0,
        hysteresis_left: 1,
        skips_in_a_row: 0,
        skips: 0,
        steps: 0,
    };

    /// PyTorch's defaults: 2^16, ×2 after 2000 good steps, ×½ on overflow.
    pub const DYNAMIC: Scaler = Scaler { mode: Mode::Dynamic, exponent: 16, ..Scaler::DISABLED };

    /// A fixed scale of `2^exponent`.
    pub const fn fixed(exponent: i32) -> Scaler {
        Scaler { mode: Mode::Static, exponent, ..Scaler::DISABLED }
    }

    /// Tells the scaler what became of a step whose gradients it scaled.
    pub fn update(&mut self, overflow: bool) {
        self.steps = self.steps.wrapping_add(1);
        if overflow {
            self.skips = self.skips.wrapping_add(1);
            self.skips_in_a_row = self.skips_in_a_row.saturating_add(1);
        } else {
            self.skips_in_a_row = 0;
        }
        if self.mode != Mode::Dynamic {
            return;
        }
        if overflow {
            self.good_steps = 0;
            self.hysteresis_left = self.hysteresis_left.saturating_sub(1);
            if self.hysteresis_left == 0 {
                self.exponent = (self.exponent - self.backoff as i32).max(self.floor);
            }
            return;
        }
        if !self.refill_on_growth {
            self.hysteresis_left = self.hysteresis;
        }
        self.good_steps += 1;
        if self.good_steps >= self.interval {
            self.good_steps = 0;
            self.hysteresis_left = self.hysteresis;
            self.exponent = (self.exponent + self.growth as i32).min(self.cap);
        }
    }

    /// The scale as FP32 bits (exact: exponents stay within ±[`EXPONENT_LIMIT`]).
    pub const fn scale_bits(&self) -> u32 {
        ((127 + self.exponent) as u32) << 23
    }

    /// `scale · x` for a positive normal x, by adding to its exponent: exact as long as the result is normal, which
    /// `1/B` for any batch size and every allowed scale guarantee.
    pub const fn scaled_bits(&self, x: u32) -> u32 {
        x.wrapping_add((self.exponent << 23) as u32)
    }

    /// The state as the words of a frame.
    pub const fn to_words(&self) -> [u32; word::WORDS] {
        let mut w = [0; word::WORDS];
        w[word::MODE] = self.mode as u32;
        w[word::EXPONENT] = self.exponent as u32;
        w[word::GROWTH] = self.growth;
        w[word::BACKOFF] = self.backoff;
        w[word::INTERVAL] = self.interval;
        w[word::FLOOR] = self.floor as u32;
        w[word::CAP] = self.cap as u32;
        w[word::HYSTERESIS] = self.hysteresis;
        w[word::HYSTERESIS_MODE] = self.refill_on_growth as u32;
        w[word::GOOD_STEPS] = self.good_steps;
        w[word::HYSTERESIS_LEFT] = self.hysteresis_left;
        w[word::SKIPS_IN_A_ROW] = self.skips_in_a_row;
        w[word::SKIPS] = self.skips;
        w[word::STEPS] = self.steps;
        w
    }

    /// Reads the words of a frame; the error is the index of the first word that makes no sense.
    pub fn from_words(w: &[u32; word::WORDS]) -> Result<Scaler, usize> {
        let mode = match w[word::MODE] {
            0 => Mode::None,
            1 => Mode::Static,
            2 => Mode::Dynamic,
            _ => return Err(word::MODE),
        };
        let s = Scaler {
            mode,
            exponent: w[word::EXPONENT] as i32,
            growth: w[word::GROWTH],
            backoff: w[word::BACKOFF],
            interval: w[word::INTERVAL],
            floor: w[word::FLOOR] as i32,
            cap: w[word::CAP] as i32,
            hysteresis: w[word::HYSTERESIS],
            refill_on_growth: w[word::HYSTERESIS_MODE] == 1,
            good_steps: w[word::GOOD_STEPS],
            hysteresis_left: w[word::HYSTERESIS_LEFT],
            skips_in_a_row: w[word::SKIPS_IN_A_ROW],
            skips: w[word::SKIPS],
            steps: w[word::STEPS],
        };
        let limit = -EXPONENT_LIMIT..=EXPONENT_LIMIT;
        let rules = [
            (word::EXPONENT, limit.contains(&s.exponent) && (mode != Mode::None || s.exponent == 0)),
            (word::GROWTH, (1..=32).contains(&s.growth)),
            (word::BACKOFF, (1..=32).contains(&s.backoff)),
            (word::INTERVAL, s.interval >= 1),
            (word::FLOOR, limit.contains(&s.floor)),
            (word::CAP, limit.contains(&s.cap) && s.floor <= s.cap),
            (word::EXPONENT, mode != Mode::Dynamic || (s.floor..=s.cap).contains(&s.exponent)),
            (word::HYSTERESIS, s.hysteresis >= 1),
            (word::HYSTERESIS_MODE, w[word::HYSTERESIS_MODE] <= 1),
            (word::GOOD_STEPS, s.good_steps < s.interval),
            (word::HYSTERESIS_LEFT, s.hysteresis_left <= s.hysteresis),
        ];
        match rules.iter().find(|(_, holds)| !holds) {
            Some(&(index, _)) => Err(index),
            None => Ok(s),
        }
    }
}
