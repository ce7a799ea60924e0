//! What comes out of a run, and who is told while it goes on.

use serde::{Deserialize, Serialize};

use crate::exponents::Exponents;

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
    /// Skipped steps; of a GAN skipped updates of either network.
    pub skipped: u64,
    /// Mean loss over the rows of the last epoch, as they were trained on; null for a GAN.
    pub final_loss: Option<f64>,
    /// Training rows predicted right by the final weights, 0..=1; null for a GAN.
    pub train_accuracy: Option<f64>,
    /// Test rows predicted right by the final weights, 0..=1; null for a GAN.
    pub test_accuracy: Option<f64>,
    /// The loss scale that the next step would use; null for a GAN.
    pub loss_scale: Option<f64>,
    /// What became of each phase of a GAN; left out for other networks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseReport>,
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

/// The result of a phase of a GAN's training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseReport {
    /// What learned in it.
    pub name: &'static str,
    /// Skipped steps.
    pub skipped: u64,
    /// Mean loss over the last epoch; of the discriminator that of real and of generated images together.
    pub final_loss: Option<f64>,
    /// The loss scale that the next step would use.
    pub loss_scale: f64,
}

/// One training step, as metrics record it; of a GAN one phase of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Counted from 1.
    pub step: u64,
    /// What learned in it; left out where there is one phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<&'static str>,
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
    /// The learning rate that it used, or would have used.
    pub lr: f32,
    /// 2-norm of its unscaled gradients, where they are clipped by it and it was not skipped.
    pub grad_norm: Option<f32>,
}

/// One epoch, as metrics record it; of a GAN one phase of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u32,
    /// What learned in it; left out where there is one phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<&'static str>,
    /// Steps so far.
    pub steps: u64,
    /// Skipped steps so far.
    pub skipped: u64,
    /// Mean loss of its rows.
    pub train_loss: f64,
    /// Its rows predicted right while training; null for a GAN.
    pub train_accuracy: Option<f64>,
    /// Mean loss of the test rows; null for a GAN.
    pub test_loss: Option<f64>,
    /// Test rows predicted right; null for a GAN.
    pub test_accuracy: Option<f64>,
    /// The next step's scale.
    pub loss_scale: f64,
    /// Cycles of its steps.
    pub cycles: Option<u64>,
    /// `macs / (lanes² · cycles)` over the epoch.
    pub array_utilization: Option<f64>,
    /// L2 norm of the gradient of the epoch's last step, all parameters together, without the loss scale; null where that
    /// step overflowed.
    pub gradient_norm: Option<f64>,
    /// Exponents of the same gradient, without the loss scale.
    pub gradient: Exponents,
    /// What the engines did in the cycles of its steps; null on the model.
    pub split: Option<CycleSplit>,
    /// Seconds of real time.
    pub seconds: f64,
}

/// Clock cycles of training steps by what an engine did in them. Engines work side by side, so the two do not add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CycleSplit {
    /// A segment was running; the rest of the steps' cycles belongs to firmware and link.
    pub segments: u64,
    /// Activations entered the systolic array.
    pub matrix_streaming: u64,
    /// The matrix engine had an instruction in hand.
    pub matrix_busy: u64,
    /// It waited for another instruction's result.
    pub matrix_wait: u64,
    /// A memory port refused it.
    pub matrix_memory: u64,
    /// The vector engine had an instruction in hand.
    pub vector_busy: u64,
    /// It waited for another instruction's result.
    pub vector_wait: u64,
    /// A memory port refused it.
    pub vector_memory: u64,
}

impl CycleSplit {
    /// All sums, as [`crate::driver::requests::StepReply::counters`] orders them.
    fn sums(&mut self) -> [&mut u64; 8] {
        [
            &mut self.matrix_busy,
            &mut self.matrix_wait,
            &mut self.matrix_memory,
            &mut self.vector_busy,
            &mut self.vector_wait,
            &mut self.vector_memory,
            &mut self.segments,
            &mut self.matrix_streaming,
        ]
    }

    /// Adds a step's counters.
    pub fn add(&mut self, counters: &[u32; 8]) {
        self.sums().into_iter().zip(counters).for_each(|(sum, &n)| *sum += u64::from(n));
    }

    /// Adds other steps' cycles.
    pub fn merge(&mut self, other: &CycleSplit) {
        let mut other = *other;
        self.sums().into_iter().zip(other.sums()).for_each(|(sum, n)| *sum += *n);
    }
}

/// A gradient as it lay in the device, without its loss scale.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gradient {
    /// Bits of the sum of squares of all elements, as FP64.
    square: u64,
    /// Its exponents.
    pub exponents: Exponents,
}

impl Gradient {
    /// From FP16 elements that are the gradient times 2^`scale`.
    pub fn new<'a>(tensors: impl Iterator<Item = &'a Vec<u16>>, scale: i32) -> Gradient {
        let mut exponents = Exponents::default();
        let mut sum = 0.0;
        for tensor in tensors {
            exponents.add_f16(tensor, scale);
            sum += tensor.iter().map(|&b| f64::from(half::f16::from_bits(b).to_f32()).powi(2)).sum::<f64>();
        }
        Gradient { square: (sum * f64::exp2(f64::from(-2 * scale))).to_bits(), exponents }
    }

    /// L2 norm; `None` where an element is infinite or no number.
    pub fn norm(&self) -> Option<f64> {
        Some(f64::from_bits(self.square).sqrt()).filter(|n| n.is_finite())
    }
}

/// Who is told how a run goes on. Nothing here may print to stdout.
pub trait Progress {
    /// A new phase has begun.
    fn phase(&mut self, _text: &str) {}
    /// The run's folder, before anything is trained.
    fn folder(&mut self, _path: &std::path::Path) {}
    /// Training begins: steps per epoch, epochs.
    fn start(&mut self, _steps: u64, _epochs: u32) {}
    /// A step has ended, or a phase of one.
    fn step(&mut self, _step: &Step) {}
    /// An epoch has ended: what each phase has come to.
    fn epoch(&mut self, _phases: &[Epoch]) {}
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
