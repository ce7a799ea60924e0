//! `systole setup`.

use clap::Args;
use serde::Serialize;

use super::OutputArgs;
use crate::driver::device::{self, DeviceOptions};
use crate::driver::rtl;
use crate::error::Result;

/// Build what the simulated hardware needs: Verilator, firmware, simulator
///
/// Every command that needs it does this by itself; what is there already is left alone.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  systole setup                      N = V = 8, which every command uses unless told otherwise
  systole setup --lanes 4
What is fetched and built goes to target/systole; delete that folder to start over.")]
pub(super) struct SetupArgs {
    /// Lanes of the systolic array to build
    #[arg(long, default_value_t = 8, value_name = "N")]
    lanes: u32,
    /// Lanes of the vector engine [default: the array's, up to 8]
    #[arg(long, value_name = "V")]
    vector_lanes: Option<u32>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Part {
    what: &'static str,
    detail: String,
    seconds: f64,
}

#[derive(Serialize)]
struct Done {
    lanes: u32,
    seconds: f64,
    steps: Vec<Part>,
}

impl SetupArgs {
    pub(super) fn run(self) -> Result<()> {
        let machine = device::machine(&DeviceOptions {
            lanes: Some(self.lanes),
            vector_lanes: self.vector_lanes,
            ..DeviceOptions::default()
        })?;
        let report = rtl::setup(machine)?;
        let seconds = report.seconds();
        let steps =
            report.steps.into_iter().map(|s| Part { what: s.what, detail: s.detail, seconds: s.seconds }).collect();
        self.output.print(&Done { lanes: self.lanes, seconds, steps }, |d| {
            let parts = d.steps.iter().map(|s| format!("{:<12} {:>7.1} s  {}\n", s.what, s.seconds, s.detail));
            parts.collect::<String>() + &format!("ready after {:.1} s", d.seconds)
        });
        Ok(())
    }
}
