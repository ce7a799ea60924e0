//! Products through the whole stack, bit by bit.

use systole::cli::verify::{GemmCheck, verify_gemm};
use systole::driver::Device;
use systole::driver::device::DeviceOptions;
use systole::error::Error;

fn device(name: &str, lanes: u32) -> Device {
    let options = DeviceOptions { name: name.into(), lanes: Some(lanes), ..DeviceOptions::default() };
    Device::open(&options).unwrap_or_else(|e| panic!("{name}: {e}\n{}", e.help()))
}

#[test]
fn a_sample_of_products_on_the_hardware() {
    for (name, lanes, sample) in [("rtl", 8, 150), ("rtl", 4, 100), ("model", 8, 300), ("model", 16, 100)] {
        let campaign = GemmCheck { max: 17, sample: Some(sample), seed: 20_261_123 };
        println!("{name}, {lanes} lanes, {campaign:?}");
        let s = verify_gemm(&mut [device(name, lanes)], &campaign, &|_, _| ()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(s.cases, sample);
        assert!(
            s.elements > 20 * u64::from(s.cases) && s.guards > s.elements / 10 && s.nan > 50 && s.infinite > 10,
            "{s:?}"
        );
    }
}

#[test]
fn a_campaign_of_nothing_is_refused() {
    let campaign = GemmCheck { max: 17, sample: Some(0), seed: 0 };
    assert!(matches!(verify_gemm(&mut [device("model", 8)], &campaign, &|_, _| ()), Err(Error::InvalidValue { .. })));
}
