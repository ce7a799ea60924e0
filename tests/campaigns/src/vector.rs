//! A lane of the vector engine: multiply, add, multiply-add, min, max, selects, comparisons, each with FP32 and FP16 results
//! and their flags, with full IEEE subnormals; and the scaled load of FP16.

use crate::campaign::{CampaignError, Cases, Class, Options, Row, Unit, check};
use crate::grid::{self, EXPONENTS, SPECIALS};
use crate::{soft, units};

const ONE: u32 = 0x3f80_0000;
const MINUS_ZERO: u32 = 1 << 31;

/// What a lane is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    /// `Mad` with z = −0.
    Multiply,
    /// `Mad` with y = 1.
    Add,
    /// `Mad`, rounded twice.
    MultiplyAdd,
    Max,
    Min,
    SelectNegative,
    SelectPositive,
    GreaterEqual,
    Equal,
}

impl Operation {
    const PAIRS: [Operation; 8] = [
        Operation::Multiply,
        Operation::Add,
        Operation::Max,
        Operation::Min,
        Operation::SelectNegative,
        Operation::SelectPositive,
        Operation::GreaterEqual,
        Operation::Equal,
    ];

    /// As instructions encode it.
    fn code(self) -> u64 {
        match self {
            Operation::Multiply | Operation::Add | Operation::MultiplyAdd => 0,
            Operation::Max => 1,
            Operation::Min => 2,
            Operation::SelectNegative => 3,
            Operation::SelectPositive => 4,
            Operation::GreaterEqual => 5,
            Operation::Equal => 6,
        }
    }

    /// x, y, z from two values and a third.
    fn place(self, u: u32, v: u32, w: u32) -> [u32; 3] {
        match self {
            Operation::Multiply => [u, v, MINUS_ZERO],
            Operation::Add => [u, ONE, v],
            _ => [u, v, w],
        }
    }

    /// The order of numbers with −0 before +0, by SoftFloat's comparison and the sign.
    fn precedes(x: u32, y: u32) -> bool {
        if soft::equal(x, y) { x >> 31 > y >> 31 } else { soft::less(x, y) }
    }

    fn reference(self, [x, y, z]: [u32; 3]) -> u32 {
        let nan = soft::is_nan(x) || soft::is_nan(y);
        let truth = |b: bool| if b { ONE } else { 0 };
        match self {
            Operation::Multiply | Operation::Add | Operation::MultiplyAdd => soft::add(soft::mul(x, y), z),
            Operation::Max | Operation::Min if nan => soft::NAN32,
            Operation::Max => {
                if Self::precedes(x, y) {
                    y
                } else {
                    x
                }
            }
            Operation::Min => {
                if Self::precedes(x, y) {
                    x
                } else {
                    y
                }
            }
            Operation::SelectNegative => {
                if x >> 31 == 1 {
                    y
                } else {
                    z
                }
            }
            Operation::SelectPositive => {
                if soft::less(0, x) {
                    y
                } else {
                    z
                }
            }
            Operation::GreaterEqual => truth(soft::less(y, x) || soft::equal(x, y)),
            Operation::Equal => truth(soft::equal(x, y)),
        }
    }
}

const INPUTS: &[&str] = &["x", "y", "z", "op", "kind", "exp"];
const OUTPUTS: &[&str] = &["single", "single_bad", "half", "half_bad"];

fn results(d: u32, out: &mut [u64]) -> Class {
    let class = Class::single(d);
    let h = soft::narrow(d);
    out[0] = u64::from(d);
    out[1] = u64::from(matches!(class, Class::Infinite | Class::Nan));
    out[2] = u64::from(h);
    out[3] = u64::from(matches!(Class::half(h), Class::Infinite | Class::Nan));
    class
}

/// Every pair of a grid.
struct Pairs<'a> {
    operation: Operation,
    values: &'a [u32],
}

impl Cases for Pairs<'_> {
    fn name(&self) -> String {
        format!("{:?}", self.operation)
    }
    fn count(&self) -> u64 {
        (self.values.len() as u64).pow(2)
    }
    fn latency(&self) -> u64 {
        units::LANE_UNIT_LATENCY as u64
    }
    fn inputs(&self) -> &'static [&'static str] {
        INPUTS
    }
    fn outputs(&self) -> &'static [&'static str] {
        OUTPUTS
    }
    fn operands(&self, index: u64, out: &mut [u64]) {
        let n = self.values.len() as u64;
        let (u, v) = (self.values[(index / n) as usize], self.values[(index % n) as usize]);
        let [x, y, z] = self.operation.place(u, v, u ^ 0x1234_5678);
        (out[0], out[1], out[2]) = (x.into(), y.into(), z.into());
        (out[3], out[4], out[5]) = (self.operation.code(), 1, 0);
    }
    fn expected(&self, operands: &[u64], out: &mut [u64]) -> Class {
        results(self.operation.reference([operands[0] as u32, operands[1] as u32, operands[2] as u32]), out)
    }
}

/// Random triples from the grid: half of them with a z that nearly cancels the product.
struct Triples<'a> {
    values: &'a [u32],
    seed: u64,
}

impl Cases for Triples<'_> {
    fn name(&self) -> String {
        format!("{:?}", Operation::MultiplyAdd)
    }
    fn count(&self) -> u64 {
        50_000_000
    }
    fn latency(&self) -> u64 {
        units::LANE_UNIT_LATENCY as u64
    }
    fn inputs(&self) -> &'static [&'static str] {
        INPUTS
    }
    fn outputs(&self) -> &'static [&'static str] {
        OUTPUTS
    }
    fn operands(&self, index: u64, out: &mut [u64]) {
        let (r, s) = (grid::random(self.seed, 2 * index), grid::random(self.seed, 2 * index + 1));
        let pick = |r: u64| self.values[(r % self.values.len() as u64) as usize];
        let (x, y) = (pick(r), pick(r >> 32));
        let z =
            if s & 1 == 0 { pick(s >> 32) } else { (soft::mul(x, y) ^ MINUS_ZERO).wrapping_add((s >> 32) as u32 % 9) };
        (out[0], out[1], out[2]) = (x.into(), y.into(), z.into());
        (out[3], out[4], out[5]) = (0, 1, 0);
    }
    fn expected(&self, operands: &[u64], out: &mut [u64]) -> Class {
        results(Operation::MultiplyAdd.reference([operands[0] as u32, operands[1] as u32, operands[2] as u32]), out)
    }
}

/// Every FP16 number loaded with every exponent that firmware may set (±100), where the result is zero, special or normal:
/// the operation is defined there only.
struct Loads;

const EXPONENT_LIMIT: i64 = 100;

impl Cases for Loads {
    fn name(&self) -> String {
        "ScaledLoad".into()
    }
    fn count(&self) -> u64 {
        (2 * EXPONENT_LIMIT as u64 + 1) << 16
    }
    fn latency(&self) -> u64 {
        units::LANE_UNIT_LATENCY as u64
    }
    fn inputs(&self) -> &'static [&'static str] {
        INPUTS
    }
    fn outputs(&self) -> &'static [&'static str] {
        OUTPUTS
    }
    fn operands(&self, index: u64, out: &mut [u64]) {
        let (h, e) = (index & 0xffff, (index >> 16) as i64 - EXPONENT_LIMIT);
        (out[0], out[1], out[2]) = (h, ONE.into(), MINUS_ZERO.into());
        (out[3], out[4], out[5]) = (0, 0, e as u64 & 0xff);
    }
    fn expected(&self, operands: &[u64], out: &mut [u64]) -> Class {
        let power = ((127 + i32::from(operands[5] as u8 as i8)) as u32) << 23;
        results(soft::mul(soft::widen(operands[0] as u16), power), out)
    }
}

pub fn run(options: &Options) -> Result<Vec<Row>, CampaignError> {
    let unit = Unit::build(units::LaneUnit::default(), "lane_unit")?;
    let mut values = grid::singles(EXPONENTS, &grid::fractions(1));
    values.extend(SPECIALS);
    values.sort_unstable();
    values.dedup();
    let mut rows = Vec::new();
    for operation in Operation::PAIRS {
        rows.push(check(&unit, &Pairs { operation, values: &values }, options)?);
    }
    rows.push(check(&unit, &Triples { values: &values, seed: options.seed }, options)?);
    rows.push(check(&unit, &Loads, options)?);
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_grid_holds_ten_million_cases() {
        let values = grid::singles(EXPONENTS, &grid::fractions(1));
        assert!(Pairs { operation: Operation::Add, values: &values }.count() >= 10_000_000);
    }
}
