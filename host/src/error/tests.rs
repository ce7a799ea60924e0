//! The catalogue of errors: what every one of them says, and that the documentation says the same.

use std::time::Duration;

use super::Error;

/// Names a variant. No wildcard here: a new variant must come with an example below.
fn name(e: &Error) -> &'static str {
    match e {
        Error::InvalidValue { .. } => "InvalidValue",
        Error::InvalidModel { .. } => "InvalidModel",
        Error::NotForGans { .. } => "NotForGans",
        Error::UnknownDevice { .. } => "UnknownDevice",
        Error::Io { .. } => "Io",
        Error::Malformed { .. } => "Malformed",
        Error::Shape { .. } => "Shape",
        Error::DoesNotFit { .. } => "DoesNotFit",
        Error::Compile { .. } => "Compile",
        Error::Timeout { .. } => "Timeout",
        Error::PortLost { .. } => "PortLost",
        Error::DeviceRestarted { .. } => "DeviceRestarted",
        Error::Version { .. } => "Version",
        Error::BadReply { .. } => "BadReply",
        Error::Device { .. } => "Device",
        Error::ForwardNotFinite { .. } => "ForwardNotFinite",
        Error::ScaleExhausted { .. } => "ScaleExhausted",
        Error::Setup { .. } => "Setup",
        Error::Board { .. } => "Board",
        Error::Uncovered { .. } => "Uncovered",
        Error::Mismatch { .. } => "Mismatch",
        Error::NotProved { .. } => "NotProved",
        Error::Survived { .. } => "Survived",
        Error::Interrupted { .. } => "Interrupted",
    }
}

/// An example of every variant, and of every help line that a variant chooses between.
fn examples() -> Vec<Error> {
    let io = |kind| std::io::Error::from(kind);
    let port = || "/dev/ttyUSB0".to_string();
    let timeout = |phase: &str, received| Error::Timeout {
        port: port(),
        phase: phase.into(),
        limit: Duration::from_secs(5),
        request: "Hello".into(),
        seq: 0,
        sends: 9,
        outstanding: 1,
        received,
    };
    let malformed =
        |path: &str, format, reason: &str| Error::Malformed { path: path.into(), format, reason: reason.into() };
    vec![
        Error::value("--lr", -0.1, "a learning rate is a positive number"),
        Error::InvalidModel {
            spec: "mlp:63-10".into(),
            reason: "it takes 63 inputs, the rows of digits have 64".into(),
        },
        Error::NotForGans {
            command: "eval",
            model: "gan-digits".into(),
            reason: "it predicts nothing that could be right or wrong",
            help: "look at samples.svg in the run's folder",
        },
        Error::UnknownDevice {
            name: "nonsense".into(),
            reason: "neither a simulated device nor an existing port".into(),
        },
        Error::io("read", "weights.npy")(io(std::io::ErrorKind::NotFound)),
        Error::io("create", "/runs")(io(std::io::ErrorKind::PermissionDenied)),
        Error::io("write", "runs/a/metrics.csv")(io(std::io::ErrorKind::StorageFull)),
        malformed("a.npy", ".npy", "it does not start with \\x93NUMPY"),
        malformed("boards/b/board.toml", "board.toml", "line 3: unknown key"),
        malformed("a.csv", "CSV", "line 2 holds 1 features, the lines before it 2"),
        malformed("t10k-images-idx3-ubyte", "IDX", "it ends within its magic: 4 bytes are needed, the file holds 3"),
        malformed(
            "checkpoint.safetensors",
            "checkpoint",
            "its SHA-256 does not match its contents: it was edited or damaged",
        ),
        malformed("metrics.jsonl", "metrics", "line 3: expected value at line 1 column 1"),
        Error::Shape { what: "images and labels".into(), reason: "10 images in a, 9 labels in b".into() },
        Error::DoesNotFit {
            what: "mlp:64-4096-10".into(),
            reason: "tensor `0.weight` needs 524288 bytes of hmem".into(),
        },
        Error::Compile { what: "a network".into(), reason: "rows is 70000; it must be between 1 and 65535".into() },
        timeout("saying hello", 0),
        timeout("saying hello", 17),
        timeout("training", 1234),
        Error::PortLost { port: port(), phase: "training".into(), source: io(std::io::ErrorKind::BrokenPipe) },
        Error::DeviceRestarted { port: port(), phase: "training".into() },
        Error::Version { port: port(), host_protocol: 2, host_isa: 2, device_protocol: 1, device_isa: 2 },
        Error::BadReply { port: port(), phase: "training".into(), reason: "a reply of 3 bytes".into() },
        Error::Device {
            request: "Run".into(),
            phase: "evaluating".into(),
            code: 7,
            explanation: "segment 9 is not defined".into(),
        },
        Error::ForwardNotFinite { step: 12, place: "0 forward".into() },
        Error::ScaleExhausted { step: 80, skips: 50, scale: 1.0 },
        Error::Setup {
            what: "Verilator".into(),
            reason: "no C++ compiler".into(),
            help: "install g++ or clang".into(),
        },
        Error::Board {
            board: "nowhere".into(),
            reason: "there is no such board".into(),
            help: "`systole board list` names those that there are".into(),
        },
        Error::Uncovered { what: "lines", met: "91.20 %".into(), wanted: "95.00 %".into() },
        Error::Mismatch { what: "case 3, element 7".into(), found: "1.5".into(), expected: "1.25".into() },
        Error::NotProved {
            property: "no_overflow of byte_fifo (harness.sv:39.5-39.38)".into(),
            reason: "a counterexample, trace target/systole/formal/byte_fifo/byte_fifo_proof/engine_0/trace.vcd".into(),
        },
        Error::Survived { survived: 15, mutants: 480, killed: "96.80 %".into(), wanted: "97.00 %".into() },
        Error::Interrupted { kept: "; the checkpoint after step 90 is in runs/a".into() },
    ]
}

#[test]
fn every_error_says_what_it_is_and_what_to_do() {
    let text: Vec<String> = examples()
        .iter()
        .map(|e| format!("{} (exit {})\nerror: {e}\n help: {}\n", name(e), e.exit_code(), e.help()))
        .collect();
    insta::assert_snapshot!("catalogue", text.join("\n"));
    let mut helps: Vec<String> = examples().iter().map(|e| format!("{}{}", name(e), e.help())).collect();
    helps.dedup();
    assert_eq!(helps.len(), examples().len(), "an example that shows nothing new");
}

#[test]
fn the_documentation_lists_them() {
    let mut rows = String::from("| error | exit code | says, for example | help |\n|---|---|---|---|\n");
    for e in examples() {
        let cell = |s: String| s.replace('|', "\\|");
        rows += &format!("| `{}` | {} | {} | {} |\n", name(&e), e.exit_code(), cell(e.to_string()), cell(e.help()));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
    let doc = std::fs::read_to_string(path).unwrap();
    let (head, _) = doc.split_once("| error | exit code").expect("the table");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{head}{rows}")).unwrap();
    } else {
        assert!(doc == format!("{head}{rows}"), "docs/errors.md is out of date: run this test with UPDATE_DOCS=1");
    }
    for e in examples() {
        assert!(head.contains(&format!("| {} |", e.exit_code())), "exit code {} is not explained", e.exit_code());
    }
}
