//! `runs/<name>/`: `config.json`, `metrics.csv` (a line per step), `metrics.jsonl` (an object per step and per epoch),
//! `checkpoint.safetensors`, and at the end `result.json`.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

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
                    return Ok(Folder { path, csv, jsonl });
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("create", path)(e)),
            }
        }
        Err(Error::value("--name", name, format!("there are {MOST} runs of that name in {}", runs.display())))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
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
        self.line(&Line::Step(step))
    }

    /// Records an epoch and makes sure that everything so far is in the files.
    pub fn epoch(&mut self, epoch: &Epoch) -> Result<()> {
        self.line(&Line::Epoch(epoch))?;
        self.flush()
    }

    /// Makes sure that everything so far is in the files.
    pub fn flush(&mut self) -> Result<()> {
        self.csv.flush().map_err(Error::io("write", self.path.join("metrics.csv")))?;
        self.jsonl.flush().map_err(Error::io("write", self.path.join("metrics.jsonl")))
    }

    fn line(&mut self, line: &Line<'_>) -> Result<()> {
        let mut text = serde_json::to_vec(line).expect("plain data");
        text.push(b'\n');
        self.jsonl.write_all(&text).map_err(Error::io("write", self.path.join("metrics.jsonl")))
    }
}
