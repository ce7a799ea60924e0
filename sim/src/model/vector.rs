//! The vector engine: `d[r, c] = op(x[r, c], y[r, c], z[r, c])`, rows outer.

use systole_isa::NAN32;
use systole_isa::instr::{Vector, VectorOp};
use systole_isa::operand::{Dest, Modifiers, Source, View};
use systole_isa::regs::Trap;

use super::float;
use super::gemm::Offender;
use super::memory::{Bank, Memory, Stop, Walk};
use super::simd::leveled;

/// Elements of a row that are read before any of them is written.
const CHUNK: usize = 2048;

const ONE: u32 = 0x3f80_0000;

/// A source with its base resolved.
enum Operand {
    Constant(u32),
    Memory { bank: Bank, walk: Walk, and: u32, xor: u32, power: f32 },
}

impl Operand {
    fn new(memory: &Memory, s: &Source, exponent: i8) -> Operand {
        let masks = |m: &Modifiers| (if m.abs { !(1 << 31) } else { !0 }, u32::from(m.neg) << 31);
        let (bank, view, m) = match s {
            Source::Imm(v) => return Operand::Constant(*v),
            Source::Sreg(r, m) => {
                let (and, xor) = masks(m);
                return Operand::Constant(memory.sregs[*r as usize] & and ^ xor);
            }
            Source::Hmem(v, m) => (Bank::Half, v, m),
            Source::Smem(v, m) => (Bank::Single, v, m),
        };
        let (and, xor) = masks(m);
        let power = if m.scaled { float::power_of_two(exponent) } else { 1.0 };
        Operand::Memory { bank, walk: Walk::new(view), and, xor, power }
    }

    fn walk(&self) -> Option<(Bank, &Walk)> {
        match self {
            Operand::Constant(_) => None,
            Operand::Memory { bank, walk, .. } => Some((*bank, walk)),
        }
    }

    fn load(&self, memory: &Memory, r: usize, c: usize, to: &mut [u32]) {
        match self {
            Operand::Constant(v) => to.fill(*v),
            Operand::Memory { bank, walk, and, xor, power } => {
                match bank {
                    Bank::Half => memory.load_half(walk, r, c, to),
                    _ => memory.load_single(walk, r, c, to),
                }
                if *power != 1.0 || *and != !0 || *xor != 0 {
                    modify(memory.level, to, *power, *and, *xor);
                }
            }
        }
    }
}

leveled! {
    fn modify(values: &mut [u32], power: f32, and: u32, xor: u32) {
        // Scaling by one must not touch 32-bit patterns that are no numbers.
        if power == 1.0 {
            values.iter_mut().for_each(|v| *v = *v & and ^ xor);
        } else {
            values.iter_mut().for_each(|v| *v = float::scale(*v, power) & and ^ xor);
        }
    }
}

/// One element of `Mad`.
#[inline(always)]
fn mad(x: u32, y: u32, z: u32) -> u32 {
    float::canonical(f32::from_bits(x) * f32::from_bits(y) + f32::from_bits(z))
}

/// The larger of two; among equals the one whose sign is clear.
#[inline(always)]
fn max(x: u32, y: u32) -> u32 {
    let (a, b) = (f32::from_bits(x), f32::from_bits(y));
    let ordered = if a > b { x } else { y };
    let number = if a == b { x & y } else { ordered };
    if a.is_nan() | b.is_nan() { NAN32 } else { number }
}

/// The smaller of two; among equals the one whose sign is set.
#[inline(always)]
fn min(x: u32, y: u32) -> u32 {
    let (a, b) = (f32::from_bits(x), f32::from_bits(y));
    let ordered = if a < b { x } else { y };
    let number = if a == b { x | y } else { ordered };
    if a.is_nan() | b.is_nan() { NAN32 } else { number }
}

#[inline(always)]
fn each(x: &[u32], y: &[u32], z: &[u32], d: &mut [u32], f: impl Fn(u32, u32, u32) -> u32) {
    for (((d, &x), &y), &z) in d.iter_mut().zip(x).zip(y).zip(z) {
        *d = f(x, y, z);
    }
}

leveled! {
    /// Applies `op` to slices of one length.
    pub fn apply(op: VectorOp, x: &[u32], y: &[u32], z: &[u32], d: &mut [u32]) {
        let float = f32::from_bits;
        match op {
            VectorOp::Mad => each(x, y, z, d, mad),
            VectorOp::Max => each(x, y, z, d, |x, y, _| max(x, y)),
            VectorOp::Min => each(x, y, z, d, |x, y, _| min(x, y)),
            VectorOp::SelectNegative => each(x, y, z, d, |x, y, z| if x >> 31 == 1 { y } else { z }),
            VectorOp::SelectPositive => each(x, y, z, d, |x, y, z| if float(x) > 0.0 { y } else { z }),
            VectorOp::GreaterEqual => each(x, y, z, d, |x, y, _| if float(x) >= float(y) { ONE } else { 0 }),
            VectorOp::Equal => each(x, y, z, d, |x, y, _| if float(x) == float(y) { ONE } else { 0 }),
            VectorOp::IntAdd => each(x, y, z, d, |x, y, _| x.wrapping_add(y)),
            VectorOp::IntSub => each(x, y, z, d, |x, y, _| x.wrapping_sub(y)),
            VectorOp::And => each(x, y, z, d, |x, y, _| x & y),
            VectorOp::Or => each(x, y, z, d, |x, y, _| x | y),
            VectorOp::Xor => each(x, y, z, d, |x, y, _| x ^ y),
            VectorOp::Shl23 => each(x, y, z, d, |x, _, _| x << 23),
            VectorOp::Shr23 => each(x, y, z, d, |x, _, _| x >> 23),
            VectorOp::Shr1 => each(x, y, z, d, |x, _, _| x >> 1),
        }
    }
}

/// A destination with its base resolved.
enum Target {
    Memory(Bank, Walk),
    Sreg(usize),
}

/// Runs one instruction whose bases are resolved. Nothing is written where it stops.
pub fn run(memory: &mut Memory, v: &Vector, exponent: i8) -> Result<Offender, Stop> {
    check_strides(memory, v)?;
    let sources = [&v.x, &v.y, &v.z].map(|s| Operand::new(memory, s, exponent));
    let first = match &v.d {
        Dest::Hmem(d) => Some(Target::Memory(Bank::Half, Walk::new(d))),
        Dest::Smem(d) => Some(Target::Memory(Bank::Single, Walk::new(d))),
        Dest::Sreg(r) => Some(Target::Sreg(*r as usize)),
        Dest::None => None,
    };
    let copy = v.copy.as_ref().map(|d| Target::Memory(Bank::Half, Walk::new(d)));
    let targets: Vec<Target> = first.into_iter().chain(copy).collect();
    let walks = sources.iter().filter_map(Operand::walk);
    let walks = walks.chain(targets.iter().filter_map(|t| match t {
        Target::Memory(bank, walk) => Some((*bank, walk)),
        Target::Sreg(_) => None,
    }));
    let walks: Vec<(Bank, &Walk)> = walks.collect();
    let (rows, cols) = (v.rows as usize, v.cols as usize);
    check_range(memory, &walks, rows, cols)?;

    // Views without gaps are one long row: same elements, same order. (An overlap between rows would be undefined.)
    let dense = !v.recurrent && walks.iter().all(|(_, w)| w.outer as i64 == cols as i64 * w.inner as i64);
    let (rows, cols) = if dense { (1, rows * cols) } else { (rows, cols) };

    let mut buffers = [[0u32; CHUNK]; 4];
    let [x, y, z, d] = &mut buffers;
    let mut halves = [0u16; CHUNK];
    let mut offender: Option<(usize, usize, u32)> = None;
    for r in 0..rows {
        for c in (0..cols).step_by(CHUNK) {
            let count = CHUNK.min(cols - c);
            for (s, to) in sources.iter().zip([&mut *x, &mut *y, &mut *z]) {
                // A constant stays in its buffer once a whole first chunk is there.
                if matches!(s, Operand::Memory { .. }) || (r, c) == (0, 0) {
                    s.load(memory, r, c, &mut to[..count]);
                }
            }
            apply(memory.level, v.op, &x[..count], &y[..count], &z[..count], &mut d[..count]);
            for t in &targets {
                let bad = match t {
                    Target::Memory(Bank::Half, walk) => {
                        float::narrow_all(memory.level, &d[..count], &mut halves[..count]);
                        memory.store_half(walk, r, c, &halves[..count]);
                        let bad = halves[..count].iter().position(|&h| float::half_nonfinite(h));
                        bad.map(|i| (c + i, walk.at(r, c + i)))
                    }
                    Target::Memory(bank, walk) => {
                        memory.store_single(walk, r, c, &d[..count]);
                        let bad = d[..count].iter().position(|&v| float::single_nonfinite(v));
                        bad.map(|i| (c + i, walk.at(r, c + i) | bank.mark()))
                    }
                    Target::Sreg(i) => {
                        memory.sregs[*i] = d[0];
                        float::single_nonfinite(d[0]).then_some((0, *i as u32))
                    }
                };
                if let Some((c, at)) = bad
                    && offender.is_none_or(|(row, col, _)| (r, c) < (row, col))
                {
                    offender = Some((r, c, at));
                }
            }
        }
    }
    Ok(offender.map(|o| o.2))
}

fn check_strides(memory: &Memory, v: &Vector) -> Result<(), Stop> {
    let lanes = memory.machine.lanes as i32;
    let check = |view: &View, broadcast: bool| {
        let inner = view.strides.inner as i32;
        let fits = (inner - 1).rem_euclid(lanes) == 0 || broadcast && inner == 0;
        if fits { Ok(()) } else { Err(Stop { trap: Trap::Stride, info: view.strides.to_bits() }) }
    };
    for s in [&v.x, &v.y, &v.z] {
        if let Source::Hmem(view, _) | Source::Smem(view, _) = s {
            check(view, true)?;
        }
    }
    if let Dest::Hmem(view) | Dest::Smem(view) = &v.d {
        check(view, false)?;
    }
    v.copy.as_ref().map_or(Ok(()), |view| check(view, false))
}

/// Traps on the first element outside: rows outer, then columns, then operands in the order x, y, z, d, copy.
fn check_range(memory: &Memory, walks: &[(Bank, &Walk)], rows: usize, cols: usize) -> Result<(), Stop> {
    let outside = walks.iter().filter_map(|(bank, walk)| {
        let (r, c) = memory.first_outside(*bank, walk, rows, cols)?;
        Some((r, c, walk.at(r, c) | bank.mark()))
    });
    match outside.min_by_key(|&(r, c, _)| (r, c)) {
        None => Ok(()),
        Some((_, _, info)) => Err(Stop { trap: Trap::Range, info }),
    }
}
