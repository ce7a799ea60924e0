//! What a vector instruction does, in plain Rust: independent of the design.

use systole_isa::instr::{Vector, VectorOp};
use systole_isa::operand::{Dest, Source, View};

pub const NAN: u32 = 0x7fc0_0000;
/// Elements per plane.
pub const PLANE: usize = 4096;

/// Both memories (plane 0, then plane 1) and the scalar registers.
#[derive(Clone, PartialEq, Debug)]
pub struct State {
    pub hmem: Vec<u16>,
    pub smem: Vec<u32>,
    pub sregs: [u32; 16],
}

pub fn index(addr: u32) -> usize {
    let (plane, offset) = ((addr >> 19 & 1) as usize, (addr & 0x7ffff) as usize);
    assert!(offset < PLANE, "address {addr:x} is out of range");
    plane * PLANE + offset
}

pub fn half_to_single(h: u16) -> u32 {
    let (s, e, f) = ((h as u32 >> 15) << 31, h as u32 >> 10 & 31, h as u32 & 1023);
    match (e, f) {
        (31, 0) => s | 0x7f80_0000,
        (31, _) => NAN,
        (0, _) => s | (f as f32 * 2f32.powi(-24)).to_bits(),
        _ => s | (e + 112) << 23 | f << 13,
    }
}

pub fn single_to_half(x: u32) -> u16 {
    let s = (x >> 16 & 0x8000) as u16;
    let m = x & 0x7fff_ffff;
    if m > 0x7f80_0000 {
        return 0x7e00;
    }
    // |x| in units of the FP16 quantum at its size, rounded half to even, in exact f64 arithmetic
    let v = f32::from_bits(m) as f64;
    if v >= 65520.0 {
        return s | 0x7c00;
    }
    let e = ((m >> 23) as i32 - 127).max(-14);
    let units = (v / 2f64.powi(e - 10)).round_ties_even() as u16;
    s | (((e + 14) as u16) << 10) + units
}

fn canonical(x: f32) -> u32 {
    if x.is_nan() { NAN } else { x.to_bits() }
}

fn apply(op: VectorOp, x: u32, y: u32, z: u32) -> u32 {
    let f = f32::from_bits;
    let one = |b: bool| if b { 0x3f80_0000 } else { 0 };
    let either = f(x).is_nan() || f(y).is_nan();
    // Position in the order -Inf … -0 +0 … +Inf.
    let rank = |b: u32| if b >> 31 == 1 { -((b & 0x7fff_ffff) as i64) - 1 } else { b as i64 };
    match op {
        VectorOp::Mad => {
            let p = f(canonical(f(x) * f(y)));
            canonical(p + f(z))
        }
        VectorOp::Max if either => NAN,
        VectorOp::Min if either => NAN,
        VectorOp::Max => {
            if rank(x) >= rank(y) {
                x
            } else {
                y
            }
        }
        VectorOp::Min => {
            if rank(x) <= rank(y) {
                x
            } else {
                y
            }
        }
        VectorOp::SelectNegative => {
            if x >> 31 == 1 {
                y
            } else {
                z
            }
        }
        VectorOp::SelectPositive => {
            if f(x) > 0.0 {
                y
            } else {
                z
            }
        }
        VectorOp::GreaterEqual => one(f(x) >= f(y)),
        VectorOp::Equal => one(f(x) == f(y)),
        VectorOp::IntAdd => x.wrapping_add(y),
        VectorOp::IntSub => x.wrapping_sub(y),
        VectorOp::And => x & y,
        VectorOp::Or => x | y,
        VectorOp::Xor => x ^ y,
        VectorOp::Shl23 => x << 23,
        VectorOp::Shr23 => x >> 23,
        VectorOp::Shr1 => x >> 1,
    }
}

fn at(v: &View, r: i32, c: i32) -> u32 {
    let step = r * v.strides.outer as i32 + c * v.strides.inner as i32;
    v.base.addr.0.wrapping_add(step as u32) & 0xf_ffff
}

fn load(m: &State, s: &Source, r: i32, c: i32, exp: i32) -> u32 {
    let (bits, mods) = match s {
        Source::Imm(i) => return *i,
        Source::Sreg(i, mods) => (m.sregs[*i as usize], mods),
        Source::Smem(v, mods) => (m.smem[index(at(v, r, c))], mods),
        Source::Hmem(v, mods) => {
            let x = half_to_single(m.hmem[index(at(v, r, c))]);
            let scaled = f32::from_bits(x) as f64 * 2f64.powi(exp);
            let x = if mods.scaled && !f32::from_bits(x).is_nan() { (scaled as f32).to_bits() } else { x };
            (x, mods)
        }
    };
    let bits = if mods.abs { bits & 0x7fff_ffff } else { bits };
    if mods.neg { bits ^ 0x8000_0000 } else { bits }
}

/// Runs `v`; the element of the first non-finite value written (bit 20: `smem`).
pub fn run(m: &mut State, v: &Vector, exp: i32) -> Option<u32> {
    let mut first = None;
    for r in 0..v.rows as i32 {
        for c in 0..v.cols as i32 {
            let [x, y, z] = [&v.x, &v.y, &v.z].map(|s| load(m, s, r, c, exp));
            let d = apply(v.op, x, y, z);
            let h = single_to_half(d);
            let (bad, bad_half) = (d >> 23 & 255 == 255, h >> 10 & 31 == 31);
            match &v.d {
                Dest::Smem(t) => {
                    m.smem[index(at(t, r, c))] = d;
                    first = first.or(bad.then_some(at(t, r, c) | 1 << 20));
                }
                Dest::Hmem(t) => {
                    m.hmem[index(at(t, r, c))] = h;
                    first = first.or(bad_half.then_some(at(t, r, c)));
                }
                Dest::Sreg(i) => {
                    m.sregs[*i as usize] = d;
                    first = first.or(bad.then_some(*i as u32));
                }
                Dest::None => {}
            }
            if let Some(t) = &v.copy {
                m.hmem[index(at(t, r, c))] = h;
                first = first.or(bad_half.then_some(at(t, r, c)));
            }
        }
    }
    first
}
