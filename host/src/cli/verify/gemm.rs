//! `systole verify gemm`: products against plain IEEE arithmetic.
//!
//! The reference here is a loop of three lines and shares nothing with compiler, model or hardware:
//! `acc += f32(a)·f32(b)`, k ascending, from +0 or the bias.

use std::time::{Duration, Instant};

use clap::Args;
use half::f16;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use serde::Serialize;
use systole_isa::operand::Addr;
use systole_isa::regs::Space;

use super::table::TableArgs;
use crate::cli::{DeviceArgs, OutputArgs};
use crate::compile::{GemmSpec, TensorPlace};
use crate::driver::Device;
use crate::driver::product::{block, compile, upload_program};
use crate::driver::requests::{Block, Registers};
use crate::driver::session::deadline;
use crate::error::{Error, Result};

/// Compare products, bit for bit, with `acc += f32(a)·f32(b)` in order
///
/// Shapes with M, K, N from 1 to --max; A and B plain and transposed; with and without bias and ReLU; FP32 and FP16 out. The data
/// mix normal and subnormal numbers, ±0, Inf, NaN, and products that cancel exactly. Every element is compared, and so is what
/// lies around and between the rows of the result, which nothing may touch. Exits with 8 at the first difference.
#[derive(Debug, Args)]
pub(in crate::cli) struct GemmArgs {
    #[command(flatten)]
    device: DeviceArgs,
    /// Largest M, K and N
    #[arg(long, default_value_t = 17, value_name = "SIZE", allow_negative_numbers = true)]
    max: u32,
    /// Random cases; the 32 combinations of operands, bias, ReLU and output take turns
    #[arg(long, default_value_t = 200, value_name = "COUNT", conflicts_with = "all", allow_negative_numbers = true)]
    sample: u32,
    /// Every shape with every pair of transposes instead; bias, ReLU and output by chance
    #[arg(long)]
    all: bool,
    /// Seed of cases and data
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    seed: u64,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl GemmArgs {
    pub(super) fn run(self) -> Result<()> {
        let check = GemmCheck { max: self.max, sample: (!self.all).then_some(self.sample), seed: self.seed };
        check.cases()?;
        let mut device = Device::open(&self.device.options())?;
        let lanes = device.info.machine.lanes;
        let command = format!("systole verify gemm --device {} --lanes {lanes} {check}", self.device.device);
        eprintln!("{command}");
        let mut said = Instant::now();
        let summary = verify_gemm(&mut device, &check, |done, total| {
            if said.elapsed() >= Duration::from_secs(5) {
                said = Instant::now();
                eprintln!("{done} of {total} cases agree …");
            }
        })?;
        self.table.add(&GemmSummary::COLUMNS, &command, &[summary.row(&self.device.device, &device)])?;
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
         of the elements   {} NaN, {} infinite, {} subnormal, {} zero\n\
         seed              {}\n\
         took              {:.1} s\n\
         again             {}",
        s.cases,
        r.device,
        r.lanes,
        s.elements,
        s.guards,
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
    /// So many random cases; `None`: every shape with every pair of transposes.
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
            None => Ok(4 * self.max.pow(3)),
        }
    }

    /// The case with this number.
    fn spec(&self, index: u32, lanes: u32, rng: &mut ChaCha8Rng) -> GemmSpec {
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
                let shape = index / 4;
                let [m, k, n] = [shape / self.max.pow(2), shape / self.max % self.max, shape % self.max].map(|v| v + 1);
                (m, k, n, index % 4 + 4 * below(rng, 8))
            }
        };
        let bit = |b: u32| options >> b & 1 == 1;
        GemmSpec { m, k, n, transpose_a: bit(0), transpose_b: bit(1), bias: bit(2), relu: bit(3), half_out: bit(4) }
    }
}

/// What was checked; every case agreed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GemmSummary {
    /// Products.
    pub cases: u32,
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
    const COLUMNS: [&str; 12] = [
        "device",
        "lanes",
        "design",
        "max",
        "seed",
        "cases",
        "elements",
        "guards",
        "nan",
        "infinite",
        "subnormal",
        "zero",
    ];

    fn row(&self, name: &str, device: &Device) -> Vec<String> {
        let info = &device.info;
        let facts = [name.into(), info.machine.lanes.to_string(), format!("{:08x}", info.design_hash)];
        let counts = [self.elements, self.guards, self.nan, self.infinite, self.subnormal, self.zero];
        let sizes = [self.max.to_string(), self.seed.to_string(), self.cases.to_string()];
        facts.into_iter().chain(sizes).chain(counts.map(|n| n.to_string())).collect()
    }
}

/// Runs all cases on one device, one after the other; `each` is told of cases done and cases in all. The first difference is an
/// [`Error::Mismatch`].
pub fn verify_gemm(device: &mut Device, check: &GemmCheck, mut each: impl FnMut(u32, u32)) -> Result<GemmSummary> {
    let started = Instant::now();
    let total = check.cases()?;
    let lanes = device.info.machine.lanes;
    let mut summary = GemmSummary { max: check.max, seed: check.seed, ..GemmSummary::default() };
    for index in 0..total {
        let mut rng = ChaCha8Rng::seed_from_u64(check.seed);
        rng.set_stream(u64::from(index) + 1);
        let case = Case::new(check.spec(index, lanes, &mut rng), &mut rng);
        case.run(device, index, &mut summary)?;
        summary.cases += 1;
        each(summary.cases, total);
    }
    summary.seconds = started.elapsed().as_secs_f64();
    Ok(summary)
}

/// A number below `limit`.
fn below(rng: &mut ChaCha8Rng, limit: u32) -> u32 {
    (u64::from(rng.next_u32()) * u64::from(limit) >> 32) as u32
}

/// What the operands of a case are like.
#[derive(Clone, Copy, Debug)]
enum Data {
    /// Normal numbers near one.
    Moderate,
    /// Every exponent, finite.
    Wide,
    /// Subnormals, zeros of both signs, and numbers small enough that products stay tiny.
    Tiny,
    /// Every second product is the exact opposite of the one before.
    Cancelling,
    /// Large numbers, a few Inf and NaN.
    Rare,
    /// Any bits, one in sixteen Inf or NaN.
    Wild,
}

impl Data {
    const ALL: [Data; 6] = [Data::Moderate, Data::Wide, Data::Tiny, Data::Cancelling, Data::Rare, Data::Wild];

    fn value(self, rng: &mut ChaCha8Rng) -> u16 {
        let bits = rng.next_u32();
        let (sign, fraction, zero) = (bits as u16 & 0x8000, bits as u16 & 0x3ff, bits >> 28 == 0);
        // exponents first..first + count
        let mut normal = |first: u32, count: u32| sign | ((first + below(rng, count)) << 10) as u16 | fraction;
        match self {
            Data::Moderate | Data::Cancelling => normal(12, 6),
            _ if zero => sign,
            Data::Wide => normal(0, 31),
            Data::Tiny => normal(0, 3),
            Data::Rare => match bits >> 16 & 0x7f {
                0 => sign | 0x7c00,
                1 => sign | 0x7c01 | fraction,
                _ => normal(20, 11),
            },
            Data::Wild => match bits >> 16 & 0x1f {
                0 => sign | 0x7c00,
                1 => sign | 0x7c01 | fraction,
                _ => normal(0, 31),
            },
        }
    }
}

/// One product: FP16 operands, row-major and not transposed.
struct Case {
    spec: GemmSpec,
    data: Data,
    a: Vec<u16>,
    b: Vec<u16>,
    bias: Option<Vec<u16>>,
}

/// Words before and behind a result that are watched.
const MARGIN: u32 = 40;
/// What memory holds where nothing was written.
const GUARD: u32 = 0xa5c3_5a3d;

impl Case {
    fn new(spec: GemmSpec, rng: &mut ChaCha8Rng) -> Case {
        let GemmSpec { m, k, n, .. } = spec;
        let data = Data::ALL[below(rng, Data::ALL.len() as u32) as usize];
        let mut values = |count: u32| -> Vec<u16> { (0..count).map(|_| data.value(rng)).collect() };
        let (mut a, mut b) = (values(m * k), values(k * n));
        let bias = spec.bias.then(|| values(n));
        if matches!(data, Data::Cancelling) {
            let (m, k, n) = (m as usize, k as usize, n as usize);
            for odd in (1..k).step_by(2) {
                (0..m).for_each(|i| a[i * k + odd] = a[i * k + odd - 1] ^ 0x8000);
                b.copy_within((odd - 1) * n..odd * n, odd * n);
            }
        }
        Case { spec, data, a, b, bias }
    }

    /// The result as bits.
    fn expected(&self) -> Vec<u32> {
        let (m, k, n) = (self.spec.m as usize, self.spec.k as usize, self.spec.n as usize);
        let wide = |bits: u16| f16::from_bits(bits).to_f32();
        let mut out = Vec::with_capacity(m * n);
        for i in 0..m {
            for j in 0..n {
                let mut acc = self.bias.as_ref().map_or(0.0, |bias| wide(bias[j]));
                for p in 0..k {
                    acc += wide(self.a[i * k + p]) * wide(self.b[p * n + j]);
                }
                if self.spec.relu && acc <= 0.0 {
                    acc = 0.0;
                }
                out.push(match (self.spec.half_out, acc.is_nan()) {
                    (false, false) => acc.to_bits(),
                    (false, true) => 0x7fc0_0000,
                    (true, false) => u32::from(f16::from_f32(acc).to_bits()),
                    (true, true) => 0x7e00,
                });
            }
        }
        out
    }

    fn run(&self, device: &mut Device, index: u32, summary: &mut GemmSummary) -> Result<()> {
        let c = compile(self.spec, device)?;
        let stored = |data: &[u16], rows: u32, columns: u32, transposed: bool| {
            let (rows, columns) = (rows as usize, columns as usize);
            match transposed {
                false => data.to_vec(),
                true => (0..columns).flat_map(|j| (0..rows).map(move |i| data[i * columns + j])).collect(),
            }
        };
        let GemmSpec { m, k, n, .. } = self.spec;
        let mut operands = vec![
            (c.a, stored(&self.a, m, k, self.spec.transpose_a)),
            (c.b, stored(&self.b, k, n, self.spec.transpose_b)),
        ];
        operands.extend(c.bias.zip(self.bias.clone()));

        // what memory must hold afterwards: guards, operands, result
        let window = Window::around(&c.out, device);
        let mut image = vec![window.guard(); window.words as usize];
        for (place, data) in &operands {
            let same_plane = place.space == window.space && place.addr.plane() == window.addr.plane();
            let values = data.iter().map(|&v| u32::from(v));
            cells(place).zip(values).filter(|_| same_plane).for_each(|(at, v)| window.set(&mut image, at, v));
        }
        let expected = self.expected();
        cells(&c.out).zip(&expected).for_each(|(at, &v)| window.set(&mut image, at, v));

        let link = &mut device.link;
        link.phase("verifying products");
        link.fill(window.block(), window.guard())?;
        upload_program(link, &c.program)?;
        for (place, data) in &operands {
            link.write(block(place), &data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())?;
        }
        link.segments(&c.segments.iter().map(|s| (s.addr, s.words)).collect::<Vec<_>>())?;
        link.drain()?;
        let ticket = link.run(0, deadline(c.predicted.cycles), &Registers::default())?;
        link.run_reply(ticket)?;
        let found = window.parse(&link.read(window.block())?);

        self.compare(index, &window, &c.out, &found, &image)?;
        summary.elements += expected.len() as u64;
        summary.guards += image.len() as u64 - expected.len() as u64;
        for bits in expected {
            let kind = if self.spec.half_out {
                f16::from_bits(bits as u16).classify()
            } else {
                f32::from_bits(bits).classify()
            };
            match kind {
                std::num::FpCategory::Nan => summary.nan += 1,
                std::num::FpCategory::Infinite => summary.infinite += 1,
                std::num::FpCategory::Subnormal => summary.subnormal += 1,
                std::num::FpCategory::Zero => summary.zero += 1,
                std::num::FpCategory::Normal => {}
            }
        }
        Ok(())
    }

    /// The first difference as an error.
    fn compare(&self, index: u32, window: &Window, out: &TensorPlace, found: &[u32], image: &[u32]) -> Result<()> {
        assert_eq!(found.len(), image.len(), "a read returns what was asked for");
        match (0..image.len()).find(|&i| found[i] != image[i]) {
            None => Ok(()),
            Some(first) => Err(Error::Mismatch {
                what: self.describe(index, &window.name(first, out)),
                found: window.show(found[first]),
                expected: window.show(image[first]),
            }),
        }
    }

    fn describe(&self, index: u32, place: &str) -> String {
        let s = &self.spec;
        let t = |transposed: bool| if transposed { "ᵀ" } else { "" };
        let mut text =
            format!("case {index}, A{} {}×{} · B{} {}×{}", t(s.transpose_a), s.m, s.k, t(s.transpose_b), s.k, s.n);
        for (on, word) in [(s.bias, "bias"), (s.relu, "ReLU"), (s.half_out, "FP16 out"), (!s.half_out, "FP32 out")] {
            if on {
                text += &format!(", {word}");
            }
        }
        text + &format!(", {:?} data, {place}", self.data)
    }
}

/// Offsets of a tensor's elements within their plane, in row-major order.
fn cells(place: &TensorPlace) -> impl Iterator<Item = u32> {
    let (start, pitch, cols) = (place.addr.offset(), place.pitch, place.cols);
    (0..place.rows).flat_map(move |r| (0..cols).map(move |c| start + r * pitch + c))
}

/// A result with what lies around it.
struct Window {
    space: Space,
    addr: Addr,
    words: u32,
}

impl Window {
    fn around(out: &TensorPlace, device: &Device) -> Window {
        let machine = device.info.machine;
        let plane = if out.space == Space::Smem { machine.smem_words / 2 } else { machine.hmem_words / 2 };
        let first = out.addr.offset().saturating_sub(MARGIN);
        let end = out.addr.offset() + (out.rows - 1) * out.pitch + out.cols + MARGIN;
        Window { space: out.space, addr: Addr::new(out.addr.plane(), first), words: end.min(plane) - first }
    }

    fn block(&self) -> Block {
        Block::line(self.space, self.addr.0, self.words)
    }

    /// The guard pattern as an element.
    fn guard(&self) -> u32 {
        if self.space == Space::Smem { GUARD } else { GUARD & 0xffff }
    }

    fn set(&self, image: &mut [u32], offset: u32, value: u32) {
        let at = offset.checked_sub(self.addr.offset()).and_then(|i| image.get_mut(i as usize));
        if let Some(cell) = at {
            *cell = value;
        }
    }

    fn parse(&self, bytes: &[u8]) -> Vec<u32> {
        let element = |b: &[u8]| b.iter().rev().fold(0, |v, &byte| v << 8 | u32::from(byte));
        bytes.chunks_exact(self.space.element_bytes() as usize).map(element).collect()
    }

    /// Where the word at `index` lies, seen from the result.
    fn name(&self, index: usize, out: &TensorPlace) -> String {
        let offset = self.addr.offset() + index as u32;
        let element = cells(out).position(|at| at == offset);
        match element {
            Some(i) => format!("element ({}, {})", i / out.cols as usize, i % out.cols as usize),
            None => {
                let away = i64::from(offset) - i64::from(out.addr.offset());
                format!(
                    "the word {away:+} from the result's first (pitch {}), which is none of its elements",
                    out.pitch
                )
            }
        }
    }

    fn show(&self, bits: u32) -> String {
        match self.space {
            Space::Smem => format!("{bits:08x} ({:e})", f32::from_bits(bits)),
            _ => format!("{bits:04x} ({:e})", f16::from_bits(bits as u16).to_f32()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::device::DeviceOptions;

    fn model() -> Device {
        Device::open(&DeviceOptions { name: "model".into(), ..DeviceOptions::default() }).unwrap()
    }

    #[test]
    fn samples_meet_every_combination_and_every_kind_of_value() {
        let check = GemmCheck { max: 17, sample: Some(192), seed: 5 };
        let s = verify_gemm(&mut model(), &check, |_, _| ()).unwrap();
        assert_eq!(s.cases, 192);
        for count in [s.elements, s.guards, s.nan, s.infinite, s.subnormal, s.zero] {
            assert!(count > 100, "{s:?}");
        }
    }

    #[test]
    fn all_means_every_shape_and_transpose_once() {
        let check = GemmCheck { max: 3, sample: None, seed: 1 };
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut seen: Vec<_> = (0..check.cases().unwrap())
            .map(|i| check.spec(i, 8, &mut rng))
            .map(|s| (s.m, s.k, s.n, s.transpose_a, s.transpose_b))
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 4 * 27);
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
        let case = Case { spec, data: Data::Moderate, a: vec![0x3c00; 6], b: vec![0x3c00; 10], bias: None };
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
                "case 4, A 3×2 · Bᵀ 2×5, FP32 out, Moderate data, element (1, 2): the device has 40000001",
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
