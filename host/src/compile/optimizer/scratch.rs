//! Temporaries of an update program, all FP32.
//!
//! An update works in [`SLOT`] temporaries of a piece of a parameter. Matrices share one set and go through it in at most
//! [`PIECES`] pieces of whole rows; each vector has a small set of its own, so that its chain of short instructions runs in
//! the shadow of a matrix. No result depends on how a parameter is cut.

use super::{Clip, Master, Optimizer, Recipe};
use crate::compile::build::Matrix;

/// Planes of the temporaries of a set.
const SLOT: [u32; 5] = [0, 0, 1, 1, 0];
/// Elements of a temporary below which a matrix is not cut.
const SMALL: u32 = 2048;
/// Most pieces of a matrix.
const PIECES: u32 = 4;
/// Rows that are squared into one set of sums at least, and in how many instructions at most.
const NORM_ROWS: u32 = 8;
/// Single numbers that the norm works on, per plane.
const NORM_NUMBERS: u32 = 4;

/// A temporary that wants a place: name, plane, rows, columns.
pub(crate) type Wanted = (String, u32, u32, u32);

/// Which temporaries an update needs, and where they are.
#[derive(Clone, Debug)]
pub(crate) struct Scratch {
    wanted: Vec<Wanted>,
    /// Per parameter: first temporary of its set.
    sets: Vec<usize>,
    /// Temporaries per set.
    slot: usize,
    norm: Option<usize>,
}

/// Rows of a piece of a `rows × cols` parameter.
pub(crate) fn piece_rows(rows: u32, cols: u32) -> u32 {
    let enough = (SMALL / cols).max(1).min(rows);
    rows.div_ceil(PIECES).max(enough)
}

/// Rows of the partial sums of squares of a parameter with `rows` rows.
pub(crate) fn norm_rows(rows: u32) -> u32 {
    rows.div_ceil(NORM_ROWS).max(NORM_ROWS).min(rows)
}

/// How many temporaries a set has.
fn slot(r: &Recipe) -> usize {
    match r.optimizer {
        Optimizer::Adam { .. } | Optimizer::Adagrad { .. } => SLOT.len(),
        _ => {
            let dampened = matches!(r.optimizer, Optimizer::Momentum { .. });
            let staged = r.clip != Clip::None || r.weight_decay != 0.0 || r.ema.is_some() || dampened;
            let half = r.master == Master::Half && r.decoupled;
            if half {
                3
            } else if staged {
                2
            } else {
                0
            }
        }
    }
}

impl Scratch {
    /// What the update of parameters of these shapes needs.
    pub(crate) fn new(recipe: &Recipe, shapes: &[(u32, u32)]) -> Scratch {
        let slot = slot(recipe);
        let mut s = Scratch { wanted: Vec::new(), sets: Vec::new(), slot, norm: None };
        let pieces = shapes.iter().filter(|s| s.0 > 1).map(|&(r, c)| piece_rows(r, c) * c);
        let largest = pieces.max().unwrap_or(0);
        let mut matrices = None;
        for &(rows, cols) in shapes {
            let set = if rows > 1 { *matrices.get_or_insert_with(|| s.set(largest)) } else { s.set(cols) };
            s.sets.push(set);
        }
        if matches!(recipe.clip, Clip::Norm(_)) {
            s.norm = Some(s.wanted.len());
            let squares = shapes.iter().map(|&(r, c)| norm_rows(r) * c).max().unwrap_or(1);
            s.wanted.push(("squares of gradients".into(), 1, 1, squares));
            for plane in 0..2 {
                s.wanted.push((format!("gradient norm {plane}"), plane, 1, NORM_NUMBERS));
            }
        }
        s
    }

    fn set(&mut self, elements: u32) -> usize {
        let first = self.wanted.len();
        for (i, &plane) in SLOT.iter().enumerate().take(self.slot) {
            self.wanted.push((format!("update {first}.{i}"), plane, 1, elements));
        }
        first
    }

    /// What to declare.
    pub(crate) fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    /// The set of parameter `i` as matrices with `cols` columns, given where each temporary is.
    pub(crate) fn of(&self, i: usize, cols: u32, places: &[Matrix]) -> Vec<Matrix> {
        let set = &places[self.sets[i]..self.sets[i] + self.slot];
        set.iter().map(|m| Matrix { row: cols, ..*m }).collect()
    }

    /// Squares with `cols` columns, then single numbers per plane.
    pub(crate) fn norm(&self, cols: u32, places: &[Matrix]) -> (Matrix, [[Matrix; NORM_NUMBERS as usize]; 2]) {
        let first = self.norm.expect("declared where gradients are clipped by their norm");
        let numbers = |m: Matrix| std::array::from_fn(|i| m.at(0, i as u32));
        (Matrix { row: cols, ..places[first] }, [numbers(places[first + 1]), numbers(places[first + 2])])
    }
}
