//! Floating point units.
//!
//! IEEE 754 binary16 and binary32, round to nearest, ties to even. There is one NaN: every unit that makes one writes
//! [`NAN32`] or [`NAN16`], sign clear. All units take a result per cycle.
//!
//! | unit | operation | latency |
//! |---|---|---|
//! | [`Recode`] | FP16 to the array's operand form | combinational |
//! | [`Product`] | exact product of two operand forms | [`PRODUCT_LATENCY`] |
//! | [`PsumAdd`] | the array's adder, on the partial-sum form | L, a parameter |
//! | [`PsumEncode`], [`PsumDecode`] | FP32 to partial-sum form, and back | combinational |
//! | [`Fmul`], [`Fadd`] | complete binary32 product and sum | [`FMUL_LATENCY`], [`FADD_LATENCY`] |
//! | [`ShiftSticky`] | shift to the right, and whether that lost a one | combinational |
//! | [`HalfToSingle`] | FP16 to FP32, scaled by a power of two | combinational |
//! | [`SingleToHalf`] | FP32 to FP16, with a flag for what is not finite | [`TO_HALF_LATENCY`] |

mod cut;
mod fadd;
mod fmul;
mod half_to_single;
mod multiply;
mod product;
mod psum_add;
mod psum_form;
mod recode;
mod shift_sticky;
mod single_to_half;

pub use cut::Cut;
pub use fadd::{FADD_LATENCY, Fadd};
pub use fmul::{FMUL_LATENCY, Fmul};
pub use half_to_single::HalfToSingle;
pub use multiply::Multiply;
pub use product::{PRODUCT_LATENCY, Product};
pub use psum_add::{PSUM_LATENCIES, PsumAdd};
pub use psum_form::{PsumDecode, PsumEncode};
pub use recode::Recode;
pub use shift_sticky::ShiftSticky;
pub use single_to_half::{SingleToHalf, TO_HALF_LATENCY};

/// The one FP32 NaN.
pub const NAN32: u32 = 0x7fc0_0000;
/// The one FP16 NaN.
pub const NAN16: u16 = 0x7e00;
