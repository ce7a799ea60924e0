//! Survivors against the design as it stands: does the mutated module ever answer differently?
//!
//! Both are put side by side with the same inputs and SymbiYosys is asked: first whether one step from any values of all registers,
//! the same in both, ends in the same values; then with the registers compared from the start on; then with outputs alone.
//! What is alike in both becomes one before the solver sees it, and registers that only ever hold a constant become that.
//! Arrays of memory are cut out: what they are asked and told is compared, and what they answer is the same for both, whatever it is, as it
//! is in memories that begin alike.

use super::netlist::{BANKS, Bank, Workshop, write};
use super::{Context, Fate, Mutant, Result};
use std::time::Duration;

/// One way to ask.
struct Way {
    name: &'static str,
    /// What yosys makes of registers.
    registers: &'static str,
    mode: &'static str,
    depth: u32,
}

/// Registers are inputs and outputs: what is left has no past, so nothing may say where it starts.
const STEP: Way =
    Way { name: "step", registers: "setattr -unset init w:*\nexpose -dff -evert-dff\n", mode: "bmc", depth: 1 };
/// Registers are compared like outputs.
const STATE: Way = Way { name: "state", registers: "expose -dff\n", mode: "prove", depth: 2 };
const OUTPUTS: Way = Way { name: "outputs", registers: "", mode: "prove", depth: 12 };
const BOUNDED: Way = Way { name: "bounded", registers: "", mode: "bmc", depth: 24 };

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
        // the cheapest questions first, everywhere
        let induction = format!("equal, induction of depth {}", STATE.depth);
        for (way, what, how) in [(&STEP, "next state", "equal in every state"), (&STATE, "registers", &induction)] {
            for scope in &scopes {
                if self.ask(mutant, way, *scope)? == "PASS" {
                    let proof = format!("outputs and {what} of {} {how}", scope.words());
                    return Ok(Fate::Equivalent { proof });
                }
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
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            // a mutant of a register's output has no register of that name any more, so that there is nothing to compare
            let unlike = ["No matching port in gold module", "No matching port in gate module"];
            verdict = if text.contains("Reached TIMEOUT") {
                // this SymbiYosys trips over its own limit while it still reads
                "TIMEOUT".into()
            } else if unlike.iter().any(|words| text.contains(words)) {
                "nothing".into()
            } else {
                return Err(e.into());
            };
        }
        if verdict == "ERROR" {
            return Err(self.workshop.wrong(format!("SymbiYosys fails, log {}", log.display())));
        }
        Ok(verdict)
    }

    fn script(&self, mutant: &Mutant, way: &Way, scope: Context, name: &str) -> String {
        let around = if scope.text.is_empty() { String::new() } else { format!("read_verilog -sv {name}.sv\n") };
        // registers start as zero, as they are printed; the name that says so may not be the register's any more
        let (top, registers) = (scope.top, way.registers);
        let (mut cut, mut out) = (String::new(), String::new());
        let banks = &self.workshop.banks;
        if !banks.is_empty() {
            let names: Vec<&str> = banks.iter().map(|b| b.name.as_str()).collect();
            let arrays: Vec<String> = names.iter().map(|name| format!("t:{}", Bank::array(name))).collect();
            cut = format!("delete {}\nread_verilog -sv {BANKS}\n", names.join(" "));
            out = format!("expose -evert {}\n", arrays.join(" "));
        }
        let side = |change: &str, side: &str| {
            format!(
                "{change}{cut}{around}hierarchy -top {top}\nproc\nflatten\nmemory_map\nsetattr -unset init w:*\nsetundef -init -zero\n\
                 opt_clean\n{out}{registers}rename {top} {side}\ndesign -stash {side}\n"
            )
        };
        format!(
            "[options]\nmode {}\ndepth {}\ntimeout {}\n\n[engines]\nsmtbmc yices\n\n[script]\n\
             {}design -save start\n{}design -load start\n{}\
             design -copy-from gold -as gold gold\ndesign -copy-from gate -as gate gate\n\
             miter -equiv -make_assert -flatten gold gate miter\nhierarchy -top miter\n\
             opt_expr\nwreduce\nopt -full\nprep -top miter\n\n[files]\ndesign.v\n{BANKS}\n{name}.sv\n",
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
