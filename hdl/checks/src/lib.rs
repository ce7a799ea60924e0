//! What the units of the hardware are asked: benches, references, and [`Check`]s, each a bench with a whole set of cases.
//!
//! A check knows the [`Design`] that it runs on and what to do with an instance of it, and panics at the first difference, as a
//! test does. `hdl/tests` runs every check on the design as it stands. `systole verify mutation` runs the same ones on designs
//! with something broken, and expects the panic: a check that lets a broken unit through is the thing that it looks for.
//!
//! | module | unit | reference |
//! |---|---|---|
//! | [`float`] | the float units, the path through a PE | the host's `f32`, integer arithmetic |
//! | [`array`](mod@array) | systolic array | `acc += f32(x) * f32(w)` |
//! | [`matrix`] | matrix engine with the memories | the same, and a model of views, masks and flags |
//! | [`vector`] | vector engine | plain Rust, element by element |
//! | [`link`] | deframer, framer, rings | the crates `cobs` and `crc32fast` |
//! | [`mutation`] | all of these, broken on purpose | the checks above must notice |
//! | [`number`] | – | random numbers and FP16 for the others |

pub mod array;
mod design;
pub mod float;
pub mod link;
pub mod matrix;
pub mod mutation;
pub mod number;
pub mod vector;

pub use design::{Check, Design, Dut, Hang, ports};
