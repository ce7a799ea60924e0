//! The matrix engine: `Out[m, n] = epilogue(init + Σ_k X[m, k]·W[k, n])`.
//!
//! Each sum is one FP32 chain, k ascending, one rounding per addition (products of FP16 numbers are exact in FP32). Sums of
//! different (m, n) are independent, so vectors run along n or along m, whichever needs less rearranging, and the bits stay
//! those of the naive triple loop.
//!
//! | module | what |
//! |---|---|
//! | [`pack`] | operands as FP32, in the order in which the kernels read them |
//! | [`kernel`] | the innermost loops |

mod kernel;
mod pack;

use std::iter::StepBy;
use std::ops::Range;
use std::slice::IterMut;

use systole_isa::instr::{Gemm, Init, Mask, Output};
use systole_isa::regs::Trap;

use super::float;
use super::memory::{Bank, Grid, Memory, Stop, Walk};
use super::simd::{Level, leveled};
use kernel::{Rows, Tile};
use pack::Matrix;

/// Where an instruction first wrote a non-finite value, as [`systole_isa::regs::FLAG_ADDR`] gives it.
pub type Offender = Option<u32>;

/// Buffers that are kept between instructions.
#[derive(Default)]
pub struct Scratch {
    panels: Vec<f32>,
    rows: Vec<f32>,
    bias: Vec<u32>,
    sums: Vec<f32>,
    bits: Vec<u32>,
    halves: Vec<u16>,
    mask: Vec<bool>,
    gathered: [Vec<u16>; 2],
}

leveled! {
    /// ReLU where wanted, and the one NaN; as FP16, too, where `halves` has room.
    fn<HW> finish(sums: &[f32], relu: bool, bits: &mut [u32], halves: &mut [u16]) {
        for (t, &v) in bits.iter_mut().zip(sums) {
            let kept = !relu || v > 0.0 || v.is_nan();
            *t = if kept { float::canonical(v) } else { 0 };
        }
        if !halves.is_empty() {
            float::narrow_each::<HW>(bits, halves);
        }
    }
}

leveled! {
    /// Whether any value is not finite; of `halves` where there are some.
    fn look(bits: &[u32], halves: &[u16], any: &mut bool) {
        *any = if halves.is_empty() {
            bits.iter().fold(false, |any, &v| any | float::single_nonfinite(v))
        } else {
            halves.iter().fold(false, |any, &h| any | float::half_nonfinite(h))
        };
    }
}

/// The product as the loops see it. Vectors run along *lanes*; each of *rows* is multiplied into them. Lanes are n and rows
/// are m, or the other way round where `swapped`.
struct Problem {
    rows: usize,
    lanes: usize,
    k: usize,
    swapped: bool,
    tile: Tile,
}

impl Problem {
    /// Vectors along n, or along m: an operand that is not contiguous along the lanes has to be transposed, a result that is
    /// not has to be scattered, and what a tile pads is computed in vain. Weights are about eighths of a nanosecond.
    fn new(g: &Gemm, views: &Views, level: Level) -> Problem {
        let (m, k, n) = (g.m as usize, g.k as usize, g.n as usize);
        let writes = 1 + usize::from(views.mask.is_some());
        let along = |rows, lanes, operand: i32, out: i32, swapped| {
            let tile = Tile::best(level, rows, lanes);
            let transposed = if operand == 1 { 0 } else { 2 * k * lanes };
            let scattered = if out == 1 { 0 } else { 8 * writes * rows * lanes };
            let padded = rows.next_multiple_of(tile.rows) * lanes.next_multiple_of(tile.cols);
            (transposed + scattered + padded * k / 6, Problem { rows, lanes, k, swapped, tile })
        };
        // (the accumulator memory holds neighbours along n next to each other)
        let out = views.out.map_or((1, 0), |(_, grid)| (grid.walk.inner, grid.walk.outer));
        let (n_cost, along_n) = along(m, n, views.w.walk.inner, out.0, false);
        let (m_cost, along_m) = along(n, m, views.x.walk.outer, out.1, true);
        if m_cost < n_cost { along_m } else { along_n }
    }

    /// A grid over (m, n) as one over rows and lanes.
    fn turn(&self, grid: Grid) -> Grid {
        if self.swapped { grid.transposed() } else { grid }
    }

    /// (m, n) of a row and a lane.
    fn place(&self, row: usize, lane: usize) -> (usize, usize) {
        if self.swapped { (lane, row) } else { (row, lane) }
    }

    /// Sums of a row, padding included.
    fn pitch(&self) -> usize {
        self.lanes.next_multiple_of(self.tile.cols)
    }
}

/// Runs one instruction whose bases are resolved. Nothing is written where it stops. A result that overlaps an operand is
/// undefined, as in hardware, which still reads when it begins to write.
pub fn run(memory: &mut Memory, g: &Gemm) -> Result<Offender, Stop> {
    let views = Views::check(memory, g)?;
    let mut scratch = memory.scratch.take().unwrap_or_default();
    let offender = execute(memory, g, &views, &mut scratch);
    memory.scratch = Some(scratch);
    Ok(offender)
}

fn execute(memory: &mut Memory, g: &Gemm, views: &Views, s: &mut Scratch) -> Offender {
    let level = memory.level;
    let p = Problem::new(g, views, level);
    let (k, pitch) = (p.k, p.pitch());
    let (panels, rows) = if p.swapped { (views.x.transposed(), views.w.transposed()) } else { (views.w, views.x) };
    let [first, second] = &mut s.gathered;
    let panels = Matrix::new(memory, &panels, (k, p.lanes), first);
    pack::panels(
        level,
        panels.elements(memory, first),
        &panels,
        k,
        p.lanes,
        p.tile.cols,
        room(&mut s.panels, pitch * k),
    );
    // Rows are widened a block at a time, while it is in the cache, or all at once where they lie across k.
    let rows = Matrix::new(memory, &rows, (p.rows, k), second);
    let across = rows.outer == 1 && rows.inner != 1;
    if across {
        let to = room(&mut s.rows, p.rows * k);
        pack::rows(level, rows.elements(memory, second), &rows.transposed(), 0, p.rows, to);
    }
    load_bias(memory, g, views, &mut s.bias);
    let block = p.tile.rows * pitch;
    room(&mut s.sums, block);
    room(&mut s.bits, block);
    room(&mut s.halves, block);
    room(&mut s.mask, p.lanes);
    let mut offender = FirstOffender { g, lanes: memory.machine.lanes as usize, found: None };
    for first in (0..p.rows).step_by(p.tile.rows) {
        let count = p.tile.rows.min(p.rows - first);
        let operand = if across {
            Rows { values: &s.rows[first..p.rows * k], pitch: 1, step: p.rows, count }
        } else {
            let to = room(&mut s.rows, count * k);
            pack::rows(level, rows.elements(memory, &s.gathered[1]), &rows, first, k, to);
            Rows { values: to, pitch: k, step: 1, count }
        };
        let sums = &mut s.sums[..block];
        start(memory, g, &p, first, count, &s.bias, sums);
        for (i, panel) in s.panels[..pitch * k].chunks_exact(p.tile.cols * k).enumerate() {
            let sums = &mut sums[i * p.tile.cols..];
            if memory.half_sums {
                kernel::half_sums(p.tile, operand, panel, sums, pitch);
            } else {
                kernel::product(level, p.tile, operand, panel, sums, pitch);
            }
        }
        match &views.out {
            None => keep(memory, g, &p, first, count, sums),
            Some(out) => write(memory, g, &p, views, out, (first, count), s, &mut offender),
        }
    }
    offender.found.map(|(_, address)| address)
}

/// The offender that the engine meets first. It writes column groups, blocks of rows, tiles of columns, rows, lanes, in this
/// order, outermost first.
struct FirstOffender<'a> {
    g: &'a Gemm,
    lanes: usize,
    found: Option<([usize; 5], u32)>,
}

impl FirstOffender<'_> {
    fn note(&mut self, (m, n): (usize, usize), address: u32) {
        let (block, group) = (self.g.m_block as usize, self.g.n_group as usize);
        let place = [n / self.lanes / group, m / block, n / self.lanes, m, n];
        if self.found.is_none_or(|(first, _)| place < first) {
            self.found = Some((place, address));
        }
    }
}

/// An instruction's operands, found legal.
struct Views {
    x: Grid,
    w: Grid,
    bias: Option<Grid>,
    out: Option<(Bank, Grid)>,
    mask: Option<Grid>,
}

impl Views {
    fn check(memory: &Memory, g: &Gemm) -> Result<Views, Stop> {
        let machine = &memory.machine;
        let (m, k, n) = (g.m as usize, g.k as usize, g.n as usize);
        let block = g.m_block as u32 * g.n_group as u32 + g.acc_base as u32;
        let kept = matches!(g.out, Output::Keep) || matches!(g.init, Init::Accumulators);
        let whole = g.m <= g.m_block && (g.n as u32).div_ceil(machine.lanes) <= g.n_group as u32;
        if block > machine.acc_rows || kept && !whole {
            return Err(Stop { trap: Trap::Size, info: block });
        }
        let (bank, out) = match &g.out {
            Output::Keep => (Bank::Half, None),
            Output::Half(v) => (Bank::Half, Some(v)),
            Output::Single(v) => (Bank::Single, Some(v)),
        };
        for v in [Some(&g.x), Some(&g.w), out].into_iter().flatten() {
            if (v.strides.inner as i32 - 1).rem_euclid(machine.lanes as i32) != 0 {
                return Err(Stop { trap: Trap::Stride, info: v.strides.to_bits() });
            }
        }
        let x = memory.check(Bank::Half, &Walk::new(&g.x), m, k)?;
        let w = memory.check(Bank::Half, &Walk::new(&g.w), k, n)?;
        let bias = match g.init {
            Init::BiasPerColumn(b) => Some(memory.check(Bank::Half, &Walk::contiguous(b.addr.0), 1, n)?),
            Init::BiasPerRow(b) => Some(memory.check(Bank::Half, &Walk::contiguous(b.addr.0), 1, m)?),
            Init::Zero | Init::Accumulators => None,
        };
        let walk = out.map(Walk::new);
        let out = walk.map(|walk| Ok((bank, memory.check(bank, &walk, m, n)?))).transpose()?;
        let mask = match (g.mask, walk) {
            (Mask::Write(b) | Mask::Apply(b), Some(walk)) => {
                Some(memory.check(Bank::Mask, &walk.rebased(b.addr.0), m, n)?)
            }
            _ => None,
        };
        Ok(Views { x, w, bias, out, mask })
    }
}

/// Resizes without caring for what is in there.
fn room<T: Copy + Default>(v: &mut Vec<T>, len: usize) -> &mut [T] {
    if v.len() < len {
        v.resize(len, T::default());
    }
    &mut v[..len]
}

/// The bias as FP32 bits, one per row or column.
fn load_bias(memory: &Memory, g: &Gemm, views: &Views, to: &mut Vec<u32>) {
    let count = if matches!(g.init, Init::BiasPerRow(_)) { g.m } else { g.n } as usize;
    if let Some(grid) = &views.bias {
        memory.load_half(grid, (0, 0), count, room(to, count));
    }
}

/// Fills the sums of rows `first..first + count` with the start values.
fn start(memory: &mut Memory, g: &Gemm, p: &Problem, first: usize, count: usize, bias: &[u32], sums: &mut [f32]) {
    let per_lane = match g.init {
        Init::Zero => return sums.fill(0.0),
        Init::Accumulators => {
            for (r, row) in sums.chunks_exact_mut(p.pitch()).take(count).enumerate() {
                for_accumulators(memory, g, p, first + r, |lanes, accumulators| {
                    row[lanes].iter_mut().zip(accumulators).for_each(|(s, &mut a)| *s = a);
                });
            }
            return;
        }
        Init::BiasPerColumn(_) => !p.swapped,
        Init::BiasPerRow(_) => p.swapped,
    };
    for (r, row) in sums.chunks_exact_mut(p.pitch()).take(count).enumerate() {
        if per_lane {
            row.iter_mut().zip(&bias[..p.lanes]).for_each(|(s, &b)| *s = f32::from_bits(b));
        } else {
            row.fill(f32::from_bits(bias[first + r]));
        }
    }
}

/// Calls `visit` with ranges of lanes of a row and their accumulators: row m of column tile t lies at `acc_base + t·M + m`.
fn for_accumulators(
    memory: &mut Memory,
    g: &Gemm,
    p: &Problem,
    row: usize,
    mut visit: impl FnMut(Range<usize>, StepBy<IterMut<f32>>),
) {
    let n = memory.machine.lanes as usize;
    let start = |tile: usize, m: usize| (g.acc_base as usize + tile * g.m as usize + m) * n;
    if p.swapped {
        let at = start(row / n, 0) + row % n;
        return visit(0..p.lanes, memory.accumulators[at..].iter_mut().step_by(n));
    }
    for lane in (0..p.lanes).step_by(n) {
        let at = start(lane / n, row);
        visit(lane..p.lanes.min(lane + n), memory.accumulators[at..at + n].iter_mut().step_by(1));
    }
}

/// Leaves the sums of rows `first..first + count` in the accumulator memory.
fn keep(memory: &mut Memory, g: &Gemm, p: &Problem, first: usize, count: usize, sums: &[f32]) {
    for (r, row) in sums.chunks_exact(p.pitch()).take(count).enumerate() {
        for_accumulators(memory, g, p, first + r, |lanes, accumulators| {
            accumulators.zip(&row[lanes]).for_each(|(a, &s)| *a = f32::from_bits(float::canonical(s)));
        });
    }
}

/// Epilogue of rows `first..first + count`: ReLU on the FP32 sum, rounding, mask, flag, write.
#[allow(clippy::too_many_arguments)]
fn write(
    memory: &mut Memory,
    g: &Gemm,
    p: &Problem,
    views: &Views,
    (bank, out): &(Bank, Grid),
    (first, count): (usize, usize),
    s: &mut Scratch,
    offender: &mut FirstOffender,
) {
    let (level, pitch, out) = (memory.level, p.pitch(), p.turn(*out));
    let half = *bank == Bank::Half;
    let bits = &mut s.bits[..count * pitch];
    let halves = &mut s.halves[..if half { count * pitch } else { 0 }];
    finish(level, &s.sums[..count * pitch], g.relu, bits, halves);
    if let Some(grid) = views.mask.map(|m| p.turn(m)) {
        let mask = &mut s.mask[..p.lanes];
        for r in 0..count {
            let at = r * pitch..r * pitch + p.lanes;
            match (g.mask, half) {
                (Mask::Write(_), true) => {
                    let positive = |h: u16| h as i16 > 0 && h <= 0x7c00;
                    mask.iter_mut().zip(&halves[at]).for_each(|(b, &h)| *b = positive(h));
                    memory.store_mask(&grid, first + r, mask);
                }
                (Mask::Write(_), false) => {
                    mask.iter_mut().zip(&bits[at]).for_each(|(b, &v)| *b = f32::from_bits(v) > 0.0);
                    memory.store_mask(&grid, first + r, mask);
                }
                (_, true) => {
                    memory.load_mask(&grid, first + r, mask);
                    halves[at].iter_mut().zip(&*mask).for_each(|(h, &b)| *h = if b { *h } else { 0 });
                }
                (_, false) => {
                    memory.load_mask(&grid, first + r, mask);
                    bits[at].iter_mut().zip(&*mask).for_each(|(v, &b)| *v = if b { *v } else { 0 });
                }
            }
        }
    }
    let mut any = false;
    look(level, bits, halves, &mut any);
    for r in 0..count {
        let at = r * pitch..r * pitch + p.lanes;
        if any {
            // (within a row, the first offender is also the first to be written; in the padding it may be a false alarm)
            let lane = match half {
                true => float::first_half_nonfinite(&halves[at.clone()]),
                false => float::first_single_nonfinite(&bits[at.clone()]),
            };
            if let Some(lane) = lane {
                offender.note(p.place(first + r, lane), out.walk.at(first + r, lane) | bank.mark());
            }
        }
        if half {
            memory.store_half(&out, (first + r, 0), p.lanes, &halves[at]);
        } else {
            memory.store_single(&out, (first + r, 0), p.lanes, &bits[at]);
        }
    }
}
