//! Any graph, layer by layer: one file per family of operations, forward beside backward. `docs/adding-a-layer.md` tells how
//! to add one.
//!
//! | module | what it does |
//! |---|---|
//! | `view` | views with any number of axes, and their cut into instructions |
//! | `emitter` | declares tensors, emits elementwise operations, products and functions |
//! | `arena` | memory by lifetime |
//! | `phase` | what is to be compiled: passes over shared parameters, and who updates which |
//! | `declare` | tensors of parameters and batches |
//! | `network` | walks the graphs and their derivatives; segments |
//! | `function` | one function by itself |
//! | `dense`, `conv`, `pool`, `elementwise`, `dropout`, `norm`, `batch_norm`, `embedding`, `shape`, `recurrent`, `losses` | operations |

mod arena;
mod batch_norm;
mod conv;
mod declare;
mod dense;
mod dropout;
mod elementwise;
mod embedding;
mod emitter;
mod function;
mod losses;
mod network;
mod norm;
mod phase;
mod pool;
mod recurrent;
mod shape;
mod view;

pub use function::{CompiledFunction, Elementary, function};
pub(super) use network::network;
pub(super) use phase::PhaseSpec;
