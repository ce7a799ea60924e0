//! What a matrix instruction does, in plain Rust: memories, masks, accumulators, flags.

use super::bench::Bench;
use crate::number::{canonical, narrow, widen};
use std::collections::HashMap;
use systole_isa::instr::{Gemm, Init, Mask, Output};
use systole_isa::operand::{Addr, Base, View};

/// The memories as they should be.
pub struct Image {
    pub h: Vec<u32>,
    pub s: Vec<u32>,
    mask: Vec<bool>,
    acc: HashMap<(usize, usize), f32>,
    pub h_plane: usize,
    pub s_plane: usize,
    n: usize,
    pub flags: Vec<(u64, u64, u64)>,
}

impl Image {
    /// Empty.
    pub fn new(b: &Bench) -> Image {
        Image {
            h: vec![0; b.machine.hmem_words as usize],
            s: vec![0; b.machine.smem_words as usize],
            mask: vec![false; b.machine.mask_bits as usize],
            acc: HashMap::new(),
            h_plane: b.machine.hmem_plane() as usize,
            s_plane: b.machine.smem_plane() as usize,
            n: b.n,
            flags: vec![],
        }
    }

    fn at(&self, v: View, r: usize, c: usize) -> usize {
        let a = v.base.addr.offset_by(r as i32 * v.strides.outer as i32 + c as i32 * v.strides.inner as i32);
        a.plane() as usize * self.h_plane + a.offset() as usize
    }

    fn address(v: View, r: usize, c: usize) -> Addr {
        v.base.addr.offset_by(r as i32 * v.strides.outer as i32 + c as i32 * v.strides.inner as i32)
    }

    /// What the instruction at `pc` must do; flags in the machine's order of writing.
    pub fn gemm(&mut self, g: &Gemm, pc: u64) {
        let (m, k, n) = (g.m as usize, g.k as usize, g.n as usize);
        let mut result = vec![0f32; m * n];
        for r in 0..m {
            for c in 0..n {
                let row = g.acc_base as usize + c / self.n * g.m_block as usize + r;
                let half = |i: usize| widen(self.h[i] as u16);
                let base = |b: Base| b.addr.plane() as usize * self.h_plane + b.addr.offset() as usize;
                let mut acc = match g.init {
                    Init::Zero => 0.0,
                    Init::BiasPerColumn(b) => half(base(b) + c),
                    Init::BiasPerRow(b) => half(base(b) + r),
                    Init::Accumulators => self.acc[&(row, c % self.n)],
                };
                for i in 0..k {
                    acc += half(self.at(g.x, r, i)) * half(self.at(g.w, i, c));
                }
                result[r * n + c] = acc;
            }
        }
        let (view, single) = match g.out {
            Output::Keep => {
                for r in 0..m {
                    for c in 0..n {
                        let row = g.acc_base as usize + c / self.n * g.m_block as usize + r;
                        self.acc.insert((row, c % self.n), result[r * n + c]);
                    }
                }
                return;
            }
            Output::Half(v) => (v, false),
            Output::Single(v) => (v, true),
        };
        let (mb, ng) = (g.m_block as usize, g.n_group as usize * self.n);
        for n0 in (0..n).step_by(ng) {
            for m0 in (0..m).step_by(mb) {
                for t0 in (n0..n.min(n0 + ng)).step_by(self.n) {
                    for r in m0..m.min(m0 + mb) {
                        let mut first = None;
                        for c in t0..n.min(t0 + self.n) {
                            let mut y = result[r * n + c];
                            if g.relu && !(y > 0.0) && !y.is_nan() {
                                y = 0.0;
                            }
                            let a = Image::address(view, r, c);
                            let bit = |b: Base| {
                                let d = a.0.wrapping_sub(view.base.addr.0).wrapping_add(b.addr.0);
                                (d & Addr::MASK) as usize
                            };
                            if let Mask::Apply(b) = g.mask {
                                if !self.mask[bit(b)] {
                                    y = 0.0;
                                }
                            }
                            let written = if single { canonical(y) } else { narrow(y) as u32 };
                            let value = if single { y } else { widen(written as u16) };
                            if let Mask::Write(b) = g.mask {
                                let i = bit(b);
                                self.mask[i] = value > 0.0;
                            }
                            if !value.is_finite() && first.is_none() {
                                first = Some(a);
                            }
                            if single {
                                self.s[a.plane() as usize * self.s_plane + a.offset() as usize] = written;
                            } else {
                                self.h[a.plane() as usize * self.h_plane + a.offset() as usize] = written;
                            }
                        }
                        if let (Some(a), Some(f)) = (first, g.sync.flag) {
                            self.flags.push((1 << f, pc, a.0 as u64 | (single as u64) << 20));
                        }
                    }
                }
            }
        }
    }
}
