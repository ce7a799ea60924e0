//! A recording of all signals over a window of time, and the save files that go with it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use systole_verilator::Module;

use super::{Error, Result, save_file};

/// Units of a trace's time in half a clock cycle. A cycle is ten units, so cycle 1234 begins at time 12340 and its rising edge
/// is at 12345: a reader finds the cycle by leaving out the last digit.
pub const HALF_PERIOD: u64 = 5;

/// Units of a trace's time in a clock cycle.
pub const PERIOD: u64 = 2 * HALF_PERIOD;

/// A recording of all signals, for GTKWave or Surfer.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The FST file. The save files lie beside it, as `.gtkw` and `.sucl`.
    pub path: PathBuf,
    /// When to record. Both recording and the file cost much: keep the window small.
    pub window: Window,
}

/// When to record.
#[derive(Clone, Debug)]
pub enum Window {
    /// In these cycles, counted from switching the device on.
    Cycles(Range<u64>),
    /// Whenever the switch says so.
    Switched(Switch),
}

/// Starts and ends a recording from outside: for windows that are no cycles but steps of training, or one product.
#[derive(Clone, Debug, Default)]
pub struct Switch(Arc<AtomicU8>);

impl Switch {
    const BEFORE: u8 = 0;
    const ON: u8 = 1;
    const OVER: u8 = 2;

    /// Begins to record with the next cycle; nothing after [`Switch::end`].
    pub fn begin(&self) {
        let _ = self.0.compare_exchange(Switch::BEFORE, Switch::ON, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Ends the recording with the last cycle, for good.
    pub fn end(&self) {
        self.0.store(Switch::OVER, Ordering::SeqCst);
    }

    /// Whether the recording has begun, ended or not.
    pub fn begun(&self) -> bool {
        self.0.load(Ordering::SeqCst) != Switch::BEFORE
    }
}

/// A trace in the making.
pub(super) struct Recorder {
    trace: Trace,
    on: bool,
    begun: bool,
    /// The file is not complete yet.
    open: bool,
}

impl Recorder {
    /// Creates the file; nothing is recorded yet.
    pub(super) fn start(trace: Trace, module: &mut Module) -> Result<Recorder> {
        module.set_half_period(HALF_PERIOD);
        module.trace_open(&trace.path)?;
        module.trace_off();
        Ok(Recorder { trace, on: false, begun: false, open: true })
    }

    /// Looks at the clock before a cycle.
    #[inline]
    pub(super) fn watch(&mut self, module: &mut Module) -> Result<()> {
        if !self.open {
            return Ok(());
        }
        let (wanted, over) = match &self.trace.window {
            Window::Cycles(range) => (range.contains(&module.cycles()), module.cycles() >= range.end),
            Window::Switched(switch) => {
                let state = switch.0.load(Ordering::Relaxed);
                (state == Switch::ON, state == Switch::OVER)
            }
        };
        if wanted != self.on {
            if wanted {
                module.trace_on()
            } else {
                module.trace_off()
            }
            self.on = wanted;
            self.begun |= wanted;
        }
        // complete on disk while the device runs on
        if over { self.finish(module) } else { Ok(()) }
    }

    /// Completes the file and writes what goes with it. A file in which nothing was recorded is removed.
    pub(super) fn finish(&mut self, module: &mut Module) -> Result<()> {
        if std::mem::take(&mut self.open) {
            module.trace_close();
            if self.begun {
                save_file::write(&self.trace.path)?;
            } else {
                std::fs::remove_file(&self.trace.path).map_err(Error::io("remove", &self.trace.path))?;
            }
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.trace.path
    }
}
