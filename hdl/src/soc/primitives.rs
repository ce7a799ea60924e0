//! Text Verilog that RustHDL cannot say: a true dual-port memory with its content, and a clock gate.

use rust_hdl_core::prelude::*;

/// The soft core's RAM: a port for instructions, a port for data with byte enables. Its content is the firmware: in
/// Verilator the file named by `+firmware=`, in synthesis `firmware.hex`, one word a line.
#[derive(LogicBlock, Default)]
pub struct FirmwareRam {
    /// Clock of both ports.
    pub clock: Signal<In, Clock>,
    /// Instruction port: word address; the word is there in the next cycle.
    pub i_address: Signal<In, Bits<30>>,
    /// Instruction port: word.
    pub i_data: Signal<Out, Bits<32>>,
    /// Data port: access in this cycle.
    pub d_enable: Signal<In, Bit>,
    /// Data port: word address.
    pub d_address: Signal<In, Bits<30>>,
    /// Data port: bytes to write; none: read.
    pub d_write: Signal<In, Bits<4>>,
    /// Data port: word to write.
    pub d_wdata: Signal<In, Bits<32>>,
    /// Data port: word read, in the next cycle.
    pub d_rdata: Signal<Out, Bits<32>>,
    _bytes: usize,
}

impl FirmwareRam {
    /// A RAM of `bytes`, a power of two.
    pub fn new(bytes: u32) -> Self {
        FirmwareRam { _bytes: bytes as usize, ..Default::default() }
    }
}

impl Logic for FirmwareRam {
    fn update(&mut self) {}

    fn connect(&mut self) {
        self.i_data.connect();
        self.d_rdata.connect();
    }

    fn hdl(&self) -> Verilog {
        let high = self._bytes.next_power_of_two().ilog2() - 3;
        let last = self._bytes / 4 - 1;
        Verilog::Custom(format!(
            "(* no_rw_check *) logic [31:0] mem[0:{last}];
`ifdef VERILATOR
  string image;
  initial if ($value$plusargs(\"firmware=%s\", image) != 0) $readmemh(image, mem);
`else
  initial $readmemh(\"firmware.hex\", mem);
`endif
always_ff @(posedge clock) i_data <= mem[i_address[{high}:0]];
always_ff @(posedge clock) if (d_enable) begin
  if (d_write[0]) mem[d_address[{high}:0]][7:0] <= d_wdata[7:0];
  if (d_write[1]) mem[d_address[{high}:0]][15:8] <= d_wdata[15:8];
  if (d_write[2]) mem[d_address[{high}:0]][23:16] <= d_wdata[23:16];
  if (d_write[3]) mem[d_address[{high}:0]][31:24] <= d_wdata[31:24];
  if (d_write == 4'd0) d_rdata <= mem[d_address[{high}:0]];
end
"
        ))
    }
}

/// A clock that runs only where `enable` was high before the edge: an engine without work costs neither simulation time nor
/// power. The latch keeps `enable` from cutting a pulse short. With `SYSTOLE_UNGATED` defined the clock always runs: bits and
/// cycles are the same, which a test checks.
#[derive(LogicBlock, Default)]
pub struct ClockGate {
    /// Free-running clock.
    pub clock: Signal<In, Clock>,
    /// Let the next edge through.
    pub enable: Signal<In, Bit>,
    /// Gated clock.
    pub gated: Signal<Out, Clock>,
}

impl Logic for ClockGate {
    fn update(&mut self) {}

    fn connect(&mut self) {
        self.gated.connect();
    }

    fn hdl(&self) -> Verilog {
        Verilog::Custom(
            "`ifdef SYSTOLE_ECP5
  DCCA gate (.CLKI(clock), .CE(enable), .CLKO(gated));
`elsif SYSTOLE_UNGATED
  logic unused;
  assign unused = enable;
  assign gated = clock;
`else
  logic open;
  always_latch if (!clock) open = enable;
  assign gated = clock & open;
`endif
"
            .into(),
        )
    }
}
