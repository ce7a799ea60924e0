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
struct Done {
    lanes: u32,
    seconds: f64,
}

impl SetupArgs {
    pub(super) fn run(self) -> Result<()> {
        let machine = Machine::with_lanes(self.lanes);
        if let Some(rule) = machine.invalid() {
            return Err(Error::value("--lanes", self.lanes, rule));
        }
        let started = std::time::Instant::now();
        rtl::setup(machine)?;
        let done = Done { lanes: self.lanes, seconds: started.elapsed().as_secs_f64() };
        self.output.print(&done, |d| format!("ready after {:.1} s", d.seconds));
        Ok(())
    }
}
