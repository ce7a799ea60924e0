//! What an instruction costs: a page of model of the engines, used to choose (stationary operand, blocking, order) and to
//! predict. Only the RTL speaks for cycles; the constants here are fitted to it.

use systole_isa::instr::{ENGINE_WORDS, Gemm, Instr, Vector};
use systole_isa::machine::Machine;
use systole_isa::operand::{Dest, Source, View};

/// Which engine executes an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Systolic array.
    Matrix = 0,
    /// Vector lanes.
    Vector = 1,
}

impl Engine {
    /// The engine of an instruction; `None` for the fetcher's own.
    pub fn of(instr: &Instr) -> Option<Engine> {
        match instr {
            Instr::Control(_) => None,
            Instr::Gemm(_) => Some(Engine::Matrix),
            Instr::Vector(_) => Some(Engine::Vector),
        }
    }
}

/// Cycles of one instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From its start until the engine can start the next one.
    pub occupancy: u64,
    /// From its start until its last result is written.
    pub latency: u64,
    /// Cycles in which it reads each plane of `hmem`.
    pub reads: [u64; 2],
}

/// The model's constants, in cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The machine it is about.
    pub machine: Machine,
    /// L: latency of an accumulator addition.
    pub adder_latency: u64,
    /// From the last array row to a re-injectable partial sum, beyond N·L.
    pub reinject: u64,
    /// Cycles that a read takes beyond two.
    pub memory: u64,
    /// From hand-over to the first weight read, plus from the last sum to its write, beyond N·L and the two skews of N.
    pub matrix_latency: u64,
    /// Cycles between the last streamed row of a product and the first of the next.
    pub matrix_gap: u64,
    /// Issue cycles of a vector instruction beyond one per vector.
    pub vector_gap: u64,
    /// From the last vector read to its result's write.
    pub vector_latency: u64,
    /// As much more where the result is FP16.
    pub to_half: u64,
    /// Cycles that the fetcher takes to hand an instruction over.
    pub fetch: u64,
}

impl Cost {
    /// The model of `machine`.
    pub const fn new(machine: Machine) -> Cost {
        Cost {
            machine,
            adder_latency: machine.adder_latency as u64,
            reinject: 3,
            memory: machine.memory_latency as u64 - 2,
            matrix_latency: 2,
            matrix_gap: 1,
            vector_gap: 1,
            vector_latency: 12 + machine.memory_latency as u64,
            to_half: 2,
            fetch: ENGINE_WORDS as u64 + 1,
        }
    }

    /// Cycles of one instruction, alone.
    pub fn timing(&self, instr: &Instr) -> Timing {
        match instr {
            Instr::Control(_) => Timing::default(),
            Instr::Gemm(g) => self.gemm(g),
            Instr::Vector(v) => self.vector(v),
        }
    }

    /// A product: per block of `m_block` rows and group of `n_group` column tiles, k outside: each step streams the group's
    /// tiles, each at least as long as the next tile's load, and not faster than partial sums come round.
    pub fn gemm(&self, g: &Gemm) -> Timing {
        let n = self.machine.lanes as u64;
        let (m, k_tiles, n_tiles) = (g.m as u64, (g.k as u64).div_ceil(n), (g.n as u64).div_ceil(n));
        let shared = g.x.base.areg == 0 && g.w.base.areg == 0 && g.x.base.addr.plane() == g.w.base.addr.plane();
        let round = n * self.adder_latency + self.reinject;
        let (mut stream, mut rows_streamed, mut tiles_loaded) = (0, 0, 0);
        for m0 in (0..m).step_by(g.m_block as usize) {
            let rows = (g.m_block as u64).min(m - m0);
            let tile = if shared { rows + n } else { rows.max(n) };
            for n0 in (0..n_tiles).step_by(g.n_group as usize) {
                let tiles = (g.n_group as u64).min(n_tiles - n0);
                let step = (tiles * tile).max(if k_tiles > 1 { round } else { 0 });
                stream += step * (k_tiles - 1) + tiles * tile;
                rows_streamed += k_tiles * tiles * rows;
                tiles_loaded += k_tiles * tiles;
            }
        }
        let occupancy = stream + self.matrix_gap;
        let mut reads = [0; 2];
        // (a batch's slot is named by a register; the plan keeps it out of the other operand's plane)
        let plane = |v: &View, other: &View| match v.base.areg {
            0 => v.base.addr.plane() as usize,
            _ => 1 - other.base.addr.plane() as usize,
        };
        reads[plane(&g.x, &g.w)] += rows_streamed;
        reads[plane(&g.w, &g.x)] += n * tiles_loaded;
        Timing {
            occupancy,
            latency: occupancy + n * self.adder_latency + 2 * n + self.matrix_latency + self.memory,
            reads,
        }
    }

    /// A vector instruction: one cycle per vector, more where two operands share a plane's port.
    pub fn vector(&self, v: &Vector) -> Timing {
        let vectors = v.rows as u64 * (v.cols as u64).div_ceil(self.machine.vector_lanes as u64);
        let (mut ports, mut reads) = ([0u64; 4], [0; 2]);
        for s in [v.x, v.y, v.z] {
            match s {
                Source::Hmem(view, _) => {
                    let plane = view.base.addr.plane() as usize;
                    ports[plane] += 1;
                    // (which plane a register names is not known)
                    reads[plane] += if view.base.areg == 0 { vectors } else { 0 };
                }
                Source::Smem(view, _) => ports[2 + view.base.addr.plane() as usize] += 1,
                Source::Imm(_) | Source::Sreg(..) => {}
            }
        }
        let both = matches!((v.d, v.copy), (Dest::Hmem(d), Some(c)) if d.base.addr.plane() == c.base.addr.plane());
        let per_vector = ports.into_iter().max().unwrap_or(0).max(1 + both as u64);
        let wait = if v.recurrent { self.vector_latency } else { 0 };
        let occupancy = self.vector_gap + vectors * per_vector + v.rows as u64 * wait;
        let half = v.copy.is_some() || matches!(v.d, Dest::Hmem(_));
        Timing { occupancy, latency: occupancy + self.vector_latency + if half { self.to_half } else { 0 }, reads }
    }

    /// The blocking `(m_block, n_group)` of an m×k×n product with the fewest cycles, in `room` accumulator rows; ties prefer
    /// wide groups.
    pub fn blocking(&self, g: &Gemm, room: u32) -> (u16, u16) {
        let tiles = (g.n as u32).div_ceil(self.machine.lanes);
        let mut best = (u64::MAX, (1, 1));
        for n_group in (1..=tiles.min(room)).rev() {
            let m_block = (g.m as u32).min(room / n_group);
            let blocks = (g.m as u32).div_ceil(m_block);
            // Even blocks: the last one is not a thin remainder.
            let even = (g.m as u32).div_ceil(blocks);
            for rows in [even, m_block] {
                let cycles = self.gemm(&Gemm { m_block: rows as u16, n_group: n_group as u16, ..*g }).occupancy;
                if cycles < best.0 {
                    best = (cycles, (rows as u16, n_group as u16));
                }
            }
        }
        best.1
    }
}

/// Executes an instruction stream on the model of fetcher and engines.
#[derive(Clone, Debug)]
pub struct Pipeline {
    cost: Cost,
    /// When the fetcher is free again.
    fetch: u64,
    /// Per engine: when its instruction buffer and when the engine is free again.
    buffer: [u64; 2],
    engine: [u64; 2],
    /// Per engine: completion times, in order.
    done: [Vec<u64>; 2],
    /// What the matrix engine reads, which goes first: from when to when, and for how many of these cycles each plane of `hmem`.
    products: Vec<(u64, u64, [u64; 2])>,
}

/// When an instruction starts and is done, in cycles since the segment's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Start.
    pub start: u64,
    /// Last result written.
    pub done: u64,
}

impl Pipeline {
    /// Idle engines.
    pub fn new(cost: Cost) -> Pipeline {
        Pipeline {
            cost,
            fetch: 0,
            buffer: [0; 2],
            engine: [0; 2],
            done: [Vec::new(), Vec::new()],
            products: Vec::new(),
        }
    }

    /// When an instruction for `engine` would start if it were next, its inputs being there at `ready`.
    pub fn start(&self, engine: Engine, ready: u64) -> u64 {
        let e = engine as usize;
        (self.fetch.max(self.buffer[e]) + self.cost.fetch).max(self.engine[e]).max(ready)
    }

    /// Issues an instruction.
    pub fn issue(&mut self, engine: Engine, ready: u64, timing: Timing) -> Span {
        let e = engine as usize;
        let start = self.start(engine, ready);
        self.fetch = self.fetch.max(self.buffer[e]) + self.cost.fetch;
        self.buffer[e] = start;
        let mut refused = 0;
        match engine {
            Engine::Matrix => self.products.push((start, start + timing.occupancy, timing.reads)),
            Engine::Vector => refused = self.refused(start, timing),
        }
        self.engine[e] = start + timing.occupancy + refused;
        let done = (start + refused + timing.latency).max(self.done[e].last().copied().unwrap_or(0));
        self.done[e].push(done);
        Span { start, done }
    }

    /// Cycles for which a vector instruction waits because products read the planes that it wants. They go first, so that one with no
    /// more rows than lanes leaves nothing of either plane.
    fn refused(&self, start: u64, timing: Timing) -> u64 {
        let mut end = start + timing.occupancy;
        for plane in 0..2 {
            let (mut at, mut left) = (start, timing.reads[plane]);
            let recent = self.products.iter().rev().take_while(|p| p.1 > start).collect::<Vec<_>>();
            for &&(from, to, reads) in recent.iter().rev() {
                // before it begins every cycle is free
                let free = from.saturating_sub(at).min(left);
                (at, left) = (at + free, left - free);
                if left == 0 {
                    break;
                }
                let (span, since) = (to - from, at.max(from));
                let free = (to - since) * span.saturating_sub(reads[plane]) / span;
                if free >= left {
                    at = since + (left * span).div_ceil(span - reads[plane]);
                    left = 0;
                    break;
                }
                (at, left) = (to, left - free);
            }
            end = end.max(at + left);
        }
        end - start - timing.occupancy
    }

    /// When everything issued is done.
    pub fn end(&self) -> u64 {
        self.done.iter().filter_map(|d| d.last()).copied().max().unwrap_or(0).max(self.fetch)
    }

    /// Completion time that a wait distance on `engine` stands for (0: none).
    pub fn completion(&self, engine: Engine, distance: u8) -> u64 {
        let done = &self.done[engine as usize];
        match distance as usize {
            0 => 0,
            d => done.len().checked_sub(d).map_or(0, |i| done[i]),
        }
    }
}
