//! One product: its operands, how it is carried out, and what must come out.

use half::f16;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore as _;
use systole_isa::frame::ErrorCode;
use systole_isa::instr::{Control, ENGINE_WORDS, Instr};

use super::window::{Window, cells};
use super::{GemmSummary, below};
use crate::compile::{GemmSpec, TensorPlace};
use crate::driver::product::{block, compile, upload_program};
use crate::driver::requests::Registers;
use crate::driver::session::deadline;
use crate::driver::{Device, Link};
use crate::error::{Error, Result};

/// What the operands of a case are like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data {
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

/// How a product is carried out.
#[derive(Clone, Debug, Default)]
pub(super) struct Manner {
    /// So many times in a row, with nothing in between that waits; at least 1.
    pub(super) times: u32,
    /// `Nop`s before the product's instructions, in turns; none where empty.
    pub(super) gaps: Vec<u32>,
    /// It is aborted first, wherever it then is, and run again.
    pub(super) stopped: bool,
}

impl Manner {
    /// Mostly once and at once; sometimes again and again, with gaps, or stopped.
    fn any(rng: &mut ChaCha8Rng) -> Manner {
        let stopped = below(rng, 16) == 0;
        let times = match below(rng, 4) {
            // long enough for the abort to meet it
            _ if stopped => 8 + below(rng, 24),
            0 => 2 + below(rng, 2),
            _ => 1,
        };
        let gaps = if below(rng, 2) == 0 { (0..4).map(|_| below(rng, 16)).collect() } else { Vec::new() };
        Manner { times, gaps, stopped }
    }

    /// The program of a product in this manner; fewer times where no more fit into `room` words.
    fn program(&self, once: &[u32], room: usize) -> Vec<u32> {
        let (instructions, end) = once.as_chunks::<ENGINE_WORDS>();
        let nop = Instr::Control(Control::Nop).encode();
        let mut gaps = self.gaps.iter().cycle();
        let mut program = Vec::new();
        for i in 0..self.times {
            let mut again = Vec::new();
            for instruction in instructions {
                (0..gaps.next().copied().unwrap_or(0)).for_each(|_| again.extend_from_slice(&nop));
                again.extend_from_slice(instruction);
            }
            if i > 0 && program.len() + again.len() + end.len() > room {
                break;
            }
            program.extend(again);
        }
        program.extend_from_slice(end);
        program
    }
}

/// One product: FP16 operands, row-major and not transposed.
pub(super) struct Case {
    pub(super) spec: GemmSpec,
    pub(super) data: Data,
    pub(super) a: Vec<u16>,
    pub(super) b: Vec<u16>,
    pub(super) bias: Option<Vec<u16>>,
    pub(super) manner: Manner,
}

impl Case {
    pub(super) fn new(spec: GemmSpec, rng: &mut ChaCha8Rng) -> Case {
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
        Case { spec, data, a, b, bias, manner: Manner::any(rng) }
    }

    /// The result as bits.
    pub(super) fn expected(&self) -> Vec<u32> {
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

    pub(super) fn run(&self, device: &mut Device, index: u32, summary: &mut GemmSummary) -> Result<()> {
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

        let program = self.manner.program(&c.program, device.info.machine.pmem_words as usize);
        let limit = deadline(c.predicted.cycles * u64::from(self.manner.times));
        let link = &mut device.link;
        link.phase("verifying products");
        upload_program(link, &program)?;
        link.segments(&[(0, program.len() as u32)])?;
        let begin = |link: &mut Link| {
            link.fill(window.block(), window.guard())?;
            for (place, data) in &operands {
                link.write(block(place), &data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())?;
            }
            link.drain()?;
            link.run(0, limit, &Registers::default())
        };
        if self.manner.stopped {
            let ticket = begin(link)?;
            link.abort()?;
            match link.run_reply(ticket) {
                // it was done before
                Ok(_) => {}
                Err(Error::Device { code, .. }) if code == ErrorCode::NotReady as u32 => summary.stopped += 1,
                Err(e) => return Err(e),
            }
        }
        let ticket = begin(link)?;
        link.run_reply(ticket)?;
        let found = window.parse(&link.read(window.block())?);

        self.compare(index, &window, &c.out, &found, &image)?;
        summary.cut += u32::from(self.spec.cut > 0);
        summary.repeated += u32::from(self.manner.times > 1);
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
    pub(super) fn compare(
        &self,
        index: u32,
        window: &Window,
        out: &TensorPlace,
        found: &[u32],
        image: &[u32],
    ) -> Result<()> {
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
        if s.cut > 0 {
            text += &format!(", cut after {} terms", s.cut);
        }
        text + &format!(", {:?} data, {:?}, {place}", self.data, self.manner)
    }
}
