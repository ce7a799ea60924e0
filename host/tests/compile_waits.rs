//! Wait distances of compiled programs, checked element by element: whatever the engines' timing, no instruction reads or
//! overwrites an element before the instruction that it must follow has written or read it.

use std::collections::HashSet;
use systole::compile::{self, Optimizer};
use systole::graph::Model;
use systole_isa::instr::{Control, Gemm, Init, Instr, Mask, Output, Sync, Vector, length};
use systole_isa::machine::Machine;
use systole_isa::operand::{Base, Dest, Source, View};

/// (memory, element); what an address register points at is a memory of its own.
type Cells = HashSet<(u32, u32)>;
const HMEM: u32 = 0;
const SMEM: u32 = 1;
const MASK: u32 = 2;
const SREG: u32 = 3;
/// Accumulator rows, where sums are kept for a later product.
const ACCUMULATORS: u32 = 4;

fn accumulators(g: &Gemm) -> impl Iterator<Item = u32> {
    (0..g.m_block as u32 * g.n_group as u32).map(|r| g.acc_base as u32 + r)
}

fn cells(set: &mut Cells, memory: u32, v: View, rows: u16, cols: u16) {
    let memory = memory + 16 * v.base.areg as u32;
    for r in 0..rows as i32 {
        for c in 0..cols as i32 {
            let step = r * v.strides.outer as i32 + c * v.strides.inner as i32;
            set.insert((memory, v.base.addr.offset_by(step).0));
        }
    }
}

fn row(set: &mut Cells, b: Base, n: u16) {
    cells(set, HMEM, View::new(b, 1, 0), 1, n);
}

fn gemm(g: &Gemm) -> (Cells, Cells) {
    let (mut reads, mut writes) = (Cells::new(), Cells::new());
    cells(&mut reads, HMEM, g.x, g.m, g.k);
    cells(&mut reads, HMEM, g.w, g.k, g.n);
    match g.init {
        Init::BiasPerColumn(b) => row(&mut reads, b, g.n),
        Init::BiasPerRow(b) => row(&mut reads, b, g.m),
        Init::Accumulators => reads.extend(accumulators(g).map(|r| (ACCUMULATORS, r))),
        Init::Zero => {}
    }
    let (memory, out) = match g.out {
        Output::Half(v) => (HMEM, v),
        Output::Single(v) => (SMEM, v),
        Output::Keep => {
            writes.extend(accumulators(g).map(|r| (ACCUMULATORS, r)));
            return (reads, writes);
        }
    };
    cells(&mut writes, memory, out, g.m, g.n);
    match g.mask {
        Mask::None => {}
        Mask::Write(base) => cells(&mut writes, MASK, View { base, ..out }, g.m, g.n),
        Mask::Apply(base) => cells(&mut reads, MASK, View { base, ..out }, g.m, g.n),
    }
    (reads, writes)
}

fn vector(v: &Vector) -> (Cells, Cells) {
    let (mut reads, mut writes) = (Cells::new(), Cells::new());
    for s in [v.x, v.y, v.z] {
        match s {
            Source::Hmem(w, _) => cells(&mut reads, HMEM, w, v.rows, v.cols),
            Source::Smem(w, _) => cells(&mut reads, SMEM, w, v.rows, v.cols),
            Source::Sreg(r, _) => drop(reads.insert((SREG, r as u32))),
            Source::Imm(_) => {}
        }
    }
    match v.d {
        Dest::Hmem(w) => cells(&mut writes, HMEM, w, v.rows, v.cols),
        Dest::Smem(w) => cells(&mut writes, SMEM, w, v.rows, v.cols),
        Dest::Sreg(r) => drop(writes.insert((SREG, r as u32))),
        Dest::None => {}
    }
    if let Some(w) = v.copy {
        cells(&mut writes, HMEM, w, v.rows, v.cols);
    }
    (reads, writes)
}

struct Issued {
    engine: usize,
    /// Index among its engine's instructions.
    index: usize,
    /// Per engine: how many instructions surely are complete when it starts.
    complete: [usize; 2],
    reads: Cells,
    writes: Cells,
}

fn verify(program: &[u32]) -> usize {
    let mut issued: Vec<Issued> = Vec::new();
    let mut count = [0usize; 2];
    let mut at = 0;
    let mut pairs = 0;
    let mut kept: HashSet<u32> = HashSet::new();
    while at < program.len() {
        let instr = Instr::decode(&program[at..]).unwrap();
        at += length(program[at]);
        let (engine, sync, (reads, writes)): (usize, Sync, _) = match &instr {
            Instr::Gemm(g) => (0, g.sync, gemm(g)),
            Instr::Vector(v) => (1, v.sync, vector(v)),
            Instr::Control(Control::End) => {
                issued.clear();
                count = [0; 2];
                continue;
            }
            Instr::Control(c) => panic!("not used: {c:?}"),
        };
        // What a product continues, another has kept, and none has passed through since.
        if let Instr::Gemm(g) = &instr {
            for row in accumulators(g) {
                assert!(g.init != Init::Accumulators || kept.contains(&row), "{instr:?} continues lost sums");
                if g.out == Output::Keep {
                    kept.insert(row)
                } else {
                    kept.remove(&row)
                };
            }
        }
        let waits = [sync.wait_m, sync.wait_v];
        let complete = [0, 1].map(|e| if waits[e] == 0 { 0 } else { (count[e] + 1).saturating_sub(waits[e] as usize) });
        let now = Issued { engine, index: count[engine], complete, reads, writes };
        for before in &issued {
            let raw = !now.reads.is_disjoint(&before.writes);
            let other = !now.writes.is_disjoint(&before.reads) || !now.writes.is_disjoint(&before.writes);
            if raw || other && before.engine != now.engine {
                pairs += 1;
                assert!(before.index < now.complete[before.engine], "{instr:?} starts too early");
            }
        }
        count[engine] += 1;
        issued.push(now);
    }
    pairs
}

#[test]
fn every_dependence_is_waited_for() {
    for (model, batch, machine) in [
        ("64-32-10", 32, Machine::DEFAULT),
        ("13-9-7-5", 25, Machine::DEFAULT),
        ("40-17-3", 64, Machine::with_lanes(4)),
        ("20-31-18-11", 40, Machine::with_lanes(16)),
    ] {
        let model = Model::mlp(model).unwrap();
        let c = compile::network(&model.graph, batch, Optimizer::Sgd { momentum: true }, machine).unwrap();
        let pairs = verify(&c.program);
        assert!(pairs > 200, "{pairs} dependences");
    }
}
