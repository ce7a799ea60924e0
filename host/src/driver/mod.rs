//! The link to a device, from bytes up to training sessions.
//!
//! | module | what it does |
//! |---|---|
//! | [`framing`] | COBS and CRC: contents to wire bytes and back |
//! | [`link`] | numbered requests, window, retransmission, deadlines |
//! | [`requests`] | every request of the protocol as a method |
//! | [`rate`] | the rate of a serial line: asking for a faster one, and falling back |
//! | [`faults`] | a bad line as a layer, for tests and demonstrations |
//! | [`serial`] | a serial port as a [`systole_sim::port::Port`] |
//! | [`tcp`] | a TCP connection as one |
//! | [`serve`] | the other end: a simulated device behind a pseudo-terminal or a TCP port |
//! | [`device`] | opens a device by its name |
//! | [`log`] | decodes the firmware's log |
//! | [`rtl`] | the simulated hardware: set-up and opening |
//! | [`product`] | one matrix product on a device |
//! | [`session`] | a compiled program on a device: upload, train, evaluate, read back |
//! | [`lockstep`] | two devices side by side in training, their memories compared, and the search for what makes them differ |
//! | [`explain`] | error codes in words |

pub mod device;
pub mod explain;
pub mod faults;
pub mod framing;
pub mod link;
pub mod lockstep;
pub mod log;
pub mod product;
pub mod rate;
pub mod requests;
pub mod rtl;
pub mod serial;
pub mod serve;
pub mod session;
pub mod tcp;
pub mod trace;

pub use device::Device;
pub use link::{Link, Timeouts};
