//! The operand memories: four planes of banked block RAM behind prioritised ports.
//!
//! ```text
//!  read clients                                       plane h0 (FP16)
//!   m_w ─┐    ┌───────┐ address, q    ┌─────────────┐  ┌───────────────┐
//!   m_x ─┤    │arbiter│──────────────>│ AddressUnit │─>│ N banks, 1R1W │──┐
//!   v_x ─┼───>│ per   │   (register)  │ row per bank│  └───────────────┘  │ LaneReturn
//!   …    ─┤    │ plane │               └─────────────┘   (register)        v (rotate back)
//!  mv_r ─┘    └───┬───┘ gnt            planes h1, s0, s1: the same     rdata, muxed per client
//!                 └── same cycle          cycle 1          cycle 2          in cycle 2
//!  write clients m_out, v_d, v_c, mv_w: the same front end, data rotated towards the banks in cycle 1
//! ```
//!
//! Element x of a plane lies in bank `x mod N`. A request names the address of lane 0 and `q`, with an inner stride of
//! `1 + q·N`: then lane i always falls into bank `(address + i) mod N`, so no two lanes collide, and its row is
//! `(address + i) / N + i·q`.
//!
//! Shown is a latency of two cycles. A machine may have three or four ([`systole_isa::machine::Machine::memory_latency`]): the
//! plane then ends the address path, and with four also the way back, in a register of its own. Order is the same, since reads
//! and writes pass the first together.
//!
//! A read granted in a later cycle than a write sees what was written; a read granted in the same cycle as a write to
//! the same element is a race of the program (it sees the old value in simulation, on an FPGA it is undefined).

mod address;
mod bank;
mod plane;
mod rotate;
mod search;
mod system;

pub use address::AddressUnit;
pub use bank::Bank;
pub use plane::Plane;
pub use rotate::{RotateDown, RotateUp};
pub use search::RangeSearch;
pub use system::{MemorySystem, read, write};

/// Width of `count`: enough for sixteen lanes.
pub const COUNT_BITS: usize = 5;

pub(crate) fn many<T: Default>(n: usize) -> Vec<T> {
    (0..n).map(|_| T::default()).collect()
}
