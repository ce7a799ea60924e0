//! Checks against mutants: which one notices, and how soon.

use super::{Error, Mutant, Result, Tried, Unit};
use crate::design::{Check, Design, Dut, Hang};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once};
use systole_verilator::{Module, Options, Verilator};

/// What a mutant is called a hang after, beside twice the cycles of the design as it stands.
const SPARE_CYCLES: u64 = 20_000;

/// A netlist with mutants as a shared object, and what its checks take when none is active.
pub(super) struct Harness {
    library: PathBuf,
    checks: Vec<(&'static Check, u64)>,
}

/// What one mutant, or none, does.
pub(super) enum Outcome {
    Killed { by: &'static str, how: &'static str, cycles: u64 },
    Passed,
}

impl Harness {
    /// Builds the netlist and runs every check on it with no mutant active.
    pub fn build(options: &Options, unit: &'static Unit, design: &Design, netlist: String) -> Result<Harness> {
        let design = Design { verilog: netlist, ..design.clone() };
        let mut spec = design.spec();
        // a netlist is no source, its style tells nothing; and a bit mixed with another of its word only looks like a loop
        spec.verilator_args.extend(["-Wno-lint", "-Wno-style", "-Wno-UNOPTFLAT"].map(String::from));
        let library = Verilator::provision(options)?.build(&spec)?;
        let mut harness = Harness { library, checks: Vec::new() };
        for &check in unit.checks {
            match harness.ask(check, 0, u64::MAX)? {
                (None, cycles) => harness.checks.push((check, cycles)),
                (Some(why), _) => {
                    let reason = format!("{} fails with no mutant active, so that it tells nothing: {why}", check.name);
                    return Err(Error::Harness { unit: unit.name, reason });
                }
            }
        }
        Ok(harness)
    }

    /// Asks the checks, one after the other, until one notices.
    pub fn attempt(&self, mutant: usize) -> Result<Outcome> {
        for &(check, usual) in &self.checks {
            if let (Some(how), cycles) = self.ask(check, mutant, 2 * usual + SPARE_CYCLES)? {
                let how = if how == HANG { HANG } else { "difference" };
                return Ok(Outcome::Killed { by: check.name, how, cycles });
            }
        }
        Ok(Outcome::Passed)
    }

    /// Runs a check; why it panicked, if it did, and the cycles until then.
    fn ask(&self, check: &Check, mutant: usize, budget: u64) -> Result<(Option<String>, u64)> {
        let module = match Module::load_with(&self.library, &[format!("+mutant={mutant}")]) {
            Ok(module) => module,
            // a design that fails at its first step is one that does not work
            Err(systole_verilator::Error::Simulation { message, cycle, .. }) => return Ok((Some(message), cycle)),
            Err(e) => return Err(e.into()),
        };
        let mut dut = Dut::with_budget(module, budget);
        // the instance is dropped whatever state the panic left it in
        let done = quietly(|| catch_unwind(AssertUnwindSafe(|| (check.run)(&mut dut))));
        let why = done.err().map(|payload| {
            if payload.is::<Hang>() {
                return HANG.to_string();
            }
            let text = payload.downcast_ref::<String>().cloned();
            text.or_else(|| payload.downcast_ref::<&str>().map(|t| t.to_string())).unwrap_or_default()
        });
        Ok((why, dut.noticed()))
    }
}

const HANG: &str = "hang";

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics of this thread off standard error: here they are what is asked for.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    let done = work();
    QUIET.set(false);
    done
}

/// Decides on all mutants, several at a time; `hear` is told of each.
pub(super) fn side_by_side(
    threads: usize,
    mutants: &[Mutant],
    decide: &(dyn Fn(&Mutant) -> Result<Tried> + Sync),
    hear: &(dyn Fn(&Tried, usize, usize) + Sync),
) -> Result<Vec<Tried>> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(mutants.len())));
    let work = || -> Result<()> {
        while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            let tried = decide(mutant)?;
            let mut done = done.lock().unwrap_or_else(|e| e.into_inner());
            hear(&tried, done.len() + 1, mutants.len());
            done.push(tried);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|w| w.join().expect("panics of checks are caught"))
    })?;
    let mut done = done.into_inner().unwrap_or_else(|e| e.into_inner());
    done.sort_by_key(|t: &Tried| t.mutant.number);
    assert_eq!(done.len(), mutants.len(), "every mutant is decided on once");
    Ok(done)
}
