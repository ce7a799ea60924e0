//! Running statistics of batch normalisation through whole runs: in checkpoints, evaluations and exports, over skipped steps and
//! resumed runs.

mod stop_after;

use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use stop_after::StopAfter;
use systole::driver::device::DeviceOptions;
use systole::run::checkpoint::{Checkpoint, FILE};
use systole::run::evaluate::{evaluate, export};
use systole::run::{LossScale, Silent, TrainOptions, train};

const MODEL: &str = "name = \"bn\"\ninput = [64]\nloss = \"softmax_cross_entropy\"\n\
                     [[layer]]\nop = \"dense\"\nfeatures = 12\n[[layer]]\nop = \"batch_norm\"\n[[layer]]\nop = \"relu\"\n\
                     [[layer]]\nop = \"dense\"\nfeatures = 10\n";

fn options(runs: &Path) -> TrainOptions {
    TrainOptions {
        device: DeviceOptions { name: "model".into(), ..DeviceOptions::default() },
        runs: runs.into(),
        model: MODEL.into(),
        epochs: 2,
        seed: 3,
        // so that the first steps overflow
        loss_scale: LossScale::Dynamic,
        loss_scale_init: 24,
        ..TrainOptions::default()
    }
}

fn load(run: &str) -> Checkpoint {
    Checkpoint::load(&Path::new(run).join(FILE)).unwrap()
}

fn buffer(of: &Checkpoint, name: &str) -> Vec<f32> {
    of.buffers().find(|b| b.0 == name).unwrap_or_else(|| panic!("no {name}")).2
}

#[test]
fn statistics_survive_a_stop_and_follow_skipped_steps_too() {
    let runs = tempfile::tempdir().unwrap();
    let base = options(runs.path());
    let whole = train(&base, &mut Silent).unwrap();
    assert!(whole.skipped > 0 && whole.test_accuracy.unwrap() > 0.85, "{whole:?}");
    let kept = load(&whole.run_dir);
    // every forward pass of training counts, whatever became of its step, and no evaluation does
    assert_eq!(buffer(&kept, "1.num_batches_tracked"), [whole.steps as f32]);
    assert!(kept.masters().all(|m| !m.0.contains("running")));
    for point in [1, whole.steps / 2, whole.steps] {
        let name = format!("stopped-{point}");
        let first = TrainOptions { name: Some(name.clone()), checkpoint_every: Some(7), ..base.clone() };
        train(&first, &mut StopAfter::new(point)).unwrap_err();
        let resume = Some(runs.path().join(name));
        let resumed = train(&TrainOptions { resume, ..base.clone() }, &mut Silent).unwrap();
        assert_eq!(resumed.weights_sha256, whole.weights_sha256, "stopped after {point}");
        let again = load(&resumed.run_dir);
        assert!(again.buffers().eq(kept.buffers()) && again.masters().eq(kept.masters()), "stopped after {point}");
        assert_eq!(resumed.test_accuracy, whole.test_accuracy);
    }
    // a step that is skipped leaves the weights alone, and moves the statistics
    let skipping = TrainOptions { name: Some("skip".into()), loss_scale: LossScale::Static(24), ..base.clone() };
    train(&skipping, &mut StopAfter::new(1)).unwrap_err();
    let after = load(runs.path().join("skip").to_str().unwrap());
    assert_eq!(after.position().unwrap().skipped(), after.position().unwrap().steps);
    assert_ne!(buffer(&after, "1.running_mean"), [0.0; 12]);
    assert_ne!(buffer(&after, "1.running_var"), [1.0; 12]);
}

#[test]
fn evaluated_and_exported_with_running_statistics() {
    let runs = tempfile::tempdir().unwrap();
    let whole = train(&TrainOptions { ema: Some(0.9), ..options(runs.path()) }, &mut Silent).unwrap();
    let path = Path::new(&whole.run_dir).join(FILE);
    let e = evaluate(&path, None, false, &options(runs.path()).device).unwrap();
    assert_eq!((Some(e.train_accuracy), Some(e.test_accuracy)), (whole.train_accuracy, whole.test_accuracy));
    assert_eq!(e.weights_sha256, whole.weights_sha256);
    let kept = Checkpoint::load(&path).unwrap();
    for (half, average) in [(false, false), (true, false), (false, true)] {
        let out = runs.path().join("w.safetensors");
        export(&path, &out, half, average).unwrap();
        let bytes = std::fs::read(&out).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut names = file.names();
        names.sort();
        let want =
            ["0.bias", "0.weight", "1.bias", "1.num_batches_tracked", "1.running_mean", "1.running_var", "1.weight"];
        assert_eq!(names, [&want[..], &["3.bias", "3.weight"]].concat());
        // as in torch.nn.BatchNorm1d: a whole number without dimensions
        let count = file.tensor("1.num_batches_tracked").unwrap();
        assert_eq!((count.dtype(), count.shape().len()), (Dtype::I64, 0));
        assert_eq!(count.data(), whole.steps.to_le_bytes());
        if !half {
            let mean: Vec<u8> = buffer(&kept, "1.running_mean").iter().flat_map(|v| v.to_le_bytes()).collect();
            assert_eq!(file.tensor("1.running_mean").unwrap().data(), mean);
        }
    }
}

#[test]
fn a_batch_of_one_row_is_refused() {
    let runs = tempfile::tempdir().unwrap();
    // 1437 = 4·359 + 1
    for batch in [1, 4] {
        let e = train(&TrainOptions { batch, ..options(runs.path()) }, &mut Silent).unwrap_err().to_string();
        assert!(e.contains("--batch") && e.contains("`1` (batch_norm)"), "{e}");
    }
}
