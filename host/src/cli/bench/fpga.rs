//! `systole bench fpga`.

use std::path::PathBuf;

use clap::Args;
use systole_isa::machine::Machine;
use systole_verilator::Options;

use super::super::OutputArgs;
use super::super::board::Stages;
use crate::board::{Flow, bench};
use crate::error::Result;

/// One processing element through the FPGA flow: LFE5U-85F, speed 6, registers around it
///
/// Whole boards are measured by `systole board build BOARD --report FILE.csv`.
#[derive(Debug, Args)]
pub(in crate::cli) struct FpgaArgs {
    /// nextpnr's seed
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u32,
    /// Cycles of its adder
    #[arg(long, default_value_t = Machine::DEFAULT.adder_latency, value_name = "L", value_parser = clap::value_parser!(u32).range(2..=4))]
    adder_latency: u32,
    /// Add the result to this table, or replace its line there
    #[arg(long, value_name = "FILE.csv")]
    report: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

impl FpgaArgs {
    pub(super) fn run(self) -> Result<()> {
        let flow = Flow::new(Options::workspace(), self.seed)?;
        let mut stages = Stages::new(&self.output);
        let row = bench::processing_element(&flow, self.adder_latency, &mut stages)?;
        drop(stages);
        if let Some(path) = &self.report {
            bench::record(path, &row)?;
        }
        self.output.print(&row, bench::Row::text);
        Ok(())
    }
}
