//! A cell: one run of one variant of a network, and what it leaves in the tables.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sha2::{Digest, Sha256};
use systole_isa::machine::Machine;

use super::experiment::{Measure, Network, Variant};
use super::table::{Bin, FINISHED, Image, Point, Row};
use super::{detection, gan};
use crate::compile::{self, Compiled, Recipe};
use crate::data::Dataset;
use crate::driver::device::DeviceOptions;
use crate::error::{Error, Result};
use crate::exponents::Exponents;
use crate::graph::Model;
use crate::reference::train as baseline;
use crate::run::checkpoint::{self, Checkpoint};
use crate::run::{Epoch, Progress, Step, TrainOptions, facts, prepare, train};

/// Changes with what a cell's result means, so that older ones are run again.
const FORMAT: &str = "1";
/// Steps of an FP32 run in which exponents are counted.
const WATCHED: u64 = 64;
/// Multiply-accumulates a second, and seconds a step besides them, of the model and of the FP32 baseline: for estimates alone,
/// where no cell of the kind has been timed yet.
const MODEL_SPEED: (f64, f64) = (0.8e9, 2e-4);
const FP32_SPEED: (f64, f64) = (1.2e9, 1e-4);

/// One run.
pub(super) struct Cell {
    pub(super) variant: Variant,
    pub(super) seed: u64,
    pub(super) options: TrainOptions,
    pub(super) key: String,
    pub(super) command: String,
    /// Steps of the run.
    pub(super) steps: u64,
    /// Expected seconds.
    pub(super) seconds: f64,
}

/// A network with what its cells share.
pub(super) struct Prepared {
    pub(super) network: Network,
    pub(super) model: Model,
    pub(super) data: Dataset,
    pub(super) data_sha256: String,
    /// For the machine that is built by default.
    pub(super) compiled: Compiled,
}

impl Prepared {
    /// Reads model and data, and compiles once: the size of a step is what estimates are made of.
    pub(super) fn new(network: Network) -> Result<Prepared> {
        let options = network.options("", 0)?;
        let (model, data) = prepare(&options)?;
        let compiled = compiled(&model, &options, Machine::DEFAULT)?;
        let data_sha256 = facts::data_sha256(&data);
        Ok(Prepared { network, model, data, data_sha256, compiled })
    }

    /// Whether its runs end with a score.
    fn scores(&self) -> bool {
        matches!(self.network.measure, Measure::Score | Measure::Found)
    }

    /// Digest of `parts`, the model and the data.
    pub(super) fn key(&self, parts: &[&str]) -> String {
        let mut hash = Sha256::new();
        for part in [FORMAT, self.network.model(), &self.data_sha256].iter().chain(parts) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        systole_verilator::hex(&hash.finalize())[..16].into()
    }

    /// All runs of the plan, in its order.
    pub(super) fn cells(&self, quick: bool) -> Result<Vec<Cell>> {
        self.network.cells().into_iter().map(|(variant, seed)| self.cell(variant, seed, quick)).collect()
    }

    fn cell(&self, variant: Variant, seed: u64, quick: bool) -> Result<Cell> {
        let n = &self.network;
        let flags = [n.flags.as_str(), &variant.flags()].join(" ").trim().to_string();
        let options = n.options(&variant.flags(), seed)?;
        let label = label(&variant, seed);
        let command = match variant.device() {
            Some(device) => format!("systole train models/{}.toml {flags} --seed {seed} --device {device}", n.name),
            None => {
                let quick = if quick { " --quick" } else { "" };
                format!("systole reproduce {}{quick} --cells '{label}' --out DIR", n.name)
            }
        };
        let steps = u64::from(options.epochs) * options.steps_per_epoch(self.data.train.len());
        let (speed, overhead) = if variant.device().is_some() { MODEL_SPEED } else { FP32_SPEED };
        let seconds = steps as f64 * (self.compiled.macs_per_step as f64 / speed + overhead);
        let device = variant.device().unwrap_or("fp32");
        let key = self.key(&[&flags, device, &seed.to_string()]);
        Ok(Cell { variant, seed, options, key, command, steps, seconds })
    }
}

/// A network's programs on a machine.
pub(super) fn compiled(model: &Model, options: &TrainOptions, machine: Machine) -> Result<Compiled> {
    let recipes: Vec<Recipe> = options.of_phases(model).iter().map(TrainOptions::recipe).collect();
    compile::model(model, options.batch, &recipes, machine).map_err(|e| Error::from_compiler(&model.name, e))
}

/// What `--cells` selects by.
pub(super) fn label(variant: &Variant, seed: u64) -> String {
    format!("{}/s{seed}", variant.name())
}

/// What a cell leaves.
pub(super) struct Done {
    pub(super) row: Row,
    pub(super) points: Vec<Point>,
    pub(super) bins: Vec<Bin>,
    pub(super) images: Vec<Image>,
}

impl Cell {
    /// Runs it. `advance` is told of every step. A run that training itself stops (overflows without end) is a result, too.
    ///
    /// # Errors
    /// What is no result: files, interruption.
    pub(super) fn run(&self, of: &Prepared, stop: &AtomicBool, advance: &(dyn Fn(u64) + Sync)) -> Result<Done> {
        let begun = Instant::now();
        let row = Row {
            network: of.network.name.clone(),
            variant: self.variant.name(),
            seed: self.seed,
            outcome: FINISHED.into(),
            key: self.key.clone(),
            command: self.command.clone(),
            ..Row::default()
        };
        let mut done = Done { row, points: Vec::new(), bins: Vec::new(), images: Vec::new() };
        match self.variant.device() {
            Some(device) => self.on_device(device, of, &mut done, stop, advance)?,
            None => self.in_fp32(of, &mut done, stop, advance)?,
        }
        if let Some(last) = done.points.last() {
            let finite = |v: f64| Some(v).filter(|v| v.is_finite());
            let row = &mut done.row;
            row.train_loss = finite(last.train_loss);
            row.test_loss = last.test_loss.and_then(finite);
            row.test_accuracy = last.test_accuracy.filter(|_| row.test_loss.is_some());
        }
        done.row.seconds = (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        Ok(done)
    }

    /// What final master weights are worth where a network is not judged by its loss alone, and of the first seed's runs that are
    /// compared some of the images that are judged.
    fn judge(&self, of: &Prepared, weights: &[Vec<f32>], done: &mut Done) -> Result<()> {
        match of.network.measure {
            Measure::Accuracy | Measure::Loss => {}
            Measure::Found => done.row.score = Some(detection::score(&of.model, &of.data, weights)),
            Measure::Score => {
                let images = gan::generated(&of.model, weights);
                done.row.score = Some(gan::score(&images)?);
                if self.seed == 0 && of.network.compared().contains(&self.variant) {
                    let width = of.model.graph.node(of.model.graph.output()).shape.last().copied().unwrap_or(1);
                    let (key, variant) = (&self.key, self.variant.name());
                    let image =
                        |(number, pixels)| Image { key: key.clone(), variant: variant.clone(), number, width, pixels };
                    done.images = gan::shown(&images).into_iter().enumerate().map(image).collect();
                }
            }
        }
        Ok(())
    }

    fn point(&self, epoch: u32) -> Point {
        Point { key: self.key.clone(), variant: self.variant.name(), seed: self.seed, epoch, ..Point::default() }
    }

    fn on_device(
        &self,
        device: &str,
        of: &Prepared,
        done: &mut Done,
        stop: &AtomicBool,
        advance: &(dyn Fn(u64) + Sync),
    ) -> Result<()> {
        let scratch = tempfile::tempdir().map_err(Error::io("create", std::env::temp_dir()))?;
        let options = TrainOptions {
            device: DeviceOptions { name: device.into(), ..DeviceOptions::default() },
            runs: scratch.path().into(),
            name: Some("cell".into()),
            ..self.options.clone()
        };
        let mut recorder = Recorder { cell: self, points: Vec::new(), last: None, stop, advance };
        let outcome = train(&options, &mut recorder);
        let Recorder { points, last, .. } = recorder;
        done.points = points;
        let row = &mut done.row;
        if let Some(step) = last {
            (row.steps, row.skipped, row.scale) = (step.step, step.skipped, Some(step.loss_scale));
        }
        match outcome {
            Ok(report) => {
                row.scale = report.loss_scale.or(row.scale);
                row.skipped = report.skipped;
                row.weights_sha256 = report.weights_sha256;
                if of.scores() {
                    let kept = Checkpoint::load(&scratch.path().join("cell").join(checkpoint::FILE))?;
                    let named: HashMap<&str, Vec<f32>> = kept.masters().map(|(name, _, v)| (name, v)).collect();
                    let weights: Vec<Vec<f32>> =
                        of.model.graph.parameters.iter().map(|p| named[p.name.as_str()].clone()).collect();
                    self.judge(of, &weights, done)?;
                }
            }
            Err(e @ (Error::ForwardNotFinite { .. } | Error::ScaleExhausted { .. })) => {
                row.outcome = e.to_string();
                // what was reached before says nothing about a run that does not end
                done.points.clear();
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    fn in_fp32(&self, of: &Prepared, done: &mut Done, stop: &AtomicBool, advance: &(dyn Fn(u64) + Sync)) -> Result<()> {
        let mut go_on = |step| {
            advance(step);
            !stop.load(Ordering::SeqCst)
        };
        let watched = self.variant == Variant::Fp32 && self.seed == 0;
        let watch = baseline::Watch { steps: if watched { WATCHED } else { 0 }, go_on: &mut go_on };
        let run = baseline::train(&self.options, &of.model, &of.data, watch)?;
        done.points = run
            .epochs
            .iter()
            .zip(1..)
            .map(|(e, epoch)| Point {
                train_loss: e.train[0].mean_loss(),
                test_loss: e.test.map(|t| t.mean_loss()),
                test_accuracy: e.test.filter(|_| of.model.graph.classes() > 0).map(|t| t.accuracy()),
                ..self.point(epoch)
            })
            .collect();
        self.judge(of, &run.weights.masters, done)?;
        let row = &mut done.row;
        (row.steps, row.weights_sha256) = (run.steps, run.weights.sha256());
        let updates = &run.watched.updates;
        let share = |of: &[(u64, u64)]| {
            let (all, lost) = of.iter().fold((0, 0), |a, u| (a.0 + u.0, a.1 + u.1));
            (all > 0).then(|| lost as f64 / all as f64)
        };
        row.lost_updates = share(updates);
        row.lost_updates_late = share(&updates[updates.len() - updates.len() / 8..]);
        for (kind, exponents) in [
            ("weights", &run.watched.weights),
            ("weight-gradients", &run.watched.weight_gradients),
            ("activation-gradients", &run.watched.activation_gradients),
        ] {
            done.bins.extend(bins(&self.key, kind, exponents));
        }
        Ok(())
    }
}

fn bins(key: &str, kind: &str, e: &Exponents) -> Vec<Bin> {
    let bin = |exponent, count| Bin { key: key.into(), kind: kind.into(), exponent, count };
    let zeros = (e.zeros > 0).then(|| bin(None, e.zeros));
    zeros.into_iter().chain(e.bins.iter().map(|(&x, &n)| bin(Some(x), n))).collect()
}

/// Keeps a run's epochs.
struct Recorder<'a> {
    cell: &'a Cell,
    points: Vec<Point>,
    last: Option<Step>,
    stop: &'a AtomicBool,
    advance: &'a (dyn Fn(u64) + Sync),
}

impl Progress for Recorder<'_> {
    fn step(&mut self, step: &Step) {
        (self.advance)(step.step);
        self.last = Some(step.clone());
    }

    fn epoch(&mut self, phases: &[Epoch]) {
        let e = &phases[0];
        self.points.push(Point {
            train_loss: e.train_loss,
            test_loss: e.test_loss,
            test_accuracy: e.test_accuracy,
            skipped: e.skipped,
            scale: Some(e.loss_scale),
            ..self.cell.point(e.epoch)
        });
    }

    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}
