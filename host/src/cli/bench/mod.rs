//! `systole bench`: one file per subcommand.

mod fpga;
mod gemm;
mod link;
mod model;
mod optimizers;
mod peers;
mod roofline;
mod sim;
mod step;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use systole_isa::machine::Machine;

use super::{DeviceArgs, OutputArgs};
use crate::compile::{self, Optimizer};
use crate::data::{Dataset, Rows};
use crate::driver::Device;
use crate::driver::device::DeviceOptions;
use crate::driver::session::{Session, Weights};
use crate::error::{Error, Result};
use crate::graph::initialize;
use crate::run::{TrainOptions, parse_model};

/// Measure the device: docs/bench/README.md explains each number
#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// Cycles and utilisation of products: squares, and forward, dW and dX of real layers
    Gemm(Common),
    /// Cycles of a whole training step in the steady state, split by cause; a roofline; cycles per parameter of every
    /// optimizer's update
    Step(step::StepArgs),
    /// Cycles per parameter of every optimizer's update alone
    Optimizers(Common),
    Sim(sim::SimArgs),
    Link(link::LinkArgs),
    Fpga(fpga::FpgaArgs),
    Model(model::ModelArgs),
}

#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Write the table there too, as CSV below the command that made it
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

impl Common {
    /// Prints the table, and writes it to the file that was asked for.
    fn publish<R: Serialize>(&self, rows: Vec<R>, text: impl FnOnce(&[R]) -> String) -> Result<()> {
        if let Some(path) = &self.csv {
            write_csv(path, &rows)?;
        }
        let table = Table { device: self.device.device.clone(), rows };
        self.output.print(&table, |t| text(&t.rows));
        Ok(())
    }
}

/// One line for the command, one for the names of the columns, one per row.
fn write_csv<R: Serialize>(path: &Path, rows: &[R]) -> Result<()> {
    let failed = |source: std::io::Error| Error::Io { action: "write", path: path.into(), source };
    let command: Vec<String> = std::env::args().skip(1).collect();
    let mut out = csv::Writer::from_writer(Vec::new());
    for row in rows {
        out.serialize(row).map_err(|e| failed(std::io::Error::other(e)))?;
    }
    let table = out.into_inner().map_err(|e| failed(std::io::Error::other(e.to_string())))?;
    let mut bytes = format!("# systole {}\n", command.join(" ")).into_bytes();
    bytes.extend(table);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    std::fs::write(path, bytes).map_err(failed)
}

#[derive(Serialize)]
struct Table<R> {
    device: String,
    rows: Vec<R>,
}

impl Bench {
    pub(super) fn run(self) -> Result<()> {
        match self {
            Bench::Gemm(c) => gemm::run(c),
            Bench::Step(c) => step::run(c),
            Bench::Optimizers(c) => {
                let rows = optimizers::measure(&c.device.options())?;
                c.publish(rows, optimizers::text)
            }
            Bench::Sim(c) => sim::run(c),
            Bench::Link(a) => a.run(),
            Bench::Fpga(a) => a.run(),
            Bench::Model(c) => model::run(c),
        }
    }
}

fn cell<T: std::fmt::Display>(v: Option<T>) -> String {
    v.map_or("–".into(), |v| v.to_string())
}

/// A network, a batch size, and how many steps to measure.
struct Workload {
    model: &'static str,
    batch: u32,
    steps: usize,
    /// It needs larger memories than the default machine has.
    large: bool,
}

const WORKLOADS: [Workload; 2] = [
    Workload { model: "mlp:64-32-10", batch: 32, steps: 12, large: false },
    Workload { model: "mlp:784-128-10", batch: 64, steps: 3, large: true },
];

/// Rows of made-up data; what is measured does not depend on values.
const ROWS: usize = 640;

impl Workload {
    /// The sizes of a simulated device: the default ones, or planes that hold a 784-128-10 network with its batches.
    fn machine(&self, lanes: u32) -> Machine {
        let usual = Machine::with_lanes(lanes);
        let large = Machine { hmem_words: 1 << 19, smem_words: 1 << 18, mask_bits: 1 << 16, ..usual };
        if self.large { large } else { usual }
    }

    fn session(&self, common: &Common) -> Result<(Session, Rows)> {
        self.session_with(&common.device.options(), common.device.lanes.unwrap_or(Machine::DEFAULT.lanes))
    }

    /// The network with its data on a device of `lanes` lanes: the digits where they fit, made-up rows else.
    fn session_with(&self, options: &DeviceOptions, lanes: u32) -> Result<(Session, Rows)> {
        let device = Device::open_sized(options, self.machine(lanes))?;
        let options = TrainOptions::default();
        let model = parse_model(self.model)?;
        let compiled =
            compile::network(&model.graph, self.batch, Optimizer::Sgd { momentum: true }, device.info.machine)
                .map_err(|e| Error::from_compiler(&model.name, e))?;
        let weights = Weights::from(initialize(&model.graph, 0));
        let digits = Dataset::digits();
        let width = model.graph.input_features();
        let rows = if width == digits.width {
            digits.train
        } else {
            let features = (0..ROWS * width).map(|i| (i * 7 % 17 * (i % 5 / 4)) as u8).collect();
            Rows::new(features, (0..ROWS).map(|i| (i * 3 % 10) as u8).collect())
        };
        let session = Session::start(device, compiled, &weights, &[options.scaler()], digits.scale)?;
        Ok((session, rows))
    }
}
