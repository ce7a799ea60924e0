//! The innermost loops: a tile of sums in vector registers, k outermost.

use crate::model::float;
use crate::model::simd::{Level, leveled, mul_add};

/// Sums that a kernel keeps in vector registers: rows × columns, in whole vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Rows.
    pub rows: usize,
    /// Columns: as many lanes as one to three vectors have.
    pub cols: usize,
}

impl Tile {
    /// Vectors and rows of the tiles, and what a sum of theirs costs. Each keeps enough sums under way to hide the latency of an
    /// addition, and leaves registers for the vectors of the panel and two elements of rows: of 4 rows of 3 vectors, one sum
    /// would live in memory. The last loads more than it computes.
    const SHAPES: [(usize, usize, usize); 3] = [(2, 6, 10), (3, 3, 10), (1, 8, 12)];

    /// The tile that takes the least for rows × lanes sums, those in vain included.
    pub fn best(level: Level, rows: usize, lanes: usize) -> Tile {
        let width = match level {
            Level::Avx512 => 16,
            Level::Avx2 => 8,
            Level::Base => 4,
        };
        let tiles = Tile::SHAPES.map(|(vectors, rows, cost)| (Tile { rows, cols: vectors * width }, cost));
        let whole = |(t, cost): &(Tile, usize)| rows.next_multiple_of(t.rows) * lanes.next_multiple_of(t.cols) * cost;
        tiles.into_iter().min_by_key(whole).unwrap_or(tiles[0]).0
    }
}

/// Rows of an operand as FP32: element k of row r is `values[r·pitch + k·step]`.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// The elements.
    pub values: &'a [f32],
    /// From one row to the next.
    pub pitch: usize,
    /// From one k to the next.
    pub step: usize,
    /// Rows that there are. A tile has more at the end; those repeat the last one, and nobody looks at their sums.
    pub count: usize,
}

/// `sums[r][c] += rows[r][k]·panel[k][c]`, k ascending. A panel has `COLS` columns and says how many k there are.
#[inline(always)]
fn tile<const HW: bool, const ROWS: usize, const COLS: usize>(
    rows: Rows,
    panel: &[f32],
    sums: &mut [f32],
    pitch: usize,
) {
    let panel = panel.as_chunks::<COLS>().0;
    let Some(last) = panel.len().checked_sub(1) else { return };
    let start: [usize; ROWS] = std::array::from_fn(|r| r.min(rows.count - 1) * rows.pitch);
    assert!(start[ROWS - 1] + last * rows.step < rows.values.len());
    let mut acc = [[0f32; COLS]; ROWS];
    for (r, a) in acc.iter_mut().enumerate() {
        a.copy_from_slice(&sums[r * pitch..r * pitch + COLS]);
    }
    for (k, w) in panel.iter().enumerate() {
        for r in 0..ROWS {
            // SAFETY: `start` ascends with r and k is at most `last`: the assertion covers all of them.
            #[allow(unsafe_code)]
            let x = unsafe { *rows.values.get_unchecked(start[r] + k * rows.step) };
            for c in 0..COLS {
                acc[r][c] = mul_add::<HW>(x, w[c], acc[r][c]);
            }
        }
    }
    for (r, a) in acc.iter().enumerate() {
        sums[r * pitch..r * pitch + COLS].copy_from_slice(a);
    }
}

leveled! {
    /// Adds the products of some rows and a panel to a tile of sums whose rows lie `pitch` apart.
    pub fn<HW> product(shape: Tile, rows: Rows, panel: &[f32], sums: &mut [f32], pitch: usize) {
        match (shape.rows, shape.cols) {
            (3, 48) => tile::<HW, 3, 48>(rows, panel, sums, pitch),
            (6, 32) => tile::<HW, 6, 32>(rows, panel, sums, pitch),
            (8, 16) => tile::<HW, 8, 16>(rows, panel, sums, pitch),
            (3, 24) => tile::<HW, 3, 24>(rows, panel, sums, pitch),
            (6, 16) => tile::<HW, 6, 16>(rows, panel, sums, pitch),
            (8, 8) => tile::<HW, 8, 8>(rows, panel, sums, pitch),
            (3, 12) => tile::<HW, 3, 12>(rows, panel, sums, pitch),
            (6, 8) => tile::<HW, 6, 8>(rows, panel, sums, pitch),
            _ => tile::<HW, 8, 4>(rows, panel, sums, pitch),
        }
    }
}

/// As [`product`], with every partial sum rounded to FP32 and then to FP16: the ablation of an array without wide accumulators.
pub fn half_sums(shape: Tile, rows: Rows, panel: &[f32], sums: &mut [f32], pitch: usize) {
    for (k, w) in panel.chunks_exact(shape.cols).enumerate() {
        for r in 0..rows.count {
            let x = rows.values[r * rows.pitch + k * rows.step];
            for (s, &w) in sums[r * pitch..].iter_mut().zip(w) {
                *s = f32::from_bits(float::widen(float::narrow((*s + x * w).to_bits())));
            }
        }
    }
}
