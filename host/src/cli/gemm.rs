//! `systole gemm`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::trace::TraceArgs;
use super::{DeviceArgs, OutputArgs};
use crate::compile::GemmSpec;
use crate::driver::Device;
use crate::driver::device::DeviceOptions;
use crate::driver::product::multiply;
use crate::driver::trace::Span;
use crate::error::{Error, Result};
use crate::npy::Array;

/// Multiply two matrices on the device
///
/// C = A·B (+ bias per column), FP16 products summed in FP32 along the reduction, one rounding per addition. Files are NumPy
/// arrays of float16, or float32 rounded on load.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  systole gemm --a A.npy --b B.npy --out C.npy --device model
  systole gemm --a A.npy --b B.npy --out C.npy --lanes 4 --trace-fst product.fst   watch it happen
To make a matrix: python3 -c 'import numpy as n; n.save(\"A.npy\", n.random.rand(8, 8).astype(\"f2\"))'")]
pub(super) struct GemmArgs {
    /// A, rows × reduction
    #[arg(long, value_name = "A.npy")]
    a: PathBuf,
    /// B, reduction × columns
    #[arg(long, value_name = "B.npy")]
    b: PathBuf,
    /// The file given by --a holds A transposed
    #[arg(long)]
    transpose_a: bool,
    /// The file given by --b holds B transposed
    #[arg(long)]
    transpose_b: bool,
    /// A value per column, added before the products
    #[arg(long, value_name = "BIAS.npy")]
    bias: Option<PathBuf>,
    /// Replace negative results by zero
    #[arg(long)]
    relu: bool,
    /// Write float16 instead of float32
    #[arg(long)]
    f16: bool,
    /// Where the result goes
    #[arg(long, value_name = "C.npy")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Report {
    m: u32,
    k: u32,
    n: u32,
    cycles: Option<u64>,
    macs: u64,
    utilization: Option<f64>,
    device: String,
}

impl GemmArgs {
    pub(super) fn run(self) -> Result<()> {
        let (a, a_shape) = matrix(&self.a)?;
        let (b, b_shape) = matrix(&self.b)?;
        let (m, ka) = if self.transpose_a { (a_shape.1, a_shape.0) } else { a_shape };
        let (kb, n) = if self.transpose_b { (b_shape.1, b_shape.0) } else { b_shape };
        if ka != kb {
            let reason = format!("A is {m}×{ka}, B is {kb}×{n}: the reductions {ka} and {kb} differ");
            return Err(Error::Shape { what: "the matrices".into(), reason });
        }
        let bias = match &self.bias {
            None => None,
            Some(path) => Some(vector(path, n)?),
        };
        writable(&self.out)?;
        let spec = GemmSpec {
            m,
            k: ka,
            n,
            transpose_a: self.transpose_a,
            transpose_b: self.transpose_b,
            bias: bias.is_some(),
            relu: self.relu,
            half_out: self.f16,
            cut: 0,
        };
        let trace = self.trace.options(Span::Request)?;
        if matches!(&trace, Some(t) if matches!(t.span, Span::Steps(_))) {
            return Err(Error::value(
                "--trace-start",
                "step:…",
                "a product has no steps: leave it out, or give cycles",
            ));
        }
        let mut device = Device::open(&DeviceOptions { trace, ..self.device.options() })?;
        let product = multiply(&mut device, spec, &a, &b, bias.as_deref())?;
        drop(device);
        self.trace.report(false);
        product.out.save(&self.out)?;
        let report = Report {
            m,
            k: ka,
            n,
            cycles: product.cycles,
            macs: product.macs,
            utilization: product.utilization,
            device: self.device.device,
        };
        self.output.print(&report, |r| {
            let speed = match (r.cycles, r.utilization) {
                (Some(c), Some(u)) => format!("{c} cycles, {:.1} % of the array's products", 100.0 * u),
                _ => "no cycles: this device has no clock".into(),
            };
            format!(
                "{}×{} · {}×{} on {}: {} products, {speed}; written to {}",
                r.m,
                r.k,
                r.k,
                r.n,
                r.device,
                r.macs,
                self.out.display()
            )
        });
        Ok(())
    }
}

fn wrong(path: &Path, reason: String) -> Error {
    Error::Malformed { path: path.into(), format: ".npy", reason }
}

/// FP16 bits, rows and columns.
fn matrix(path: &Path) -> Result<(Vec<u16>, (u32, u32))> {
    let array = Array::load(path)?;
    let [rows, columns] = array.shape[..] else {
        return Err(wrong(path, format!("a matrix has 2 dimensions, its shape is {:?}", array.shape)));
    };
    let size = |n: usize| {
        u32::try_from(n).ok().filter(|&n| n > 0).ok_or_else(|| wrong(path, format!("its shape is {rows}×{columns}")))
    };
    Ok((array.to_f16(), (size(rows)?, size(columns)?)))
}

/// FP16 bits of `n` values.
fn vector(path: &Path, n: u32) -> Result<Vec<u16>> {
    let array = Array::load(path)?;
    let good = matches!(array.shape[..], [len] | [1, len] if len == n as usize);
    if !good {
        let reason = format!("the product has {n} columns, the bias has shape {:?}", array.shape);
        return Err(Error::Shape { what: "bias and product".into(), reason });
    }
    Ok(array.to_f16())
}

/// Refuses a place that cannot be written to before anything is computed.
fn writable(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let refuse = |source| Err(Error::Io { action: "write", path: path.into(), source });
    if path.is_dir() {
        return refuse(std::io::Error::from(std::io::ErrorKind::IsADirectory));
    }
    let probe = folder.join(format!(".systole-{}.probe", std::process::id()));
    match std::fs::File::create(&probe) {
        Ok(_) => {
            let _ = std::fs::remove_file(&probe);
            Ok(())
        }
        Err(e) => refuse(e),
    }
}
