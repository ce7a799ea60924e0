//! The memory primitive: one read port, one write port, one clock.

use rust_hdl_core::prelude::*;

/// A simple dual-port RAM of `depth` words of `width` bits, read in one cycle (the old word, if it is written in the same
/// cycle). Ports are wide enough for any instance; bits above `depth` and `width` are ignored and read as zero.
///
/// Text Verilog, because a memory array is the one thing that RustHDL has no kernel for.
#[derive(LogicBlock)]
pub struct Bank {
    /// The clock of both ports.
    pub clock: Signal<In, Clock>,
    /// Word to read; its content appears in the next cycle.
    pub read_address: Signal<In, Bits<20>>,
    /// The word addressed one cycle ago.
    pub read_data: Signal<Out, Bits<32>>,
    /// Word to write.
    pub write_address: Signal<In, Bits<20>>,
    /// Its new content.
    pub write_data: Signal<In, Bits<32>>,
    /// Writes in this cycle.
    pub write_enable: Signal<In, Bit>,
    _depth: usize,
    _width: usize,
}

impl Bank {
    /// A bank of `depth` words of `width` bits (1..=32), all zero at first.
    pub fn new(depth: usize, width: usize) -> Bank {
        assert!(depth >= 1 && (1..=32).contains(&width));
        Bank {
            clock: Default::default(),
            read_address: Default::default(),
            read_data: Default::default(),
            write_address: Default::default(),
            write_data: Default::default(),
            write_enable: Default::default(),
            _depth: depth,
            _width: width,
        }
    }
}

impl Logic for Bank {
    fn update(&mut self) {}

    fn connect(&mut self) {
        self.read_data.connect();
    }

    fn hdl(&self) -> Verilog {
        let (depth, width) = (self._depth, self._width);
        let top = (usize::BITS - (depth - 1).leading_zeros()).max(1) - 1;
        let data = match 32 - width {
            0 => "word".to_string(),
            spare => format!("{{{spare}'d0, word}}"),
        };
        Verilog::Custom(format!(
            "(* no_rw_check *) reg [{w}:0] mem [0:{last}];
reg [{w}:0] word;
integer k;
initial begin
  word = 0;
  for (k = 0; k < {depth}; k = k + 1) mem[k] = 0;
end
always @(posedge clock) begin
  word <= mem[read_address[{top}:0]];
  if (write_enable) mem[write_address[{top}:0]] <= write_data[{w}:0];
end
assign read_data = {data};
",
            w = width - 1,
            last = depth - 1,
        ))
    }
}
