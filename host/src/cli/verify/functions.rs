//! `systole verify functions`: exp, log, reciprocal, square root, tanh and sigmoid, as programs on a device and on the model.
//!
//! The model executes the same programs with the arithmetic of the CPU. How far that is from the truth is another question,
//! which `cargo campaign functions` answers.

use std::time::Instant;

use clap::Args;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use serde::Serialize;
use systole_isa::regs::Space;

use super::table::TableArgs;
use crate::cli::{DeviceArgs, OutputArgs};
use crate::compile::{CompiledFunction, Elementary, TensorPlace, function};
use crate::driver::Device;
use crate::driver::device::DeviceOptions;
use crate::driver::product::{block, upload_program};
use crate::driver::requests::Registers;
use crate::driver::session::deadline;
use crate::error::{Error, Result};

/// Compare exp, log, reciprocal, square root, tanh and sigmoid with the model, bit for bit
///
/// Each as a program that the compiler makes, of all FP16 numbers and of a sample of FP32 numbers in which every range of bit
/// patterns has its share; results in FP32 and rounded to FP16. Exits with 8 at the first difference.
#[derive(Debug, Args)]
pub(in crate::cli) struct FunctionsArgs {
    #[command(flatten)]
    device: DeviceArgs,
    /// FP32 arguments of each function: one by chance of each of so many equal ranges of bit patterns
    #[arg(long, default_value_t = 1 << 14, value_name = "COUNT", allow_negative_numbers = true)]
    sample: u64,
    /// Seed of the sample
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    seed: u64,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl FunctionsArgs {
    pub(super) fn run(self) -> Result<()> {
        let check = FunctionsCheck { halves_every: 1, sample: self.sample, seed: self.seed };
        check.refuse_nothing()?;
        let mut device = Device::open(&self.device.options())?;
        let lanes = device.info.machine.lanes;
        let command = format!(
            "systole verify functions --device {} --lanes {lanes} --sample {} --seed {}",
            self.device.device, self.sample, self.seed
        );
        eprintln!("{command}");
        let rows = verify_functions(&mut device, &check, |row| eprintln!("{}", line(row)))?;
        let design = format!("{:08x}", device.info.design_hash);
        let cells = |r: &FunctionSummary| {
            [
                self.device.device.clone(),
                lanes.to_string(),
                design.clone(),
                r.function.to_string(),
                r.halves.to_string(),
                r.singles.to_string(),
                r.nan.to_string(),
                r.infinite.to_string(),
                // the first difference is an error, and makes no row
                "0".to_string(),
                self.seed.to_string(),
                format!("{:.1}", r.seconds),
            ]
        };
        self.table.add(&COLUMNS, &command, &rows.iter().map(cells).collect::<Vec<_>>())?;
        let report = Report { device: self.device.device, lanes, command, functions: rows };
        self.output.print(&report, |r| {
            let functions: Vec<String> = r.functions.iter().map(line).collect();
            format!("{}\nagain  {}", functions.join("\n"), r.command)
        });
        Ok(())
    }
}

const COLUMNS: [&str; 11] =
    ["device", "lanes", "design", "function", "fp16", "fp32", "nan", "infinite", "differences", "seed", "seconds"];

#[derive(Serialize)]
struct Report {
    device: String,
    lanes: u32,
    command: String,
    functions: Vec<FunctionSummary>,
}

fn line(r: &FunctionSummary) -> String {
    format!(
        "{:<14} {} FP16 and {} FP32 arguments: all results agree ({} NaN, {} infinite)  {:.1} s",
        r.function, r.halves, r.singles, r.nan, r.infinite, r.seconds
    )
}

/// Which arguments to check, for every function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionsCheck {
    /// One FP16 argument in so many; 1: all of them.
    pub halves_every: usize,
    /// FP32 arguments, one of each of so many equal ranges of bit patterns.
    pub sample: u64,
    /// Seed of the sample.
    pub seed: u64,
}

/// What was checked of one function; every result agreed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FunctionSummary {
    /// Its name.
    pub function: &'static str,
    /// FP16 arguments.
    pub halves: u64,
    /// FP32 arguments.
    pub singles: u64,
    /// FP32 results that are NaN.
    pub nan: u64,
    /// FP32 results that are infinite.
    pub infinite: u64,
    /// Seconds of real time.
    pub seconds: f64,
}

/// Arguments of one program.
const CHUNK: u32 = 2048;

impl FunctionsCheck {
    fn refuse_nothing(&self) -> Result<()> {
        match self.sample {
            0 => Err(Error::value("--sample", 0, "without an argument, nothing is checked")),
            n if n > 1 << 32 => Err(Error::value("--sample", n, "there are 2^32 arguments")),
            _ if self.halves_every == 0 => Err(Error::value("the step through FP16", 0, "1 checks every argument")),
            _ => Ok(()),
        }
    }

    /// FP32 arguments `from..to` of the sample, as bits.
    fn singles(&self, from: u64, to: u64) -> Vec<u32> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_word_pos(u128::from(from));
        let range = |i: u64| (u128::from(i) << 32) / u128::from(self.sample);
        let pick = |i: u64| {
            let (low, high) = (range(i) as u64, range(i + 1) as u64);
            (low + (u64::from(rng.next_u32()) * (high - low) >> 32)) as u32
        };
        (from..to).map(pick).collect()
    }
}

/// Runs every function on a device and on the model, and compares; `each` is told of every function that agrees.
///
/// # Errors
/// [`Error::Mismatch`] at the first difference; [`Error::InvalidValue`] for a sample of nothing; what the link says.
pub fn verify_functions(
    device: &mut Device,
    check: &FunctionsCheck,
    mut each: impl FnMut(&FunctionSummary),
) -> Result<Vec<FunctionSummary>> {
    check.refuse_nothing()?;
    let options = DeviceOptions { name: "model".into(), ..DeviceOptions::default() };
    let mut model = Device::open_sized(&options, device.info.machine)?;
    let halves: Vec<u32> = (0..=u16::MAX).step_by(check.halves_every).map(u32::from).collect();
    let mut rows = Vec::new();
    for which in Elementary::ALL {
        let begun = Instant::now();
        let mut row =
            FunctionSummary { function: which.name(), halves: 0, singles: 0, nan: 0, infinite: 0, seconds: 0.0 };
        let mut pair = Pair::upload(which, Space::Hmem, device, &mut model)?;
        for part in halves.chunks(CHUNK as usize) {
            row.halves += pair.compare(part, &mut row)?;
        }
        let mut pair = Pair::upload(which, Space::Smem, device, &mut model)?;
        for from in (0..check.sample).step_by(CHUNK as usize) {
            let part = check.singles(from, (from + u64::from(CHUNK)).min(check.sample));
            row.singles += pair.compare(&part, &mut row)?;
        }
        row.seconds = begun.elapsed().as_secs_f64();
        each(&row);
        rows.push(row);
    }
    Ok(rows)
}

/// A result as bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Value {
    single: u32,
    half: u16,
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x} ({:e}), as FP16 {:04x}", self.single, f32::from_bits(self.single), self.half)
    }
}

/// A device and the model, with the same program in both.
struct Pair<'a> {
    device: &'a mut Device,
    model: &'a mut Device,
    which: Elementary,
    program: CompiledFunction,
}

impl<'a> Pair<'a> {
    /// Uploads the program of `which` for arguments in the memory `arguments`.
    fn upload(which: Elementary, arguments: Space, device: &'a mut Device, model: &'a mut Device) -> Result<Pair<'a>> {
        let program = function(which, CHUNK, arguments, device.info.machine)
            .map_err(|e| Error::from_compiler(which.name(), e))?;
        for device in [&mut *device, &mut *model] {
            device.link.phase("verifying functions");
            upload_program(&mut device.link, &program.program)?;
            device.link.segments(&[(program.segment.addr, program.segment.words)])?;
        }
        Ok(Pair { device, model, which, program })
    }

    /// Compares the results of up to [`CHUNK`] arguments, and returns how many they were.
    fn compare(&mut self, arguments: &[u32], row: &mut FunctionSummary) -> Result<u64> {
        let (found, expected) =
            (apply(self.device, &self.program, arguments)?, apply(self.model, &self.program, arguments)?);
        for ((x, f), e) in arguments.iter().zip(&found).zip(&expected) {
            if f != e {
                let memory = if self.program.input.space == Space::Hmem { "FP16" } else { "FP32" };
                return Err(Error::Mismatch {
                    what: format!("{} of {memory} {x:x}", self.which.name()),
                    found: f.to_string(),
                    expected: e.to_string(),
                });
            }
            let value = f32::from_bits(f.single);
            row.nan += u64::from(value.is_nan());
            row.infinite += u64::from(value.is_infinite());
        }
        Ok(arguments.len() as u64)
    }
}

/// The results of the uploaded program for these arguments, FP16 or FP32 bits. The program's other arguments are what they were.
fn apply(device: &mut Device, f: &CompiledFunction, arguments: &[u32]) -> Result<Vec<Value>> {
    let link = &mut device.link;
    let part = |place: &TensorPlace| block(&TensorPlace { cols: arguments.len() as u32, ..*place });
    let size = f.input.space.element_bytes() as usize;
    let bytes: Vec<u8> = arguments.iter().flat_map(|v| v.to_le_bytes().into_iter().take(size)).collect();
    link.write(part(&f.input), &bytes)?;
    let ticket = link.run(0, deadline(f.predicted.cycles), &Registers::default())?;
    link.run_reply(ticket)?;
    let singles = link.read(part(&f.single))?;
    let halves = link.read(part(&f.half))?;
    let value = |(s, h): (&[u8], &[u8])| Value {
        single: u32::from_le_bytes([s[0], s[1], s[2], s[3]]),
        half: u16::from_le_bytes([h[0], h[1]]),
    };
    Ok(singles.chunks_exact(4).zip(halves.chunks_exact(2)).map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::requests::Block;

    #[test]
    fn a_sample_has_one_argument_in_every_range_whatever_the_pieces() {
        let check = FunctionsCheck { halves_every: 1, sample: 1000, seed: 7 };
        let all = check.singles(0, 1000);
        let range = |x: u32| (u64::from(x) * 1000 + 999) >> 32;
        assert!(all.iter().enumerate().all(|(i, &x)| range(x).abs_diff(i as u64) <= 1), "{all:x?}");
        assert!(all.is_sorted());
        assert_eq!([check.singles(0, 333), check.singles(333, 1000)].concat(), all);
    }

    #[test]
    fn nothing_is_no_pass() {
        let mut model = Device::open(&DeviceOptions { name: "model".into(), ..DeviceOptions::default() }).unwrap();
        for sample in [0, (1 << 32) + 1] {
            let refused = verify_functions(&mut model, &FunctionsCheck { halves_every: 1, sample, seed: 0 }, |_| ());
            assert!(matches!(refused, Err(Error::InvalidValue { .. })));
        }
    }

    #[test]
    fn a_difference_is_named() {
        let open = || Device::open(&DeviceOptions { name: "model".into(), ..DeviceOptions::default() }).unwrap();
        let (mut device, mut model) = (open(), open());
        let mut pair = Pair::upload(Elementary::Exp, Space::Smem, &mut device, &mut model).unwrap();
        // one constant of the device's program is another: a coefficient of the polynomial, which e^0 does not need
        let one = 1f32.to_bits();
        let at = pair.program.program.iter().position(|&w| w == 0.5f32.to_bits()).unwrap();
        let word = Block::line(Space::Program, at as u32, 1);
        pair.device.link.write(word, &0.25f32.to_bits().to_le_bytes()).unwrap();
        let mut row = FunctionSummary { function: "exp", halves: 0, singles: 0, nan: 0, infinite: 0, seconds: 0.0 };
        let difference = pair.compare(&[0, one], &mut row).unwrap_err();
        assert!(matches!(difference, Error::Mismatch { .. }), "{difference}");
        assert!(difference.to_string().contains("exp of FP32 3f800000"), "{difference}");
    }
}
