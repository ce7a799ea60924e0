//! What comes out of a run, and who is told while it goes on.

use serde::Serialize;

/// The result of a training run, as `systole train --json` prints it. What does not apply is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainReport {
    /// `rtl`, `model`, or the port.
    pub device: String,
    /// The network.
    pub model: String,
    /// Seed of weights and order.
    pub seed: u64,
    /// Epochs trained.
    pub epochs: u32,
    /// Steps, skipped ones included.
    pub steps: u64,
    /// Skipped steps.
    pub skipped: u64,
    /// Mean loss over the rows of the last epoch, as they were trained on.
    pub final_loss: Option<f64>,
    /// Training rows predicted right by the final weights, 0..=1.
    pub train_accuracy: f64,
    /// Test rows predicted right by the final weights, 0..=1.
    pub test_accuracy: f64,
    /// The loss scale that the next step would use.
    pub loss_scale: f64,
    /// SHA-256 of the master weights: FP32, little endian, in the order of the layers, weight then bias.
    pub weights_sha256: String,
    /// Clock cycles of all training steps; null on the model, which has no clock.
    pub cycles: Option<u64>,
    /// Multiply-accumulates of all training steps, without padding.
    pub macs: u64,
    /// `macs / (lanes² · cycles)`.
    pub array_utilization: Option<f64>,
    /// Simulated clock while training, in kHz of real time; null where nothing is simulated cycle by cycle.
    pub sim_khz: Option<f64>,
    /// Folder with metrics, configuration and checkpoint.
    pub run_dir: String,
}

/// One training step, as metrics record it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Counted from 1.
    pub step: u64,
    /// Counted from 1.
    pub epoch: u32,
    /// Valid rows.
    pub rows: usize,
    /// Mean loss.
    pub loss: f32,
    /// Rows predicted right.
    pub correct: u32,
    /// The scale that it used.
    pub loss_scale: f64,
    /// `updated`, `skipped_gradient` or `skipped_forward`.
    pub outcome: &'static str,
    /// Skipped steps so far.
    pub skipped: u64,
    /// Its clock cycles.
    pub cycles: Option<u64>,
}

/// One epoch, as metrics record it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u32,
    /// Steps so far.
    pub steps: u64,
    /// Skipped steps so far.
    pub skipped: u64,
    /// Mean loss of its rows.
    pub train_loss: f64,
    /// Its rows predicted right while training.
    pub train_accuracy: f64,
    /// Mean loss of the test rows.
    pub test_loss: f64,
    /// Test rows predicted right.
    pub test_accuracy: f64,
    /// The next step's scale.
    pub loss_scale: f64,
    /// Cycles of its steps.
    pub cycles: Option<u64>,
    /// `macs / (lanes² · cycles)` over the epoch.
    pub array_utilization: Option<f64>,
    /// Seconds of real time.
    pub seconds: f64,
}

/// Who is told how a run goes on. Nothing here may print to stdout.
pub trait Progress {
    /// A new phase has begun.
    fn phase(&mut self, _text: &str) {}
    /// Training begins: steps per epoch, epochs.
    fn start(&mut self, _steps: u64, _epochs: u32) {}
    /// A step has ended.
    fn step(&mut self, _step: &Step) {}
    /// An epoch has ended.
    fn epoch(&mut self, _epoch: &Epoch) {}
    /// A line of the firmware's log, or a remark.
    fn line(&mut self, _text: &str) {}
    /// Nothing more will come.
    fn finish(&mut self) {}
    /// Whether to stop.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Tells nobody.
pub struct Silent;
impl Progress for Silent {}
