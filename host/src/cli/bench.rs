//! `systole bench`.

use std::time::Instant;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{DeviceArgs, OutputArgs};
use crate::compile::{self, GemmSpec, Optimizer};
use crate::data::Dataset;
use crate::driver::Device;
use crate::driver::device::DeviceKind;
use crate::driver::product::multiply;
use crate::driver::requests::StepReply;
use crate::driver::session::{Hyper, Session, Weights};
use crate::error::{Error, Result};
use crate::graph::{Model, initialize};
use crate::run::TrainOptions;

/// Measure the device
#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// Cycles and utilisation of products: squares, and the three products of real layers
    Gemm(Common),
    /// Cycles of a whole training step, and how they split
    Step(Common),
    /// How fast the simulated hardware is simulated
    Sim(Common),
}

#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Steps that `bench step` runs before it measures, and measures.
const WARM_UP: usize = 4;
const MEASURED: usize = 12;

/// Rows, reduction, columns of layers in their forward pass.
const SQUARES: [u32; 4] = [32, 64, 128, 256];
const LAYERS: [(u32, u32, u32); 3] = [(32, 64, 32), (32, 32, 10), (64, 128, 10)];

#[derive(Serialize)]
struct Table<R> {
    device: String,
    rows: Vec<R>,
}

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

#[derive(Serialize)]
struct StepRow {
    model: String,
    batch: u32,
    lanes: u32,
    cycles: Option<u64>,
    matrix_busy: Option<u64>,
    matrix_wait: Option<u64>,
    matrix_memory: Option<u64>,
    vector_busy: Option<u64>,
    vector_wait: Option<u64>,
    vector_memory: Option<u64>,
    predicted_cycles: u64,
}

#[derive(Serialize)]
struct SimRow {
    lanes: u32,
    threads: u32,
    khz: f64,
}

impl Bench {
    pub(super) fn run(self) -> Result<()> {
        match self {
            Bench::Gemm(c) => c.gemm(),
            Bench::Step(c) => c.step(),
            Bench::Sim(c) => c.sim(),
        }
    }
}

/// Finite values that differ, as FP16 bits.
fn values(count: u32) -> Vec<u16> {
    (0..count).map(|i| crate::npy::round_f16((i * 37 % 101) as f32 / 64.0 - 0.75)).collect()
}

fn cell<T: std::fmt::Display>(v: Option<T>) -> String {
    v.map_or("–".into(), |v| v.to_string())
}

impl Common {
    fn gemm(self) -> Result<()> {
        let plain = |m, k, n| GemmSpec { m, k, n, ..GemmSpec::default() };
        let mut work: Vec<(&'static str, GemmSpec)> = SQUARES.iter().map(|&s| ("forward", plain(s, s, s))).collect();
        for (rows, inputs, outputs) in LAYERS {
            work.push(("forward", GemmSpec { transpose_b: true, ..plain(rows, inputs, outputs) }));
            work.push(("weight_gradient", GemmSpec { transpose_a: true, ..plain(outputs, rows, inputs) }));
            work.push(("input_gradient", plain(rows, outputs, inputs)));
        }
        let mut device = Device::open(&self.device.options())?;
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
        let table = Table { device: self.device.device.clone(), rows };
        self.output.print(&table, |t| {
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

    fn step(self) -> Result<()> {
        let device = Device::open(&self.device.options())?;
        let (has_cycles, lanes) = (device.has_cycles(), device.info.machine.lanes);
        let (mut session, data) = digits_session(device)?;
        let mut replies: Vec<StepReply> = Vec::new();
        let batch = session.compiled().batch;
        let order: Vec<usize> = (0..batch as usize * (WARM_UP + MEASURED)).collect();
        session.train(&data.train, &order, Hyper { lr: 0.05, momentum: 0.9 }, |_, _, reply| {
            replies.push(*reply);
            Ok(())
        })?;
        let mean = |f: &dyn Fn(&StepReply) -> u32| {
            let sum: u64 = replies[WARM_UP..].iter().map(|r| u64::from(f(r))).sum();
            has_cycles.then_some(sum / MEASURED as u64)
        };
        let c = session.compiled();
        let row = StepRow {
            model: TrainOptions::default().model,
            batch,
            lanes,
            cycles: mean(&|r| r.cycles),
            matrix_busy: mean(&|r| r.counters[0]),
            matrix_wait: mean(&|r| r.counters[1]),
            matrix_memory: mean(&|r| r.counters[2]),
            vector_busy: mean(&|r| r.counters[3]),
            vector_wait: mean(&|r| r.counters[4]),
            vector_memory: mean(&|r| r.counters[5]),
            predicted_cycles: [c.step.compute, c.step.update].iter().map(|&i| c.predicted[i as usize].cycles).sum(),
        };
        let table = Table { device: self.device.device.clone(), rows: vec![row] };
        self.output.print(&table, |t| {
            let r = &t.rows[0];
            format!(
                "{} batch {} lanes {}: {} cycles a step (predicted {})\n matrix engine: busy {}, waiting for others {}, for memory {}\n \
                 vector engine: busy {}, waiting for others {}, for memory {}",
                r.model, r.batch, r.lanes, cell(r.cycles), r.predicted_cycles, cell(r.matrix_busy), cell(r.matrix_wait),
                cell(r.matrix_memory), cell(r.vector_busy), cell(r.vector_wait), cell(r.vector_memory)
            )
        });
        Ok(())
    }

    fn sim(self) -> Result<()> {
        let device = Device::open(&self.device.options())?;
        if device.kind != DeviceKind::Rtl {
            return Err(Error::value("--device", &self.device.device, "only rtl is simulated cycle by cycle"));
        }
        let lanes = device.info.machine.lanes;
        let (mut session, data) = digits_session(device)?;
        let order: Vec<usize> = (0..data.train.len()).collect();
        let before = session.device().link.cycles().unwrap_or(0);
        let started = Instant::now();
        session.train(&data.train, &order, Hyper { lr: 0.05, momentum: 0.9 }, |_, _, _| Ok(()))?;
        let cycles = session.device().link.cycles().unwrap_or(0) - before;
        let khz = cycles as f64 / started.elapsed().as_secs_f64() / 1000.0;
        let table = Table { device: self.device.device.clone(), rows: vec![SimRow { lanes, threads: 1, khz }] };
        self.output.print(&table, |t| {
            format!("{} lanes, {} thread: {:.0} kHz while training", t.rows[0].lanes, t.rows[0].threads, t.rows[0].khz)
        });
        Ok(())
    }
}

/// The default network on the digits.
fn digits_session(device: Device) -> Result<(Session, Dataset)> {
    let options = TrainOptions::default();
    let data = Dataset::digits();
    let model = Model::mlp(&options.model)
        .map_err(|e| Error::InvalidModel { spec: options.model.clone(), reason: e.to_string() })?;
    let compiled =
        compile::network(&model.graph, options.batch, Optimizer::Sgd { momentum: true }, device.info.machine)
            .map_err(|e| Error::from_compiler(&model.name, e))?;
    let weights = Weights { masters: initialize(&model.graph, 0), state: Vec::new() };
    let session = Session::start(device, compiled, &weights, &options.scaler(), data.scale)?;
    Ok((session, data))
}
