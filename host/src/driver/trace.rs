//! Recording the hardware's signals over a window: cycles, steps of training, or one request.

use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use systole_sim::rtl::{Switch, Trace, Window};

use crate::error::{Error, Result};

/// What to record, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceOptions {
    /// The FST file; save files for GTKWave and Surfer go beside it.
    pub path: PathBuf,
    /// When.
    pub span: Span,
}

/// A window of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Span {
    /// Clock cycles since the device was switched on.
    Cycles(Range<u64>),
    /// Steps of training, the last one included, counted from 1 over the whole run: each from its request to its reply.
    Steps(RangeInclusive<u64>),
    /// A product, or a piece of a program: from its request to its reply.
    Request,
}

/// A moment as the command line has it: `1200` or `step:12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// A clock cycle.
    Cycle(u64),
    /// A step.
    Step(u64),
}

impl std::str::FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Moment, String> {
        let number = |t: &str| t.parse().map_err(|_| "a cycle such as 120000, or a step such as step:12".to_string());
        match text.strip_prefix("step:") {
            Some(step) => match number(step)? {
                0 => Err("steps are counted from 1".into()),
                n => Ok(Moment::Step(n)),
            },
            None => Ok(Moment::Cycle(number(text)?)),
        }
    }
}

impl Span {
    /// The window from `start` to `end`, where both are of a kind; `room` cycles, or one step, where there is no end.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] where it is empty, or mixes cycles and steps.
    pub fn between(start: Moment, end: Option<Moment>, room: u64) -> Result<Span> {
        let refuse = |end: u64, reason: &str| Err(Error::value("--trace-end", end, reason));
        match (start, end) {
            (Moment::Cycle(a), None) => Ok(Span::Cycles(a..a.saturating_add(room))),
            (Moment::Cycle(a), Some(Moment::Cycle(b))) if a < b => Ok(Span::Cycles(a..b)),
            (Moment::Cycle(_), Some(Moment::Cycle(b))) => refuse(b, "the window ends before it begins"),
            (Moment::Step(a), None) => Ok(Span::Steps(a..=a)),
            (Moment::Step(a), Some(Moment::Step(b))) if a <= b => Ok(Span::Steps(a..=b)),
            (Moment::Step(_), Some(Moment::Step(b))) => refuse(b, "the window ends before it begins"),
            (_, Some(Moment::Cycle(b) | Moment::Step(b))) => {
                refuse(b, "--trace-start and --trace-end must both be cycles, or both be steps (step:12)")
            }
        }
    }
}

/// A recording of a device that runs.
#[derive(Clone, Debug)]
pub struct Recording {
    span: Span,
    switch: Switch,
}

impl Recording {
    /// A recording, and what the device must be started with. Creates the file, so that a place that cannot be written to is
    /// refused before anything is built.
    pub fn new(options: &TraceOptions) -> Result<(Recording, Trace)> {
        std::fs::File::create(&options.path).map_err(Error::io("create", &options.path))?;
        let switch = Switch::default();
        let window = match &options.span {
            Span::Cycles(range) => Window::Cycles(range.clone()),
            Span::Steps(_) | Span::Request => Window::Switched(switch.clone()),
        };
        Ok((Recording { span: options.span.clone(), switch }, Trace { path: options.path.clone(), window }))
    }

    /// Whether step `number` is in its window.
    pub fn has_step(&self, number: u64) -> bool {
        matches!(&self.span, Span::Steps(steps) if steps.contains(&number))
    }

    /// Step `number` is about to be requested.
    pub fn step_begins(&self, number: u64) {
        if self.has_step(number) {
            self.switch.begin();
        }
    }

    /// Step `number` has been answered.
    pub fn step_ends(&self, number: u64) {
        if matches!(&self.span, Span::Steps(steps) if *steps.end() == number) {
            self.switch.end();
        }
    }

    /// What [`Span::Request`] is about is about to be requested.
    pub fn request_begins(&self) {
        if self.span == Span::Request {
            self.switch.begin();
        }
    }

    /// It has been answered.
    pub fn request_ends(&self) {
        if self.span == Span::Request {
            self.switch.end();
        }
    }
}

/// What became of a trace, in words, once its device is switched off.
pub fn outcome(path: &Path) -> String {
    let name = path.display();
    match std::fs::metadata(path) {
        Ok(m) => format!(
            "trace of {} kB in {name}: gtkwave {name} {}, or surfer {name} --command-file {}",
            m.len().div_ceil(1000),
            path.with_extension("gtkw").display(),
            path.with_extension("sucl").display()
        ),
        Err(_) => format!("{name} was not written: the device was done before the trace's window began"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_as_they_are_typed() {
        let span = |start: &str, end: Option<&str>| {
            Span::between(start.parse().unwrap(), end.map(|e| e.parse().unwrap()), 100)
        };
        assert_eq!(span("20", None).unwrap(), Span::Cycles(20..120));
        assert_eq!(span("20", Some("21")).unwrap(), Span::Cycles(20..21));
        assert_eq!(span("step:3", None).unwrap(), Span::Steps(3..=3));
        assert_eq!(span("step:3", Some("step:5")).unwrap(), Span::Steps(3..=5));
        for (start, end) in [("20", "20"), ("step:3", "step:2"), ("step:3", "900"), ("9", "step:12")] {
            assert!(matches!(span(start, Some(end)), Err(Error::InvalidValue { .. })), "{start} {end}");
        }
        for bad in ["step:0", "step:", "x", "-1", "", "1e3"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad:?}");
        }
    }
}
