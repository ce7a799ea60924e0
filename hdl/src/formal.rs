//! What is proved of the units: for each the Verilog, a harness of `hdl/formal` with assumptions, assertions and covers, and how far
//! the proof goes. `systole verify formal` proves them.
//!
//! A harness drives one unit with anything at all, or with what its `assume`s leave, and looks at it from outside and, by names such
//! as `unit.memory.mem`, from inside. Registers without an initial value are the solver's choice; one that keeps its value is a
//! constant that stands for every value, so that what holds for one marked byte holds for all of them.

use crate::array::Pe;
use crate::control::fetcher::Fetcher;
use crate::emit::{EmitError, try_emit_verilog};
use crate::float::{Product, PsumAdd, Recode};
use crate::link::{Deframer, Framer, Link};
use crate::soc::Bus;
use crate::uart::ByteFifo;
use rust_hdl_core::prelude::*;
use systole_isa::machine::Machine;

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
    Proof {
        name,
        unit,
        claim,
        file,
        harness,
        parameters: &[],
        mode: Mode::Induction,
        depth,
        cover_depth,
        quick: true,
        emit,
    }
}

const ADDER: &str = "sums stay in their form: no subnormal, no overflow, Inf and NaN kept; adding -0 changes no bit";

/// Every proof. Depths are those that induction needs, or the length of a pipeline and one.
pub const PROOFS: &[Proof] = &[
    proof(
        "byte_fifo",
        "byte_fifo",
        harness!("byte_fifo.sv"),
        "no overflow, no underflow, every byte once and in order",
        (2, 34),
        |top| emit(ByteFifo::default(), top),
    ),
    proof(
        "rings",
        "link",
        harness!("link.sv"),
        "the bus before the mover, no grant unasked; the word that was written last is the word that is read",
        (2, 9),
        |top| emit(Link::new(&Machine::DEFAULT), top),
    ),
    Proof {
        parameters: &[("RING", Machine::DEFAULT.rx_ring_bytes as usize)],
        quick: false,
        ..proof(
            "deframer",
            "deframer",
            harness!("deframer.sv"),
            "writes only where nothing is held, only whole frames with the right CRC; each frame accepted or counted once",
            (1, 22),
            |top| emit(Deframer::new(Machine::DEFAULT.rx_ring_bytes), top),
        )
    },
    Proof {
        parameters: &[("RING", 16)],
        quick: false,
        ..proof(
            "deframer_small",
            "deframer",
            harness!("deframer.sv"),
            "the same, with a ring that a frame or two fill",
            (1, 24),
            |top| emit(Deframer::new(16), top),
        )
    },
    proof(
        "framer",
        "framer",
        harness!("framer.sv"),
        "no zero inside a frame, blocks of 254 bytes at most, an offered byte stays",
        (2, 17),
        |top| emit(Framer::new(Machine::DEFAULT.tx_ring_bytes), top),
    ),
    proof(
        "bus",
        "bus",
        harness!("bus.sv"),
        "each request answered once, in the next cycle, by the slave of its address",
        (2, 4),
        |top| emit(Bus::default(), top),
    ),
    proof(
        "fetcher",
        "fetcher",
        harness!("fetcher.sv"),
        "segments once and in order, four at most; stacks fit; twelve words to one engine, each the program's",
        (2, 15),
        |top| emit(Fetcher::default(), top),
    ),
    Proof {
        quick: false,
        ..proof(
            "product",
            "product",
            harness!("product.sv"),
            "exact, in the adder's form, for all FP16 pairs; +0 times -0 is -0",
            (4, 5),
            |top| Ok(emit(Product::default(), top)? + &emit(Recode::default(), "recode")?),
        )
    },
    Proof { parameters: &[("L", 2)], quick: false, ..adder("psum_add_2", (3, 4), |top| emit(PsumAdd::new(2), top)) },
    Proof { parameters: &[("L", 3)], ..adder("psum_add_3", (4, 5), |top| emit(PsumAdd::new(3), top)) },
    Proof { parameters: &[("L", 4)], quick: false, ..adder("psum_add_4", (5, 6), |top| emit(PsumAdd::new(4), top)) },
    proof(
        "pe",
        "pe",
        harness!("pe.sv"),
        "a stored -0 and a streamed +0 leave the passing sum as it is, bit for bit, on the whole path",
        (7, 8),
        |top| emit(Pe::new(Machine::DEFAULT.adder_latency as usize), top),
    ),
];

const fn adder(name: &'static str, depths: (u32, u32), emit: fn(&'static str) -> Result<String, EmitError>) -> Proof {
    proof(name, "psum_add", harness!("psum_add.sv"), ADDER, depths, emit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proof_is_whole() {
        let mut names: Vec<&str> = PROOFS.iter().map(|p| p.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PROOFS.len());
        for p in PROOFS {
            let verilog = p.verilog().unwrap_or_else(|e| panic!("{}: {e}", p.name));
            assert!(verilog.contains(&format!("module {} (", p.unit)), "{}", p.name);
            assert!(p.harness.contains(&format!("module {} ", p.top())), "{}", p.file);
            for needed in ["assert (", "cover ("] {
                assert!(p.harness.contains(needed), "{} has no {needed}…)", p.file);
            }
        }
    }
}
