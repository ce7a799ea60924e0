//! The flags that record the hardware's signals.

use std::path::PathBuf;

use clap::Args;

use crate::driver::trace::{Moment, Span, TraceOptions, outcome};
use crate::error::Result;

/// Where help lists these flags.
const HEADING: &str = "Waveforms (rtl only)";
/// Cycles that are recorded where no end is given.
const ROOM: u64 = 10_000;

/// What to record.
#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    /// Record the hardware's signals into this FST file, with save files for GTKWave (.gtkw) and Surfer (.sucl) beside it.
    /// The simulator for it is built separately, once
    #[arg(long, help_heading = HEADING, value_name = "FILE.fst")]
    trace_fst: Option<PathBuf>,
    /// First moment to record: a clock cycle, or in training a step (step:12)
    #[arg(long, help_heading = HEADING, value_name = "CYCLE|step:N", requires = "trace_fst")]
    trace_start: Option<Moment>,
    /// Where to stop: before this cycle, or after this step [default: 10000 cycles on, or the same step]
    #[arg(long, help_heading = HEADING, value_name = "CYCLE|step:N", requires = "trace_fst")]
    trace_end: Option<Moment>,
}

impl TraceArgs {
    /// The options; `usual` is recorded where neither start nor end are given, and decides whether there are steps.
    pub(super) fn options(&self, usual: Span) -> Result<Option<TraceOptions>> {
        let Some(path) = &self.trace_fst else { return Ok(None) };
        let span = match (self.trace_start, self.trace_end) {
            (None, None) => usual,
            (Some(start), end) => Span::between(start, end, ROOM)?,
            (None, Some(Moment::Cycle(end))) => Span::between(Moment::Cycle(0), Some(Moment::Cycle(end)), ROOM)?,
            (None, Some(Moment::Step(end))) => Span::between(Moment::Step(1), Some(Moment::Step(end)), ROOM)?,
        };
        Ok(Some(TraceOptions { path: path.clone(), span }))
    }

    /// Says on stderr what became of the trace. A command that failed says why it did, and of a trace only where there is one.
    pub(super) fn report(&self, failed: bool) {
        if let Some(path) = self.trace_fst.as_ref().filter(|p| !failed || p.exists()) {
            eprintln!("{}", outcome(path));
        }
    }
}
