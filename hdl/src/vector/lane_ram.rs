//! The small memory behind every queue of the engine and behind the scalar registers.

use rust_hdl_core::prelude::*;

/// Words in a [`LaneRam`], and so vectors in a queue.
pub const QUEUE: usize = 16;

/// Sixteen words of 32 bits: written at the clock, read at once (distributed RAM on an FPGA).
///
/// Text Verilog, because a memory array is the one thing that RustHDL has no kernel for.
#[derive(LogicBlock, Default)]
pub struct LaneRam {
    /// The clock of the write port.
    pub clock: Signal<In, Clock>,
    /// Word to read.
    pub read_address: Signal<In, Bits<4>>,
    /// Its content.
    pub read_data: Signal<Out, Bits<32>>,
    /// Word to write.
    pub write_address: Signal<In, Bits<4>>,
    /// Its new content.
    pub write_data: Signal<In, Bits<32>>,
    /// Writes in this cycle.
    pub write_enable: Signal<In, Bit>,
}

impl Logic for LaneRam {
    fn update(&mut self) {}

    fn connect(&mut self) {
        self.read_data.connect();
    }

    fn hdl(&self) -> Verilog {
        Verilog::Custom(
            "reg [31:0] mem [0:15];
integer k;
initial for (k = 0; k < 16; k = k + 1) mem[k] = 0;
always @(posedge clock) if (write_enable) mem[write_address] <= write_data;
assign read_data = mem[read_address];
"
            .to_string(),
        )
    }
}
