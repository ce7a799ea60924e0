//! From a graph to a program and a memory plan for one machine.
//!
//! | module | what it does |
//! |---|---|
//! | [`cost`] | cycles of an instruction and of a stream of them |
//! | [`functions`] | exp, log, reciprocal as sequences of vector operations |
//! | [`plan`] | which tensor lies where |
//! | `schedule` | dependences, issue order, wait distances |
//! | `build` | views, products and vector operations over planned tensors |
//! | `chain` | a graph as layers, a batch as parts |
//! | `network` | a chain of dense layers: declares its tensors and emits its forward and backward passes in overlapping chunks |
//! | `ops` | any other graph: one emitter per operation, forward beside backward; memory by lifetime |
//! | `loss` | softmax cross-entropy, its gradient, right predictions |
//! | [`optimizer`] | optimizers, and what is around them: decay, clipping, accumulation, averages |
//! | `gemm` | one product by itself |
//!
//! **Layout.** A matrix with samples as rows has a pitch ≡ 1 (mod N) that leaves at least one column free; that column holds
//! ones, so the product that makes a weight gradient makes the bias gradient too. Such a matrix is read along rows or columns
//! at the same cost, so no transpose is ever stored.

pub mod cost;
pub mod functions;
pub mod optimizer;
pub mod plan;

mod build;
mod chain;
mod gemm;
mod loss;
mod network;
mod ops;
mod schedule;

pub use gemm::{CompiledGemm, GemmSpec, gemm};
pub use network::{model, network};
pub use ops::{CompiledFunction, Elementary, function};
pub use optimizer::{Clip, Master, Optimizer, Recipe};

use plan::{Demand, MemoryPlan};
use systole_isa::machine::Machine;
use systole_isa::operand::Addr;
use systole_isa::regs::Space;

/// FP16 class number of a padded row: above every class that a network may have.
pub const PADDED_LABEL: u32 = 2047;

/// Why something cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A tensor does not fit.
    #[error(
        "tensor `{tensor}` does not fit: it needs {need} bytes of {memory}, and {room} of the {plane} bytes of a plane are \
         left. While it lives, {memory} must hold {demand}; there are {} bytes", 2 * plane
    )]
    Memory {
        /// Its name.
        tensor: String,
        /// Which memory.
        memory: &'static str,
        /// Bytes it needs, in one piece.
        need: u64,
        /// Bytes left in the emptier plane.
        room: u64,
        /// Bytes of a plane.
        plane: u64,
        /// What that memory must hold together with it.
        demand: Demand,
    },
    /// ReLU masks do not fit.
    #[error("the ReLU mask of `{tensor}` does not fit: it needs {need} bits of mask memory, and {room} are left")]
    Mask {
        /// The activation.
        tensor: String,
        /// Bits it needs.
        need: u64,
        /// Bits left.
        room: u64,
    },
    /// The program is too long.
    #[error("the program needs {need} words, and program memory holds {room}")]
    Program {
        /// Words it needs.
        need: usize,
        /// Words there are.
        room: u32,
    },
    /// A size that instructions cannot express.
    #[error("{what} is {size}; it must be between 1 and {limit}")]
    Size {
        /// Of what.
        what: String,
        /// How large.
        size: u64,
        /// Largest possible.
        limit: u64,
    },
    /// A machine that contradicts itself.
    #[error("impossible machine: {0}")]
    Machine(&'static str),
    /// A graph that the compiler has no rule for.
    #[error("cannot compile `{node}`: {why}")]
    Unsupported {
        /// The node.
        node: String,
        /// What is missing.
        why: &'static str,
    },
    /// A fault of the compiler itself, caught before upload.
    #[error("the compiler made a faulty program: {0}")]
    Fault(String),
}

/// A matrix in a memory: element (r, c) lies at `addr + r·pitch + c`. A row-major walk over it gives the tensor's elements in
/// PyTorch's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorPlace {
    /// Memory: `Hmem` (FP16) or `Smem` (FP32).
    pub space: Space,
    /// Element (0, 0).
    pub addr: Addr,
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub cols: u32,
    /// Elements between the starts of rows.
    pub pitch: u32,
}

/// A named piece of the program, as a device's segment table wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `compute`, `update`, `evaluate`, or `gemm`.
    pub name: String,
    /// First word in program memory.
    pub addr: u32,
    /// Words.
    pub words: u32,
}

/// Constants to be written once, before the first step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Memory.
    pub space: Space,
    /// First element.
    pub addr: Addr,
    /// Elements per row.
    pub row_len: u32,
    /// Rows.
    pub rows: u32,
    /// Elements between the starts of rows.
    pub pitch: u32,
    /// Elements, little endian, in the space's own size.
    pub data: Vec<u8>,
    /// For logs.
    pub what: String,
}

/// One of the two places where a batch may lie, and how a request selects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotBinding {
    /// `(register, value)` of the address registers that a Step or Run request on this slot must write.
    pub registers: Vec<(u8, u32)>,
    /// FP16 `[batch, features]`. Write rows of `features` elements at this pitch: what lies between holds ones.
    pub input: TensorPlace,
    /// FP16 `[1, batch]`, or `[1, steps·batch]`, step after step: class numbers, [`PADDED_LABEL`] for a padded row (whose features
    /// should be zeros).
    pub labels: TensorPlace,
    /// FP16, one per entry of [`Pass::dropouts`]: 1 for what a training step keeps, else 0, as [`Dropout::arrange`] orders them.
    pub masks: Vec<TensorPlace>,
}

/// A dropout, whose masks the host sends with every batch to train on.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// Share that is dropped.
    pub p: f32,
    /// Shape per row, PyTorch's.
    pub shape: Vec<usize>,
}

impl Dropout {
    /// Puts `values`, in PyTorch's order `[batch, shape…]`, into the order of the rows of its places on the device.
    pub fn arrange<T: Copy>(&self, batch: usize, values: &[T]) -> Vec<T> {
        device_order(&self.shape, batch).into_iter().map(|i| values[i]).collect()
    }
}

/// Where each element of a value of this shape stands in PyTorch's order `[batch, shape…]`, in the order in which the device keeps
/// them: `[height][width][batch][channels]`, `[steps][batch][features]` or `[batch][features]`.
fn device_order(shape: &[usize], batch: usize) -> Vec<usize> {
    let (positions, columns, channels_first) = match *shape {
        [c, h, w] => (h * w, c, true),
        [steps, features] => (steps, features, false),
        _ => (1, shape.iter().product(), false),
    };
    let at = |position: usize, row: usize, column: usize| match channels_first {
        true => (row * columns + column) * positions + position,
        false => (row * positions + position) * columns + column,
    };
    let of_row = |p, r| (0..columns).map(move |c| at(p, r, c));
    (0..positions).flat_map(|p| (0..batch).flat_map(move |r| of_row(p, r))).collect()
}

/// Puts a value's elements, as the device keeps them, into PyTorch's order `[batch, shape…]`.
pub fn from_device_order<T: Copy>(shape: &[usize], batch: usize, values: &[T]) -> Vec<T> {
    let mut out = values.to_vec();
    device_order(shape, batch).into_iter().zip(values).for_each(|(i, &v)| out[i] = v);
    out
}

/// Where one parameter lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// PyTorch's name.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// FP32 master copy.
    pub master: TensorPlace,
    /// FP16 copy that products read; the update writes it, the host writes it once at the start.
    pub half: TensorPlace,
    /// FP16 gradient times the loss scale.
    pub gradient: TensorPlace,
    /// FP32 optimizer state with its PyTorch name; zeros at the start.
    pub state: Vec<(String, TensorPlace)>,
}

/// Where a buffer lives: FP32, one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// PyTorch's name.
    pub name: String,
    /// PyTorch's shape; empty for a single number.
    pub shape: Vec<usize>,
    /// Every element's initial value.
    pub initial: f32,
    /// The tensor, which passes that train change as they go forward.
    pub place: TensorPlace,
}

/// What the host sends for a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// Rows of the data set.
    Rows,
    /// Random numbers, drawn anew for every batch (`crate::data::latent`).
    Noise,
}

/// A segment that runs on one batch: forward, and in training loss and backward.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    /// Its segment.
    pub segment: u32,
    /// Where its input comes from.
    pub feed: Feed,
    /// Where its batches lie.
    pub slots: [SlotBinding; 2],
    /// What drops values in it, in the graph's order.
    pub dropouts: Vec<Dropout>,
}

/// Passes whose gradients make one update, and that update. Each phase has a loss scaler, whose index is the phase's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// What learns in it; empty where there is one phase.
    pub name: String,
    /// What every batch goes through, in this order.
    pub passes: Vec<Pass>,
    /// Segment of the optimizer.
    pub update: u32,
    /// Segment that adds the gradients of a pass to their sums; only where several passes or batches make one update.
    pub accumulate: Option<u32>,
    /// The optimizer and what is around it; `accumulate` counts passes.
    pub recipe: Recipe,
    /// What the update changes: indices of [`Compiled::parameters`].
    pub parameters: Vec<usize>,
}

impl Phase {
    /// Batches that make one update.
    pub fn batches(&self) -> usize {
        self.recipe.accumulate as usize / self.passes.len()
    }
}

/// Predicted cycles of one instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictedInstruction {
    /// Word address.
    pub addr: u32,
    /// What it is for.
    pub label: String,
    /// Engine.
    pub engine: cost::Engine,
    /// Cycle in its segment at which it starts.
    pub start: u64,
    /// Cycle in its segment at which its last result is written.
    pub done: u64,
}

/// Predicted cycles of one segment, from its start with idle engines to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictedSegment {
    /// Its name.
    pub name: String,
    /// Cycles.
    pub cycles: u64,
    /// Cycles in which the matrix engine streams.
    pub matrix: u64,
    /// Cycles in which the vector engine issues.
    pub vector: u64,
    /// Every engine instruction, in issue order.
    pub instructions: Vec<PredictedInstruction>,
}

/// A network compiled for one machine, batch size and optimizer; of a GAN both networks.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The machine.
    pub machine: Machine,
    /// Rows per batch; a micro-batch where several make one update.
    pub batch: u32,
    /// Labels of a row: one, or one for each step of a sequence.
    pub labels_per_row: u32,
    /// Program memory from word 0.
    pub program: Vec<u32>,
    /// Segments, in the order of their indices.
    pub segments: Vec<Segment>,
    /// Constants.
    pub uploads: Vec<Upload>,
    /// Parameters in PyTorch's order.
    pub parameters: Vec<Parameter>,
    /// Buffers in PyTorch's order.
    pub buffers: Vec<Buffer>,
    /// What a training step does, in this order.
    pub phases: Vec<Phase>,
    /// Computes the loss (scalar register `LOSS`) and right labels (`CORRECT`) only; of a GAN nothing but generated images. Where
    /// program memory has no room for it, the pass that trains: without an update it says the same, more slowly.
    pub evaluate: Pass,
    /// What that pass leaves behind, FP16: the logits `[batch, classes]`, or a GAN's images `[height·width·batch, channels]`.
    pub output: TensorPlace,
    /// What lies where.
    pub plan: MemoryPlan,
    /// Multiply-accumulates of one step, without padding and bias gradients; of a batch where several make one update.
    pub macs_per_step: u64,
    /// Cost model's view, one per segment.
    pub predicted: Vec<PredictedSegment>,
}

impl Compiled {
    /// Segments of a step that trains on one batch, in their order.
    pub fn step_segments(&self) -> Vec<u32> {
        let of = |p: &Phase| {
            let passes = p.passes.iter().map(|pass| pass.segment);
            let others = p.passes.len() - 1;
            passes.chain(p.accumulate.into_iter().cycle().take(others)).chain([p.update]).collect::<Vec<_>>()
        };
        self.phases.iter().flat_map(of).collect()
    }

    /// Cycles that the cost model expects of those.
    pub fn predicted_step(&self) -> u64 {
        self.step_segments().iter().map(|&s| self.predicted[s as usize].cycles).sum()
    }
}
