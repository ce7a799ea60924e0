//! A design to be checked, an instance of it, and a check.

use rust_hdl_core::prelude::Block;
use std::ops::{Deref, DerefMut};
use systole_hdl::emit::{LINT_WAIVERS, emit_verilog};
use systole_verilator::{ModelSpec, Module, Optimise, Options, Port, Verilator};

/// A top module as Verilog, and how it is built.
#[derive(Clone, Debug)]
pub struct Design {
    /// The top module.
    pub top: String,
    /// All modules.
    pub verilog: String,
    /// Whether it has a clock.
    pub clocked: bool,
    /// How hard the C++ compiler tries.
    pub optimise: Optimise,
}

impl Design {
    /// A block with a clock.
    pub fn of(mut block: impl Block, top: &str) -> Design {
        block.connect_all();
        let verilog = emit_verilog(&block, top);
        Design { top: top.into(), verilog, clocked: true, optimise: Optimise::Speed }
    }

    /// A block without a clock.
    pub fn combinational(block: impl Block, top: &str) -> Design {
        Design { clocked: false, optimise: Optimise::Quick, ..Design::of(block, top) }
    }

    /// How it is built; every warning but the emitter's documented waivers is an error.
    pub fn spec(&self) -> ModelSpec {
        // `abort` is also a C function; Verilator renames the member and nothing else
        let mut spec = ModelSpec::new(&self.top, &self.verilog).optimise(self.optimise).allow("SYMRSVDWORD");
        if self.clocked {
            spec = spec.clock("clock");
        }
        for (warning, _reason) in LINT_WAIVERS {
            spec = spec.allow(*warning);
        }
        spec
    }

    /// An instance of it.
    ///
    /// # Panics
    /// If it does not build.
    pub fn load(&self) -> Dut {
        let verilator = Verilator::provision(&Options::workspace()).unwrap_or_else(|e| panic!("no Verilator: {e}"));
        let library = verilator.build(&self.spec()).unwrap_or_else(|e| panic!("{} does not build: {e}", self.top));
        Dut::new(Module::load(&library).unwrap_or_else(|e| panic!("{} does not load: {e}", self.top)))
    }
}

/// An instance of a design under test: a [`Module`] that can be given an end.
#[derive(Debug)]
pub struct Dut {
    module: Module,
    budget: u64,
    noticed: Option<u64>,
}

/// What a check panics with when its budget of cycles is used up: the design waits for something that never comes.
#[derive(Clone, Copy, Debug)]
pub struct Hang(
    /// Cycles since the start.
    pub u64,
);

impl Dut {
    /// Without an end.
    pub fn new(module: Module) -> Dut {
        Dut::with_budget(module, u64::MAX)
    }

    /// With an end: one cycle more panics with [`Hang`].
    pub fn with_budget(module: Module, cycles: u64) -> Dut {
        Dut { module, budget: cycles, noticed: None }
    }

    /// Cycles from the start to what a check saw first of a difference; all cycles so far if it did not say.
    pub fn noticed(&self) -> u64 {
        self.noticed.unwrap_or(self.cycles())
    }

    /// One cycle.
    ///
    /// # Panics
    /// With [`Hang`] when the budget is used up.
    #[inline]
    pub fn tick(&mut self) {
        self.tick_many(1);
    }

    /// `count` cycles.
    ///
    /// # Panics
    /// As [`Dut::tick`].
    #[inline]
    pub fn tick_many(&mut self, count: u64) {
        self.module.tick_many(count);
        if self.module.cycles() > self.budget {
            std::panic::panic_any(Hang(self.module.cycles()));
        }
    }

    /// Pushes cases through a pipeline, one a cycle, a block at a time, and compares.
    ///
    /// `stimuli` makes a block's words, as many vectors as there are cases or more; `expected` says what is wrong with what came
    /// out, or nothing.
    ///
    /// # Panics
    /// At the end of the first block with a difference, with the first ones.
    pub fn compare<C>(
        &mut self,
        [inputs, outputs]: [&[&str]; 2],
        latency: usize,
        cases: impl IntoIterator<Item = C>,
        stimuli: impl Fn(&[C]) -> Vec<u64>,
        wrong: impl Fn(&C, &[u64]) -> Option<String>,
    ) {
        // a difference often shows at once: the first blocks are small
        const BLOCKS: std::ops::RangeInclusive<u32> = 6..=13;
        let mut cases = cases.into_iter();
        let mut sizes = BLOCKS.chain(std::iter::repeat(*BLOCKS.end())).map(|bits| 1usize << bits);
        let mut compared = 0;
        let [ins, outs] = [inputs, outputs].map(|names| ports(self, names));
        let clock = self.clocks().first().copied();
        loop {
            let block: Vec<C> = cases.by_ref().take(sizes.next().unwrap_or(1)).collect();
            if block.is_empty() {
                break;
            }
            compared += block.len();
            let before = self.cycles();
            let got = self.run_vectors(clock, &ins, &outs, &stimuli(&block), latency as u64);
            let results = block.iter().zip(got.chunks(outs.len())).enumerate();
            let differences: Vec<(usize, String)> =
                results.filter_map(|(i, (case, got))| Some((i, wrong(case, got)?))).collect();
            if let Some((at, _)) = differences.first() {
                self.noticed = Some(before + (at + latency + 1) as u64);
                let first: Vec<&str> = differences.iter().take(8).map(|(_, text)| text.as_str()).collect();
                let first = first.join("\n");
                panic!("{}: {} of {} wrong:\n{first}", self.top(), differences.len(), block.len());
            }
        }
        assert!(compared > 0, "no case is no pass");
    }
}

impl Deref for Dut {
    type Target = Module;
    fn deref(&self) -> &Module {
        &self.module
    }
}

impl DerefMut for Dut {
    fn deref_mut(&mut self) -> &mut Module {
        &mut self.module
    }
}

/// The ports of these names.
///
/// # Panics
/// If there is no such port.
pub fn ports(module: &Module, names: &[&str]) -> Vec<Port> {
    names.iter().map(|n| module.find(n).unwrap_or_else(|e| panic!("{e}"))).collect()
}

/// A bench with a set of cases.
pub struct Check {
    /// The test of `hdl/tests` that runs it: file and function.
    pub name: &'static str,
    /// What it runs on.
    pub design: fn() -> Design,
    /// Runs it on an instance; panics at a difference.
    pub run: fn(&mut Dut),
}

impl Check {
    /// Runs it on the design as it stands.
    ///
    /// # Panics
    /// If the design does not do what is asked of it.
    pub fn pass(&self) {
        let mut dut = (self.design)().load();
        (self.run)(&mut dut);
        println!("{}: {} cycles", self.name, dut.cycles());
    }
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("name", &self.name).finish_non_exhaustive()
    }
}
