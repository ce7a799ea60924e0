//! Runs that no further step can help: they stop, say why, and keep the last checkpoint.

use std::path::Path;
use std::process::{Command, Output};

use systole::run::checkpoint::{Checkpoint, FILE};
use systole_isa::frame::scaler;

/// Where the RTL is kept.
const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Trains with a checkpoint after every second step.
fn train(folder: &Path, device: &str, name: &str, flags: &str) -> Output {
    let mut c = Command::new(env!("CARGO_BIN_EXE_systole"));
    c.current_dir(folder).env("SYSTOLE_ROOT", WORKSPACE).args(["train", "--device", device, "--name", name]);
    c.args("--seed 7 --epochs 2 --checkpoint-every 2 --non-interactive".split(' ')).args(flags.split(' '));
    c.output().unwrap()
}

/// Step, loss, loss scale and outcome of every step in the metrics.
fn steps(run: &Path) -> Vec<(u64, f64, f64, String)> {
    let mut reader = csv::Reader::from_path(run.join("metrics.csv")).unwrap();
    let names = reader.headers().unwrap().clone();
    let at = |name: &str| names.iter().position(|n| n == name).unwrap();
    let columns = ["step", "loss", "loss_scale", "outcome"].map(at);
    let parse = |r: csv::StringRecord| {
        let [step, loss, scale, outcome] = columns.map(|c| r[c].to_string());
        (step.parse().unwrap(), loss.parse().unwrap(), scale.parse().unwrap(), outcome)
    };
    reader.records().map(|r| parse(r.unwrap())).collect()
}

/// A run that ends with exit code 6 after `last` steps; its error, and the checkpoint that it left, which must be whole and usable.
fn stopped(out: &Output, folder: &Path, name: &str, last: u64) -> (String, Checkpoint) {
    let text = String::from_utf8_lossy(&out.stderr).to_string();
    assert_eq!(out.status.code(), Some(6), "{text}");
    assert!(out.stdout.is_empty() && text.contains("help"), "{text}");
    let run = folder.join("runs").join(name);
    assert_eq!(steps(&run).last().unwrap().0, last, "the step that ended it is in the metrics");
    assert!(!run.join("result.json").exists());
    let checkpoint = Checkpoint::load(&run.join(FILE)).unwrap();
    // the last one before the step that went wrong
    assert_eq!(checkpoint.position().unwrap().steps, (last - 1) / 2 * 2);
    assert!(checkpoint.masters().all(|(_, _, v)| v.iter().all(|v| v.is_finite())));
    let eval = Command::new(env!("CARGO_BIN_EXE_systole"))
        .current_dir(folder)
        .args(["eval", name, "--device", "model", "--json"])
        .output()
        .unwrap();
    assert!(eval.status.success(), "{}", String::from_utf8_lossy(&eval.stderr));
    (text, checkpoint)
}

#[test]
fn overflows_in_a_row_at_a_scale_that_cannot_fall() {
    let dir = tempfile::tempdir().unwrap();
    let one_step = train(dir.path(), "model", "begun", "--loss-scale 16777216 --max-skips 1");
    let (_, begun) = stopped(&one_step, dir.path(), "begun", 1);
    for (device, name, flags) in [
        ("model", "static", "--loss-scale 16777216 --max-skips 5"),
        ("model", "floor", "--loss-scale-init 16777216 --scale-floor 16777216 --max-skips 5"),
        ("rtl", "on-rtl", "--loss-scale-init 16777216 --scale-floor 16777216 --max-skips 5"),
    ] {
        let out = train(dir.path(), device, name, flags);
        let (text, checkpoint) = stopped(&out, dir.path(), name, 5);
        let want = "error: step 5: gradients overflowed in 5 steps in a row at loss scale 16777216, which cannot fall any further";
        assert!(text.contains(want), "{name}: {text}");
        assert!(steps(&dir.path().join("runs").join(name)).iter().all(|s| s.3 == "skipped_gradient"), "{name}");
        // skipped steps froze everything: the weights are those of the start, and the scaler has counted
        assert!(checkpoint.masters().eq(begun.masters()), "{name}");
        let words = checkpoint.scalers().unwrap()[0];
        assert_eq!((words[scaler::STEPS], words[scaler::SKIPS], words[scaler::EXPONENT]), (4, 4, 24), "{name}");
    }
}

#[test]
fn a_scale_that_can_still_fall_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let out = train(dir.path(), "model", "falls", "--loss-scale-init 16777216 --max-skips 1");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let all = steps(&dir.path().join("runs/falls"));
    let in_a_row = all.iter().take_while(|s| s.3 == "skipped_gradient").count();
    assert!(in_a_row > 1, "several skips in a row, each at half the scale: {all:?}");
}

/// A learning rate that throws the weights away makes the forward pass overflow, which no scale can cure.
#[test]
fn a_forward_pass_that_is_not_finite_names_its_layer() {
    let dir = tempfile::tempdir().unwrap();
    // the larger the weights, the earlier the layer
    for (device, name, lr, layer) in [
        ("model", "logits", "1e4", "2 forward"),
        ("model", "hidden", "1e6", "0 forward"),
        ("rtl", "on-rtl", "1e4", "2 forward"),
    ] {
        let out = train(dir.path(), device, name, &format!("--lr {lr}"));
        let (text, _) = stopped(&out, dir.path(), name, 2);
        let want = format!("error: step 2: the forward pass is not finite ({layer}); the loss scale cannot cure that");
        assert!(text.contains(&want), "{name}: {text}");
    }
    // gradients overflow first, and are answered with a smaller scale; then activations do, and are not
    let out = train(dir.path(), "model", "both", "--lr 100");
    let all = {
        stopped(&out, dir.path(), "both", 8);
        steps(&dir.path().join("runs/both"))
    };
    let (last, before) = all.split_last().unwrap();
    assert_eq!(last.3, "skipped_forward");
    let skips: Vec<_> = before.windows(2).filter(|w| w[0].3 == "skipped_gradient").collect();
    assert!(skips.len() > 1 && skips.iter().all(|w| w[1].2 == w[0].2 / 2.0 && w[0].1.is_finite()), "{all:?}");
}
