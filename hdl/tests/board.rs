//! Board tops: emitted and lint-clean; reset waits.

use systole_hdl::board::{BoardOptions, PllSettings, Reset, TOP, verilog};
use systole_hdl::emit::{LINT_WAIVERS, emit_verilog};
use systole_isa::machine::Machine;
use systole_verilator::{ModelSpec, Module, Options, Verilator, vexriscv_verilog};

#[test]
fn lint_clean_whichever_way_leds_and_buttons_are_wired() {
    let options = Options::workspace();
    let verilator = Verilator::provision(&options).expect("a Verilator");
    let core = vexriscv_verilog(&options).expect("the soft core");
    for (lanes, low) in [(2, true), (4, false), (8, false)] {
        let machine = Machine { vector_lanes: lanes.min(4), ..Machine::with_lanes(lanes) };
        let pll = PllSettings::find(25_000_000, 50_000_000).expect("dividers");
        let board = BoardOptions { machine, pll, baud: 115_200, leds_low: low, button_low: low };
        let text = verilog(&board).unwrap_or_else(|e| panic!("{lanes} lanes:\n{e}"));
        let spec = ModelSpec::new(TOP, text).clock("clk").source(&core).define("SYSTOLE_UNGATED", "1");
        let messages = verilator.lint(&spec, "").expect("Verilator runs");
        let ours: Vec<_> = messages
            .iter()
            .filter(|m| !m.file.ends_with("VexRiscv.v") && !LINT_WAIVERS.iter().any(|(w, _)| *w == m.code))
            .collect();
        assert!(ours.is_empty(), "{lanes} lanes:\n{ours:#?}");
    }
}

#[test]
fn reset_ends_65536_cycles_after_lock_and_button() {
    use rust_hdl_core::prelude::Block as _;
    let mut reset = Reset::default();
    reset.connect_all();
    let options = Options::workspace();
    let spec = ModelSpec::new("power_on_reset", emit_verilog(&reset, "power_on_reset")).clock("clock");
    let library = Verilator::provision(&options).unwrap().build(&spec).unwrap();
    let mut module = Module::load(&library).unwrap();
    let find = |name: &str| module.find(name).unwrap();
    let (locked, pressed, held) = (find("locked"), find("pressed"), find("hold"));
    module.tick_many(100_000);
    assert_eq!(module.get(held), 1, "the PLL has not locked");
    module.set(locked, 1);
    // two flip-flops, and the count
    module.tick_many(65_537);
    assert_eq!(module.get(held), 1);
    module.tick_many(1);
    assert_eq!(module.get(held), 0);
    // a bouncing button starts it anew each time
    for level in [1, 0, 1, 0] {
        module.set(pressed, level);
        module.tick_many(1000);
        assert_eq!(module.get(held), 1);
    }
    module.tick_many(64_537);
    assert_eq!(module.get(held), 1);
    module.tick_many(2);
    assert_eq!(module.get(held), 0);
}
