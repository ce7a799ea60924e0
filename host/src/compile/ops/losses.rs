//! Losses: classes by the same code as chains of dense layers, and regressions.

use super::elementwise::{sigmoid, sum};
use super::emitter::{Declared, Emitter, LABEL_REGISTER};
use super::network::Net;
use super::view::{Arg, NONE, Nd, ONE, Place};
use crate::compile::build::Matrix;
use crate::compile::functions::{ExpRange, exp, log};
use crate::compile::network::{loss_scratch, loss_tensors};
use crate::compile::plan::Class;
use crate::compile::{PADDED_LABEL, loss};
use crate::graph::{NodeId, Op, Regression};
use systole_isa::instr::VectorOp;
use systole_isa::operand::{Addr, Base, Modifiers, Source};
use systole_isa::regs::Space;
use systole_isa::{flag, sreg};

/// The loss, and in training the gradient of its first input.
pub(super) fn emit(net: &mut Net, e: &mut Emitter, id: NodeId) {
    match net.graph.node(id).op {
        Op::Regression { kind, weight } => regression(net, e, id, (kind, weight)),
        _ => classes(net, e, id),
    }
    net.values[id.0] = Some(Nd { place: Place::Labels, offset: 0, dims: vec![1], strides: vec![1] });
}

/// Rows of logits that the loss is made of at a time: all of them, or so many whole steps of a sequence that the temporaries,
/// which are wide, find room beside what is resident.
fn rows_at_a_time(e: &Emitter, classes: u32, (steps, batch): (u32, u32)) -> u32 {
    let words = |plane: u32| {
        let here = |t: &&Declared| t.space == Space::Smem && t.plane == Some(plane) && t.resident;
        e.tensors.iter().filter(here).map(|t| t.words()).sum::<u64>() as u32
    };
    let of_row = |plane: u32| loss_scratch(classes, 1).iter().filter(|s| s.1 == plane).map(|s| s.2.0).sum::<u32>();
    // free memory is in pieces: a quarter is left over for that
    let fits = |plane: u32| e.smem_plane().saturating_sub(words(plane)) * 3 / 4 / of_row(plane);
    (fits(0).min(fits(1)) / batch).clamp(1, steps) * batch
}

/// Classes, of each row or of each step of a row.
fn classes(net: &mut Net, e: &mut Emitter, id: NodeId) {
    let x = net.graph.node(id).inputs[0];
    let logits = net.standard(e, x, "loss");
    let dims = &logits.dims;
    let (batch, classes) = (dims[dims.len() - 2], dims[dims.len() - 1]);
    let steps = if dims.len() == 3 { dims[0] } else { 1 };
    let rows = steps * batch;
    let dx = e.half("loss gradient", Class::Gradients, &logits.dims);
    let ramp = net.ramp(e, classes);
    let group = rows_at_a_time(e, classes, (steps, batch));
    let whole = (group < rows).then(|| ["row losses", "right"].map(|name| row(e, name, rows)));
    for start in (0..rows).step_by(group as usize) {
        let size = group.min(rows - start);
        let scratch: Vec<usize> = loss_scratch(classes, size)
            .into_iter()
            .map(|(name, plane, shape)| {
                e.tensor(&format!("loss {name}"), Class::Workspace, Space::Smem, Some(plane), shape)
            })
            .collect();
        let touch = |e: &mut Emitter| scratch.iter().chain([&ramp]).for_each(|&t| e.touch(t));
        touch(e);
        let temporaries: Vec<Matrix> = scratch.iter().map(|&t| Matrix::of(&e.place_of(t))).collect();
        let base = Base::indexed(Addr(start), LABEL_REGISTER);
        let labels = Matrix { space: Space::Hmem, base, row: rows, col: 1 };
        let numbers = Matrix::of(&e.place_of(ramp));
        let (l, g) = (e.matrix(&logits).at(start, 0), e.matrix(&dx).at(start, 0));
        let mut t = loss_tensors((classes, size), l, g, labels, numbers, &temporaries);
        if let Some([losses, right]) = &whole {
            (t.row_loss, t.right) = (e.matrix(losses).at(0, start), e.matrix(right).at(0, start));
        }
        loss::labels(&mut e.builder, &t, net.training);
        loss::chunk(&mut e.builder, &t, (0, size), &[(0, size)], net.training);
        match &whole {
            None => loss::finish(&mut e.builder, &t),
            Some(_) => {
                loss::row_losses(&mut e.builder, &t);
                loss::row_predictions(&mut e.builder, &t);
            }
        }
        // The last instruction is behind us, and the next piece's memory is this one's.
        for t in scratch {
            if start + size < rows { e.touch_last(t) } else { e.touch(t) }
        }
        for v in whole.iter().flatten() {
            e.matrix(v);
        }
        e.matrix(&logits);
        if net.training {
            e.matrix(&dx);
        }
    }
    if let Some([losses, right]) = &whole {
        let (l, r) = (e.matrix(losses), e.matrix(right));
        loss::mean(&mut e.builder, rows, l);
        loss::right(&mut e.builder, rows, r);
        e.matrix(losses);
        e.matrix(right);
    }
    if net.training {
        net.set_gradient(x, dx);
    }
}

/// FP32 numbers in a row `[1, n]`.
fn row(e: &mut Emitter, name: &str, n: u32) -> Nd {
    let t = e.tensor(&format!("loss {name}"), Class::Workspace, Space::Smem, Some(1), (1, n, n));
    Nd { place: Place::Tensor(t), offset: 0, dims: vec![1, n], strides: vec![n, 1] }
}

/// `weight/(rows·features)` of the sum over valid rows; nothing is ever predicted right.
fn regression(net: &mut Net, e: &mut Emitter, id: NodeId, (kind, weight): (Regression, f32)) {
    let node = net.graph.node(id);
    let (x, y) = (net.standard(e, node.inputs[0], "loss"), net.value(node.inputs[1]));
    let (batch, features) = (x.dims[0], x.dims[1]);
    let share = Arg::F(weight / features as f32);
    let labels = Nd { place: Place::Labels, offset: 0, dims: vec![batch], strides: vec![1] };
    let row = |e: &mut Emitter, name: &str, plane: u32| {
        let t = e.tensor(name, Class::Workspace, Space::Smem, Some(plane), (1, batch, batch));
        Nd { place: Place::Tensor(t), offset: 0, dims: vec![batch], strides: vec![1] }
    };
    let valid = row(e, "loss valid", 1);
    let limit = Arg::F((PADDED_LABEL - 1) as f32);
    e.op("loss valid", VectorOp::GreaterEqual, [limit, Arg::X(labels), NONE], &valid);
    let per_row = |v: &Nd| v.repeat(1, features);
    let (d, slope) = (e.single("loss difference", 0, &x.dims), e.single("loss slope", 1, &x.dims));
    let terms = e.single("loss terms", 0, &x.dims);
    match kind {
        Regression::Mse => {
            e.mad("loss difference", Arg::X(x.clone()), ONE, Arg::Neg(y), &d);
            e.mad("loss terms", Arg::X(d.clone()), Arg::X(d.clone()), NONE, &terms);
            e.mad("loss slope", Arg::X(d.clone()), Arg::F(2.0), NONE, &slope);
        }
        Regression::SmoothL1 => {
            // The slope is d cut to ±1; the loss is slope·(d − slope/2).
            e.mad("loss difference", Arg::X(x.clone()), ONE, Arg::Neg(y), &d);
            e.op("loss slope", VectorOp::Max, [Arg::X(d.clone()), Arg::F(-1.0), NONE], &slope);
            e.op("loss slope", VectorOp::Min, [Arg::X(slope.clone()), Arg::F(1.0), NONE], &slope);
            e.mad("loss terms", Arg::X(slope.clone()), Arg::F(-0.5), Arg::X(d.clone()), &terms);
            e.mad("loss terms", Arg::X(terms.clone()), Arg::X(slope.clone()), NONE, &terms);
        }
        Regression::SigmoidBce => {
            // max(x, 0) + log(1 + e^−|x|) − x·y
            let s = sigmoid(e, "loss sigmoid", &x);
            e.mad("loss slope", Arg::X(s), ONE, Arg::Neg(y.clone()), &slope);
            let size = e.single("loss size", 0, &x.dims);
            e.mad("loss size", Arg::Abs(x.clone()), Arg::F(-1.0), NONE, &size);
            let p = e.function("loss exp", &exp(ExpRange::NonPositive), &size);
            e.mad("loss size", Arg::X(p), ONE, ONE, &size);
            let l = e.function("loss log", &log(), &size);
            e.op("loss positive", VectorOp::Max, [Arg::X(x.clone()), Arg::F(0.0), NONE], &d);
            e.mad("loss terms", Arg::X(l), ONE, Arg::X(d.clone()), &terms);
            e.mad("loss product", Arg::X(x.clone()), Arg::X(y), NONE, &d);
            e.mad("loss terms", Arg::X(terms.clone()), ONE, Arg::Neg(d.clone()), &terms);
        }
    }
    if net.training {
        let seed = row(e, "loss seed", 0);
        e.mad("loss seed", Arg::X(valid.clone()), Arg::S(sreg::LOSS_SEED), NONE, &seed);
        e.mad("loss seed", Arg::X(seed.clone()), share.clone(), NONE, &seed);
        let dx = e.half("loss gradient", Class::Gradients, &x.dims);
        let args = [Arg::X(slope), Arg::X(per_row(&seed)), NONE];
        e.flagged("loss gradient", Some(flag::ACTIVATION_GRADIENT), VectorOp::Mad, args, &dx);
        net.set_gradient(net.graph.node(id).inputs[0], dx);
    }
    let picked = [Arg::X(per_row(&valid)), Arg::X(terms.clone()), Arg::F(0.0)];
    e.flagged("loss terms", Some(flag::FORWARD), VectorOp::SelectPositive, picked, &terms);
    let sums = sum(e, "loss rows", &terms, 1);
    let total = row(e, "loss total", 0);
    e.mad("loss total", Arg::X(sums), share.clone(), NONE, &total);
    let t = e.matrix(&Nd { dims: vec![1, batch], strides: vec![batch, 1], ..total.clone() });
    let share = Source::Sreg(sreg::INV_BATCH as u8, Modifiers::default());
    e.builder.sum_to_sreg("loss mean", batch, t, share, sreg::LOSS, Some(flag::FORWARD));
    let none = [Source::f32(0.0), Source::ONE, Source::NEG_ZERO];
    e.builder.op("correct", VectorOp::Mad, (1, 1), none, systole_isa::operand::Dest::Sreg(sreg::CORRECT as u8));
    e.matrix(&Nd { dims: vec![1, batch], strides: vec![batch, 1], ..total });
}
