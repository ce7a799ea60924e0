//! Static checks of a program, before it is uploaded: every word decodes, stacks balance, strides are legal, blocks fit.
//!
//! Addresses that involve an address register cannot be checked here; the hardware traps on them ([`crate::regs::Trap`]).

use crate::instr::{Control, DecodeError, Gemm, Init, Instr, Mask, Output, Vector, length};
use crate::machine::Machine;
use crate::operand::{Addr, Base, Dest, Source, View};

/// What is wrong, and at which word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Word address of the instruction.
    pub at: usize,
    /// What is wrong.
    pub what: FaultKind,
}

/// Kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Not an instruction.
    Decode(DecodeError),
    /// The program is longer than program memory.
    TooLong {
        /// Words of the program.
        words: usize,
        /// Words there are.
        room: u32,
    },
    /// An inner stride that banks cannot serve.
    Stride(i16),
    /// An element beyond its memory: offset and elements there are.
    Range {
        /// Largest (or wrapped negative) offset touched.
        offset: i64,
        /// Elements in the plane or mask memory.
        room: u32,
    },
    /// Accumulators needed and there.
    Accumulators {
        /// Rows needed.
        need: u32,
        /// Rows there are.
        room: u32,
    },
    /// `EndLoop` without `Loop`, loops left open at `End` or `Ret`, or nested deeper than the stack.
    Loops,
    /// Call target outside the program.
    CallTarget(u32),
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "word {}: ", self.at)?;
        match self.what {
            FaultKind::Decode(e) => write!(f, "{e}"),
            FaultKind::TooLong { words, room } => write!(f, "program of {words} words, room for {room}"),
            FaultKind::Stride(s) => write!(f, "inner stride {s} is neither 1 modulo the lanes nor a broadcast"),
            FaultKind::Range { offset, room } => write!(f, "element {offset} of a memory with {room}"),
            FaultKind::Accumulators { need, room } => write!(f, "needs {need} accumulator rows of {room}"),
            FaultKind::Loops => write!(f, "loops do not nest"),
            FaultKind::CallTarget(a) => write!(f, "call of word {a}, outside the program"),
        }
    }
}

impl core::error::Error for Fault {}

/// Checks all words of `program` against `machine`; the first fault ends the check.
pub fn program(program: &[u32], machine: &Machine) -> Result<(), Fault> {
    if program.len() > machine.pmem_words as usize {
        let what = FaultKind::TooLong { words: program.len(), room: machine.pmem_words };
        return Err(Fault { at: 0, what });
    }
    let mut at = 0;
    let mut depth = 0usize;
    while at < program.len() {
        let fail = |what| Fault { at, what };
        let instr = Instr::decode(&program[at..]).map_err(|e| fail(FaultKind::Decode(e)))?;
        match instr {
            Instr::Control(Control::Loop(_)) if depth == crate::LOOP_DEPTH => return Err(fail(FaultKind::Loops)),
            Instr::Control(Control::Loop(_)) => depth += 1,
            Instr::Control(Control::EndLoop) if depth == 0 => return Err(fail(FaultKind::Loops)),
            Instr::Control(Control::EndLoop) => depth -= 1,
            Instr::Control(Control::End | Control::Ret) if depth != 0 => return Err(fail(FaultKind::Loops)),
            Instr::Control(Control::Call(a)) if a as usize >= program.len() => {
                return Err(fail(FaultKind::CallTarget(a)));
            }
            Instr::Control(_) => {}
            Instr::Gemm(g) => gemm(&g, machine).map_err(fail)?,
            Instr::Vector(v) => vector(&v, machine).map_err(fail)?,
        }
        at += length(program[at]);
    }
    Ok(())
}

fn stride(inner: i16, lanes: u32, broadcast: bool) -> Result<(), FaultKind> {
    let ok = (inner as i32 - 1).rem_euclid(lanes as i32) == 0 || broadcast && inner == 0;
    if ok { Ok(()) } else { Err(FaultKind::Stride(inner)) }
}

/// Range of a rows × cols view from an immediate base; register-relative views are the hardware's to watch.
fn range(base: Base, v: &View, rows: u16, cols: u16, room: u32) -> Result<(), FaultKind> {
    if base.areg != 0 {
        return Ok(());
    }
    let start = base.addr.offset() as i64;
    let r = (rows as i64 - 1) * v.strides.outer as i64;
    let c = (cols as i64 - 1) * v.strides.inner as i64;
    let (low, high) = (start + r.min(0) + c.min(0), start + r.max(0) + c.max(0));
    if low < 0 {
        return Err(FaultKind::Range { offset: low, room });
    }
    if high >= room as i64 {
        return Err(FaultKind::Range { offset: high, room });
    }
    Ok(())
}

fn gemm(g: &Gemm, m: &Machine) -> Result<(), FaultKind> {
    let need = g.m_block as u32 * g.n_group as u32 + g.acc_base as u32;
    if need > m.acc_rows {
        return Err(FaultKind::Accumulators { need, room: m.acc_rows });
    }
    // what stays in the accumulators, or comes from there, must be one block
    let kept = matches!(g.out, Output::Keep) || matches!(g.init, Init::Accumulators);
    let tiles = (g.n as u32).div_ceil(m.lanes);
    if kept && (g.m > g.m_block || tiles > g.n_group as u32) {
        let room = g.m_block as u32 * g.n_group as u32;
        return Err(FaultKind::Accumulators { need: g.m as u32 * tiles, room });
    }
    stride(g.x.strides.inner, m.lanes, false)?;
    stride(g.w.strides.inner, m.lanes, false)?;
    range(g.x.base, &g.x, g.m, g.k, m.hmem_plane())?;
    range(g.w.base, &g.w, g.k, g.n, m.hmem_plane())?;
    let one = View::new(Base::at(Addr(0)), 1, 0);
    match g.init {
        Init::BiasPerColumn(b) => range(b, &one, 1, g.n, m.hmem_plane())?,
        Init::BiasPerRow(b) => range(b, &one, 1, g.m, m.hmem_plane())?,
        _ => {}
    }
    let (out, room) = match g.out {
        Output::Keep => return Ok(()),
        Output::Half(v) => (v, m.hmem_plane()),
        Output::Single(v) => (v, m.smem_plane()),
    };
    stride(out.strides.inner, m.lanes, false)?;
    range(out.base, &out, g.m, g.n, room)?;
    match g.mask {
        Mask::None => Ok(()),
        Mask::Write(b) | Mask::Apply(b) => range(b, &out, g.m, g.n, m.mask_bits),
    }
}

fn vector(v: &Vector, m: &Machine) -> Result<(), FaultKind> {
    for s in [v.x, v.y, v.z] {
        let (view, room) = match s {
            Source::Hmem(view, _) => (view, m.hmem_plane()),
            Source::Smem(view, _) => (view, m.smem_plane()),
            Source::Imm(_) | Source::Sreg(..) => continue,
        };
        stride(view.strides.inner, m.lanes, true)?;
        range(view.base, &view, v.rows, v.cols, room)?;
    }
    let d = match v.d {
        Dest::Hmem(view) => Some((view, m.hmem_plane())),
        Dest::Smem(view) => Some((view, m.smem_plane())),
        Dest::Sreg(_) | Dest::None => None,
    };
    for (view, room) in d.into_iter().chain(v.copy.map(|c| (c, m.hmem_plane()))) {
        stride(view.strides.inner, m.lanes, false)?;
        range(view.base, &view, v.rows, v.cols, room)?;
    }
    Ok(())
}
