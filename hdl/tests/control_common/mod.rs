//! What the tests of control and mover share: building a model, and random numbers.

use rust_hdl_core::prelude::Block;
use systole_hdl::emit::{LINT_WAIVERS, emit_verilog};
use systole_verilator::{ModelSpec, Module, Options, Verilator};

/// Emits, builds and loads a block.
pub fn load(block: &mut dyn Block, top: &str) -> Module {
    block.connect_all();
    // `abort` is a word of C; Verilator renames it.
    let mut spec = ModelSpec::new(top, emit_verilog(block, top)).clock("clock").allow("SYMRSVDWORD");
    for (warning, _) in LINT_WAIVERS {
        spec = spec.allow(*warning);
    }
    let verilator = Verilator::provision(&Options::workspace()).expect("Verilator");
    Module::load(&verilator.build(&spec).unwrap_or_else(|e| panic!("{e}"))).expect("a loaded model")
}

/// xorshift64*.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        println!("seed {seed:#x}");
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    pub fn word(&mut self) -> u32 {
        self.next() as u32
    }
    /// 0..n.
    pub fn below(&mut self, n: u32) -> u32 {
        self.word() % n
    }
    /// True in `percent` of a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }
}
