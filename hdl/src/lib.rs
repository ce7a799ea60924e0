//! The Systole machine in RustHDL, and the emitter that prints it as Verilog.

pub mod array;
pub mod board;
pub mod control;
pub mod delay;
pub mod emit;
pub mod float;
pub mod formal;
pub mod link;
pub mod matrix;
pub mod memory;
pub mod mover;
pub mod soc;
pub mod uart;
pub mod vector;
