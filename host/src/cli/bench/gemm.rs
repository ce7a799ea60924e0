//! `systole bench gemm`: products by themselves, and behind another.

use serde::Serialize;

use super::{Common, cell};
use crate::compile::GemmSpec;
use crate::driver::Device;
use crate::driver::product::{multiply, one};
use crate::error::Result;

const SQUARES: [u32; 4] = [32, 64, 128, 256];
/// Rows, reduction, columns of a network's layers in their forward pass.
const LAYERS: [(&str, u32, u32, u32); 5] = [
    ("64-32-10 batch 32", 32, 64, 32),
    ("64-32-10 batch 32", 32, 32, 10),
    ("784-128-10 batch 64", 64, 784, 128),
    ("784-128-10 batch 64", 64, 128, 10),
    // An image of 32×32×16 under 32 filters of 3×3, padded by 1: pixels, patch, filters.
    ("conv 3×3 16→32 im2col", 1024, 144, 32),
];
/// Products in a row that measure what one costs behind another.
const ROW: usize = 3;

#[derive(Serialize)]
struct Row {
    layer: &'static str,
    pass: &'static str,
    m: u32,
    k: u32,
    n: u32,
    lanes: u32,
    tiles: u32,
    macs: u64,
    cycles: Option<u64>,
    predicted_cycles: u64,
    /// MACs / (lanes²·cycles), in percent.
    utilization: Option<f64>,
    /// The same for a product that follows another: cycles that it adds.
    utilization_behind: Option<f64>,
    /// Predicted against measured, in percent.
    prediction_error: Option<f64>,
}

/// The products of the table: name, pass, specification.
fn work() -> Vec<(&'static str, &'static str, GemmSpec)> {
    let plain = |m, k, n| GemmSpec { m, k, n, ..GemmSpec::default() };
    let mut work: Vec<_> = SQUARES.iter().map(|&s| ("square", "forward", plain(s, s, s))).collect();
    for (name, rows, inputs, outputs) in LAYERS {
        work.push((name, "forward", GemmSpec { transpose_b: true, ..plain(rows, inputs, outputs) }));
        work.push((name, "dW", GemmSpec { transpose_a: true, ..plain(outputs, rows, inputs) }));
        work.push((name, "dX", plain(rows, outputs, inputs)));
    }
    work
}

/// Finite values that differ, as FP16 bits.
fn values(count: u32) -> Vec<u16> {
    (0..count).map(|i| crate::npy::round_f16((i * 37 % 101) as f32 / 64.0 - 0.75)).collect()
}

fn measure(device: &mut Device, (layer, pass, spec): (&'static str, &'static str, GemmSpec)) -> Result<Row> {
    let lanes = device.info.machine.lanes;
    let (a, b) = (values(spec.m * spec.k), values(spec.k * spec.n));
    let product = multiply(device, spec, &a, &b, None)?;
    let percent = |v: f64| (1e4 * v).round() / 100.0;
    let mut behind = None;
    if product.tiles == 1 && product.cycles.is_some() {
        let first = one(device, spec, &a, &b, None, 1)?.1;
        let all = one(device, spec, &a, &b, None, ROW)?.1;
        behind = all.zip(first).map(|(a, f)| (a - f) as f64 / (ROW - 1) as f64);
    }
    let pes = f64::from(lanes * lanes);
    Ok(Row {
        layer,
        pass,
        m: spec.m,
        k: spec.k,
        n: spec.n,
        lanes,
        tiles: product.tiles,
        macs: product.macs,
        cycles: product.cycles,
        predicted_cycles: product.predicted,
        utilization: product.utilization.map(percent),
        utilization_behind: behind.map(|c| percent(product.macs as f64 / (pes * c))),
        prediction_error: product.cycles.map(|c| percent(product.predicted as f64 / c as f64 - 1.0)),
    })
}

pub(super) fn run(common: Common) -> Result<()> {
    let mut device = Device::open(&common.device.options())?;
    let rows = work().into_iter().map(|w| measure(&mut device, w)).collect::<Result<Vec<_>>>()?;
    common.publish(rows, |rows| {
        let mut out = vec![format!(
            "{:<22} {:<8} {:>5} {:>5} {:>5} {:>5} {:>8} {:>9} {:>7} {:>7} {:>7}",
            "layer", "pass", "m", "k", "n", "tiles", "cycles", "predicted", "error %", "% used", "behind"
        )];
        for r in rows {
            out.push(format!(
                "{:<22} {:<8} {:>5} {:>5} {:>5} {:>5} {:>8} {:>9} {:>7} {:>7} {:>7}",
                r.layer,
                r.pass,
                r.m,
                r.k,
                r.n,
                r.tiles,
                cell(r.cycles),
                r.predicted_cycles,
                cell(r.prediction_error.map(|v| format!("{v:.2}"))),
                cell(r.utilization.map(|v| format!("{v:.1}"))),
                cell(r.utilization_behind.map(|v| format!("{v:.1}")))
            ));
        }
        out.join("\n")
    })
}
