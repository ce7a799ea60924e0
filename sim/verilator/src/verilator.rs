//! Verilog to a shared object, cached by content.

use crate::compile::{Build, Compiler, Features};
use crate::ports::{Declared, parse_header};
use crate::process::{Finished, Job, head};
use crate::share;
use crate::shim::{self, CLASS};
use crate::spec::ModelSpec;
use crate::tools::{self, Tool};
use crate::{Error, Options, Result, store};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20 * 60);
/// What every model is built with: undefined values are zero, so that all devices agree; no assertions, one thread.
const FLAGS: &[&str] = &[
    "--cc",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--noassert",
    "--threads",
    "1",
    "--output-split",
    "20000",
];

/// What counts lines and toggles. Words up to the widest of the instruction set are counted bit by bit.
const COVERAGE_FLAGS: &[&str] = &["--coverage-line", "--coverage-toggle", "--coverage-max-width", "512"];

/// A Verilator that is ready to use.
#[derive(Clone, Debug)]
pub struct Verilator {
    pub(crate) options: Options,
    pub(crate) tool: Tool,
}

impl Verilator {
    /// Finds a recent Verilator, or fetches the pinned one.
    pub fn provision(options: &Options) -> Result<Verilator> {
        Ok(Verilator { options: options.clone(), tool: tools::verilator(options)? })
    }

    /// The same Verilator, keeping its models below another root.
    pub fn keeping_models_in(&self, options: &Options) -> Verilator {
        Verilator { options: options.clone(), tool: self.tool.clone() }
    }

    /// The folder with `bin/` and `include/`.
    pub fn root(&self) -> &Path {
        &self.tool.root
    }

    /// Verilates, compiles and links a design, unless that has been done before. Returns the shared object for
    /// [`crate::Module::load`].
    pub fn build(&self, spec: &ModelSpec) -> Result<PathBuf> {
        let compiler = Compiler::find()?;
        let home = self.options.models().join(self.key(spec, &compiler)?);
        let name = format!("model{}", std::env::consts::DLL_SUFFIX);
        store::ensure(&self.options, &home, &format!("building the model of `{}`", spec.top), |dir| {
            self.options.step(&format!("building the model of `{}`", spec.top), || {
                let scratch = dir.with_extension("work");
                store::remove(&scratch)?;
                std::fs::create_dir_all(&scratch).map_err(Error::io("create", &scratch))?;
                let library = scratch.join(&name);
                // On failure the scratch folder stays, for the error to point at.
                self.make(spec, &compiler, &scratch, &library)?;
                for (file, keep) in [(&library, name.as_str()), (&scratch.join(source_name(spec)), &source_name(spec))]
                {
                    std::fs::copy(file, dir.join(keep)).map_err(Error::io("copy", file))?;
                }
                store::remove(&scratch)
            })
        })?;
        Ok(home.join(name))
    }

    fn make(&self, spec: &ModelSpec, compiler: &Compiler, folder: &Path, library: &Path) -> Result<()> {
        let source = folder.join(source_name(spec));
        std::fs::write(&source, &spec.verilog).map_err(Error::io("write", &source))?;
        let mut command = self.command(spec, folder)?;
        command.args(FLAGS).args(["--prefix", CLASS, "--Mdir", "obj"]);
        if spec.trace_fst {
            command.arg("--trace-fst");
        }
        if spec.coverage {
            command.args(COVERAGE_FLAGS);
        }
        if let Some(configuration) = shared(spec) {
            let path = folder.join("shared.vlt");
            std::fs::write(&path, configuration).map_err(Error::io("write", &path))?;
            command.args(share::FLAGS).arg("shared.vlt");
        }
        command.args(&spec.verilator_args).arg(source_name(spec));
        let done = self.run(command, spec)?;
        if !done.status.success() {
            return Err(Error::Verilog {
                top: spec.top.clone(),
                source_file: source,
                messages: head(&done.output(), 60),
            });
        }
        let obj = folder.join("obj");
        let path = obj.join(format!("{CLASS}.h"));
        let ports = parse_header(&spec.top, &std::fs::read_to_string(&path).map_err(Error::io("read", &path))?)?;
        let clocks = spec.clocks.iter().map(|c| clock_index(spec, &ports, c)).collect::<Result<Vec<_>>>()?;
        let path = obj.join("shim.cpp");
        std::fs::write(&path, shim::text(&spec.top, &clocks, &ports, spec.coverage))
            .map_err(Error::io("write", &path))?;
        let features = Features { trace: spec.trace_fst, coverage: spec.coverage };
        let build = Build { top: &spec.top, folder: &obj, library, features, optimise: spec.optimise };
        compiler.build(&self.options, &self.tool, &build)
    }

    /// Verilator with what linting and building have in common.
    pub(crate) fn command(&self, spec: &ModelSpec, folder: &Path) -> Result<Command> {
        let mut command = Command::new(&self.tool.binary);
        command.env("VERILATOR_ROOT", &self.tool.root).current_dir(folder).args(["--top-module", &spec.top]);
        command.args(spec.allow.iter().map(|w| format!("-Wno-{w}")));
        command.args(spec.defines.iter().map(|(n, v)| format!("+define+{n}={v}")));
        command.args(spec.parameters.iter().map(|(n, v)| format!("-G{n}={v}")));
        for path in &spec.extra_sources {
            command.arg(std::path::absolute(path).map_err(Error::io("find", path))?);
        }
        Ok(command)
    }

    pub(crate) fn run(&self, command: Command, spec: &ModelSpec) -> Result<Finished> {
        let help = "delete target/systole/tools to fetch Verilator again, or set SYSTOLE_VERILATOR_ROOT";
        Job { command, purpose: &format!("read `{}`", spec.top), limit: LIMIT, help }.finish()
    }

    /// The hash of everything that the shared object depends on.
    fn key(&self, spec: &ModelSpec, compiler: &Compiler) -> Result<String> {
        let mut hash = Sha256::new();
        let mut part = |label: &str, bytes: &[u8]| {
            hash.update(format!("{label} {}\n", bytes.len()));
            hash.update(bytes);
        };
        part("interface", &shim::INTERFACE.to_le_bytes());
        part("shim", shim::TEXT.as_bytes());
        part("flags", FLAGS.join(" ").as_bytes());
        part("verilator", self.tool.identity.as_bytes());
        part("compiler", compiler.identity.as_bytes());
        part("top", spec.top.as_bytes());
        part("verilog", spec.verilog.as_bytes());
        for path in &spec.extra_sources {
            part("source", &std::fs::read(path).map_err(Error::io("read", path))?);
        }
        for (label, list) in [("clock", &spec.clocks), ("allow", &spec.allow), ("argument", &spec.verilator_args)] {
            list.iter().for_each(|item| part(label, item.as_bytes()));
        }
        for (label, list) in [("define", &spec.defines), ("parameter", &spec.parameters)] {
            list.iter().for_each(|(n, v)| part(label, format!("{n}={v}").as_bytes()));
        }
        part("optimise", format!("{:?} {}", spec.optimise, spec.trace_fst).as_bytes());
        if let Some(configuration) = shared(spec) {
            part("shared", share::FLAGS.join(" ").as_bytes());
            part("shared", configuration.as_bytes());
        }
        if spec.coverage {
            part("coverage", COVERAGE_FLAGS.join(" ").as_bytes());
            part("coverage shim", shim::COVERAGE.as_bytes());
        }
        Ok(store::hex(&hash.finalize()))
    }
}

/// Verilator's configuration that shares modules' code, where that is wanted.
fn shared(spec: &ModelSpec) -> Option<String> {
    spec.shared.then(|| share::configuration(&spec.verilog, &spec.top, &spec.clocks))
}

fn source_name(spec: &ModelSpec) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }
    };
    format!("{}.v", spec.top.chars().map(safe).collect::<String>())
}

fn clock_index(spec: &ModelSpec, ports: &[Declared], clock: &str) -> Result<usize> {
    let index = ports.iter().position(|p| p.info.name == clock).ok_or_else(|| {
        let known: Vec<&str> = ports.iter().map(|p| p.info.name.as_str()).collect();
        Error::NoSuchPort { top: spec.top.clone(), port: clock.into(), known: known.join(", ") }
    })?;
    if ports[index].info.width != 1 {
        let reason = format!("a clock has one bit, this has {}", ports[index].info.width);
        return Err(Error::UnsupportedPort { top: spec.top.clone(), port: clock.into(), reason });
    }
    Ok(index)
}
