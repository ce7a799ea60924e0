//! A model's time, and traces of its signals over it.

use crate::{Error, Module, Result};
use std::ffi::CString;
use std::path::Path;

impl Module {
    /// The simulation's time, in units of its precision.
    pub fn time(&self) -> u64 {
        // SAFETY: the handle is alive.
        unsafe { (self.calls.time)(self.model) }
    }

    /// Sets the simulation's time.
    pub fn set_time(&mut self, time: u64) {
        // SAFETY: the handle is alive.
        unsafe { (self.calls.set_time)(self.model, time) }
    }

    /// How much time half a clock cycle takes; 1 at first.
    pub fn set_half_period(&mut self, units: u64) {
        // SAFETY: the handle is alive.
        unsafe { (self.calls.set_half_period)(self.model, units) }
    }

    /// Begins an FST trace of the whole design. Needs a model built with [`crate::ModelSpec::trace`].
    pub fn trace_open(&mut self, path: &Path) -> Result<()> {
        let bad = |reason: String| Error::Trace { top: self.top.clone(), reason };
        if !self.can_trace {
            return Err(bad("the model was built without traces".into()));
        }
        let text =
            path.to_str().and_then(|p| CString::new(p).ok()).ok_or_else(|| bad("the path is not plain text".into()))?;
        // Verilator's writer does not notice a file that cannot be created.
        std::fs::File::create(path).map_err(|e| bad(format!("{} cannot be written: {e}", path.display())))?;
        // SAFETY: the handle is alive, the path outlives the call.
        match unsafe { (self.calls.trace_open)(self.model, text.as_ptr()) } {
            0 => Err(bad(format!("{} cannot be written", path.display()))),
            _ => Ok(()),
        }
    }

    /// Goes on recording after [`Module::trace_off`].
    pub fn trace_on(&mut self) {
        // SAFETY: the handle is alive.
        unsafe { (self.calls.trace_enable)(self.model, 1) }
    }

    /// Stops recording for a while.
    pub fn trace_off(&mut self) {
        // SAFETY: the handle is alive.
        unsafe { (self.calls.trace_enable)(self.model, 0) }
    }

    /// Ends the trace and completes its file.
    pub fn trace_close(&mut self) {
        // SAFETY: the handle is alive.
        unsafe { (self.calls.trace_close)(self.model) }
    }
}
