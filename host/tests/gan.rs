//! GANs: gradients of both phases, what each phase updates, overflows that freeze one of them, runs that resume.

mod bench;
mod stop_after;

use std::path::{Path, PathBuf};

use bench::{Bench, doubles, largest, pixels, rounded};
use stop_after::StopAfter;
use systole::compile::optimizer::KEEP;
use systole::compile::{self, Compiled, Optimizer, PADDED_LABEL, Phase, Recipe};
use systole::data::{Dataset, Moment};
use systole::driver::Device;
use systole::driver::device::DeviceOptions;
use systole::driver::session::{Hyper, Session, Weights};
use systole::error::Error;
use systole::graph::{Graph, Model, initialize, parse_file};
use systole::inspect::{InspectOptions, inspect};
use systole::reference;
use systole::run::checkpoint::{Checkpoint, FILE};
use systole::run::evaluate::{evaluate, export};
use systole::run::samples;
use systole::run::schedule::Schedule;
use systole::run::{LossScale, Silent, TrainOptions, TrainReport, parse_model, train};
use systole_isa::frame::scaler;
use systole_isa::frame::step::Outcome;
use systole_isa::machine::Machine;
use systole_isa::sreg;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/gan-digits.toml");
const SGD: Optimizer = Optimizer::Sgd { momentum: false };
/// Exponent of the loss scale in tests without a scaler.
const SCALE: i8 = 10;
const LR: f32 = 0.5;

/// GANs that between them hold every operation whose parameters may be frozen.
fn models() -> Vec<(&'static str, Model)> {
    let layers = |of: &str, list: &str| -> String {
        let head = format!("[{of}]\noptimizer = 'adam'\nlr = 0.01\nbetas = [0.5, 0.999]\n");
        let layer = |l: &str| format!("[[{of}.layer]]\n{}\n", l.replace(" & ", "\n"));
        head + &list.split(';').map(layer).collect::<String>()
    };
    let gan = |input: &str, g: &str, d: &str| {
        let (g, d) = (layers("generator", g), layers("discriminator", d));
        let text = format!("name = 't'\ninput = {input}\nlatent = 5\n{g}{d}");
        parse_file(&text).unwrap_or_else(|e| panic!("{e}\n{text}")).0
    };
    let up = "op = 'dense' & features = 8;op = 'leaky_relu' & slope = 0.2;op = 'reshape' & shape = [2, 2, 2];\
              op = 'conv_transpose2d' & channels = 1 & kernel = 4 & stride = 2 & padding = 1";
    let down = "op = 'conv2d' & channels = 3 & kernel = 3 & padding = 1;op = 'leaky_relu' & slope = 0.2;op = 'flatten';\
                op = 'dense' & features = 6;op = 'layer_norm';op = 'tanh';op = 'dense' & features = 1";
    let transposed = "op = 'conv_transpose2d' & channels = 2 & kernel = 2;op = 'relu';op = 'flatten';\
                      op = 'dense' & features = 1";
    let normed = "op = 'dense' & features = 8;op = 'batch_norm';op = 'leaky_relu';op = 'reshape' & shape = [2, 2, 2];\
                  op = 'conv_transpose2d' & channels = 1 & kernel = 4 & stride = 2 & padding = 1";
    let judging = "op = 'conv2d' & channels = 3 & kernel = 3;op = 'batch_norm';op = 'tanh';op = 'flatten';\
                   op = 'dense' & features = 1";
    let rows = "op = 'dense' & features = 12;op = 'tanh';op = 'reshape' & shape = [3, 4]";
    vec![
        ("convolutions", gan("[1, 4, 4]", &format!("{up};op = 'sigmoid'"), down)),
        ("transposed", gan("[1, 4, 4]", &format!("{up};op = 'tanh'"), transposed)),
        ("batch norms", gan("[1, 4, 4]", normed, judging)),
        ("sequences", gan("[3, 4]", rows, "op = 'gru' & hidden = 3;op = 'last';op = 'dense' & features = 1")),
    ]
}

/// Labels of which the last `padded` are none.
fn labels(batch: usize, padded: usize) -> Vec<u32> {
    (0..batch).map(|i| if i < batch - padded { 0 } else { PADDED_LABEL }).collect()
}

fn passes(model: &Model) -> Vec<&Graph> {
    model.gan.as_ref().unwrap().phases.iter().flat_map(|p| &p.passes).map(|p| &p.graph).collect()
}

fn compiled(model: &Model, batch: usize, machine: Machine) -> Compiled {
    compile::model(model, batch as u32, &[SGD.into(), SGD.into()], machine).unwrap()
}

#[test]
fn gradients_of_every_pass_match_finite_differences() {
    for (name, model) in models() {
        for graph in passes(&model) {
            let mut p = doubles(&initialize(graph, 3));
            let x: Vec<f64> = (0..4 * graph.input_features()).map(|i| ((i * 37 % 101) as f64 - 50.0) / 64.0).collect();
            let labels = labels(4, 1);
            let pass = reference::gradients(graph, &p, &x, &labels);
            let h = 1e-6;
            for (t, of) in graph.parameters.iter().enumerate() {
                for i in 0..p[t].len() {
                    let at = p[t][i];
                    let mut loss = |v: f64| {
                        p[t][i] = v;
                        reference::evaluate(graph, &p, &x, &labels).loss
                    };
                    let want = if of.requires_grad { (loss(at + h) - loss(at - h)) / (2.0 * h) } else { 0.0 };
                    loss(at);
                    let got = pass.gradients[t][i];
                    assert!((want - got).abs() < 1e-7, "{name}, {} [{i}]: {want}, gradient {got}", of.name);
                }
            }
        }
    }
}

#[test]
fn the_losses_are_dcgans() {
    let model = &models()[0].1;
    let [real, fake, fooled] = passes(model)[..] else { panic!("three passes") };
    let zero: Vec<Vec<f64>> = model.graph.parameters.iter().map(|p| vec![0.0; p.len()]).collect();
    // a discriminator without an opinion: −log ½ in every pass
    for graph in [real, fake, fooled] {
        let loss = reference::evaluate(graph, &zero, &vec![0.5; 2 * graph.input_features()], &[0, 0]).loss;
        assert!((loss - 2f64.ln()).abs() < 1e-12);
    }
    // the two passes on generated images are of one logit x, against 0 and 1: log(1 + eˣ) and log(1 + e⁻ˣ)
    let p = doubles(&initialize(fake, 3));
    let x = [0.25, -0.5, 0.75, 0.125, -1.0];
    let (a, b) = (reference::evaluate(fake, &p, &x, &[0]), reference::evaluate(fooled, &p, &x, &[0]));
    assert_eq!(a.logits, b.logits);
    assert!((a.loss - b.loss - a.logits[0]).abs() < 1e-12);
}

/// Runs a pass on its batch number `seed`; returns what the reference makes of it.
fn run_pass(
    bench: &mut Bench,
    graph: &Graph,
    pass: &compile::Pass,
    (batch, padded): (usize, usize),
    seed: usize,
    parameters: &[Vec<f32>],
) -> reference::Pass<f64> {
    let x = pixels(batch * graph.input_features(), seed);
    let labels = labels(batch, padded);
    bench.feed(pass, seed % 2, &x, &labels);
    bench.scalars(batch - padded, SCALE, LR, 0.0);
    bench.run(pass.segment);
    assert_eq!(bench.fetcher.flag_bits(), 0);
    let x: Vec<f64> = x.iter().map(|&v| v as f64).collect();
    let want = reference::gradients(graph, &rounded(parameters), &x, &labels);
    let loss = bench.sreg(sreg::LOSS) as f64;
    assert!((loss - want.loss).abs() < 2e-3 * (1.0 + want.loss), "loss {loss}, reference {}", want.loss);
    want
}

/// Gradients on the device are the reference's; a phase's update follows the sum over its passes and touches nothing else.
#[test]
fn each_phase_updates_its_own_network_by_the_reference_gradient() {
    let narrow = Machine { pmem_words: 1 << 15, ..Machine::with_lanes(4) };
    for (name, model) in models() {
        for (machine, size) in [(Machine::DEFAULT, (9, 2)), (narrow, (3, 0))] {
            let mut bench = Bench::new(compiled(&model, size.0, machine));
            let start = initialize(&model.graph, 5);
            bench.parameters(&start);
            let mut now = start.clone();
            let specs = &model.gan.as_ref().unwrap().phases;
            for (spec, phase) in specs.iter().zip(bench.compiled.phases.clone()) {
                let mut sum: Vec<Vec<f64>> = start.iter().map(|p| vec![0.0; p.len()]).collect();
                for (i, (of, pass)) in spec.passes.iter().zip(&phase.passes).enumerate() {
                    let want = run_pass(&mut bench, &of.graph, pass, size, i + 1, &now);
                    let all = want.gradients.iter().map(|g| largest(g)).fold(0.0, f64::max);
                    for &p in &phase.parameters {
                        let (place, want) = (bench.compiled.parameters[p].clone(), &want.gradients[p]);
                        let tolerance = 4e-3 * largest(want) + 1e-3 * all;
                        for (i, (g, w)) in bench.read(place.gradient).iter().zip(want).enumerate() {
                            let got = f64::from(*g) / f64::from(SCALE).exp2();
                            assert!((got - w).abs() < tolerance, "{name}, {} [{i}]: {got}, reference {w}", place.name);
                        }
                        sum[p].iter_mut().zip(want).for_each(|(s, w)| *s += w);
                    }
                    bench.memory.sregs[KEEP] = if i == 0 { 0.0f32 } else { 1.0 }.to_bits();
                    let last = i + 1 == phase.passes.len();
                    bench.run(if last { phase.update } else { phase.accumulate.unwrap() });
                }
                let all = sum.iter().map(|g| largest(g)).fold(0.0, f64::max);
                for (p, place) in bench.compiled.parameters.clone().iter().enumerate() {
                    let got = bench.read(place.master);
                    if !phase.parameters.contains(&p) {
                        assert_eq!(got, now[p], "{name}: the phase of {} leaves {} alone", phase.name, place.name);
                        continue;
                    }
                    assert_ne!(got, now[p], "{name}: {} learns", place.name);
                    let tolerance = 8e-3 * largest(&sum[p]) + 2e-3 * all;
                    for (i, (g, (w, s))) in got.iter().zip(now[p].iter().zip(&sum[p])).enumerate() {
                        let step = f64::from(w - g) / f64::from(LR);
                        assert!((step - s).abs() < tolerance, "{name}, {} [{i}]: step {step}, sum {s}", place.name);
                    }
                    now[p] = got;
                }
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_the_machine() {
    for (name, model) in models() {
        let run = |machine: Machine| {
            let mut bench = Bench::new(compiled(&model, 6, machine));
            let parameters = initialize(&model.graph, 9);
            bench.parameters(&parameters);
            for step in 0..2 {
                for phase in bench.compiled.phases.clone() {
                    for (i, pass) in phase.passes.iter().enumerate() {
                        let features = pass.slots[0].input.cols as usize;
                        bench.feed(pass, step % 2, &pixels(6 * features, step + i), &labels(6, 1));
                        bench.scalars(5, SCALE, 0.1, 0.0);
                        bench.run(pass.segment);
                        bench.memory.sregs[KEEP] = if i == 0 { 0.0f32 } else { 1.0 }.to_bits();
                        let last = i + 1 == phase.passes.len();
                        bench.run(if last { phase.update } else { phase.accumulate.unwrap() });
                    }
                }
            }
            let masters = bench.compiled.parameters.iter().flat_map(|p| bench.read(p.master));
            masters.map(f32::to_bits).collect::<Vec<_>>()
        };
        let want = run(Machine::DEFAULT);
        assert_eq!(run(Machine { pmem_words: 1 << 16, ..Machine::with_lanes(16) }), want, "{name}");
        assert_eq!(run(Machine { vector_lanes: 2, pmem_words: 1 << 16, ..Machine::with_lanes(4) }), want, "{name}");
    }
}

/// A session on the model, with a scale of its own for each phase.
fn session(exponents: [i32; 2]) -> (Session, Dataset, Vec<Hyper>) {
    let model = parse_model(MODEL).unwrap();
    let data = Dataset::digits();
    let device = Device::open(&DeviceOptions { name: "model".into(), ..DeviceOptions::default() }).unwrap();
    let phases = TrainOptions::default().of_phases(&model);
    let recipes: Vec<Recipe> = phases.iter().map(TrainOptions::recipe).collect();
    let compiled = compile::model(&model, 16, &recipes, device.info.machine).unwrap();
    let weights = Weights::from(initialize(&model.graph, 1));
    let scalers = exponents.map(words);
    let session = Session::start(device, compiled, &weights, &scalers, data.scale).unwrap();
    (session, data, phases.iter().map(|o| Hyper { lr: o.lr, momentum: o.momentum }).collect())
}

fn words(exponent: i32) -> [u32; scaler::WORDS] {
    TrainOptions { loss_scale: LossScale::Static(exponent), ..TrainOptions::default() }.scaler()
}

/// Trains on so many batches; outcomes per step, phase by phase.
fn steps(session: &mut Session, data: &Dataset, hypers: &[Hyper], count: usize) -> Vec<Vec<Outcome>> {
    let order: Vec<usize> = (0..16 * count).collect();
    let mut all = Vec::new();
    session
        .train(&data.train, &order, hypers, |_, rows, replies| {
            assert_eq!((rows, replies.len()), (16, 2));
            all.push(replies.iter().map(|r| r.outcome).collect());
            Ok(())
        })
        .unwrap();
    all
}

/// Masters and moments of a phase.
fn of(phase: &Phase, w: &Weights) -> Vec<(Vec<f32>, Vec<Vec<f32>>)> {
    phase.parameters.iter().map(|&p| (w.masters[p].clone(), w.state[p].clone())).collect()
}

#[test]
fn an_overflow_freezes_its_own_phase_alone() {
    for frozen in [0, 1] {
        let exponents = [0, 1].map(|phase| if phase == frozen { 24 } else { 8 });
        let (mut session, data, hypers) = session(exponents);
        let phases = session.compiled().phases.clone();
        session.set_schedule(Schedule { warmup: 10, ..Schedule::default() });
        let before = session.weights().unwrap();
        let outcomes = steps(&mut session, &data, &hypers, 4);
        let (stuck, free) = (&phases[frozen], &phases[1 - frozen]);
        for step in outcomes {
            assert_eq!(
                (step[frozen], step[1 - frozen]),
                (Outcome::SkippedGradient, Outcome::Updated),
                "{}",
                stuck.name
            );
        }
        let after = session.weights().unwrap();
        assert_eq!(of(stuck, &after), of(stuck, &before), "weights and moments of {} stay", stuck.name);
        for ((a, moments), (b, _)) in of(free, &after).iter().zip(&of(free, &before)) {
            assert!(a != b && moments.iter().flatten().any(|&m| m != 0.0), "{} learns", free.name);
        }
        let scalers = session.scalers().unwrap();
        let counts = |w: &[u32; scaler::WORDS]| (w[scaler::STEPS], w[scaler::SKIPS]);
        assert_eq!((counts(&scalers[frozen]), counts(&scalers[1 - frozen])), ((4, 4), (4, 0)));
        // With a scale that holds, the frozen phase makes its first update: a tenth of the learning rate in this schedule, and
        // bias correction makes Adam's first step the rate, whatever the gradient. A fifth update would have five tenths of it
        // times 1.15.
        session.set_scaler(frozen, &words(8)).unwrap();
        assert_eq!(steps(&mut session, &data, &hypers, 1)[0], [Outcome::Updated; 2]);
        let (first, lr) = (session.weights().unwrap(), hypers[frozen].lr / 10.0);
        let pairs = stuck.parameters.iter().flat_map(|&p| first.masters[p].iter().zip(&after.masters[p]));
        let mut moved: Vec<f32> = pairs.map(|(a, b)| (a - b).abs()).collect();
        moved.sort_by(f32::total_cmp);
        let median = moved[moved.len() / 2];
        assert!((median / lr - 1.0).abs() < 1e-3, "{}: half of it moved by {median}, the rate is {lr}", stuck.name);
    }
}

fn options(runs: &Path) -> TrainOptions {
    TrainOptions {
        device: DeviceOptions { name: "model".into(), ..DeviceOptions::default() },
        runs: runs.into(),
        model: MODEL.into(),
        batch: 16,
        epochs: 2,
        seed: 7,
        // so that both phases skip, back off and grow again
        loss_scale_init: 20,
        growth_interval: 10,
        ..TrainOptions::default()
    }
}

/// Everything that a run leaves behind but times: checkpoint, metrics, samples.
fn outcome(r: &TrainReport) -> (String, String, String) {
    let folder = Path::new(&r.run_dir);
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    let sums = Checkpoint::load(&folder.join(FILE)).unwrap().fact("sha256").unwrap().to_string();
    (sums, read("metrics.csv"), read(samples::FILE))
}

#[test]
fn a_run_that_stops_anywhere_resumes_bit_for_bit() {
    let runs = tempfile::tempdir().unwrap();
    // dropout in the discriminator has masks of its own in each of its three passes
    let dropout = "[[discriminator.layer]]\nop = \"dropout\"\np = 0.25\n\n[[discriminator.layer]]\nop = \"flatten\"";
    let text = std::fs::read_to_string(MODEL).unwrap();
    let dropped = text.replace("[[discriminator.layer]]\nop = \"flatten\"", dropout);
    assert_ne!(text, dropped);
    let file = runs.path().join("dropout.toml");
    std::fs::write(&file, dropped).unwrap();
    for model in [MODEL, file.to_str().unwrap()] {
        stops_anywhere(&runs.path().join(if model == MODEL { "plain" } else { "dropout" }), model);
    }
}

fn stops_anywhere(runs: &Path, model: &str) {
    let base = TrainOptions { model: model.into(), ..options(runs) };
    let whole = train(&base, &mut Silent).unwrap();
    assert_eq!(whole.phases.iter().map(|p| p.name).collect::<Vec<_>>(), ["discriminator", "generator"]);
    assert!(whole.phases.iter().all(|p| p.skipped > 0 && p.skipped < whole.steps / 2), "{:?}", whole.phases);
    for at in [1, 2, 37, whole.steps / 2 - 1, whole.steps / 2, whole.steps / 2 + 1, whole.steps] {
        let name = format!("stopped-{at}");
        let first = TrainOptions { name: Some(name.clone()), checkpoint_every: Some(7), ..base.clone() };
        let stopped = train(&first, &mut StopAfter::new(at)).unwrap_err();
        assert!(matches!(stopped, Error::Interrupted { .. }), "{stopped}");
        let resume: Option<PathBuf> = Some(runs.join(name));
        let resumed = train(&TrainOptions { resume, ..base.clone() }, &mut Silent).unwrap();
        assert_eq!(outcome(&resumed), outcome(&whole), "stopped after step {at}");
        assert_eq!(TrainReport { run_dir: whole.run_dir.clone(), ..resumed }, whole);
    }
}

#[test]
fn metrics_tell_the_phases_apart_and_the_report_shows_both() {
    let runs = tempfile::tempdir().unwrap();
    let r = train(&TrainOptions { epochs: 1, ..options(runs.path()) }, &mut Silent).unwrap();
    let folder = Path::new(&r.run_dir);
    let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let count = |event: &str, phase: &str| lines.iter().filter(|l| l["event"] == event && l["phase"] == phase).count();
    for phase in ["discriminator", "generator"] {
        assert_eq!((count("step", phase), count("epoch", phase)), (r.steps as usize, 1));
    }
    let csv = std::fs::read_to_string(folder.join("metrics.csv")).unwrap();
    assert!(csv.starts_with("step,phase,epoch,") && csv.lines().count() as u64 == 1 + 2 * r.steps, "{csv}");
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    for word in ["discriminator", "generator", "Generated images"] {
        assert!(page.contains(word), "{word}");
    }
}

#[test]
fn what_has_no_meaning_for_a_gan_is_refused_with_what_to_do() {
    let runs = tempfile::tempdir().unwrap();
    let base = TrainOptions { epochs: 1, ..options(runs.path()) };
    let r = train(&base, &mut Silent).unwrap();
    let checkpoint = Path::new(&r.run_dir).join(FILE);
    let e = evaluate(&checkpoint, None, false, &base.device).unwrap_err();
    assert!(e.help().contains("samples.svg"), "{e}");
    let (device, data, batches, tolerance) = (base.device.clone(), None, 2, 0.01);
    let e = inspect(&InspectOptions { checkpoint: checkpoint.clone(), data, device, batches, tolerance }).unwrap_err();
    assert!(e.help().contains("systole report"), "{e}");
    let e = train(&TrainOptions { accumulate: 2, ..base.clone() }, &mut Silent).unwrap_err().to_string();
    assert!(e.contains("--accumulate") && e.contains("--batch"), "{e}");
    let e = train(&TrainOptions { data: "mnist-sample".into(), ..base }, &mut Silent).unwrap_err().to_string();
    assert!(e.contains("64") && e.contains("784"), "{e}");
    // weights of both networks go to PyTorch under their own names
    let out = runs.path().join("w.safetensors");
    assert_eq!(export(&checkpoint, &out, false, false).unwrap().tensors, 12);
    let bytes = std::fs::read(&out).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("generator.3.weight").unwrap().shape(), [16, 8, 4, 4]);
    assert_eq!(file.tensor("discriminator.0.weight").unwrap().shape(), [8, 1, 4, 4]);
}

/// The noise of the samples is met by no step of the run.
#[test]
fn generated_images_depend_on_their_moment_alone() {
    let (mut session, ..) = session([8, 8]);
    let at = Moment { seed: 3, epoch: 0, batch: 0 };
    let images = session.generate(at, &[1, 8, 8]).unwrap();
    assert_eq!(images.len(), 16 * 64);
    assert!(images.iter().all(|v| (0.0..=1.0).contains(&v.to_f32())));
    assert_ne!(images[..64], images[64..128], "each row has noise of its own");
    assert_eq!(session.generate(at, &[1, 8, 8]).unwrap(), images);
    assert_ne!(session.generate(Moment { seed: 4, ..at }, &[1, 8, 8]).unwrap(), images);
}
