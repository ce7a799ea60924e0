//! The fetcher: segments, control flow, address registers, flags and traps. Engines run where it meets their instructions, in
//! program order; the waits between them, which only matter to hardware that overlaps them, have nothing left to wait for.

use std::collections::VecDeque;

use systole_isa::instr::{
    Control, DecodeError, ENGINE_WORDS, Gemm, Init, Instr, Mask, Output, Vector, dec256, length, op,
};
use systole_isa::operand::{Addr, Base, Dest, Source, View};
use systole_isa::regs::Trap;
use systole_isa::{AREGS, CALL_DEPTH, FLAGS, LOOP_DEPTH};

use super::memory::{Memory, Stop};
use super::{gemm, vector};

/// Segments that the queue holds.
pub const QUEUE: usize = 4;

/// A segment that runs.
#[derive(Default)]
struct Running {
    pc: u32,
    /// Word address of each open loop's body, and how often it still runs, this time included.
    loops: Vec<(u32, u32)>,
    /// Return addresses.
    calls: Vec<u32>,
}

/// A latched trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trapped {
    /// The cause.
    pub trap: Trap,
    /// Word address of the instruction.
    pub pc: u16,
    /// Element address or word.
    pub info: u32,
}

/// A sticky flag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flag {
    /// Whether it is set.
    pub set: bool,
    /// Word address of the instruction that first set it.
    pub pc: u16,
    /// Element address that it wrote.
    pub addr: u32,
}

/// What the words at each address were when they were last decoded. Words are compared, so nobody has to tell when they change.
#[derive(Default)]
struct Decoded {
    /// Per word address: one more than the index in `known`; 0: nothing.
    index: Vec<u32>,
    known: Vec<([u32; ENGINE_WORDS], Instr)>,
}

impl Decoded {
    /// The instruction whose words start at `pc` with `words`.
    fn instr(&mut self, pc: u32, words: &[u32]) -> Result<&Instr, DecodeError> {
        let pc = pc as usize;
        if self.index.len() <= pc {
            self.index.resize(pc + 1, 0);
        }
        // (at the end of the memory there may be fewer words than the longest instruction has)
        let mut key = [0; ENGINE_WORDS];
        let count = words.len().min(ENGINE_WORDS);
        key[..count].copy_from_slice(&words[..count]);
        let mut slot = self.index[pc] as usize;
        if slot == 0 || self.known[slot - 1].0 != key {
            let entry = (key, Instr::decode(words)?);
            if slot == 0 {
                self.known.push(entry);
                slot = self.known.len();
                self.index[pc] = slot as u32;
            } else {
                self.known[slot - 1] = entry;
            }
        }
        Ok(&self.known[slot - 1].1)
    }
}

/// The fetcher's state.
#[derive(Default)]
pub struct Fetcher {
    /// Address registers; register 0 stays zero.
    pub aregs: [u32; AREGS],
    /// Sticky flags.
    pub flags: [Flag; FLAGS],
    /// Exponent by which `scaled` operands are multiplied.
    pub exponent: i8,
    /// Segments ended, run or skipped.
    pub ended: u8,
    /// Segments skipped.
    pub skipped: u8,
    /// The latched trap, until cleared.
    pub trapped: Option<Trapped>,
    queue: VecDeque<(u32, u32)>,
    running: Option<Running>,
    /// Set by a trap, cleared by an abort.
    stopped: bool,
    decoded: Decoded,
}

impl Fetcher {
    /// Queues the segment at a word address; it runs unless one of the flags in the mask is set by then. A full queue ignores it.
    pub fn push(&mut self, addr: u32, unless: u32) {
        if self.queue.len() < QUEUE {
            self.queue.push_back((counter(addr), unless));
        }
    }

    /// Whether a segment is queued or in flight.
    pub fn busy(&self) -> bool {
        self.running.is_some() || !self.queue.is_empty()
    }

    /// Whether no segment can be queued.
    pub fn full(&self) -> bool {
        self.queue.len() == QUEUE
    }

    /// Drops all segments and lets the fetcher run again after a trap. Registers, flags and the latched trap stay.
    pub fn abort(&mut self) {
        self.queue.clear();
        self.running = None;
        self.stopped = false;
    }

    /// Sticky flags as bits.
    pub fn flag_bits(&self) -> u32 {
        self.flags.iter().enumerate().map(|(i, f)| u32::from(f.set) << i).sum()
    }

    /// Clears the flags in `mask`, with what they latched.
    pub fn clear_flags(&mut self, mask: u32) {
        for (i, f) in self.flags.iter_mut().enumerate() {
            if mask >> i & 1 == 1 {
                *f = Flag::default();
            }
        }
    }

    /// Sets an address register.
    pub fn set_areg(&mut self, i: usize, value: u32) {
        if i != 0 {
            self.aregs[i] = value & Addr::MASK;
        }
    }

    /// Runs queued segments for about `budget` cycles, as [`cost`] counts them; returns how many that were.
    pub fn advance(&mut self, memory: &mut Memory, budget: u64) -> u64 {
        let mut spent = 0;
        while spent < budget && !self.stopped {
            let Some(running) = &mut self.running else {
                let Some((pc, unless)) = self.queue.pop_front() else {
                    break;
                };
                if self.flag_bits() & unless != 0 {
                    self.skipped = self.skipped.wrapping_add(1);
                    self.ended = self.ended.wrapping_add(1);
                } else {
                    self.running = Some(Running { pc, ..Running::default() });
                }
                continue;
            };
            let pc = running.pc;
            match self.step(memory) {
                Ok(cost) => spent += cost,
                Err(Stop { trap, info }) => {
                    self.stopped = true;
                    self.trapped.get_or_insert(Trapped { trap, pc: pc as u16, info });
                }
            }
        }
        spent
    }

    /// One instruction of the running segment.
    fn step(&mut self, memory: &mut Memory) -> Result<u64, Stop> {
        let Some(running) = &mut self.running else {
            return Ok(0);
        };
        let pc = running.pc;
        let words = memory.program.get(pc as usize..).unwrap_or(&[]);
        let instr = self.decoded.instr(pc, words);
        let instr = instr.map_err(|e| undecodable(e, pc, words, memory.machine.pmem_words))?;
        running.pc += length(words[0]) as u32;
        let next = running.pc;
        let cost = cost(instr, memory);
        let sync = match instr {
            Instr::Control(c) => {
                let (c, word) = (*c, words[1]);
                return self.control(c, next).map(|()| 1).map_err(|trap| Stop { trap, info: word });
            }
            Instr::Gemm(g) => {
                let offender = gemm::run(memory, &resolve_gemm(g, &self.aregs))?;
                (g.sync.flag, offender)
            }
            Instr::Vector(v) => {
                let offender = vector::run(memory, &resolve_vector(v, &self.aregs), self.exponent)?;
                (v.sync.flag, offender)
            }
        };
        if let (Some(flag), Some(addr)) = sync {
            let f = &mut self.flags[flag as usize];
            if !f.set {
                *f = Flag { set: true, pc: pc as u16, addr };
            }
        }
        Ok(cost)
    }

    fn control(&mut self, c: Control, next: u32) -> Result<(), Trap> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        match c {
            Control::Nop | Control::Fence => {}
            Control::End => {
                self.running = None;
                self.ended = self.ended.wrapping_add(1);
            }
            Control::Loop(count) => {
                if running.loops.len() == LOOP_DEPTH {
                    return Err(Trap::Stack);
                }
                running.loops.push((next, count));
            }
            Control::EndLoop => {
                let (body, left) = running.loops.last_mut().ok_or(Trap::Stack)?;
                *left -= 1;
                if *left > 0 {
                    running.pc = *body;
                } else {
                    running.loops.pop();
                }
            }
            Control::Call(target) => {
                if running.calls.len() == CALL_DEPTH {
                    return Err(Trap::Stack);
                }
                running.calls.push(next);
                running.pc = counter(target);
            }
            Control::Ret => running.pc = running.calls.pop().ok_or(Trap::Stack)?,
            Control::ASet(r, v) => self.set_areg(r as usize, v),
            Control::AAdd(r, v) => self.set_areg(r as usize, self.aregs[r as usize].wrapping_add(v as u32)),
        }
        Ok(())
    }
}

/// What the address registers make of a base.
fn base(b: Base, aregs: &[u32; AREGS]) -> Base {
    Base::at(b.addr.offset_by(aregs[b.areg as usize & 15] as i32))
}

fn view(v: View, aregs: &[u32; AREGS]) -> View {
    View { base: base(v.base, aregs), ..v }
}

fn resolve_gemm(g: &Gemm, aregs: &[u32; AREGS]) -> Gemm {
    let (base, view) = (|b| base(b, aregs), |v| view(v, aregs));
    Gemm {
        x: view(g.x),
        w: view(g.w),
        init: match g.init {
            Init::BiasPerColumn(b) => Init::BiasPerColumn(base(b)),
            Init::BiasPerRow(b) => Init::BiasPerRow(base(b)),
            i => i,
        },
        out: match g.out {
            Output::Half(v) => Output::Half(view(v)),
            Output::Single(v) => Output::Single(view(v)),
            Output::Keep => Output::Keep,
        },
        mask: match g.mask {
            Mask::Write(b) => Mask::Write(base(b)),
            Mask::Apply(b) => Mask::Apply(base(b)),
            Mask::None => Mask::None,
        },
        ..*g
    }
}

fn resolve_vector(v: &Vector, aregs: &[u32; AREGS]) -> Vector {
    let view = |v| view(v, aregs);
    let source = |s| match s {
        Source::Hmem(v, m) => Source::Hmem(view(v), m),
        Source::Smem(v, m) => Source::Smem(view(v), m),
        s => s,
    };
    Vector {
        x: source(v.x),
        y: source(v.y),
        z: source(v.z),
        d: match v.d {
            Dest::Hmem(v) => Dest::Hmem(view(v)),
            Dest::Smem(v) => Dest::Smem(view(v)),
            d => d,
        },
        copy: v.copy.map(view),
        ..*v
    }
}

/// A word address as the program counter holds it: 17 bits, and what is outside 16 bits stays outside.
fn counter(word: u32) -> u32 {
    word & 0xffff | u32::from(word > 0xffff) << 16
}

/// The trap for words that are no instruction: the program counter where they end too soon (with the address of the first
/// missing word), sizes for sizes, else the opcode.
fn undecodable(e: DecodeError, pc: u32, words: &[u32], room: u32) -> Stop {
    let word = |i: usize| words.get(i).copied().unwrap_or(0);
    match e {
        DecodeError::Truncated => Stop { trap: Trap::ProgramCounter, info: pc.max(room) },
        // the matrix engine always names the accumulator rows that the instruction asks for
        DecodeError::ZeroSize if word(0) & 0xff == op::GEMM => {
            let [m_block, n_group] = [16, 24].map(|at| u32::from(dec256(word(2) >> at)));
            Stop { trap: Trap::Size, info: m_block * n_group + (word(11) & 0xff) }
        }
        DecodeError::ZeroSize => Stop { trap: Trap::Size, info: word(1) },
        DecodeError::Opcode(_) | DecodeError::Flag(_) | DecodeError::Reserved => {
            Stop { trap: Trap::Opcode, info: word(0) }
        }
    }
}

/// A lower bound of an instruction's clock cycles. It makes deadlines work; it is no measurement.
pub fn cost(instr: &Instr, memory: &Memory) -> u64 {
    let (n, v) = (u64::from(memory.machine.lanes), u64::from(memory.machine.vector_lanes));
    match instr {
        Instr::Control(_) => 1,
        Instr::Gemm(g) => u64::from(g.m) * u64::from(g.k).div_ceil(n) * u64::from(g.n).div_ceil(n),
        Instr::Vector(i) => u64::from(i.rows) * u64::from(i.cols).div_ceil(v),
    }
}
