//! A compiled network on the model's fetcher and engines, without firmware; inputs and conversions for tests.
#![allow(dead_code, reason = "each test uses a part")]

use half::f16;
use systole::compile::{Compiled, Optimizer, Pass, TensorPlace};
use systole_isa::regs::Space;
use systole_isa::sreg;
use systole_sim::model::exec::Fetcher;
use systole_sim::model::memory::Memory;

pub const MOMENTUM: Optimizer = Optimizer::Sgd { momentum: true };

/// The model without firmware: memories and a fetcher.
pub struct Bench {
    pub compiled: Compiled,
    pub memory: Memory,
    pub fetcher: Fetcher,
}

impl Bench {
    pub fn new(compiled: Compiled) -> Bench {
        let mut memory = Memory::new(compiled.machine);
        for (i, &w) in compiled.program.iter().enumerate() {
            assert!(memory.set(Space::Program, i as u32, w));
        }
        for u in &compiled.uploads {
            let size = u.space.element_bytes() as usize;
            for (i, bytes) in u.data.chunks(size).enumerate() {
                let (r, c) = (i as u32 / u.row_len, i as u32 % u.row_len);
                let value = bytes.iter().rev().fold(0, |v, &b| v << 8 | b as u32);
                assert!(memory.set(u.space, u.addr.offset_by((r * u.pitch + c) as i32).0, value));
            }
        }
        let mut bench = Bench { compiled, memory, fetcher: Fetcher::default() };
        for b in bench.compiled.buffers.clone() {
            bench.write(b.place, &vec![b.initial; (b.place.rows * b.place.cols) as usize]);
        }
        bench
    }

    pub fn write(&mut self, p: TensorPlace, values: &[f32]) {
        for (i, &v) in values.iter().enumerate() {
            let (r, c) = (i as u32 / p.cols, i as u32 % p.cols);
            let bits = if p.space == Space::Hmem { f16::from_f32(v).to_bits() as u32 } else { v.to_bits() };
            assert!(self.memory.set(p.space, p.addr.offset_by((r * p.pitch + c) as i32).0, bits));
        }
    }

    pub fn read(&self, p: TensorPlace) -> Vec<f32> {
        let element = |i: u32| {
            let at = p.addr.offset_by((i / p.cols * p.pitch + i % p.cols) as i32).0;
            let bits = self.memory.get(p.space, at).unwrap();
            if p.space == Space::Hmem { f16::from_bits(bits as u16).to_f32() } else { f32::from_bits(bits) }
        };
        (0..p.rows * p.cols).map(element).collect()
    }

    pub fn parameters(&mut self, values: &[Vec<f32>]) {
        for (p, v) in self.compiled.parameters.clone().iter().zip(values) {
            self.write(p.master, v);
            self.write(p.half, v);
        }
    }

    pub fn batch(&mut self, slot: usize, x: &[f32], labels: &[u32]) {
        let pass = self.compiled.phases[0].passes[0].clone();
        self.feed(&pass, slot, x, labels);
    }

    pub fn feed(&mut self, pass: &Pass, slot: usize, x: &[f32], labels: &[u32]) {
        let s = pass.slots[slot].clone();
        self.write(s.input, x);
        // given row by row, kept step by step
        let steps = self.compiled.labels_per_row as usize;
        let of_step = |s: usize| labels.iter().skip(s).step_by(steps).map(|&l| l as f32);
        self.write(s.labels, &(0..steps).flat_map(of_step).collect::<Vec<_>>());
        for (r, v) in s.registers {
            self.fetcher.set_areg(r as usize, v);
        }
    }

    pub fn scalars(&mut self, valid: usize, scale: i8, lr: f32, momentum: f32) {
        let inv = 1.0 / (valid * self.compiled.labels_per_row as usize) as f32;
        let s = &mut self.memory.sregs;
        s[sreg::INV_BATCH] = inv.to_bits();
        s[sreg::LOSS_SEED] = (inv * 2f32.powi(scale as i32)).to_bits();
        s[sreg::NEG_LR] = (-lr).to_bits();
        s[sreg::MOMENTUM] = momentum.to_bits();
        self.fetcher.exponent = -scale;
    }

    pub fn run(&mut self, segment: u32) {
        self.fetcher.push(self.compiled.segments[segment as usize].addr, 0);
        self.fetcher.advance(&mut self.memory, u64::MAX);
        assert!(!self.fetcher.busy() && self.fetcher.trapped.is_none(), "trapped");
    }

    pub fn sreg(&self, i: usize) -> f32 {
        f32::from_bits(self.memory.sregs[i])
    }
}

/// Numbers that FP16 holds exactly, in [0, 1].
pub fn pixels(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729 + i * i % 101) % 17) as f32 / 16.0).collect()
}

pub fn doubles(p: &[Vec<f32>]) -> Vec<Vec<f64>> {
    p.iter().map(|t| t.iter().map(|&v| v as f64).collect()).collect()
}

/// Parameters as the products see them.
pub fn rounded(p: &[Vec<f32>]) -> Vec<Vec<f64>> {
    p.iter().map(|t| t.iter().map(|&v| f16::from_f32(v).to_f64()).collect()).collect()
}

pub fn largest(v: &[f64]) -> f64 {
    v.iter().fold(0.0, |a, v| a.max(v.abs()))
}
