//! What the environment can break, each case in a process of its own: this program runs itself with the case's variables.

use std::process::{Command, Output};
use systole_verilator::{ModelSpec, Options, Verilator};

const CASE: &str = "SYSTOLE_TEST_CASE";

fn rerun(case: &str, variables: &[(&str, &str)]) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "inner", "--nocapture", "--include-ignored"])
        .env(CASE, case)
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// Not a test of its own: the body of the cases.
#[test]
#[ignore = "run by the other tests"]
fn inner() {
    let Ok(case) = std::env::var(CASE) else {
        return;
    };
    let room = tempfile::tempdir().unwrap();
    let own = Options::new(room.path()).quiet();
    let result = match case.as_str() {
        "provision" => Verilator::provision(&own).map(drop),
        "vexriscv" => systole_verilator::vexriscv_verilog(&own).map(drop),
        "firmware" => systole_verilator::firmware::build(&own, room.path()).map(drop),
        _ => {
            let spec = ModelSpec::new("m", "module m(input a, output b); assign b = a; endmodule");
            Verilator::provision(&Options::workspace()).and_then(|v| v.keeping_models_in(&own).build(&spec)).map(drop)
        }
    };
    match result {
        Ok(()) => println!("CASE OK"),
        Err(e) => println!("CASE {e:?}\nTEXT {e}\nHELP {}", e.help()),
    }
}

#[track_caller]
fn expect(output: &Output, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stdout);
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[test]
fn a_missing_compiler_is_named() {
    let output = rerun("build", &[("CXX", "/nonexistent/c++")]);
    expect(&output, &["CASE MissingProgram", "cannot run /nonexistent/c++", "HELP install g++"]);
}

#[test]
fn a_compiler_that_fails_is_quoted() {
    let output = rerun("build", &[("CXX", "false")]);
    expect(&output, &["CASE ProgramFailed", "false failed to compile the model"]);
}

#[test]
fn a_wrong_verilator_root_is_named() {
    let output = rerun("provision", &[("SYSTOLE_VERILATOR_ROOT", "/nonexistent")]);
    expect(&output, &["CASE BadTool", "Verilator at /nonexistent", "HELP install Verilator"]);
}

#[test]
fn without_python_or_verilator_the_help_says_what_to_install() {
    let output = rerun("provision", &[("PATH", "/nonexistent")]);
    expect(&output, &["CASE MissingProgram", "cannot run python3", "HELP install Python 3"]);
}

#[test]
fn without_a_network_the_error_comes_soon_and_says_what_is_missing() {
    let begun = std::time::Instant::now();
    let nowhere = [
        ("PIP_INDEX_URL", "http://127.0.0.1:9/simple"),
        ("PIP_NO_CACHE_DIR", "1"),
        ("PIP_FIND_LINKS", ""),
        ("PIP_RETRIES", "0"),
    ];
    let output = rerun("vexriscv", &nowhere);
    expect(&output, &["CASE Fetch", "cannot fetch pythondata-cpu-vexriscv", "HELP check the network"]);
    assert!(begun.elapsed().as_secs() < 60);
}

#[test]
fn an_unknown_way_of_building_firmware_is_refused() {
    let output = rerun("firmware", &[("SYSTOLE_FIRMWARE_TOOLCHAIN", "magic")]);
    expect(&output, &["CASE BadSetting", "SYSTOLE_FIRMWARE_TOOLCHAIN is `magic`"]);
}

#[test]
fn without_cargo_every_way_that_was_tried_is_listed() {
    let output = rerun("firmware", &[("PATH", "/nonexistent")]);
    expect(
        &output,
        &[
            "CASE NoFirmwareToolchain",
            "the installed target: cannot run rustc",
            "rustup: cannot run rustup",
            "Debian's compiler: cannot run",
        ],
    );
}
