//! The run itself.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use systole_isa::frame::scaler;
use systole_isa::frame::step::Outcome;

use super::checkpoint::{self, Checkpoint, PhasePosition, Position};
use super::folder::Folder;
use super::options::{LossScale, TrainOptions};
use super::report::{Epoch, Gradient, PhaseReport, Progress, Step, TrainReport};
use super::{facts, resume, samples};
use crate::compile::{self, Clip, Master, Recipe};
use crate::data::{Dataset, Moment, permutation};
use crate::driver::device::DeviceKind;
use crate::driver::log::LogDecoder;
use crate::driver::session::{Hyper, Score, Session, Weights};
use crate::driver::{Device, Link};
use crate::error::{Error, Result};
use crate::graph::{self, Model, Settings, initialize};

/// Trains a network from start to end.
pub fn train(options: &TrainOptions, progress: &mut dyn Progress) -> Result<TrainReport> {
    let (model, data) = prepare(options)?;
    progress.phase("opening the device");
    let device = Device::open(&options.device)?;
    run(options, device, model, data, progress)
}

/// As [`train`], on a device that is open already.
pub fn train_on(device: Device, options: &TrainOptions, progress: &mut dyn Progress) -> Result<TrainReport> {
    let (model, data) = prepare(options)?;
    run(options, device, model, data, progress)
}

/// The model and its data set, where they go together.
pub fn prepare(options: &TrainOptions) -> Result<(Model, Dataset)> {
    options.check()?;
    let model = parse_model(&options.model)?;
    let data = Dataset::of(&options.data, &model)?;
    let wrong = |reason: String| Err(Error::InvalidModel { spec: options.model.clone(), reason });
    let (features, classes) = (model.row_features(), model.graph.classes());
    if features != data.width {
        let does = if model.gan.is_some() { "its generator makes" } else { "it takes" };
        let what = if model.gan.is_some() { "values" } else { "inputs" };
        return wrong(format!("{does} {features} {what}, the rows of {} have {}", data.name, data.width));
    }
    if model.gan.is_some() && options.accumulate > 1 {
        let why = "a GAN accumulates real and generated images already, one batch of each: choose a larger --batch";
        return Err(Error::value("--accumulate", options.accumulate, why));
    }
    let lone = options.batch == 1 || data.train.len() % options.batch as usize == 1;
    if let (Some(node), true) = (model.trained().needs_two_rows(), lone) {
        let (rows, name) = (data.train.len(), &node.name);
        let why = format!(
            "the last batch of the {rows} training rows has one row, and `{name}` (batch_norm) needs two for a variance: choose another"
        );
        return Err(Error::value("--batch", options.batch, why));
    }
    if classes > 0 && classes < data.classes {
        return wrong(format!("it tells {classes} classes apart, {} has {}", data.name, data.classes));
    }
    Ok((model, data))
}

/// Where a run's weights start.
pub(crate) fn initial_weights(options: &TrainOptions, model: &Model) -> Weights {
    let mut masters = initialize(&model.graph, options.seed);
    if options.master == Master::Half {
        masters.iter_mut().flatten().for_each(|v| *v = half::f16::from_f32(*v).to_f32());
    }
    masters.into()
}

/// A model from its notation, from a file that holds it, from a model file (`.toml`), or from a model file's text.
pub fn parse_model(spec: &str) -> Result<Model> {
    let (text, file) = model_text(spec)?;
    if is_model_file(spec, &text) {
        return parse_model_file(spec, &text, file.as_deref()).map(|m| m.0);
    }
    Model::mlp(text.trim()).map_err(|e| Error::InvalidModel { spec: spec.into(), reason: e.to_string() })
}

/// Settings that a model file brings along; none for other models.
pub fn model_settings(spec: &str) -> Result<Settings> {
    let (text, file) = model_text(spec)?;
    match is_model_file(spec, &text) {
        true => parse_model_file(spec, &text, file.as_deref()).map(|m| m.1),
        false => Ok(Settings::default()),
    }
}

fn is_model_file(spec: &str, text: &str) -> bool {
    spec.ends_with(".toml") || text.contains('=')
}

fn model_text(spec: &str) -> Result<(String, Option<PathBuf>)> {
    let path = Path::new(spec);
    if path.is_file() || spec.ends_with(".toml") {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        return Ok((text, Some(path.into())));
    }
    Ok((spec.into(), None))
}

fn parse_model_file(spec: &str, text: &str, file: Option<&Path>) -> Result<(Model, Settings)> {
    graph::parse_file(text).map_err(|reason| match file {
        Some(path) => Error::Malformed { path: path.into(), format: "model", reason },
        None => Error::InvalidModel { spec: spec.into(), reason },
    })
}

struct Logger {
    decoder: Option<LogDecoder>,
}

impl Logger {
    fn drain(&mut self, link: &mut Link, progress: &mut dyn Progress) {
        for (seq, lost, bytes) in link.take_logs() {
            if let Some(d) = &mut self.decoder {
                d.push(seq, lost, &bytes).iter().for_each(|line| progress.line(line));
            }
        }
    }
}

/// A phase of a run in progress.
struct PhaseRun {
    /// What learns in it, where there are several.
    name: Option<&'static str>,
    hyper: Hyper,
    /// The next step's loss scale.
    scale: f64,
    /// Exponent of the last step's loss scale.
    scale_used: i32,
}

/// A run in progress.
struct Run<'a> {
    options: &'a TrainOptions,
    model: Model,
    data: Dataset,
    session: Session,
    folder: Folder,
    logger: Logger,
    config: serde_json::Value,
    position: Position,
    /// Optimizer and loss scaler of each phase.
    phases: Vec<PhaseRun>,
    /// Simulated cycles while training, and the real time that they took: both of this process alone.
    simulated: u64,
    training_time: Duration,
    kind: DeviceKind,
    has_cycles: bool,
    device_name: String,
}

fn run(
    options: &TrainOptions,
    device: Device,
    model: Model,
    data: Dataset,
    progress: &mut dyn Progress,
) -> Result<TrainReport> {
    let mut run = Run::start(options, device, model, data, progress)?;
    progress.start(run.steps_per_epoch(), options.epochs);
    let mut test = None;
    while run.position.epochs < options.epochs {
        test = run.epoch(progress)?;
    }
    run.finish(test, progress)
}

impl<'a> Run<'a> {
    /// Compiles, opens the folder, uploads everything; from a checkpoint where one is to be resumed.
    fn start(
        options: &'a TrainOptions,
        device: Device,
        model: Model,
        data: Dataset,
        progress: &mut dyn Progress,
    ) -> Result<Run<'a>> {
        let logger = Logger { decoder: log_decoder(options, &device, progress)? };
        let of_phases = options.of_phases(&model);
        let recipes: Vec<Recipe> = of_phases.iter().map(TrainOptions::recipe).collect();
        let compiled = compile::model(&model, options.batch, &recipes, device.info.machine)
            .map_err(|e| Error::from_compiler(&model.name, e))?;
        let config = facts::config(options, &model, &data, &device);
        let (kind, has_cycles) = (device.kind, device.has_cycles());
        let device_name = if kind == DeviceKind::Serial { device.link.name() } else { options.device.name.clone() };

        // everything about a checkpoint is checked before anything is written
        let resumed = match &options.resume {
            Some(what) => Some(resume::open(what, &options.runs, &compiled, &config, &data, options.epochs)?),
            None => None,
        };
        let name = options.name.clone().unwrap_or_else(|| facts::default_name(&data, &model, options.seed));
        let folder = match &resumed {
            Some(r) => Folder::reopen(&r.folder, &r.position)?,
            None => Folder::create(&options.runs, &name)?,
        };
        folder.write_json("config.json", &config)?;
        progress.folder(folder.path());
        let start = Position::start(of_phases.len());
        let (weights, scalers, position) = match resumed {
            Some(r) => (r.weights, r.scalers, r.position),
            None => (initial_weights(options, &model), vec![options.scaler(); of_phases.len()], start.clone()),
        };
        progress.phase("uploading program and parameters");
        let mut session = Session::start(device, compiled, &weights, &scalers, data.scale)?;
        session.set_schedule(options.schedule(data.train.len()));
        session.steps = position.steps;
        let names: Vec<Option<&'static str>> = match &model.gan {
            Some(gan) => gan.phases.iter().map(|p| Some(p.name)).collect(),
            None => vec![None],
        };
        let phases = names.into_iter().zip(&of_phases).zip(&scalers).map(|((name, o), words)| PhaseRun {
            name,
            hyper: Hyper { lr: o.lr, momentum: o.momentum },
            scale: f64::exp2(f64::from(words[scaler::EXPONENT] as i32)),
            scale_used: 0,
        });
        let phases = phases.collect();
        let (simulated, training_time) = (0, Duration::ZERO);
        let mut run = Run {
            options,
            model,
            data,
            session,
            folder,
            logger,
            config,
            position,
            phases,
            simulated,
            training_time,
            kind,
            has_cycles,
            device_name,
        };
        if run.position == start {
            // from here on a run can be continued, whenever it dies
            run.checkpoint()?;
        }
        Ok(run)
    }

    fn steps_per_epoch(&self) -> u64 {
        self.options.steps_per_epoch(self.data.train.len())
    }

    /// Trains to the end of the current epoch, evaluates (a GAN: draws samples), writes a checkpoint. Returns the score on the
    /// test rows, where the network has one.
    fn epoch(&mut self, progress: &mut dyn Progress) -> Result<Option<Score>> {
        let epoch = self.position.epochs + 1;
        let order = permutation(self.options.seed, u64::from(epoch), self.data.train.len());
        let (steps, started) = (self.steps_per_epoch(), Instant::now());
        while self.position.step_in_epoch < steps {
            let left = steps - self.position.step_in_epoch;
            // a checkpoint needs the device at rest, so the steps between two of them are one conversation
            let count = match self.options.checkpoint_every {
                Some(every) => left.min(every - self.position.steps % every),
                None => left,
            };
            let window = self.options.batch as usize * self.options.accumulate as usize;
            let first = self.position.step_in_epoch as usize * window;
            let end = (first + count as usize * window).min(order.len());
            let batch = self.position.step_in_epoch * u64::from(self.options.accumulate);
            self.session.set_moment(Moment { seed: self.options.seed, epoch: u64::from(epoch), batch });
            self.steps(epoch, &order[first..end], progress)?;
            if count < left {
                self.checkpoint()?;
            }
        }
        let gradients = self.gradients()?;
        let test = self.evaluate()?;
        let seconds = started.elapsed().as_secs_f64();
        let mut summaries = Vec::new();
        for (i, gradient) in gradients.into_iter().enumerate() {
            let summary = self.summary(i, epoch, gradient, test, seconds);
            self.folder.epoch(&summary)?;
            summaries.push(summary);
        }
        let fresh = |p: &PhasePosition| PhasePosition {
            skipped: p.skipped,
            cycles: p.cycles,
            last: p.score,
            ..PhasePosition::default()
        };
        let phases = self.position.phases.iter().map(fresh).collect();
        self.position = Position { epochs: epoch, step_in_epoch: 0, phases, ..self.position };
        // after the metrics: a resumed run cuts them back to the checkpoint, but could not make up for lost ones
        self.checkpoint()?;
        progress.epoch(&summaries);
        Ok(test)
    }

    /// Loss and accuracy on the test rows. A GAN has none: what it learned is to be seen in `samples.svg`.
    fn evaluate(&mut self) -> Result<Option<Score>> {
        if self.model.gan.is_none() {
            return self.session.evaluate(&self.data.test).map(Some);
        }
        let graph = &self.model.graph;
        let shape = graph.node(graph.output()).shape.clone();
        // no epoch has this number, so no step trains on this noise
        let at = Moment { seed: self.options.seed, epoch: 0, batch: 0 };
        let images = self.session.generate(at, &shape)?;
        self.folder.write(samples::FILE, &samples::grid(&images, &shape))?;
        Ok(None)
    }

    /// The accuracy of a score, where the loss knows classes.
    fn accuracy(&self, of: Option<Score>) -> Option<f64> {
        of.filter(|_| self.model.graph.classes() > 0).map(|s| s.accuracy())
    }

    /// What phase number `i` has come to in the epoch that has just ended.
    fn summary(&self, i: usize, epoch: u32, gradient: Gradient, test: Option<Score>, seconds: f64) -> Epoch {
        let (at, phase) = (&self.position.phases[i], &self.phases[i]);
        let score = Score::from(at.score);
        let cycles = self.position.phases.iter().map(|p| p.epoch_cycles).sum();
        Epoch {
            phase: phase.name,
            epoch,
            steps: self.position.steps,
            skipped: at.skipped,
            train_loss: score.mean_loss(),
            train_accuracy: self.accuracy(test.map(|_| score)),
            test_loss: test.map(|t| t.mean_loss()),
            test_accuracy: self.accuracy(test),
            loss_scale: phase.scale,
            cycles: self.has_cycles.then_some(at.epoch_cycles),
            // multiply-accumulates are known of whole steps
            array_utilization: self.utilization(score.rows as u64, cycles),
            gradient_norm: gradient.norm(),
            gradient: gradient.exponents,
            split: self.has_cycles.then_some(at.split),
            seconds,
        }
    }

    /// Trains on consecutive batches of an epoch.
    fn steps(&mut self, epoch: u32, order: &[usize], progress: &mut dyn Progress) -> Result<()> {
        let (started, simulated_before) = (Instant::now(), self.session.device().link.cycles());
        let hypers: Vec<Hyper> = self.phases.iter().map(|p| p.hyper).collect();
        let options = self.options;
        let (floor, dynamic) = (options.rules.floor, options.loss_scale == LossScale::Dynamic);
        let norm = matches!(options.clip, Clip::Norm(_));
        let schedule = options.schedule(self.data.train.len());
        let steps = self.session.compiled().labels_per_row as f32;
        let Run { session, data, position, folder, logger, phases, has_cycles, .. } = self;
        let (mut forward, mut exhausted) = (None, false);
        let outcome = session.train(&data.train, order, &hypers, |link, rows, replies| {
            logger.drain(link, progress);
            if exhausted {
                // asked for before that was known; the run ends with the step before
                return Ok(());
            }
            position.steps += 1;
            position.step_in_epoch += 1;
            position.rows += rows as u64;
            for ((reply, phase), at) in replies.iter().zip(phases.iter_mut()).zip(&mut position.phases) {
                let lr = schedule.rate(phase.hyper.lr, position.steps - 1 - at.skipped);
                // the model's clock counts nothing that a checkpoint should remember
                let cycles = has_cycles.then_some(u64::from(reply.passed));
                at.cycles += cycles.unwrap_or(0);
                at.epoch_cycles += cycles.unwrap_or(0);
                at.skipped += u64::from(reply.outcome != Outcome::Updated);
                at.split.add(&reply.counters);
                phase.scale = f64::exp2(f64::from(reply.exponent_next));
                phase.scale_used = reply.exponent_used;
                let mut score = Score::from(at.score);
                score.add(rows, reply.loss, reply.correct / steps);
                at.score = score.into();
                let step = Step {
                    phase: phase.name,
                    step: position.steps,
                    epoch,
                    rows,
                    loss: reply.loss,
                    correct: reply.correct as u32,
                    loss_scale: f64::exp2(f64::from(reply.exponent_used)),
                    outcome: outcome_name(reply.outcome),
                    skipped: at.skipped,
                    cycles,
                    lr,
                    grad_norm: (norm && reply.outcome == Outcome::Updated).then_some(reply.grad_norm),
                };
                folder.step(&step)?;
                progress.step(&step);
                if reply.outcome == Outcome::SkippedForward {
                    forward = Some(*reply);
                    return Err(Error::ForwardNotFinite { step: position.steps, place: String::new() });
                }
                let stuck = !dynamic || reply.exponent_used <= floor;
                if reply.skips_in_a_row >= options.max_skips && stuck {
                    let (step, skips) = (position.steps, reply.skips_in_a_row);
                    exhausted = true;
                    return Err(Error::ScaleExhausted { step, skips, scale: phase.scale });
                }
            }
            if progress.interrupted() {
                return Err(Error::Interrupted { kept: String::new() });
            }
            Ok(())
        });
        self.training_time += started.elapsed();
        if let (Some(before), Some(after)) = (simulated_before, self.session.device().link.cycles()) {
            self.simulated += after - before;
        }
        match (outcome, forward) {
            (Err(Error::ForwardNotFinite { step, .. }), Some(reply)) => {
                self.folder.flush()?;
                Err(self.session.forward_error(step, &reply))
            }
            (Err(Error::Interrupted { .. }), _) => {
                if self.position.step_in_epoch == self.steps_per_epoch() {
                    let gradients = self.gradients()?;
                    self.position.phases.iter_mut().zip(gradients).for_each(|(p, g)| p.gradient = Some(g));
                }
                self.checkpoint()?;
                let folder = self.folder.path().display();
                let kept = format!("; the checkpoint after step {} is in {folder}", self.position.steps);
                Err(Error::Interrupted { kept })
            }
            (Err(e), _) => {
                self.folder.flush()?;
                Err(e)
            }
            (Ok(()), _) => Ok(()),
        }
    }

    /// The last step's gradient in each phase, as it lies in the device: nothing may have run since. Where the run was stopped
    /// after the last step of an epoch, the checkpoint has it.
    fn gradients(&mut self) -> Result<Vec<Gradient>> {
        let kept: Option<Vec<Gradient>> = self.position.phases.iter_mut().map(|p| p.gradient.take()).collect();
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let all = self.session.gradients()?;
        let phases = self.session.compiled().phases.iter().zip(&self.phases);
        Ok(phases.map(|(c, run)| Gradient::new(c.parameters.iter().map(|&p| &all[p]), run.scale_used)).collect())
    }

    /// Writes a checkpoint of this moment, in place of the last one. The metrics up to here are on the disk before it.
    fn checkpoint(&mut self) -> Result<()> {
        self.folder.sync()?;
        let weights = self.session.weights()?;
        let scalers = self.session.scalers()?;
        let compiled = self.session.compiled();
        let facts = [
            ("model", self.model.source.clone().unwrap_or_else(|| self.model.name.clone())),
            ("data", self.data.name.clone()),
            ("data_source", facts::data_source(&self.options.data)),
            ("data_sha256", facts::data_sha256(&self.data)),
            ("seed", self.options.seed.to_string()),
            ("config", self.config.to_string()),
            ("program_sha256", facts::program_sha256(compiled)),
        ];
        Checkpoint::new(compiled, &weights, &scalers, &self.position, &facts)
            .save(&self.folder.path().join(checkpoint::FILE))
    }

    fn macs_per_row(&self) -> u64 {
        let compiled = self.session.compiled();
        compiled.macs_per_step / u64::from(compiled.batch)
    }

    fn utilization(&self, rows: u64, cycles: u64) -> Option<f64> {
        let pes = f64::from(self.session.compiled().machine.lanes).powi(2);
        let share = || (rows * self.macs_per_row()) as f64 / (pes * cycles as f64);
        (self.has_cycles && cycles > 0).then(share)
    }

    /// Evaluates, writes `result.json`.
    fn finish(mut self, test: Option<Score>, progress: &mut dyn Progress) -> Result<TrainReport> {
        let (train, test) = match (&self.model.gan, test) {
            (Some(_), _) => (None, None),
            (None, Some(test)) => (Some(self.session.evaluate(&self.data.train)?), Some(test)),
            (None, None) => (Some(self.session.evaluate(&self.data.train)?), self.evaluate()?),
        };
        let weights = self.session.weights()?;
        self.logger.drain(&mut self.session.device().link, progress);
        self.folder.flush()?;
        progress.finish();
        let at = &self.position;
        let adversarial = self.model.gan.is_some();
        let final_loss = |p: &PhasePosition| Some(Score::from(p.last).mean_loss()).filter(|l| l.is_finite());
        let named = self.phases.iter().zip(&at.phases).filter_map(|(run, p)| {
            let (skipped, loss_scale) = (p.skipped, run.scale);
            run.name.map(|name| PhaseReport { name, skipped, final_loss: final_loss(p), loss_scale })
        });
        let khz = self.simulated as f64 / self.training_time.as_secs_f64() / 1000.0;
        let report = TrainReport {
            device: self.device_name.clone(),
            model: self.model.name.clone(),
            seed: self.options.seed,
            epochs: self.options.epochs,
            steps: at.steps,
            skipped: at.skipped(),
            final_loss: final_loss(&at.phases[0]).filter(|_| !adversarial),
            train_accuracy: self.accuracy(train),
            test_accuracy: self.accuracy(test),
            loss_scale: (!adversarial).then_some(self.phases[0].scale),
            phases: named.collect(),
            weights_sha256: weights.sha256(),
            cycles: self.has_cycles.then_some(at.cycles()),
            macs: at.rows * self.macs_per_row(),
            array_utilization: self.utilization(at.rows, at.cycles()),
            sim_khz: (self.kind == DeviceKind::Rtl && self.simulated > 0).then_some(khz),
            run_dir: self.folder.path().display().to_string(),
        };
        self.folder.write_json("result.json", &report)?;
        if let Err(e) = crate::report::write(self.folder.path()) {
            // the run is safe without its pictures
            progress.line(&format!("no report: {e}; `systole report` tries again"));
        }
        Ok(report)
    }
}

fn outcome_name(o: Outcome) -> &'static str {
    match o {
        Outcome::Updated => "updated",
        Outcome::SkippedGradient => "skipped_gradient",
        Outcome::SkippedForward => "skipped_forward",
        Outcome::Accumulated => "accumulated",
    }
}

fn log_decoder(options: &TrainOptions, device: &Device, progress: &mut dyn Progress) -> Result<Option<LogDecoder>> {
    if !options.log {
        return Ok(None);
    }
    match options.firmware_elf.as_ref().or(device.firmware_elf.as_ref()) {
        Some(path) => LogDecoder::open(path).map(Some),
        None if device.kind == DeviceKind::Model => {
            progress.line("--log: the model runs the firmware natively, without its log");
            Ok(None)
        }
        None => Err(Error::value(
            "--log",
            "true",
            "the strings of the log are in the firmware's ELF file: add --firmware-elf FILE",
        )),
    }
}
