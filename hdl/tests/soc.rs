//! The whole SoC: it is emitted, lint-clean, for every size that we offer.

use systole_hdl::emit::LINT_WAIVERS;
use systole_hdl::soc::{TOP, verilog};
use systole_isa::machine::Machine;
use systole_verilator::{ModelSpec, Options, Verilator, vexriscv_verilog};

/// Warnings that the foreign core raises in its own file; ours may raise none but [`LINT_WAIVERS`].
const FOREIGN: &str = "VexRiscv.v";

#[test]
fn lint_clean_in_every_size() {
    let options = Options::workspace();
    let verilator = Verilator::provision(&options).expect("a Verilator");
    let core = vexriscv_verilog(&options).expect("the soft core");
    for lanes in [4, 8, 16] {
        let text = verilog(&Machine::with_lanes(lanes), 0).unwrap_or_else(|e| panic!("{lanes} lanes:\n{e}"));
        let modules = text.lines().filter(|l| l.starts_with("module ")).count();
        println!("{lanes} lanes: {modules} modules, {} kB", text.len() / 1000);
        assert!(modules < 160, "equal modules are merged");
        let spec = ModelSpec::new(TOP, text).clock("clock").source(&core);
        let messages = verilator.lint(&spec, "").expect("Verilator runs");
        let ours: Vec<_> = messages
            .iter()
            .filter(|m| !m.file.ends_with(FOREIGN) && !LINT_WAIVERS.iter().any(|(w, _)| *w == m.code))
            .collect();
        assert!(ours.is_empty(), "{lanes} lanes:\n{ours:#?}");
    }
}
