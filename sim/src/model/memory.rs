//! The machine's memories, and strided walks through them.

use systole_isa::machine::Machine;
use systole_isa::operand::{Addr, View};
use systole_isa::regs::{Space, Trap};
use systole_isa::{NAN32, SREGS};

use super::float;
use super::simd::Level;

/// Why an instruction stopped the machine, and the element address or word that did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The cause.
    pub trap: Trap,
    /// Value of [`systole_isa::regs::TRAP_INFO`].
    pub info: u32,
}

/// Bit of an element address in `TRAP_INFO` and `FLAG_ADDR` that says `smem`.
pub const IN_SMEM: u32 = 1 << 31;
/// Bit of an element address in `TRAP_INFO` that says mask memory.
pub const IN_MASK: u32 = 1 << 30;

/// A memory that instructions address by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bank {
    /// FP16, two planes.
    Half,
    /// FP32, two planes.
    Single,
    /// Bits, no planes.
    Mask,
}

impl Bank {
    /// What `TRAP_INFO` and `FLAG_ADDR` add to an element address.
    pub const fn mark(self) -> u32 {
        match self {
            Bank::Half => 0,
            Bank::Single => IN_SMEM,
            Bank::Mask => IN_MASK,
        }
    }
}

/// A view whose base is resolved. Element (r, c) lies at `base + r·outer + c·inner`, modulo 2^20.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    base: u32,
    /// Step between neighbouring lanes.
    pub inner: i32,
    /// Step between rows.
    pub outer: i32,
}

/// Where one run of elements lies in a memory's vector.
enum Run {
    /// At `start + i·step`, all inside one plane.
    Linear(usize, isize),
    /// Wrapping around: look at each address.
    Scattered,
}

impl Walk {
    /// The walk of a view whose base involves no address register any more.
    pub fn new(v: &View) -> Walk {
        debug_assert_eq!(v.base.areg, 0);
        Walk { base: v.base.addr.0, inner: v.strides.inner.into(), outer: v.strides.outer.into() }
    }

    /// `count` neighbours from `base`.
    pub fn contiguous(base: u32) -> Walk {
        Walk { base, inner: 1, outer: 0 }
    }

    /// The same strides from another base.
    pub fn rebased(self, base: u32) -> Walk {
        Walk { base, ..self }
    }

    /// Rows and lanes exchanged.
    pub fn transposed(self) -> Walk {
        Walk { inner: self.outer, outer: self.inner, ..self }
    }

    /// Address of element (r, c).
    #[inline]
    pub fn at(&self, r: usize, c: usize) -> u32 {
        let step = (r as i32).wrapping_mul(self.outer).wrapping_add((c as i32).wrapping_mul(self.inner));
        self.base.wrapping_add(step as u32) & Addr::MASK
    }
}

/// Everything that survives an abort.
pub struct Memory {
    /// Sizes.
    pub machine: Machine,
    /// FP16 elements, plane 0 then plane 1.
    pub half: Vec<u16>,
    /// 32-bit elements, plane 0 then plane 1.
    pub single: Vec<u32>,
    /// One bool per mask bit.
    pub mask: Vec<bool>,
    /// Program memory.
    pub program: Vec<u32>,
    /// Accumulator memory: `acc_rows` rows of `lanes` sums.
    pub accumulators: Vec<f32>,
    /// Scalar registers.
    pub sregs: [u32; SREGS],
    /// Vector instructions to use.
    pub level: Level,
    /// Round every partial sum of a product to FP16: no Systole does, see [`super::Model::with_half_sums`].
    pub half_sums: bool,
    /// Buffers that engines use within one instruction.
    pub(super) scratch: super::gemm::Scratch,
}

impl Memory {
    /// Memories of these sizes, all zero.
    pub fn new(machine: Machine) -> Memory {
        Memory {
            machine,
            half: vec![0; machine.hmem_words as usize],
            single: vec![0; machine.smem_words as usize],
            mask: vec![false; machine.mask_bits as usize],
            program: vec![0; machine.pmem_words as usize],
            accumulators: vec![0.0; (machine.acc_rows * machine.lanes) as usize],
            sregs: [0; SREGS],
            level: Level::best(),
            half_sums: false,
            scratch: Default::default(),
        }
    }

    fn plane(&self, bank: Bank) -> u32 {
        match bank {
            Bank::Half => self.machine.hmem_plane(),
            Bank::Single => self.machine.smem_plane(),
            Bank::Mask => self.machine.mask_bits,
        }
    }

    /// Index of an element in its memory's vector.
    #[inline]
    pub fn index(&self, bank: Bank, addr: u32) -> Option<usize> {
        let room = self.plane(bank);
        let (plane, offset) = match bank {
            Bank::Mask => (0, addr),
            _ => (Addr(addr).plane(), Addr(addr).offset()),
        };
        (offset < room).then_some((plane * room + offset) as usize)
    }

    fn run(&self, bank: Bank, walk: &Walk, r: usize, c: usize, count: usize) -> Run {
        let room = self.plane(bank) as i64;
        let first = walk.at(r, c);
        let (plane, offset) = match bank {
            Bank::Mask => (0, first as i64),
            _ => (Addr(first).plane() as i64, Addr(first).offset() as i64),
        };
        let last = offset + (count as i64 - 1) * walk.inner as i64;
        if offset < room && (0..room).contains(&last) {
            Run::Linear((plane * room + offset) as usize, walk.inner as isize)
        } else {
            Run::Scattered
        }
    }

    /// The first element (rows outer, then lanes) of a rows × cols walk that lies outside the memory: (row, lane).
    pub fn first_outside(&self, bank: Bank, walk: &Walk, rows: usize, cols: usize) -> Option<(usize, usize)> {
        // All inside if the extreme corners are, without wrapping.
        let room = self.plane(bank) as i64;
        let start = if bank == Bank::Mask { walk.base } else { Addr(walk.base).offset() } as i64;
        let down = (rows as i64 - 1) * walk.outer as i64;
        let along = (cols as i64 - 1) * walk.inner as i64;
        if start + down.min(0) + along.min(0) >= 0 && start + down.max(0) + along.max(0) < room {
            return None;
        }
        (0..rows).find_map(|r| match self.run(bank, walk, r, 0, cols) {
            Run::Linear(..) => None,
            Run::Scattered => (0..cols).find(|&c| self.index(bank, walk.at(r, c)).is_none()).map(|c| (r, c)),
        })
    }

    /// Traps on the first element outside.
    pub fn check(&self, bank: Bank, walk: &Walk, rows: usize, cols: usize) -> Result<(), Stop> {
        match self.first_outside(bank, walk, rows, cols) {
            None => Ok(()),
            Some((r, c)) => Err(Stop { trap: Trap::Range, info: walk.at(r, c) | bank.mark() }),
        }
    }

    /// Loads elements (r, c..) of `hmem` as FP32 bits. The walk has been checked.
    pub fn load_half(&self, walk: &Walk, r: usize, c: usize, to: &mut [u32]) {
        match self.run(Bank::Half, walk, r, c, to.len()) {
            Run::Linear(at, 1) => float::widen_all(self.level, &self.half[at..at + to.len()], to),
            Run::Linear(at, 0) => to.fill(float::widen(self.half[at])),
            Run::Linear(at, step) => {
                for (i, t) in to.iter_mut().enumerate() {
                    *t = float::widen(self.half[at.wrapping_add_signed(i as isize * step)]);
                }
            }
            Run::Scattered => {
                for (i, t) in to.iter_mut().enumerate() {
                    let at = self.index(Bank::Half, walk.at(r, c + i));
                    *t = at.map_or(NAN32, |at| float::widen(self.half[at]));
                }
            }
        }
    }

    /// Loads elements (r, c..) of `smem`. The walk has been checked.
    pub fn load_single(&self, walk: &Walk, r: usize, c: usize, to: &mut [u32]) {
        match self.run(Bank::Single, walk, r, c, to.len()) {
            Run::Linear(at, 1) => to.copy_from_slice(&self.single[at..at + to.len()]),
            Run::Linear(at, 0) => to.fill(self.single[at]),
            Run::Linear(at, step) => {
                for (i, t) in to.iter_mut().enumerate() {
                    *t = self.single[at.wrapping_add_signed(i as isize * step)];
                }
            }
            Run::Scattered => {
                for (i, t) in to.iter_mut().enumerate() {
                    *t = self.index(Bank::Single, walk.at(r, c + i)).map_or(NAN32, |at| self.single[at]);
                }
            }
        }
    }

    /// Loads mask bits (r, c..). The walk has been checked.
    pub fn load_mask(&self, walk: &Walk, r: usize, c: usize, to: &mut [bool]) {
        for (i, t) in to.iter_mut().enumerate() {
            *t = self.index(Bank::Mask, walk.at(r, c + i)).is_some_and(|at| self.mask[at]);
        }
    }

    /// Stores FP16 elements (r, c..). The walk has been checked.
    pub fn store_half(&mut self, walk: &Walk, r: usize, c: usize, from: &[u16]) {
        match self.run(Bank::Half, walk, r, c, from.len()) {
            Run::Linear(at, step) => store(&mut self.half, at, step, from),
            Run::Scattered => {
                for (i, &v) in from.iter().enumerate() {
                    if let Some(at) = self.index(Bank::Half, walk.at(r, c + i)) {
                        self.half[at] = v;
                    }
                }
            }
        }
    }

    /// Stores 32-bit elements (r, c..). The walk has been checked.
    pub fn store_single(&mut self, walk: &Walk, r: usize, c: usize, from: &[u32]) {
        match self.run(Bank::Single, walk, r, c, from.len()) {
            Run::Linear(at, step) => store(&mut self.single, at, step, from),
            Run::Scattered => {
                for (i, &v) in from.iter().enumerate() {
                    if let Some(at) = self.index(Bank::Single, walk.at(r, c + i)) {
                        self.single[at] = v;
                    }
                }
            }
        }
    }

    /// Stores mask bits (r, c..). The walk has been checked.
    pub fn store_mask(&mut self, walk: &Walk, r: usize, c: usize, from: &[bool]) {
        match self.run(Bank::Mask, walk, r, c, from.len()) {
            Run::Linear(at, step) => store(&mut self.mask, at, step, from),
            Run::Scattered => {
                for (i, &v) in from.iter().enumerate() {
                    if let Some(at) = self.index(Bank::Mask, walk.at(r, c + i)) {
                        self.mask[at] = v;
                    }
                }
            }
        }
    }

    /// One element as the mover sees it; `None` outside.
    pub fn get(&self, space: Space, addr: u32) -> Option<u32> {
        match space {
            Space::Hmem => self.index(Bank::Half, addr).map(|i| self.half[i].into()),
            Space::Smem => self.index(Bank::Single, addr).map(|i| self.single[i]),
            Space::Program => self.program.get(addr as usize).copied(),
        }
    }

    /// Sets one element as the mover does; false outside.
    pub fn set(&mut self, space: Space, addr: u32, value: u32) -> bool {
        match space {
            Space::Hmem => self.index(Bank::Half, addr).map(|i| self.half[i] = value as u16).is_some(),
            Space::Smem => self.index(Bank::Single, addr).map(|i| self.single[i] = value).is_some(),
            Space::Program => self.program.get_mut(addr as usize).map(|w| *w = value).is_some(),
        }
    }
}

fn store<T: Copy>(memory: &mut [T], at: usize, step: isize, from: &[T]) {
    if step == 1 {
        memory[at..at + from.len()].copy_from_slice(from);
        return;
    }
    for (i, &v) in from.iter().enumerate() {
        memory[at.wrapping_add_signed(i as isize * step)] = v;
    }
}
