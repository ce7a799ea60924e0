//! What to build.

use std::path::PathBuf;

/// How hard the C++ compiler tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Optimise {
    /// `-O0`: for designs that a test clocks a few hundred times.
    Quick,
    /// `-O2`.
    #[default]
    Speed,
    /// `-O3`.
    Most,
}

impl Optimise {
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Optimise::Quick => "-O0",
            Optimise::Speed => "-O2",
            Optimise::Most => "-O3",
        }
    }
}

/// A design and how to build it. Everything here is part of the cache's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// The top module's name.
    pub top: String,
    /// The Verilog text that holds the top module.
    pub verilog: String,
    /// Further Verilog files, such as the soft core's.
    pub extra_sources: Vec<PathBuf>,
    /// The clock ports; [`crate::Module::tick`] drives the first.
    pub clocks: Vec<String>,
    /// Whether FST traces can be taken; a model without them is faster.
    pub trace_fst: bool,
    /// Whether lines and toggles are counted; a model without is faster.
    pub coverage: bool,
    /// Macros, as for `+define+NAME=VALUE`.
    pub defines: Vec<(String, String)>,
    /// Values for the top module's parameters, as for `-GNAME=VALUE`.
    pub parameters: Vec<(String, String)>,
    /// Warnings that are not errors in this design: `WIDTH`, `UNUSED`, … without `-Wno-`.
    pub allow: Vec<String>,
    /// Further arguments for Verilator.
    pub verilator_args: Vec<String>,
    /// Whether modules that occur often become functions instead of copies.
    pub shared: bool,
    /// How hard the C++ compiler tries.
    pub optimise: Optimise,
}

impl ModelSpec {
    /// A design without clocks, traces or allowed warnings, optimised for speed.
    pub fn new(top: impl Into<String>, verilog: impl Into<String>) -> ModelSpec {
        ModelSpec {
            top: top.into(),
            verilog: verilog.into(),
            extra_sources: Vec::new(),
            clocks: Vec::new(),
            trace_fst: false,
            coverage: false,
            defines: Vec::new(),
            parameters: Vec::new(),
            allow: Vec::new(),
            verilator_args: Vec::new(),
            shared: false,
            optimise: Optimise::Speed,
        }
    }

    /// Adds a clock port; the first added is the one that ticks by default.
    pub fn clock(mut self, port: impl Into<String>) -> ModelSpec {
        self.clocks.push(port.into());
        self
    }

    /// Adds a Verilog file.
    pub fn source(mut self, path: impl Into<PathBuf>) -> ModelSpec {
        self.extra_sources.push(path.into());
        self
    }

    /// Accepts a warning, named without `-Wno-`.
    pub fn allow(mut self, warning: impl Into<String>) -> ModelSpec {
        self.allow.push(warning.into());
        self
    }

    /// Defines a macro.
    pub fn define(mut self, name: impl Into<String>, value: impl Into<String>) -> ModelSpec {
        self.defines.push((name.into(), value.into()));
        self
    }

    /// Sets a parameter of the top module.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> ModelSpec {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Makes FST traces possible.
    pub fn trace(mut self) -> ModelSpec {
        self.trace_fst = true;
        self
    }

    /// Counts how often each line ran and each bit rose and fell: [`crate::Module::keep_coverage`].
    pub fn coverage(mut self) -> ModelSpec {
        self.coverage = true;
        self
    }

    /// Simulates on several threads; they pay where each has enough to do between two meetings, which happen every cycle.
    pub fn threads(mut self, count: u32) -> ModelSpec {
        if count > 1 {
            // (the last of several such arguments counts)
            self.verilator_args.extend(["--threads".into(), count.to_string()]);
        }
        self
    }

    /// Makes functions of modules that occur often, instead of copies of their code: less to compile, and faster where caches hold the one
    /// and not the other. The bits are the same.
    pub fn share(mut self) -> ModelSpec {
        self.shared = true;
        self
    }

    /// Sets how hard the C++ compiler tries.
    pub fn optimise(mut self, how: Optimise) -> ModelSpec {
        self.optimise = how;
        self
    }
}
