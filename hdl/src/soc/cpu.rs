//! The soft core: VexRiscv, a foreign design, behind two Wishbone ports.
//!
//! The Verilog of the core (variant "std" of the package `pythondata-cpu-vexriscv`) is not part of this repository: set-up
//! fetches it, and simulators and synthesis take it as a source file of its own. Only the module's interface is written here.

use rust_hdl_core::prelude::*;

/// VexRiscv "std": RV32IM, instruction and data caches; addresses with bit 31 set are not cached.
#[derive(LogicBlock, Default)]
pub struct Cpu {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous reset; execution starts at address 0.
    pub reset: Signal<In, Bit>,
    /// Instruction port: a read is wanted (cycle and strobe).
    pub i_request: Signal<Out, Bit>,
    /// Its word address.
    pub i_address: Signal<Out, Bits<30>>,
    /// The burst goes on with the next address.
    pub i_burst: Signal<Out, Bit>,
    /// The word is there.
    pub i_ack: Signal<In, Bit>,
    /// The word.
    pub i_data: Signal<In, Bits<32>>,
    /// Data port: an access is wanted.
    pub d_request: Signal<Out, Bit>,
    /// It is a write.
    pub d_write: Signal<Out, Bit>,
    /// Its word address.
    pub d_address: Signal<Out, Bits<30>>,
    /// Bytes to write.
    pub d_select: Signal<Out, Bits<4>>,
    /// Word to write.
    pub d_wdata: Signal<Out, Bits<32>>,
    /// The access is done.
    pub d_ack: Signal<In, Bit>,
    /// The word read.
    pub d_rdata: Signal<In, Bits<32>>,
}

impl Logic for Cpu {
    fn update(&mut self) {}

    fn connect(&mut self) {
        self.i_request.connect();
        self.i_address.connect();
        self.i_burst.connect();
        self.d_request.connect();
        self.d_write.connect();
        self.d_address.connect();
        self.d_select.connect();
        self.d_wdata.connect();
    }

    fn hdl(&self) -> Verilog {
        // A foreign core: its instantiation is text.
        let code = "\
  logic i_cyc, i_stb, d_cyc, d_stb, i_we;
  logic [31:0] i_wdata;
  logic [3:0] i_select;
  logic [2:0] i_cti, d_cti;
  logic [1:0] i_bte, d_bte;
  assign i_request = i_cyc & i_stb;
  assign i_burst = i_cti == 3'b010;
  assign d_request = d_cyc & d_stb;
  VexRiscv core (
    .clk(clock), .reset(reset), .externalResetVector(32'd0),
    .timerInterrupt(1'b0), .softwareInterrupt(1'b0), .externalInterruptArray(32'd0),
    .iBusWishbone_CYC(i_cyc), .iBusWishbone_STB(i_stb), .iBusWishbone_ACK(i_ack), .iBusWishbone_WE(i_we),
    .iBusWishbone_ADR(i_address), .iBusWishbone_DAT_MISO(i_data), .iBusWishbone_DAT_MOSI(i_wdata), .iBusWishbone_SEL(i_select),
    .iBusWishbone_ERR(1'b0), .iBusWishbone_CTI(i_cti), .iBusWishbone_BTE(i_bte),
    .dBusWishbone_CYC(d_cyc), .dBusWishbone_STB(d_stb), .dBusWishbone_ACK(d_ack), .dBusWishbone_WE(d_write),
    .dBusWishbone_ADR(d_address), .dBusWishbone_DAT_MISO(d_rdata), .dBusWishbone_DAT_MOSI(d_wdata),
    .dBusWishbone_SEL(d_select), .dBusWishbone_ERR(1'b0), .dBusWishbone_CTI(d_cti), .dBusWishbone_BTE(d_bte)
  );";
        Verilog::Wrapper(Wrapper { code: code.into(), cores: String::new() })
    }
}
