//! The 2-norm of all gradients together, and the factor that clips by it.
//!
//! Squares are added row by row into a few rows of partial sums, these are folded by halves, then their columns, and the sums of the
//! parameters are added in order: an order that depends on shapes alone. Squares are of *unscaled* gradients in FP32, so
//! neither a large loss scale nor many elements overflow them.

use super::scratch::norm_rows;
use super::{Scratch, UpdateTensors};
use crate::compile::build::{Builder, Matrix};
use crate::compile::functions::{reciprocal, sqrt};
use systole_isa::instr::VectorOp;
use systole_isa::operand::{Dest, Modifiers, Source};
use systole_isa::sreg;

/// Scalar register with the factor of all gradients.
pub(super) const FACTOR: usize = sreg::TEMP;
/// Scalar registers with the sum of squares of one parameter, and of all so far.
const ONE_SUM: usize = sreg::TEMP + 1;
const ALL_SUMS: usize = sreg::TEMP + 2;
/// Added to the norm, as in PyTorch.
const TINY: f32 = 1e-6;

fn scalar(r: usize) -> Source {
    Source::Sreg(r as u8, Modifiers::default())
}

/// Appends what computes the norm into `GRAD_NORM` and `min(1, limit/(norm + 1e-6))` into [`FACTOR`]. `sources[i]` is the unscaled gradient
/// of parameter `i` from a row on.
pub(super) fn norm(
    b: &mut Builder,
    limit: f32,
    tensors: &[UpdateTensors],
    source: impl Fn(&UpdateTensors, u32) -> Source,
    scratch: &Scratch,
    places: &[Matrix],
) {
    const NONE: Source = Source::NEG_ZERO;
    for (i, t) in tensors.iter().enumerate() {
        let label = format!("{} norm", t.name);
        let (squares, _) = scratch.norm(t.cols, places);
        let block = norm_rows(t.rows);
        for start in (0..t.rows).step_by(block as usize) {
            let rows = block.min(t.rows - start);
            let g = source(t, start);
            let before = if start == 0 { NONE } else { squares.source() };
            b.op(&label, VectorOp::Mad, (rows, t.cols), [g, g, before], squares.dest());
        }
        b.fold_rows(&label, VectorOp::Mad, block, t.cols, squares, squares);
        b.sum_to_sreg(&label, t.cols, squares, Source::ONE, ONE_SUM, None);
        let before = if i == 0 { NONE } else { scalar(ALL_SUMS) };
        let add = [scalar(ONE_SUM), Source::ONE, before];
        b.op(&label, VectorOp::Mad, (1, 1), add, Dest::Sreg(ALL_SUMS as u8));
    }
    let (_, [zero, one]) = scratch.norm(1, places);
    let (label, single) = ("gradient norm", (1, 1));
    b.op(label, VectorOp::Mad, single, [scalar(ALL_SUMS), Source::ONE, NONE], zero[0].dest());
    let root = b.function(label, &sqrt(), single, zero[0], [&zero[1..], &one]);
    b.op(label, VectorOp::Mad, single, [root.source(), Source::ONE, NONE], Dest::Sreg(sreg::GRAD_NORM as u8));
    b.op(label, VectorOp::Mad, single, [root.source(), Source::ONE, Source::f32(TINY)], zero[0].dest());
    let inverse = b.function(label, &reciprocal(), single, zero[0], [&zero[1..], &one]);
    b.op(label, VectorOp::Mad, single, [inverse.source(), Source::f32(limit), NONE], zero[0].dest());
    let capped = [zero[0].source(), Source::ONE, NONE];
    b.op(label, VectorOp::Min, single, capped, Dest::Sreg(FACTOR as u8));
}
