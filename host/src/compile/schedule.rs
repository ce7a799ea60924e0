//! From instructions in program order to an issue order with wait distances.
//!
//! Emitters append instructions as if each completed before the next started. [`schedule`] finds who depends on whom from
//! the memory regions that they touch, orders both engines' instructions by a list schedule over the cost model (longest
//! remaining path first), and writes the wait distances. Nobody writes a wait by hand.

use super::cost::{Cost, Engine, Pipeline, Span};
use systole_isa::instr::{Gemm, Init, Instr, Mask, Output, Vector};
use systole_isa::operand::{Base, Dest, Source, Strides, View};

/// Largest wait distance; a farther instruction is waited for through the 15th, which completes after it.
const MAX_DISTANCE: usize = 15;

/// A memory that instructions touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    Hmem(u32),
    Smem(u32),
    Mask,
    Accumulators,
    Sreg,
    /// What an address register points at: the input slots, which programs only read.
    Register(u8),
}

/// A strided box of elements; `inner` is the smaller step.
#[derive(Clone, Copy, Debug)]
struct Region {
    memory: Memory,
    base: u32,
    rows: u32,
    cols: u32,
    outer: u32,
    inner: u32,
}

impl Region {
    fn new(memory: Memory, base: u32, s: Strides, rows: u32, cols: u32) -> Region {
        assert!(s.inner >= 0 && s.outer >= 0, "emitters use no negative strides");
        let (inner, outer) = (s.inner as u32, s.outer as u32);
        let (mut rows, mut cols) = (if outer == 0 { 1 } else { rows }, if inner == 0 { 1 } else { cols });
        let (mut outer, mut inner) = (outer, inner);
        if cols > 1 && (rows == 1 || inner > outer) {
            (rows, cols, outer, inner) = (cols, rows, inner, outer);
        }
        if rows > 1 && cols == 1 && outer == 1 {
            (rows, cols, outer, inner) = (1, rows, 0, 1);
        }
        Region { memory, base, rows, cols, outer, inner }
    }

    fn last(&self) -> u32 {
        self.base + (self.rows - 1) * self.outer + (self.cols - 1) * self.inner
    }

    /// Whether an element may be in both. Exact for boxes of one row pitch with contiguous rows, else by extent.
    fn overlaps(&self, other: &Region) -> bool {
        if self.memory != other.memory || self.last() < other.base || other.last() < self.base {
            return false;
        }
        let contiguous = |r: &Region| r.cols == 1 || r.inner == 1;
        let pitch = if self.rows > 1 { self.outer } else { other.outer };
        let alike = |r: &Region| r.rows == 1 || r.outer == pitch;
        if pitch == 0 || !contiguous(self) || !contiguous(other) || !alike(self) || !alike(other) {
            return true;
        }
        let (c, d) = (self.base % pitch, other.base % pitch);
        if c + self.cols > pitch || d + other.cols > pitch {
            return true;
        }
        let (r, s) = (self.base / pitch, other.base / pitch);
        c < d + other.cols && d < c + self.cols && r < s + other.rows && s < r + self.rows
    }
}

/// What an instruction reads and writes.
#[derive(Clone, Debug, Default)]
struct Access {
    reads: Vec<Region>,
    writes: Vec<Region>,
    /// Accumulators that a product uses and leaves to the next one.
    scratch: Vec<Region>,
}

fn half(v: View, rows: u32, cols: u32) -> Region {
    located(v, Memory::Hmem(v.base.addr.plane()), rows, cols)
}

fn single(v: View, rows: u32, cols: u32) -> Region {
    located(v, Memory::Smem(v.base.addr.plane()), rows, cols)
}

fn located(v: View, memory: Memory, rows: u32, cols: u32) -> Region {
    let memory = if v.base.areg == 0 { memory } else { Memory::Register(v.base.areg) };
    Region::new(memory, v.base.addr.offset(), v.strides, rows, cols)
}

fn sreg(r: u8) -> Region {
    Region::new(Memory::Sreg, r as u32, Strides { inner: 1, outer: 0 }, 1, 1)
}

impl Access {
    fn of(instr: &Instr) -> Access {
        let access = match instr {
            Instr::Control(_) => Access::default(),
            Instr::Gemm(g) => Access::gemm(g),
            Instr::Vector(v) => Access::vector(v),
        };
        let fixed = |r: &Region| !matches!(r.memory, Memory::Register(_));
        assert!(access.writes.iter().all(fixed), "programs write at fixed addresses only");
        access
    }

    fn gemm(g: &Gemm) -> Access {
        let (m, k, n) = (g.m as u32, g.k as u32, g.n as u32);
        let mut a = Access { reads: vec![half(g.x, m, k), half(g.w, k, n)], ..Access::default() };
        let rows = g.m_block as u32 * g.n_group as u32;
        let accumulators =
            || Region::new(Memory::Accumulators, g.acc_base as u32, Strides { inner: 1, outer: 0 }, 1, rows);
        match g.init {
            Init::Zero => {}
            Init::BiasPerColumn(b) => a.reads.push(half(View::new(b, 1, 0), 1, n)),
            Init::BiasPerRow(b) => a.reads.push(half(View::new(b, 1, 0), 1, m)),
            Init::Accumulators => a.reads.push(accumulators()),
        }
        if g.init != Init::Accumulators && g.out != Output::Keep {
            a.scratch.push(accumulators());
        }
        let strides = match g.out {
            Output::Keep => {
                a.writes.push(accumulators());
                return a;
            }
            Output::Half(v) => {
                a.writes.push(half(v, m, n));
                v.strides
            }
            Output::Single(v) => {
                a.writes.push(single(v, m, n));
                v.strides
            }
        };
        let mask = |b: Base| Region::new(Memory::Mask, b.addr.offset(), strides, m, n);
        match g.mask {
            Mask::None => {}
            Mask::Write(b) => a.writes.push(mask(b)),
            Mask::Apply(b) => a.reads.push(mask(b)),
        }
        a
    }

    fn vector(v: &Vector) -> Access {
        let (rows, cols) = (v.rows as u32, v.cols as u32);
        let mut a = Access::default();
        for s in [v.x, v.y, v.z] {
            match s {
                Source::Hmem(view, _) => a.reads.push(half(view, rows, cols)),
                Source::Smem(view, _) => a.reads.push(single(view, rows, cols)),
                Source::Sreg(r, _) => a.reads.push(sreg(r)),
                Source::Imm(_) => {}
            }
        }
        match v.d {
            Dest::Hmem(view) => a.writes.push(half(view, rows, cols)),
            Dest::Smem(view) => a.writes.push(single(view, rows, cols)),
            Dest::Sreg(r) => a.writes.push(sreg(r)),
            Dest::None => {}
        }
        a.writes.extend(v.copy.map(|c| half(c, rows, cols)));
        a
    }
}

/// How an instruction depends on an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dependence {
    /// It may start once the earlier one has started (same engine: writes stay in order).
    Order,
    /// It may start once the earlier one's results are written.
    Completion,
}

fn meet(a: &[Region], b: &[Region]) -> bool {
    a.iter().any(|r| b.iter().any(|s| r.overlaps(s)))
}

/// Whether `a` passes through accumulators in which `b` leaves or finds sums.
fn clobbers(a: &Access, b: &Access) -> bool {
    meet(&a.scratch, &b.reads) || meet(&a.scratch, &b.writes)
}

/// For every instruction, the earlier ones that it depends on.
pub(crate) fn dependences(instrs: &[Instr]) -> Vec<Vec<(usize, Dependence)>> {
    let accesses: Vec<Access> = instrs.iter().map(Access::of).collect();
    let mut all = Vec::with_capacity(instrs.len());
    for (i, b) in accesses.iter().enumerate() {
        let mut deps = Vec::new();
        for (j, a) in accesses[..i].iter().enumerate() {
            let after_write = meet(&a.writes, &b.reads);
            let overwrite = after_write || meet(&a.reads, &b.writes) || meet(&a.writes, &b.writes);
            if after_write || overwrite && Engine::of(&instrs[i]) != Engine::of(&instrs[j]) {
                deps.push((j, Dependence::Completion));
            } else if overwrite || clobbers(a, b) || clobbers(b, a) {
                deps.push((j, Dependence::Order));
            }
        }
        all.push(deps);
    }
    all
}

/// An instruction with a name for reports.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) instr: Instr,
    pub(crate) label: String,
}

/// A scheduled segment body.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// Instructions in issue order, waits filled in.
    pub(crate) steps: Vec<Step>,
    /// Predicted times, parallel to `steps`.
    pub(crate) spans: Vec<Span>,
    /// Predicted cycles of the whole segment.
    pub(crate) cycles: u64,
}

/// Orders `steps` (given in program order; engine instructions only) and sets their waits: the best of a few list schedules,
/// and of `more` whose priorities are shaken (by a fixed sequence: the same program every time).
pub(crate) fn schedule(steps: &[Step], cost: &Cost, more: u32) -> Schedule {
    let instrs: Vec<Instr> = steps.iter().map(|s| s.instr).collect();
    let deps = dependences(&instrs);
    let path = remaining_paths(&instrs, &deps, cost);
    let mut policies = Vec::new();
    for vector in [Choice::Path(0), Choice::Path(6), Choice::Path(14), Choice::Program(6), Choice::Program(30)] {
        for matrix in [Choice::Path(NEAR), Choice::Program(30), Choice::Program(100)] {
            for lead in [0, 16, 40] {
                policies.push(Policy { vector, matrix, lead });
            }
        }
    }
    let attempt = |path: &[u64], policy: &Policy| {
        with_waits(steps, &deps, &list_schedule(&instrs, &deps, path, cost, policy), cost)
    };
    let mut results: Vec<(Policy, Schedule)> = policies.iter().map(|p| (*p, attempt(&path, p))).collect();
    results.sort_by_key(|r| r.1.cycles);
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut noise = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    let mut best = results[0].1.clone();
    let mut kept = path.clone();
    for i in 0..more as usize {
        let policy = results[i % results.len().min(6)].0;
        // half of the attempts start from the longest paths, half from what was best so far
        let from = if i % 2 == 0 { &path } else { &kept };
        let limit = 1 << (4 + i % 5);
        let shaken: Vec<u64> = from.iter().map(|&p| p + noise(limit)).collect();
        let s = attempt(&shaken, &policy);
        if s.cycles < best.cycles {
            (best, kept) = (s, shaken);
        }
    }
    best
}

/// Cycles from each instruction's start to the end of the segment along its longest chain of dependents.
fn remaining_paths(instrs: &[Instr], deps: &[Vec<(usize, Dependence)>], cost: &Cost) -> Vec<u64> {
    let timings: Vec<_> = instrs.iter().map(|i| cost.timing(i)).collect();
    let mut path: Vec<u64> = timings.iter().map(|t| t.latency).collect();
    for i in (0..instrs.len()).rev() {
        for &(j, d) in &deps[i] {
            let step = if d == Dependence::Order { timings[j].occupancy } else { timings[j].latency };
            path[j] = path[j].max(step + path[i]);
        }
    }
    path
}

/// How an engine chooses among the instructions that could start within so many cycles of the earliest.
#[derive(Clone, Copy)]
enum Choice {
    /// The longest path behind it.
    Path(u64),
    /// The first in program order, so that a chunk's layers, or its loss, stay together.
    Program(u64),
}

/// One way to choose among instructions that could be issued.
#[derive(Clone, Copy)]
struct Policy {
    vector: Choice,
    matrix: Choice,
    /// Matrix instructions count as startable so many cycles earlier, since that engine is the scarce one.
    lead: u64,
}

/// Matrix instructions within so many cycles of the earliest count as equally early.
const NEAR: u64 = 14;

/// Greedy issue order: per engine, of the instructions that could start about as soon as the earliest, the one with the longest
/// path behind it (or the first in program order); then of both engines the one that can start first.
fn list_schedule(
    instrs: &[Instr],
    deps: &[Vec<(usize, Dependence)>],
    path: &[u64],
    cost: &Cost,
    policy: &Policy,
) -> Vec<usize> {
    let n = instrs.len();
    let mut pipeline = Pipeline::new(*cost);
    let mut order = Vec::with_capacity(n);
    // What waits for an instruction, for how many each still waits, and when what it has waited for is done.
    let mut dependents: Vec<Vec<(usize, Dependence)>> = vec![Vec::new(); n];
    for (i, before) in deps.iter().enumerate() {
        before.iter().for_each(|&(j, d)| dependents[j].push((i, d)));
    }
    let mut missing: Vec<usize> = deps.iter().map(Vec::len).collect();
    let mut inputs = vec![0; n];
    let engine_of = |i: usize| Engine::of(&instrs[i]).expect("engine instructions only");
    // Per engine, what waits for nothing any more.
    let mut waiting: [Vec<usize>; 2] = [Vec::new(), Vec::new()];
    (0..n).filter(|&i| missing[i] == 0).for_each(|i| waiting[engine_of(i) as usize].push(i));
    while order.len() < n {
        // Per engine: (when it could start, which, when its inputs are there).
        let mut ready: [Vec<(u64, usize, u64)>; 2] = [Vec::new(), Vec::new()];
        for engine in [Engine::Matrix, Engine::Vector] {
            for &i in &waiting[engine as usize] {
                let start = pipeline.start(engine, inputs[i]);
                let key = if engine == Engine::Matrix { start.saturating_sub(policy.lead) } else { start };
                ready[engine as usize].push((key, i, inputs[i]));
            }
        }
        let choose = |engine: Engine| {
            let ready = &ready[engine as usize];
            let earliest = ready.iter().map(|r| r.0).min()?;
            let choice = if engine == Engine::Matrix { policy.matrix } else { policy.vector };
            let (slack, ordered) = match choice {
                Choice::Path(slack) => (slack, false),
                Choice::Program(slack) => (slack, true),
            };
            let near = ready.iter().filter(|r| r.0 <= earliest + slack);
            let best = near.max_by_key(|r| (if ordered { 0 } else { path[r.1] }, std::cmp::Reverse(r.1)));
            best.map(|&(key, i, at)| (key, i, at, engine))
        };
        let candidates = [Engine::Matrix, Engine::Vector].into_iter().filter_map(choose);
        let (_, i, at, engine) = candidates.min_by_key(|c| c.0).expect("dependences have no cycle");
        let done = pipeline.issue(engine, at, cost.timing(&instrs[i])).done;
        order.push(i);
        waiting[engine as usize].retain(|&w| w != i);
        for &(k, d) in &dependents[i] {
            missing[k] -= 1;
            if d == Dependence::Completion {
                inputs[k] = done.max(inputs[k]);
            }
            if missing[k] == 0 {
                waiting[engine_of(k) as usize].push(k);
            }
        }
    }
    order
}

/// Fills in wait distances for an issue order and predicts it.
fn with_waits(steps: &[Step], deps: &[Vec<(usize, Dependence)>], order: &[usize], cost: &Cost) -> Schedule {
    let mut issued = [0usize; 2];
    let mut index = vec![0usize; steps.len()];
    let mut pipeline = Pipeline::new(*cost);
    let mut out = Schedule { steps: Vec::new(), spans: Vec::new(), cycles: 0 };
    for &i in order {
        let mut step = steps[i].clone();
        let engine = Engine::of(&step.instr).expect("engine instructions only");
        let mut last: [Option<usize>; 2] = [None; 2];
        for &(j, d) in deps[i].iter().filter(|d| d.1 == Dependence::Completion) {
            debug_assert_eq!(d, Dependence::Completion);
            let e = Engine::of(&steps[j].instr).expect("engine instructions only") as usize;
            last[e] = last[e].max(Some(index[j]));
        }
        let distance = |e: usize| last[e].map_or(0, |j| (issued[e] - j).min(MAX_DISTANCE)) as u8;
        let (wait_m, wait_v) = (distance(0), distance(1));
        let sync = match &mut step.instr {
            Instr::Gemm(g) => &mut g.sync,
            Instr::Vector(v) => &mut v.sync,
            Instr::Control(_) => unreachable!("engine instructions only"),
        };
        (sync.wait_m, sync.wait_v) = (wait_m, wait_v);
        let ready = pipeline.completion(Engine::Matrix, wait_m).max(pipeline.completion(Engine::Vector, wait_v));
        out.spans.push(pipeline.issue(engine, ready, cost.timing(&step.instr)));
        out.steps.push(step);
        index[i] = issued[engine as usize];
        issued[engine as usize] += 1;
    }
    out.cycles = pipeline.end();
    out
}
