//! All 2^32 roundings FP32 → FP16 with the flag that a write-back raises, and (in the low half of the same words) every
//! conversion FP16 → FP32, 2^16 times over.

use crate::campaign::{CampaignError, Cases, Class, Options, Row, Unit, check};
use crate::{soft, units};
use systole_hdl::float::TO_HALF_LATENCY;

struct Conversions {
    wide: Vec<u32>,
}

impl Cases for Conversions {
    fn name(&self) -> String {
        "round".into()
    }
    fn count(&self) -> u64 {
        1 << 32
    }
    fn latency(&self) -> u64 {
        TO_HALF_LATENCY as u64
    }
    fn inputs(&self) -> &'static [&'static str] {
        &["single"]
    }
    fn outputs(&self) -> &'static [&'static str] {
        &["half", "nonfinite", "wide"]
    }
    fn operands(&self, index: u64, out: &mut [u64]) {
        out[0] = index;
    }
    fn expected(&self, operands: &[u64], out: &mut [u64]) -> Class {
        let h = soft::narrow(operands[0] as u32);
        let class = Class::half(h);
        out[0] = u64::from(h);
        out[1] = u64::from(matches!(class, Class::Infinite | Class::Nan));
        out[2] = u64::from(self.wide[operands[0] as usize & 0xffff]);
        class
    }
}

pub fn run(options: &Options) -> Result<Vec<Row>, CampaignError> {
    let unit = Unit::build(units::ConvertUnit::default(), "convert_unit")?;
    let cases = Conversions { wide: (0..=u16::MAX).map(soft::widen).collect() };
    Ok(vec![check(&unit, &cases, options)?])
}
