//! What stands between the SoC and a board's pins: PLL, reset, UART, lights.
//!
//! ```text
//!  clk ──> PLL ──clock──────────────────────────────> everything
//!           └─locked─┐
//!  button ───────────┴─> Reset ──cpu_reset──> SoC <──bytes──> Uart <──rxd, txd──> pins
//!                                              └─overflow, panic──> Lights ──leds──> pins
//! ```
//!
//! The whole design has one clock, and on boards the engines' clock gates are wires (`SYSTOLE_UNGATED`): bits and cycles are
//! the same, and every path is between two flip-flops of one clock, so that the timing report covers all of them.
//!
//! While the PLL locks, the clock may be irregular. Only the soft core starts anything, and it is held in reset until
//! 65,536 regular cycles have passed.

mod lights;
mod pll;
mod reset;
mod top;

pub use lights::Lights;
pub use pll::{Pll, PllSettings};
pub use reset::Reset;
pub use top::{BoardOptions, BoardTop};

use crate::array::Pe;
use crate::emit::{EmitError, try_emit_verilog};
use rust_hdl_core::prelude::Block;
use sha2::{Digest, Sha256};

/// Name of the top module.
pub const TOP: &str = "board_top";

/// A board's whole design as one Verilog text, which instantiates `VexRiscv` and primitives of the ECP5. With `VERILATOR`
/// defined the PLL is a wire.
///
/// The device reports the first 32 bits of the SHA-256 of the text that has a zero in that place.
///
/// # Errors
/// What [`try_emit_verilog`] finds wrong with the design.
///
/// # Panics
/// If the machine breaks a rule of [`systole_isa::machine::Machine::invalid`], or the clock does not make the baud rate.
pub fn verilog(options: &BoardOptions) -> Result<String, EmitError> {
    let emit = |design_hash| {
        let mut top = BoardTop::new(options, design_hash);
        top.connect_all();
        try_emit_verilog(&top, TOP)
    };
    let text = emit(0)?;
    let digest = Sha256::digest(text.as_bytes());
    emit(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
}

/// One processing element alone, as module `pe`, with an adder of `adder_latency` cycles: what benches measure.
///
/// # Errors
/// As [`verilog`].
pub fn pe_verilog(adder_latency: u32) -> Result<String, EmitError> {
    let mut pe = Pe::new(adder_latency as usize);
    pe.connect_all();
    try_emit_verilog(&pe, "pe")
}
