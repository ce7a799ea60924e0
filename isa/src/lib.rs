//! The contract between every room of Systole: what a program, a register, a memory and a frame look like.
//!
//! This crate is `no_std`, allocates nothing, and depends on nothing. `hdl` builds the machine to it, `firmware` drives the
//! machine through it, `sim::model` interprets it, and `host` compiles to it. `isa/README.md` tells the same story in prose.
//!
//! | module | what it fixes |
//! |---|---|
//! | [`machine`] | sizes of a machine: lanes, memories, rings |
//! | [`instr`] | matrix, vector and control instructions, and their encoding in 32-bit words |
//! | [`operand`] | element addresses, strides, operands of the vector engine |
//! | [`regs`] | the memory map and the registers that firmware sees |
//! | [`frame`] | what travels over the link: requests, replies, notices |
//! | [`check`] | static range check of a program against a machine |
#![no_std]
#![deny(missing_docs, unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod check;
pub mod frame;
pub mod instr;
pub mod machine;
pub mod operand;
pub mod regs;

/// Version of the instruction set and register map. A host refuses a device that reports another one.
pub const ISA_VERSION: u32 = 1;
/// Version of the link protocol (framing and request kinds).
pub const PROTOCOL_VERSION: u32 = 4;

/// The one FP32 NaN that the machine ever writes (a quiet NaN, sign clear, payload zero).
pub const NAN32: u32 = 0x7fc0_0000;
/// The one FP16 NaN that the machine ever writes.
pub const NAN16: u16 = 0x7e00;

/// Number of sticky non-finite flags.
pub const FLAGS: usize = 4;
/// Number of address registers. Register 0 reads as zero and cannot be written.
pub const AREGS: usize = 16;
/// Number of FP32 scalar registers.
pub const SREGS: usize = 16;
/// Depth of the fetcher's loop stack.
pub const LOOP_DEPTH: usize = 4;
/// Depth of the fetcher's return stack.
pub const CALL_DEPTH: usize = 4;

/// What each sticky flag means by convention; the hardware does not care.
pub mod flag {
    /// A forward activation, logit or loss came out non-finite: no loss scale can cure that.
    pub const FORWARD: usize = 0;
    /// An activation gradient came out non-finite.
    pub const ACTIVATION_GRADIENT: usize = 1;
    /// A weight gradient came out non-finite: skip the update, back off.
    pub const WEIGHT_GRADIENT: usize = 2;
    /// Free for programs.
    pub const FREE: usize = 3;
}

/// What each scalar register means by convention between the host's compiler and the firmware.
pub mod sreg {
    /// Minus the learning rate (in).
    pub const NEG_LR: usize = 0;
    /// Momentum, or Adam's β₁ (in).
    pub const MOMENTUM: usize = 1;
    /// Loss scale divided by the number of valid rows, `S/B`; written by firmware before each step.
    pub const LOSS_SEED: usize = 2;
    /// `1/B`, for the mean of the loss (in).
    pub const INV_BATCH: usize = 3;
    /// First register that an optimizer may use for further inputs (in).
    pub const OPTIMIZER: usize = 4;
    /// Mean loss of the batch (out).
    pub const LOSS: usize = 8;
    /// Number of rows whose prediction was right (out).
    pub const CORRECT: usize = 9;
    /// 2-norm of the unscaled gradients, where an update computes it (out).
    pub const GRAD_NORM: usize = 10;
    /// First of the registers that programs use as temporaries or for further results.
    pub const TEMP: usize = 11;
}
