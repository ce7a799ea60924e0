//! The results on disk: CSV files of a network, rewritten after every cell, from which pages are made and which say what need not be
//! run again.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::npy::write_atomically;

/// The outcome of a run that came to its end.
pub(super) const FINISHED: &str = "finished";

/// A cell that has been run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) network: String,
    pub(super) variant: String,
    pub(super) seed: u64,
    /// The last loss scale; empty in FP32.
    pub(super) scale: Option<f64>,
    /// Steps, skipped ones included.
    pub(super) steps: u64,
    pub(super) skipped: u64,
    /// Mean loss of the last epoch's rows, as they were trained on.
    pub(super) train_loss: Option<f64>,
    /// Mean loss of the test rows at the end.
    pub(super) test_loss: Option<f64>,
    /// Test rows predicted right at the end, 0..=1.
    pub(super) test_accuracy: Option<f64>,
    /// At the end: inception score of a generator's images, or percentage of digits that a detector finds.
    pub(super) score: Option<f64>,
    /// Of the updates seen in an FP32 run: the share that FP16 weights would not have felt; of all steps seen, and of the last eighth.
    pub(super) lost_updates: Option<f64>,
    pub(super) lost_updates_late: Option<f64>,
    /// `finished`, or why the run stopped.
    pub(super) outcome: String,
    /// SHA-256 of the final weights.
    pub(super) weights_sha256: String,
    pub(super) seconds: f64,
    /// Digest of everything that the result depends on but the program.
    pub(super) key: String,
    /// What runs this cell alone.
    pub(super) command: String,
}

impl Row {
    /// Whether training came to its end; else `outcome` says why not.
    pub(super) fn finished(&self) -> bool {
        self.outcome == FINISHED
    }
}

/// An epoch of a cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Point {
    pub(super) key: String,
    pub(super) variant: String,
    pub(super) seed: u64,
    pub(super) epoch: u32,
    pub(super) train_loss: f64,
    pub(super) test_loss: Option<f64>,
    pub(super) test_accuracy: Option<f64>,
    pub(super) skipped: u64,
    pub(super) scale: Option<f64>,
}

/// A bar of a histogram of exponents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Bin {
    pub(super) key: String,
    /// `weights`, `weight-gradients` or `activation-gradients`.
    pub(super) kind: String,
    /// Values in [2^exponent, 2^(exponent + 1)); empty: those that are 0.
    pub(super) exponent: Option<i32>,
    pub(super) count: u64,
}

/// An image that a generator makes at the end of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Image {
    pub(super) key: String,
    pub(super) variant: String,
    pub(super) number: usize,
    /// Pixels of a row.
    pub(super) width: usize,
    /// Grey levels, row by row, from `00` (0, black) to `ff` (1, white).
    pub(super) pixels: String,
}

/// What the hardware says of a network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) key: String,
    pub(super) network: String,
    pub(super) lanes: u32,
    pub(super) design: String,
    pub(super) batch: u32,
    /// Steps after which all memory was equal on `rtl` and `model`; a difference ends the command.
    pub(super) steps_equal: u64,
    pub(super) segments: u64,
    pub(super) elements: u64,
    pub(super) weights_sha256: String,
    /// Clock cycles of a training step, from reply to reply.
    pub(super) cycles: u64,
    pub(super) macs: u64,
    pub(super) program_words: u32,
    /// Bytes that are alive together at the worst moment, and the same network's in FP32.
    pub(super) peak: u32,
    pub(super) peak_fp32: u32,
    pub(super) weights: u32,
    pub(super) weights_fp32: u32,
    pub(super) moments: u32,
    pub(super) moments_fp32: u32,
    pub(super) activations: u32,
    pub(super) activations_fp32: u32,
    pub(super) gradients: u32,
    pub(super) gradients_fp32: u32,
    pub(super) workspace: u32,
    pub(super) workspace_fp32: u32,
    pub(super) seconds: f64,
    pub(super) command: String,
}

/// A network's results.
#[derive(Debug, Default)]
pub(super) struct Results {
    folder: PathBuf,
    name: String,
    /// Keys in the order of the plan.
    order: Vec<String>,
    pub(super) rows: Vec<Row>,
    pub(super) points: Vec<Point>,
    pub(super) bins: Vec<Bin>,
    pub(super) images: Vec<Image>,
    pub(super) machine: Vec<Machine>,
}

impl Results {
    /// What there is of a network whose cells have the keys `order`; what belongs to none of them is out of date and left out.
    pub(super) fn load(folder: &Path, name: &str, order: Vec<String>) -> Result<Results> {
        let mut all = Results { folder: folder.into(), name: name.into(), order, ..Results::default() };
        let known = |key: &String| all.order.contains(key);
        let rows: Vec<Row> = read(&all.path(""))?.into_iter().filter(|r: &Row| known(&r.key)).collect();
        // curves are written before their row: one without a row is of a cell that was cut off there, and will be run again
        let done = |key: &String| rows.iter().any(|r| r.key == *key);
        let points = read(&all.path("-curves"))?.into_iter().filter(|p: &Point| done(&p.key)).collect();
        let bins = read(&all.path("-exponents"))?.into_iter().filter(|b: &Bin| done(&b.key)).collect();
        let images = read(&all.path("-samples"))?.into_iter().filter(|i: &Image| done(&i.key)).collect();
        let machine = read(&all.path("-machine"))?.into_iter().filter(|m: &Machine| known(&m.key)).collect();
        (all.rows, all.points, all.bins, all.images, all.machine) = (rows, points, bins, images, machine);
        Ok(all)
    }

    /// Whether the cell of this key has been run.
    pub(super) fn has(&self, key: &str) -> bool {
        self.rows.iter().any(|r| r.key == key) || self.machine.iter().any(|m| m.key == key)
    }

    fn path(&self, what: &str) -> PathBuf {
        self.folder.join(format!("{}{what}.csv", self.name))
    }

    /// Takes over what another process has put into the tables meanwhile.
    fn merge(&mut self) -> Result<()> {
        let there = Results::load(&self.folder, &self.name, self.order.clone())?;
        let known: Vec<String> =
            self.rows.iter().map(|r| &r.key).chain(self.machine.iter().map(|m| &m.key)).cloned().collect();
        let new = |key: &String| !known.contains(key);
        self.rows.extend(there.rows.into_iter().filter(|r| new(&r.key)));
        self.points.extend(there.points.into_iter().filter(|p| new(&p.key)));
        self.bins.extend(there.bins.into_iter().filter(|b| new(&b.key)));
        self.images.extend(there.images.into_iter().filter(|i| new(&i.key)));
        self.machine.extend(there.machine.into_iter().filter(|m| new(&m.key)));
        Ok(())
    }

    /// Writes everything, in the order of the plan: the table of cells last, since it says what is done.
    pub(super) fn save(&mut self) -> Result<()> {
        self.merge()?;
        let order = self.order.clone();
        let place = |key: &str| order.iter().position(|k| k == key);
        self.rows.sort_by_key(|r| place(&r.key));
        self.points.sort_by_key(|p| (place(&p.key), p.epoch));
        self.bins.sort_by_key(|b| (place(&b.key), b.kind.clone(), b.exponent));
        self.images.sort_by_key(|i| (place(&i.key), i.number));
        std::fs::create_dir_all(&self.folder).map_err(Error::io("create", &self.folder))?;
        write(&self.path("-curves"), &self.points)?;
        write(&self.path("-exponents"), &self.bins)?;
        write(&self.path("-samples"), &self.images)?;
        write(&self.path("-machine"), &self.machine)?;
        write(&self.path(""), &self.rows)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let wrong = |e: csv::Error| Error::Malformed { path: path.into(), format: "results", reason: e.to_string() };
    csv::Reader::from_path(path)
        .map_err(wrong)?
        .into_deserialize()
        .collect::<std::result::Result<_, _>>()
        .map_err(wrong)
}

fn write<T: Serialize>(path: &Path, rows: &[T]) -> Result<()> {
    let failed = |e: csv::Error| Error::io("write", path)(e.into());
    if rows.is_empty() && !path.exists() {
        return Ok(());
    }
    let mut out = csv::Writer::from_writer(Vec::new());
    rows.iter().try_for_each(|r| out.serialize(r)).map_err(failed)?;
    write_atomically(path, &out.into_inner().expect("a vector takes everything"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_fill_one_table() {
        let dir = tempfile::tempdir().unwrap();
        let order: Vec<String> = ["a", "b", "c"].map(String::from).into();
        let row = |key: &str| Row { key: key.into(), outcome: FINISHED.into(), ..Row::default() };
        let open = || Results::load(dir.path(), "n", order.clone()).unwrap();
        let (mut one, mut two) = (open(), open());
        two.rows.push(row("b"));
        two.points.push(Point { key: "b".into(), epoch: 1, ..Point::default() });
        two.save().unwrap();
        one.rows.push(row("a"));
        one.save().unwrap();
        let keys: Vec<String> = open().rows.into_iter().map(|r| r.key).collect();
        assert_eq!(keys, ["a", "b"], "in the order of the plan");
        assert_eq!(open().points.len(), 1);
        // a cell that the plan no longer has is forgotten
        assert_eq!(Results::load(dir.path(), "n", vec!["b".into()]).unwrap().rows.len(), 1);
    }
}
