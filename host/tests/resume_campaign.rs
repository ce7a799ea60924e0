//! SIGKILL at random moments of runs with every optimizer; each resumed run must end as the one that was never killed: every tensor
//! and every state word of its checkpoint, every line of its metrics.
//!
//! A sample runs always. The campaign behind `docs/verification/resume.csv`:
//!
//! ```sh
//! cargo test --release -p systole --test resume_campaign -- --ignored --nocapture
//! ```

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use systole::run::checkpoint::{Checkpoint, FILE};

const SEED: u64 = 6;

/// Name and flags. Scales start high and intervals are short, so that the runs skip, back off and grow.
const RUNS: [(&str, &str); 8] = [
    ("sgd", "--momentum 0"),
    ("sgd momentum", "--momentum 0.9 --clip-value 0.05"),
    ("sgd dampening", "--momentum 0.9 --dampening 0.1 --hysteresis 2 --hysteresis-refill growth"),
    ("sgd nesterov", "--momentum 0.9 --nesterov --weight-decay 0.001 --clip-norm 1 --ema 0.99"),
    ("adam", "--optimizer adam --schedule cosine --warmup 20"),
    ("adam l2", "--optimizer adam --weight-decay 0.01 --accumulate 2"),
    ("adamw", "--optimizer adamw --weight-decay 0.01 --clip-norm 1 --accumulate 3 --schedule step:30:0.5"),
    ("adagrad", "--optimizer adagrad --master-weights fp16"),
];

fn command(device: &str, epochs: u32, flags: &str, runs: &Path) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_systole"));
    c.args(["train", "--device", device, "--model", "mlp:64-16-10", "--seed", "7", "--json", "--non-interactive"])
        .args(["--epochs", &epochs.to_string(), "--checkpoint-every", "7"])
        .args("--loss-scale-init 4194304 --growth-interval 15".split(' '))
        .args(flags.split(' '))
        .arg("--runs")
        .arg(runs)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    c
}

/// What a run left behind, without what depends on the clock on the wall and on where the run began.
fn outcome(folder: &Path) -> (Vec<(String, Vec<u8>)>, Vec<String>, String) {
    let path = folder.join(FILE);
    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file.tensors().into_iter().map(|(n, t)| (n, t.data().to_vec())).collect();
    tensors.sort();
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|l| {
        let mut v: serde_json::Value = serde_json::from_str(l).unwrap();
        v.as_object_mut().unwrap().remove("seconds");
        v.to_string()
    });
    let checkpoint = Checkpoint::load(&path).unwrap();
    let state = format!("{} {}", checkpoint.fact("scaler").unwrap(), checkpoint.fact("position").unwrap());
    (tensors, lines.collect(), state)
}

/// Waits until a run has written its first checkpoint, which is before its first step, or has ended.
fn first_checkpoint(run: &mut Child, folder: &Path) {
    while !folder.join(FILE).is_file() && run.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills `points` runs in mid-run and resumes each. Returns (steps, skipped steps, blows tried, smallest and largest step resumed from).
fn campaign(device: &str, epochs: u32, flags: &str, points: u32, random: &mut ChaCha8Rng) -> (u64, u64, u32, u64, u64) {
    let runs = tempfile::tempdir().unwrap();
    let mut whole = command(device, epochs, flags, runs.path()).args(["--name", "whole"]).spawn().unwrap();
    first_checkpoint(&mut whole, &runs.path().join("whole"));
    let started = Instant::now();
    assert!(whole.wait().unwrap().success(), "{device}, {flags}");
    let duration = started.elapsed().as_micros() as u64;
    let want = outcome(&runs.path().join("whole"));
    let position = Checkpoint::load(&runs.path().join("whole").join(FILE)).unwrap().position().unwrap();
    let (mut effective, mut tried, mut low, mut high) = (0, 0, u64::MAX, 0);
    while effective < points {
        assert!(tried < 20 * points, "{device}, {flags}: the run is over too soon to be killed");
        let name = format!("killed-{tried}");
        tried += 1;
        let mut child = command(device, epochs, flags, runs.path()).args(["--name", &name]).spawn().unwrap();
        let wait = Duration::from_micros(random.next_u64() % duration);
        first_checkpoint(&mut child, &runs.path().join(&name));
        std::thread::sleep(wait);
        let over = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        let folder = runs.path().join(&name);
        if over || !folder.join(FILE).is_file() {
            continue;
        }
        effective += 1;
        let at = Checkpoint::load(&folder.join(FILE)).unwrap().position().unwrap().steps;
        (low, high) = (low.min(at), high.max(at));
        let resumed = command(device, epochs, flags, runs.path()).arg("--resume").arg(&folder).status().unwrap();
        let what = format!("{device}, {flags}: killed after {wait:?}, resumed from step {at}, seed {SEED}");
        assert!(resumed.success(), "{what}");
        assert!(outcome(&folder) == want, "{what}: it ends differently");
        std::fs::remove_dir_all(&folder).unwrap();
    }
    (position.steps, position.skipped, tried, low, high)
}

#[test]
fn a_sample_on_the_model() {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    for (name, flags) in RUNS {
        let r = campaign("model", 4, flags, 1, &mut random);
        println!("{name}: {r:?}");
        assert!(r.1 > 0, "{name}: the run is to skip");
    }
}

#[test]
#[ignore = "minutes; writes docs/verification/resume.csv"]
fn all_of_it() {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut csv = String::from(
        "device,optimizer,flags,steps,skipped,runs_started,killed_and_resumed,first_step,last_step,equal\n",
    );
    for (device, epochs, points) in [("model", 16, 50), ("rtl", 2, 5)] {
        for (name, flags) in RUNS {
            let (steps, skipped, tried, low, high) = campaign(device, epochs, flags, points, &mut random);
            csv += &format!("{device},{name},{flags},{steps},{skipped},{tried},{points},{low},{high},{points}\n");
            println!("{}", csv.lines().last().unwrap());
        }
    }
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verification/resume.csv"), csv).unwrap();
}
