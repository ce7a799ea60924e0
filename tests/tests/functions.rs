//! exp, log and the others as programs on the hardware, bit by bit with the model.

use systole::cli::verify::{FunctionsCheck, verify_functions};
use systole::compile::Elementary;
use systole::driver::Device;
use systole::driver::device::DeviceOptions;

#[test]
fn a_sample_of_every_function_on_the_hardware() {
    for lanes in [4, 8] {
        let options = DeviceOptions { name: "rtl".into(), lanes: Some(lanes), ..DeviceOptions::default() };
        let mut device = Device::open(&options).unwrap_or_else(|e| panic!("{e}\n{}", e.help()));
        let check = FunctionsCheck { halves_every: 37, sample: 2048, seed: u64::from(lanes) };
        let rows = verify_functions(&mut device, &check, |_| ()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(rows.len(), Elementary::ALL.len());
        for row in &rows {
            assert_eq!((row.halves, row.singles), (65536u64.div_ceil(37), 2048), "{row:?}");
        }
        assert!(rows.iter().any(|r| r.nan > 50) && rows.iter().any(|r| r.infinite > 50), "{rows:?}");
    }
}
