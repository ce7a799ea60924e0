//! Four weights in distributed RAM: written at a clock edge, read at once.

use rust_hdl_core::prelude::*;

/// A 4 × 20 bit memory with one write port and one asynchronous read port. Text Verilog: synthesis recognises it.
#[derive(LogicBlock, Default)]
pub struct WeightStore {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Write.
    pub write: Signal<In, Bit>,
    /// Entry to write.
    pub slot: Signal<In, Bits<2>>,
    /// Operand form to write.
    pub data: Signal<In, Bits<20>>,
    /// Entry to read.
    pub tag: Signal<In, Bits<2>>,
    /// The entry read.
    pub weight: Signal<Out, Bits<20>>,
    _cells: [Bits<20>; 4],
}

impl Logic for WeightStore {
    fn update(&mut self) {
        if self.clock.pos_edge() && self.write.val() {
            self._cells[self.slot.val().index()] = self.data.val();
        }
        self.weight.next = self._cells[self.tag.val().index()];
    }

    fn connect(&mut self) {
        self.weight.connect();
    }

    fn hdl(&self) -> Verilog {
        Verilog::Custom(
            "(* ram_style = \"distributed\" *) logic [19:0] cells [0:3];\n\
             always_ff @(posedge clock) if (write) cells[slot] <= data;\n\
             assign weight = cells[tag];"
                .into(),
        )
    }
}
