//! What must hold before a run is continued. Nothing is written here: a refused checkpoint and its folder stay as they are.
//!
//! Model, data, optimizer and every setting that decides the bits must be the checkpoint's own. The device may be another,
//! and so may its lanes: results do not depend on them.

use std::path::{Path, PathBuf};

use super::checkpoint::{self, Checkpoint, Position};
use super::facts;
use crate::compile::Compiled;
use crate::data::Dataset;
use crate::driver::session::{ScalerWords, Weights};
use crate::error::{Error, Result};

/// Where a run goes on.
pub struct Resumed {
    /// The run's folder.
    pub folder: PathBuf,
    /// Weights and optimizer state.
    pub weights: Weights,
    /// The scaler of each phase.
    pub scalers: Vec<ScalerWords>,
    /// How far it had come.
    pub position: Position,
}

/// The checkpoint that `what` names: a file, a run's folder, or the name of a run in `runs`.
pub fn find(what: &Path, runs: &Path) -> PathBuf {
    match (what.is_dir(), what.exists()) {
        (true, _) => what.join(checkpoint::FILE),
        (false, true) => what.into(),
        (false, false) if runs.join(what).is_dir() => runs.join(what).join(checkpoint::FILE),
        (false, false) => what.into(),
    }
}

/// Reads a checkpoint and makes sure that this run may continue it.
pub fn open(
    what: &Path,
    runs: &Path,
    compiled: &Compiled,
    config: &serde_json::Value,
    data: &Dataset,
    epochs: u32,
) -> Result<Resumed> {
    let path = find(what, runs);
    let checkpoint = Checkpoint::load(&path)?;
    facts::same_settings(&checkpoint.config()?, config)?;
    let (before, now) = (checkpoint.fact("data_sha256")?, facts::data_sha256(data));
    if before != now {
        return Err(Error::Shape {
            what: "checkpoint and data set".into(),
            reason: format!(
                "{} was trained on {} with SHA-256 {before}; {} has {now}",
                path.display(),
                checkpoint.fact("data")?,
                data.name
            ),
        });
    }
    let weights = checkpoint.weights(compiled)?;
    let position = checkpoint.position()?;
    if position.epochs > epochs || (position.epochs == epochs && position.step_in_epoch > 0) {
        return Err(Error::value("--epochs", epochs, format!("the run has {} behind it", position.epochs)));
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf();
    Ok(Resumed { folder, weights, scalers: checkpoint.scalers()?, position })
}
