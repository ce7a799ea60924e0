//! Verilog in, a clocked model out, with nothing to install by hand but a C++ compiler and Python.
//!
//! ```no_run
//! use systole_verilator::{ModelSpec, Module, Options, Verilator};
//!
//! # fn main() -> systole_verilator::Result<()> {
//! let options = Options::workspace();
//! let spec = ModelSpec::new("counter", "module counter(input clock, output reg [7:0] n); … endmodule").clock("clock");
//! let library = Verilator::provision(&options)?.build(&spec)?; // cached by content
//! let mut counter = Module::load(&library)?;
//! let n = counter.find("n")?;
//! counter.tick_many(3);
//! assert_eq!(counter.get(n), 3);
//! # Ok(()) }
//! ```
//!
//! # Parts
//!
//! * [`provision`](Verilator::provision): finds Verilator 5.020 or later, or fetches a pinned, hash-checked one below
//!   `<root>/target/systole/tools/`; [`vexriscv_verilog`] does the same for the soft core.
//! * [`Verilator::build`]: Verilog to a shared object below `<root>/target/systole/rtl/<sha256>/`. Two processes that want
//!   the same model build it once.
//! * [`fpga`]: yosys, nextpnr and friends for ECP5 boards, found on `PATH` or fetched likewise.
//! * [`formal`]: SymbiYosys and an SMT solver, fetched likewise.
//! * [`Module`]: a loaded model: ports, clock, plusargs, traces, and [`Module::run_vectors`], a loop in C++ for tests
//!   that push millions of vectors through a small unit.
//! * [`firmware`]: cross-compiles the RISC-V program, and turns its ELF into words for `$readmemh`.
//!
//! # Clock convention
//!
//! A tick is: clock low, settle, clock high, settle. Inputs set before a tick are sampled by its rising edge; outputs read
//! after it are those that follow the edge. After setting inputs alone, call [`Module::eval`] to see combinational outputs.
//!
//! # Environment
//!
//! | variable | effect |
//! |---|---|
//! | `SYSTOLE_VERILATOR_ROOT` | use this Verilator (the folder with `bin/verilator_bin` and `include/`), whatever its version |
//! | `SYSTOLE_FIRMWARE_TOOLCHAIN` | `target`, `rustup` or `debian`: use this way of building firmware and no other |
//! | `SYSTOLE_FPGA_TOOLS` | `pinned`: fetch the FPGA tools even if `PATH` has some |
//! | `SYSTOLE_ROOT` | the folder whose `target/` [`Options::workspace`] uses |
//! | `SYSTOLE_COVERAGE` | a folder: whole designs count lines and toggles, and leave the counts there ([`Options::coverage`]) |
//! | `CXX` | the C++ compiler, `g++` otherwise |

mod compile;
pub mod coverage;
mod debian;
mod error;
mod ffi;
pub mod firmware;
mod follow;
pub mod formal;
pub mod fpga;
mod lint;
mod module;
mod options;
mod ports;
mod process;
mod share;
mod shim;
mod spec;
mod store;
mod time;
mod tools;
mod verilator;
mod wheel;

pub use error::{Error, Result};
pub use lint::{Message, Severity};
pub use module::Module;
pub use options::Options;
pub use ports::{Direction, Port, PortInfo};
pub use spec::{ModelSpec, Optimise};
pub use store::{ensure as ensure_folder, hex};
pub use tools::vexriscv_verilog;
pub use verilator::Verilator;
