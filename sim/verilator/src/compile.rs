//! C++ to a shared object, without make: a few large translation units, compiled side by side.
//!
//! Verilator's many small files all include the same large headers, so they are joined into about as many units as there are
//! cores: the fast ones (run each cycle) optimised, the slow ones (run once) not. The runtime library is compiled once per
//! Verilator and compiler, and shared by all models.

use crate::process::{Job, head};
use crate::shim::CLASS;
use crate::spec::Optimise;
use crate::tools::Tool;
use crate::{Error, Options, Result, store};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20 * 60);
const HELP: &str = "install g++ (Debian: g++, or build-essential), or set CXX to a C++17 compiler";
/// Joined sources grow to this size before another unit is begun, even when every core has one.
const UNIT_BYTES: u64 = 1_500_000;
/// Below this size a second unit costs more in headers than it saves.
const WORTH_SPLITTING: u64 = 30_000;
/// Stand in for LZ4 and zlib in a trace's writer where these are not installed: traces need nothing more than a compiler.
const COMPAT: [(&str, &str); 2] = [("lz4.h", include_str!("compat/lz4.h")), ("zlib.h", include_str!("compat/zlib.h"))];

/// A C++ compiler and what tells it from another.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    program: String,
    pub identity: String,
}

/// One translation unit.
struct Unit {
    source: PathBuf,
    object: PathBuf,
    optimise: &'static str,
}

impl Compiler {
    /// `CXX`, else `g++`.
    pub fn find() -> Result<Compiler> {
        let program = std::env::var("CXX").ok().filter(|v| !v.is_empty()).unwrap_or_else(|| "g++".into());
        let mut command = Command::new(&program);
        command.arg("--version");
        let asked =
            Job { command, purpose: "compile the model", limit: Duration::from_secs(30), help: HELP }.succeed()?;
        let identity = format!("{program} {}", asked.stdout.lines().next().unwrap_or_default());
        Ok(Compiler { program, identity })
    }

    fn base(&self, tool: &Tool, features: Features) -> Command {
        let include = tool.root.join("include");
        let mut command = Command::new(&self.program);
        command
            .args(["-std=c++17", "-fPIC", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-w", "-pthread"])
            .args(["-DVERILATOR=1", "-DVL_TIME_CONTEXT", "-DVM_SC=0", "-DVM_TRACE_VCD=0", "-DVM_TRACE_SAIF=0"])
            .args(["-DVL_USER_FINISH", "-DVL_USER_STOP", "-DVL_USER_FATAL", "-DVL_USER_WARN"])
            .arg(format!("-DVM_COVERAGE={}", features.coverage as u8))
            .args(["-DVM_TRACE", "-DVM_TRACE_FST"].map(|d| format!("{d}={}", features.trace as u8)))
            .arg(format!("-I{}", include.display()))
            .arg(format!("-I{}", include.join("vltstd").display()));
        command
    }

    /// Compiles units side by side; the first failure stops the rest from starting.
    fn compile(&self, tool: &Tool, features: Features, top: &str, folder: &Path, units: &[Unit]) -> Result<()> {
        let queue = Mutex::new(units.iter());
        let failed = AtomicBool::new(false);
        let work = || -> Result<()> {
            while !failed.load(Ordering::Relaxed) {
                let Some(unit) = queue.lock().unwrap_or_else(|e| e.into_inner()).next() else {
                    break;
                };
                let mut command = self.base(tool, features);
                command
                    .arg(unit.optimise)
                    .arg("-I.")
                    .arg("-c")
                    .arg(&unit.source)
                    .arg("-o")
                    .arg(&unit.object)
                    .current_dir(folder);
                self.run(command, top, folder).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs().min(units.len())).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|w| w.join().expect("a compile worker does not panic"))
        })
    }

    fn run(&self, command: Command, top: &str, folder: &Path) -> Result<()> {
        let done = Job { command, purpose: "compile the model", limit: LIMIT, help: HELP }.finish()?;
        if done.status.success() {
            return Ok(());
        }
        let output = head(&done.output(), 30);
        Err(Error::Compile { top: top.into(), compiler: self.program.clone(), folder: folder.into(), output })
    }

    /// Compiles what lies in `folder` and links `library`. `shim` is the shim's file name there.
    pub fn build(&self, options: &Options, tool: &Tool, build: &Build) -> Result<()> {
        let runtime = self.runtime(options, tool, build)?;
        let mut units = Vec::new();
        for (kind, mut sources, optimise) in [
            ("fast", build.listed(&["VM_CLASSES_FAST", "VM_SUPPORT_FAST"])?, build.optimise.flag()),
            ("slow", build.listed(&["VM_CLASSES_SLOW", "VM_SUPPORT_SLOW"])?, "-O0"),
        ] {
            if kind == "fast" {
                sources.push("shim.cpp".into());
            }
            for (i, group) in build.grouped(sources)?.into_iter().enumerate() {
                let name = format!("unit_{kind}_{i}");
                let text: String = group.iter().map(|s| format!("#include \"{s}\"\n")).collect();
                let source = build.folder.join(format!("{name}.cpp"));
                std::fs::write(&source, text).map_err(Error::io("write", &source))?;
                // Relative names: what is compiled does not depend on where it lies.
                units.push(Unit { source: format!("{name}.cpp").into(), object: format!("{name}.o").into(), optimise });
            }
        }
        self.compile(tool, build.features, build.top, build.folder, &units)?;
        let mut command = self.base(tool, build.features);
        command.arg("-shared").arg("-o").arg(build.library).args(units.iter().map(|u| &u.object)).args(&runtime);
        command.current_dir(build.folder);
        self.run(command, build.top, build.folder)
    }

    /// What to link with: the runtime library's objects, compiled if this Verilator and compiler have not been used before.
    fn runtime(&self, options: &Options, tool: &Tool, build: &Build) -> Result<Vec<OsString>> {
        let globals = build.listed(&["VM_GLOBAL_FAST", "VM_GLOBAL_SLOW"])?;
        let compat = build.features.trace && !self.has_trace_libraries(build.folder)?;
        let mut hash = Sha256::new();
        let command = format!("{:?}", self.base(tool, build.features));
        for part in [
            &tool.identity,
            &self.identity,
            &command,
            &globals.join(" "),
            COMPAT[0].1,
            COMPAT[1].1,
            &compat.to_string(),
        ] {
            hash.update(part);
            hash.update([0]);
        }
        let home = tool.kept.join(format!("runtime-{}", &store::hex(&hash.finalize())[..16]));
        let object = |source: &String| PathBuf::from(source).with_extension("o");
        store::ensure(options, &home, "compiling Verilator's runtime", |dir| {
            options.step("compiling Verilator's runtime", || {
                if compat {
                    for (name, text) in COMPAT {
                        std::fs::write(dir.join(name), text).map_err(Error::io("write", dir.join(name)))?;
                    }
                }
                let unit =
                    |s: &String| Unit { source: tool.root.join("include").join(s), object: object(s), optimise: "-O2" };
                let units: Vec<Unit> = globals.iter().map(unit).collect();
                self.compile(tool, build.features, build.top, dir, &units)
            })
        })?;
        let libraries: &[&str] = if build.features.trace && !compat { &["-llz4", "-lz"] } else { &[] };
        let objects = globals.iter().map(|s| home.join(object(s)).into_os_string());
        Ok(objects.chain(libraries.iter().map(Into::into)).collect())
    }

    /// Whether the libraries that Verilator's trace writer wants are installed with their headers.
    fn has_trace_libraries(&self, folder: &Path) -> Result<bool> {
        let source = folder.join("probe.cpp");
        std::fs::write(
            &source,
            "#include <lz4.h>\n#include <zlib.h>\nint main() { return !LZ4_versionNumber() || !zlibVersion(); }\n",
        )
        .map_err(Error::io("write", &source))?;
        let mut command = Command::new(&self.program);
        command.args(["probe.cpp", "-o", "probe", "-llz4", "-lz"]).current_dir(folder);
        let done = Job { command, purpose: "look for LZ4 and zlib", limit: LIMIT, help: HELP }.finish()?;
        Ok(done.status.success())
    }
}

/// What a model can do beside being clocked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    /// Record traces.
    pub trace: bool,
    /// Count lines and toggles.
    pub coverage: bool,
}

/// A folder of emitted C++ and what is to become of it.
pub(crate) struct Build<'a> {
    pub top: &'a str,
    pub folder: &'a Path,
    pub library: &'a Path,
    pub features: Features,
    pub optimise: Optimise,
}

impl Build<'_> {
    /// File names from the lists that Verilator writes beside its C++.
    fn listed(&self, lists: &[&str]) -> Result<Vec<String>> {
        let path = self.folder.join(format!("{CLASS}_classes.mk"));
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let mut names = Vec::new();
        let mut wanted = false;
        for line in text.lines() {
            if let Some((list, _)) = line.split_once("+=") {
                wanted = lists.contains(&list.trim());
            } else if wanted && line.starts_with([' ', '\t']) {
                names.extend(line.split_whitespace().filter(|w| *w != "\\").map(|w| format!("{w}.cpp")));
            } else {
                wanted = false;
            }
        }
        Ok(names)
    }

    /// Sources spread evenly over as many units as are worth compiling side by side.
    fn grouped(&self, sources: Vec<String>) -> Result<Vec<Vec<String>>> {
        let size = |name: &String| {
            let path = self.folder.join(name);
            std::fs::metadata(&path).map(|m| m.len()).map_err(Error::io("read", path))
        };
        let mut sized = sources.into_iter().map(|s| Ok((size(&s)?, s))).collect::<Result<Vec<_>>>()?;
        sized.sort_by(|a, b| b.cmp(a));
        let total: u64 = sized.iter().map(|s| s.0).sum();
        let count = (total / WORTH_SPLITTING).clamp(1, jobs() as u64).max(total.div_ceil(UNIT_BYTES));
        let mut groups: Vec<(u64, Vec<String>)> = vec![(0, Vec::new()); count as usize];
        for (bytes, source) in sized {
            let lightest = groups.iter_mut().min_by_key(|g| g.0).expect("there is a group");
            lightest.0 += bytes;
            lightest.1.push(source);
        }
        Ok(groups.into_iter().map(|g| g.1).filter(|g| !g.is_empty()).collect())
    }
}

fn jobs() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}
