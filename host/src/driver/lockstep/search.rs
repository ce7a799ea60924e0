//! From a segment that makes a difference to the instruction that does: the step is repeated from its start, on both devices,
//! with beginnings of the segment, and half of what is left is ruled out each time.
//!
//! A beginning keeps every wait of the instructions in it, so engines overlap in it as they do in the whole segment.

use std::fmt;
use std::path::Path;

use systole_isa::instr::{Control, Instr};
use systole_isa::regs::Space;

use super::image::{Difference, Extent, Image};
use super::{Part, Task, both, instructions, step_on, upload, with_nothing};
use crate::driver::Device;
use crate::driver::device::DeviceOptions;
use crate::driver::requests::{Block, StepRequest};
use crate::driver::session::{ScalerWords, Session};
use crate::driver::trace::{Span, TraceOptions};
use crate::error::{Error, Result};

/// What it takes to repeat a step.
#[derive(Clone, Debug)]
pub(super) struct Replay {
    /// Memories before it, with its batch.
    pub(super) before: Image,
    /// Its phase's loss scaler before it.
    pub(super) scaler: ScalerWords,
    /// How it is asked for.
    pub(super) request: StepRequest,
    /// Index of the segment that does nothing.
    pub(super) nothing: u32,
    /// What is compared.
    pub(super) extent: Extent,
}

/// An instruction after which two devices differ that did not differ before it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The step, counted from 1.
    pub step: u64,
    /// In which part of it.
    pub part: Part,
    /// The instruction's number in its segment, counted from 0.
    pub index: usize,
    /// Its word address.
    pub pc: u32,
    /// The instruction.
    pub instruction: Instr,
    /// What it is for.
    pub label: String,
    /// What differs.
    pub difference: Difference,
    replay: Replay,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (part, label) = (format!("{:?}", self.part).to_lowercase(), &self.label);
        write!(
            f,
            "step {}, instruction {} of {part} (word {:#x}, {label}), {:?}: {}",
            self.step, self.index, self.pc, self.instruction, self.difference
        )
    }
}

impl Found {
    /// As an error.
    pub fn error(&self) -> Error {
        self.difference.error(self.to_string())
    }

    /// Repeats the step up to and with the instruction on a device that records its signals, from the request for its part to
    /// the reply; returns what that device then has where the difference was.
    ///
    /// # Errors
    /// Where the device has no signals, or cannot be built.
    pub fn record(&self, task: &Task, device: &DeviceOptions, path: &Path) -> Result<u32> {
        let device = Device::open_sized(&recorded(device, path), task.compiled.machine)?;
        let mut session = upload(device, &with_nothing(task.compiled)?, task)?;
        self.replay.run(&mut session, self.part, self.index + 1)?;
        let d = self.difference;
        let bytes = session.device().link.read(Block::line(d.space, d.addr.0, 1))?;
        Ok(bytes.iter().rev().fold(0, |v, &b| v << 8 | u32::from(b)))
    }
}

/// The device of [`Found::record`].
pub fn recorded(device: &DeviceOptions, path: &Path) -> DeviceOptions {
    DeviceOptions { trace: Some(TraceOptions { path: path.into(), span: Span::Request }), ..device.clone() }
}

impl Replay {
    /// The instruction of `part` after which the devices differ.
    pub(super) fn search(self, devices: &mut [Session; 2], part: Part, step: u64) -> Result<Found> {
        let compiled = devices[0].compiled();
        let code: Vec<u32> = instructions(compiled, part.segment(&self.request)).collect();
        // after `equal` instructions nothing differs, after `different` something does
        let (mut equal, mut different) = (0, code.len());
        let not_again = || Error::Mismatch {
            what: format!("step {step}, {part:?}"),
            found: "another memory than the model after it".into(),
            expected: "no difference where the step is repeated".into(),
        };
        let mut difference = self.probe(devices, part, different)?.ok_or_else(not_again)?;
        while different - equal > 1 {
            let middle = equal.midpoint(different);
            match self.probe(devices, part, middle)? {
                Some(d) => (different, difference) = (middle, d),
                None => equal = middle,
            }
        }
        let pc = code[different - 1];
        let instruction =
            Instr::decode(&devices[0].compiled().program[pc as usize..]).expect("compiled programs decode");
        let label = devices[0].label_of(pc);
        Ok(Found { step, part, index: different - 1, pc, instruction, label, difference, replay: self })
    }

    /// Repeats the step up to `count` instructions of `part` on both devices, and compares.
    fn probe(&self, devices: &mut [Session; 2], part: Part, count: usize) -> Result<Option<Difference>> {
        devices.iter_mut().try_for_each(|d| self.run(d, part, count))?;
        let [checked, right] = both(devices, |device| Image::read(device, self.extent))?;
        Ok(checked.difference(&right))
    }

    /// Repeats the step up to `count` instructions of `part`.
    fn run(&self, session: &mut Session, part: Part, count: usize) -> Result<()> {
        let cut = instructions(session.compiled(), part.segment(&self.request)).nth(count);
        let device = session.device();
        self.before.write(device)?;
        device.link.scaler_set(self.request.scaler, &self.scaler)?;
        // the window goes on: the scaler stays as it was, and the step can be repeated
        let whole = StepRequest { more: true, ..self.request.clone() };
        if part == Part::Update {
            step_on(&mut device.link, &Part::Compute.request(&whole, self.nothing))?;
        }
        let end = bytes(&Instr::Control(Control::End).encode());
        let place = cut.map(|at| Block::line(Space::Program, at, end.len() as u32 / 4));
        // what the device holds, not what it should: program memory may be what is wrong
        let usual = place.map(|p| device.link.read(p)).transpose()?;
        let patch = |device: &mut Device, words: &[u8]| match place {
            Some(place) => device.link.write(place, words).and_then(|()| device.link.drain()),
            None => Ok(()),
        };
        patch(device, &end)?;
        device.recording.iter().for_each(|r| r.request_begins());
        step_on(&mut device.link, &part.request(&whole, self.nothing))?;
        device.recording.iter().for_each(|r| r.request_ends());
        patch(device, &usual.unwrap_or_default())
    }
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}
