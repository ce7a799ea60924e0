//! What emitters share: views of planned tensors, products in either orientation, vector operations, folds, functions.

use super::cost::Cost;
use super::functions::{Arg, Function};
use super::schedule::{Schedule, Step, schedule};
use super::{CompileError, PredictedInstruction, PredictedSegment, Segment, TensorPlace, cost::Engine};
use systole_isa::instr::{Control, Gemm, Init, Instr, Mask, Output, Sync, Vector, VectorOp};
use systole_isa::machine::Machine;
use systole_isa::operand::{Base, Dest, Modifiers, Source, View};
use systole_isa::regs::Space;

/// Element (r, c) at `base + r·row + c·col`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix {
    pub(crate) space: Space,
    pub(crate) base: Base,
    pub(crate) row: u32,
    pub(crate) col: u32,
}

impl Matrix {
    /// A planned tensor as it lies.
    pub(crate) fn of(t: &TensorPlace) -> Matrix {
        Matrix { space: t.space, base: Base::at(t.addr), row: t.pitch, col: 1 }
    }
    /// The transpose.
    pub(crate) fn t(self) -> Matrix {
        Matrix { row: self.col, col: self.row, ..self }
    }
    /// Moved to start at element (r, c).
    pub(crate) fn at(self, r: u32, c: u32) -> Matrix {
        let addr = self.base.addr.offset_by((r * self.row + c * self.col) as i32);
        Matrix { base: Base { addr, ..self.base }, ..self }
    }
    /// The same row for every row.
    pub(crate) fn every_row(self) -> Matrix {
        Matrix { row: 0, ..self }
    }
    /// The same column for every column.
    pub(crate) fn every_col(self) -> Matrix {
        Matrix { col: 0, ..self }
    }
    /// The instruction's view. Pitches are checked when tensors are declared.
    pub(crate) fn view(&self) -> View {
        View::new(self.base, self.col as i16, self.row as i16)
    }
    /// As a source of the vector engine.
    pub(crate) fn source(&self) -> Source {
        self.modified(Modifiers::default())
    }
    /// With its sign flipped.
    pub(crate) fn neg(&self) -> Source {
        self.modified(Modifiers { neg: true, ..Modifiers::default() })
    }
    /// FP16 values times 2^EXP.
    pub(crate) fn scaled(&self) -> Source {
        self.modified(Modifiers { scaled: true, ..Modifiers::default() })
    }
    fn modified(&self, m: Modifiers) -> Source {
        if self.space == Space::Hmem { Source::Hmem(self.view(), m) } else { Source::Smem(self.view(), m) }
    }
    /// As a destination of the vector engine.
    pub(crate) fn dest(&self) -> Dest {
        if self.space == Space::Hmem { Dest::Hmem(self.view()) } else { Dest::Smem(self.view()) }
    }
}

/// What a product does besides multiplying.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Epilogue {
    /// FP16 bias per column of the result, contiguous.
    pub(crate) bias: Option<Base>,
    pub(crate) relu: bool,
    /// Mask memory address of element (0, 0) to write, at the result's strides.
    pub(crate) mask_write: Option<Base>,
    /// Likewise to apply.
    pub(crate) mask_apply: Option<Base>,
    pub(crate) flag: Option<usize>,
}

/// The smallest pitch ≡ 1 (mod `lanes`) that holds `cols` elements and one more.
pub(crate) fn odd_pitch(cols: u32, lanes: u32) -> u32 {
    cols.next_multiple_of(lanes) + 1
}

/// Instructions of one segment, in program order.
pub(crate) struct Builder {
    pub(crate) cost: Cost,
    pub(crate) steps: Vec<Step>,
    /// Accumulator rows at the end of their memory that products leave alone: sums are kept there.
    pub(crate) kept_rows: u32,
    /// Shaken schedules to try.
    pub(crate) effort: u32,
}

/// What a product starts from and what becomes of its sums, where a reduction is cut into pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Piece {
    /// First accumulator row.
    pub(crate) acc_base: u32,
    /// It continues sums that an earlier piece kept.
    pub(crate) resumes: bool,
    /// It keeps its sums for a later piece.
    pub(crate) keeps: bool,
}

impl Builder {
    pub(crate) fn new(cost: Cost) -> Builder {
        Builder { cost, steps: Vec::new(), kept_rows: 0, effort: 0 }
    }

    /// `out[M, N] = epilogue(a[M, K] · b[K, N])`, either operand stationary, as the cost model likes it.
    pub(crate) fn product(
        &mut self,
        label: &str,
        (m, k, n): (u32, u32, u32),
        a: Matrix,
        b: Matrix,
        out: Matrix,
        e: Epilogue,
    ) {
        let lanes = self.cost.machine.lanes;
        let legal = |stride: u32| stride % lanes == 1;
        let candidate = |streamed: Matrix, stationary: Matrix, out: Matrix, (m, n): (u32, u32), init: Init| {
            let mut g = Gemm {
                sync: Sync { flag: e.flag.map(|f| f as u8), ..Sync::default() },
                m: m as u16,
                k: k as u16,
                n: n as u16,
                m_block: 1,
                n_group: 1,
                acc_base: 0,
                x: streamed.view(),
                w: stationary.view(),
                init,
                out: if out.space == Space::Hmem { Output::Half(out.view()) } else { Output::Single(out.view()) },
                relu: e.relu,
                mask: match (e.mask_write, e.mask_apply) {
                    (Some(b), _) => Mask::Write(b),
                    (_, Some(b)) => Mask::Apply(b),
                    _ => Mask::None,
                },
            };
            (g.m_block, g.n_group) = self.cost.blocking(&g, self.cost.machine.acc_rows - self.kept_rows);
            g
        };
        let per_column = e.bias.map_or(Init::Zero, Init::BiasPerColumn);
        let per_row = e.bias.map_or(Init::Zero, Init::BiasPerRow);
        let mut options = Vec::new();
        if legal(a.col) && legal(b.col) && legal(out.col) {
            options.push(candidate(a, b, out, (m, n), per_column));
        }
        if legal(a.row) && legal(b.row) && legal(out.row) {
            options.push(candidate(b.t(), a.t(), out.t(), (n, m), per_row));
        }
        let best = options.into_iter().min_by_key(|g| self.cost.gemm(g).occupancy);
        let g = best.expect("planned pitches allow one orientation");
        self.push(Instr::Gemm(g), label);
    }

    /// A piece of a product whose reduction is cut: `a` streams, `b` is stationary, and all of the result's sums stay in the
    /// accumulators, `m` rows for each of its column tiles.
    pub(crate) fn piece(
        &mut self,
        label: &str,
        (m, k, n): (u32, u32, u32),
        [a, b, out]: [Matrix; 3],
        flag: Option<usize>,
        piece: Piece,
    ) {
        let out = if out.space == Space::Hmem { Output::Half(out.view()) } else { Output::Single(out.view()) };
        let g = Gemm {
            sync: Sync { flag: flag.filter(|_| !piece.keeps).map(|f| f as u8), ..Sync::default() },
            m: m as u16,
            k: k as u16,
            n: n as u16,
            m_block: m as u16,
            n_group: n.div_ceil(self.cost.machine.lanes) as u16,
            acc_base: piece.acc_base as u8,
            x: a.view(),
            w: b.view(),
            init: if piece.resumes { Init::Accumulators } else { Init::Zero },
            out: if piece.keeps { Output::Keep } else { out },
            relu: false,
            mask: Mask::None,
        };
        self.push(Instr::Gemm(g), label);
    }

    /// `d = op(x, y, z)` over `rows × cols`.
    pub(crate) fn op(&mut self, label: &str, op: VectorOp, (rows, cols): (u32, u32), [x, y, z]: [Source; 3], d: Dest) {
        self.flagged(label, None, op, (rows, cols), [x, y, z], d);
    }

    /// As [`Builder::op`], with the flag that a non-finite result sets.
    pub(crate) fn flagged(
        &mut self,
        label: &str,
        flag: Option<usize>,
        op: VectorOp,
        (rows, cols): (u32, u32),
        [x, y, z]: [Source; 3],
        d: Dest,
    ) {
        let sync = Sync { flag: flag.map(|f| f as u8), ..Sync::default() };
        let (rows, cols) = (rows as u16, cols as u16);
        self.push(Instr::Vector(Vector { sync, op, rows, cols, x, y, z, d, copy: None, recurrent: false }), label);
    }

    pub(crate) fn push(&mut self, instr: Instr, label: &str) {
        self.steps.push(Step { instr, label: label.into() });
    }

    /// Folds the rows of `from[rows, cols]` by `op(x, y)`, halving each time: row i meets row i + ⌈n/2⌉. The first halving
    /// goes from `from` to `to`, later ones within `to`; the result is row 0 of `to`. This order is part of what a program
    /// means and depends on `rows` alone.
    pub(crate) fn fold_rows(&mut self, label: &str, op: VectorOp, rows: u32, cols: u32, from: Matrix, to: Matrix) {
        let combine = |x: Matrix, y: Matrix| match op {
            VectorOp::Mad => [x.source(), Source::ONE, y.source()],
            _ => [x.source(), y.source(), Source::NEG_ZERO],
        };
        let (mut n, mut from) = (rows, from);
        while n > 1 {
            let (low, high) = (n / 2, n.div_ceil(2));
            self.op(label, op, (low, cols), combine(from, from.at(high, 0)), to.dest());
            if high > low && from.base != to.base {
                let copy = [from.at(low, 0).source(), Source::ONE, Source::NEG_ZERO];
                self.op(label, VectorOp::Mad, (1, cols), copy, to.at(low, 0).dest());
            }
            (n, from) = (high, to);
        }
    }

    /// Sums the columns of the row `t[1, cols]` by halves in place; the sum times `factor` goes to scalar register `to`.
    pub(crate) fn sum_to_sreg(
        &mut self,
        label: &str,
        cols: u32,
        t: Matrix,
        factor: Source,
        to: usize,
        flag: Option<usize>,
    ) {
        let mut n = cols;
        while n > 1 {
            let (low, high) = (n / 2, n.div_ceil(2));
            let add = [t.source(), Source::ONE, t.at(0, high).source()];
            self.op(label, VectorOp::Mad, (1, low), add, t.dest());
            n = high;
        }
        let last = [t.source(), factor, Source::NEG_ZERO];
        self.flagged(label, flag, VectorOp::Mad, (1, 1), last, Dest::Sreg(to as u8));
    }

    /// A function of `x` elementwise; returns where the result is. `temporaries[plane]` are scratch matrices to draw from.
    pub(crate) fn function(
        &mut self,
        label: &str,
        f: &Function,
        size: (u32, u32),
        x: Matrix,
        temporaries: [&[Matrix]; 2],
    ) -> Matrix {
        let mut taken = [0; 2];
        let mut place = |&plane: &u32| {
            let p = plane as usize;
            taken[p] += 1;
            temporaries[p][taken[p] - 1]
        };
        let t: Vec<Matrix> = f.planes.iter().map(&mut place).collect();
        let source = |a: Arg| match a {
            Arg::X => x.source(),
            Arg::NegX => x.neg(),
            Arg::T(i) => t[i].source(),
            Arg::NegT(i) => t[i].neg(),
            Arg::F(v) => Source::f32(v),
            Arg::Bits(b) => Source::Imm(b),
        };
        for s in &f.steps {
            self.op(label, s.op, size, s.args.map(source), t[s.to].dest());
        }
        t[f.steps.last().expect("functions have steps").to]
    }

    /// Schedules the segment.
    pub(crate) fn finish(self) -> Schedule {
        schedule(&self.steps, &self.cost, self.effort)
    }
}

/// Appends a scheduled segment to a program.
pub(crate) fn append(program: &mut Vec<u32>, name: &str, s: &Schedule, cost: &Cost) -> (Segment, PredictedSegment) {
    let addr = program.len() as u32;
    let mut predicted =
        PredictedSegment { name: name.into(), cycles: s.cycles, matrix: 0, vector: 0, instructions: Vec::new() };
    for (step, span) in s.steps.iter().zip(&s.spans) {
        let engine = Engine::of(&step.instr).expect("engine instructions only");
        let occupied = cost.timing(&step.instr).occupancy;
        match engine {
            Engine::Matrix => predicted.matrix += occupied,
            Engine::Vector => predicted.vector += occupied,
        }
        let (label, start, done) = (step.label.clone(), span.start, span.done);
        predicted.instructions.push(PredictedInstruction { addr: program.len() as u32, label, engine, start, done });
        program.extend_from_slice(&step.instr.encode());
    }
    program.extend_from_slice(&Instr::Control(Control::End).encode());
    (Segment { name: name.into(), addr, words: program.len() as u32 - addr }, predicted)
}

/// Checks the finished program against the machine.
pub(crate) fn check(program: &[u32], machine: &Machine) -> Result<(), CompileError> {
    if program.len() > machine.pmem_words as usize {
        return Err(CompileError::Program { need: program.len(), room: machine.pmem_words });
    }
    systole_isa::check::program(program, machine).map_err(|f| CompileError::Fault(f.to_string()))
}
