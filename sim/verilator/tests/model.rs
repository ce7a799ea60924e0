//! Small designs, built and clocked.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;
use systole_verilator::{Direction, Error, ModelSpec, Module, Optimise, Options, Severity, Verilator};

static ROOM: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
static VERILATOR: LazyLock<Verilator> =
    LazyLock::new(|| Verilator::provision(&Options::workspace()).unwrap_or_else(|e| panic!("{e}\nhelp: {}", e.help())));
/// Keeps nothing beyond the tests: for builds that must be real, or that fail.
static FORGETFUL: LazyLock<Verilator> =
    LazyLock::new(|| VERILATOR.keeping_models_in(&Options::new(ROOM.path()).quiet()));

const MIXED: &str = r#"
module mixed(input clock, input [7:0] a, input [15:0] b, input [39:0] c, input [99:0] w, input link$valid,
             output reg [7:0] o8, output reg [15:0] o16, output reg [31:0] o32, output [39:0] o40, output reg [99:0] o100,
             output link$ready);
  always @(posedge clock) begin
    o8 <= o8 + a; o16 <= b; o32 <= {b, b}; o100 <= ~w;
  end
  assign o40 = c + 40'd1;
  assign link$ready = link$valid;
endmodule
"#;

/// r = a · b + c, with a register at the inputs and one at the output.
const MULTIPLY: &str = r#"
module multiply(input clock, input [15:0] a, input [15:0] b, input [95:0] c, output reg [95:0] r);
  reg [15:0] a1, b1; reg [95:0] c1;
  always @(posedge clock) begin a1 <= a; b1 <= b; c1 <= c; r <= {64'd0, {16'd0, a1} * {16'd0, b1}} + c1; end
endmodule
"#;

fn mixed() -> ModelSpec {
    ModelSpec::new("mixed", MIXED).clock("clock").optimise(Optimise::Quick)
}

fn load(spec: &ModelSpec) -> Module {
    Module::load(&VERILATOR.build(spec).unwrap_or_else(|e| panic!("{e}"))).unwrap()
}

#[test]
fn ports_of_every_width_are_written_and_read() {
    let mut m = load(&mixed());
    assert_eq!((m.top(), m.ports().len(), m.clocks().len()), ("mixed", 12, 1));
    let port = |m: &Module, name: &str| m.find(name).unwrap();
    let [a, b, c, w, valid] = ["a", "b", "c", "w", "link$valid"].map(|n| port(&m, n));
    assert_eq!(m.info(w).width, 100);
    assert_eq!(m.info(w).direction, Direction::Input);
    m.set(a, 0x1_ff); // bits above the width are dropped
    m.set(b, 0xbeef);
    m.set(c, 0xff_ffff_fffe);
    m.set_wide(w, &[1, 2, 3, u32::MAX]);
    m.set(valid, 1);
    m.eval();
    assert_eq!(m.get(port(&m, "o40")), 0xff_ffff_ffff);
    assert_eq!(m.get(port(&m, "link$ready")), 1);
    assert_eq!(m.get(port(&m, "o8")), 0);
    m.tick();
    assert_eq!(m.get(port(&m, "o8")), 0xff);
    m.tick_many(2);
    assert_eq!(m.get(port(&m, "o8")), 0xfd);
    assert_eq!(m.get(port(&m, "o16")), 0xbeef);
    assert_eq!(m.get(port(&m, "o32")), 0xbeef_beef);
    assert_eq!(m.get_wide(port(&m, "o100")), [!1, !2, !3, 0]);
    assert_eq!(m.get_wide(port(&m, "o40")), [u32::MAX, 0xff]);
    assert_eq!(m.cycles(), 3);
    assert!(matches!(m.find("o9"), Err(Error::NoSuchPort { known, .. }) if known.contains("link$ready")));
}

#[test]
fn instances_are_independent_and_move_between_threads() {
    let path = VERILATOR.build(&mixed()).unwrap();
    let mut first = Module::load(&path).unwrap();
    let mut second = Module::load(&path).unwrap();
    let (a, o8) = (first.find("a").unwrap(), first.find("o8").unwrap());
    first.set(a, 1);
    second.set(a, 2);
    let second = std::thread::spawn(move || {
        second.tick_many(10);
        second
    });
    first.tick_many(3);
    assert_eq!((first.get(o8), second.join().unwrap().get(o8)), (3, 20));
}

#[test]
fn ticking_until_a_value_comes() {
    let mut m = load(&mixed());
    let (a, o8) = (m.find("a").unwrap(), m.find("o8").unwrap());
    m.set(a, 3);
    assert!(m.tick_until(o8, 30, 100));
    assert_eq!(m.cycles(), 10);
    assert!(m.tick_until(o8, 30, 0));
    assert!(!m.tick_until(o8, 31, 5));
    assert_eq!(m.cycles(), 15);
}

#[test]
fn vectors_stream_through_a_pipeline() {
    let mut m = load(&ModelSpec::new("multiply", MULTIPLY).clock("clock"));
    let inputs = ["a", "b", "c"].map(|n| m.find(n).unwrap());
    let r = m.find("r").unwrap();
    const COUNT: u64 = 1_000_000;
    let vector = |i: u64| [i & 0xffff, (i * 7) & 0xffff, u64::MAX - i, i & 1];
    let stimuli: Vec<u64> = (0..COUNT).flat_map(vector).collect();
    let begun = Instant::now();
    let responses = m.run_vectors(m.clocks()[0], &inputs, &[r], &stimuli, 2);
    let seconds = begun.elapsed().as_secs_f64();
    eprintln!("{:.1} million vectors a second", COUNT as f64 / seconds / 1e6);
    for (i, words) in (0..COUNT).zip(responses.chunks(2)) {
        let [a, b, low, high] = vector(i);
        let expected = (u128::from(a * b) + (u128::from(high) << 64 | u128::from(low))) & ((1 << 96) - 1);
        assert_eq!(u128::from(words[1]) << 64 | u128::from(words[0]), expected, "vector {i}");
    }

    let begun = Instant::now();
    let a = inputs[0];
    for i in 0..COUNT {
        m.set(a, i);
        m.tick();
        std::hint::black_box(m.get(a));
    }
    eprintln!("{:.0} ns a tick from Rust", begun.elapsed().as_nanos() as f64 / COUNT as f64);
}

#[test]
fn a_design_without_a_clock() {
    let text =
        "module add(input [31:0] a, input [31:0] b, output [32:0] s); assign s = {1'b0, a} + {1'b0, b}; endmodule";
    let mut m = load(&ModelSpec::new("add", text).optimise(Optimise::Quick));
    let ports = ["a", "b", "s"].map(|n| m.find(n).unwrap());
    let sums = m.run_vectors(None, &ports[..2], &ports[2..], &[1, 2, 0xffff_ffff, 0xffff_ffff], 0);
    assert_eq!(sums, [3, 0x1_ffff_fffe]);
}

#[test]
fn an_equal_design_is_built_once_by_all_who_want_it() {
    let room = tempfile::tempdir().unwrap();
    let builds = Arc::new(AtomicU32::new(0));
    let counter = builds.clone();
    let options = Options::new(room.path()).on_progress(move |line| {
        counter.fetch_add(u32::from(line.starts_with("building") && line.ends_with('…')), Ordering::SeqCst);
    });
    let verilator = VERILATOR.keeping_models_in(&options);
    let paths: Vec<PathBuf> = std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| verilator.build(&mixed()).unwrap()));
        both.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(paths[0], paths[1]);
    assert_eq!(builds.load(Ordering::SeqCst), 1);

    let begun = Instant::now();
    verilator.build(&mixed()).unwrap();
    assert_eq!(builds.load(Ordering::SeqCst), 1);
    assert!(begun.elapsed().as_millis() < 500, "a hit took {:?}", begun.elapsed());

    verilator.build(&mixed().define("OTHER", "1")).unwrap();
    assert_eq!(builds.load(Ordering::SeqCst), 2);

    std::fs::write(&paths[0], "damaged").unwrap();
    verilator.build(&mixed()).unwrap();
    assert_eq!(builds.load(Ordering::SeqCst), 3);
    Module::load(&paths[0]).unwrap();
}

#[test]
fn bad_verilog_is_reported_in_verilators_words() {
    let text = "module broken(input clock, output reg q);\n always @(posedge clock) q <= undeclared;\nendmodule\n";
    let error = FORGETFUL.build(&ModelSpec::new("broken", text).clock("clock")).unwrap_err();
    let Error::Verilog { source_file, messages, .. } = &error else { panic!("{error}") };
    assert!(messages.contains("broken.v:2:") && messages.contains("undeclared"), "{error}");
    assert_eq!(std::fs::read_to_string(source_file).unwrap(), text);
    assert!(!error.help().is_empty());
}

#[test]
fn an_unknown_clock_is_named() {
    let error = FORGETFUL.build(&ModelSpec::new("mixed", MIXED).clock("clk")).unwrap_err();
    assert!(
        matches!(&error, Error::NoSuchPort { port, known, .. } if port == "clk" && known.contains("clock")),
        "{error}"
    );
}

#[test]
fn a_design_that_fails_says_so_and_does_not_abort() {
    let text = r#"
module image(input clock, output reg [7:0] n, output [31:0] first);
  reg [31:0] memory [0:3]; reg [1023:0] path;
  initial if ($value$plusargs("image=%s", path)) $readmemh(path, memory); else $fatal(1, "no image given");
  assign first = memory[0];
  always @(posedge clock) begin n <= n + 1; if (n == 8'd5) $stop; end
endmodule"#;
    let spec = ModelSpec::new("image", text).clock("clock").allow("WIDTH").optimise(Optimise::Quick);
    let path = VERILATOR.build(&spec).unwrap();
    assert!(matches!(Module::load(&path), Err(Error::Simulation { .. })));
    let error = Module::load_with(&path, &["+image=/nonexistent.hex"]).unwrap_err();
    assert!(error.to_string().contains("nonexistent"), "{error}");

    let image = ROOM.path().join("image.hex");
    std::fs::write(&image, "12345678\n0\n0\n0\n").unwrap();
    let mut m = Module::load_with(&path, &[format!("+image={}", image.display())]).unwrap();
    let first = m.find("first").unwrap();
    assert_eq!(m.get(first), 0x1234_5678);
    m.try_tick(5).unwrap();
    let error = m.try_tick(5).unwrap_err();
    assert!(matches!(&error, Error::Simulation { cycle: 5, message, .. } if message.contains("$stop")), "{error}");
}

#[test]
fn finish_ends_the_clock_quietly() {
    let text = "module ends(input clock, output reg [3:0] n);\n always @(posedge clock) begin n <= n + 4'd1; if (n == 4'd3) $finish; end\nendmodule";
    let mut m = load(&ModelSpec::new("ends", text).clock("clock").optimise(Optimise::Quick));
    m.tick_many(100);
    assert!(m.finished() && m.cycles() == 3 && m.failure().is_none());
}

#[test]
fn traces_are_written_where_the_model_can() {
    let file = ROOM.path().join("mixed.fst");
    let mut m = load(&mixed());
    assert!(matches!(m.trace_open(&file), Err(Error::Trace { .. })));
    let mut m = load(&mixed().trace());
    let a = m.find("a").unwrap();
    m.trace_open(&file).unwrap();
    for i in 0..1000 {
        m.set(a, i);
        m.tick();
    }
    m.trace_close();
    assert_eq!(values_in_trace(&file, "a"), (0..1000).map(|i| i & 0xff).collect::<Vec<u64>>());
    assert!(matches!(m.trace_open(&ROOM.path().join("none/mixed.fst")), Err(Error::Trace { .. })));
}

/// The values that a signal takes, in order, read by another implementation of the format.
fn values_in_trace(file: &Path, name: &str) -> Vec<u64> {
    use fst_reader::{FstFilter, FstHierarchyEntry, FstReader, FstSignalValue};
    let mut reader = FstReader::open(std::io::BufReader::new(std::fs::File::open(file).unwrap())).unwrap();
    let mut wanted = None;
    let find = |entry| {
        if let FstHierarchyEntry::Var { name: found, handle, .. } = entry
            && found.split_whitespace().next() == Some(name)
        // the range may follow
        {
            wanted.get_or_insert(handle);
        }
    };
    reader.read_hierarchy(find).unwrap();
    let mut values = Vec::new();
    let take = |_time, _handle, value: FstSignalValue| {
        let FstSignalValue::String(digits) = value else { panic!("a real number") };
        values.push(u64::from_str_radix(std::str::from_utf8(digits).unwrap(), 2).unwrap());
    };
    reader.read_signals(&FstFilter::filter_signals(vec![wanted.expect("the signal is in the trace")]), take).unwrap();
    values
}

#[test]
fn lint_speaks_and_can_be_told_to_be_quiet() {
    let text =
        "module top(input clock, input [7:0] a, output reg [15:0] o);\n always @(posedge clock) o <= a;\nendmodule\n";
    let spec = ModelSpec::new("top", text);
    let found = VERILATOR.lint(&spec, "").unwrap();
    let widths: Vec<_> = found.iter().filter(|m| m.code == "WIDTHEXPAND").collect();
    assert_eq!((widths.len(), widths[0].line, widths[0].severity), (1, 2, Severity::Warning), "{found:?}");
    assert_eq!(widths[0].file, "top.v");
    let waivers = "// the accumulator is wider on purpose\nlint_off -rule WIDTHEXPAND -file \"*top.v\"\nlint_off -rule DECLFILENAME\n";
    assert_eq!(VERILATOR.lint(&spec, waivers).unwrap(), []);
    let found = VERILATOR.lint(&ModelSpec::new("top", "module top(;"), "").unwrap();
    assert!(found.iter().any(|m| m.severity == Severity::Error && m.line == 1), "{found:?}");
}

#[test]
fn the_soft_core_is_fetched_and_runs() {
    let core = systole_verilator::vexriscv_verilog(&Options::workspace())
        .unwrap_or_else(|e| panic!("{e}\nhelp: {}", e.help()));
    let text = std::fs::read_to_string(core).unwrap();
    let begun = Instant::now();
    let spec = ["WIDTH", "CASEINCOMPLETE", "UNOPTFLAT", "PINMISSING"]
        .into_iter()
        .fold(ModelSpec::new("VexRiscv", text).clock("clk"), ModelSpec::allow);
    let mut cpu = load(&spec);
    eprintln!("VexRiscv built in {:.1} s", begun.elapsed().as_secs_f64());
    let [reset, cycle, strobe, ack, address, data] = [
        "reset",
        "iBusWishbone_CYC",
        "iBusWishbone_STB",
        "iBusWishbone_ACK",
        "iBusWishbone_ADR",
        "iBusWishbone_DAT_MISO",
    ]
    .map(|n| cpu.find(n).unwrap());
    cpu.set(reset, 1);
    cpu.tick_many(4);
    cpu.set(reset, 0);
    cpu.set(data, 0x0000_0013); // nop
    cpu.set(ack, 1);
    assert!(cpu.tick_until(cycle, 1, 1000), "the core fetches once its cache is flushed");
    assert_eq!(cpu.get(strobe), 1);
    let begun = Instant::now();
    cpu.tick_many(200_000);
    eprintln!("{:.2} million cycles a second", 0.2 / begun.elapsed().as_secs_f64());
    assert!(cpu.get(address) > 1000, "the program counter runs");
}
