//! Training over a bad line gives the same bits as over a good one.

use systole::driver::Device;
use systole::driver::device::DeviceKind;
use systole::driver::faults::{FaultPort, Faults};
use systole::run::{Silent, TrainOptions, TrainReport, train_on};
use systole_isa::machine::Machine;
use systole_sim::Model;

fn train(faults: Faults, seed: u64, runs: &std::path::Path) -> (TrainReport, u64, u64) {
    let model = Model::new(Machine::DEFAULT).unwrap();
    let port = FaultPort::new(model, faults, seed);
    let made = port.made();
    let device = Device::on_port(Box::new(port), DeviceKind::Model).unwrap();
    let mut options = TrainOptions { epochs: 1, seed: 7, runs: runs.into(), ..TrainOptions::default() };
    options.device.name = "model".into();
    let report = train_on(device, &options, &mut Silent).unwrap();
    let lines = std::fs::read_to_string(std::path::Path::new(&report.run_dir).join("metrics.csv")).unwrap();
    let mut hash = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(&lines, &mut hash);
    (report, std::hash::Hasher::finish(&hash), made.load(std::sync::atomic::Ordering::Relaxed))
}

#[test]
fn the_same_bits_over_a_bad_line() {
    let dir = tempfile::tempdir().unwrap();
    let (clean, clean_steps, none) = train(Faults::default(), 0, dir.path());
    assert_eq!(none, 0);
    let only = |f: fn(&mut Faults)| {
        let mut faults = Faults::default();
        f(&mut faults);
        faults
    };
    let lines = [
        ("everything", Faults::all(20)),
        ("lost frames", only(|f| f.drop_frame = 100)),
        ("duplicated frames", only(|f| f.duplicate_frame = 200)),
        ("flipped bits", only(|f| f.flip_bit = 100)),
        ("lost bytes", only(|f| f.drop_byte = 100)),
        ("duplicated bytes", only(|f| f.duplicate_byte = 100)),
        ("bursts", only(|f| f.burst = 100)),
        ("noise", only(|f| f.noise = 100)),
    ];
    for (what, faults) in lines {
        for seed in 1..=2 {
            let (report, steps, made) = train(faults, seed, dir.path());
            assert!(made > 20, "{what}: only {made} faults");
            assert_eq!(report.weights_sha256, clean.weights_sha256, "{what}, seed {seed}");
            assert_eq!(steps, clean_steps, "{what}, seed {seed}");
            assert_eq!(report.test_accuracy, clean.test_accuracy, "{what}, seed {seed}");
        }
    }
}
