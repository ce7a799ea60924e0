//! The matrix engine: `Out = epilogue(init + X · W)`, weight-stationary, on N × N processing elements.
//!
//! ```text
//!            ┌────────┐  go   ┌────────┐ m_w        w_we, w_slot, w_data
//!  12 words ─> Issue  ├──────>│ Loader ├─────────────────────────┐
//!            │ waits, │       └───┬────┘ opened                  v
//!            │ traps  │           v  ^ closed            ┌───────────────┐
//!            └────────┤       ┌──────┴───┐ act, skewed   │ SystolicArray │
//!                     └──────>│ Streamer ├──────────────>│               │
//!                             └──┬────┬──┘ m_x           └──^─────────┬──┘
//!                     where the  │    │ token       psum_in │         │ psum_out
//!                     result goes│    └──────────────> ┌────┴─────────v───┐
//!                                v                     │     Columns      │ accumulators, biases, de-skew
//!                            DelayRam                  └────────┬─────────┘
//!                                └──────────> Epilogue <────────┘ ──> m_out, mask memory, flags, done
//! ```
//!
//! Loader and streamer walk the same loops, n-group, m-block, k tile, n tile, the loader up to four tiles ahead and across the
//! end of an instruction. Once granted, a row runs through at a fixed delay: nothing behind the streamer stalls.

mod columns;
mod engine;
mod epilogue;
mod issue;
mod loader;
mod streamer;

pub use columns::{Columns, TokenRow, Widen};
pub use engine::MatrixEngine;
pub use epilogue::Epilogue;
pub use issue::Issue;
pub use loader::{Loader, timer_start};
pub use streamer::{Pack, Streamer, period};
