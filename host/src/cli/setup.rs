//! `systole setup`.

use clap::Args;
use serde::Serialize;
use systole_isa::machine::Machine;

use super::OutputArgs;
use crate::driver::rtl;
use crate::error::{Error, Result};

/// Build what the simulated hardware needs: Verilator, firmware, simulator
///
/// Every command that needs it does this by itself; what is there already is left alone.
#[derive(Debug, Args)]
pub(super) struct SetupArgs {
    /// Lanes of the systolic array to build
    #[arg(long, default_value_t = 8, value_name = "N")]
    lanes: u32,
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
        let machine = Machine::with_lanes(self.lanes);
        if let Some(rule) = machine.invalid() {
            return Err(Error::value("--lanes", self.lanes, rule));
        }
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
