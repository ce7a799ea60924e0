//! Systole's host side: everything that knows what a network is.
//!
//! | module | what it does |
//! |---|---|
//! | [`board`] | FPGA boards: descriptions, bitstreams, programmers |
//! | [`graph`] | networks as graphs, their parameters, their derivatives |
//! | [`compile`] | memory plan, programs, cost model |
//! | [`reference`] | the same graph trained in FP32 or FP64, for baselines and tests |
//! | [`data`] | data sets: the bundled digits, CSV, IDX; fixed splits, reproducible shuffling |
//! | [`driver`] | the link to a device: frames, retransmission, typed requests, training sessions |
//! | [`formal`] | proofs of the hardware's units |
//! | [`run`] | a training run from start to end: epochs, metrics, checkpoints, progress |
//! | [`inspect`] | a checkpoint's exponents, and the loss scales that are safe for it |
//! | [`report`] | a run in pictures |
//! | [`npy`] | NumPy's array files |
//! | [`exponents`] | histograms of exponents |
//! | [`error`] | the one error type, with causes, help and exit codes |
//! | [`cli`] | the program `systole` |
#![deny(unsafe_code)]

pub mod board;
pub mod cli;
pub mod compile;
pub mod data;
pub mod driver;
pub mod error;
pub mod exponents;
pub mod formal;
pub mod graph;
pub mod inspect;
pub mod npy;
pub mod reference;
pub mod report;
pub mod run;
