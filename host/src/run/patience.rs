//! A run that outlives its device: cable pulled, board reset, simulator ended. Once the device is back, the run goes on from its
//! last checkpoint, in the same folder, and ends with the same bits.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::options::TrainOptions;
use super::report::{Epoch, Progress, Step, TrainReport};
use super::training::train;
use crate::driver::Device;
use crate::driver::device::DeviceOptions;
use crate::driver::serial;
use crate::error::{Error, Result};

/// Longest wait for one answer, and the pause before the next try.
const PROBE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(250);

/// As [`train`], but a device that is lost in mid-run may take up to `patience` to come back, each time.
///
/// # Errors
/// As [`train`]; where the device stays away, what it was lost with.
pub fn train_patiently(options: &TrainOptions, patience: Duration, progress: &mut dyn Progress) -> Result<TrainReport> {
    let mut options = options.clone();
    loop {
        let mut noted = Noted { inner: progress, folder: None };
        let error = match train(&options, &mut noted) {
            Err(e) if lost(&e) && is_line(&options.device) => e,
            other => return other,
        };
        // without a folder nothing has begun that could go on
        let Some(folder) = noted.folder else { return Err(error) };
        progress.line(&format!("{error}: waiting up to {:.0} s for it", patience.as_secs_f64()));
        wait(&options.device, patience, error, progress)?;
        progress.line("it is back: going on from the last checkpoint");
        options.resume = Some(folder);
        options.name = None;
    }
}

/// Whether the device went away, rather than did something wrong.
fn lost(e: &Error) -> bool {
    matches!(e, Error::PortLost { .. } | Error::Timeout { .. } | Error::DeviceRestarted { .. })
}

/// A device of this process cannot come back.
fn is_line(device: &DeviceOptions) -> bool {
    !matches!(device.name.as_str(), "rtl" | "model")
}

/// Waits until somebody answers, or gives up with `error`.
fn wait(device: &DeviceOptions, patience: Duration, error: Error, progress: &dyn Progress) -> Result<()> {
    let begun = Instant::now();
    let baud = device.baud.unwrap_or(serial::BAUD);
    while begun.elapsed() < patience {
        if progress.interrupted() {
            return Err(Error::Interrupted { kept: "; the last checkpoint is in the run's folder".into() });
        }
        if Device::probe(&device.name, baud, PROBE.min(patience)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    Err(error)
}

/// Passes everything on, and remembers the folder.
struct Noted<'a> {
    inner: &'a mut dyn Progress,
    folder: Option<PathBuf>,
}

impl Progress for Noted<'_> {
    fn phase(&mut self, text: &str) {
        self.inner.phase(text);
    }
    fn folder(&mut self, path: &Path) {
        self.folder = Some(path.into());
        self.inner.folder(path);
    }
    fn start(&mut self, steps: u64, epochs: u32) {
        self.inner.start(steps, epochs);
    }
    fn step(&mut self, step: &Step) {
        self.inner.step(step);
    }
    fn epoch(&mut self, phases: &[Epoch]) {
        self.inner.epoch(phases);
    }
    fn line(&mut self, text: &str) {
        self.inner.line(text);
    }
    fn finish(&mut self) {
        self.inner.finish();
    }
    fn interrupted(&self) -> bool {
        self.inner.interrupted()
    }
}
