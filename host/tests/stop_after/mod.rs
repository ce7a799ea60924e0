//! A run that is interrupted.

use systole::run::{Progress, Step};

/// Stops a run after this step, as Ctrl-C does.
pub struct StopAfter {
    step: u64,
    reached: bool,
}

impl StopAfter {
    /// After step number `step`.
    pub fn new(step: u64) -> StopAfter {
        StopAfter { step, reached: false }
    }
}

impl Progress for StopAfter {
    fn step(&mut self, s: &Step) {
        self.reached = s.step >= self.step;
    }
    fn interrupted(&self) -> bool {
        self.reached
    }
}
