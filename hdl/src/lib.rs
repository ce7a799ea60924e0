//! The Systole machine in RustHDL, and the emitter that prints it as Verilog.

pub mod emit;
