//! Convolutions as products with patches: `[positions·batch, channels·kernel²]`, one row per window, gathered by strided copies.
//!
//! Forward multiplies patches with the weight; the weight's gradient multiplies the output's gradient with the same patches
//! (kept, or gathered again where they would be in the way); the input's gradient is a product whose result is scattered back,
//! tap by tap, into FP32 sums. A transposed convolution exchanges the two directions.

use super::dense::{parameters, sum_rows};
use super::emitter::Emitter;
use super::network::Net;
use super::view::{Arg, Nd, ONE};
use crate::compile::build::Epilogue;
use crate::compile::plan::Class;
use crate::graph::{NodeId, Op, Window};
use systole_isa::flag;
use systole_isa::instr::VectorOp;

/// Calls `f(tap, windows, pixels)` per tap of the kernel with views of the same axes `[rows, columns, batch, channels]`: that
/// tap's column of `patches` (`[rows, columns, batch, channels·kernel²]`) and the pixels of `image` that it stands for. Windows
/// that reach into the padding are left out.
fn taps(w: Window, image: &Nd, patches: &Nd, mut f: impl FnMut(&Nd, &Nd)) {
    let k = w.kernel as u32;
    // Windows whose tap lies inside: first, and how many.
    let inside = |tap: u32, windows: u32, pixels: u32| {
        let (tap, s, p) = (tap as i64, w.stride as i64, w.padding as i64);
        let within = |o: &i64| (0..pixels as i64).contains(&(o * s + tap - p));
        let count = (0..windows as i64).filter(within).count() as u32;
        let first = (0..windows as i64).find(within).unwrap_or(0);
        (first as u32, count, (first * s + tap - p).max(0) as u32)
    };
    for tap in 0..k * k {
        let (y0, ny, py) = inside(tap / k, patches.dims[0], image.dims[0]);
        let (x0, nx, px) = inside(tap % k, patches.dims[1], image.dims[1]);
        if ny * nx == 0 {
            continue;
        }
        let column = patches.slice(3, tap, image.dims[3], k * k).range(0, y0, ny).range(1, x0, nx);
        let stride = w.stride as u32;
        let pixels = image.slice(0, py, ny, stride).slice(1, px, nx, stride);
        f(&column, &pixels);
    }
}

/// The patches of `image` for `windows = [rows, columns]`.
fn gather(e: &mut Emitter, label: &str, w: Window, image: &Nd, windows: [u32; 2]) -> Nd {
    let k2 = (w.kernel * w.kernel) as u32;
    let dims = [windows[0], windows[1], image.dims[2], image.dims[3] * k2];
    let patches = e.half(&format!("{label} patches"), Class::Activations, &dims);
    if w.padding > 0 {
        let all = e.padded(&patches);
        e.fill(&format!("{label} padding"), 0.0, &all);
    }
    taps(w, image, &patches, |column, pixels| e.copy(&format!("{label} gather"), pixels, column));
    patches
}

/// Adds `patches` into the pixels that they came from; FP32 sums, taps in order.
fn scatter(e: &mut Emitter, label: &str, w: Window, patches: &Nd, image: &Nd) -> Nd {
    let sums = e.dense(&format!("{label} sums"), 0, &image.dims);
    e.fill(&format!("{label} zero"), 0.0, &sums);
    taps(w, &sums, patches, |column, pixels| {
        e.mad(&format!("{label} scatter"), Arg::X(column.clone()), ONE, Arg::X(pixels.clone()), pixels);
    });
    sums
}

fn window(op: Op) -> Window {
    match op {
        Op::Conv2d { window, .. } | Op::ConvTranspose2d { window, .. } => window,
        _ => unreachable!("a convolution"),
    }
}

/// Forward of a convolution, with the ReLU that follows it.
pub(super) fn forward(net: &mut Net, e: &mut Emitter, id: NodeId) {
    let node = net.graph.node(id);
    let (op, name, dims) = (node.op, node.name.clone(), net.dims(id));
    let label = format!("{name} forward");
    let w = window(op);
    let y = e.half(&format!("{name} output"), Class::Activations, &dims);
    match op {
        Op::Conv2d { weight, bias, .. } => {
            let image = net.value(node.inputs[0]);
            let patches = gather(e, &label, w, &image, [dims[0], dims[1]]);
            let (wt, b) = (net.half(e, weight), net.half(e, bias));
            let relu = net.fused_relu(id);
            let flags = Epilogue { relu: relu.is_some(), flag: Some(flag::FORWARD), ..Epilogue::default() };
            e.product(&label, (&patches, false), (&wt, true), &y, Some(&b), flags);
            net.kept[id.0] = vec![patches];
            net.set(id, relu, y);
        }
        Op::ConvTranspose2d { weight, bias, .. } => {
            let x = net.matrix(e, node.inputs[0], &name);
            let wt = net.half(e, weight);
            let mut patch_dims = x.dims.clone();
            patch_dims[3] = wt.dims[1];
            let patches = e.half(&format!("{label} patches"), Class::Workspace, &patch_dims);
            let flags = Epilogue { flag: Some(flag::FORWARD), ..Epilogue::default() };
            e.product(&label, (&x, false), (&wt, false), &patches, None, flags);
            let sums = scatter(e, &label, w, &patches, &y);
            let b = net.half(e, bias).index(0, 0).repeat(0, dims[2]).repeat(0, dims[1]).repeat(0, dims[0]);
            e.flagged(&label, Some(flag::FORWARD), VectorOp::Mad, [Arg::X(sums), ONE, Arg::X(b)], &y);
            net.values[id.0] = Some(y);
        }
        _ => unreachable!("a convolution"),
    }
}

/// Gradients of a convolution: by its parameters where they are trained, and by its input where `dx` is given.
pub(super) fn backward(net: &mut Net, e: &mut Emitter, id: NodeId, dx: Option<&Nd>) {
    let node = net.graph.node(id);
    let (op, name) = (node.op, node.name.clone());
    let label = format!("{name} backward");
    let (w, dy) = (window(op), net.gradient(id));
    let flags = Epilogue { flag: Some(flag::ACTIVATION_GRADIENT), ..Epilogue::default() };
    match op {
        Op::Conv2d { weight, bias, .. } => {
            let patches = net.kept[id.0][0].clone();
            if net.graph.trains(id) {
                parameters(net, e, &format!("{name} dW"), &patches, &dy, [weight, bias]);
            }
            if let Some(dx) = dx {
                let by_patch = e.half(&format!("{label} patches"), Class::Gradients, &patches.dims);
                let wt = net.half(e, weight);
                e.product(&format!("{name} dX"), (&dy, false), (&wt, false), &by_patch, None, flags);
                let sums = scatter(e, &label, w, &by_patch, dx);
                e.flagged(
                    &label,
                    Some(flag::ACTIVATION_GRADIENT),
                    VectorOp::Mad,
                    [Arg::X(sums), ONE, super::view::NONE],
                    dx,
                );
            }
        }
        Op::ConvTranspose2d { weight, bias, .. } => {
            let x = net.matrix(e, node.inputs[0], &name);
            let patches = gather(e, &label, w, &dy, [x.dims[0], x.dims[1]]);
            if net.graph.trains(id) {
                let gradients = Epilogue { flag: Some(flag::WEIGHT_GRADIENT), ..Epilogue::default() };
                let by_weight = net.parameters[weight.0].gradient.clone();
                e.product(&format!("{name} dW"), (&x, true), (&patches, false), &by_weight, None, gradients);
                let by_bias = net.parameters[bias.0].gradient.clone();
                sum_rows(net, e, &label, &dy, &by_bias);
            }
            if let Some(dx) = dx {
                let wt = net.half(e, weight);
                e.product(&format!("{name} dX"), (&patches, false), (&wt, true), dx, None, flags);
            }
        }
        _ => unreachable!("a convolution"),
    }
}
