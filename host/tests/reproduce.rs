//! `systole reproduce`: a slice of it, resumed, and pages that say what the tables say.

use std::path::Path;
use std::process::{Command, Output};

fn systole(out: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_systole"));
    let output = command.args(["reproduce", "--non-interactive", "--out"]).arg(out).args(args).output().unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn rows(path: &Path) -> Vec<csv::StringRecord> {
    csv::Reader::from_path(path).unwrap().into_records().map(Result::unwrap).collect()
}

fn column(path: &Path, name: &str) -> Vec<String> {
    let at = csv::Reader::from_path(path).unwrap().headers().unwrap().iter().position(|h| h == name).unwrap();
    rows(path).iter().map(|r| r[at].to_string()).collect()
}

#[test]
fn a_slice_runs_goes_on_where_it_was_and_becomes_pages() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path();
    let table = out.join("lenet-digits.csv");
    // some cells of one network first
    let first = systole(out, &["lenet-digits", "--quick", "--cells", "fp16-*"]);
    assert!(first.status.success());
    assert_eq!(column(&table, "variant"), ["fp16-masters", "fp16-sums"]);
    let page = std::fs::read_to_string(out.join("lenet-digits.md")).unwrap();
    assert!(page.contains("**Cells of the plan that have not been run yet: 5.**"), "{page}");
    let before = rows(&table);

    let all = systole(out, &["--quick", "--json"]);
    assert!(all.status.success());
    let report: serde_json::Value = serde_json::from_slice(&all.stdout).unwrap();
    for network in report["networks"].as_array().unwrap() {
        assert_eq!((&network["cells"], network["seconds_left"].as_f64()), (&network["done"], Some(0.0)));
        assert!(Path::new(network["page"].as_str().unwrap()).is_file());
    }
    assert_eq!(
        column(&table, "variant"),
        ["fp32", "mixed", "scale 2^0", "fp16-masters", "fp16-sums", "scale 2^-24", "scale 2^16"]
    );
    // what was there was not run again: its seconds are what they were
    assert!(before.iter().all(|row| rows(&table).contains(row)));
    assert!(column(&table, "outcome").iter().all(|o| o == "finished" || o.starts_with("step ")));

    // a mixed-precision cell is the run of its command
    let command = &column(&table, "command")[1];
    let args: Vec<&str> = command.split_whitespace().skip(1).collect();
    assert_eq!(&args[..2], ["train", "models/lenet-digits.toml"]);
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let run = Command::new(env!("CARGO_BIN_EXE_systole"))
        .args(args)
        .args(["--json", "--runs"])
        .arg(out.join("runs"))
        .current_dir(root)
        .output()
        .unwrap();
    let run: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(run["weights_sha256"].as_str(), Some(column(&table, "weights_sha256")[1].as_str()));
    assert_eq!(run["final_loss"].to_string(), column(&table, "train_loss")[1]);

    // pages are made of the tables alone
    let page = out.join("lenet-digits.md");
    let (said, summary) =
        (std::fs::read_to_string(&page).unwrap(), std::fs::read_to_string(out.join("README.md")).unwrap());
    let accuracy: f64 = column(&table, "test_accuracy")[0].parse().unwrap();
    assert!(said.contains(&format!("| FP32 | 1 | {:.2} ± 0.00 % |", 100.0 * accuracy)), "{said}");
    assert!(summary.contains("| Table 2, mean average precision | Multibox SSD | 76.9 % | diverges | 77.1 % |"));
    std::fs::remove_file(&page).unwrap();
    assert!(systole(out, &["--quick", "--report"]).status.success());
    assert_eq!(std::fs::read_to_string(&page).unwrap(), said);
    for picture in ["loss", "scales", "weights", "weight-gradients", "activation-gradients"] {
        let svg = std::fs::read_to_string(out.join(format!("lenet-digits-{picture}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && said.contains(&format!("(lenet-digits-{picture}.svg)")), "{picture}");
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (args, word) in [
        (&["alexnet"][..], "lenet-digits"),
        (&["lenet-digits", "--cells", "fp8/s0"], "--cells"),
        (&["all", "--jobs", "0"], "--jobs"),
    ] {
        let output = systole(dir.path(), args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(said.contains(word), "{args:?}: {said}");
    }
    std::fs::write(dir.path().join("gru-digits.csv"), "network,variant\nx,y\n").unwrap();
    let output = systole(dir.path(), &["gru-digits", "--plan"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("gru-digits.csv"));
}
