//! exp, log, reciprocal, square root, tanh and sigmoid, as the compiler writes them: how far every result is from the truth.
//!
//! The compiled programs run on the model's vector engine, instruction by instruction. Its operations are the hardware's, bit
//! for bit (`cargo campaign vector`), and `systole verify functions` runs the same programs on the whole Verilated machine.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rug::Float;
use serde::Serialize;
use sha2::{Digest, Sha256};
use systole::compile::{CompiledFunction, Elementary, function};
use systole_isa::machine::Machine;
use systole_isa::operand::Addr;
use systole_isa::regs::Space;
use systole_sim::model::exec::Fetcher;
use systole_sim::model::float::widen;
use systole_sim::model::memory::{Bank, Memory};

use crate::campaign::{CampaignError, Options, TableRow, progress};
use crate::grid;
use crate::truth::{HALF, Promise, SINGLE, SLACK, exact, exact_error, promise, quick, quick_error};

/// Arguments of one program.
const CHUNK: usize = 2048;
/// Arguments that a thread takes at once.
const BLOCK: u64 = 1 << 16;
/// One argument by chance of so many has its quick truth checked.
const AUDIT: u64 = 1 << 10;

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub name: String,
    pub arguments: u64,
    #[serde(flatten)]
    pub tally: Tally,
    pub seed: u64,
    pub program_sha256: String,
    pub seconds: f64,
}

/// The largest error and where it was first met.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Worst {
    pub ulp: f64,
    /// Bits of the argument.
    pub at: u32,
}

impl Worst {
    fn meet(&mut self, ulp: f64, at: u32) {
        // (a NaN error is a result that is no number)
        if ulp.is_nan() || ulp > self.ulp || ulp == self.ulp && at < self.at {
            *self = Worst { ulp: if ulp.is_nan() { f64::INFINITY } else { ulp }, at };
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Results that shall be close to the truth.
    pub judged: u64,
    /// Results of which something else is promised.
    pub promised: u64,
    /// Results of which nothing is promised.
    pub unspecified: u64,
    /// Largest error of FP32 results.
    pub single: Worst,
    /// Largest error of FP16 results, in ulp of FP16.
    pub half: Worst,
    /// Judged results that are the truth, correctly rounded (or the other neighbour, in a tie).
    pub nearest: u64,
    /// Judged results more than 1 ulp off.
    pub above_1: u64,
    /// Judged results more than 2 ulp off.
    pub above_2: u64,
    /// Judged results further off than the function's [`Elementary::ULPS`]: failures.
    pub above_limit: u64,
    /// Promises that were not kept: failures.
    pub broken: u64,
}

impl Tally {
    fn close(&mut self, ulp: f64, at: u32) {
        self.judged += 1;
        self.nearest += u64::from(ulp <= 0.5);
        self.above_1 += u64::from(ulp > 1.0);
        self.above_2 += u64::from(ulp.is_nan() || ulp > 2.0);
        self.above_limit += u64::from(ulp.is_nan() || ulp > Elementary::ULPS);
        self.single.meet(ulp, at);
    }

    /// One result.
    fn judge(&mut self, which: Elementary, x: f32, got: u32, promise: Promise, likes: &Likes) {
        match promise {
            Promise::Nothing => self.unspecified += 1,
            Promise::Close => {
                let value = f32::from_bits(got);
                let fast = quick_error(value, quick(which, x.into()));
                let near = |border: f64| (fast - border).abs() <= SLACK;
                // (no function gets by with less than half an ulp: up to there, the largest error needs no exactness)
                let largest = fast > self.single.ulp.max(0.5) - SLACK;
                let doubtful = largest || near(0.5) || near(1.0) || near(2.0) || near(Elementary::ULPS);
                let exactly = || exact_error(value.into(), &exact(which, x), SINGLE);
                self.close(if doubtful && value.is_finite() { exactly() } else { fast }, x.to_bits());
            }
            other => {
                self.promised += 1;
                self.broken += u64::from(!likes.kept(which, other, x, got));
            }
        }
    }

    fn add(&mut self, other: &Tally) {
        self.judged += other.judged;
        self.promised += other.promised;
        self.unspecified += other.unspecified;
        self.nearest += other.nearest;
        self.above_1 += other.above_1;
        self.above_2 += other.above_2;
        self.above_limit += other.above_limit;
        self.broken += other.broken;
        self.single.meet(other.single.ulp, other.single.at);
        self.half.meet(other.half.ulp, other.half.at);
    }
}

impl Row {
    fn new(
        name: String,
        arguments: u64,
        tally: Tally,
        program_sha256: String,
        options: &Options,
        begun: Instant,
    ) -> Row {
        assert_eq!(tally.judged + tally.promised + tally.unspecified, arguments, "every argument is met once");
        Row { name, arguments, tally, seed: options.seed, program_sha256, seconds: begun.elapsed().as_secs_f64() }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = &self.tally;
        let percent = 100.0 * t.nearest as f64 / t.judged as f64;
        write!(
            f,
            "{:<20} {:>10} arguments, {:>10} judged: at most {:.4} ulp, at {:08x} ({:e}); {percent:.2} % nearest; {} above 2 ulp, {} above the limit, \
             {} broken promises  {:.0} s",
            self.name,
            self.arguments,
            t.judged,
            t.single.ulp,
            t.single.at,
            f32::from_bits(t.single.at),
            t.above_2,
            t.above_limit,
            t.broken,
            self.seconds
        )
    }
}

impl TableRow for Row {
    const COLUMNS: &'static str = "name,arguments,judged,promised,unspecified,max_ulp,max_at,max_at_value,nearest,above_1_ulp,\
                                   above_2_ulp,above_limit,broken_promises,max_fp16_ulp,max_fp16_at,seed,program_sha256";
    fn cells(&self) -> String {
        let t = &self.tally;
        let half = if t.half.ulp > 0.0 { format!("{:.4},{:08x}", t.half.ulp, t.half.at) } else { ",".into() };
        format!(
            "\"{}\",{},{},{},{},{:.6},{:08x},{:e},{},{},{},{},{},{half},{},{}",
            self.name,
            self.arguments,
            t.judged,
            t.promised,
            t.unspecified,
            t.single.ulp,
            t.single.at,
            f32::from_bits(t.single.at),
            t.nearest,
            t.above_1,
            t.above_2,
            t.above_limit,
            t.broken,
            self.seed,
            self.program_sha256
        )
    }
    fn differences(&self) -> u64 {
        self.tally.above_limit + self.tally.broken
    }
    fn seconds(&self) -> f64 {
        self.seconds
    }
}

/// A compiled function in a model's memories.
struct Engine {
    memory: Memory,
    fetcher: Fetcher,
    program: CompiledFunction,
}

impl Engine {
    fn new(which: Elementary, arguments: Space) -> Engine {
        let machine = Machine::DEFAULT;
        let program = function(which, CHUNK as u32, arguments, machine).expect("so many arguments fit");
        let mut memory = Memory::new(machine);
        memory.program[..program.program.len()].copy_from_slice(&program.program);
        Engine { memory, fetcher: Fetcher::default(), program }
    }

    fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        self.program.program.iter().for_each(|w| hash.update(w.to_le_bytes()));
        hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The results for up to [`CHUNK`] arguments, FP32 and FP16 bits.
    fn apply(&mut self, arguments: &[u32]) -> (&[u32], &[u16]) {
        let index = |m: &Memory, bank, at: Addr| m.index(bank, at.0).expect("the compiler plans inside the memories");
        let n = arguments.len();
        let input = self.program.input;
        match input.space {
            Space::Hmem => {
                let at = index(&self.memory, Bank::Half, input.addr);
                self.memory.half[at..at + n].iter_mut().zip(arguments).for_each(|(h, &x)| *h = x as u16);
            }
            _ => {
                let at = index(&self.memory, Bank::Single, input.addr);
                self.memory.single[at..at + n].copy_from_slice(arguments);
            }
        }
        self.fetcher.push(self.program.segment.addr, 0);
        self.fetcher.advance(&mut self.memory, u64::MAX);
        assert!(self.fetcher.trapped.is_none() && !self.fetcher.busy(), "compiled programs end");
        let single = index(&self.memory, Bank::Single, self.program.single.addr);
        let half = index(&self.memory, Bank::Half, self.program.half.addr);
        (&self.memory.single[single..single + n], &self.memory.half[half..half + n])
    }
}

/// Results that other results are like.
struct Likes([(f32, u32); 3]);

impl Likes {
    fn new(which: Elementary) -> Likes {
        let mut engine = Engine::new(which, Space::Smem);
        Likes([-87.0, -80.0, 88.3].map(|x: f32| (x, engine.apply(&[x.to_bits()]).0[0])))
    }

    /// Whether a promise other than [`Promise::Close`] is kept for an argument.
    fn kept(&self, which: Elementary, promise: Promise, x: f32, got: u32) -> bool {
        let value = f32::from_bits(got);
        match promise {
            Promise::Close | Promise::Nothing => true,
            Promise::Like(at) => self.0.contains(&(at, got)),
            Promise::Nan => value.is_nan(),
            Promise::NotFinite => !value.is_finite(),
            Promise::Finite => value.is_finite(),
            Promise::NotAbove => {
                let truth = quick(which, x.into());
                value >= 0.0 && (f64::from(value) <= truth || quick_error(value, truth) <= Elementary::ULPS)
            }
        }
    }
}

/// All FP32 arguments, or one in `options.every`.
fn singles(which: Elementary, options: &Options) -> Row {
    let total = (1u64 << 32).div_ceil(options.every);
    let begun = Instant::now();
    let (bar, next, tally) = (progress(which.name(), total), AtomicU64::new(0), Mutex::new(Tally::default()));
    let likes = Likes::new(which);
    let work = || {
        let (mut engine, mut own) = (Engine::new(which, Space::Smem), Tally::default());
        loop {
            let first = next.fetch_add(BLOCK, Ordering::Relaxed);
            if first >= total {
                break;
            }
            let indices: Vec<u64> = (first..(first + BLOCK).min(total)).collect();
            for part in indices.chunks(CHUNK) {
                let arguments: Vec<u32> = part.iter().map(|i| (i * options.every) as u32).collect();
                let results = engine.apply(&arguments).0;
                for ((&index, &bits), &got) in part.iter().zip(&arguments).zip(results) {
                    let x = f32::from_bits(bits);
                    let promise = promise(which, x);
                    own.judge(which, x, got, promise, &likes);
                    if promise == Promise::Close && index % AUDIT == grid::random(options.seed, index / AUDIT) % AUDIT {
                        audit(which, x);
                    }
                }
            }
            bar.inc(indices.len() as u64);
        }
        tally.lock().expect("no thread panics with it").add(&own);
    };
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(work);
        }
    });
    bar.finish_and_clear();
    let (tally, sha256) =
        (tally.into_inner().expect("all threads have ended"), Engine::new(which, Space::Smem).sha256());
    Row::new(which.name().into(), total, tally, sha256, options, begun)
}

/// Checks that the quick truth deserves its trust.
fn audit(which: Elementary, x: f32) {
    let (fast, truth) = (quick(which, x.into()), exact(which, x));
    let off = exact_error(fast, &truth, SINGLE);
    assert!(off <= SLACK, "{} of {x:e} is {truth}, and the C library says {fast}", which.name());
}

/// All FP16 arguments, read as such; results as FP32, and as FP16 against MPFR.
fn halves(which: Elementary, options: &Options) -> Row {
    let begun = Instant::now();
    let (mut engine, likes, mut tally) = (Engine::new(which, Space::Hmem), Likes::new(which), Tally::default());
    let arguments: Vec<u32> = (0..=u32::from(u16::MAX)).collect();
    for part in arguments.chunks(CHUNK) {
        let (singles, halves) = engine.apply(part);
        for ((&h, &got), &rounded) in part.iter().zip(singles).zip(halves) {
            let x = f32::from_bits(widen(h as u16));
            let promise = promise(which, x);
            tally.judge(which, x, got, promise, &likes);
            if promise == Promise::Close {
                tally.half.meet(half_error(rounded, &exact(which, x)), x.to_bits());
            }
        }
    }
    Row::new(format!("{} of FP16", which.name()), arguments.len() as u64, tally, engine.sha256(), options, begun)
}

/// How many ulp of FP16 a result is from the truth; none where both overflow.
fn half_error(got: u16, truth: &Float) -> f64 {
    let value = f32::from_bits(widen(got));
    // from here on, what rounds to FP16 is infinite
    const OVERFLOW: f64 = 65520.0;
    let truth_64 = truth.to_f64();
    match (value.is_infinite(), truth_64.abs() >= OVERFLOW) {
        (true, true) if value.is_sign_negative() == truth_64.is_sign_negative() => 0.0,
        (false, false) => exact_error(value.into(), truth, HALF),
        _ => f64::INFINITY,
    }
}

pub fn run(options: &Options) -> Result<Vec<Row>, CampaignError> {
    options.refuse_nothing()?;
    Ok(Elementary::ALL.into_iter().flat_map(|f| [halves(f, options), singles(f, options)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice() -> Options {
        Options { threads: 1, every: 99_991, seed: 1, out: "nowhere".into(), command: String::new() }
    }

    #[test]
    fn a_slice_is_close_and_every_promise_is_kept() {
        for row in run(&slice()).unwrap() {
            assert_eq!(row.differences(), 0, "{row}");
            assert!(
                row.tally.judged > 1000 && row.tally.single.ulp > 0.5 && row.tally.nearest < row.tally.judged,
                "{row}"
            );
        }
    }

    #[test]
    fn an_error_is_found() {
        let likes = Likes::new(Elementary::Exp);
        let judge = |x: f32, got: f32| {
            let mut tally = Tally::default();
            tally.judge(Elementary::Exp, x, got.to_bits(), promise(Elementary::Exp, x), &likes);
            tally
        };
        let e = 1f32.exp();
        assert_eq!(judge(1.0, e).above_2, 0);
        let off = judge(1.0, f32::from_bits(e.to_bits() + 3));
        assert!(off.above_2 == 1 && off.single.ulp > 2.4 && off.single.at == 1f32.to_bits(), "{off:?}");
        assert_eq!(judge(1.0, f32::NAN).above_2, 1);
        assert_eq!(judge(f32::NAN, 1.0).broken, 1);
        assert_eq!(judge(100.0, 1e38).broken, 1);
    }
}
