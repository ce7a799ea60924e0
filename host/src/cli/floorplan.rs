//! `systole board floorplan`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::OutputArgs;
use super::board::{SeedArgs, Stages, WhichArgs};
use crate::board::{Assigned, Floorplan};
use crate::error::Result;
use crate::npy::write_atomically;

/// Choose the sites of block RAMs and multipliers, for `board build` to keep
///
/// Each round places the design (half an hour for a large FPGA without native tools) and gives its block RAMs and multipliers the
/// sites where the wires to their logic are shortest. It begins with the board's floorplan, if it has one. Put the result
/// beside the board.toml as floorplan.toml.
#[derive(Debug, Args)]
pub(super) struct FloorplanArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Rounds
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Begin without the board's floorplan
    #[arg(long)]
    afresh: bool,
    /// Write it here
    #[arg(long, value_name = "FILE.toml")]
    out: PathBuf,
    #[command(flatten)]
    seed: SeedArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Found {
    board: String,
    rounds: Vec<Assigned>,
    floorplan: PathBuf,
}

impl FloorplanArgs {
    pub(super) fn run(self) -> Result<()> {
        let board = self.which.board()?;
        let flow = self.seed.flow(&board)?;
        let mut stages = Stages::new(&self.output);
        let (synthesis, used) = flow.synthesise(&board, &mut stages)?;
        board.holds(&used)?;
        let mut plan = if self.afresh { Floorplan::default() } else { board.floorplan.clone() };
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            let (better, assigned) = flow.floorplan(&board, &synthesis, &plan, &mut stages)?;
            stages.say(&said(&assigned));
            plan = better;
            rounds.push(assigned);
            // what a round found is worth keeping even if the next one is stopped
            let text = format!(
                "# Sites of block RAMs and multipliers. `systole board floorplan {}` goes on from here.\n{}",
                board.name,
                plan.to_toml()
            );
            write_atomically(&self.out, text.as_bytes())?;
        }
        drop(stages);
        let found = Found { board: board.name, rounds, floorplan: self.out };
        self.output.print(&found, |f| format!("{}: sites in {}", f.board, f.floorplan.display()));
        Ok(())
    }
}

fn said(a: &Assigned) -> String {
    let gain = 100.0 * (a.before - a.after) as f64 / a.before.max(1) as f64;
    format!("{} cells, wires of {} tiles instead of {} ({gain:.0} % shorter)", a.cells, a.after, a.before)
}
