//! Proofs of the hardware's units: the quick ones, and that each kind of mistake is found where something is broken on purpose.

use systole::error::Error;
use systole::formal::{Task, prove, tools};
use systole_hdl::formal::{PROOFS, Proof};
use systole_verilator::Options;
use systole_verilator::formal::{FormalTools, Solver};

fn provide() -> (Options, FormalTools) {
    let options = Options::workspace();
    let tools = tools(&options, Solver::Yices).unwrap_or_else(|e| panic!("{e}\n{}", e.help()));
    (options, tools)
}

/// The proof with one place of its unit or its harness changed, under a name of its own.
fn changed(proof: &str, name: &str, change: impl FnOnce(&mut Task)) -> Task {
    let mut task = Task::of(Proof::named(proof).unwrap()).unwrap();
    let before = task.clone();
    change(&mut task);
    assert!(task.verilog != before.verilog || task.harness != before.harness, "{name} changes nothing");
    task.name = name.into();
    task
}

fn replaced(text: &mut String, from: &str, to: &str) {
    assert!(text.contains(from), "there is no {from}");
    *text = text.replace(from, to);
}

/// What is said of a task that must fail; the trace that it names is there.
fn failure(task: &Task) -> String {
    let (options, tools) = provide();
    let error = prove(&options, &tools, task).unwrap_err();
    assert!(matches!(error, Error::NotProved { .. }), "{error}");
    assert_eq!(error.exit_code(), 8);
    let text = error.to_string();
    println!("{text}");
    if let Some((_, path)) = text.split_once("trace ") {
        assert!(path.ends_with(".vcd") && std::path::Path::new(path).is_file(), "{path} of {text:?}");
    }
    text
}

#[test]
fn the_quick_proofs() {
    let (options, tools) = provide();
    for proof in PROOFS.iter().filter(|p| p.quick) {
        let done = prove(&options, &tools, &Task::of(proof).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", proof.name));
        let [asserts, covers] = [0, 1].map(|i| done.parts[i].properties.len());
        println!("{}: {asserts} assertions, {covers} covers", proof.name);
        assert!(asserts > 0 && covers > 0);
    }
}

#[test]
fn a_fifo_without_its_guard_fails() {
    let task = changed("byte_fifo", "broken_fifo", |t| {
        replaced(&mut t.verilog, "if (in_valid & (~used[4])) begin", "if (in_valid) begin");
    });
    // the covers need no such depth to tell nothing new
    let text = failure(&Task { depth: 20, cover_depth: 2, ..task });
    assert!(text.contains("of broken_fifo") && text.contains("a counterexample, trace"), "{text}");
}

#[test]
fn an_adder_whose_zero_is_none_fails() {
    let task = changed("psum_add_3", "broken_adder", |t| {
        // operands that cancel leave an exponent behind
        replaced(&mut t.verilog, "if (c3_rest_q[1] | (~n5[27])) begin", "if (c3_rest_q[1]) begin");
    });
    let text = failure(&task);
    assert!(text.contains("of broken_adder") && text.contains("a counterexample, trace"), "{text}");
}

#[test]
fn sums_off_the_grid_would_need_subnormals() {
    // the invariant is needed: without it, a sum may leave its form
    let task = changed("psum_add_3", "off_the_grid", |t| {
        replaced(&mut t.harness, "v[29:23] != 0 & on_grid(v))", "v[29:23] != 0)");
    });
    let text = failure(&task);
    assert!(text.contains("of off_the_grid") && text.contains("a counterexample, trace"), "{text}");
}

#[test]
fn a_deframer_that_asks_for_no_crc_fails() {
    let task = changed("deframer_small", "broken_deframer", |t| {
        replaced(&mut t.verilog, "(crc_q == residue)", "1'b1");
    });
    // nine bytes make the shortest frame: the first cycles are good, and induction finds a later one
    let text = failure(&Task { cover_depth: 2, ..task });
    assert!(text.contains("of broken_deframer") && text.contains("does not follow by induction"), "{text}");
}

#[test]
fn nothing_is_no_proof() {
    let without = changed("byte_fifo", "no_assertion", |t| t.harness = t.harness.replace("assert (", "assume ("));
    let text = failure(&Task { cover_depth: 2, ..without });
    assert!(text.contains("no_assertion is not proved: it has no assertion"), "{text}");
    let never = changed("byte_fifo", "no_cover", |t| {
        t.harness = t.harness.replace("cover (held == 16)", "cover (held == 17)");
    });
    // not far: that none of many cycles reaches it takes a solver long
    let text = failure(&Task { cover_depth: 4, ..never });
    assert!(text.contains("no run of 4 cycles reaches"), "{text}");
}
