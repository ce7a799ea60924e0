//! The update of every parameter as vector instructions: from FP16 gradients (times S) to FP32 masters and their FP16 copies.

use super::norm::{FACTOR, norm};
use super::scratch::piece_rows;
use super::{CORRECTION, Clip, DECAY, KEEP, Master, Optimizer, Recipe, Scratch, UpdateTensors, decimal};
use crate::compile::build::{Builder, Matrix};
use crate::compile::functions::{reciprocal, sqrt};
use systole_isa::instr::{Instr, Sync, Vector, VectorOp};
use systole_isa::operand::{Dest, Modifiers, Source};
use systole_isa::sreg;

const NONE: Source = Source::NEG_ZERO;

fn scalar(r: usize) -> Source {
    Source::Sreg(r as u8, Modifiers::default())
}

/// `1 − v`, rounded once from the decimal number that `v` stands for.
fn rest(v: f32) -> Source {
    Source::f32((1.0 - decimal(v)) as f32)
}

/// Adds the gradients of a micro-batch to their sums, or starts the sums: `sum = sum·KEEP + g/S`.
pub(crate) fn accumulate(b: &mut Builder, tensors: &[UpdateTensors]) {
    for t in tensors {
        let sum = t.sum.expect("declared where micro-batches are accumulated");
        let add = [sum.source(), scalar(KEEP), t.gradient.scaled()];
        b.op(&format!("{} accumulate", t.name), VectorOp::Mad, (t.rows, t.cols), add, sum.dest());
    }
}

/// The unscaled gradient from a row on.
fn gradient(t: &UpdateTensors, row: u32) -> Source {
    match t.sum {
        Some(sum) => sum.at(row, 0).source(),
        None => t.gradient.at(row, 0).scaled(),
    }
}

/// Updates all parameters. `places` holds the temporaries that `scratch` wants.
pub(crate) fn update(
    b: &mut Builder,
    recipe: &Recipe,
    tensors: &[UpdateTensors],
    scratch: &Scratch,
    places: &[Matrix],
) {
    if tensors.iter().any(|t| t.sum.is_some()) {
        accumulate(b, tensors);
    }
    if let Clip::Norm(limit) = recipe.clip {
        norm(b, limit, tensors, gradient, scratch, places);
    }
    for (i, t) in tensors.iter().enumerate() {
        let temporaries = scratch.of(i, t.cols, places);
        let whole = temporaries.is_empty();
        let step = if whole { t.rows } else { piece_rows(t.rows, t.cols) };
        for start in (0..t.rows).step_by(step as usize) {
            let at = |m: Matrix| m.at(start, 0);
            let mut piece = Piece {
                b,
                recipe,
                name: &t.name,
                size: (step.min(t.rows - start), t.cols),
                master: at(t.master),
                half: at(t.half),
                gradient: gradient(t, start),
                state: t.state.iter().map(|&m| at(m)).collect(),
                t: &temporaries,
            };
            piece.update();
        }
    }
}

/// Some rows of a parameter.
struct Piece<'a> {
    b: &'a mut Builder,
    recipe: &'a Recipe,
    name: &'a str,
    size: (u32, u32),
    master: Matrix,
    half: Matrix,
    gradient: Source,
    state: Vec<Matrix>,
    /// Temporaries; 0, 1 and 4 are in plane 0, 2 and 3 in plane 1.
    t: &'a [Matrix],
}

impl Piece<'_> {
    fn op(&mut self, what: &str, op: VectorOp, args: [Source; 3], d: Dest) {
        self.b.op(&format!("{} {what}", self.name), op, self.size, args, d);
    }
    fn mad(&mut self, what: &str, args: [Source; 3], d: Matrix) {
        self.op(what, VectorOp::Mad, args, d.dest());
    }

    fn update(&mut self) {
        self.clip();
        self.decay();
        let step = self.step();
        self.descend(step);
        self.average();
    }

    /// The weights that an update starts from.
    fn weights(&self) -> Matrix {
        if self.recipe.master == Master::Half { self.half } else { self.master }
    }

    fn clip(&mut self) {
        match self.recipe.clip {
            Clip::None => return,
            Clip::Norm(_) => self.mad("clip", [self.gradient, scalar(FACTOR), NONE], self.t[0]),
            Clip::Value(limit) => {
                self.op("clip", VectorOp::Max, [self.gradient, Source::f32(-limit), NONE], self.t[0].dest());
                self.op("clip", VectorOp::Min, [self.t[0].source(), Source::f32(limit), NONE], self.t[0].dest());
            }
        }
        self.gradient = self.t[0].source();
    }

    /// L2 goes into the gradient.
    fn decay(&mut self) {
        let Recipe { weight_decay, decoupled, .. } = *self.recipe;
        if weight_decay != 0.0 && !decoupled {
            let add = [self.weights().source(), Source::f32(weight_decay), self.gradient];
            self.mad("decay", add, self.t[0]);
            self.gradient = self.t[0].source();
        }
    }

    /// The optimizer's rule: what is to be multiplied by the negative learning rate.
    fn step(&mut self) -> Source {
        let g = self.gradient;
        match self.recipe.optimizer {
            Optimizer::Sgd { momentum: false } => g,
            Optimizer::Sgd { momentum: true } => {
                let buffer = self.state[0];
                self.mad("momentum", [buffer.source(), scalar(sreg::MOMENTUM), g], buffer);
                buffer.source()
            }
            Optimizer::Momentum { dampening, nesterov } => {
                let buffer = self.state[0];
                let mut share = g;
                if dampening != 0.0 {
                    self.mad("dampening", [g, scalar(CORRECTION), NONE], self.t[1]);
                    share = self.t[1].source();
                }
                self.mad("momentum", [buffer.source(), scalar(sreg::MOMENTUM), share], buffer);
                if !nesterov {
                    return buffer.source();
                }
                self.mad("nesterov", [buffer.source(), scalar(sreg::MOMENTUM), g], self.t[1]);
                self.t[1].source()
            }
            Optimizer::Adam { beta1, beta2, eps } => {
                let (mean, square) = (self.state[0], self.state[1]);
                self.mad("difference", [mean.neg(), Source::ONE, g], self.t[1]);
                self.mad("mean", [self.t[1].source(), rest(beta1), mean.source()], mean);
                self.mad("square", [g, rest(beta2), NONE], self.t[1]);
                self.mad("square", [self.t[1].source(), g, NONE], self.t[1]);
                self.mad("square", [square.source(), Source::f32(beta2), self.t[1].source()], square);
                let root = self.root(square);
                self.mad("denominator", [root.source(), scalar(CORRECTION), Source::f32(eps)], self.t[3]);
                let inverse = self.inverse();
                self.mad("quotient", [mean.source(), inverse.source(), NONE], self.t[3]);
                self.t[3].source()
            }
            Optimizer::Adagrad { eps } => {
                let sum = self.state[0];
                self.mad("sum", [g, g, sum.source()], sum);
                let root = self.root(sum);
                self.mad("denominator", [root.source(), Source::ONE, Source::f32(eps)], self.t[3]);
                let inverse = self.inverse();
                self.mad("quotient", [g, inverse.source(), NONE], self.t[3]);
                self.t[3].source()
            }
        }
    }

    /// The root of a moment, which is in plane 1: functions think of their argument's plane as 0. In `t[2]`.
    fn root(&mut self, x: Matrix) -> Matrix {
        let label = format!("{} root", self.name);
        self.b.function(&label, &sqrt(), self.size, x, [&self.t[2..4], &self.t[1..2]])
    }

    /// The reciprocal of `t[3]`, in `t[1]`.
    fn inverse(&mut self) -> Matrix {
        let label = format!("{} reciprocal", self.name);
        self.b.function(&label, &reciprocal(), self.size, self.t[3], [&self.t[2..3], &[self.t[1], self.t[4]]])
    }

    /// `p = p·(1 − lr·λ) − lr·step`, into the master and its FP16 copy.
    fn descend(&mut self, step: Source) {
        let mut from = self.weights();
        if self.recipe.decoupled && self.recipe.weight_decay != 0.0 {
            let decayed = if self.recipe.master == Master::Half { self.t[2] } else { self.master };
            self.mad("decay", [from.source(), scalar(DECAY), NONE], decayed);
            from = decayed;
        }
        let label = format!("{} update", self.name);
        let (d, copy) = match self.recipe.master {
            Master::Single => (self.master.dest(), Some(self.half.view())),
            Master::Half => (self.half.dest(), None),
        };
        let descend = Vector {
            sync: Sync::default(),
            op: VectorOp::Mad,
            rows: self.size.0 as u16,
            cols: self.size.1 as u16,
            x: step,
            y: scalar(sreg::NEG_LR),
            z: from.source(),
            d,
            copy,
            recurrent: false,
        };
        self.b.push(Instr::Vector(descend), &label);
        if self.recipe.master == Master::Half {
            self.mad("widen", [self.half.source(), Source::ONE, NONE], self.master);
        }
    }

    /// `ema += (1 − decay)·(p − ema)`.
    fn average(&mut self) {
        if let Some(decay) = self.recipe.ema {
            let average = *self.state.last().expect("its name is the last one");
            self.mad("average", [average.neg(), Source::ONE, self.master.source()], self.t[0]);
            self.mad("average", [self.t[0].source(), rest(decay), average.source()], average);
        }
    }
}
