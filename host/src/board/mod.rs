//! FPGA boards: their descriptions, and the way from a description to a bitstream and into the FPGA.
//!
//! ```text
//!  board.toml ─> Board ─┬─> hdl::board::verilog ─> yosys ─> carry ─> nextpnr ─> ecpbram (firmware) ─> ecppack ─> .bit ─> programmer
//!                       └─> constraints (.lpf), floorplan.toml ──────^
//! ```
//!
//! Routing does not see the firmware: the design is placed and routed with a random image in the firmware RAM, which is
//! then replaced, so that new firmware costs seconds.

pub mod bench;
mod build;
mod carry;
mod description;
mod flash;
mod floorplan;
pub mod netlist;
mod report;
mod small_ram;

pub use build::{Built, Flow, Progress, Stage};
pub use description::{Board, Fpga, Pin, Pins, Programmer, Usb};
pub use flash::{Plan, Probe, flash};
pub use floorplan::{Assigned, Floorplan};
pub use report::{Capacity, Summary, Utilisation};
