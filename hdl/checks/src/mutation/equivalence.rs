//! Survivors against the design as it stands: does the mutated module ever answer differently?
//!
//! Both are put side by side with the same inputs and SymbiYosys is asked, first with every register's value compared too, which is
//! inductive in one step where a change only touches what is redundant; then with outputs alone.

use super::netlist::{Workshop, write};
use super::{Error, Fate, Mutant, Result};
use std::time::Duration;

/// One way to ask.
struct Way {
    name: &'static str,
    /// Registers are compared like outputs.
    registers: bool,
    mode: &'static str,
    depth: u32,
}

const WAYS: [Way; 3] = [
    Way { name: "state", registers: true, mode: "prove", depth: 2 },
    Way { name: "outputs", registers: false, mode: "prove", depth: 12 },
    Way { name: "bounded", registers: false, mode: "bmc", depth: 24 },
];

const LIMIT: Duration = Duration::from_secs(300);

/// Asks SymbiYosys.
pub(super) struct Prover<'a> {
    pub workshop: &'a Workshop<'a>,
}

impl Prover<'_> {
    /// Whether a mutant that no check noticed is one that none can notice.
    pub fn decide(&self, mutant: &Mutant) -> Result<Fate> {
        let mut known = String::new();
        for way in &WAYS {
            match self.ask(mutant, way)?.as_str() {
                "PASS" if way.mode == "prove" => {
                    let what = if way.registers { "outputs and registers" } else { "outputs" };
                    let proof = format!("{what} of {} equal, induction of depth {}", mutant.module, way.depth);
                    return Ok(Fate::Equivalent { proof });
                }
                "PASS" => known = format!("no input of {} tells within {} cycles", mutant.module, way.depth),
                "FAIL" if !way.registers => {
                    known = format!("{} can answer differently", mutant.module);
                    break;
                }
                verdict => known = format!("the solver says {verdict}"),
            }
        }
        Ok(Fate::Survived { reason: known })
    }

    fn ask(&self, mutant: &Mutant, way: &Way) -> Result<String> {
        let name = format!("equivalent_{}_{}", mutant.number, way.name);
        let job = format!("{name}.sby");
        write(&self.workshop.folder.join(&job), &self.script(mutant, way))?;
        let mut verdict = String::from("nothing");
        let log = self.workshop.folder.join(format!("{name}.log"));
        let mut hear = |line: &str| {
            if let Some((_, state)) = line.split_once("DONE (") {
                verdict = state.split(',').next().unwrap_or_default().to_string();
            }
        };
        self.workshop.tools.sby(&job, &self.workshop.folder, &log, 2 * LIMIT, &mut hear)?;
        if verdict == "ERROR" {
            let reason = format!("SymbiYosys fails, log {}", log.display());
            return Err(Error::Harness { unit: self.workshop.unit, reason });
        }
        Ok(verdict)
    }

    fn script(&self, mutant: &Mutant, way: &Way) -> String {
        let module = &mutant.module;
        let expose = if way.registers { "expose -dff\n" } else { "" };
        let side = |change: &str, name: &str| {
            format!(
                "{change}hierarchy -top {module}\nflatten\nmemory_map\nopt_clean\n{expose}rename {module} {name}\n\
                 design -stash {name}\n"
            )
        };
        format!(
            "[options]\nmode {}\ndepth {}\ntimeout {}\n\n[engines]\nsmtbmc yices\n\n[script]\n\
             {}design -save start\n{}design -load start\n{}\
             design -copy-from gold -as gold gold\ndesign -copy-from gate -as gate gate\n\
             miter -equiv -make_assert -flatten gold gate miter\nhierarchy -top miter\nprep -top miter\n\n[files]\ndesign.v\n",
            way.mode,
            way.depth,
            LIMIT.as_secs(),
            // read once: the names of cells are counted over all that is read
            self.workshop.read(),
            side("", "gold"),
            side(&format!("mutate {}\n", mutant.arguments), "gate"),
        )
    }
}
