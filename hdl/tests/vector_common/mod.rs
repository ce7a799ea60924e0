//! Reference and test bench of the vector engine's tests.

pub mod bench;
pub mod reference;
