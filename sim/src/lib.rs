//! Devices that train without a board: programs, data and bytes go in, the same bits come out as from the hardware.
//!
//! | module | what it holds |
//! |---|---|
//! | [`port`] | what a host sees of any device: a byte stream ([`port::Port`]), and a researcher's view of its memories ([`port::Inspect`]) |
//! | [`model`] | a bit-exact functional machine at native speed |
//! | [`rtl`] | the hardware itself, Verilated |
//! | [`stuffing`] | the byte stuffing of the link's frames |
#![deny(missing_docs)]

pub mod model;
pub mod port;
pub mod rtl;
pub mod stuffing;

pub use model::Model;
pub use port::{Cell, Inspect, Port};
pub use rtl::{Rtl, setup};
