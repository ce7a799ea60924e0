//! `systole monitor`: logs and counters of devices of every kind.
#![cfg(unix)]

mod sim_process;

use serde_json::Value;
use sim_process::{Sim, WORKSPACE, report, systole};

#[test]
fn it_shows_what_a_device_is_and_has_done() {
    let dir = tempfile::tempdir().unwrap();
    let r = report(&systole(dir.path(), &["monitor", "--device", "model", "--once", "--json"]));
    assert_eq!((&r["lanes"], &r["counters"]["cycles"], &r["log_lines"]), (&8.into(), &Value::Null, &0.into()));
    let sim = Sim::start(&["--pty", "--device", "model"]);
    let train = ["train", "--epochs", "1", "--json", "--loss-scale-init", "16777216", "--device", sim.connect()];
    let trained = report(&systole(dir.path(), &train));
    let r = report(&systole(dir.path(), &["monitor", "--device", sim.connect(), "--once", "--json"]));
    let counters = &r["counters"];
    assert_eq!((&counters["steps"], &counters["skipped"]), (&trained["steps"], &trained["skipped"]));
    assert_eq!(counters["loss_scale"], trained["loss_scale"]);
    assert!(counters["skipped"].as_u64().unwrap() > 0);
}

#[test]
fn the_log_of_the_hardware_is_decoded_by_whoever_connects() {
    let sim = Sim::start(&["--tcp", "0", "--device", "rtl"]);
    let here = std::path::Path::new(WORKSPACE);
    let args = ["monitor", "--device", sim.connect(), "--json", "--follow", "--for", "2", "--interval", "0.2"];
    let out = systole(here, &args);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let log = |what: &str| lines.iter().any(|l| l["log"].as_str().is_some_and(|l| l.contains(what)));
    assert!(log("systole firmware started") && log("hello: protocol"), "{text}");
    let cycles: Vec<u64> = lines.iter().filter_map(|l| l["cycles"].as_u64()).collect();
    assert!(cycles.len() >= 2 && cycles.is_sorted_by(|a, b| a < b), "{text}");
}

#[test]
fn impossible_times_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["--interval", "0"][..], &["--for", "-1"], &["--for", "NaN"]] {
        let out = systole(dir.path(), &[&["monitor", "--device", "model"], args].concat());
        assert_eq!(out.status.code(), Some(2), "{args:?}");
    }
}
