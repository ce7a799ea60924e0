//! The vector engine: V lanes, each an FP32 multiplier and adder in a chain beside an integer and comparison unit.
//!
//! ```text
//!              +-------+   start   +------------+ req  gnt
//!  iw_* -----> | Issue |---------->| 3 x Reader |<=========> memory (v_x, v_y, v_z)
//!              | 12    |           +-----+------+
//!              | words |   +-------------v-----------+       rdata: queues of 16 vectors per operand (LaneRam)
//!              +---+---+   | Execute: pops a vector  |<----- scalar registers, immediates
//!                  | take  | when all operands are   |
//!                  +------>| there and a slot is free|
//!                  |       +-----+-------------------+
//!                  |             v tags                  V x Lane: operands | fmul | fadd | single_to_half
//!                  |       +-----+-------------------+
//!                  +------>| Writer: one FP32 and    |<----- results: queues of 16 vectors (LaneRam), passed by when empty
//!                          | one FP16 destination    |<========> memory (v_d, v_c)
//!                          +-------------------------+-----> done_count, flags, scalar register
//! ```
//!
//! **Decoupling.** The readers run ahead of the lanes and independently of each other; the lanes never stall, because a
//! vector enters them only if the result queue has a slot for it. Three instructions can be in progress: one being read,
//! one in the lanes, one being written. All three stages keep program order, so writes after reads and after writes are
//! safe; a read after a write needs a wait. A fourth instruction's words may arrive once the lanes have taken the third.
//!
//! **Latency.** From the grant of a vector's last read to the write request of its result: [`WRITE_LATENCY`] cycles into
//! `smem` or a scalar register, [`TO_HALF_LATENCY`](crate::float::TO_HALF_LATENCY) more into `hmem`. A dependent instruction
//! (or the next row of a recurrent one) requests its first read in the cycle after the last write's grant.
//!
//! **Rate.** One vector a cycle where ports allow; one cycle is lost between instructions.
//!
//! **Same row, same element.** An element's sources are read before it is written. A broadcast (`inner` 0) of an element
//! which the same instruction overwrites in the same row is not ordered against that write beyond its first V columns.

mod alu;
mod engine;
mod execute;
mod issue;
mod lane;
mod lane_ram;
mod reader;
mod walk;
mod writer;

pub use alu::Alu;
pub use engine::{VectorEngine, read, write};
pub use execute::Execute;
pub use issue::Issue;
pub use lane::{LANE_LATENCY, Lane, Operand};
pub use lane_ram::{LaneRam, QUEUE};
pub use reader::Reader;
pub use walk::Walk;
pub use writer::Writer;

/// Cycles from the grant of a vector's last read to the write request of its FP32 result, if nothing is in the way: two in the
/// memory, one through the operand queue, one for the operand registers, the lanes.
pub const WRITE_LATENCY: usize = 4 + LANE_LATENCY;

pub(crate) fn many<T: Default>(n: usize) -> Vec<T> {
    (0..n).map(|_| T::default()).collect()
}
