//! Checkpoints: one safetensors file with everything that a run is. `docs/checkpoints.md` describes the format.
//!
//! Tensors: master weights and buffers under PyTorch's names (FP32), optimizer state as `optimizer.<name of the weight>.<name of
//! the state>`. Metadata, all text: `format`, `model`, `data`, `data_sha256`, `seed`, `scalers` (the firmware's state words, phase by
//! phase, as `systole_isa::frame::scaler` orders them), `position` ([`Position`], JSON), `config` (JSON), `program_sha256`, where there
//! are buffers `buffers` (their names, JSON), and `sha256` over all of the above and every tensor.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::compile::optimizer::EMA;
use crate::compile::{Buffer, Compiled, Parameter};
use crate::driver::session::{ScalerWords, Score, Weights};
use crate::error::{Error, Result};
use crate::npy::write_atomically;
use crate::run::report::{CycleSplit, Gradient};

/// What `format` says.
pub const FORMAT: &str = "systole-checkpoint-4";
/// Its name in a run's folder.
pub const FILE: &str = "checkpoint.safetensors";
/// What names of optimizer state begin with.
const OPTIMIZER: &str = "optimizer.";

/// A [`Score`] bit for bit: JSON readers may round decimal numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreBits {
    loss: u64,
    correct: u64,
    rows: usize,
}

impl From<Score> for ScoreBits {
    fn from(s: Score) -> ScoreBits {
        ScoreBits { loss: s.loss.to_bits(), correct: s.correct.to_bits(), rows: s.rows }
    }
}

impl From<ScoreBits> for Score {
    fn from(s: ScoreBits) -> Score {
        Score { loss: f64::from_bits(s.loss), correct: f64::from_bits(s.correct), rows: s.rows }
    }
}

/// How far a run has come. The order of rows follows from seed and epoch alone, so this is all that it takes to send the next
/// batch, and batches that were in flight again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Complete epochs.
    pub epochs: u32,
    /// Steps done in the epoch after those.
    pub step_in_epoch: u64,
    /// Steps in all, skipped ones included.
    pub steps: u64,
    /// Rows of all steps.
    pub rows: u64,
    /// What each phase of the steps has come to.
    pub phases: Vec<PhasePosition>,
}

/// How far a phase has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhasePosition {
    /// Skipped steps.
    pub skipped: u64,
    /// Clock cycles of all steps.
    pub cycles: u64,
    /// Clock cycles of the steps of the unfinished epoch.
    pub epoch_cycles: u64,
    /// Sums over the unfinished epoch.
    pub score: ScoreBits,
    /// Sums over the last complete epoch.
    pub last: ScoreBits,
    /// Cycles of the unfinished epoch by what the engines did.
    pub split: CycleSplit,
    /// The gradient of the last step, where that step is the last of the unfinished epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient: Option<Gradient>,
}

impl Position {
    /// Before the first step.
    pub fn start(phases: usize) -> Position {
        Position { phases: vec![PhasePosition::default(); phases], ..Position::default() }
    }

    /// Skipped steps of all phases.
    pub fn skipped(&self) -> u64 {
        self.phases.iter().map(|p| p.skipped).sum()
    }

    /// Clock cycles of all phases.
    pub fn cycles(&self) -> u64 {
        self.phases.iter().map(|p| p.cycles).sum()
    }
}

/// A checkpoint in memory.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)>,
}

impl Checkpoint {
    /// Gathers what [`save`](Checkpoint::save) writes.
    pub fn new(
        compiled: &Compiled,
        weights: &Weights,
        scalers: &[ScalerWords],
        position: &Position,
        facts: &[(&str, String)],
    ) -> Checkpoint {
        let bytes = |v: &[f32]| v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let mut tensors = BTreeMap::new();
        for (i, p) in compiled.parameters.iter().enumerate() {
            tensors.insert(p.name.clone(), (p.shape.clone(), bytes(&weights.masters[i])));
            for ((name, _), values) in p.state.iter().zip(&weights.state[i]) {
                tensors.insert(format!("{OPTIMIZER}{}.{name}", p.name), (p.shape.clone(), bytes(values)));
            }
        }
        for (b, values) in compiled.buffers.iter().zip(&weights.buffers) {
            tensors.insert(b.name.clone(), (b.shape.clone(), bytes(values)));
        }
        let mut metadata: BTreeMap<String, String> = facts.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        metadata.insert("format".into(), FORMAT.into());
        metadata.insert("scalers".into(), serde_json::to_string(scalers).expect("numbers"));
        metadata.insert("position".into(), serde_json::to_string(position).expect("plain data"));
        let buffers: Vec<&str> = compiled.buffers.iter().map(|b| b.name.as_str()).collect();
        if !buffers.is_empty() {
            metadata.insert("buffers".into(), serde_json::to_string(&buffers).expect("names"));
        }
        let mut checkpoint = Checkpoint { path: PathBuf::new(), metadata, tensors };
        let digest = checkpoint.digest();
        checkpoint.metadata.insert("sha256".into(), digest);
        checkpoint
    }

    /// Writes it, whole or not at all; it is on the disk when this returns.
    pub fn save(&self, path: &Path) -> Result<()> {
        let views = self.tensors.iter().map(|(name, (shape, data))| {
            (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), data).expect("shape and data agree"))
        });
        let metadata: HashMap<String, String> = self.metadata.clone().into_iter().collect();
        let file = safetensors::serialize(views, Some(metadata)).expect("names differ");
        write_atomically(path, &file)?;
        // the file's new name is data of the folder
        match path.parent().map(std::fs::File::open) {
            Some(Ok(folder)) => folder.sync_all().map_err(Error::io("write", path)),
            _ => Ok(()),
        }
    }

    /// Reads a checkpoint and checks that it is whole, of this format, and unchanged since it was written.
    pub fn load(path: &Path) -> Result<Checkpoint> {
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        let wrong = |reason: String| Error::Malformed { path: path.into(), format: "checkpoint", reason };
        let damaged = |e: safetensors::SafeTensorError| wrong(format!("it is truncated or no safetensors file ({e})"));
        let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        let metadata: BTreeMap<String, String> = header.metadata().clone().unwrap_or_default().into_iter().collect();
        match metadata.get("format").map(String::as_str) {
            Some(FORMAT) => {}
            Some(other) => return Err(wrong(format!("its format is {other:?}; this version reads {FORMAT:?}"))),
            None => {
                return Err(wrong("it is a safetensors file, but no checkpoint: its metadata name no format".into()));
            }
        }
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(wrong(format!("tensor {name} is {:?}, FP32 is expected", view.dtype())));
            }
            tensors.insert(name, (view.shape().to_vec(), view.data().to_vec()));
        }
        let checkpoint = Checkpoint { path: path.into(), metadata, tensors };
        if checkpoint.metadata.get("sha256") != Some(&checkpoint.digest()) {
            return Err(wrong("its SHA-256 does not match its contents: it was edited or damaged".into()));
        }
        Ok(checkpoint)
    }

    /// SHA-256 over metadata and tensors, each with its length before it, in the order of their names.
    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for (key, value) in self.metadata.iter().filter(|(k, _)| *k != "sha256") {
            part(key.as_bytes());
            part(value.as_bytes());
        }
        for (name, (shape, data)) in &self.tensors {
            part(name.as_bytes());
            shape.iter().for_each(|&n| part(&(n as u64).to_le_bytes()));
            part(data);
        }
        systole_verilator::hex(&hash.finalize())
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An entry of the metadata.
    pub fn fact(&self, key: &str) -> Result<&str> {
        self.metadata.get(key).map(String::as_str).ok_or_else(|| self.wrong(format!("its metadata lack {key:?}")))
    }

    /// Where its data set was.
    pub fn data_source(&self) -> Result<&str> {
        self.fact("data_source").or_else(|_| self.fact("data"))
    }

    /// How far the run had come.
    pub fn position(&self) -> Result<Position> {
        self.json("position")
    }

    /// The firmware's loss scalers, whole: one for each phase.
    pub fn scalers(&self) -> Result<Vec<ScalerWords>> {
        self.json("scalers")
    }

    /// The run's settings.
    pub fn config(&self) -> Result<serde_json::Value> {
        self.json("config")
    }

    /// Master weights: name, shape, row-major values.
    pub fn masters(&self) -> impl Iterator<Item = (&str, &[usize], Vec<f32>)> {
        let buffers: Vec<String> = self.json("buffers").unwrap_or_default();
        self.kept().filter(move |(name, ..)| !buffers.iter().any(|b| b == name))
    }

    /// Buffers: name, shape, values.
    pub fn buffers(&self) -> impl Iterator<Item = (&str, &[usize], Vec<f32>)> {
        let buffers: Vec<String> = self.json("buffers").unwrap_or_default();
        self.kept().filter(move |(name, ..)| buffers.iter().any(|b| b == name))
    }

    fn kept(&self) -> impl Iterator<Item = (&str, &[usize], Vec<f32>)> {
        let kept = self.tensors.iter().filter(|(name, _)| !name.starts_with(OPTIMIZER));
        kept.map(|(name, (shape, data))| (name.as_str(), shape.as_slice(), floats(data)))
    }

    /// Master weights for these parameters, whatever the optimizer was.
    ///
    /// # Errors
    /// One is missing or has another shape.
    pub fn masters_of(&self, parameters: &[Parameter]) -> Result<Vec<Vec<f32>>> {
        parameters.iter().map(|p| self.tensor(&p.name, &p.shape)).collect()
    }

    /// The values of these buffers.
    ///
    /// # Errors
    /// One is missing or has another shape.
    pub fn buffers_of(&self, buffers: &[Buffer]) -> Result<Vec<Vec<f32>>> {
        buffers.iter().map(|b| self.tensor(&b.name, &b.shape)).collect()
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        match self.tensors.get(name) {
            Some((found, data)) if found == shape => Ok(floats(data)),
            Some((found, _)) => Err(self.wrong(format!("its tensor {name} has shape {found:?}, {shape:?} is needed"))),
            None => Err(self.wrong(format!("it lacks the tensor {name}"))),
        }
    }

    /// The moving averages of the weights for these parameters.
    ///
    /// # Errors
    /// The run kept none.
    pub fn averages_of(&self, parameters: &[Parameter]) -> Result<Vec<Vec<f32>>> {
        parameters.iter().map(|p| self.average_of(&p.name)).collect()
    }

    /// The moving average of one parameter.
    pub fn average_of(&self, parameter: &str) -> Result<Vec<f32>> {
        match self.tensors.get(&format!("{OPTIMIZER}{parameter}.{EMA}")) {
            Some((_, data)) => Ok(floats(data)),
            None => Err(self.wrong(format!("it holds no moving average of {parameter}: train with --ema"))),
        }
    }

    /// Weights, optimizer state and buffers of this network.
    ///
    /// # Errors
    /// A tensor is missing, has another shape, or is one too many: the checkpoint is of another model or optimizer.
    pub fn weights(&self, compiled: &Compiled) -> Result<Weights> {
        let mut used = 0;
        let mut get = |name: String, shape: &[usize]| match self.tensors.get(&name) {
            Some((found, data)) if found == shape => {
                used += 1;
                Ok(floats(data))
            }
            Some((found, _)) => Err(self.wrong(format!("its tensor {name} has shape {found:?}, {shape:?} is needed"))),
            None => Err(self.wrong(format!("it lacks the tensor {name}: it is of another model or optimizer"))),
        };
        let mut out = Weights::default();
        for p in &compiled.parameters {
            out.masters.push(get(p.name.clone(), &p.shape)?);
            let state = p.state.iter().map(|(name, _)| get(format!("{OPTIMIZER}{}.{name}", p.name), &p.shape));
            out.state.push(state.collect::<Result<_>>()?);
        }
        for b in &compiled.buffers {
            out.buffers.push(get(b.name.clone(), &b.shape)?);
        }
        if used != self.tensors.len() {
            return Err(self.wrong(format!(
                "it holds {} tensors, {used} are needed: it is of another model or optimizer",
                self.tensors.len()
            )));
        }
        Ok(out)
    }

    fn json<T: for<'a> Deserialize<'a>>(&self, key: &str) -> Result<T> {
        serde_json::from_str(self.fact(key)?).map_err(|e| self.wrong(format!("its {key} cannot be read: {e}")))
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Malformed { path: self.path.clone(), format: "checkpoint", reason }
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_damaged_byte_and_every_truncation_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let tensors = BTreeMap::from([("0.weight".to_string(), (vec![2, 3], vec![7; 24]))]);
        let metadata = BTreeMap::from([("format".into(), FORMAT.into()), ("seed".into(), "7".into())]);
        let mut checkpoint = Checkpoint { path: path.clone(), metadata, tensors };
        let digest = checkpoint.digest();
        checkpoint.metadata.insert("sha256".into(), digest);
        checkpoint.save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path).unwrap().tensors, checkpoint.tensors);
        let whole = std::fs::read(&path).unwrap();
        for n in 0..whole.len() {
            std::fs::write(&path, &whole[..n]).unwrap();
            assert!(matches!(Checkpoint::load(&path), Err(Error::Malformed { .. })), "truncated to {n} bytes");
            let mut edited = whole.clone();
            edited[n] ^= 1;
            std::fs::write(&path, &edited).unwrap();
            match Checkpoint::load(&path) {
                Err(Error::Malformed { .. }) => {}
                // a padding space or an escape may change without a change of meaning
                Ok(c) => assert_eq!((c.metadata, c.tensors), (checkpoint.metadata.clone(), checkpoint.tensors.clone())),
                Err(e) => panic!("byte {n}: {e}"),
            }
        }
    }
}
