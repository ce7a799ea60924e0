//! `systole report`.

use std::path::PathBuf;

use clap::Args;

use super::OutputArgs;
use crate::error::Result;
use crate::report;

/// Write a run's report again: curves, histograms, cycles, skips, as one HTML page
///
/// `train` writes it at its end. This command does it for any run, one that was stopped or is still going on included.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The run's folder, or its name in --runs
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Folder that runs are kept in
    #[arg(long, default_value = "runs", value_name = "DIR")]
    runs: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

impl ReportArgs {
    pub(super) fn run(self) -> Result<()> {
        let folder = if self.run.exists() { self.run } else { self.runs.join(self.run) };
        let written = report::write(&folder)?;
        self.output.print(&written, |w| format!("{}", w.report.display()));
        Ok(())
    }
}
