//! Traces of the hardware's signals: the window, the save files, and a product's numbers where the array's drawing says.

use std::collections::BTreeMap;
use std::path::Path;

use systole::compile::GemmSpec;
use systole::driver::Device;
use systole::driver::device::DeviceOptions;
use systole::driver::product::multiply;
use systole::driver::trace::{Span, TraceOptions};
use systole::error::Error;
use systole::npy::{Elements, round_f16};
use systole::run::{Silent, TrainOptions, train};
use systole_hdl::array::{P_IN, p_out};
use systole_sim::rtl::wave::{TOP, Wave, half, partial_sum};
use systole_sim::rtl::{HALF_PERIOD, PERIOD, groups};

/// The smallest array: its simulator is built soonest.
const N: usize = 2;
/// The adder's latency, as the default machine has it.
const L: usize = systole_isa::machine::Machine::DEFAULT.adder_latency as usize;

fn options(path: &Path, span: Span) -> DeviceOptions {
    let trace = Some(TraceOptions { path: path.into(), span });
    DeviceOptions { name: "rtl".into(), lanes: Some(N as u32), trace, ..DeviceOptions::default() }
}

fn open(path: &Path) -> Wave {
    Wave::open(path).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn a_product_is_found_in_the_array() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("product.fst");
    // five rows of four: two tiles along the reduction
    let (m, k, n) = (5usize, 4usize, 2usize);
    let a: Vec<f32> = (0..m * k).map(|i| [1.5, -2.25, 0.1, 700.0, -0.003][i % 5] + i as f32).collect();
    let b: Vec<f32> = (0..k * n).map(|i| [0.75, -1.1, 3.0][i % 3] * (i + 1) as f32).collect();
    let bits = |v: &[f32]| v.iter().map(|&x| round_f16(x)).collect::<Vec<u16>>();
    let (a16, b16) = (bits(&a), bits(&b));
    let mut device = Device::open(&options(&path, Span::Request)).unwrap_or_else(|e| panic!("{e}\n{}", e.help()));
    let spec = GemmSpec { m: m as u32, k: k as u32, n: n as u32, ..GemmSpec::default() };
    let product = multiply(&mut device, spec, &a16, &b16, None).expect("a product");
    // complete while the device runs on
    let mut wave = open(&path);
    drop(device);
    assert_eq!(wave.lanes(), N);

    let value = |bits: u16| half(u64::from(bits));
    // row i of the array meets element k = i, i + N, … of the reduction; its weights are those of column j
    let mut sums: Vec<Vec<f32>> = vec![vec![-0.0; m]; n];
    let mut read = |name: String| wave.samples(&name).unwrap_or_else(|e| panic!("{e}"));
    let valid = read("matrix.array.act_valid_0".into());
    let act = read("matrix.array.act_0".into());
    let begins: Vec<u64> = valid.iter().filter(|(_, v)| **v == 1).map(|(c, _)| *c).collect();
    let (pe_psum, pe_product, pe_out) = (
        read("matrix.array.pe_0.psum".into()),
        read("matrix.array.pe_0.product_p".into()),
        read("matrix.array.pe_0.psum_out".into()),
    );
    let columns: Vec<(BTreeMap<u64, u64>, BTreeMap<u64, u64>)> = (0..n)
        .map(|j| (read(format!("matrix.array.psum_in_{j}")), read(format!("matrix.array.psum_out_{j}"))))
        .collect();
    assert_eq!(begins.len(), m * k / N, "each row of each tile is streamed once");
    for (at, &t) in begins.iter().enumerate() {
        let (tile, row) = (at / m, at % m);
        let x = value(a16[row * k + tile * N]);
        assert_eq!(half(act[&t]), x, "activation of row {row}, tile {tile} in cycle {t}");
        for j in 0..n {
            let before = f32::from_bits(columns[j].0[&(t + (P_IN + j) as u64)] as u32);
            if tile > 0 {
                assert_eq!(before.to_bits(), sums[j][row].to_bits(), "the first tile's sum returns at the top");
            } else {
                assert_eq!(before, 0.0);
            }
            let w = |i: usize| value(b16[(tile * N + i) * n + j]);
            let first = before + x * w(0);
            if j == 0 {
                let meet = t + 1 + P_IN as u64;
                assert_eq!(partial_sum(pe_product[&meet]), x * w(0), "the product in PE (0, 0)");
                assert_eq!(partial_sum(pe_psum[&meet]).to_bits(), before.to_bits(), "the sum from above");
                assert_eq!(partial_sum(pe_out[&(meet + L as u64)]).to_bits(), first.to_bits(), "the sum to below");
            }
            let after = first + value(a16[row * k + tile * N + 1]) * w(1);
            let seen = f32::from_bits(columns[j].1[&(t + (p_out(N, L) + j) as u64)] as u32);
            assert_eq!(seen.to_bits(), after.to_bits(), "column {j}, row {row}, tile {tile}");
            sums[j][row] = after;
        }
    }
    let Elements::F32(out) = &product.out.elements else { panic!("FP32") };
    for row in 0..m {
        for j in 0..n {
            assert_eq!(out[row * n + j].to_bits(), sums[j][row].to_bits(), "the trace ends in what memory holds");
        }
    }

    // the save files name signals that are there
    let wanted = groups(N);
    for (title, signals) in &wanted {
        for signal in signals {
            assert!(wave.width(signal).is_some(), "{title}: no signal {signal}");
        }
    }
    let gtkw = std::fs::read_to_string(path.with_extension("gtkw")).expect("GTKWave's");
    let sucl = std::fs::read_to_string(path.with_extension("sucl")).expect("Surfer's");
    for (title, signals) in &wanted {
        assert!(gtkw.contains(&format!("@800200\n-{title}\n")) && sucl.contains(&format!("divider_add {title}\n")));
        for signal in signals {
            let range = wave.width(signal).filter(|w| *w > 1).map_or(String::new(), |w| format!("[{}:0]", w - 1));
            assert!(gtkw.lines().any(|l| l == format!("{signal}{range}")), "{signal}{range}");
            assert!(sucl.lines().any(|l| l == format!("variable_add {signal}")), "{signal}");
        }
    }
    assert!(wave.signals().count() > 1000 && wanted.iter().all(|(_, s)| s.iter().all(|s| s.starts_with(TOP))));
}

#[test]
fn a_window_of_cycles_is_exact() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("cycles.fst");
    let device = Device::open(&options(&path, Span::Cycles(1000..1100))).expect("a device");
    drop(device);
    let wave = open(&path);
    assert_eq!(wave.cycles(), Some((1000, 1099)));
    let expected: Vec<u64> = (1000 * PERIOD..1100 * PERIOD).step_by(HALF_PERIOD as usize).collect();
    assert_eq!(wave.times(), expected, "two times a cycle, none missing, none beside");

    // a window that never comes leaves nothing behind
    let never = folder.path().join("never.fst");
    drop(Device::open(&options(&never, Span::Cycles(1 << 40..1 << 41))).expect("a device"));
    assert!(!never.exists());
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 3, "a trace and two save files");
}

#[test]
fn steps_are_recorded_whole_and_change_no_weight() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("steps.fst");
    let with = |device: DeviceOptions| TrainOptions {
        device,
        model: "mlp:64-10".into(),
        batch: 256,
        epochs: 1,
        runs: folder.path().into(),
        ..TrainOptions::default()
    };
    let traced = train(&with(options(&path, Span::Steps(3..=4))), &mut Silent).unwrap_or_else(|e| panic!("{e}"));
    let plain = train(
        &with(DeviceOptions { name: "rtl".into(), lanes: Some(N as u32), ..DeviceOptions::default() }),
        &mut Silent,
    )
    .expect("a run");
    // (cycles differ a little: what is recorded is requested step by step)
    assert_eq!(traced.weights_sha256, plain.weights_sha256);
    let cycles = folder.path().join("cycles.fst");
    let by_cycles = train(&with(options(&cycles, Span::Cycles(200_000..200_100))), &mut Silent).expect("a run");
    assert_eq!((by_cycles.weights_sha256, by_cycles.cycles), (plain.weights_sha256, plain.cycles));
    assert!(cycles.exists(), "the window lies within the run");
    let mut wave = open(&path);
    let starts = wave.samples("control.registers.segment_start").expect("a signal");
    let count = starts.values().zip(starts.values().skip(1)).filter(|(a, b)| **a == 0 && **b == 1).count();
    assert_eq!(count, 4, "two steps, each of two segments: compute and update");
}

#[test]
fn what_has_no_signals_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("none.fst");
    for name in ["model", "/dev/ttyUSB7", "tcp:127.0.0.1:1"] {
        let device = DeviceOptions { name: name.into(), ..options(&path, Span::Request) };
        let e = Device::open(&device).expect_err("no signals");
        assert!(matches!(e, Error::InvalidValue { .. }) && e.to_string().contains("--trace-fst"), "{name}: {e}");
        assert!(!path.exists());
    }
    let nowhere = folder.path().join("no/such/folder/t.fst");
    let e = Device::open(&options(&nowhere, Span::Request)).expect_err("no folder");
    assert!(matches!(e, Error::Io { .. }), "{e}");
}
