//! All 2^32 products of two FP16 numbers. Every finite one is exact in FP32, so the reference's rounding never acts.

use crate::campaign::{CampaignError, Cases, Class, Options, Row, Unit, check};
use crate::{soft, units};
use systole_hdl::float::PRODUCT_LATENCY;

/// The product of two FP16 numbers is the FP32 product of their FP32 values.
struct Products {
    wide: Vec<u32>,
}

impl Cases for Products {
    fn name(&self) -> String {
        "product".into()
    }
    fn count(&self) -> u64 {
        1 << 32
    }
    fn latency(&self) -> u64 {
        PRODUCT_LATENCY as u64
    }
    fn inputs(&self) -> &'static [&'static str] {
        &["a", "b"]
    }
    fn outputs(&self) -> &'static [&'static str] {
        &["p"]
    }
    fn operands(&self, index: u64, out: &mut [u64]) {
        (out[0], out[1]) = (index >> 16, index & 0xffff);
    }
    fn expected(&self, operands: &[u64], out: &mut [u64]) -> Class {
        let p = soft::mul(self.wide[operands[0] as usize], self.wide[operands[1] as usize]);
        out[0] = u64::from(p);
        Class::single(p)
    }
    fn read(&self, got: &mut [u64]) {
        // the adder behind the product drops the sign of a NaN; `add` shows that
        if soft::is_nan(got[0] as u32) {
            got[0] &= 0x7fff_ffff;
        }
    }
}

pub fn run(options: &Options) -> Result<Vec<Row>, CampaignError> {
    let unit = Unit::build(units::ProductUnit::default(), "product_unit")?;
    let cases = Products { wide: (0..=u16::MAX).map(soft::widen).collect() };
    Ok(vec![check(&unit, &cases, options)?])
}
