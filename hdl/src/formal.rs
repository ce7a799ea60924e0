//! What is proved of the units: for each the Verilog, a harness of `hdl/formal` with assumptions, assertions and covers, and how far
//! the proof goes. `systole verify formal` proves them.
//!
//! A harness drives one unit with anything at all, or with what its `assume`s leave, and looks at it from outside and, by names such
//! as `unit.memory.mem`, from inside. Registers without an initial value are the solver's choice; one that keeps its value is a
//! constant that stands for every value, so that what holds for one marked byte holds for all of them.

use crate::emit::{EmitError, try_emit_verilog};
use crate::float::PsumAdd;
use crate::uart::ByteFifo;
use rust_hdl_core::prelude::*;

/// How far a proof goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By induction over so many cycles: for all times.
    Induction,
    /// So many cycles from the start, and no further.
    Bounded,
}

/// A unit and what is proved of it.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Its name on the command line.
    pub name: &'static str,
    /// The module that is proved, as the harness instantiates it.
    pub unit: &'static str,
    /// What is proved, in words.
    pub claim: &'static str,
    /// The harness: `hdl/formal/<file>`; its top is the file's stem and `_formal`.
    pub file: &'static str,
    /// Its text.
    pub harness: &'static str,
    /// Its parameters.
    pub parameters: &'static [(&'static str, usize)],
    /// How far.
    pub mode: Mode,
    /// Cycles of it.
    pub depth: u32,
    /// Cycles within which every cover is reached.
    pub cover_depth: u32,
    /// Done in seconds: part of the test suite.
    pub quick: bool,
    emit: fn(&'static str) -> Result<String, EmitError>,
}

impl Proof {
    /// The unit's Verilog.
    ///
    /// # Errors
    /// What [`try_emit_verilog`] finds wrong with it.
    pub fn verilog(&self) -> Result<String, EmitError> {
        (self.emit)(self.unit)
    }

    /// The harness' top module.
    pub fn top(&self) -> String {
        format!("{}_formal", self.file.trim_end_matches(".sv"))
    }

    /// The proof of a name.
    pub fn named(name: &str) -> Option<&'static Proof> {
        PROOFS.iter().find(|p| p.name == name)
    }
}

fn emit(mut block: impl Block, top: &str) -> Result<String, EmitError> {
    block.connect_all();
    try_emit_verilog(&block, top)
}

macro_rules! harness {
    ($file:literal) => {
        ($file, include_str!(concat!("../formal/", $file)))
    };
}

const fn proof(
    name: &'static str,
    unit: &'static str,
    harness: (&'static str, &'static str),
    claim: &'static str,
    (depth, cover_depth): (u32, u32),
    emit: fn(&'static str) -> Result<String, EmitError>,
) -> Proof {
    let (file, harness) = harness;
    Proof { name, unit, claim, file, harness, parameters: &[], mode: Mode::Induction, depth, cover_depth, quick: true, emit }
}

const ADDER: &str = "sums stay in their form: no subnormal, no overflow, Inf and NaN kept; adding -0 changes no bit";

/// Every proof.
pub const PROOFS: &[Proof] = &[
    proof(
        "byte_fifo",
        "byte_fifo",
        harness!("byte_fifo.sv"),
        "no overflow, no underflow, every byte once and in order",
        (3, 40),
        |top| emit(ByteFifo::default(), top),
    ),
    Proof {
        parameters: &[("L", 2)],
        quick: false,
        ..proof("psum_add_2", "psum_add", harness!("psum_add.sv"), ADDER, (4, 5), |top| emit(PsumAdd::new(2), top))
    },
    Proof {
        parameters: &[("L", 3)],
        ..proof("psum_add_3", "psum_add", harness!("psum_add.sv"), ADDER, (5, 6), |top| emit(PsumAdd::new(3), top))
    },
    Proof {
        parameters: &[("L", 4)],
        quick: false,
        ..proof("psum_add_4", "psum_add", harness!("psum_add.sv"), ADDER, (6, 7), |top| emit(PsumAdd::new(4), top))
    },
];
