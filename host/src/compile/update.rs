//! Optimizers: from FP16 gradients (times S) to FP32 masters and their FP16 copies.
//!
//! A gradient is multiplied by 1/S = 2^EXP as it loads, which is exact, so moments hold unscaled gradients and clipping or
//! decay, once they come, see unscaled values.

use super::Optimizer;
use super::build::{Builder, Matrix};
use systole_isa::instr::{Instr, Sync, Vector, VectorOp};
use systole_isa::operand::{Modifiers, Source};
use systole_isa::sreg;

/// One parameter's matrices, all of the same shape.
pub(crate) struct UpdateTensors {
    pub(crate) name: String,
    pub(crate) rows: u32,
    pub(crate) cols: u32,
    pub(crate) master: Matrix,
    pub(crate) half: Matrix,
    pub(crate) gradient: Matrix,
    pub(crate) state: Vec<Matrix>,
}

/// Names of the state tensors that an optimizer keeps per parameter, as in PyTorch.
pub(crate) fn state_names(optimizer: Optimizer) -> &'static [&'static str] {
    match optimizer {
        Optimizer::Sgd { momentum: true } => &["momentum_buffer"],
        Optimizer::Sgd { momentum: false } => &[],
    }
}

/// Updates one parameter.
pub(crate) fn update(b: &mut Builder, optimizer: Optimizer, t: &UpdateTensors) {
    let size = (t.rows, t.cols);
    let scalar = |r: usize| Source::Sreg(r as u8, Modifiers::default());
    let step = match optimizer {
        Optimizer::Sgd { momentum: true } => {
            let buffer = t.state[0];
            let moment = [buffer.source(), scalar(sreg::MOMENTUM), t.gradient.scaled()];
            b.op(&format!("{} momentum", t.name), VectorOp::Mad, size, moment, buffer.dest());
            buffer.source()
        }
        Optimizer::Sgd { momentum: false } => t.gradient.scaled(),
    };
    let descend = Vector {
        sync: Sync::default(),
        op: VectorOp::Mad,
        rows: t.rows as u16,
        cols: t.cols as u16,
        x: step,
        y: scalar(sreg::NEG_LR),
        z: t.master.source(),
        d: t.master.dest(),
        copy: Some(t.half.view()),
        recurrent: false,
    };
    b.push(Instr::Vector(descend), &format!("{} update", t.name));
}
