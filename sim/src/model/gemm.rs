//! The matrix engine: `Out[m, n] = epilogue(init + Σ_k X[m, k]·W[k, n])`.
//!
//! Each sum is one FP32 chain, k ascending, one rounding per addition (products of FP16 numbers are exact in FP32). Sums of
//! different (m, n) are independent, so vectors run along n and the bits stay those of the naive triple loop.

use systole_isa::instr::{Gemm, Init, Mask, Output};
use systole_isa::regs::Trap;

use super::float;
use super::memory::{Bank, Memory, Stop, Walk};
use super::simd::{Level, leveled};

/// Where an instruction first wrote a non-finite value, as [`systole_isa::regs::FLAG_ADDR`] gives it.
pub type Offender = Option<u32>;

/// Buffers that are kept between instructions.
#[derive(Default)]
pub struct Scratch {
    x: Vec<f32>,
    w: Vec<f32>,
    sums: Vec<f32>,
    line: Vec<u32>,
}

/// Rows of sums that a kernel keeps in vector registers.
const ROWS: usize = 4;

/// Columns of sums that a kernel keeps in vector registers, and those of a narrower last panel.
#[derive(Clone, Copy)]
struct Tile {
    cols: usize,
    narrow: usize,
}

const fn tile(level: Level) -> Tile {
    match level {
        Level::Avx512 => Tile { cols: 32, narrow: 16 },
        Level::Avx2 => Tile { cols: 16, narrow: 8 },
        Level::Base => Tile { cols: 8, narrow: 4 },
    }
}

impl Tile {
    /// Columns of the panel that starts at column `at` of `n`.
    fn panel(&self, at: usize, n: usize) -> usize {
        if n - at <= self.narrow { self.narrow } else { self.cols }
    }

    /// Columns in all panels.
    fn padded(&self, n: usize) -> usize {
        let whole = n / self.cols * self.cols;
        if whole == n { n } else { whole + self.panel(whole, n) }
    }
}

/// `sums[r][c] += x[k][r]·w[k][c]`, k ascending, over one block of packed rows and one packed panel.
#[inline(always)]
fn kernel<const ROWS: usize, const COLS: usize>(x: &[f32], w: &[f32], sums: &mut [f32], pitch: usize) {
    let mut acc = [[0f32; COLS]; ROWS];
    for (r, a) in acc.iter_mut().enumerate() {
        a.copy_from_slice(&sums[r * pitch..r * pitch + COLS]);
    }
    for (x, w) in x.chunks_exact(ROWS).zip(w.chunks_exact(COLS)) {
        for r in 0..ROWS {
            for c in 0..COLS {
                acc[r][c] += x[r] * w[c];
            }
        }
    }
    for (r, a) in acc.iter().enumerate() {
        sums[r * pitch..r * pitch + COLS].copy_from_slice(a);
    }
}

leveled! {
    /// [`kernel`] for a panel of `cols` columns.
    fn product(x: &[f32], w: &[f32], sums: &mut [f32], pitch: usize, cols: usize) {
        match cols {
            32 => kernel::<ROWS, 32>(x, w, sums, pitch),
            16 => kernel::<ROWS, 16>(x, w, sums, pitch),
            8 => kernel::<ROWS, 8>(x, w, sums, pitch),
            _ => kernel::<ROWS, 4>(x, w, sums, pitch),
        }
    }
}

/// As [`kernel`], with every partial sum rounded to FP32 and then to FP16: the ablation of an array without wide accumulators.
fn half_sums(x: &[f32], w: &[f32], sums: &mut [f32], pitch: usize, cols: usize) {
    for (x, w) in x.chunks_exact(ROWS).zip(w.chunks_exact(cols)) {
        for (r, &x) in x.iter().enumerate() {
            for (s, &w) in sums[r * pitch..].iter_mut().zip(w) {
                *s = f32::from_bits(float::widen(float::narrow((*s + x * w).to_bits())));
            }
        }
    }
}

leveled! {
    /// ReLU where wanted, and the one NaN.
    fn finish(sums: &[f32], relu: bool, to: &mut [u32]) {
        for (t, &v) in to.iter_mut().zip(sums) {
            let kept = !relu || v > 0.0 || v.is_nan();
            *t = if kept { float::canonical(v) } else { 0 };
        }
    }
}

/// Runs one instruction whose bases are resolved. Nothing is written where it stops.
pub fn run(memory: &mut Memory, g: &Gemm) -> Result<Offender, Stop> {
    let views = Views::check(memory, g)?;
    let (m, k, n) = (g.m as usize, g.k as usize, g.n as usize);
    let level = memory.level;
    let tile = tile(level);
    let mut scratch = std::mem::take(&mut memory.scratch);
    let pitch = tile.padded(n);
    let rows = m.next_multiple_of(ROWS);

    pack_rows(memory, &views.x, (m, k), &mut scratch.line, &mut scratch.x);
    pack_columns(memory, &views.w, (k, n), &tile, &mut scratch.line, &mut scratch.w);
    start(memory, g, &views, (rows, pitch), &mut scratch);

    for r in (0..rows).step_by(ROWS) {
        let x = &scratch.x[r * k..(r + ROWS) * k];
        let mut c = 0;
        while c < n {
            let cols = tile.panel(c, n);
            let w = &scratch.w[c * k..(c + cols) * k];
            let sums = &mut scratch.sums[r * pitch + c..];
            if memory.half_sums {
                half_sums(x, w, sums, pitch, cols);
            } else {
                product(level, x, w, sums, pitch, cols);
            }
            c += cols;
        }
    }

    let offender = match g.out {
        Output::Keep => {
            keep(memory, g, pitch, &scratch.sums);
            None
        }
        _ => write(memory, g, &views, pitch, &mut scratch),
    };
    memory.scratch = scratch;
    Ok(offender)
}

/// An instruction's operands, found legal.
struct Views {
    x: Walk,
    w: Walk,
    bias: Option<Walk>,
    out: Option<(Bank, Walk)>,
    mask: Option<Walk>,
}

impl Views {
    fn check(memory: &Memory, g: &Gemm) -> Result<Views, Stop> {
        let machine = &memory.machine;
        let (m, k, n) = (g.m as usize, g.k as usize, g.n as usize);
        let block = g.m_block as u32 * g.n_group as u32 + g.acc_base as u32;
        let kept = matches!(g.out, Output::Keep) || matches!(g.init, Init::Accumulators);
        let whole = g.m <= g.m_block && (g.n as u32).div_ceil(machine.lanes) <= g.n_group as u32;
        if block > machine.acc_rows || kept && !whole {
            return Err(Stop { trap: Trap::Size, info: u32::from(g.n) });
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
        let (x, w) = (Walk::new(&g.x), Walk::new(&g.w));
        memory.check(Bank::Half, &x, m, k)?;
        memory.check(Bank::Half, &w, k, n)?;
        let bias = match g.init {
            Init::BiasPerColumn(b) => Some((Walk::contiguous(b.addr.0), n)),
            Init::BiasPerRow(b) => Some((Walk::contiguous(b.addr.0), m)),
            Init::Zero | Init::Accumulators => None,
        };
        if let Some((walk, count)) = &bias {
            memory.check(Bank::Half, walk, 1, *count)?;
        }
        let out = out.map(|v| (bank, Walk::new(v)));
        let mask = match (g.mask, &out) {
            (Mask::Write(b) | Mask::Apply(b), Some((_, out))) => Some(out.rebased(b.addr.0)),
            _ => None,
        };
        if let Some((bank, walk)) = &out {
            memory.check(*bank, walk, m, n)?;
        }
        if let Some(walk) = &mask {
            memory.check(Bank::Mask, walk, m, n)?;
        }
        Ok(Views { x, w, bias: bias.map(|b| b.0), out, mask })
    }
}

/// Resizes without caring for what is in there.
fn room<T: Copy + Default>(v: &mut Vec<T>, len: usize) -> &mut [T] {
    if v.len() < len {
        v.resize(len, T::default());
    }
    &mut v[..len]
}

/// X as FP32, in blocks of [`ROWS`] rows: `[row / ROWS][k][row % ROWS]`. Rows beyond m hold anything; their sums are dropped.
fn pack_rows(memory: &Memory, x: &Walk, (m, k): (usize, usize), line: &mut Vec<u32>, to: &mut Vec<f32>) {
    let to = room(to, m.next_multiple_of(ROWS) * k);
    if x.inner != 1 && x.outer == 1 {
        let x = x.transposed();
        let line = room(line, m);
        for i in 0..k {
            memory.load_half(&x, i, 0, line);
            for (b, values) in line.chunks(ROWS).enumerate() {
                let at = (b * k + i) * ROWS;
                for (t, &v) in to[at..].iter_mut().zip(values) {
                    *t = f32::from_bits(v);
                }
            }
        }
        return;
    }
    let line = room(line, k);
    for r in 0..m {
        memory.load_half(x, r, 0, line);
        let lane = to[r / ROWS * ROWS * k..][r % ROWS..].iter_mut().step_by(ROWS);
        for (t, &v) in lane.zip(line.iter()) {
            *t = f32::from_bits(v);
        }
    }
}

/// W as FP32, in panels of columns: `[panel][k][column]`. Columns beyond n hold anything.
fn pack_columns(
    memory: &Memory,
    w: &Walk,
    (k, n): (usize, usize),
    tile: &Tile,
    line: &mut Vec<u32>,
    to: &mut Vec<f32>,
) {
    let to = room(to, tile.padded(n) * k);
    if w.inner != 1 && w.outer == 1 {
        let w = w.transposed();
        let line = room(line, k);
        for c in 0..n {
            memory.load_half(&w, c, 0, line);
            let start = c / tile.cols * tile.cols;
            let cols = tile.panel(start, n);
            let lane = to[start * k..][c - start..].iter_mut().step_by(cols);
            for (t, &v) in lane.zip(line.iter()) {
                *t = f32::from_bits(v);
            }
        }
        return;
    }
    let line = room(line, n);
    for i in 0..k {
        memory.load_half(w, i, 0, line);
        for (p, values) in line.chunks(tile.cols).enumerate() {
            let start = p * tile.cols;
            let at = start * k + i * tile.panel(start, n);
            for (t, &v) in to[at..].iter_mut().zip(values) {
                *t = f32::from_bits(v);
            }
        }
    }
}

/// Fills the sums with the start values.
fn start(memory: &Memory, g: &Gemm, views: &Views, (rows, pitch): (usize, usize), scratch: &mut Scratch) {
    let sums = room(&mut scratch.sums, rows * pitch);
    let (m, n) = (g.m as usize, g.n as usize);
    let bias = |line: &mut Vec<u32>, count| {
        if let Some(walk) = &views.bias {
            memory.load_half(walk, 0, 0, room(line, count));
        }
    };
    match g.init {
        Init::Zero => sums.fill(0.0),
        Init::BiasPerColumn(_) => {
            bias(&mut scratch.line, n);
            for row in sums.chunks_exact_mut(pitch) {
                for (s, &b) in row.iter_mut().zip(&scratch.line[..n]) {
                    *s = f32::from_bits(b);
                }
            }
        }
        Init::BiasPerRow(_) => {
            bias(&mut scratch.line, m);
            for (row, &b) in sums.chunks_exact_mut(pitch).zip(&scratch.line[..m]) {
                row.fill(f32::from_bits(b));
            }
        }
        Init::Accumulators => {
            let lanes = memory.machine.lanes as usize;
            for (r, row) in sums.chunks_exact_mut(pitch).take(m).enumerate() {
                for (t, part) in row[..n].chunks_mut(lanes).enumerate() {
                    let at = (g.acc_base as usize + t * m + r) * lanes;
                    part.copy_from_slice(&memory.accumulators[at..at + part.len()]);
                }
            }
        }
    }
}

/// Leaves the sums in the accumulator memory: row r of tile t at `acc_base + t·m + r`.
fn keep(memory: &mut Memory, g: &Gemm, pitch: usize, sums: &[f32]) {
    let lanes = memory.machine.lanes as usize;
    let (m, n) = (g.m as usize, g.n as usize);
    for (r, row) in sums.chunks_exact(pitch).take(m).enumerate() {
        for (t, part) in row[..n].chunks(lanes).enumerate() {
            let at = (g.acc_base as usize + t * m + r) * lanes;
            for (a, &v) in memory.accumulators[at..].iter_mut().zip(part) {
                *a = f32::from_bits(float::canonical(v));
            }
        }
    }
}

/// Epilogue: ReLU on the FP32 sum, rounding, mask, flag, write.
fn write(memory: &mut Memory, g: &Gemm, views: &Views, pitch: usize, scratch: &mut Scratch) -> Offender {
    let (m, n) = (g.m as usize, g.n as usize);
    let Some((bank, out)) = &views.out else {
        return None;
    };
    let level = memory.level;
    let line = room(&mut scratch.line, n);
    let mut halves = vec![0u16; if *bank == Bank::Half { n } else { 0 }];
    let mut bits = vec![false; if views.mask.is_some() { n } else { 0 }];
    // The engine writes column groups, blocks of rows, tiles of columns, rows, lanes, in this order, outermost first.
    let lanes = memory.machine.lanes as usize;
    let place = |r: usize, c: usize| (c / lanes / g.n_group as usize, r / g.m_block as usize, c / lanes, r, c);
    let mut offender: Option<((usize, usize, usize, usize, usize), u32)> = None;
    for r in 0..m {
        finish(level, &scratch.sums[r * pitch..r * pitch + n], g.relu, line);
        float::narrow_all(level, line, &mut halves);
        match (&views.mask, g.mask) {
            (Some(walk), Mask::Write(_)) => {
                if *bank == Bank::Half {
                    bits.iter_mut().zip(&halves).for_each(|(b, &h)| *b = h as i16 > 0 && h <= 0x7c00);
                } else {
                    bits.iter_mut().zip(line.iter()).for_each(|(b, &v)| *b = f32::from_bits(v) > 0.0);
                }
                memory.store_mask(walk, r, 0, &bits);
            }
            (Some(walk), Mask::Apply(_)) => {
                memory.load_mask(walk, r, 0, &mut bits);
                halves.iter_mut().zip(&bits).filter(|(_, b)| !**b).for_each(|(h, _)| *h = 0);
                line.iter_mut().zip(&bits).filter(|(_, b)| !**b).for_each(|(v, _)| *v = 0);
            }
            _ => {}
        }
        let wrong = |c: &usize| match bank {
            Bank::Half => float::half_nonfinite(halves[*c]),
            _ => float::single_nonfinite(line[*c]),
        };
        // Within a row, the first offender is also the first to be written.
        if let Some(c) = (0..n).find(wrong) {
            let at = place(r, c);
            if offender.is_none_or(|(first, _)| at < first) {
                offender = Some((at, out.at(r, c) | bank.mark()));
            }
        }
        if *bank == Bank::Half {
            memory.store_half(out, r, 0, &halves);
        } else {
            memory.store_single(out, r, 0, line);
        }
    }
    offender.map(|(_, address)| address)
}
