//! `systole sim`: a simulator that is a serial port, used by another process as a board would be.
#![cfg(unix)]

mod sim_process;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use sim_process::{SYSTOLE, Sim, report};

fn terminate(sim: &mut Sim) -> Option<i32> {
    Command::new("kill").args(["-TERM", &sim.child.id().to_string()]).status().unwrap();
    sim.child.wait().unwrap().code()
}

fn train(folder: &Path, device: &str, epochs: &str) -> Command {
    let mut c = Command::new(SYSTOLE);
    c.current_dir(folder).args(["train", "--device", device, "--seed", "7", "--epochs", epochs, "--json"]);
    c
}

fn weights(out: &Output) -> String {
    report(out)["weights_sha256"].as_str().unwrap().into()
}

#[test]
fn every_line_to_every_device_trains_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let direct = weights(&train(dir.path(), "model", "1").output().unwrap());
    let link = dir.path().join("dev");
    let path = link.to_str().unwrap();
    for line in [
        &["--pty", "--link", path, "--device", "model"][..],
        &["--pty", "--link", path, "--device", "rtl"],
        &["--tcp", "0", "--device", "model"],
    ] {
        let mut sim = Sim::start(line);
        // hosts come and go
        for _ in 0..2 {
            assert_eq!(weights(&train(dir.path(), sim.connect(), "1").output().unwrap()), direct, "{line:?}");
        }
        assert_eq!(link.is_symlink(), line.contains(&"--pty"));
        assert_eq!(terminate(&mut sim), Some(0), "{line:?}");
        assert!(!link.is_symlink(), "{line:?} left its link behind");
    }
}

/// Starts a long run and calls `then` when it has trained an epoch.
fn interrupted_run(folder: &Path, device: &str, then: impl FnOnce(&mut Child)) -> Output {
    let mut host = train(folder, device, "100000");
    let mut host = host.args(["--name", "r"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let checkpoint = folder.join("runs/r/checkpoint.safetensors");
    for _ in 0..600 {
        if checkpoint.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(checkpoint.exists());
    then(&mut host);
    host.wait_with_output().unwrap()
}

#[test]
fn a_pulled_cable_is_named() {
    for line in [&["--pty"][..], &["--tcp", "0"]] {
        let dir = tempfile::tempdir().unwrap();
        let mut sim = Sim::start(&[line, &["--device", "model"]].concat());
        let connect = sim.connect().to_string();
        let out = interrupted_run(dir.path(), &connect, |_| sim.child.kill().unwrap());
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(5), "{text}");
        assert!(text.contains(&format!("the connection to {connect} was lost while")), "{text}");
        assert!(out.stdout.is_empty());
        let kept = std::fs::read(dir.path().join("runs/r/checkpoint.safetensors")).unwrap();
        assert!(safetensors::SafeTensors::deserialize(&kept).is_ok());
    }
}

/// The simulator of `device` dies in the middle of a run of so many epochs, and comes back.
fn cable_pulled_and_back(device: &str, epochs: usize) {
    let dir = tempfile::tempdir().unwrap();
    let long = |device: &str, more: &[&str]| {
        let mut c = train(dir.path(), device, &epochs.to_string());
        c.args(["--checkpoint-every", "7"]).args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
        c
    };
    let undisturbed = weights(&long("model", &["--name", "whole"]).output().unwrap());
    let link = dir.path().join("dev");
    let line = ["--pty", "--link", link.to_str().unwrap(), "--device", device];
    let mut sim = Sim::start(&line);
    let host = long("dev", &["--name", "cut"]).spawn().unwrap();
    // somewhere in the middle: some steps are on the disk, most are not done
    let metrics = dir.path().join("runs/cut/metrics.csv");
    let steps = || std::fs::read_to_string(&metrics).map_or(0, |t| t.lines().count());
    for _ in 0..3000 {
        if steps() > 20 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    sim.child.kill().unwrap();
    let out = host.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(5), "{text}");
    assert!(text.contains("the connection to dev was lost while") && text.contains("help"), "{text}");
    assert!((21..epochs * 45).contains(&steps()), "{} lines", steps());
    // the link of a simulator that was killed leads nowhere; the next one takes its name over
    sim.child.wait().unwrap();
    let gone = long("dev", &["--resume", "cut"]).output().unwrap();
    assert_eq!(gone.status.code(), Some(2), "{}", String::from_utf8_lossy(&gone.stderr));
    let _back = Sim::start(&line);
    assert_eq!(weights(&long("dev", &["--resume", "cut"]).output().unwrap()), undisturbed);
}

#[test]
fn a_run_goes_on_when_the_cable_is_back() {
    cable_pulled_and_back("model", 40);
}

#[test]
fn on_the_hardware_too() {
    cable_pulled_and_back("rtl", 4);
}

#[test]
fn a_host_that_was_killed_makes_room_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("dev");
    let sim = Sim::start(&["--pty", "--link", link.to_str().unwrap(), "--device", "model"]);
    interrupted_run(dir.path(), "dev", |host| host.kill().unwrap());
    let direct = weights(&train(dir.path(), "model", "1").output().unwrap());
    assert_eq!(weights(&train(dir.path(), sim.connect(), "1").output().unwrap()), direct);
}

#[test]
fn impossible_lines_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("precious"), "kept").unwrap();
    let taken = Sim::start(&["--tcp", "0", "--device", "model"]);
    let port = taken.connect().rsplit(':').next().unwrap().to_string();
    for (args, code, word) in [
        (&["sim"][..], 2, "--pty"),
        (&["sim", "--pty", "--tcp", "0"], 2, "--tcp"),
        (&["sim", "--tcp", "0", "--device", "model", "--link", "x"], 2, "--link"),
        (&["sim", "--pty", "--device", "model", "--lanes", "3"], 2, "--lanes"),
        (&["sim", "--pty", "--device", "model", "--link", "precious"], 2, "precious"),
        (&["sim", "--pty", "--device", "model", "--link", "no/such/dev"], 3, "no/such/dev"),
        (&["sim", "--tcp", &port, "--device", "model"], 2, "cannot listen"),
        (&["train", "--device", "tcp:127.0.0.1:1"], 2, "127.0.0.1:1"),
        (&["train", "--device", "tcp:nonsense"], 2, "nonsense"),
    ] {
        let out = Command::new(SYSTOLE).current_dir(dir.path()).args(args).output().unwrap();
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(word) && text.contains("help"), "{args:?}: {text}");
    }
    assert_eq!(std::fs::read_to_string(dir.path().join("precious")).unwrap(), "kept");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn devices_tells_who_answers() {
    let dir = tempfile::tempdir().unwrap();
    let sim = Sim::start(&["--pty", "--device", "model", "--lanes", "4"]);
    let (silent, slave) = serialport::TTYPort::pair().unwrap();
    let silent_path = serialport::SerialPort::name(&slave).unwrap();
    drop(slave);
    let devices = |ports: &[&str]| {
        let args = [&["devices", "--json", "--timeout", "0.5"], ports].concat();
        let out = Command::new(SYSTOLE).current_dir(dir.path()).args(args).output().unwrap();
        (out.status.code(), serde_json::from_slice::<Value>(&out.stdout).unwrap(), out.stderr)
    };
    let (code, report, _) = devices(&[sim.connect()]);
    assert_eq!((code, &report["devices"][0]["device"]["lanes"]), (Some(0), &4.into()));
    let (code, report, stderr) = devices(&[&silent_path, sim.connect(), "/dev/no-such-port"]);
    assert_eq!(code, Some(5), "{}", String::from_utf8_lossy(&stderr));
    let found = report["devices"].as_array().unwrap();
    assert!(
        found[0]["device"].is_null() && found[0]["error"].as_str().unwrap().contains("did not answer within 0.5 s")
    );
    assert_eq!(found[1]["device"]["hmem_elements"], 1 << 17);
    assert!(found[2]["error"].as_str().unwrap().contains("no-such-port"));
    drop(silent);
}
