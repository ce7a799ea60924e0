//! The README's main command in miniature, typed as the README says.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs `cargo run -- …` in the workspace; the object on stdout.
fn systole(args: &[&str]) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root).args(["run", "--quiet"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    println!("systole {}", args.join(" "));
    let out = command.arg("--").args(args).stdin(Stdio::null()).output().expect("cargo");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).expect("text");
    assert_eq!(text.lines().count(), 1, "one object and nothing else: {text}");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_main_command_learns_the_digits_on_the_hardware() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runs = folder.path().to_str().expect("a path in UTF-8");
    let r = systole(&["train", "--epochs", "3", "--seed", "7", "--json", "--runs", runs]);
    assert_eq!((&r["device"], &r["model"]), (&"rtl".into(), &"mlp:64-32-10".into()));
    assert_eq!((&r["steps"], &r["skipped"], &r["loss_scale"]), (&135.into(), &0.into(), &65536.0.into()));
    assert!(r["test_accuracy"].as_f64().expect("a number") > 0.8, "{r}");
    assert!(r["cycles"].as_u64().expect("a clock") > 0 && r["sim_khz"].as_f64().expect("a simulator") > 0.0, "{r}");
    let run = Path::new(r["run_dir"].as_str().expect("a folder"));
    for file in ["config.json", "metrics.csv", "metrics.jsonl", "checkpoint.safetensors", "result.json"] {
        assert!(run.join(file).is_file(), "{file}");
    }
}

#[test]
fn a_verification_says_what_it_did_and_how_to_repeat_it() {
    let r = systole(&["verify", "gemm", "--device", "model", "--max", "5", "--all", "--seed", "3", "--json"]);
    assert_eq!((&r["cases"], &r["lanes"], &r["seed"]), (&1500.into(), &8.into(), &3.into()));
    assert_eq!(r["command"], "systole verify gemm --device model --lanes 8 --max 5 --all --seed 3");
}
