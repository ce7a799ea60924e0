//! A device that goes away in mid-run, and comes back or does not.
#![cfg(unix)]

mod sim_process;

use std::process::{Command, Stdio};
use std::time::Duration;

use sim_process::{SYSTOLE, Sim, WORKSPACE, report, systole};

#[test]
fn a_run_goes_on_when_its_device_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let args = "train --epochs 25 --seed 7 --checkpoint-every 5 --json --name r --device";
    let args: Vec<&str> = args.split(' ').collect();
    let direct = report(&systole(dir.path(), &[&args[..], &["model", "--runs", "direct"]].concat()));
    let link = dir.path().join("dev");
    let sim = || Sim::start(&["--pty", "--device", "model", "--link", link.to_str().unwrap()]);
    let mut first = sim();
    let host = Command::new(SYSTOLE)
        .current_dir(dir.path())
        .env("SYSTOLE_ROOT", WORKSPACE)
        .args([&args[..], &["dev", "--reconnect", "60"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let metrics = dir.path().join("runs/r/metrics.csv");
    // some steps into the first epoch
    for _ in 0..2000 {
        if std::fs::metadata(&metrics).is_ok_and(|m| m.len() > 2000) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    first.child.kill().unwrap();
    drop(first);
    std::thread::sleep(Duration::from_millis(300));
    let _second = sim();
    let out = host.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(text.contains("waiting up to 60 s") && text.contains("it is back"), "{text}");
    let through = report(&out);
    assert_eq!(through["weights_sha256"], direct["weights_sha256"]);
    assert_eq!(through["steps"], direct["steps"]);
    // every step once, with the same loss; the last column is cycles, which a port of its own counts and `model` does not
    let steps = |runs: &str| -> Vec<String> {
        let text = std::fs::read_to_string(dir.path().join(runs).join("r/metrics.csv")).unwrap();
        text.lines().map(|l| l.split(',').take(8).collect::<Vec<_>>().join(",")).collect()
    };
    assert!(steps("runs") == steps("direct"), "the metrics differ");
}

#[test]
fn a_device_that_stays_away_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut sim = Sim::start(&["--tcp", "0", "--device", "model"]);
    let connect = sim.connect().to_string();
    let host = Command::new(SYSTOLE)
        .current_dir(dir.path())
        .args(["train", "--epochs", "100000", "--name", "r", "--reconnect", "1", "--device", &connect])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let checkpoint = dir.path().join("runs/r/checkpoint.safetensors");
    for _ in 0..2000 {
        if checkpoint.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    sim.child.kill().unwrap();
    let out = host.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(5), "{text}");
    assert!(text.contains(&format!("error: the connection to {connect} was lost while")), "{text}");
}
