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
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use systole::run::checkpoint::{Checkpoint, FILE};

const SEED: u64 = 6;
/// Steps between checkpoints.
const EVERY: u64 = 7;

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
        .args(["--epochs", &epochs.to_string(), "--checkpoint-every", &EVERY.to_string()])
        .args("--loss-scale-init 4194304 --growth-interval 15".split(' '))
        .args(flags.split(' '))
        .arg("--runs")
        .arg(runs)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    c
}

/// Fields that tell of time: on the wall, and in clock cycles. How long a step takes on the hardware depends a little on what the
/// link did just before, so the steps after a checkpoint or a resume take some cycles more or less.
const TIMES: [&str; 5] = ["seconds", "cycles", "epoch_cycles", "array_utilization", "split"];

fn timeless(json: &str) -> String {
    let mut v: serde_json::Value = serde_json::from_str(json).unwrap();
    let strip = |v: &mut serde_json::Value| v.as_object_mut().unwrap().retain(|k, _| !TIMES.contains(&k.as_str()));
    strip(&mut v);
    v["phases"].as_array_mut().into_iter().flatten().for_each(strip);
    v.to_string()
}

/// What a run left behind: every tensor of its checkpoint, every line of its metrics, its scaler and position; without times.
fn outcome(folder: &Path) -> (Vec<(String, Vec<u8>)>, Vec<String>, String) {
    let path = folder.join(FILE);
    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file.tensors().into_iter().map(|(n, t)| (n, t.data().to_vec())).collect();
    tensors.sort();
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let checkpoint = Checkpoint::load(&path).unwrap();
    let state = format!("{} {}", checkpoint.fact("scalers").unwrap(), timeless(checkpoint.fact("position").unwrap()));
    (tensors, text.lines().map(timeless).collect(), state)
}

/// Steps that a run has recorded; they come in pieces, with every checkpoint.
fn recorded(folder: &Path) -> u64 {
    std::fs::read_to_string(folder.join("metrics.csv")).map_or(0, |t| t.lines().skip(1).count() as u64)
}

/// Lets a run go on until it has written its first checkpoint, recorded `steps` steps, and then for a random part of the time that
/// it takes from one checkpoint to the next; or until it is over. Measured in its own steps, so that a busy machine spoils nothing.
fn let_run(run: &mut Child, folder: &Path, steps: u64, random: &mut ChaCha8Rng) {
    let waits = |run: &mut Child, reached: &dyn Fn() -> bool| {
        while !reached() && run.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    waits(run, &|| folder.join(FILE).is_file());
    let started = Instant::now();
    waits(run, &|| recorded(folder) >= steps);
    let interval = started.elapsed().as_micros() as u64 * EVERY / steps.max(EVERY);
    std::thread::sleep(Duration::from_micros(random.next_u64() % interval.max(1000)));
}

/// What a campaign did.
#[derive(Debug)]
struct Campaign {
    steps: u64,
    skipped: u64,
    /// Runs that were to be killed, those included that were over by then.
    tried: u32,
    /// Smallest and largest step that a killed run went on from.
    resumed_from: (u64, u64),
}

/// Kills `points` runs in mid-run and resumes each.
fn campaign(device: &str, epochs: u32, flags: &str, points: u32, random: &mut ChaCha8Rng) -> Campaign {
    let runs = tempfile::tempdir().unwrap();
    let whole = command(device, epochs, flags, runs.path()).args(["--name", "whole"]).status().unwrap();
    assert!(whole.success(), "{device}, {flags}");
    let want = outcome(&runs.path().join("whole"));
    let position = Checkpoint::load(&runs.path().join("whole").join(FILE)).unwrap().position().unwrap();
    let (mut effective, mut tried, mut low, mut high) = (0, 0, u64::MAX, 0);
    while effective < points {
        assert!(tried < 20 * points, "{device}, {flags}: the run is over too soon to be killed");
        let name = format!("killed-{tried}");
        let folder = runs.path().join(&name);
        tried += 1;
        let mut child = command(device, epochs, flags, runs.path()).args(["--name", &name]).spawn().unwrap();
        let steps = random.next_u64() % position.steps;
        let_run(&mut child, &folder, steps, random);
        let over = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        if !over {
            effective += 1;
            let at = Checkpoint::load(&folder.join(FILE)).unwrap().position().unwrap().steps;
            (low, high) = (low.min(at), high.max(at));
            let resumed = command(device, epochs, flags, runs.path()).arg("--resume").arg(&folder).status().unwrap();
            let what = format!("{device}, {flags}: killed at about step {steps}, resumed from step {at}, seed {SEED}");
            assert!(resumed.success(), "{what}");
            assert!(outcome(&folder) == want, "{what}: it ends differently");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
    Campaign { steps: position.steps, skipped: position.skipped(), tried, resumed_from: (low, high) }
}

#[test]
fn a_sample_on_the_model() {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    for (name, flags) in RUNS {
        let r = campaign("model", 4, flags, 1, &mut random);
        println!("{name}: {r:?}");
        assert!(r.skipped > 0, "{name}: the run is to skip");
    }
}

/// Kills every run at so many points; writes a row for each into `docs/verification/resume.csv`, in place of the device's old ones.
fn all_of(device: &str, epochs: u32, points: u32) {
    static WRITING: Mutex<()> = Mutex::new(());
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verification/resume.csv");
    const HEAD: &str =
        "device,optimizer,flags,steps,skipped,runs_started,killed_and_resumed,first_step,last_step,equal\n";
    let row = |i: usize| {
        let (name, flags) = RUNS[i];
        let mut random = ChaCha8Rng::seed_from_u64(SEED);
        random.set_stream(i as u64);
        let c = campaign(device, epochs, flags, points, &mut random);
        let (Campaign { steps, skipped, tried, .. }, (low, high)) = (&c, c.resumed_from);
        let row = format!("{device},{name},{flags},{steps},{skipped},{tried},{points},{low},{high},{points}\n");
        print!("{row}");
        row
    };
    // two at a time: a run waits for the disk about as long as for the processor
    let (even, odd) = std::thread::scope(|scope| {
        let odd = scope.spawn(|| (1..RUNS.len()).step_by(2).map(row).collect::<Vec<_>>());
        ((0..RUNS.len()).step_by(2).map(row).collect::<Vec<_>>(), odd.join().unwrap())
    });
    let rows: Vec<String> = even.into_iter().zip(odd).flat_map(|(a, b)| [a, b]).collect();
    let _one_at_a_time = WRITING.lock().unwrap_or_else(|e| e.into_inner());
    let before = std::fs::read_to_string(PATH).unwrap_or_default();
    let others = before.split_inclusive('\n').skip(1).filter(|l| !l.starts_with(&format!("{device},")));
    let mut all: Vec<&str> = others.chain(rows.iter().map(String::as_str)).collect();
    all.sort_by_key(|l| l.split(',').next());
    std::fs::write(PATH, HEAD.to_string() + &all.concat()).unwrap();
}

#[test]
#[ignore = "minutes; writes docs/verification/resume.csv"]
fn all_of_it_on_the_model() {
    all_of("model", 16, 50);
}

#[test]
#[ignore = "minutes; writes docs/verification/resume.csv"]
fn all_of_it_on_the_rtl() {
    all_of("rtl", 2, 5);
}
