//! Survivors against the design as it stands: does the mutated module ever answer differently?
//!
//! Both are put side by side with the same inputs and SymbiYosys is asked, first with every register's value compared too, which is
//! inductive in one step where a change only touches what is redundant; then with outputs alone.

use super::netlist::{Workshop, write};
use super::{Context, Fate, Mutant, Result};
use std::time::Duration;

/// One way to ask.
struct Way {
    name: &'static str,
    /// Registers are compared like outputs.
    registers: bool,
    mode: &'static str,
    depth: u32,
}

const STATE: Way = Way { name: "state", registers: true, mode: "prove", depth: 2 };
const OUTPUTS: Way = Way { name: "outputs", registers: false, mode: "prove", depth: 12 };
const BOUNDED: Way = Way { name: "bounded", registers: false, mode: "bmc", depth: 24 };

/// What it has beside the solver's time, for reading and flattening.
const READING: Duration = Duration::from_secs(600);

/// Asks SymbiYosys.
pub(super) struct Prover<'a> {
    pub workshop: &'a Workshop<'a>,
    /// What to compare instead where a module alone can answer differently.
    pub contexts: &'static [Context<'static>],
    /// For each question.
    pub limit: Duration,
}

impl Prover<'_> {
    /// Whether a mutant that no check noticed is one that none can notice.
    pub fn decide(&self, mutant: &Mutant) -> Result<Fate> {
        let alone = Context { top: &mutant.module, text: "", file: "", of: &[] };
        let around = |c: &&Context| c.of.contains(&mutant.module.as_str());
        let scopes: Vec<Context> =
            std::iter::once(&alone).chain(self.contexts.iter().filter(around)).copied().collect();
        // the cheapest question first, everywhere
        for scope in &scopes {
            if self.ask(mutant, &STATE, *scope)? == "PASS" {
                let proof =
                    format!("outputs and registers of {} equal, induction of depth {}", scope.words(), STATE.depth);
                return Ok(Fate::Equivalent { proof });
            }
        }
        let mut reason = String::new();
        for scope in &scopes {
            for way in [&OUTPUTS, &BOUNDED] {
                match self.ask(mutant, way, *scope)?.as_str() {
                    "PASS" if way.mode == "prove" => {
                        let proof = format!("outputs of {} equal, induction of depth {}", scope.words(), way.depth);
                        return Ok(Fate::Equivalent { proof });
                    }
                    "PASS" => {
                        let proof = format!("outputs of {} equal in the first {} cycles", scope.words(), way.depth);
                        return Ok(Fate::Bounded { proof });
                    }
                    // by inputs that its surroundings may never give it
                    "FAIL" => {
                        reason = format!("{} can answer differently", scope.words());
                        break;
                    }
                    verdict => reason = format!("the solver says {verdict} of {}", scope.words()),
                }
            }
        }
        Ok(Fate::Survived { reason })
    }

    fn ask(&self, mutant: &Mutant, way: &Way, scope: Context) -> Result<String> {
        let name = format!("equivalent_{}_{}_{}", mutant.number, scope.top, way.name);
        let job = format!("{name}.sby");
        write(&self.workshop.folder.join(&job), &self.script(mutant, way, scope, &name))?;
        write(&self.workshop.folder.join(format!("{name}.sv")), scope.text)?;
        let mut verdict = String::from("nothing");
        let log = self.workshop.folder.join(format!("{name}.log"));
        let mut hear = |line: &str| {
            if let Some((_, state)) = line.split_once("DONE (") {
                verdict = state.split(',').next().unwrap_or_default().to_string();
            }
        };
        if let Err(e) = self.workshop.tools.sby(&job, &self.workshop.folder, &log, self.limit + READING, &mut hear) {
            // this SymbiYosys trips over its own limit while it still reads
            if !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("Reached TIMEOUT")) {
                return Err(e.into());
            }
            verdict = "TIMEOUT".into();
        }
        if verdict == "ERROR" {
            return Err(self.workshop.wrong(format!("SymbiYosys fails, log {}", log.display())));
        }
        Ok(verdict)
    }

    fn script(&self, mutant: &Mutant, way: &Way, scope: Context, name: &str) -> String {
        let around = if scope.text.is_empty() { String::new() } else { format!("read_verilog -sv {name}.sv\n") };
        // memories and registers without an initial value start as zero, as in the simulator
        let top = scope.top;
        let expose = if way.registers { "expose -dff\n" } else { "" };
        let side = |change: &str, side: &str| {
            format!(
                "{change}{around}hierarchy -top {top}\nproc\nflatten\nmemory_map\nsetundef -init -zero\nopt_clean\n{expose}\
                 rename {top} {side}\ndesign -stash {side}\n"
            )
        };
        format!(
            "[options]\nmode {}\ndepth {}\ntimeout {}\n\n[engines]\nsmtbmc yices\n\n[script]\n\
             {}design -save start\n{}design -load start\n{}\
             design -copy-from gold -as gold gold\ndesign -copy-from gate -as gate gate\n\
             miter -equiv -make_assert -flatten gold gate miter\nhierarchy -top miter\nprep -top miter\n\n[files]\ndesign.v\n{name}.sv\n",
            way.mode,
            way.depth,
            self.limit.as_secs(),
            // read once: the names of cells are counted over all that is read
            self.workshop.read(),
            side("", "gold"),
            side(&format!("mutate {}\n", mutant.arguments), "gate"),
        )
    }
}
