//! `systole verify lockstep`: hardware and model side by side, and that a wrong instruction is found.

use systole::cli::verify::verify_lockstep;
use systole::compile::{self, Compiled};
use systole::data::dropout::Moment;
use systole::data::{Dataset, permutation};
use systole::driver::Device;
use systole::driver::device::DeviceOptions;
use systole::driver::lockstep::{Found, Lockstep, Part, Task};
use systole::driver::requests::Block;
use systole::driver::session::{Hyper, Weights};
use systole::error::Error;
use systole::graph::initialize;
use systole::run::schedule::Schedule;
use systole::run::{Silent, TrainOptions, parse_model, train};
use systole_isa::instr::{Gemm, Instr, Output, Vector, VectorOp, length};
use systole_isa::operand::{Dest, View};
use systole_isa::regs::Space;

fn options(name: &str, lanes: u32) -> DeviceOptions {
    DeviceOptions { name: name.into(), lanes: Some(lanes), ..DeviceOptions::default() }
}

fn open(name: &str, lanes: u32) -> Device {
    Device::open(&options(name, lanes)).unwrap_or_else(|e| panic!("{name}: {e}\n{}", e.help()))
}

#[test]
fn some_steps_on_the_hardware() {
    let mlp = TrainOptions::default();
    let gru =
        TrainOptions { model: "../models/gru-digits.toml".into(), batch: 16, accumulate: 2, ..TrainOptions::default() };
    for (options, steps) in [(mlp, 3), (gru, 1)] {
        let s = verify_lockstep(open("rtl", 8), &options, steps, None, |_| ()).unwrap_or_else(|e| panic!("{e}"));
        let parts = 2 * steps * u64::from(options.accumulate);
        assert_eq!((s.compared.steps, s.compared.segments), (steps, parts));
        assert!(s.compared.instructions > 20 * parts && s.compared.elements > 1000 * parts, "{s:?}");
    }
}

/// What is compared is what is trained: the weights are those of an ordinary run.
#[test]
fn a_step_in_two_requests_is_a_step() {
    let runs = tempfile::tempdir().expect("a folder");
    // a scale that overflows at first: skipped steps are steps, too
    for (scale, accumulate) in [(16, 1), (24, 1), (24, 3)] {
        let options = TrainOptions {
            device: options("model", 8),
            epochs: 1,
            accumulate,
            loss_scale_init: scale,
            runs: runs.path().into(),
            name: Some(format!("{scale}-{accumulate}")),
            ..TrainOptions::default()
        };
        let usual = train(&options, &mut Silent).unwrap_or_else(|e| panic!("{e}"));
        let s = verify_lockstep(open("model", 8), &options, u64::MAX, None, |_| ()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((s.compared.steps, s.compared.skipped), (usual.steps, usual.skipped));
        assert_eq!(s.weights_sha256, usual.weights_sha256);
        assert_eq!(usual.skipped > 0, scale == 24);
    }
}

#[test]
fn nothing_is_no_pass() {
    let refused = verify_lockstep(open("model", 8), &TrainOptions::default(), 0, None, |_| ());
    assert!(matches!(refused, Err(Error::InvalidValue { .. })));
}

/// A network, and a device one of whose instructions is another than it should be.
struct Faulty {
    lanes: u32,
    compiled: Compiled,
    weights: Weights,
    data: Dataset,
}

impl Faulty {
    fn new(lanes: u32) -> Faulty {
        let model = parse_model("mlp:64-32-10").expect("a model");
        let data = Dataset::open("digits").expect("bundled");
        let options = TrainOptions::default();
        let machine = open("model", lanes).info.machine;
        let compiled = compile::network(&model.graph, 32, options.recipe(), machine).expect("it fits");
        let weights = Weights::from(initialize(&model.graph, 0));
        Faulty { lanes, compiled, weights, data }
    }

    /// Number, word address and instruction of the last of a segment that `change` makes another, and that other.
    fn last(&self, segment: u32, change: impl Fn(Instr) -> Option<Instr>) -> (usize, u32, Instr, Instr) {
        let s = &self.compiled.segments[segment as usize];
        let (mut at, mut index, mut last) = (s.addr, 0, None);
        while at < s.addr + s.words {
            let words = &self.compiled.program[at as usize..];
            let instr = Instr::decode(words).expect("compiled");
            last = change(instr).map(|other| (index, at, instr, other)).or(last);
            at += length(words[0]) as u32;
            index += 1;
        }
        last.expect("the segment has such an instruction")
    }

    fn task(&self) -> Task<'_> {
        let (scalers, scale, schedule) = (vec![TrainOptions::default().scaler()], self.data.scale, Schedule::default());
        Task { compiled: &self.compiled, weights: &self.weights, scalers, scale, schedule }
    }

    /// Two steps, of which the second has the other instruction at `pc`.
    fn run(&self, pc: u32, other: Instr) -> Option<Found> {
        let devices = [open("model", self.lanes), open("model", self.lanes)];
        let mut lockstep = Lockstep::start(devices, &self.task()).expect("two models");
        lockstep.set_moment(Moment::default());
        let order = permutation(0, 1, self.data.train.len());
        let hyper = Hyper { lr: 0.05, momentum: 0.9 };
        let step = |lockstep: &mut Lockstep, i: usize| {
            lockstep.train(&self.data.train, &order[32 * i..32 * (i + 1)], &[hyper], |_, _| ()).expect("the links work")
        };
        assert!(step(&mut lockstep, 0).is_none());
        let bytes: Vec<u8> = other.encode().iter().flat_map(|w| w.to_le_bytes()).collect();
        let block = Block::line(Space::Program, pc, bytes.len() as u32 / 4);
        lockstep.device(0).link.write(block, &bytes).expect("program memory");
        step(&mut lockstep, 1)
    }

    /// The other instruction is found, and the first element that differs is one that it writes.
    fn is_found(&self, part: Part, segment: u32, change: impl Fn(Instr) -> Option<Instr>) {
        let (index, pc, instruction, other) = self.last(segment, change);
        let found = self.run(pc, other).expect("a difference");
        println!("{found}");
        assert_eq!((found.step, found.part, found.index, found.pc), (2, part, index, pc));
        assert_eq!(found.instruction, instruction);
        let writes: Vec<(Space, u32, u32)> = match instruction {
            Instr::Gemm(g) => match g.out {
                Output::Half(v) => vec![extent(Space::Hmem, &v, g.m, g.n)],
                Output::Single(v) => vec![extent(Space::Smem, &v, g.m, g.n)],
                Output::Keep => Vec::new(),
            },
            Instr::Vector(v) => match v.d {
                Dest::Hmem(d) => vec![extent(Space::Hmem, &d, v.rows, v.cols)],
                Dest::Smem(d) => vec![extent(Space::Smem, &d, v.rows, v.cols)],
                Dest::Sreg(_) | Dest::None => Vec::new(),
            }
            .into_iter()
            .chain(v.copy.map(|c| extent(Space::Hmem, &c, v.rows, v.cols)))
            .collect(),
            Instr::Control(_) => Vec::new(),
        };
        let d = found.difference;
        assert!(
            writes.iter().any(|&(space, first, last)| d.space == space && (first..=last).contains(&d.addr.0)),
            "{d:?}"
        );
        assert_ne!(d.found, d.expected);
        let error = found.error();
        assert_eq!(error.exit_code(), 8);
        let words = format!("step 2, instruction {index} of {}", format!("{part:?}").to_lowercase());
        assert!(error.to_string().contains(&words), "{error}");
    }
}

/// Memory, first and last address of a view without address register.
fn extent(space: Space, v: &View, rows: u16, cols: u16) -> (Space, u32, u32) {
    let first = v.base.addr.0;
    let reach = |count: u16, stride: i16| (u32::from(count) - 1) * u32::from(stride.unsigned_abs());
    (space, first, first + reach(rows, v.strides.outer) + reach(cols, v.strides.inner))
}

#[test]
fn a_wrong_product_is_found() {
    let faulty = Faulty::new(8);
    let compute = faulty.compiled.phases[0].passes[0].segment;
    faulty.is_found(Part::Compute, compute, shorter);
}

/// A product of one term instead of several.
fn shorter(i: Instr) -> Option<Instr> {
    match i {
        Instr::Gemm(g) if g.k > 1 && g.out != Output::Keep => Some(Instr::Gemm(Gemm { k: 1, ..g })),
        _ => None,
    }
}

/// The hardware's signals up to the instruction; and, since it is the hardware, the right value.
#[test]
fn what_is_found_can_be_recorded() {
    let faulty = Faulty::new(4);
    let (_, pc, _, other) = faulty.last(faulty.compiled.phases[0].passes[0].segment, shorter);
    let found = faulty.run(pc, other).expect("a difference");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("difference.fst");
    let there = found.record(&faulty.task(), &options("rtl", 4), &path).unwrap_or_else(|e| panic!("{e}\n{}", e.help()));
    assert_eq!(there, found.difference.expected);
    for extension in ["fst", "gtkw", "sucl"] {
        assert!(path.with_extension(extension).metadata().is_ok_and(|m| m.len() > 100), "{extension}");
    }
}

#[test]
fn a_wrong_vector_instruction_is_found() {
    let faulty = Faulty::new(8);
    let max = |i| match i {
        Instr::Vector(v) if v.op == VectorOp::Mad && !matches!(v.d, Dest::Sreg(_) | Dest::None) => {
            Some(Instr::Vector(Vector { op: VectorOp::Max, ..v }))
        }
        _ => None,
    };
    faulty.is_found(Part::Compute, faulty.compiled.phases[0].passes[0].segment, max);
    faulty.is_found(Part::Update, faulty.compiled.phases[0].update, max);
}
