//! Systole's host side: everything that knows what a network is.
//!
//! | module | what it does |
//! |---|---|
//! | [`data`] | data sets: the bundled digits, CSV, IDX; fixed splits, reproducible shuffling |
//! | [`driver`] | the link to a device: frames, retransmission, typed requests, training sessions |
//! | [`run`] | a training run from start to end: epochs, metrics, checkpoints, progress |
//! | [`npy`] | NumPy's array files |
//! | [`error`] | the one error type, with causes, help and exit codes |
//! | [`cli`] | the program `systole` |
#![deny(unsafe_code)]

pub mod cli;
pub mod data;
pub mod driver;
pub mod error;
pub mod npy;
pub mod run;
