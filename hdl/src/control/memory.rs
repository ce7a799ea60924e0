//! The memory primitives of control and mover: the only text Verilog of both.

use rust_hdl_core::prelude::*;

/// `2^A` words of distributed RAM: one synchronous write port, one asynchronous read port. Starts as zeros.
#[derive(LogicBlock, Default)]
pub struct LutRam<const W: usize, const A: usize> {
    /// Clock of the write port.
    pub clock: Signal<In, Clock>,
    /// Write `write_data` at the next clock edge.
    pub write_enable: Signal<In, Bit>,
    /// Word to write.
    pub write_address: Signal<In, Bits<A>>,
    /// Its new value.
    pub write_data: Signal<In, Bits<W>>,
    /// Word to read.
    pub read_address: Signal<In, Bits<A>>,
    /// Its value, in the same cycle.
    pub read_data: Signal<Out, Bits<W>>,
}

impl<const W: usize, const A: usize> Logic for LutRam<W, A> {
    fn update(&mut self) {}

    fn connect(&mut self) {
        self.read_data.connect();
    }

    fn hdl(&self) -> Verilog {
        let (w, n) = (W - 1, 1usize << A);
        Verilog::Custom(format!(
            "(* ram_style = \"distributed\" *) logic [{w}:0] mem [0:{last}];
initial for (int i = 0; i < {n}; i++) mem[i] = '0;
assign read_data = mem[read_address];
always_ff @(posedge clock) if (write_enable) mem[write_address] <= write_data;",
            last = n - 1
        ))
    }
}

/// Program memory: block RAM of `words` 32-bit words, one write port, one read port with its data in the next cycle. Reading a
/// word in the cycle in which it is written gives nothing defined; addresses beyond the end are not written and read as
/// nothing defined.
#[derive(LogicBlock, Default)]
pub struct ProgramRam {
    /// Clock of both ports.
    pub clock: Signal<In, Clock>,
    /// Write `write_data` at the next clock edge.
    pub write_enable: Signal<In, Bit>,
    /// Word to write.
    pub write_address: Signal<In, Bits<16>>,
    /// Its new value.
    pub write_data: Signal<In, Bits<32>>,
    /// Word to read.
    pub read_address: Signal<In, Bits<16>>,
    /// The word whose address stood at `read_address` one cycle before.
    pub read_data: Signal<Out, Bits<32>>,
    _words: usize,
}

impl ProgramRam {
    /// A memory of `words` words, 2 to 65536.
    pub fn new(words: usize) -> Self {
        assert!((2..=1 << 16).contains(&words), "program memory of {words} words");
        ProgramRam { _words: words, ..Default::default() }
    }
}

impl Logic for ProgramRam {
    fn update(&mut self) {}

    fn connect(&mut self) {
        self.read_data.connect();
    }

    fn hdl(&self) -> Verilog {
        let last = self._words - 1;
        let top = (usize::BITS - last.leading_zeros()) - 1;
        Verilog::Custom(format!(
            "(* no_rw_check *) logic [31:0] mem [0:{last}];
always_ff @(posedge clock) begin
  if (write_enable) mem[write_address[{top}:0]] <= write_data;
  read_data <= mem[read_address[{top}:0]];
end"
        ))
    }
}
