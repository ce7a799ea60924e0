//! `systole bench`: one file per subcommand.

mod fpga;
mod gemm;
mod sim;
mod step;

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
    /// Cycles of a whole training step, and how they split
    Step(Common),
    /// How fast the simulated hardware is simulated
    Sim(Common),
    Fpga(fpga::FpgaArgs),
}

#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    output: OutputArgs,
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
