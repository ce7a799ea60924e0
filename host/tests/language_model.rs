//! Sequences with a label at every step, and tokens: data from a text, training, resuming, evaluating; what the compiler does where
//! memories are small.

mod bench;
mod stop_after;

use std::path::Path;

use bench::Bench;
use stop_after::StopAfter;
use systole::compile::{self, Compiled, Optimizer};
use systole::driver::device::DeviceOptions;
use systole::graph::{initialize, parse_file};
use systole::run::checkpoint::FILE;
use systole::run::evaluate::evaluate;
use systole::run::{OptimizerName, Silent, TrainOptions, train};
use systole_isa::machine::Machine;
use systole_isa::sreg;

const MODEL: &str = "name = \"lm\"\ninput = [6]\nalphabet = \"abcdefg \"\nloss = \"softmax_cross_entropy\"\n\
                     [[layer]]\nop = \"embedding\"\nvocabulary = 8\nfeatures = 5\n\
                     [[layer]]\nop = \"lstm\"\nhidden = 9\n[[layer]]\nop = \"dense\"\nfeatures = 8\n";

fn options(dir: &Path) -> TrainOptions {
    // what comes after a letter is known, and after a space by what was before it
    let text = dir.join("t.txt");
    std::fs::write(&text, "abc defg ".repeat(80)).unwrap();
    TrainOptions {
        device: DeviceOptions { name: "model".into(), ..DeviceOptions::default() },
        runs: dir.into(),
        data: text.display().to_string(),
        model: MODEL.into(),
        optimizer: OptimizerName::Adagrad,
        lr: 0.3,
        momentum: 0.0,
        eps: 1e-10,
        batch: 8,
        epochs: 12,
        ..TrainOptions::default()
    }
}

#[test]
fn a_text_is_learned_and_a_stopped_run_ends_as_a_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let base = options(dir.path());
    let whole = train(&base, &mut Silent).unwrap();
    // 719 characters with one after them: 119 rows, of which 108 train in 14 steps
    assert_eq!(whole.steps, 12 * 14);
    let (loss, right) = (whole.final_loss.unwrap(), whole.test_accuracy.unwrap());
    assert!(loss < 0.2 && (0.9..=1.0).contains(&right), "loss {loss}, accuracy {right}");
    let e = evaluate(&Path::new(&whole.run_dir).join(FILE), None, false, &base.device).unwrap();
    assert_eq!((Some(e.train_accuracy), Some(e.test_accuracy)), (whole.train_accuracy, whole.test_accuracy));
    let first = TrainOptions { name: Some("stopped".into()), ..base.clone() };
    train(&first, &mut StopAfter::new(33)).unwrap_err();
    let resumed = train(&TrainOptions { resume: Some(dir.path().join("stopped")), ..base }, &mut Silent).unwrap();
    assert_eq!((resumed.weights_sha256, resumed.final_loss), (whole.weights_sha256, whole.final_loss));
}

#[test]
fn what_does_not_go_together_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let base = options(dir.path());
    let fails = |o: TrainOptions| train(&o, &mut Silent).unwrap_err().to_string();
    let e = fails(TrainOptions { data: "digits".into(), ..base.clone() });
    assert!(e.contains("6 inputs") || e.contains("each of 6 steps"), "{e}");
    let e = fails(TrainOptions { model: MODEL.replace("defg", "def"), ..base.clone() });
    assert!(e.contains("line 1, column 8") && e.contains("'g'"), "{e}");
    let e = fails(TrainOptions { model: MODEL.replace("features = 8", "features = 7"), ..base.clone() });
    assert!(e.contains("7 classes"), "{e}");
    let e = fails(TrainOptions { model: MODEL.replace("vocabulary = 8", "vocabulary = 7"), ..base });
    assert!(e.contains("7 tokens") && e.contains("number 7"), "{e}");
}

/// Loss, right labels and masters after two steps on a machine.
fn run(compiled: Compiled) -> (Vec<u32>, [u32; 2]) {
    let graph = parse_file(MODEL).unwrap().0.graph;
    let mut bench = Bench::new(compiled);
    bench.parameters(&initialize(&graph, 2));
    let mut bits = Vec::new();
    let batch = |step: usize| {
        let tokens: Vec<f32> = (0..24).map(|i| ((i * i + step) % 8) as f32).collect();
        let labels: Vec<u32> =
            (0..24).map(|i| if i < 18 { (i as u32 * 5 + 1) % 8 } else { compile::PADDED_LABEL }).collect();
        (tokens, labels)
    };
    for step in 0..2 {
        let (tokens, labels) = batch(step);
        bench.batch(step, &tokens, &labels);
        bench.scalars(3, 10, 0.5, 0.9);
        bench.run(bench.compiled.phases[0].passes[0].segment);
        bits.extend([sreg::LOSS, sreg::CORRECT].map(|r| bench.sreg(r).to_bits()));
        bench.run(bench.compiled.phases[0].update);
    }
    bits.extend(bench.compiled.parameters.iter().flat_map(|p| bench.read(p.master)).map(f32::to_bits));
    bench.run(bench.compiled.evaluate.segment);
    bits.extend(bench.read(bench.compiled.output).iter().map(|v| v.to_bits()));
    (bits, [sreg::LOSS, sreg::CORRECT].map(|r| bench.sreg(r).to_bits()))
}

/// A loss by pieces, and an evaluation by the pass that trains, change no bit.
#[test]
fn small_memories_give_the_same_numbers() {
    let graph = parse_file(MODEL).unwrap().0.graph;
    let fits = |machine: Machine| compile::network(&graph, 4, Optimizer::Sgd { momentum: true }, machine);
    let on = |machine: Machine| fits(machine).unwrap();
    let usual = on(Machine::DEFAULT);
    let want = run(usual.clone());
    let short = Machine { pmem_words: usual.program.len() as u32 - 12, ..Machine::DEFAULT };
    let shared = on(short);
    assert_eq!(shared.evaluate.segment, shared.phases[0].passes[0].segment);
    assert!(shared.segments.len() < usual.segments.len());
    assert_eq!(run(shared), want);
    // the smallest memory in which it can be trained
    let small = (1024..).step_by(64).find_map(|smem_words| fits(Machine { smem_words, ..Machine::DEFAULT }).ok());
    let pieces = small.expect("the usual one is enough");
    let losses = |c: &Compiled| c.plan.tensors.iter().filter(|t| t.name == "loss shifted").count();
    assert!(losses(&pieces) > losses(&usual), "{} pieces", losses(&pieces));
    assert_eq!(run(pieces), want);
}
