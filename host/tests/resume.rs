//! A run that stops anywhere and is continued ends as if it had never stopped: weights, losses, scales, metrics.

mod stop_after;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use stop_after::StopAfter;
use systole::driver::device::DeviceOptions;
use systole::error::Error;
use systole::run::checkpoint::{Checkpoint, FILE};
use systole::run::evaluate::{evaluate, export};
use systole::run::{LossScale, Silent, TrainOptions, TrainReport, train};

const SEED: u64 = 20;

fn options(runs: &Path) -> TrainOptions {
    TrainOptions {
        device: DeviceOptions { name: "model".into(), ..DeviceOptions::default() },
        runs: runs.into(),
        model: "mlp:64-16-10".into(),
        epochs: 2,
        seed: 7,
        // so that the run skips, backs off and grows again
        loss_scale: LossScale::Dynamic,
        loss_scale_init: 24,
        growth_interval: 10,
        ..TrainOptions::default()
    }
}

/// The metrics without what a clock on the wall says.
fn metrics(folder: &Path) -> (String, Vec<serde_json::Value>) {
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let mut lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    lines.iter_mut().for_each(|l| drop(l.as_object_mut().unwrap().remove("seconds")));
    (std::fs::read_to_string(folder.join("metrics.csv")).unwrap(), lines)
}

fn assert_equal(whole: &TrainReport, resumed: &TrainReport, what: &str) {
    assert_eq!(metrics(Path::new(&whole.run_dir)), metrics(Path::new(&resumed.run_dir)), "{what}");
    let same = TrainReport { run_dir: whole.run_dir.clone(), ..resumed.clone() };
    assert_eq!(&same, whole, "{what}");
    let load = |r: &TrainReport| Checkpoint::load(&Path::new(&r.run_dir).join(FILE)).unwrap();
    let (a, b) = (load(whole), load(resumed));
    for key in ["sha256", "scalers", "position"] {
        assert_eq!(a.fact(key).unwrap(), b.fact(key).unwrap(), "{what}: {key}");
    }
}

fn folder_of(e: &Error, runs: &Path, name: &str) -> PathBuf {
    assert!(matches!(e, Error::Interrupted { .. }), "{e}");
    runs.join(name)
}

#[test]
fn stopped_at_any_step() {
    let runs = tempfile::tempdir().unwrap();
    for momentum in [0.0, 0.9] {
        let base = TrainOptions { momentum, ..options(runs.path()) };
        let whole = train(&base, &mut Silent).unwrap();
        assert!(whole.skipped > 0, "the run must exercise the scaler");
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        let points = (0..4).map(|_| 1 + random.next_u64() % whole.steps);
        // and around the end of an epoch, and at the very last step
        for point in points.chain([1, whole.steps / 2, whole.steps / 2 + 1, whole.steps]) {
            let name = format!("stopped-{momentum}-{point}");
            let first = TrainOptions { name: Some(name.clone()), checkpoint_every: Some(7), ..base.clone() };
            let stopped = train(&first, &mut StopAfter::new(point)).unwrap_err();
            let folder = folder_of(&stopped, runs.path(), &name);
            let at = Checkpoint::load(&folder.join(FILE)).unwrap().position().unwrap();
            // (so many may have been asked for by then)
            let asked_for = (point + 3).min(whole.steps);
            assert!((point..=asked_for).contains(&at.steps), "Ctrl-C after step {point} kept step {}", at.steps);
            let resumed = train(&TrainOptions { resume: Some(folder), ..base.clone() }, &mut Silent).unwrap();
            assert_equal(&whole, &resumed, &format!("seed {SEED}, momentum {momentum}, stopped after step {point}"));
        }
    }
}

#[test]
fn killed_at_any_moment() {
    let runs = tempfile::tempdir().unwrap();
    let base = TrainOptions { epochs: 12, ..options(runs.path()) };
    let whole = train(&base, &mut Silent).unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    for i in 0..6 {
        let wait = Duration::from_millis(20 + random.next_u64() % 300);
        let name = format!("killed-{i}");
        let mut child = Command::new(env!("CARGO_BIN_EXE_systole"))
            .args("train --device model --model mlp:64-16-10 --epochs 12 --seed 7 --json".split(' '))
            .args("--loss-scale-init 16777216 --growth-interval 10 --checkpoint-every 5 --name".split(' '))
            .arg(&name)
            .arg("--runs")
            .arg(runs.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // whenever the blow falls, what follows must hold; only how much it proves depends on the moment
        std::thread::sleep(wait);
        child.kill().unwrap();
        child.wait().unwrap();
        let folder = runs.path().join(&name);
        let resumed = match folder.join(FILE).is_file() {
            true => train(&TrainOptions { resume: Some(folder), ..base.clone() }, &mut Silent).unwrap(),
            false => continue,
        };
        assert_equal(&whole, &resumed, &format!("seed {SEED}, killed after {wait:?}"));
    }
}

/// Every file below a folder, with what it holds.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn another_run_is_refused_and_the_checkpoint_untouched() {
    let runs = tempfile::tempdir().unwrap();
    let base = TrainOptions { epochs: 1, ..options(runs.path()) };
    let whole = train(&base, &mut Silent).unwrap();
    let folder = PathBuf::from(&whole.run_dir);
    let files = || contents(&folder);
    let before = files();
    let other = runs.path().join("other.csv");
    let row = |i: usize| format!("{}{}\n", "16,".repeat(64), i % 10);
    std::fs::write(&other, (0..50).map(row).collect::<String>()).unwrap();
    let base = TrainOptions { resume: Some(folder.clone()), epochs: 2, ..base };
    let cases: [(&str, TrainOptions); 7] = [
        ("--model", TrainOptions { model: "mlp:64-24-10".into(), ..base.clone() }),
        ("--momentum", TrainOptions { momentum: 0.0, ..base.clone() }),
        ("--lr", TrainOptions { lr: 0.1, ..base.clone() }),
        ("--seed", TrainOptions { seed: 8, ..base.clone() }),
        ("--epochs", TrainOptions { epochs: 0, ..base.clone() }),
        ("data set", TrainOptions { data: other.display().to_string(), ..base.clone() }),
        ("--name", TrainOptions { name: Some("x".into()), ..base.clone() }),
    ];
    for (word, options) in cases {
        let e = train(&options, &mut Silent).unwrap_err();
        assert!(e.to_string().contains(word), "{word}: {e}");
        assert_eq!(files(), before, "{word}");
    }
    // the same run goes on, and further than it was meant to
    let longer = TrainOptions { epochs: 2, ..options(runs.path()) };
    assert_equal(&train(&longer, &mut Silent).unwrap(), &train(&base, &mut Silent).unwrap(), "one epoch more");
}

#[test]
fn evaluated_and_exported() {
    let runs = tempfile::tempdir().unwrap();
    let whole = train(&options(runs.path()), &mut Silent).unwrap();
    let path = Path::new(&whole.run_dir).join(FILE);
    let e = evaluate(&path, None, false, &options(runs.path()).device).unwrap();
    assert_eq!((Some(e.train_accuracy), Some(e.test_accuracy)), (whole.train_accuracy, whole.test_accuracy));
    assert_eq!(e.weights_sha256, whole.weights_sha256);
    let masters = Checkpoint::load(&path).unwrap();
    for (f16, width) in [(false, 4), (true, 2)] {
        let out = runs.path().join("out.safetensors");
        export(&path, &out, f16, false).unwrap();
        let bytes = std::fs::read(&out).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut names = file.names();
        names.sort();
        assert_eq!(names, ["0.bias", "0.weight", "2.bias", "2.weight"]);
        assert_eq!(file.tensor("0.weight").unwrap().shape(), [16, 64], "as torch.nn.Linear: [out, in]");
        for (name, _, values) in masters.masters() {
            let data = file.tensor(name).unwrap();
            assert_eq!(data.data().len(), width * values.len());
            for (b, v) in data.data().chunks(width).zip(values) {
                match f16 {
                    true => assert_eq!(u16::from_le_bytes([b[0], b[1]]), half::f16::from_f32(v).to_bits()),
                    false => assert_eq!(f32::from_le_bytes([b[0], b[1], b[2], b[3]]).to_bits(), v.to_bits()),
                }
            }
        }
    }
}
