//! Random programs whose result is defined: every hazard has its wait, every address is in range.
//!
//! Waits are as weak as the rules allow, as far as intervals of addresses can tell: what the engines may do at once, they do.

use systole_isa::instr::{Control, Gemm, Init, Instr, Mask, Output, Sync, Vector, VectorOp};
use systole_isa::machine::Machine;
use systole_isa::operand::{Addr, Base, Dest, Modifiers, Source, View};

use super::Rng;

/// Addresses `from..=to` of one memory. Memories are told apart by the bits above 20.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: i64,
    to: i64,
}

const SMEM: i64 = 1 << 20;
const MASK: i64 = 2 << 20;
const ACC: i64 = 3 << 20;
const SREG: i64 = 4 << 20;

impl Span {
    fn meets(&self, other: &Span) -> bool {
        self.from <= other.to && other.from <= self.to
    }
}

fn meet(a: &[Span], b: &[Span]) -> bool {
    a.iter().any(|x| b.iter().any(|y| x.meets(y)))
}

/// What an instruction touches.
#[derive(Clone, Debug, Default)]
struct Access {
    matrix: bool,
    reads: Vec<Span>,
    writes: Vec<Span>,
}

/// Memories that views lie in.
#[derive(Clone, Copy, PartialEq)]
enum Space {
    Half,
    Single,
    Mask,
}

/// Makes programs for one machine.
pub struct Generator {
    pub rng: Rng,
    machine: Machine,
    history: Vec<Access>,
    /// What an instruction inside a loop may move its operand by: address register, largest sum of increments.
    moving: Option<(u8, i64)>,
    moved: bool,
    /// Wait for everything, whatever it is.
    strict: bool,
}

impl Generator {
    pub fn new(seed: u64, machine: Machine) -> Generator {
        Generator { rng: Rng(seed), machine, history: Vec::new(), moving: None, moved: false, strict: false }
    }

    /// A whole program: `parts` pieces, straight, in loops or in functions. `flags` allows sticky flags to be set.
    pub fn program(&mut self, parts: usize) -> Vec<u32> {
        self.history.clear();
        let mut main = Vec::new();
        let mut calls: Vec<(usize, Vec<Instr>)> = Vec::new();
        for _ in 0..parts {
            match self.rng.range(0, 7) {
                0 => self.looped(&mut main),
                1 => {
                    self.fence(&mut main);
                    let body: Vec<Instr> = self.some(2).into_iter().chain([Instr::Control(Control::Ret)]).collect();
                    for _ in 0..self.rng.range(1, 2) {
                        calls.push((main.len(), body.clone()));
                        main.push(Instr::Control(Control::Call(0)));
                        self.fence(&mut main);
                    }
                }
                2 => main.push(Instr::Control(Control::Nop)),
                _ => {
                    let more = self.some(3);
                    main.extend(more);
                }
            }
        }
        main.push(Instr::Control(Control::End));
        let mut at: usize = main.iter().map(|i| i.encode().len()).sum();
        let mut functions = Vec::new();
        for (call, body) in calls {
            main[call] = Instr::Control(Control::Call(at as u32));
            at += body.iter().map(|i| i.encode().len()).sum::<usize>();
            functions.extend(body);
        }
        main.iter().chain(&functions).flat_map(|i| i.encode().to_vec()).collect()
    }

    fn fence(&mut self, to: &mut Vec<Instr>) {
        to.push(Instr::Control(Control::Fence));
        self.history.clear();
    }

    /// Up to `most` engine instructions.
    fn some(&mut self, most: i64) -> Vec<Instr> {
        let mut out = Vec::new();
        for _ in 0..self.rng.range(1, most) {
            if self.rng.one_in(2) { self.gemm(&mut out) } else { out.push(self.vector()) }
        }
        out
    }

    /// A loop over instructions with an operand that walks.
    fn looped(&mut self, to: &mut Vec<Instr>) {
        let areg = self.rng.range(1, 15) as u8;
        let (times, step) = (self.rng.range(1, 4), self.rng.range(0, 9));
        let start = self.rng.range(0, (1 << 20) - 1);
        self.fence(to);
        self.strict = self.rng.one_in(2);
        self.moving = Some((areg, (times - 1) * step));
        self.moved = false;
        let body = self.some(2);
        self.moving = None;
        to.push(Instr::Control(Control::ASet(areg, start as u32)));
        to.push(Instr::Control(Control::Loop(times as u32)));
        // Without waits for everything, an iteration could overtake the one before.
        if !self.strict {
            to.push(Instr::Control(Control::Fence));
        }
        to.extend(body.into_iter().map(|i| rebase(i, areg, start)));
        to.push(Instr::Control(Control::AAdd(areg, step as i32)));
        to.push(Instr::Control(Control::EndLoop));
        self.strict = false;
        self.fence(to);
    }

    /// A base for a block that reaches from `low` to `high` around it.
    fn base(&mut self, space: Space, low: i64, high: i64) -> (Base, Span) {
        let m = &self.machine;
        let (room, offset) = match space {
            Space::Half => (m.hmem_plane(), 0),
            Space::Single => (m.smem_plane(), SMEM),
            Space::Mask => (m.mask_bits, MASK),
        };
        let (areg, travel) = match self.moving {
            Some((areg, travel)) if self.rng.one_in(2) => (areg, travel),
            _ => (0, 0),
        };
        self.moved |= areg != 0;
        let plane = if space == Space::Mask { 0 } else { self.rng.range(0, 1) };
        let at = self.rng.range(-low, i64::from(room) - 1 - high - travel);
        let addr = Addr::new(plane as u32, at as u32);
        let first = i64::from(addr.0) + offset;
        (Base { addr, areg }, Span { from: first + low, to: first + high + travel })
    }

    fn view(&mut self, space: Space, inner: i64, outer: i64, rows: i64, cols: i64) -> (View, Span) {
        let (r, c) = ((rows - 1) * outer, (cols - 1) * inner);
        let (base, span) = self.base(space, r.min(0) + c.min(0), r.max(0) + c.max(0));
        (View::new(base, inner as i16, outer as i16), span)
    }

    /// A stride that the banks serve, small.
    fn inner(&mut self) -> i64 {
        if self.rng.one_in(2) { 1 } else { 1 + i64::from(self.machine.lanes) * self.rng.range(-2, 3) }
    }

    /// Strides whose elements are all different.
    fn distinct(&mut self, rows: i64, cols: i64) -> (i64, i64) {
        let n = i64::from(self.machine.lanes);
        let sign = if self.rng.one_in(4) { -1 } else { 1 };
        if self.rng.one_in(2) {
            (1, sign * (cols + self.rng.range(0, 3)))
        } else {
            // columns: the pitch is 1 modulo the lanes, and no row reaches the next
            (1 + n * ((rows + n - 1) / n), sign)
        }
    }

    fn source_view(&mut self, space: Space, rows: i64, cols: i64, broadcast: bool) -> (View, Span) {
        let inner = if broadcast && self.rng.one_in(4) { 0 } else { self.inner() };
        let outer = self.rng.range(-12, 24);
        self.view(space, inner, outer, rows, cols)
    }

    /// Sets the waits that an instruction needs, and remembers it.
    fn wait(&mut self, access: Access) -> Sync {
        let mut sync =
            Sync { flag: if self.rng.one_in(2) { Some(self.rng.range(0, 3) as u8) } else { None }, ..Sync::default() };
        for matrix in [true, false] {
            let earlier = self.history.iter().rev().filter(|a| a.matrix == matrix);
            let hazard = |a: &Access| {
                let raw = meet(&a.writes, &access.reads);
                raw || matrix != access.matrix && (meet(&a.reads, &access.writes) || meet(&a.writes, &access.writes))
            };
            let needed = earlier.enumerate().find(|(_, a)| hazard(a)).map_or(0, |(i, _)| (i + 1).min(15) as u8);
            let distance = if self.strict { 1 } else { needed };
            if matrix { sync.wait_m = distance } else { sync.wait_v = distance }
        }
        self.history.push(access);
        sync
    }

    fn size(&mut self) -> i64 {
        let n = i64::from(self.machine.lanes);
        match self.rng.range(0, 5) {
            0 => 1,
            1 => n,
            2 => n + 1,
            3 => self.rng.range(1, 3 * n),
            _ => self.rng.range(1, 20),
        }
    }

    /// One product, or two of which the second goes on with the sums of the first.
    fn gemm(&mut self, out: &mut Vec<Instr>) {
        let n_lanes = i64::from(self.machine.lanes);
        let chained = self.rng.one_in(5);
        let (m, n) = (self.size(), self.size());
        let tiles = (n + n_lanes - 1) / n_lanes;
        let rows = i64::from(self.machine.acc_rows);
        let (m_block, n_group) = if chained {
            (m, tiles)
        } else {
            let b = self.rng.range(1, m.min(rows) + 2);
            (b, self.rng.range(1, (rows / b).min(tiles + 1)))
        };
        if m_block * n_group > rows {
            return self.gemm(out);
        }
        let acc_base = self.rng.range(0, (rows - m_block * n_group).min(255));
        let acc = Span { from: ACC + acc_base, to: ACC + acc_base + m_block * n_group - 1 };
        for part in 0..=usize::from(chained) {
            let last = part == usize::from(chained);
            loop {
                let k = self.size();
                let mut access = Access { matrix: true, writes: vec![acc], ..Access::default() };
                let (x, span) = self.source_view(Space::Half, m, k, false);
                access.reads.push(span);
                let (w, span) = self.source_view(Space::Half, k, n, false);
                access.reads.push(span);
                let init = match self.rng.range(0, 3) {
                    _ if part == 1 => {
                        access.reads.push(acc);
                        Init::Accumulators
                    }
                    1 => {
                        let (base, span) = self.base(Space::Half, 0, n - 1);
                        access.reads.push(span);
                        Init::BiasPerColumn(base)
                    }
                    2 => {
                        let (base, span) = self.base(Space::Half, 0, m - 1);
                        access.reads.push(span);
                        Init::BiasPerRow(base)
                    }
                    _ => Init::Zero,
                };
                let (inner, outer) = self.distinct(m, n);
                let mut to = Output::Keep;
                let mut mask = Mask::None;
                if last {
                    let single = self.rng.one_in(2);
                    let (v, span) = self.view(if single { Space::Single } else { Space::Half }, inner, outer, m, n);
                    access.writes.push(span);
                    to = if single { Output::Single(v) } else { Output::Half(v) };
                    let (v, span) = self.view(Space::Mask, inner, outer, m, n);
                    match self.rng.range(0, 3) {
                        0 => {
                            access.writes.push(span);
                            mask = Mask::Write(v.base);
                        }
                        1 => {
                            access.reads.push(span);
                            mask = Mask::Apply(v.base);
                        }
                        _ => {}
                    }
                }
                let memory = |s: &&Span| s.from < ACC;
                let (reads, writes): (Vec<Span>, Vec<Span>) = (
                    access.reads.iter().filter(memory).copied().collect(),
                    access.writes.iter().filter(memory).copied().collect(),
                );
                if meet(&reads, &writes) {
                    continue;
                }
                let relu = self.rng.one_in(3);
                let sync = self.wait(access);
                let (m, k, n, m_block, n_group) = (m as u16, k as u16, n as u16, m_block as u16, n_group as u16);
                let acc_base = acc_base as u8;
                out.push(Instr::Gemm(Gemm {
                    sync,
                    m,
                    k,
                    n,
                    m_block,
                    n_group,
                    acc_base,
                    x,
                    w,
                    init,
                    out: to,
                    relu,
                    mask,
                }));
                break;
            }
        }
    }

    fn source(&mut self, rows: i64, cols: i64, reads: &mut Vec<Span>) -> Source {
        let modifiers =
            |r: &mut Rng, half| Modifiers { neg: r.one_in(3), abs: r.one_in(4), scaled: half && r.one_in(3) };
        match self.rng.range(0, 5) {
            0 => Source::Imm(if self.rng.one_in(2) { 1f32.to_bits() } else { number(&mut self.rng) }),
            1 => {
                let r = self.rng.range(0, 15);
                reads.push(Span { from: SREG + r, to: SREG + r });
                Source::Sreg(r as u8, modifiers(&mut self.rng, false))
            }
            2 | 3 => {
                let (v, span) = self.source_view(Space::Half, rows, cols, true);
                reads.push(span);
                Source::Hmem(v, modifiers(&mut self.rng, true))
            }
            _ => {
                let (v, span) = self.source_view(Space::Single, rows, cols, true);
                reads.push(span);
                Source::Smem(v, modifiers(&mut self.rng, false))
            }
        }
    }

    fn vector(&mut self) -> Instr {
        loop {
            let scalar = self.rng.one_in(6);
            let (rows, cols) = if scalar { (1, 1) } else { (self.rng.range(1, 6), self.rng.range(1, 21)) };
            let op = if self.rng.one_in(3) { VectorOp::Mad } else { self.rng.pick(&VectorOp::ALL) };
            let mut access = Access::default();
            let x = self.source(rows, cols, &mut access.reads);
            let y = self.source(rows, cols, &mut access.reads);
            let mut z = self.source(rows, cols, &mut access.reads);
            let (inner, mut outer) = self.distinct(rows, cols);
            let recurrent = rows > 1 && self.rng.one_in(4);
            let reduce = recurrent && self.rng.one_in(2);
            if reduce {
                outer = 0;
            }
            let mut own = Vec::new();
            let d = match self.rng.range(0, 5) {
                _ if scalar => {
                    let r = self.rng.range(0, 15);
                    own.push(Span { from: SREG + r, to: SREG + r });
                    Dest::Sreg(r as u8)
                }
                0 => Dest::None,
                1 | 2 => {
                    let (v, span) = self.view(Space::Half, inner, outer, rows, cols);
                    own.push(span);
                    Dest::Hmem(v)
                }
                _ => {
                    let (v, span) = self.view(Space::Single, inner, outer, rows, cols);
                    own.push(span);
                    Dest::Smem(v)
                }
            };
            let copy = if d == Dest::None || self.rng.one_in(4) {
                let (inner, outer) = self.distinct(rows, cols);
                let (v, span) = self.view(Space::Half, inner, outer, rows, cols);
                // scalars may be read and written at once, memory may not
                if meet(&own, &[span]) || meet(&access.reads, &[span]) {
                    continue;
                }
                access.writes.push(span);
                Some(v)
            } else {
                None
            };
            let memory: Vec<Span> = own.iter().filter(|s| s.from < SREG).copied().collect();
            if meet(&memory, &access.reads) {
                continue;
            }
            // In place, and sums over rows: z is what the destination held.
            if reduce || self.rng.one_in(4) {
                z = match d {
                    Dest::Hmem(v) => Source::Hmem(v, Modifiers::default()),
                    Dest::Smem(v) => Source::Smem(v, Modifiers::default()),
                    _ => z,
                };
                access.reads.extend(&memory);
            }
            access.writes.extend(own);
            let sync = self.wait(access);
            let (rows, cols) = (rows as u16, cols as u16);
            return Instr::Vector(Vector { sync, op, rows, cols, x, y, z, d, copy, recurrent });
        }
    }
}

/// Bases on `areg` count from where the loop starts it.
fn rebase(mut i: Instr, areg: u8, start: i64) -> Instr {
    let fix = |b: &mut Base| {
        if b.areg == areg {
            b.addr = b.addr.offset_by(-(start as i32));
        }
    };
    match &mut i {
        Instr::Control(_) => {}
        Instr::Gemm(g) => {
            fix(&mut g.x.base);
            fix(&mut g.w.base);
            match &mut g.init {
                Init::BiasPerColumn(b) | Init::BiasPerRow(b) => fix(b),
                _ => {}
            }
            match &mut g.out {
                Output::Half(v) | Output::Single(v) => fix(&mut v.base),
                Output::Keep => {}
            }
            match &mut g.mask {
                Mask::Write(b) | Mask::Apply(b) => fix(b),
                Mask::None => {}
            }
        }
        Instr::Vector(v) => {
            for s in [&mut v.x, &mut v.y, &mut v.z] {
                if let Source::Hmem(view, _) | Source::Smem(view, _) = s {
                    fix(&mut view.base);
                }
            }
            if let Dest::Hmem(view) | Dest::Smem(view) = &mut v.d {
                fix(&mut view.base);
            }
            if let Some(view) = &mut v.copy {
                fix(&mut view.base);
            }
        }
    }
    i
}

/// FP32 bits: ordinary numbers mostly, sometimes anything.
pub fn number(rng: &mut Rng) -> u32 {
    match rng.range(0, 9) {
        0 => rng.bits() as u32,
        1 => rng.pick(&[
            0,
            1 << 31,
            1,
            0x8000_0001,
            0x7f80_0000,
            0xff80_0000,
            0x7fc0_0000,
            0xffff_ffff,
            0x7f7f_ffff,
            0x0080_0000,
        ]),
        _ => ((rng.range(-1 << 20, 1 << 20) as f32) / (1 << 18) as f32).to_bits(),
    }
}

/// FP16 bits: in `wild` data sometimes anything, else small numbers.
pub fn half(rng: &mut Rng, wild: bool) -> u16 {
    if wild && rng.one_in(64) {
        return rng.bits() as u16;
    }
    // exponents around 1
    (rng.bits() as u16 & 0x83ff) | (rng.range(11, 16) as u16) << 10
}
