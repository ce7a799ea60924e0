//! The run itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use systole_isa::frame::scaler;
use systole_isa::frame::step::Outcome;

use super::checkpoint;
use super::folder::Folder;
use super::options::TrainOptions;
use super::report::{Epoch, Progress, Step, TrainReport};
use crate::compile::{self, Optimizer};
use crate::data::{Dataset, permutation};
use crate::driver::device::DeviceKind;
use crate::driver::log::LogDecoder;
use crate::driver::session::{Hyper, Score, Session, Weights};
use crate::driver::{Device, Link};
use crate::error::{Error, Result};
use crate::graph::{Model, initialize};

/// Skips in a row, at a scale that does not fall any more, after which a run stops.
const MOST_SKIPS: u32 = 50;

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

fn prepare(options: &TrainOptions) -> Result<(Model, Dataset)> {
    options.check()?;
    let model = parse_model(&options.model)?;
    let data = Dataset::open(&options.data)?;
    let wrong = |reason: String| Err(Error::InvalidModel { spec: options.model.clone(), reason });
    let (inputs, classes) = (model.sizes[0], model.graph.classes());
    if inputs != data.width {
        return wrong(format!("it takes {inputs} inputs, the rows of {} have {}", data.name, data.width));
    }
    if classes < data.classes {
        return wrong(format!("it tells {classes} classes apart, {} has {}", data.name, data.classes));
    }
    Ok((model, data))
}

/// A model from its notation, or from a file that holds it.
fn parse_model(spec: &str) -> Result<Model> {
    let path = std::path::Path::new(spec);
    let text =
        if path.is_file() { std::fs::read_to_string(path).map_err(Error::io("read", path))? } else { spec.into() };
    Model::mlp(text.trim()).map_err(|e| Error::InvalidModel { spec: spec.into(), reason: e.to_string() })
}

/// What a run sums up.
#[derive(Default)]
struct Totals {
    steps: u64,
    skipped: u64,
    cycles: u64,
    rows: u64,
    simulated: u64,
    training_time: Duration,
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

fn run(
    options: &TrainOptions,
    device: Device,
    model: Model,
    data: Dataset,
    progress: &mut dyn Progress,
) -> Result<TrainReport> {
    let machine = device.info.machine;
    let has_cycles = device.has_cycles();
    let simulated = device.kind == DeviceKind::Rtl;
    let mut logger = Logger { decoder: log_decoder(options, &device, progress)? };
    let optimizer = Optimizer::Sgd { momentum: options.momentum != 0.0 };
    let compiled = compile::network(&model.graph, options.batch, optimizer, machine)
        .map_err(|e| Error::from_compiler(&model.name, e))?;
    let macs_per_row = compiled.macs_per_step / u64::from(compiled.batch);
    let pes = f64::from(machine.lanes).powi(2);
    let utilization = |rows: u64, cycles: u64| {
        (has_cycles && cycles > 0).then(|| (rows * macs_per_row) as f64 / (pes * cycles as f64))
    };

    let name = options.name.clone().unwrap_or_else(|| default_name(&data, &model, options.seed));
    let mut folder = Folder::create(&options.runs, &name)?;
    let config = config(options, &model, &data, &device);
    folder.write_json("config.json", &config)?;
    let device_name = if device.kind == DeviceKind::Serial { device.link.name() } else { options.device.name.clone() };

    progress.phase("uploading program and parameters");
    let weights = Weights { masters: initialize(&model.graph, options.seed), state: Vec::new() };
    let mut session = Session::start(device, compiled, &weights, &options.scaler(), data.scale)?;

    let hyper = Hyper { lr: options.lr, momentum: options.momentum };
    let steps_per_epoch = data.train.len().div_ceil(options.batch as usize) as u64;
    progress.start(steps_per_epoch, options.epochs);
    let mut totals = Totals::default();
    let mut scale = f64::exp2(f64::from(options.scaler()[scaler::EXPONENT] as i32));
    let mut last = Score::default();
    let (mut trained, mut tested) = (Weights::default(), Score::default());
    for epoch in 1..=options.epochs {
        let order = permutation(options.seed, u64::from(epoch), data.train.len());
        let mut score = Score::default();
        let (started, cycles_before, rows_before) = (Instant::now(), totals.cycles, totals.rows);
        let simulated_before = session.device().link.cycles();
        let mut forward = None;
        let outcome = session.train(&data.train, &order, hyper, |link, rows, reply| {
            logger.drain(link, progress);
            totals.steps += 1;
            totals.cycles += u64::from(reply.cycles);
            totals.rows += rows as u64;
            totals.skipped += u64::from(reply.outcome != Outcome::Updated);
            scale = f64::exp2(f64::from(reply.exponent_next));
            score.add(rows, reply.loss, reply.correct);
            let step = Step {
                step: totals.steps,
                epoch,
                rows,
                loss: reply.loss,
                correct: reply.correct as u32,
                loss_scale: f64::exp2(f64::from(reply.exponent_used)),
                outcome: outcome_name(reply.outcome),
                skipped: totals.skipped,
                cycles: has_cycles.then_some(u64::from(reply.cycles)),
            };
            folder.step(&step)?;
            progress.step(&step);
            if reply.outcome == Outcome::SkippedForward {
                forward = Some(*reply);
                return Err(Error::ForwardNotFinite { step: totals.steps, place: String::new() });
            }
            if reply.skips_in_a_row >= MOST_SKIPS && reply.exponent_next == reply.exponent_used {
                return Err(Error::ScaleExhausted { step: totals.steps, skips: reply.skips_in_a_row, scale });
            }
            if progress.interrupted() {
                return Err(Error::Interrupted { kept: String::new() });
            }
            Ok(())
        });
        totals.training_time += started.elapsed();
        if let (Some(before), Some(after)) = (simulated_before, session.device().link.cycles()) {
            totals.simulated += after - before;
        }
        if let Err(e) = outcome {
            folder.flush()?;
            return Err(match (e, forward) {
                (Error::ForwardNotFinite { step, .. }, Some(reply)) => session.forward_error(step, &reply),
                (Error::Interrupted { .. }, _) => Error::Interrupted { kept: kept(&folder, epoch - 1) },
                (e, _) => e,
            });
        }
        let test = session.evaluate(&data.test)?;
        trained = session.weights()?;
        let words = session.scaler()?;
        let file = folder.path().join("checkpoint.safetensors");
        let metadata = metadata(&config, &model, &data, options, epoch, totals.steps, &words);
        checkpoint::save(&file, &session.compiled().parameters, &trained, metadata)?;
        let cycles = totals.cycles - cycles_before;
        let summary = Epoch {
            epoch,
            steps: totals.steps,
            skipped: totals.skipped,
            train_loss: score.mean_loss(),
            train_accuracy: score.accuracy(),
            test_loss: test.mean_loss(),
            test_accuracy: test.accuracy(),
            loss_scale: scale,
            cycles: has_cycles.then_some(cycles),
            array_utilization: utilization(totals.rows - rows_before, cycles),
            seconds: started.elapsed().as_secs_f64(),
        };
        folder.epoch(&summary)?;
        progress.epoch(&summary);
        (last, tested) = (score, test);
    }
    let train = session.evaluate(&data.train)?;
    logger.drain(&mut session.device().link, progress);
    progress.finish();
    let khz = totals.simulated as f64 / totals.training_time.as_secs_f64() / 1000.0;
    let report = TrainReport {
        device: device_name.clone(),
        model: model.name.clone(),
        seed: options.seed,
        epochs: options.epochs,
        steps: totals.steps,
        skipped: totals.skipped,
        final_loss: Some(last.mean_loss()).filter(|l| l.is_finite()),
        train_accuracy: train.accuracy(),
        test_accuracy: tested.accuracy(),
        loss_scale: scale,
        weights_sha256: trained.sha256(),
        cycles: has_cycles.then_some(totals.cycles),
        macs: totals.rows * macs_per_row,
        array_utilization: utilization(totals.rows, totals.cycles),
        sim_khz: simulated.then_some(khz),
        run_dir: folder.path().display().to_string(),
    };
    folder.write_json("result.json", &report)?;
    Ok(report)
}

fn outcome_name(o: Outcome) -> &'static str {
    match o {
        Outcome::Updated => "updated",
        Outcome::SkippedGradient => "skipped_gradient",
        Outcome::SkippedForward => "skipped_forward",
    }
}

fn kept(folder: &Folder, epochs: u32) -> String {
    match epochs {
        0 => format!("; no epoch was complete yet, so {} holds no checkpoint", folder.path().display()),
        n => format!("; the checkpoint after epoch {n} is in {}", folder.path().display()),
    }
}

fn default_name(data: &Dataset, model: &Model, seed: u64) -> String {
    let text = format!("{}-{}-s{seed}", data.name, model.name);
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
        .collect::<String>()
        .trim_matches('-')
        .into()
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

fn config(options: &TrainOptions, model: &Model, data: &Dataset, device: &Device) -> serde_json::Value {
    let m = device.info.machine;
    serde_json::json!({
        "device": options.device.name,
        "data": data.name,
        "model": model.name,
        "epochs": options.epochs,
        "batch": options.batch,
        "lr": options.lr,
        "momentum": options.momentum,
        "loss_scale": options.loss_scale,
        "loss_scale_init": f64::exp2(f64::from(options.loss_scale_init)),
        "growth_interval": options.growth_interval,
        "seed": options.seed,
        "feature_scale": f64::exp2(f64::from(data.scale)),
        "lanes": m.lanes,
        "vector_lanes": m.vector_lanes,
        "design_hash": format!("{:08x}", device.info.design_hash),
        "firmware_hash": format!("{:08x}", device.info.firmware_hash),
        "isa_version": systole_isa::ISA_VERSION,
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn metadata(
    config: &serde_json::Value,
    model: &Model,
    data: &Dataset,
    options: &TrainOptions,
    epoch: u32,
    step: u64,
    words: &[u32; scaler::WORDS],
) -> HashMap<String, String> {
    let entries = [
        ("format", "systole-checkpoint-1".to_string()),
        ("model", model.name.clone()),
        ("data", data.name.clone()),
        ("seed", options.seed.to_string()),
        ("epoch", epoch.to_string()),
        ("step", step.to_string()),
        ("scaler", serde_json::to_string(words).expect("numbers")),
        ("config", config.to_string()),
    ];
    entries.into_iter().map(|(k, v)| (k.to_string(), v)).collect()
}
