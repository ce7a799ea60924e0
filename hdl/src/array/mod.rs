//! The systolic array: weight-stationary, partial sums flowing down, activations to the right.
//!
//! ```text
//!               psum_in[0]     psum_in[1]   …
//!                   │              │
//!                encode         encode
//!                   ▼              ▼
//!  act[0] ─recode─> PE ──────────> PE ───> …      one column per cycle
//!                   │ L            │ L
//!                   ▼              ▼
//!  act[1] ─recode─> PE ──────────> PE ───> …      one row per L cycles
//!                   │              │
//!                decode         decode
//!                   ▼              ▼
//!               psum_out[0]    psum_out[1]  …
//! ```
//!
//! With `act[0]` of a streamed row presented at cycle `t`: `act[i]` is presented at `t + i·L`, `psum_in[j]` at
//! `t + P_IN + j`, and `psum_out[j]` is there at `t + p_out(n, L) + j`. (*Presented at* a cycle: stable before the clock edge
//! that ends it; *there at* a cycle: readable in it.)
//!
//! L, the latency of the PE's adder, is a parameter: [`crate::float::PSUM_LATENCIES`].
//! Each sum is `psum_in + act·weight`, row by row, every addition rounded once, to nearest even.

mod pe;
mod systolic;
mod weight_store;

pub use pe::Pe;
pub use systolic::SystolicArray;
pub use weight_store::WeightStore;

/// `psum_in[j]` is presented this many cycles (and j) after `act[0]`.
pub const P_IN: usize = crate::float::PRODUCT_LATENCY;

/// A weight written at cycle `t` serves activations presented at `t + W_LAT` or later.
pub const W_LAT: usize = 1;

/// Entries of each PE's weight store.
pub const W_SLOTS: usize = 4;

/// `psum_out[j]` of an `n` × `n` array with an adder latency of `l` is there this many cycles (and j) after `act[0]` is presented.
pub const fn p_out(n: usize, l: usize) -> usize {
    P_IN + 1 + n * l
}

/// A row's weights in a slot may be overwritten this many cycles after the last activation of that row that uses them was
/// presented, or later.
pub const fn w_hold(n: usize) -> usize {
    n
}
