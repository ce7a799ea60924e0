//! `systole verify`: a device against plain IEEE arithmetic, and against the model.
//!
//! | module | what is compared |
//! |---|---|
//! | [`gemm`] | products, with `acc += f32(a)·f32(b)` |
//! | [`functions`] | exp, log and the others as programs, with the model |
//! | [`lockstep`] | a network in training, with the model |
//! | `coverage` | which lines and bits of the hardware the tests have exercised |
//! | `formal` | proofs of the units, see [`crate::formal`] |
//! | `mutation` | units that are broken on purpose, with what their checks expect, see [`systole_checks::mutation`] |
//! | `table` | rows of `docs/verification` |

mod coverage;
mod formal;
pub mod functions;
pub mod gemm;
pub mod lockstep;
mod mutation;
mod table;

use clap::Subcommand;

use crate::error::Result;

pub use functions::{FunctionsCheck, verify_functions};
pub use gemm::{GemmCheck, verify_gemm};
pub use lockstep::{LockstepSummary, verify_lockstep};

/// Check the device, bit for bit
#[derive(Debug, Subcommand)]
pub(super) enum Verify {
    Gemm(gemm::GemmArgs),
    Functions(functions::FunctionsArgs),
    Formal(formal::FormalArgs),
    Mutation(mutation::MutationArgs),
    Lockstep(Box<lockstep::LockstepArgs>),
    Coverage(coverage::CoverageArgs),
}

impl Verify {
    pub(super) fn run(self) -> Result<()> {
        match self {
            Verify::Gemm(a) => a.run(),
            Verify::Functions(a) => a.run(),
            Verify::Formal(a) => a.run(),
            Verify::Mutation(a) => a.run(),
            Verify::Lockstep(a) => a.run(),
            Verify::Coverage(a) => a.run(),
        }
    }
}
