//! The PE's adder: partial sums crossed with exact products, through every unit of the array's path.
//!
//! A partial sum is ±0, Inf, NaN, or a multiple of 2^-48 below 2^78 in magnitude: what products of FP16 numbers and an FP16
//! bias can add up to. Nothing else may reach the adder, and nothing else is asked of it here. The reference rounds once
//! (`f32_mulAdd`), and is checked to agree with rounding the sum alone, since the product is exact.

use crate::campaign::{CampaignError, Cases, Class, Options, Row, Unit, check};
use crate::grid::{self, SPECIALS};
use crate::{soft, units};
use systole_hdl::float::{PRODUCT_LATENCY, PSUM_LATENCIES};

/// Exponent fields of 2^-48 and of 2^77.
const LOWEST: u32 = 127 - 48;
const HIGHEST: u32 = 127 + 77;

/// The nearest value below in magnitude that the array can make: a multiple of 2^-48, and none of FP32's other NaNs.
fn possible(bits: u32) -> u32 {
    let exponent = bits >> 23 & 255;
    if exponent == 255 {
        return if soft::is_nan(bits) { soft::NAN32 } else { bits };
    }
    if exponent < LOWEST {
        return bits & 1 << 31;
    }
    let exponent_kept = exponent.min(HIGHEST);
    let fraction_bits = (exponent_kept - LOWEST).min(23);
    let mask = !((1u32 << (23 - fraction_bits)) - 1);
    (bits & 1 << 31 | exponent_kept << 23 | bits & 0x7f_ffff) & mask
}

/// Every partial sum of a grid with every product of two FP16 numbers of a smaller one.
struct Grid {
    /// Of the adder.
    latency: usize,
    sums: Vec<u32>,
    factors: Vec<(u16, u16)>,
}

impl Grid {
    fn new(latency: usize) -> Grid {
        // every exponent that a sum can have
        let mut sums: Vec<u32> =
            grid::singles(LOWEST..=HIGHEST, &grid::fractions(1)).into_iter().chain(SPECIALS).map(possible).collect();
        sums.sort_unstable();
        sums.dedup();
        // products: exponents thinned out, fractions that make few-bit, full and tying significands
        let some: Vec<u16> = grid::halves().into_iter().filter(|h| h & 0x8000 == 0).step_by(7).collect();
        let others: Vec<u16> = grid::halves().into_iter().step_by(9).chain([0x8000, 0x7c00, 0x7e00, 1]).collect();
        let factors = some.iter().flat_map(|&a| others.iter().map(move |&b| (a, b))).collect();
        Grid { latency, sums, factors }
    }
}

const INPUTS: &[&str] = &["a", "b", "c"];

fn expected(operands: &[u64], out: &mut [u64]) -> Class {
    let (a, b, c) = (soft::widen(operands[0] as u16), soft::widen(operands[1] as u16), operands[2] as u32);
    let z = soft::fused(a, b, c);
    assert_eq!(z, soft::add(soft::mul(a, b), c), "an exact product is rounded once either way");
    out[0] = u64::from(z);
    Class::single(z)
}

impl Cases for Grid {
    fn name(&self) -> String {
        format!("grid, adder of {}", self.latency)
    }
    fn count(&self) -> u64 {
        self.sums.len() as u64 * self.factors.len() as u64
    }
    fn latency(&self) -> u64 {
        (PRODUCT_LATENCY + self.latency) as u64
    }
    fn inputs(&self) -> &'static [&'static str] {
        INPUTS
    }
    fn outputs(&self) -> &'static [&'static str] {
        &["z"]
    }
    fn operands(&self, index: u64, out: &mut [u64]) {
        let (a, b) = self.factors[(index / self.sums.len() as u64) as usize];
        (out[0], out[1]) = (a.into(), b.into());
        out[2] = self.sums[(index % self.sums.len() as u64) as usize].into();
    }
    fn expected(&self, operands: &[u64], out: &mut [u64]) -> Class {
        expected(operands, out)
    }
}

/// How a random sum stands to its product.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Nearly opposite: the sum cancels but for a few units in the last place.
    Cancel,
    /// So far above the product that it falls on, or next to, half a unit in the last place.
    Tie,
    /// Anything possible.
    Any,
}

/// Random operands of one kind.
struct Random {
    /// Of the adder.
    latency: usize,
    kind: Kind,
    seed: u64,
    count: u64,
}

impl Cases for Random {
    fn name(&self) -> String {
        format!("{:?}, adder of {}", self.kind, self.latency).to_lowercase()
    }
    fn count(&self) -> u64 {
        self.count
    }
    fn latency(&self) -> u64 {
        (PRODUCT_LATENCY + self.latency) as u64
    }
    fn inputs(&self) -> &'static [&'static str] {
        INPUTS
    }
    fn outputs(&self) -> &'static [&'static str] {
        &["z"]
    }
    fn operands(&self, index: u64, out: &mut [u64]) {
        let stream = self.seed << 2 | self.kind as u64;
        let (r, s) = (grid::random(stream, 2 * index), grid::random(stream, 2 * index + 1));
        let (a, b) = (r as u16, (r >> 16) as u16);
        let product = soft::mul(soft::widen(a), soft::widen(b));
        let exponent = product >> 23 & 255;
        let c = match self.kind {
            Kind::Cancel => (product ^ 1 << 31).wrapping_add((s as u32 & 15).wrapping_sub(8)),
            Kind::Tie => {
                let up = 20 + (s as u32 & 7);
                (s >> 32) as u32 & 0x807f_ffff | (exponent + up).min(HIGHEST) << 23
            }
            Kind::Any => (s >> 32) as u32 & 0x807f_ffff | (LOWEST + s as u32 % (HIGHEST - LOWEST + 1)) << 23,
        };
        (out[0], out[1], out[2]) = (a.into(), b.into(), possible(c).into());
    }
    fn expected(&self, operands: &[u64], out: &mut [u64]) -> Class {
        expected(operands, out)
    }
}

pub fn run(options: &Options) -> Result<Vec<Row>, CampaignError> {
    let mut rows = Vec::new();
    for latency in PSUM_LATENCIES {
        let unit = Unit::build(units::AddUnit::new(latency), &format!("add_unit_{latency}"))?;
        rows.push(check(&unit, &Grid::new(latency), options)?);
        for kind in [Kind::Cancel, Kind::Tie, Kind::Any] {
            let cases = Random { latency, kind, seed: options.seed, count: 50_000_000 };
            rows.push(check(&unit, &cases, options)?);
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_holds_what_the_campaign_promises() {
        let grid = Grid::new(3);
        assert!(grid.count() >= 100_000_000, "{}", grid.count());
        assert!(grid.sums.iter().all(|&s| possible(s) == s));
    }

    #[test]
    fn possible_sums_are_multiples_of_the_smallest_product() {
        for bits in (0..u32::MAX).step_by(99_991) {
            let v = f64::from(f32::from_bits(possible(bits)));
            if v.is_finite() {
                assert_eq!((v * 2f64.powi(48)).fract(), 0.0, "{bits:08x}");
                assert!(v.abs() < 2f64.powi(78));
            }
        }
    }
}
