//! `systole bench gemm`: products by themselves.

use serde::Serialize;

use super::{Common, Table, cell};
use crate::compile::GemmSpec;
use crate::driver::Device;
use crate::driver::product::multiply;
use crate::error::{Error, Result};

/// Rows, reduction, columns of layers in their forward pass.
const SQUARES: [u32; 4] = [32, 64, 128, 256];
const LAYERS: [(u32, u32, u32); 3] = [(32, 64, 32), (32, 32, 10), (64, 128, 10)];

#[derive(Serialize)]
struct GemmRow {
    m: u32,
    k: u32,
    n: u32,
    pass: &'static str,
    lanes: u32,
    cycles: Option<u64>,
    utilization: Option<f64>,
    predicted_cycles: u64,
}

/// Finite values that differ, as FP16 bits.
fn values(count: u32) -> Vec<u16> {
    (0..count).map(|i| crate::npy::round_f16((i * 37 % 101) as f32 / 64.0 - 0.75)).collect()
}

pub(super) fn run(common: Common) -> Result<()> {
    let plain = |m, k, n| GemmSpec { m, k, n, ..GemmSpec::default() };
    let mut work: Vec<(&'static str, GemmSpec)> = SQUARES.iter().map(|&s| ("forward", plain(s, s, s))).collect();
    for (rows, inputs, outputs) in LAYERS {
        work.push(("forward", GemmSpec { transpose_b: true, ..plain(rows, inputs, outputs) }));
        work.push(("weight_gradient", GemmSpec { transpose_a: true, ..plain(outputs, rows, inputs) }));
        work.push(("input_gradient", plain(rows, outputs, inputs)));
    }
    let mut device = Device::open(&common.device.options())?;
    let mut rows = Vec::new();
    for (pass, spec) in work {
        let (a, b) = (values(spec.m * spec.k), values(spec.k * spec.n));
        let product = match multiply(&mut device, spec, &a, &b, None) {
            Err(Error::DoesNotFit { what, reason }) => {
                eprintln!("left out: {what}: {reason}");
                continue;
            }
            other => other?,
        };
        rows.push(GemmRow {
            m: spec.m,
            k: spec.k,
            n: spec.n,
            pass,
            lanes: device.info.machine.lanes,
            cycles: product.cycles,
            utilization: product.utilization,
            predicted_cycles: product.predicted,
        });
    }
    let table = Table { device: common.device.device.clone(), rows };
    common.output.print(&table, |t| {
        let mut out = vec![format!(
            "{:>4} {:>4} {:>4}  {:<16} {:>8} {:>8}  {:>9}",
            "m", "k", "n", "pass", "cycles", "% used", "predicted"
        )];
        for r in &t.rows {
            let used = cell(r.utilization.map(|u| format!("{:.1}", 100.0 * u)));
            out.push(format!(
                "{:>4} {:>4} {:>4}  {:<16} {:>8} {used:>8}  {:>9}",
                r.m,
                r.k,
                r.n,
                r.pass,
                cell(r.cycles),
                r.predicted_cycles
            ));
        }
        out.join("\n")
    });
    Ok(())
}
