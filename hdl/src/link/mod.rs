//! The link engine: bytes to frames and back, so that the soft core sees headers only and a damaged frame reaches no memory.
//!
//! ```text
//!  rx byte ──> Deframer (COBS, CRC-32) ──words──> RX ring ──┬─> bus (headers)
//!                     └── commit: RX_HEAD                   └─> mover (bulk)
//!  tx byte <── Framer (CRC-32, COBS) <──words── TX ring <──┬── bus (headers)
//!                     └── done: TX_TAIL                     └── mover (bulk)
//! ```
//!
//! Frame format and ring layout are `systole_isa::frame`'s. This room may use `memory`'s block RAM and nothing else of `hdl`.

mod crc;
mod deframer;
mod framer;
mod rings;

pub use crc::Crc32;
pub use deframer::Deframer;
pub use framer::Framer;
pub use rings::{Link, WordMemory};
