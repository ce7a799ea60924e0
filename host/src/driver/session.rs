//! A compiled network on a device: upload, training with double-buffered batches, evaluation, read-back.
//!
//! The device holds two batches. While it trains on one, the host sends the next into the other, so a step never waits for
//! its data unless the line is slower than the machine.

use std::collections::VecDeque;

use half::f16;
use systole_isa::frame::scaler;
use systole_isa::sreg;

use super::link::Ticket;
use super::product::{block, upload_program};
use super::requests::{Block, Registers, StepReply, StepRequest};
use super::trace::Recording;
use super::{Device, Link};
use crate::compile::optimizer::{Clip, EMA, KEEP};
use crate::compile::{Compiled, Feed, PADDED_LABEL, Pass, TensorPlace, from_device_order};
use crate::data::dropout::kept;
use crate::data::latent::noise;
use crate::data::{Moment, Rows};
use crate::error::{Error, Result};
use crate::run::schedule::Schedule;
use systole_isa::frame::step::Outcome;

/// Every state word of a loss scaler.
pub type ScalerWords = [u32; scaler::WORDS];

/// Steps that have been requested and not answered, at most: one has ended and its reply is on its way, one runs, one waits for that
/// one's end, and the request for the fourth stands in the receive ring with its batch.
const AHEAD: usize = 4;

/// Cycles after which the firmware gives up something that is predicted to take `cycles`.
pub fn deadline(cycles: u64) -> u32 {
    (cycles * 100 + 1_000_000).min(0x7fff_ffff) as u32
}

/// Values of all parameters, their optimizer state, and buffers: row-major, in the order of the compiled parameters and buffers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// FP32 master copies.
    pub masters: Vec<Vec<f32>>,
    /// Optimizer state per parameter, in the order of its `state`; empty: as at the start, zeros or a copy of the weights.
    pub state: Vec<Vec<Vec<f32>>>,
    /// Buffers, in the order of the compiled ones; empty: their initial values.
    pub buffers: Vec<Vec<f32>>,
}

impl From<Vec<Vec<f32>>> for Weights {
    /// These master copies, everything else as at the start.
    fn from(masters: Vec<Vec<f32>>) -> Weights {
        Weights { masters, ..Weights::default() }
    }
}

impl Weights {
    /// SHA-256 of the master copies and the buffers: FP32, little endian, in order.
    pub fn sha256(&self) -> String {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        for v in self.masters.iter().chain(&self.buffers).flatten() {
            hash.update(v.to_le_bytes());
        }
        systole_verilator::hex(&hash.finalize())
    }
}

/// Inputs of a phase's optimizer that are not part of its program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyper {
    /// Largest learning rate; see [`Session::set_schedule`].
    pub lr: f32,
    /// Momentum.
    pub momentum: f32,
}

/// Sums over rows. Of sequences with a class for each step, a row's loss is the mean over its steps, and its share of right steps
/// counts.
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

/// One pass of a training step.
#[derive(Clone, Copy)]
pub(super) struct Work<'o> {
    pub(super) phase: usize,
    pass: usize,
    /// Rows of the data set.
    rows: &'o [usize],
    /// When random numbers are drawn for it.
    moment: Moment,
    /// Rows of the whole step.
    window: usize,
    /// Nothing of this update has been accumulated before it.
    first: bool,
    /// The update comes after a later pass.
    more: bool,
}

/// A network on a device.
pub struct Session {
    device: Device,
    compiled: Compiled,
    scale: i8,
    slot: usize,
    /// Updates so far of each phase, as far as replies tell. A request that depends on it is made once the pass before has been
    /// replied to.
    updates: Vec<u64>,
    schedule: Schedule,
    /// The next batch to train on.
    moment: Moment,
    /// Steps done so far, those before a resume included.
    pub steps: u64,
}

impl Session {
    /// Uploads program, constants, weights and the state of each phase's scaler. Features will be multiplied by 2^`scale`.
    pub fn start(
        mut device: Device,
        compiled: Compiled,
        weights: &Weights,
        scalers: &[ScalerWords],
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
        for (i, b) in compiled.buffers.iter().enumerate() {
            let initial = vec![b.initial; (b.place.rows * b.place.cols) as usize];
            write_f32(link, &b.place, weights.buffers.get(i).unwrap_or(&initial))?;
        }
        assert_eq!(scalers.len(), compiled.phases.len(), "a scaler for each phase");
        for (i, words) in scalers.iter().enumerate() {
            link.scaler_set(i as u32, words)?;
        }
        link.drain()?;
        let updates = scalers.iter().map(|w| u64::from(w[scaler::STEPS].wrapping_sub(w[scaler::SKIPS]))).collect();
        let (schedule, moment) = (Schedule::default(), Moment::default());
        Ok(Session { device, compiled, scale, slot: 0, updates, schedule, moment, steps: 0 })
    }

    /// How the learning rate goes from here on; a session starts with a constant one.
    pub fn set_schedule(&mut self, schedule: Schedule) {
        self.schedule = schedule;
    }

    /// Which batch of the run the next one to train on is: what dropouts keep and what generators start from depends on it. It
    /// counts on from there.
    pub fn set_moment(&mut self, moment: Moment) {
        self.moment = moment;
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

    /// Trains on the rows in `order`: a step takes as many batches as make one update and goes through all phases with them; the
    /// last step and its last batch may be smaller. `hypers` are the phases'. `each` is told of every step: its rows and
    /// a reply for every phase, with the sums over its passes. It may stop the training by failing.
    ///
    /// Where the outcome of a pass changes nothing about the request for the next, that one is made while the pass runs, and its
    /// batch sent. So a few more steps may be done, and told, after `each` has failed.
    ///
    /// # Errors
    /// Those of the link, and the first of `each`. Where a forward pass is not finite, `each` is told at once, with the replies
    /// so far.
    pub fn train(
        &mut self,
        rows: &Rows,
        order: &[usize],
        hypers: &[Hyper],
        mut each: impl FnMut(&mut Link, usize, &[StepReply]) -> Result<()>,
    ) -> Result<()> {
        self.device.link.phase("training");
        let work = self.work(order);
        let (mut replies, mut sum, mut replied): (Vec<StepReply>, _, _) = (Vec::new(), None, None);
        let (mut sent, mut asked, mut tickets) = (0, 0, VecDeque::new());
        let (mut outcome, mut broken) = (Ok(()), false);
        let last_phase = self.compiled.phases.len() - 1;
        for (i, now) in work.iter().enumerate() {
            while let Some(next) = work.get(asked).filter(|_| tickets.len() < AHEAD) {
                // a step that has been begun is finished, or weights of one phase would be ahead of the other's
                if broken || outcome.is_err() && next.phase == 0 && next.first {
                    break;
                }
                // a batch goes out behind the request before it, and is written once that step has been launched
                if sent == asked {
                    self.send_to_train(rows, next)?;
                    sent += 1;
                }
                if !self.foreseeable(&work[i..asked], next, hypers) {
                    break;
                }
                tickets.push_back(self.ask(next, hypers, asked > i)?);
                asked += 1;
            }
            let Some(ticket) = tickets.pop_front() else { break };
            let mut reply = match self.device.link.step_reply(ticket) {
                // refused, as it follows a step that failed
                Err(_) if outcome.is_err() => continue,
                reply => reply?,
            };
            if let Some(before) = replied.replace(reply.end_cycle) {
                reply.passed = reply.end_cycle.wrapping_sub(before);
            }
            let total = add(sum, reply);
            sum = now.more.then_some(total);
            self.updates[now.phase] += u64::from(reply.outcome == Outcome::Updated);
            let stepped = !now.more && now.phase == last_phase;
            if stepped {
                self.steps += 1;
                self.device.recording.iter().for_each(|r| r.step_ends(self.steps));
            }
            broken |= reply.outcome == Outcome::SkippedForward;
            if !now.more || broken {
                replies.push(total);
            }
            if stepped || broken {
                outcome = outcome.and(each(&mut self.device.link, now.window, &replies));
                replies.clear();
            }
        }
        self.moment.batch += order.len().div_ceil(self.compiled.batch as usize) as u64;
        outcome
    }

    /// Requests the step of a pass whose batch has been sent; `chained` to one that has not been answered.
    fn ask(&mut self, work: &Work, hypers: &[Hyper], chained: bool) -> Result<Ticket> {
        if work.phase == 0 && work.first {
            self.device.recording.iter().for_each(|r| r.step_begins(self.steps + 1));
        }
        let request = StepRequest { chained, ..self.step_request(work, hypers[work.phase]) };
        let ticket = self.device.link.step(&request)?;
        self.slot ^= 1;
        Ok(ticket)
    }

    /// Whether the request for `next` is known before the outcomes of those `before` it: a learning rate or a bias correction may
    /// go by the number of updates. Steps that are recorded are requested one by one, so that a trace shows each by itself, from
    /// end to end.
    fn foreseeable(&self, before: &[Work], next: &Work, hypers: &[Hyper]) -> bool {
        let recorded = |r: &Recording| (0..=before.len() as u64).any(|i| r.has_step(self.steps + 1 + i));
        if !before.is_empty() && self.device.recording.as_ref().is_some_and(recorded) {
            return false;
        }
        let open = before.iter().filter(|w| w.phase == next.phase && !w.more).count() as u64;
        let updates = self.updates[next.phase];
        let scalars = |updates| self.scalars(next.phase, hypers[next.phase], updates);
        next.more || (1..=open).all(|more| scalars(updates + more) == scalars(updates))
    }

    /// A phase's optimizer's scalar registers after so many updates.
    fn scalars(&self, phase: usize, hyper: Hyper, updates: u64) -> Vec<(u32, u32)> {
        let recipe = &self.compiled.phases[phase].recipe;
        recipe.scalars(self.schedule.rate(hyper.lr, updates), hyper.momentum, updates)
    }

    /// The passes of all steps over these rows.
    pub(super) fn work<'o>(&self, order: &'o [usize]) -> Vec<Work<'o>> {
        let phases = &self.compiled.phases;
        let batch = self.compiled.batch as usize;
        // every phase goes through the same batches
        let window = batch * phases[0].batches();
        let mut all = Vec::new();
        for (step, of_step) in order.chunks(window).enumerate() {
            for (phase, p) in phases.iter().enumerate() {
                let count = of_step.len().div_ceil(batch) * p.passes.len();
                for i in 0..count {
                    let (at, pass) = (i / p.passes.len(), i % p.passes.len());
                    let rows = &of_step[at * batch..((at + 1) * batch).min(of_step.len())];
                    let ordinal = (step * phases[0].batches() + at) as u64;
                    let moment = Moment { batch: self.moment.batch + ordinal, ..self.moment };
                    let (first, more) = (i == 0, i + 1 < count);
                    all.push(Work { phase, pass, rows, moment, window: of_step.len(), first, more });
                }
            }
        }
        all
    }

    /// A pass that does not end its phase's update has its gradients accumulated in the update's place.
    pub(super) fn step_request(&self, work: &Work, hyper: Hyper) -> StepRequest {
        let phase = &self.compiled.phases[work.phase];
        let compute = phase.passes[work.pass].segment;
        let update = if work.more { phase.accumulate.unwrap_or(phase.update) } else { phase.update };
        let predicted = &self.compiled.predicted;
        let cycles: u64 = [compute, update].iter().filter_map(|&i| predicted.get(i as usize)).map(|p| p.cycles).sum();
        let mut registers = self.registers(&phase.passes[work.pass]);
        if !work.more {
            registers.scalar = self.scalars(work.phase, hyper, self.updates[work.phase]);
        }
        if phase.accumulate.is_some() {
            registers.scalar.push((KEEP as u32, if work.first { 0.0f32 } else { 1.0 }.to_bits()));
        }
        StepRequest {
            scaler: work.phase as u32,
            compute,
            update,
            more: work.more,
            chained: false,
            // the norm that the reply tells is only known after the update
            early: !matches!(phase.recipe.clip, Clip::Norm(_)),
            inv_batch: 1.0 / (work.window * self.compiled.labels_per_row as usize) as f32,
            deadline: deadline(cycles),
            registers,
        }
    }

    /// The address registers that select the current slot of a pass.
    fn registers(&self, pass: &Pass) -> Registers {
        let address = pass.slots[self.slot].registers.iter().map(|&(i, v)| (u32::from(i), v)).collect();
        Registers { address, scalar: Vec::new() }
    }

    /// A pass has been done by requests that were not made here; what the next one trains on goes into the other slot.
    pub(super) fn pass_done(&mut self, work: &Work, outcome: Outcome) {
        self.slot ^= 1;
        self.updates[work.phase] += u64::from(outcome == Outcome::Updated);
    }

    /// Sends what a pass trains on into its current slot, and what dropouts keep of it.
    pub(super) fn send_to_train(&mut self, rows: &Rows, work: &Work) -> Result<()> {
        let phases = &self.compiled.phases;
        // passes and their dropouts are numbered through the whole step, so that each has random numbers of its own
        let before = phases[..work.phase].iter().flat_map(|p| &p.passes).chain(&phases[work.phase].passes[..work.pass]);
        let (number, dropouts) = before.fold((0, 0), |(n, d), pass| (n + 1, d + pass.dropouts.len()));
        let pass = phases[work.phase].passes[work.pass].clone();
        match pass.feed {
            Feed::Rows => self.send_rows(&pass, rows, work.rows)?,
            Feed::Noise => {
                let input = pass.slots[self.slot].input;
                let values = noise(work.moment, number, (input.rows * input.cols) as usize);
                self.send_noise(&pass, &values, work.rows.len())?;
            }
        }
        let (slot, size) = (&pass.slots[self.slot], self.compiled.batch as usize);
        for (layer, (dropout, place)) in pass.dropouts.iter().zip(&slot.masks).enumerate() {
            let values = size * dropout.shape.iter().product::<usize>();
            let kept = kept(work.moment, (dropouts + layer) as u64, dropout.p, values);
            let mask: Vec<u8> = kept.into_iter().map(u8::from).collect();
            self.device.link.write_bytes(block(place), &dropout.arrange(size, &mask), 0)?;
        }
        Ok(())
    }

    /// Sends rows of a data set into a pass's current slot; those that are missing become zeros without a class.
    fn send_rows(&mut self, pass: &Pass, rows: &Rows, batch: &[usize]) -> Result<()> {
        let input = pass.slots[self.slot].input;
        let (width, size) = (input.cols as usize, input.rows as usize);
        let mut features = Vec::with_capacity(width * size);
        batch.iter().for_each(|&i| features.extend_from_slice(rows.row(i, width)));
        features.resize(width * size, 0);
        // The features last: their transfer ends while firmware answers the step before, and no frame is left to be read
        // before the next request.
        let steps = rows.labels_per_row;
        let missing = vec![None; (size - batch.len()) * steps];
        let known = batch.iter().flat_map(|&i| rows.labels_of(i)).map(|&c| Some(c));
        let (labels, classes) = self.classes(pass, steps, &known.chain(missing).collect::<Vec<_>>());
        self.device.link.write_both((labels, &classes), (block(&input), &features, self.scale))
    }

    /// Sends a generator's random numbers, of which only the first `valid` rows count.
    fn send_noise(&mut self, pass: &Pass, values: &[f16], valid: usize) -> Result<()> {
        let rows = pass.slots[self.slot].input.rows as usize;
        let (labels, classes) = self.classes(pass, 1, &(0..rows).map(|i| (i < valid).then_some(0)).collect::<Vec<_>>());
        self.device.link.write(labels, &classes)?;
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.device.link.write(block(&pass.slots[self.slot].input), &bytes)
    }

    /// The classes of a batch `[rows, steps]` as the device takes them, FP16, step after step, and their place; rows that are
    /// missing have none.
    fn classes(&self, pass: &Pass, steps: usize, classes: &[Option<u8>]) -> (Block, Vec<u8>) {
        let labels = pass.slots[self.slot].labels;
        debug_assert_eq!(labels.cols as usize, classes.len());
        let half = |c: Option<u8>| crate::npy::round_f16(c.map_or(PADDED_LABEL as f32, f32::from)).to_le_bytes();
        let of_step = |s: usize| classes.iter().skip(s).step_by(steps).flat_map(move |&c| half(c));
        (block(&labels), (0..steps).flat_map(of_step).collect())
    }

    /// Loss and right predictions over all rows, without training.
    pub fn evaluate(&mut self, rows: &Rows) -> Result<Score> {
        self.device.link.phase("evaluating");
        let order: Vec<usize> = (0..rows.len()).collect();
        let batches: Vec<&[usize]> = order.chunks(self.compiled.batch as usize).collect();
        let pass = self.compiled.evaluate.clone();
        let deadline = self.evaluation_deadline();
        let mut score = Score::default();
        let steps = self.compiled.labels_per_row as usize;
        if let Some(&first) = batches.first() {
            self.send_rows(&pass, rows, first)?;
        }
        for (t, batch) in batches.iter().enumerate() {
            let mut registers = self.registers(&pass);
            registers.scalar = vec![(sreg::INV_BATCH as u32, (1.0 / (batch.len() * steps) as f32).to_bits())];
            let ticket = self.device.link.run(pass.segment, deadline, &registers)?;
            self.slot ^= 1;
            if let Some(&next) = batches.get(t + 1) {
                self.send_rows(&pass, rows, next)?;
            }
            let reply = self.device.link.run_reply(ticket)?;
            let value = |register: usize| f32::from_bits(reply.sregs[register - 8]);
            score.add(batch.len(), value(sreg::LOSS), value(sreg::CORRECT) / steps as f32);
        }
        Ok(score)
    }

    fn evaluation_deadline(&self) -> u32 {
        let predicted = self.compiled.predicted.get(self.compiled.evaluate.segment as usize);
        deadline(predicted.map_or(0, |p| p.cycles))
    }

    /// What the generator of a GAN makes of one batch of random numbers, drawn for `at`: FP16 images, row after row in PyTorch's
    /// order `[batch, shape…]`; `shape` is an image's.
    pub fn generate(&mut self, at: Moment, shape: &[usize]) -> Result<Vec<f16>> {
        self.device.link.phase("generating images");
        let pass = self.compiled.evaluate.clone();
        let input = pass.slots[self.slot].input;
        self.send_noise(&pass, &noise(at, 0, (input.rows * input.cols) as usize), input.rows as usize)?;
        let (registers, deadline) = (self.registers(&pass), self.evaluation_deadline());
        let ticket = self.device.link.run(pass.segment, deadline, &registers)?;
        self.device.link.run_reply(ticket)?;
        let bytes = self.device.link.read(block(&self.compiled.output))?;
        let values: Vec<f16> = bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
        Ok(from_device_order(shape, self.compiled.batch as usize, &values))
    }

    /// Reads master copies, optimizer state and buffers back.
    pub fn weights(&mut self) -> Result<Weights> {
        self.device.link.phase("reading parameters back");
        self.device.link.drain()?;
        let link = &mut self.device.link;
        let mut out = Weights::default();
        for p in &self.compiled.parameters {
            out.masters.push(read_f32(link, &p.master)?);
            out.state.push(p.state.iter().map(|(_, place)| read_f32(link, place)).collect::<Result<_>>()?);
        }
        out.buffers = self.compiled.buffers.iter().map(|b| read_f32(link, &b.place)).collect::<Result<_>>()?;
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

    /// The whole state of each phase's loss scaler.
    pub fn scalers(&mut self) -> Result<Vec<ScalerWords>> {
        (0..self.compiled.phases.len()).map(|i| self.device.link.scaler_get(i as u32)).collect()
    }

    /// Replaces the state of a phase's loss scaler.
    pub fn set_scaler(&mut self, phase: usize, words: &ScalerWords) -> Result<()> {
        self.device.link.scaler_set(phase as u32, words)
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
