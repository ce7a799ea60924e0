//! A compiled network on a device: upload, training with double-buffered batches, evaluation, read-back.
//!
//! The device holds two batches. While it trains on one, the host sends the next into the other, so a step never waits for
//! its data unless the line is slower than the machine.

use systole_isa::frame::scaler;
use systole_isa::sreg;

use super::product::{block, upload_program};
use super::requests::{Registers, StepReply, StepRequest};
use super::{Device, Link};
use crate::compile::optimizer::{Clip, EMA, KEEP};
use crate::compile::{Compiled, PADDED_LABEL, TensorPlace};
use crate::data::Rows;
use crate::data::dropout::{Moment, kept};
use crate::error::{Error, Result};
use crate::run::schedule::Schedule;
use systole_isa::frame::step::Outcome;

/// The scaler that a network with one loss uses.
pub(super) const SCALER: u32 = 0;

/// Cycles after which the firmware gives up something that is predicted to take `cycles`.
pub fn deadline(cycles: u64) -> u32 {
    (cycles * 100 + 1_000_000).min(0x7fff_ffff) as u32
}

/// Values of all parameters and their optimizer state, row-major, in the order of the compiled parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// FP32 master copies.
    pub masters: Vec<Vec<f32>>,
    /// Optimizer state per parameter, in the order of its `state`; empty: as at the start, zeros or a copy of the weights.
    pub state: Vec<Vec<Vec<f32>>>,
}

impl Weights {
    /// SHA-256 of the master copies: FP32, little endian, in order.
    pub fn sha256(&self) -> String {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        for v in self.masters.iter().flatten() {
            hash.update(v.to_le_bytes());
        }
        hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
    }
}

/// Inputs of the optimizer that are not part of its program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyper {
    /// Largest learning rate; see [`Session::set_schedule`].
    pub lr: f32,
    /// Momentum.
    pub momentum: f32,
}

/// Sums over rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Sum of the loss over rows.
    pub loss: f64,
    /// Rows predicted right.
    pub correct: f64,
    /// Rows.
    pub rows: usize,
}

impl Score {
    /// Adds `rows` rows with this mean loss and so many right.
    pub fn add(&mut self, rows: usize, mean_loss: f32, correct: f32) {
        self.loss += f64::from(mean_loss) * rows as f64;
        self.correct += f64::from(correct);
        self.rows += rows;
    }
    /// Mean loss.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.rows as f64
    }
    /// Rows predicted right, 0..=1.
    pub fn accuracy(&self) -> f64 {
        self.correct / self.rows as f64
    }
}

/// A network on a device.
pub struct Session {
    device: Device,
    compiled: Compiled,
    scale: i8,
    slot: usize,
    /// Updates so far. Requests are made once the reply to the one before is there, so this is exact for each of them.
    updates: u64,
    schedule: Schedule,
    /// The next batch to train on.
    moment: Moment,
    /// Steps done so far, those before a resume included.
    pub steps: u64,
}

impl Session {
    /// Uploads program, constants, weights and scaler state. Features will be multiplied by 2^`scale`.
    pub fn start(
        mut device: Device,
        compiled: Compiled,
        weights: &Weights,
        state: &[u32; scaler::WORDS],
        scale: i8,
    ) -> Result<Session> {
        let link = &mut device.link;
        link.phase("uploading the program");
        upload_program(link, &compiled.program)?;
        link.segments(&compiled.segments.iter().map(|s| (s.addr, s.words)).collect::<Vec<_>>())?;
        link.phase("uploading constants");
        for u in &compiled.uploads {
            let place = TensorPlace { space: u.space, addr: u.addr, rows: u.rows, cols: u.row_len, pitch: u.pitch };
            link.write(block(&place), &u.data)?;
        }
        link.phase("uploading parameters");
        for (i, p) in compiled.parameters.iter().enumerate() {
            let master = &weights.masters[i];
            write_f32(link, &p.master, master)?;
            // (where FP16 weights are all there is, these are the weights)
            let half: Vec<u8> = master.iter().flat_map(|&v| crate::npy::round_f16(v).to_le_bytes()).collect();
            link.write(block(&p.half), &half)?;
            for (j, (_, place)) in p.state.iter().enumerate() {
                match weights.state.get(i).and_then(|s| s.get(j)) {
                    Some(values) => write_f32(link, place, values)?,
                    None if p.state[j].0 == EMA => write_f32(link, place, master)?,
                    None => link.fill(block(place), 0)?,
                }
            }
        }
        link.scaler_set(SCALER, state)?;
        link.drain()?;
        let updates = u64::from(state[scaler::STEPS].wrapping_sub(state[scaler::SKIPS]));
        let (schedule, moment) = (Schedule::default(), Moment::default());
        Ok(Session { device, compiled, scale, slot: 0, updates, schedule, moment, steps: 0 })
    }

    /// How the learning rate goes from here on; a session starts with a constant one.
    pub fn set_schedule(&mut self, schedule: Schedule) {
        self.schedule = schedule;
    }

    /// Which batch of the run the next one to train on is: what dropouts keep depends on it. It counts on from there.
    pub fn set_moment(&mut self, moment: Moment) {
        self.moment = moment;
    }

    /// Updates so far, those before the session included; skipped steps do not count.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The device.
    pub fn device(&mut self) -> &mut Device {
        &mut self.device
    }

    /// The device, for another network.
    pub fn into_device(self) -> Device {
        self.device
    }

    /// The compiled network.
    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// Trains on the rows in `order`: windows of `accumulate` batches, an update a window; the last window and its last batch may
    /// be smaller. `each` is told of every window, with the sums of its batches, and may stop the training by failing.
    pub fn train(
        &mut self,
        rows: &Rows,
        order: &[usize],
        hyper: Hyper,
        mut each: impl FnMut(&mut Link, usize, &StepReply) -> Result<()>,
    ) -> Result<()> {
        self.device.link.phase("training");
        let batch = self.compiled.batch as usize;
        let window = batch * self.compiled.recipe.accumulate as usize;
        let mut batches = order.chunks(window).flat_map(|w| w.chunks(batch)).peekable();
        let Some(&first) = batches.peek() else { return Ok(()) };
        self.send_to_train(rows, first)?;
        let (mut position, mut sum, mut replied) = (0, None, None);
        while let Some(batch) = batches.next() {
            let start = position / window * window;
            let end = (start + window).min(order.len());
            let more = position + batch.len() < end;
            let request = self.step_request(end - start, hyper, position == start, more);
            position += batch.len();
            if position - batch.len() == start {
                self.steps += 1;
                self.device.recording.iter().for_each(|r| r.step_begins(self.steps));
            }
            let ticket = self.device.link.step(&request)?;
            self.slot ^= 1;
            if let Some(&next) = batches.peek() {
                self.send_to_train(rows, next)?;
            }
            let mut reply = self.device.link.step_reply(ticket)?;
            if let Some(before) = replied.replace(reply.end_cycle) {
                reply.passed = reply.end_cycle.wrapping_sub(before);
            }
            let total = add(sum, reply);
            sum = more.then_some(total);
            self.updates += u64::from(reply.outcome == Outcome::Updated);
            if !more {
                self.device.recording.iter().for_each(|r| r.step_ends(self.steps));
            }
            if !more || reply.outcome == Outcome::SkippedForward {
                each(&mut self.device.link, end - start, &total)?;
            }
        }
        Ok(())
    }

    /// `rows`: of the whole window. A batch that does not end it has its gradients accumulated in the update's place.
    pub(super) fn step_request(&self, rows: usize, hyper: Hyper, first: bool, more: bool) -> StepRequest {
        let c = &self.compiled;
        let update = if more { c.step.accumulate.unwrap_or(c.step.update) } else { c.step.update };
        let cycles: u64 =
            [c.step.compute, update].iter().filter_map(|&i| c.predicted.get(i as usize)).map(|p| p.cycles).sum();
        let mut registers = self.registers();
        if !more {
            registers.scalar =
                c.recipe.scalars(self.schedule.rate(hyper.lr, self.updates), hyper.momentum, self.updates);
        }
        if c.step.accumulate.is_some() {
            registers.scalar.push((KEEP as u32, if first { 0.0f32 } else { 1.0 }.to_bits()));
        }
        StepRequest {
            scaler: SCALER,
            compute: c.step.compute,
            update,
            more,
            // the norm that the reply tells is only known after the update
            early: !matches!(c.recipe.clip, Clip::Norm(_)),
            inv_batch: 1.0 / rows as f32,
            deadline: deadline(cycles),
            registers,
        }
    }

    /// The address registers that select the current slot.
    fn registers(&self) -> Registers {
        let address = self.compiled.slots[self.slot].registers.iter().map(|&(i, v)| (u32::from(i), v)).collect();
        Registers { address, scalar: Vec::new() }
    }

    /// A batch has been trained on by requests that were not made here; the next one goes into the other slot.
    pub(super) fn batch_done(&mut self, outcome: Outcome) {
        self.slot ^= 1;
        self.updates += u64::from(outcome == Outcome::Updated);
    }

    /// Sends a batch into the current slot, and what dropouts keep of it.
    pub(super) fn send_to_train(&mut self, rows: &Rows, batch: &[usize]) -> Result<()> {
        self.send(rows, batch, self.slot)?;
        let (slot, size) = (&self.compiled.slots[self.slot], self.compiled.batch as usize);
        for (layer, (dropout, place)) in self.compiled.dropouts.iter().zip(&slot.masks).enumerate() {
            let values = size * dropout.shape.iter().product::<usize>();
            let mask: Vec<u8> = kept(self.moment, layer as u64, dropout.p, values).into_iter().map(u8::from).collect();
            self.device.link.write_bytes(block(place), &dropout.arrange(size, &mask), 0)?;
        }
        self.moment.batch += 1;
        Ok(())
    }

    /// Sends a batch into a slot; rows that are missing become zeros without a class.
    fn send(&mut self, rows: &Rows, batch: &[usize], slot: usize) -> Result<()> {
        let (input, labels) = (self.compiled.slots[slot].input, self.compiled.slots[slot].labels);
        let (width, size) = (input.cols as usize, input.rows as usize);
        let mut features = Vec::with_capacity(width * size);
        let mut classes = Vec::with_capacity(2 * size);
        for &i in batch {
            features.extend_from_slice(rows.row(i, width));
            classes.extend(crate::npy::round_f16(f32::from(rows.labels[i])).to_le_bytes());
        }
        features.resize(width * size, 0);
        let padded = crate::npy::round_f16(PADDED_LABEL as f32).to_le_bytes();
        classes.extend(padded.repeat(size - batch.len()));
        // The features last: their transfer ends while firmware answers the step before, and no frame is left to be read
        // before the next request.
        self.device.link.write(block(&labels), &classes)?;
        self.device.link.write_bytes(block(&input), &features, self.scale)
    }

    /// Loss and right predictions over all rows, without training.
    pub fn evaluate(&mut self, rows: &Rows) -> Result<Score> {
        self.device.link.phase("evaluating");
        let order: Vec<usize> = (0..rows.len()).collect();
        let batches: Vec<&[usize]> = order.chunks(self.compiled.batch as usize).collect();
        let predicted = self.compiled.predicted.get(self.compiled.evaluate as usize).map_or(0, |p| p.cycles);
        let mut score = Score::default();
        if let Some(&first) = batches.first() {
            self.send(rows, first, self.slot)?;
        }
        for (t, batch) in batches.iter().enumerate() {
            let mut registers = self.registers();
            registers.scalar = vec![(sreg::INV_BATCH as u32, (1.0 / batch.len() as f32).to_bits())];
            let ticket = self.device.link.run(self.compiled.evaluate, deadline(predicted), &registers)?;
            self.slot ^= 1;
            if let Some(&next) = batches.get(t + 1) {
                self.send(rows, next, self.slot)?;
            }
            let reply = self.device.link.run_reply(ticket)?;
            let value = |register: usize| f32::from_bits(reply.sregs[register - 8]);
            score.add(batch.len(), value(sreg::LOSS), value(sreg::CORRECT));
        }
        Ok(score)
    }

    /// Reads master copies and optimizer state back.
    pub fn weights(&mut self) -> Result<Weights> {
        self.device.link.phase("reading parameters back");
        self.device.link.drain()?;
        let link = &mut self.device.link;
        let mut out = Weights::default();
        for p in &self.compiled.parameters {
            out.masters.push(read_f32(link, &p.master)?);
            out.state.push(p.state.iter().map(|(_, place)| read_f32(link, place)).collect::<Result<_>>()?);
        }
        Ok(out)
    }

    /// Reads the gradients of the last step, FP16 and times its loss scale, in the order of the parameters. They last until
    /// the next step or evaluation.
    pub fn gradients(&mut self) -> Result<Vec<Vec<u16>>> {
        self.device.link.phase("reading gradients back");
        self.device.link.drain()?;
        let link = &mut self.device.link;
        let halves = |bytes: Vec<u8>| bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        self.compiled.parameters.iter().map(|p| Ok(halves(link.read(block(&p.gradient))?))).collect()
    }

    /// The loss scaler's whole state.
    pub fn scaler(&mut self) -> Result<[u32; scaler::WORDS]> {
        self.device.link.scaler_get(SCALER)
    }

    /// Replaces the loss scaler's state.
    pub fn set_scaler(&mut self, words: &[u32; scaler::WORDS]) -> Result<()> {
        self.device.link.scaler_set(SCALER, words)
    }

    /// What the instruction at program word `pc` is for.
    pub fn label_of(&self, pc: u32) -> String {
        let instructions = self.compiled.predicted.iter().flat_map(|s| &s.instructions);
        instructions
            .filter(|i| i.addr == pc)
            .map(|i| i.label.clone())
            .next()
            .unwrap_or_else(|| format!("program word {pc:#x}"))
    }

    /// The error for a forward pass that is not finite.
    pub fn forward_error(&self, step: u64, reply: &StepReply) -> Error {
        Error::ForwardNotFinite { step, place: self.label_of(reply.flag_pc) }
    }
}

/// A window's reply: what adds up is added up, the rest is the last batch's. Losses are sums over the window's rows already.
fn add(before: Option<StepReply>, last: StepReply) -> StepReply {
    let Some(b) = before else { return last };
    StepReply {
        loss: b.loss + last.loss,
        correct: b.correct + last.correct,
        flags: b.flags | last.flags,
        cycles: b.cycles.wrapping_add(last.cycles),
        passed: b.passed.wrapping_add(last.passed),
        counters: std::array::from_fn(|i| b.counters[i].wrapping_add(last.counters[i])),
        ..last
    }
}

fn write_f32(link: &mut Link, place: &TensorPlace, values: &[f32]) -> Result<()> {
    link.write(block(place), &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

fn read_f32(link: &mut Link, place: &TensorPlace) -> Result<Vec<f32>> {
    let bytes = link.read(block(place))?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}
