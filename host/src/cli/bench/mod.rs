//! `systole bench`: one file per subcommand.

mod fpga;
mod gemm;
mod link;
mod optimizers;
mod sim;
mod step;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{DeviceArgs, OutputArgs};
use crate::compile::{self, Optimizer};
use crate::data::Dataset;
use crate::driver::Device;
use crate::driver::session::{Session, Weights};
use crate::error::{Error, Result};
use crate::graph::{Model, initialize};
use crate::run::TrainOptions;

/// Measure the device
#[derive(Debug, Subcommand)]
pub(super) enum Bench {
    /// Cycles and utilisation of products: squares, and the three products of real layers
    Gemm(Common),
    /// Cycles of a whole training step, and how they split; cycles per parameter of every optimizer's update
    Step(Common),
    /// How fast the simulated hardware is simulated
    Sim(Common),
    Link(link::LinkArgs),
    Fpga(fpga::FpgaArgs),
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
            Bench::Sim(c) => sim::run(c),
            Bench::Link(a) => a.run(),
            Bench::Fpga(a) => a.run(),
        }
    }
}

fn cell<T: std::fmt::Display>(v: Option<T>) -> String {
    v.map_or("–".into(), |v| v.to_string())
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
