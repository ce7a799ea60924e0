//! `runs/<name>/`: `config.json`, `metrics.csv` (a line per step), `metrics.jsonl` (an object per step and per epoch),
//! `events.out.tfevents.…` (the same for TensorBoard), `checkpoint.safetensors`, and at the end `result.json`.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::checkpoint::Position;
use super::events::{EPOCH, Events};
use super::report::{Epoch, Step};
use crate::error::{Error, Result};
use crate::npy::write_atomically;

/// Most runs of one name.
const MOST: u32 = 10_000;

/// An open run folder.
pub struct Folder {
    path: PathBuf,
    csv: csv::Writer<File>,
    jsonl: BufWriter<File>,
    events: Events,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Line<'a> {
    Step(&'a Step),
    Epoch(&'a Epoch),
}

impl Folder {
    /// Makes a new folder in `runs`: `name`, or where that is taken `name-2`, `name-3`, ….
    pub fn create(runs: &Path, name: &str) -> Result<Folder> {
        std::fs::create_dir_all(runs).map_err(Error::io("create", runs))?;
        for i in 1..=MOST {
            let path = runs.join(if i == 1 { name.to_string() } else { format!("{name}-{i}") });
            match std::fs::create_dir(&path) {
                Ok(()) => {
                    let create = |file: &str| {
                        let file = path.join(file);
                        File::create(&file).map_err(Error::io("create", &file))
                    };
                    let csv = csv::Writer::from_writer(create("metrics.csv")?);
                    let jsonl = BufWriter::new(create("metrics.jsonl")?);
                    let events = Events::create(&path)?;
                    return Ok(Folder { path, csv, jsonl, events });
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("create", path)(e)),
            }
        }
        Err(Error::value("--name", name, format!("there are {MOST} runs of that name in {}", runs.display())))
    }

    /// Opens the folder of a run that is to go on: its metrics are cut back to where the checkpoint is. A folder without
    /// metrics gets new ones.
    pub fn reopen(path: &Path, at: &Position) -> Result<Folder> {
        cut(&path.join("metrics.csv"), |i, line| {
            // the header, then a line per step
            i == 0 || line.split(',').next().and_then(|s| s.parse().ok()).is_some_and(|step: u64| step <= at.steps)
        })?;
        cut(&path.join("metrics.jsonl"), |_, line| {
            let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else { return false };
            match value["event"].as_str() {
                Some("step") => value["step"].as_u64().is_some_and(|step| step <= at.steps),
                Some("epoch") => value["epoch"].as_u64().is_some_and(|epoch| epoch <= u64::from(at.epochs)),
                _ => true,
            }
        })?;
        // the result of a run that is not over
        let _ = std::fs::remove_file(path.join("result.json"));
        let append = |file: &str| {
            let file = path.join(file);
            File::options().create(true).append(true).open(&file).map_err(Error::io("write", &file))
        };
        let file = append("metrics.csv")?;
        let empty = file.metadata().map_err(Error::io("read", path))?.len() == 0;
        let csv = csv::WriterBuilder::new().has_headers(empty).from_writer(file);
        let jsonl = BufWriter::new(append("metrics.jsonl")?);
        Ok(Folder { path: path.into(), csv, jsonl, events: Events::reopen(path, at)? })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of its own.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        write_atomically(&self.path.join(file), text.as_bytes())
    }

    /// Writes an object as a file of its own.
    pub fn write_json(&self, file: &str, value: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(value).expect("plain data");
        text.push(b'\n');
        write_atomically(&self.path.join(file), &text)
    }

    /// Records a step.
    pub fn step(&mut self, step: &Step) -> Result<()> {
        self.csv.serialize(step).map_err(|e| Error::io("write", self.path.join("metrics.csv"))(e.into()))?;
        let values = [
            ("loss", Some(f64::from(step.loss))),
            ("accuracy", Some(f64::from(step.correct) / step.rows as f64)),
            ("loss_scale", Some(step.loss_scale)),
            ("gradient_norm", step.grad_norm.map(f64::from)),
            ("skipped", Some(step.skipped as f64)),
            ("cycles", step.cycles.map(|c| c as f64)),
        ];
        self.events.scalars(step.step, &tagged("", step.phase, &values))?;
        self.line(&Line::Step(step))
    }

    /// Records an epoch and makes sure that everything so far is in the files.
    pub fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        let values = [
            ("train_loss", Some(epoch.train_loss)),
            ("train_accuracy", epoch.train_accuracy),
            ("test_loss", epoch.test_loss),
            ("test_accuracy", epoch.test_accuracy),
            ("gradient_norm", epoch.gradient_norm),
            ("array_utilization", epoch.array_utilization),
        ];
        self.events.scalars(epoch.steps, &tagged(EPOCH, epoch.phase, &values))?;
        self.line(&Line::Epoch(epoch))?;
        self.flush()
    }

    /// Makes sure that everything so far is in the files.
    pub fn flush(&mut self) -> Result<()> {
        self.csv.flush().map_err(Error::io("write", self.path.join("metrics.csv")))?;
        self.events.flush()?;
        self.jsonl.flush().map_err(Error::io("write", self.path.join("metrics.jsonl")))
    }

    /// As [`flush`](Folder::flush), down to the disk.
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.csv.get_ref().sync_data().map_err(Error::io("write", self.path.join("metrics.csv")))?;
        self.jsonl.get_ref().sync_data().map_err(Error::io("write", self.path.join("metrics.jsonl")))
    }

    fn line(&mut self, line: &Line<'_>) -> Result<()> {
        let mut text = serde_json::to_vec(line).expect("plain data");
        text.push(b'\n');
        self.jsonl.write_all(&text).map_err(Error::io("write", self.path.join("metrics.jsonl")))
    }
}

/// Scalars with TensorBoard's tags: `loss`, `epoch/train_loss`, in a GAN with the phase before the name.
fn tagged(group: &str, phase: Option<&str>, values: &[(&str, Option<f64>)]) -> Vec<(String, Option<f64>)> {
    let phase = phase.map_or(String::new(), |p| format!("{p}/"));
    values.iter().map(|(name, v)| (format!("{group}{phase}{name}"), *v)).collect()
}

/// Keeps the lines for which `keep` holds. A last line without an end was being written when the run died: it goes.
fn cut(path: &Path, keep: impl Fn(usize, &str) -> bool) -> Result<()> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("read", path)(e)),
    };
    let whole = text.split_inclusive('\n').filter(|l| l.ends_with('\n')).enumerate();
    let kept: String = whole.filter(|(i, l)| keep(*i, l.trim_end())).map(|(_, l)| l).collect();
    if kept == text { Ok(()) } else { write_atomically(path, kept.as_bytes()) }
}
