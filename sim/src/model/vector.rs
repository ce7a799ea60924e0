//! The vector engine: `d[r, c] = op(x[r, c], y[r, c], z[r, c])`, rows outer.

use systole_isa::NAN32;
use systole_isa::instr::{Vector, VectorOp};
use systole_isa::operand::{Dest, Modifiers, Source, View};
use systole_isa::regs::Trap;

use super::float;
use super::gemm::Offender;
use super::memory::{Bank, Grid, Memory, Stop, Walk};
use super::simd::leveled;

/// Elements that are read before any of them is written.
const CHUNK: usize = 2048;

/// Buffers that are kept between instructions.
pub(super) struct Buffers {
    sources: [[u32; CHUNK]; 3],
    result: [u32; CHUNK],
    halves: [u16; CHUNK],
}

impl Buffers {
    const NEW: Buffers = Buffers { sources: [[0; CHUNK]; 3], result: [0; CHUNK], halves: [0; CHUNK] };
}

const ONE: u32 = 0x3f80_0000;

/// A source, found legal.
enum Operand {
    Constant(u32),
    Memory { bank: Bank, grid: Grid, and: u32, xor: u32, power: f32 },
}

impl Operand {
    fn new(memory: &Memory, s: &Source, exponent: i8, range: &mut Range) -> Operand {
        let masks = |m: &Modifiers| (if m.abs { !(1 << 31) } else { !0 }, u32::from(m.neg) << 31);
        let (bank, view, m) = match s {
            Source::Imm(v) => return Operand::Constant(*v),
            Source::Sreg(r, m) => {
                let (and, xor) = masks(m);
                return Operand::Constant(memory.sregs[*r as usize] & and ^ xor);
            }
            Source::Hmem(view, m) => (Bank::Half, view, m),
            Source::Smem(view, m) => (Bank::Single, view, m),
        };
        let (and, xor) = masks(m);
        let power = if m.scaled { float::power_of_two(exponent) } else { 1.0 };
        match range.grid(memory, bank, view) {
            Some(grid) => Operand::Memory { bank, grid, and, xor, power },
            None => Operand::Constant(0),
        }
    }

    /// Elements from `place` on, in rows of `cols`, as many as `buffer` holds: in the memory itself where they lie there as they
    /// are wanted, else in the buffer. A constant has filled it already.
    fn fetch<'a>(&self, memory: &'a Memory, place: (usize, usize), cols: usize, buffer: &'a mut [u32]) -> &'a [u32] {
        let Operand::Memory { bank, grid, and, xor, power } = self else { return buffer };
        let plain = *power == 1.0 && *and == !0 && *xor == 0;
        match (bank, grid.linear(place.0, place.1)) {
            (Bank::Single, Some(at)) if plain && grid.dense(cols, buffer.len()) => {
                return &memory.single[at..at + buffer.len()];
            }
            (Bank::Half, _) => memory.load_half(grid, place, cols, buffer),
            _ => memory.load_single(grid, place, cols, buffer),
        }
        if !plain {
            modify(memory.level, buffer, *power, *and, *xor);
        }
        buffer
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
    // Eight at a time: rows of small networks are that short, and a vectorised loop would begin with more.
    let (xs, ys, zs) = (x.as_chunks::<8>(), y.as_chunks::<8>(), z.as_chunks::<8>());
    let ds = d.as_chunks_mut::<8>();
    for (((d, x), y), z) in ds.0.iter_mut().zip(xs.0).zip(ys.0).zip(zs.0) {
        for i in 0..8 {
            d[i] = f(x[i], y[i], z[i]);
        }
    }
    for (((d, &x), &y), &z) in ds.1.iter_mut().zip(xs.1).zip(ys.1).zip(zs.1) {
        *d = f(x, y, z);
    }
}

leveled! {
    /// Applies `op` to slices of one length; `bad` becomes the first result that is not finite.
    pub fn apply(op: VectorOp, x: &[u32], y: &[u32], z: &[u32], d: &mut [u32], bad: &mut Option<usize>) {
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
        *bad = float::first_single_nonfinite(d);
    }
}

leveled! {
    /// [`float::narrow_all`], and the first result that is not finite.
    fn<HW> round(from: &[u32], to: &mut [u16], bad: &mut Option<usize>) {
        float::narrow_each::<HW>(from, to);
        *bad = float::first_half_nonfinite(to);
    }
}

/// Looks whether operands lie inside their memories, and keeps the first element that does not: rows outer, then columns, then
/// operands in the order in which they are asked about.
struct Range {
    rows: usize,
    cols: usize,
    outside: Option<((usize, usize), u32)>,
}

impl Range {
    fn grid(&mut self, memory: &Memory, bank: Bank, view: &View) -> Option<Grid> {
        let walk = Walk::new(view);
        match memory.grid(bank, &walk, self.rows, self.cols) {
            Ok(grid) => Some(grid),
            Err(at) => {
                if self.outside.is_none_or(|(first, _)| at < first) {
                    let lanes = memory.machine.vector_lanes as usize;
                    self.outside = Some((at, bank.sought(&walk, at, lanes)));
                }
                None
            }
        }
    }
}

/// The operands of one instruction, found legal.
struct Operands {
    sources: [Operand; 3],
    destination: Option<Grid>,
    copy: Option<Grid>,
}

/// Runs one instruction whose bases are resolved. Nothing is written where it stops.
pub fn run(memory: &mut Memory, v: &Vector, exponent: i8) -> Result<Offender, Stop> {
    check_strides(memory, v)?;
    let mut range = Range { rows: v.rows as usize, cols: v.cols as usize, outside: None };
    let sources = [&v.x, &v.y, &v.z].map(|s| Operand::new(memory, s, exponent, &mut range));
    let destination = match &v.d {
        Dest::Hmem(view) => range.grid(memory, Bank::Half, view),
        Dest::Smem(view) => range.grid(memory, Bank::Single, view),
        Dest::Sreg(_) | Dest::None => None,
    };
    let copy = v.copy.as_ref().and_then(|view| range.grid(memory, Bank::Half, view));
    if let Some((_, info)) = range.outside {
        return Err(Stop { trap: Trap::Range, info });
    }
    let mut buffers = memory.buffers.take().unwrap_or_else(|| Box::new(Buffers::NEW));
    let offender = execute(memory, v, &Operands { sources, destination, copy }, &mut buffers);
    memory.buffers = Some(buffers);
    Ok(offender)
}

/// The first non-finite value that was written: rows outer, then columns, then destination before copy.
#[derive(Default)]
struct FirstOffender(Option<((usize, usize), u32)>);

impl FirstOffender {
    fn note(&mut self, at: (usize, usize), address: u32) {
        if self.0.is_none_or(|(first, _)| at < first) {
            self.0 = Some((at, address));
        }
    }
}

fn execute(memory: &mut Memory, v: &Vector, operands: &Operands, buffers: &mut Buffers) -> Offender {
    let (level, rows, cols) = (memory.level, v.rows as usize, v.cols as usize);
    // Rows are independent of each other unless the instruction says otherwise, so several may be read before one is written.
    let block = if v.recurrent { 1 } else { (CHUNK / cols).clamp(1, rows) };
    let width = cols.min(CHUNK);
    for (s, buffer) in operands.sources.iter().zip(&mut buffers.sources) {
        if let Operand::Constant(value) = s {
            buffer[..block * width].fill(*value);
        }
    }
    let mut offender = FirstOffender::default();
    for r in (0..rows).step_by(block) {
        for c in (0..cols).step_by(width) {
            let cols = width.min(cols - c);
            let count = block.min(rows - r) * cols;
            let place = |i: usize| (r + i / cols, c + i % cols);
            let Buffers { sources: [x, y, z], result, halves } = &mut *buffers;
            let (result, halves) = (&mut result[..count], &mut halves[..count]);
            let mut bad = None;
            apply(
                level,
                v.op,
                operands.sources[0].fetch(memory, (r, c), cols, &mut x[..count]),
                operands.sources[1].fetch(memory, (r, c), cols, &mut y[..count]),
                operands.sources[2].fetch(memory, (r, c), cols, &mut z[..count]),
                result,
                &mut bad,
            );
            let is_half = matches!(v.d, Dest::Hmem(_));
            match (&operands.destination, v.d) {
                (Some(grid), Dest::Smem(_)) => {
                    memory.store_single(grid, (r, c), cols, result);
                    if let Some(at) = bad.map(place) {
                        offender.note(at, grid.walk.at(at.0, at.1) | Bank::Single.mark());
                    }
                }
                (_, Dest::Sreg(i)) => {
                    memory.sregs[i as usize] = result[0];
                    bad.map(place).into_iter().for_each(|at| offender.note(at, i.into()));
                }
                _ => {}
            }
            let as_half = if is_half { operands.destination.as_ref() } else { None };
            for grid in [as_half, operands.copy.as_ref()].into_iter().flatten() {
                round(level, result, halves, &mut bad);
                memory.store_half(grid, (r, c), cols, halves);
                if let Some(at) = bad.map(place) {
                    offender.note(at, grid.walk.at(at.0, at.1));
                }
            }
        }
    }
    offender.0.map(|(_, address)| address)
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
