//! One product as a program of its own, for `systole gemm` and `systole bench gemm`.

use super::build::{Builder, Epilogue, Matrix, Piece, append, check, odd_pitch};
use super::cost::Cost;
use super::plan::{Class, Conflict, Lifetime, Request, place};
use super::{CompileError, PredictedSegment, Segment, TensorPlace};
use systole_isa::flag;
use systole_isa::machine::Machine;
use systole_isa::regs::Space;

/// `C[m, n] = epilogue(bias[n] + A[m, k]·B[k, n])`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GemmSpec {
    /// Rows of A and C.
    pub m: u32,
    /// Reduction length.
    pub k: u32,
    /// Columns of B and C.
    pub n: u32,
    /// A is stored as `[k, m]`.
    pub transpose_a: bool,
    /// B is stored as `[n, k]`.
    pub transpose_b: bool,
    /// Add an FP16 bias per column, before the products (as their start value).
    pub bias: bool,
    /// ReLU on the FP32 sums.
    pub relu: bool,
    /// Round C to FP16.
    pub half_out: bool,
    /// Where above 0, the reduction is cut: one instruction keeps the sums of so many terms in the accumulators, a second starts
    /// from them. Neither bias nor ReLU then.
    pub cut: u32,
}

impl GemmSpec {
    /// Whether the accumulators hold all sums, whichever operand is streamed.
    pub fn may_be_cut(&self, machine: &Machine) -> bool {
        let rows = |streamed: u32, stationary: u32| streamed * stationary.div_ceil(machine.lanes);
        rows(self.m, self.n).max(rows(self.n, self.m)) <= machine.acc_rows
    }
}

/// A compiled product. Operand places have the *stored* shapes.
#[derive(Clone, Debug)]
pub struct CompiledGemm {
    /// What it computes.
    pub spec: GemmSpec,
    /// Program memory from word 0.
    pub program: Vec<u32>,
    /// One segment, `gemm`.
    pub segments: Vec<Segment>,
    /// FP16 A: `[m, k]`, or `[k, m]` if transposed.
    pub a: TensorPlace,
    /// FP16 B: `[k, n]`, or `[n, k]` if transposed.
    pub b: TensorPlace,
    /// FP16 `[1, n]`.
    pub bias: Option<TensorPlace>,
    /// C `[m, n]`: FP32 in `smem`, or FP16 in `hmem`.
    pub out: TensorPlace,
    /// m·k·n.
    pub macs: u64,
    /// Cost model's view; its cycles count from the instruction's hand-over.
    pub predicted: PredictedSegment,
}

/// Compiles one product. Every operand must fit into one plane of its memory.
///
/// Both orientations are tried (A streamed or Bᵀ streamed); an operand gets a padded pitch only where its orientation reads
/// it across its rows.
pub fn gemm(spec: GemmSpec, machine: Machine) -> Result<CompiledGemm, CompileError> {
    if let Some(rule) = machine.invalid() {
        return Err(CompileError::Machine(rule));
    }
    let limit = 32767 - machine.lanes as u64;
    for (what, size) in [("m", spec.m), ("k", spec.k), ("n", spec.n)] {
        if size == 0 || size as u64 > limit {
            return Err(CompileError::Size { what: what.into(), size: size as u64, limit });
        }
    }
    if spec.cut > 0 {
        let (what, limit) = ("the cut of the reduction".into(), u64::from(spec.k - 1));
        if spec.cut >= spec.k {
            return Err(CompileError::Size { what, size: spec.cut.into(), limit });
        }
        let node = "gemm".into();
        if spec.bias || spec.relu {
            return Err(CompileError::Unsupported { node, why: "a reduction that is cut has neither bias nor ReLU" });
        }
        if !spec.may_be_cut(&machine) {
            return Err(CompileError::Unsupported { node, why: "the accumulators do not hold all sums" });
        }
    }
    let mut best: Option<CompiledGemm> = None;
    let mut error = None;
    for stream_a in [true, false] {
        match oriented(spec, machine, stream_a) {
            Ok(c) if best.as_ref().is_none_or(|b| c.predicted.cycles < b.predicted.cycles) => best = Some(c),
            Ok(_) => {}
            Err(e) => error = error.or(Some(e)),
        }
    }
    match (best, error) {
        (Some(c), _) => Ok(c),
        (None, Some(e)) => Err(e),
        (None, None) => unreachable!("one orientation gives a result or an error"),
    }
}

fn oriented(spec: GemmSpec, machine: Machine, stream_a: bool) -> Result<CompiledGemm, CompileError> {
    let GemmSpec { m, k, n, .. } = spec;
    let stored = |t: bool, rows: u32, cols: u32| if t { (cols, rows) } else { (rows, cols) };
    // Streaming A: lanes run along k of A and along n of B and C. Streaming Bᵀ: along k of B and m of A and C.
    let across = if stream_a {
        [spec.transpose_a, spec.transpose_b, false]
    } else {
        [!spec.transpose_a, !spec.transpose_b, true]
    };
    let shapes = [stored(spec.transpose_a, m, k), stored(spec.transpose_b, k, n), (m, n)];
    let spaces = [Space::Hmem, Space::Hmem, if spec.half_out { Space::Hmem } else { Space::Smem }];
    let mut requests = Vec::new();
    let mut pitches = [0; 3];
    for (i, name) in ["A", "B", "C"].into_iter().enumerate() {
        let (rows, cols) = shapes[i];
        let odd = if cols % machine.lanes == 1 { cols } else { odd_pitch(cols, machine.lanes) };
        pitches[i] = if across[i] { odd } else { cols };
        let words = (rows as u64 - 1) * pitches[i] as u64 + cols as u64;
        let (class, lifetime) = (Class::Activations, Lifetime::Step);
        requests.push(Request { name: name.into(), class, space: spaces[i], words, lifetime, plane: None });
    }
    if spec.bias {
        let (class, lifetime) = (Class::Weights, Lifetime::Step);
        let words = n as u64;
        requests.push(Request { name: "bias".into(), class, space: Space::Hmem, words, lifetime, plane: None });
    }
    let planned = place(&requests, &[Conflict { a: 0, b: 1, cycles: 1 << 30 }], &machine)?;
    let at = |i: usize, (rows, cols): (u32, u32), pitch: u32| TensorPlace {
        space: planned[i].space,
        addr: planned[i].addr,
        rows,
        cols,
        pitch,
    };
    let [a, b, out] = [0, 1, 2].map(|i| at(i, shapes[i], pitches[i]));
    let bias = spec.bias.then(|| at(3, (1, n), n));
    let turned = |t: &TensorPlace, transposed: bool| if transposed { Matrix::of(t).t() } else { Matrix::of(t) };
    let epilogue = Epilogue {
        bias: bias.as_ref().map(|b| Matrix::of(b).base),
        relu: spec.relu,
        flag: Some(flag::FORWARD),
        ..Epilogue::default()
    };
    let cost = Cost::new(machine);
    let mut builder = Builder::new(cost);
    let (left, right) = (turned(&a, spec.transpose_a), turned(&b, spec.transpose_b));
    let out_view = Matrix::of(&out);
    if spec.cut == 0 {
        builder.product("gemm", (m, k, n), left, right, out_view, epilogue);
    } else {
        let rest = [left.at(0, spec.cut), right.at(spec.cut, 0)];
        for (terms, [left, right], resumes) in [(spec.cut, [left, right], false), (k - spec.cut, rest, true)] {
            let piece = Piece { acc_base: 0, resumes, keeps: !resumes };
            let (size, operands) = match stream_a {
                true => ((m, terms, n), [left, right, out_view]),
                false => ((n, terms, m), [right.t(), left.t(), out_view.t()]),
            };
            builder.piece("gemm", size, operands, epilogue.flag, piece);
        }
    }
    let mut program = Vec::new();
    let (segment, mut predicted) = append(&mut program, "gemm", &builder.finish(), &cost);
    // From the instruction's hand-over, as it is measured.
    predicted.cycles -= cost.fetch;
    check(&program, &machine)?;
    let macs = m as u64 * k as u64 * n as u64;
    Ok(CompiledGemm { spec, program, segments: vec![segment], a, b, bias, out, macs, predicted })
}
