//! What the model's tests share.
#![allow(dead_code)]

use systole_isa::NAN32;
use systole_isa::operand::{Addr, View};
use systole_sim::model::memory::Memory;

/// A small generator (SplitMix64), so that a printed seed tells everything.
pub struct Rng(pub u64);

impl Rng {
    /// 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Bits of a number, any NaN as the one NaN.
pub fn canonical(v: f32) -> u32 {
    if v.is_nan() { NAN32 } else { v.to_bits() }
}

/// Address of element (r, c) of a view, from the definition.
pub fn element(v: &View, r: usize, c: usize) -> u32 {
    let step = r as i64 * v.strides.outer as i64 + c as i64 * v.strides.inner as i64;
    (v.base.addr.0 as i64 + step).rem_euclid(1 << 20) as u32
}

/// An element of `hmem`.
pub fn half_of(m: &Memory, addr: u32) -> u16 {
    m.half[(Addr(addr).plane() * m.machine.hmem_plane() + Addr(addr).offset()) as usize]
}

/// An element of `smem`.
pub fn single_of(m: &Memory, addr: u32) -> u32 {
    m.single[(Addr(addr).plane() * m.machine.smem_plane() + Addr(addr).offset()) as usize]
}
