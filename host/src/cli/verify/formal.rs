//! `systole verify formal`: the hardware's units, proved by SymbiYosys and an SMT solver.

use clap::{Args, ValueEnum};
use serde::Serialize;
use systole_hdl::formal::{PROOFS, Proof};
use systole_verilator::Options;
use systole_verilator::formal::Solver;

use super::table::TableArgs;
use crate::cli::OutputArgs;
use crate::error::{Error, Result};
use crate::formal::{Proved, Task, prove, tools};

/// Prove what the units of the hardware promise, for all inputs
///
/// FIFOs, rings, handshakes, the deframer, the array's arithmetic: each unit's Verilog with a harness of hdl/formal, by induction
/// where docs/verification says so. Exits with 8 where an assertion fails, with its name and the path of a trace, and where a cover
/// is not reached. The tools are fetched once.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  systole verify formal                 all of them
  systole verify formal --list
  systole verify formal deframer psum_add_3 --solver z3")]
pub(in crate::cli) struct FormalArgs {
    /// What to prove [default: everything]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only those that take seconds
    #[arg(long, conflicts_with = "names")]
    quick: bool,
    /// Say what there is, and prove nothing
    #[arg(long)]
    list: bool,
    /// Which solver decides
    #[arg(long, value_enum, default_value_t = Choice::Yices)]
    solver: Choice,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Choice {
    Yices,
    Z3,
}

const COLUMNS: [&str; 9] = ["property", "unit", "mode", "depth", "result", "properties", "seconds", "solver", "design"];

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    unit: &'static str,
    claim: &'static str,
    file: &'static str,
    quick: bool,
}

impl FormalArgs {
    pub(super) fn run(self) -> Result<()> {
        let chosen = self.chosen()?;
        if self.list {
            let listed =
                |p: &&Proof| Listed { name: p.name, unit: p.unit, claim: p.claim, file: p.file, quick: p.quick };
            let list: Vec<Listed> = chosen.iter().map(listed).collect();
            self.output.print(&list, |list| {
                let lines: Vec<String> = list.iter().map(|l| format!("{:<14} {}", l.name, l.claim)).collect();
                lines.join("\n")
            });
            return Ok(());
        }
        let options = Options::workspace();
        let solver = match self.solver {
            Choice::Yices => Solver::Yices,
            Choice::Z3 => Solver::Z3,
        };
        let tools = tools(&options, solver)?;
        let mut done = Vec::new();
        for proof in chosen {
            let command = match solver {
                Solver::Yices => format!("systole verify formal {}", proof.name),
                Solver::Z3 => format!("systole verify formal {} --solver z3", proof.name),
            };
            let proved = prove(&options, &tools, &Task::of(proof)?)?;
            eprintln!("{}", line(&proved));
            let cells = |part: &crate::formal::Part| {
                [
                    proof.name.to_string(),
                    proof.unit.to_string(),
                    part.mode.to_string(),
                    part.depth.to_string(),
                    part.verdict.to_string(),
                    part.properties.len().to_string(),
                    format!("{:.0}", part.seconds),
                    proved.solver.clone(),
                    proved.design.clone(),
                ]
            };
            self.table.add(&COLUMNS, &command, &proved.parts.iter().map(cells).collect::<Vec<_>>())?;
            done.push(proved);
        }
        self.output.print(&done, |done| done.iter().map(line).collect::<Vec<_>>().join("\n"));
        Ok(())
    }

    fn chosen(&self) -> Result<Vec<&'static Proof>> {
        if self.names.is_empty() {
            return Ok(PROOFS.iter().filter(|p| p.quick || !self.quick).collect());
        }
        let named = |name: &String| {
            let names: Vec<&str> = PROOFS.iter().map(|p| p.name).collect();
            Proof::named(name).ok_or_else(|| Error::value("NAME", name, format!("there are {}", names.join(", "))))
        };
        self.names.iter().map(named).collect()
    }
}

fn line(p: &Proved) -> String {
    let part = |part: &crate::formal::Part| {
        let (n, what) = (part.properties.len(), if part.mode == "cover" { "covers" } else { "assertions" });
        format!("{n} {what} {} ({}, {} cycles, {:.0} s)", part.verdict, part.mode, part.depth, part.seconds)
    };
    format!("{:<14} {}", p.name, p.parts.iter().map(part).collect::<Vec<_>>().join("; "))
}
