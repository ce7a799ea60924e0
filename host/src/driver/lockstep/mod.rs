//! Two devices side by side in training: after every segment of every step, what the memory plan uses must be equal on both, and at
//! the end all of their memories; where a segment leaves a difference, the instruction is searched that makes it.
//!
//! | module | what it does |
//! |---|---|
//! | `image` | the contents of a device's memories, and where two of them differ |
//! | `search` | from a segment that makes a difference to the instruction that does |
//!
//! A step is asked for in two requests, so that there is a moment between its segments: compute with an update of nothing whose
//! window goes on, then a compute of nothing with the update. Firmware makes of both what it makes of one step: a gradient that
//! overflows in the first is remembered, and the second is skipped.
//!
//! Mask memory, accumulators and scalar registers cannot be read over the link. Each segment writes them before it reads them,
//! so what is wrong in them shows in the memories that are written from them, or in the reply.

mod image;
mod search;

use systole_isa::frame::step::Outcome;
use systole_isa::instr::{Control, Instr, length};

use super::requests::{StepReply, StepRequest};
use super::session::{Hyper, ScalerWords, Session, Weights, Work};
use super::{Device, Link};
use crate::compile::{Compiled, Segment};
use crate::data::{Moment, Rows};
use crate::error::{Error, Result};
use crate::run::schedule::Schedule;
pub use image::Difference;
use image::{Extent, Image};
use search::Replay;
pub use search::{Found, recorded};

/// A half of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Forward, loss, backward.
    Compute,
    /// The optimizer, or what accumulates gradients.
    Update,
}

/// What has been compared so far; all of it was equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Compared {
    /// Updates, done or skipped.
    pub steps: u64,
    /// Steps whose update was skipped.
    pub skipped: u64,
    /// Segments after which everything was compared.
    pub segments: u64,
    /// Engine instructions in them.
    pub instructions: u64,
    /// Elements of memory that were compared.
    pub elements: u64,
}

/// How a network is to be trained.
#[derive(Clone, Debug)]
pub struct Task<'a> {
    /// The network.
    pub compiled: &'a Compiled,
    /// Where the weights start.
    pub weights: &'a Weights,
    /// The state of each phase's loss scaler.
    pub scalers: Vec<ScalerWords>,
    /// Features are multiplied by 2 to this power.
    pub scale: i8,
    /// The learning rate's way.
    pub schedule: Schedule,
}

/// A network on two devices of the same sizes.
pub struct Lockstep {
    devices: [Session; 2],
    /// Index of the segment that does nothing.
    nothing: u32,
    extent: Extent,
    compared: Compared,
}

impl Lockstep {
    /// Uploads the same to both devices: the one that is checked, and the one that is right.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] where a device is not the machine that the network was compiled for; what the link says.
    pub fn start(devices: [Device; 2], task: &Task) -> Result<Lockstep> {
        let compiled = with_nothing(task.compiled)?;
        let nothing = compiled.segments.len() as u32 - 1;
        let [checked, right] = devices.map(|device| upload(device, &compiled, task));
        let extent = Extent::planned(&compiled.plan);
        Ok(Lockstep { devices: [checked?, right?], nothing, extent, compared: Compared::default() })
    }

    /// What has been compared so far.
    pub fn compared(&self) -> &Compared {
        &self.compared
    }

    /// One of the devices: 0 is checked, 1 is right.
    pub fn device(&mut self, which: usize) -> &mut Device {
        self.devices[which].device()
    }

    /// Master copies and optimizer state, which are the same on both devices as long as no difference was found.
    pub fn weights(&mut self) -> Result<Weights> {
        self.devices[1].weights()
    }

    /// Which batch of the run the next one is.
    pub fn set_moment(&mut self, moment: Moment) {
        self.devices.iter_mut().for_each(|d| d.set_moment(moment));
    }

    /// Trains on the rows in `order` as [`Session::train`] does, and compares after each segment; `each` is told of every step.
    /// Returns the first difference, after which this is over.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where replies differ and memories do not, or replaying does not show the difference again;
    /// [`Error::ForwardNotFinite`]; what the link says.
    pub fn train(
        &mut self,
        rows: &Rows,
        order: &[usize],
        hypers: &[Hyper],
        mut each: impl FnMut(&Compared, &StepReply),
    ) -> Result<Option<Found>> {
        let last_phase = self.devices[0].compiled().phases.len() - 1;
        for work in self.devices[0].work(order) {
            let request = self.devices[0].step_request(&work, hypers[work.phase]);
            let (reply, found) = self.pass(rows, &work, &request)?;
            if found.is_some() {
                return Ok(found);
            }
            self.compared.steps += u64::from(!request.more && work.phase == last_phase);
            self.compared.skipped += u64::from(!request.more && reply.outcome == Outcome::SkippedGradient);
            each(&self.compared, &reply);
            if reply.outcome == Outcome::SkippedForward {
                return Err(self.devices[0].forward_error(self.compared.steps, &reply));
            }
        }
        Ok(None)
    }

    /// Compares whole memories: nothing may have been written beside the plan.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with the first element that differs; what the link says.
    pub fn compare_all(&mut self) -> Result<()> {
        let extent = Extent::all(&self.devices[0].compiled().machine);
        let [checked, right] = both(&mut self.devices, |device| Image::read(device, extent))?;
        self.compared.elements += right.elements();
        checked.difference(&right).map_or(Ok(()), |d| Err(d.error(format!("after the last step, {d}"))))
    }

    /// One pass over a batch.
    fn pass(&mut self, rows: &Rows, work: &Work, request: &StepRequest) -> Result<(StepReply, Option<Found>)> {
        for device in &mut self.devices {
            device.send_to_train(rows, work)?;
        }
        // (of the device that is right: whether the batch has arrived on both shows after the first segment)
        let replay = Replay {
            before: Image::read(self.devices[1].device(), self.extent)?,
            scaler: self.devices[1].device().link.scaler_get(request.scaler)?,
            request: request.clone(),
            nothing: self.nothing,
            extent: self.extent,
        };
        let step = self.compared.steps + 1;
        let mut reply = None;
        for part in [Part::Compute, Part::Update] {
            let asked = part.request(request, self.nothing);
            let replies = both(&mut self.devices, |device| step_on(&mut device.link, &asked))?;
            let [checked, right] = both(&mut self.devices, |device| Image::read(device, self.extent))?;
            if checked.difference(&right).is_some() {
                return Ok((replies[1], Some(replay.search(&mut self.devices, part, step)?)));
            }
            if timeless(&replies[0]) != timeless(&replies[1]) {
                return Err(Error::Mismatch {
                    what: format!("step {step}, the reply to {part:?}, with equal memories"),
                    found: format!("{:?}", replies[0]),
                    expected: format!("{:?}", replies[1]),
                });
            }
            self.compared.segments += 1;
            self.compared.elements += right.elements();
            let segment = part.segment(request);
            self.compared.instructions += instructions(self.devices[0].compiled(), segment).count() as u64;
            let outcome = replies[1].outcome;
            reply = Some(replies[1]);
            if outcome == Outcome::SkippedForward {
                break;
            }
        }
        let reply = reply.expect("a step has two parts");
        self.devices.iter_mut().for_each(|d| d.pass_done(work, reply.outcome));
        Ok((reply, None))
    }
}

impl Part {
    /// The segment of a step's part.
    fn segment(self, request: &StepRequest) -> u32 {
        match self {
            Part::Compute => request.compute,
            Part::Update => request.update,
        }
    }

    /// The request for this part of a step alone.
    fn request(self, whole: &StepRequest, nothing: u32) -> StepRequest {
        let alone = StepRequest { early: false, ..whole.clone() };
        match self {
            Part::Compute => StepRequest { update: nothing, more: true, ..alone },
            Part::Update => StepRequest { compute: nothing, ..alone },
        }
    }
}

/// The network with one more segment, in which nothing happens.
fn with_nothing(compiled: &Compiled) -> Result<Compiled> {
    let mut c = compiled.clone();
    let end = Instr::Control(Control::End).encode();
    let need = c.program.len() + end.len();
    let room = c.machine.pmem_words;
    if need > room as usize {
        return Err(Error::from_compiler("the network", crate::compile::CompileError::Program { need, room }));
    }
    c.segments.push(Segment { name: "nothing".into(), addr: c.program.len() as u32, words: end.len() as u32 });
    c.program.extend_from_slice(&end);
    Ok(c)
}

fn upload(device: Device, compiled: &Compiled, task: &Task) -> Result<Session> {
    if device.info.machine != compiled.machine {
        let reason = format!("the network was compiled for {:?}", compiled.machine);
        return Err(Error::value("the machine", format!("{:?}", device.info.machine), reason));
    }
    let mut session = Session::start(device, compiled.clone(), task.weights, &task.scalers, task.scale)?;
    session.set_schedule(task.schedule.clone());
    Ok(session)
}

/// Word addresses of a segment's engine instructions. What compilers make is straight-line code that ends in `End`.
fn instructions(compiled: &Compiled, segment: u32) -> impl Iterator<Item = u32> {
    let s = &compiled.segments[segment as usize];
    let (mut at, end) = (s.addr, s.addr + s.words);
    std::iter::from_fn(move || {
        let here = at;
        at += length(*compiled.program.get(here as usize)?) as u32;
        (at < end).then_some(here)
    })
}

fn both<T>(devices: &mut [Session; 2], mut f: impl FnMut(&mut Device) -> Result<T>) -> Result<[T; 2]> {
    let [checked, right] = devices;
    Ok([f(checked.device())?, f(right.device())?])
}

fn step_on(link: &mut Link, request: &StepRequest) -> Result<StepReply> {
    let ticket = link.step(request)?;
    link.step_reply(ticket)
}

/// A reply without what depends on a clock, or on which engine was faster: the first offender.
fn timeless(reply: &StepReply) -> [u32; 9] {
    [
        reply.outcome as u32,
        reply.loss.to_bits(),
        reply.correct.to_bits(),
        reply.exponent_used as u32,
        reply.exponent_next as u32,
        reply.flags,
        reply.skips_in_a_row,
        reply.skips,
        reply.grad_norm.to_bits(),
    ]
}
