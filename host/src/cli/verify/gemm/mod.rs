//! `systole verify gemm`: products against plain IEEE arithmetic.
//!
//! The reference here is a loop of three lines and shares nothing with compiler, model or hardware:
//! `acc += f32(a)·f32(b)`, k ascending, from +0, the bias, or the sums of a first instruction.
//!
//! | module | what |
//! |---|---|
//! | `case` | one product: operands, how it is carried out, what must come out |
//! | `window` | a result with what lies around it |

mod case;
mod window;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use serde::Serialize;
use systole_isa::machine::Machine;

use super::table::TableArgs;
use crate::cli::{DeviceArgs, OutputArgs};
use crate::compile::GemmSpec;
use crate::driver::Device;
use crate::error::{Error, Result};
use case::Case;

/// Compare products, bit for bit, with `acc += f32(a)·f32(b)` in order
///
/// Shapes with M, K, N from 1 to --max; A and B plain and transposed; from zero, from a bias, or from sums that an earlier
/// instruction left in the accumulators; with and without ReLU; FP32 and FP16 out. Some come again and again without a wait,
/// some with gaps between their instructions, some are aborted in the middle and run again. The data mix normal and subnormal
/// numbers, ±0, Inf, NaN, and products that cancel exactly. Every element is compared, and so is what
/// lies around and between the rows of the result, which nothing may touch. Exits with 8 at the first difference.
#[derive(Debug, Args)]
pub(in crate::cli) struct GemmArgs {
    #[command(flatten)]
    device: DeviceArgs,
    /// Largest M, K and N
    #[arg(long, default_value_t = 17, value_name = "SIZE", allow_negative_numbers = true)]
    max: u32,
    /// Random cases; the 48 combinations of operands, start, ReLU and output take turns
    #[arg(long, default_value_t = 200, value_name = "COUNT", conflicts_with = "all", allow_negative_numbers = true)]
    sample: u32,
    /// Every shape with every pair of transposes and every start instead; ReLU, output and the rest by chance
    #[arg(long)]
    all: bool,
    /// Seed of cases and data
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    seed: u64,
    /// Simulated devices side by side, each with its share of the cases; their number changes nothing but the time
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl GemmArgs {
    pub(super) fn run(self) -> Result<()> {
        let check = GemmCheck { max: self.max, sample: (!self.all).then_some(self.sample), seed: self.seed };
        check.cases()?;
        if self.jobs > 1 && !matches!(self.device.device.as_str(), "rtl" | "model") {
            return Err(Error::value(
                "--jobs",
                self.jobs,
                "there is one such device; `rtl` and `model` can be several",
            ));
        }
        let options = self.device.options();
        let mut devices = (0..self.jobs).map(|_| Device::open(&options)).collect::<Result<Vec<_>>>()?;
        let lanes = devices[0].info.machine.lanes;
        let command = format!("systole verify gemm --device {} --lanes {lanes} {check}", self.device.device);
        eprintln!("{command}");
        let said = Mutex::new(Instant::now());
        let summary = verify_gemm(&mut devices, &check, &|done, total| {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            if said.elapsed() >= Duration::from_secs(5) {
                *said = Instant::now();
                eprintln!("{done} of {total} cases agree …");
            }
        })?;
        self.table.add(&GemmSummary::COLUMNS, &command, &[summary.row(&self.device.device, &devices[0])])?;
        let report = Report { device: self.device.device, lanes, command, summary };
        self.output.print(&report, text);
        Ok(())
    }
}

#[derive(Serialize)]
struct Report {
    device: String,
    lanes: u32,
    command: String,
    #[serde(flatten)]
    summary: GemmSummary,
}

fn text(r: &Report) -> String {
    let s = &r.summary;
    format!(
        "{} cases on {} ({} lanes): all {} elements and {} guard words agree\n\
         of the cases      {} from kept sums, {} several times in a row, {} aborted and run again\n\
         of the elements   {} NaN, {} infinite, {} subnormal, {} zero\n\
         seed              {}\n\
         took              {:.1} s\n\
         again             {}",
        s.cases,
        r.device,
        r.lanes,
        s.elements,
        s.guards,
        s.cut,
        s.repeated,
        s.stopped,
        s.nan,
        s.infinite,
        s.subnormal,
        s.zero,
        s.seed,
        s.seconds,
        r.command
    )
}

/// Which products to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GemmCheck {
    /// Largest M, K and N.
    pub max: u32,
    /// So many random cases; `None`: every shape with every pair of transposes and every start.
    pub sample: Option<u32>,
    /// Seed of cases and data.
    pub seed: u64,
}

impl std::fmt::Display for GemmCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.sample {
            Some(count) => write!(f, "--max {} --sample {count} --seed {}", self.max, self.seed),
            None => write!(f, "--max {} --all --seed {}", self.max, self.seed),
        }
    }
}

/// Largest size that this check takes.
const MOST: u32 = 128;

impl GemmCheck {
    /// How many cases there are: never zero, which would prove nothing.
    pub fn cases(&self) -> Result<u32> {
        if !(1..=MOST).contains(&self.max) {
            return Err(Error::value("--max", self.max, format!("it must be from 1 to {MOST}")));
        }
        match self.sample {
            Some(0) => Err(Error::value("--sample", 0, "without a case, nothing is checked")),
            Some(count) => Ok(count),
            None => Ok(12 * self.max.pow(3)),
        }
    }

    /// The case with this number.
    fn spec(&self, index: u32, machine: &Machine, rng: &mut ChaCha8Rng) -> GemmSpec {
        let lanes = machine.lanes;
        let (m, k, n, options) = match self.sample {
            Some(_) => {
                let edges = [1, 2, lanes - 1, lanes, lanes + 1, 2 * lanes, 2 * lanes + 1];
                let [m, k, n] = std::array::from_fn(|_| match below(rng, 2) {
                    0 => 1 + below(rng, self.max),
                    _ => edges[below(rng, edges.len() as u32) as usize].clamp(1, self.max),
                });
                (m, k, n, index)
            }
            None => {
                let shape = index / 12;
                let [m, k, n] = [shape / self.max.pow(2), shape / self.max % self.max, shape % self.max].map(|v| v + 1);
                (m, k, n, index % 12 + 12 * below(rng, 4))
            }
        };
        let bit = |of: u32, b: u32| of >> b & 1 == 1;
        let (start, rest) = (options / 4 % 3, options / 12);
        let plain = GemmSpec {
            m,
            k,
            n,
            transpose_a: bit(options, 0),
            transpose_b: bit(options, 1),
            bias: start == 1,
            relu: bit(rest, 0),
            half_out: bit(rest, 1),
            cut: 0,
        };
        // (a single term cannot be cut)
        match start {
            2 if k > 1 && plain.may_be_cut(machine) => GemmSpec { relu: false, cut: 1 + below(rng, k - 1), ..plain },
            _ => plain,
        }
    }
}

/// What was checked; every case agreed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GemmSummary {
    /// Products.
    pub cases: u32,
    /// Products that start from the sums of an earlier instruction.
    pub cut: u32,
    /// Products that were run several times in a row.
    pub repeated: u32,
    /// Products that an abort met while they ran, and that were then run again.
    pub stopped: u32,
    /// Elements compared.
    pub elements: u64,
    /// Words around and between the rows of results compared.
    pub guards: u64,
    /// Elements that are NaN.
    pub nan: u64,
    /// Elements that are infinite.
    pub infinite: u64,
    /// Elements that are subnormal.
    pub subnormal: u64,
    /// Elements that are zero.
    pub zero: u64,
    /// Largest M, K and N.
    pub max: u32,
    /// Seed of cases and data.
    pub seed: u64,
    /// Seconds of real time.
    pub seconds: f64,
}

impl GemmSummary {
    const COLUMNS: [&str; 17] = [
        "device",
        "lanes",
        "design",
        "max",
        "seed",
        "cases",
        "cut",
        "repeated",
        "stopped",
        "elements",
        "guards",
        "nan",
        "infinite",
        "subnormal",
        "zero",
        "differences",
        "seconds",
    ];

    /// Adds what another device has checked.
    fn add(&mut self, other: &GemmSummary) {
        self.cases += other.cases;
        self.cut += other.cut;
        self.repeated += other.repeated;
        self.stopped += other.stopped;
        self.elements += other.elements;
        self.guards += other.guards;
        self.nan += other.nan;
        self.infinite += other.infinite;
        self.subnormal += other.subnormal;
        self.zero += other.zero;
    }

    fn row(&self, name: &str, device: &Device) -> [String; 17] {
        [
            name.to_string(),
            device.info.machine.lanes.to_string(),
            format!("{:08x}", device.info.design_hash),
            self.max.to_string(),
            self.seed.to_string(),
            self.cases.to_string(),
            self.cut.to_string(),
            self.repeated.to_string(),
            self.stopped.to_string(),
            self.elements.to_string(),
            self.guards.to_string(),
            self.nan.to_string(),
            self.infinite.to_string(),
            self.subnormal.to_string(),
            self.zero.to_string(),
            // the first difference is an error, and makes no row
            "0".to_string(),
            format!("{:.1}", self.seconds),
        ]
    }
}

/// Runs all cases, on each device those whose turn it is, one after the other; `each` is told of cases done and cases in all. The
/// first difference that one of them meets is an [`Error::Mismatch`], and the others stop.
pub fn verify_gemm(devices: &mut [Device], check: &GemmCheck, each: &(dyn Fn(u32, u32) + Sync)) -> Result<GemmSummary> {
    let started = Instant::now();
    let total = check.cases()?;
    let (done, failed) = (AtomicU32::new(0), AtomicBool::new(false));
    let count = devices.len();
    let share = |first: usize, device: &mut Device| -> Result<GemmSummary> {
        let machine = device.info.machine;
        let mut summary = GemmSummary::default();
        for index in (first as u32..total).step_by(count) {
            if failed.load(Ordering::Relaxed) {
                break;
            }
            let mut rng = ChaCha8Rng::seed_from_u64(check.seed);
            rng.set_stream(u64::from(index) + 1);
            let case = Case::new(check.spec(index, &machine, &mut rng), &mut rng);
            case.run(device, index, &mut summary).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            summary.cases += 1;
            each(done.fetch_add(1, Ordering::Relaxed) + 1, total);
        }
        Ok(summary)
    };
    let shares: Vec<Result<GemmSummary>> = std::thread::scope(|scope| {
        let spawn = |(first, device)| scope.spawn(move || share(first, device));
        let workers: Vec<_> = devices.iter_mut().enumerate().map(spawn).collect();
        workers.into_iter().map(|w| w.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let mut summary = GemmSummary { max: check.max, seed: check.seed, ..GemmSummary::default() };
    for share in shares {
        summary.add(&share?);
    }
    summary.seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

/// A number below `limit`.
fn below(rng: &mut ChaCha8Rng, limit: u32) -> u32 {
    (u64::from(rng.next_u32()) * u64::from(limit) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::case::{Data, Manner};
    use super::window::{GUARD, Window, cells};
    use super::*;
    use crate::compile::TensorPlace;
    use crate::driver::device::DeviceOptions;
    use systole_isa::operand::Addr;
    use systole_isa::regs::Space;

    fn model() -> Device {
        Device::open(&DeviceOptions { name: "model".into(), ..DeviceOptions::default() }).unwrap()
    }

    #[test]
    fn samples_meet_every_combination_and_every_kind_of_value() {
        let check = GemmCheck { max: 17, sample: Some(192), seed: 5 };
        let s = verify_gemm(&mut [model()], &check, &|_, _| ()).unwrap();
        let shared = verify_gemm(&mut [model(), model(), model()], &check, &|_, _| ()).unwrap();
        assert_eq!(GemmSummary { seconds: s.seconds, ..shared }, s);
        assert_eq!(s.cases, 192);
        assert!(s.cut > 40 && s.repeated > 30, "{s:?}");
        for count in [s.elements, s.guards, s.nan, s.infinite, s.subnormal, s.zero] {
            assert!(count > 100, "{s:?}");
        }
    }

    #[test]
    fn all_means_every_shape_transpose_and_start_once() {
        let check = GemmCheck { max: 3, sample: None, seed: 1 };
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut seen: Vec<_> = (0..check.cases().unwrap())
            .map(|i| (i / 4 % 3, check.spec(i, &Machine::DEFAULT, &mut rng)))
            .inspect(|(start, s)| assert_eq!((*start == 1, *start == 2 && s.k > 1), (s.bias, s.cut > 0)))
            .map(|(start, s)| (s.m, s.k, s.n, s.transpose_a, s.transpose_b, start))
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 12 * 27);
        assert!(seen.iter().all(|&(m, k, n, ..)| [m, k, n].iter().all(|v| (1..=3).contains(v))));
    }

    #[test]
    fn nothing_is_no_pass() {
        assert!(GemmCheck { max: 17, sample: Some(0), seed: 0 }.cases().is_err());
        assert!(GemmCheck { max: 0, sample: None, seed: 0 }.cases().is_err());
    }

    #[test]
    fn the_first_difference_is_named() {
        let spec = GemmSpec { m: 3, k: 2, n: 5, transpose_b: true, ..GemmSpec::default() };
        let case = Case {
            spec,
            data: Data::Moderate,
            a: vec![0x3c00; 6],
            b: vec![0x3c00; 10],
            bias: None,
            manner: Manner::default(),
        };
        assert_eq!(case.expected(), [2.0f32.to_bits(); 15]);
        let out = TensorPlace { space: Space::Smem, addr: Addr::new(0, 100), rows: 3, cols: 5, pitch: 7 };
        let window = Window { space: Space::Smem, addr: Addr::new(0, 90), words: 60 };
        let mut image = vec![GUARD; 60];
        cells(&out).zip(case.expected()).for_each(|(at, v)| window.set(&mut image, at, v));
        let compare = |change: &[usize]| {
            let mut found = image.clone();
            change.iter().for_each(|&i| found[i] ^= 1);
            case.compare(4, &window, &out, &found, &image)
        };
        compare(&[]).unwrap();
        for (change, words) in [
            (
                &[10 + 7 + 2, 10 + 7 + 3][..],
                "case 4, A 3×2 · Bᵀ 2×5, FP32 out, Moderate data, Manner { times: 0, gaps: [], stopped: false }, element (1, 2): the device has 40000001",
            ),
            (&[10 + 5], "the word +5 from the result's first (pitch 7)"),
            (&[9, 10], "the word -1 from"),
            (&[59], "the word +49 from"),
        ] {
            let error = compare(change).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(error.exit_code(), 8);
        }
    }
}
