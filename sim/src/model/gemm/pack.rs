//! Operands as FP32, in the order in which the kernels read them. A NaN may become another one: results have one NaN only.

use crate::model::float;
use crate::model::memory::{Bank, Grid, Memory};
use crate::model::simd::{EIGHT, convert, leveled, transpose8, widen8};

/// FP16 elements of an operand: (i, j) is `start + i·outer + j·inner` in `hmem`, or in what was gathered from it.
#[derive(Clone, Copy)]
pub struct Matrix {
    start: usize,
    /// From one i to the next.
    pub outer: isize,
    /// From one j to the next.
    pub inner: isize,
    gathered: bool,
}

impl Matrix {
    /// An operand of rows × cols elements. One that wraps around the end of its memory's addresses is gathered first.
    pub fn new(memory: &Memory, grid: &Grid, (rows, cols): (usize, usize), gathered: &mut Vec<u16>) -> Matrix {
        if let Some(start) = grid.start {
            let (outer, inner) = (grid.walk.outer as isize, grid.walk.inner as isize);
            return Matrix { start, outer, inner, gathered: false };
        }
        let element = |r, c| memory.index(Bank::Half, grid.walk.at(r, c)).map_or(0, |at| memory.half[at]);
        gathered.clear();
        gathered.extend((0..rows).flat_map(|r| (0..cols).map(move |c| (r, c))).map(|(r, c)| element(r, c)));
        Matrix { start: 0, outer: cols as isize, inner: 1, gathered: true }
    }

    /// Where the elements are.
    pub fn elements<'a>(&self, memory: &'a Memory, gathered: &'a [u16]) -> &'a [u16] {
        if self.gathered { gathered } else { &memory.half }
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Matrix {
        Matrix { outer: self.inner, inner: self.outer, ..self }
    }

    /// Index of element (i, j).
    #[inline(always)]
    fn at(&self, i: usize, j: usize) -> usize {
        self.start.wrapping_add_signed(i as isize * self.outer + j as isize * self.inner)
    }
}

/// Neighbours as FP32.
#[inline(always)]
fn widen_each<const HW: bool>(from: &[u16], to: &mut [f32]) {
    convert::<HW, _, _>(from, to, widen8, |h| f32::from_bits(float::widen(h)));
}

/// One panel, `[k][cols]`, of which the first `lanes` columns are there; the others keep what they hold.
#[inline(always)]
fn panel<const HW: bool>(half: &[u16], m: &Matrix, first: usize, lanes: usize, cols: usize, to: &mut [f32]) {
    if m.inner == 1 {
        for (i, row) in to.chunks_exact_mut(cols).enumerate() {
            let at = m.at(i, first);
            widen_each::<HW>(&half[at..at + lanes], &mut row[..lanes]);
        }
        return;
    }
    let k = to.len() / cols;
    // Eight columns and eight k at a time, transposed in registers, where columns lie along k.
    let (wide, deep) = if HW && m.outer == 1 { (lanes & !7, k & !7) } else { (0, 0) };
    for c in (0..wide).step_by(EIGHT) {
        let columns: [&[u16]; EIGHT] = std::array::from_fn(|j| &half[m.at(0, first + c + j)..][..deep]);
        for i in (0..deep).step_by(EIGHT) {
            let block = columns.map(|column| column[i..].first_chunk().copied().unwrap_or_default());
            for (j, row) in transpose8(&block).iter().enumerate() {
                let at = (i + j) * cols + c;
                to[at..at + EIGHT].copy_from_slice(&widen8(row));
            }
        }
    }
    for c in 0..lanes {
        for i in if c < wide { deep } else { 0 }..k {
            to[i * cols + c] = f32::from_bits(float::widen(half[m.at(i, first + c)]));
        }
    }
}

leveled! {
    /// An operand of k × `lanes` elements in panels of `cols` columns: `[panel][k][column]`. `to` has room for whole panels.
    pub fn<HW> panels(half: &[u16], m: &Matrix, k: usize, lanes: usize, cols: usize, to: &mut [f32]) {
        for (p, to) in to.chunks_exact_mut(k * cols).enumerate() {
            panel::<HW>(half, m, p * cols, cols.min(lanes - p * cols), cols, to);
        }
    }
}

leveled! {
    /// Rows `first..` of an operand, `cols` elements each, until `to` is full.
    pub fn<HW> rows(half: &[u16], m: &Matrix, first: usize, cols: usize, to: &mut [f32]) {
        for (r, row) in to.chunks_exact_mut(cols).enumerate() {
            let at = m.at(first + r, 0);
            if m.inner == 1 {
                widen_each::<HW>(&half[at..at + cols], row);
            } else {
                for (c, t) in row.iter_mut().enumerate() {
                    *t = f32::from_bits(float::widen(half[m.at(first + r, c)]));
                }
            }
        }
    }
}
