//! What a run's folder says of the run. Fields that a run lacks (an older one, one that died early) are left out of the report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::exponents::Exponents;
use crate::run::checkpoint::{self, Checkpoint};
use crate::run::report::CycleSplit;
use crate::run::samples;

/// One training step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepLine {
    /// Counted from 1.
    pub step: u64,
    /// The phase of a GAN.
    pub phase: Option<String>,
    /// Epoch.
    pub epoch: u64,
    /// Mean loss.
    pub loss: Option<f64>,
    /// Loss scale that it used.
    pub loss_scale: f64,
    /// `updated`, or why not.
    pub outcome: String,
    /// Gradient norm, where steps record it.
    pub gradient_norm: Option<f64>,
    /// Clock cycles.
    pub cycles: Option<f64>,
}

/// One epoch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EpochLine {
    /// Counted from 1.
    pub epoch: u64,
    /// The phase of a GAN.
    pub phase: Option<String>,
    /// Steps so far.
    pub steps: u64,
    /// Mean loss and share of right predictions, on the rows as they were trained on.
    pub train: (Option<f64>, Option<f64>),
    /// The same on the test rows.
    pub test: (Option<f64>, Option<f64>),
    /// Norm of the last step's gradient.
    pub gradient_norm: Option<f64>,
    /// Its exponents.
    pub gradient: Option<Exponents>,
    /// What the engines did.
    pub split: Option<CycleSplit>,
    /// Clock cycles.
    pub cycles: Option<u64>,
}

/// A run, read back.
#[derive(Clone, Debug, Default)]
pub struct RunData {
    /// The folder.
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// `config.json`.
    pub config: Map<String, Value>,
    /// `result.json`; empty for a run that is not over.
    pub result: Map<String, Value>,
    /// Steps.
    pub steps: Vec<StepLine>,
    /// Epochs.
    pub epochs: Vec<EpochLine>,
    /// Exponents of the master weights in the checkpoint, by tensor.
    pub weights: BTreeMap<String, Exponents>,
    /// What a GAN's generator makes, as SVG.
    pub samples: Option<String>,
}

/// The steps and epochs of a phase.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseLines<'a> {
    /// Its name, where there are several.
    pub name: Option<&'a str>,
    /// Steps.
    pub steps: Vec<StepLine>,
    /// Epochs.
    pub epochs: Vec<EpochLine>,
}

impl RunData {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// It is no folder of a run, or a file in it is damaged.
    pub fn load(path: &Path) -> Result<RunData> {
        let metrics = path.join("metrics.jsonl");
        let text = std::fs::read_to_string(&metrics).map_err(Error::io("read", &metrics))?;
        let mut run = RunData {
            path: path.into(),
            name: path
                .canonicalize()
                .unwrap_or(path.into())
                .file_name()
                .map_or("run".into(), |n| n.to_string_lossy().into()),
            config: object(&path.join("config.json"))?,
            result: object(&path.join("result.json"))?,
            ..RunData::default()
        };
        let lines = text.split_inclusive('\n').enumerate();
        // a last line without an end is still being written
        for (i, line) in lines.filter(|(_, l)| l.ends_with('\n')) {
            let wrong = |reason| Error::Malformed { path: metrics.clone(), format: "metrics", reason };
            let value: Value = serde_json::from_str(line).map_err(|e| wrong(format!("line {}: {e}", i + 1)))?;
            match value["event"].as_str() {
                Some("step") => run.steps.push(step(&value)),
                Some("epoch") => run.epochs.push(epoch(&value)),
                _ => {}
            }
        }
        run.samples = std::fs::read_to_string(path.join(samples::FILE)).ok();
        let file = path.join(checkpoint::FILE);
        if file.is_file() {
            for (name, _, values) in Checkpoint::load(&file)?.masters() {
                run.weights.insert(name.to_string(), Exponents::of_f32(values));
            }
        }
        Ok(run)
    }

    /// The phases of a GAN, one by one; all steps of another network are one phase without a name.
    pub fn phases(&self) -> Vec<PhaseLines<'_>> {
        let mut names: Vec<Option<&str>> = Vec::new();
        for s in &self.steps {
            if !names.contains(&s.phase.as_deref()) {
                names.push(s.phase.as_deref());
            }
        }
        let of = |name| PhaseLines {
            name,
            steps: self.steps.iter().filter(|s| s.phase.as_deref() == name).cloned().collect(),
            epochs: self.epochs.iter().filter(|e| e.phase.as_deref() == name).cloned().collect(),
        };
        names.into_iter().map(of).collect()
    }

    /// Steps that updated nothing.
    pub fn skips(&self) -> impl Iterator<Item = &StepLine> {
        self.steps.iter().filter(|s| s.outcome != "updated")
    }

    /// Exponents of all weights together.
    pub fn all_weights(&self) -> Exponents {
        let mut all = Exponents::default();
        self.weights.values().for_each(|e| all.merge(e));
        all
    }

    /// Exponents of the newest gradient, of a GAN the generator's, and the exponent of the loss scale that it was made with.
    pub fn last_gradient(&self) -> Option<(&Exponents, i32)> {
        let epoch = self.epochs.iter().rev().find(|e| e.gradient.as_ref().is_some_and(|g| g.total() > 0))?;
        let step = self.steps.iter().rev().find(|s| s.step == epoch.steps && s.phase == epoch.phase)?;
        Some((epoch.gradient.as_ref()?, step.loss_scale.log2().round() as i32))
    }

    /// Engines' cycles over all epochs, and the cycles themselves.
    pub fn cycle_split(&self) -> Option<(CycleSplit, u64)> {
        let mut total = (CycleSplit::default(), 0);
        for e in &self.epochs {
            let (Some(s), Some(cycles)) = (e.split, e.cycles) else { continue };
            total.0.merge(&s);
            total.1 += cycles;
        }
        (total.1 > 0).then_some(total)
    }
}

fn object(path: &Path) -> Result<Map<String, Value>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(e) => return Err(Error::io("read", path)(e)),
    };
    serde_json::from_str(&text).map_err(|e| Error::Malformed {
        path: path.into(),
        format: "JSON",
        reason: e.to_string(),
    })
}

fn step(v: &Value) -> StepLine {
    StepLine {
        step: v["step"].as_u64().unwrap_or(0),
        phase: v["phase"].as_str().map(String::from),
        epoch: v["epoch"].as_u64().unwrap_or(0),
        loss: v["loss"].as_f64(),
        loss_scale: v["loss_scale"].as_f64().unwrap_or(f64::NAN),
        outcome: v["outcome"].as_str().unwrap_or("updated").into(),
        gradient_norm: v["grad_norm"].as_f64(),
        cycles: v["cycles"].as_f64(),
    }
}

fn epoch(v: &Value) -> EpochLine {
    EpochLine {
        epoch: v["epoch"].as_u64().unwrap_or(0),
        phase: v["phase"].as_str().map(String::from),
        steps: v["steps"].as_u64().unwrap_or(0),
        train: (v["train_loss"].as_f64(), v["train_accuracy"].as_f64()),
        test: (v["test_loss"].as_f64(), v["test_accuracy"].as_f64()),
        gradient_norm: v["gradient_norm"].as_f64(),
        gradient: serde_json::from_value(v["gradient"].clone()).ok(),
        split: serde_json::from_value(v["split"].clone()).ok(),
        cycles: v["cycles"].as_u64(),
    }
}
