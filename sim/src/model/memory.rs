//! The machine's memories, and strided walks through them.

use std::ops::Range;

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

    /// Plane and offset of an address. Of mask memory, which is one plane, the bit above its addresses means nothing.
    const fn place(self, addr: u32) -> (u32, u32) {
        match self {
            Bank::Mask => (0, Addr(addr).offset()),
            _ => (Addr(addr).plane(), Addr(addr).offset()),
        }
    }

    /// How `TRAP_INFO` names element (r, c) of a walk, for accesses of so many lanes: an access' first element goes around at the end of
    /// all addresses, those beside it stay in its plane.
    pub fn sought(self, walk: &Walk, (r, c): (usize, usize), lanes: usize) -> u32 {
        let (plane, _) = self.place(walk.at(r, c - c % lanes));
        Addr::new(plane, walk.at(r, c)).0 | self.mark()
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

/// A walk of some rows and columns that has been found to lie inside its memory.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// The walk.
    pub walk: Walk,
    /// Index of element (0, 0) in the memory's vector, where the walk stays in one plane without wrapping around: element
    /// (r, c) is then `r·outer + c·inner` further on.
    pub start: Option<usize>,
}

impl Grid {
    /// Index of element (r, c), where the walk is linear.
    #[inline]
    pub fn linear(&self, r: usize, c: usize) -> Option<usize> {
        let step = r as isize * self.walk.outer as isize + c as isize * self.walk.inner as isize;
        Some(self.start?.wrapping_add_signed(step))
    }

    /// Whether `count` elements in rows of `cols` are neighbours, in that order.
    #[inline]
    pub fn dense(&self, cols: usize, count: usize) -> bool {
        self.walk.inner == 1 && (self.walk.outer as usize == cols || count <= cols)
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Grid {
        Grid { walk: self.walk.transposed(), ..self }
    }
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
    pub(super) scratch: Option<Box<super::gemm::Scratch>>,
    pub(super) buffers: Option<Box<super::vector::Buffers>>,
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
            scratch: None,
            buffers: None,
        }
    }

    fn plane(&self, bank: Bank) -> u32 {
        match bank {
            Bank::Half => self.machine.hmem_plane(),
            Bank::Single => self.machine.smem_plane(),
            Bank::Mask => self.machine.mask_bits,
        }
    }

    /// What gives the index of an element in its memory's vector; `None` outside.
    fn indexer(&self, bank: Bank) -> impl Fn(u32) -> Option<usize> + use<> {
        let room = self.plane(bank);
        move |addr| {
            let (plane, offset) = bank.place(addr);
            (offset < room).then_some((plane * room + offset) as usize)
        }
    }

    /// Index of an element in its memory's vector.
    #[inline]
    pub fn index(&self, bank: Bank, addr: u32) -> Option<usize> {
        self.indexer(bank)(addr)
    }

    /// Finds a rows × cols walk inside its memory, or else the first element (rows outer, then lanes) outside: (row, lane).
    pub fn grid(&self, bank: Bank, walk: &Walk, rows: usize, cols: usize) -> Result<Grid, (usize, usize)> {
        // All inside if the extreme corners are, without wrapping.
        let room = self.plane(bank) as i64;
        let (plane, offset) = bank.place(walk.base);
        let (plane, offset) = (plane as i64, offset as i64);
        let down = (rows as i64 - 1) * walk.outer as i64;
        let along = (cols as i64 - 1) * walk.inner as i64;
        if offset + down.min(0) + along.min(0) >= 0 && offset + down.max(0) + along.max(0) < room {
            return Ok(Grid { walk: *walk, start: Some((plane * room + offset) as usize) });
        }
        let mut all = (0..rows).flat_map(|r| (0..cols).map(move |c| (r, c)));
        match all.find(|&(r, c)| self.index(bank, walk.at(r, c)).is_none()) {
            None => Ok(Grid { walk: *walk, start: None }),
            Some(outside) => Err(outside),
        }
    }

    /// As [`Memory::grid`]; traps on the first element outside.
    pub fn check(&self, bank: Bank, walk: &Walk, rows: usize, cols: usize) -> Result<Grid, Stop> {
        let lanes = self.machine.lanes as usize;
        let trap = |at| Stop { trap: Trap::Range, info: bank.sought(walk, at, lanes) };
        self.grid(bank, walk, rows, cols).map_err(trap)
    }

    /// Loads rows `r..` and columns `c..c + cols` of `hmem` as FP32 bits, row after row, until `to` is full.
    pub fn load_half(&self, grid: &Grid, (r, c): (usize, usize), cols: usize, to: &mut [u32]) {
        match grid.linear(r, c) {
            Some(at) => float::widen_rows(self.level, &self.half, at, grid.walk.outer, grid.walk.inner, cols, to),
            None => {
                for (i, t) in to.iter_mut().enumerate() {
                    let at = self.index(Bank::Half, grid.walk.at(r + i / cols, c + i % cols));
                    *t = at.map_or(NAN32, |at| float::widen(self.half[at]));
                }
            }
        }
    }

    /// Loads rows `r..` and columns `c..c + cols` of `smem`, row after row, until `to` is full.
    pub fn load_single(&self, grid: &Grid, (r, c): (usize, usize), cols: usize, to: &mut [u32]) {
        for (i, row) in to.chunks_mut(cols).enumerate() {
            match (grid.linear(r + i, c), grid.walk.inner as isize) {
                (Some(at), 1) => copy(row, &self.single[at..at + row.len()]),
                (Some(at), 0) => row.fill(self.single[at]),
                (Some(at), step) => {
                    for (j, t) in row.iter_mut().enumerate() {
                        *t = self.single[at.wrapping_add_signed(j as isize * step)];
                    }
                }
                (None, _) => {
                    for (j, t) in row.iter_mut().enumerate() {
                        let at = self.index(Bank::Single, grid.walk.at(r + i, c + j));
                        *t = at.map_or(NAN32, |at| self.single[at]);
                    }
                }
            }
        }
    }

    /// Loads mask bits (r, ..).
    pub fn load_mask(&self, grid: &Grid, r: usize, to: &mut [bool]) {
        match (grid.linear(r, 0), grid.walk.inner as isize) {
            (Some(at), 1) => copy(to, &self.mask[at..at + to.len()]),
            (Some(at), step) => {
                for (c, t) in to.iter_mut().enumerate() {
                    *t = self.mask[at.wrapping_add_signed(c as isize * step)];
                }
            }
            (None, _) => {
                for (c, t) in to.iter_mut().enumerate() {
                    *t = self.index(Bank::Mask, grid.walk.at(r, c)).is_some_and(|at| self.mask[at]);
                }
            }
        }
    }

    /// Stores FP16 elements to rows `r..` and columns `c..c + cols`.
    pub fn store_half(&mut self, grid: &Grid, place: (usize, usize), cols: usize, from: &[u16]) {
        let index = self.indexer(Bank::Half);
        store(&mut self.half, index, grid, place, cols, from);
    }

    /// Stores 32-bit elements to rows `r..` and columns `c..c + cols`.
    pub fn store_single(&mut self, grid: &Grid, place: (usize, usize), cols: usize, from: &[u32]) {
        let index = self.indexer(Bank::Single);
        store(&mut self.single, index, grid, place, cols, from);
    }

    /// Stores mask bits (r, ..).
    pub fn store_mask(&mut self, grid: &Grid, r: usize, from: &[bool]) {
        let index = self.indexer(Bank::Mask);
        store(&mut self.mask, index, grid, (r, 0), from.len(), from);
    }

    /// Where `count` neighbours from `addr` on lie in `half` or `single`, if they all lie in one plane.
    fn line(&self, space: Space, addr: u32, count: usize) -> Option<Range<usize>> {
        let (start, room) = match space {
            Space::Hmem => (self.index(Bank::Half, addr)?, self.machine.hmem_plane()),
            Space::Smem => (self.index(Bank::Single, addr)?, self.machine.smem_plane()),
            Space::Program => return None,
        };
        (start % room as usize + count <= room as usize).then_some(start..start + count)
    }

    /// Appends `count` elements from `addr` on to `to`, as bytes; zeros for those outside. False where there are any.
    pub fn read(&self, space: Space, addr: u32, count: u32, to: &mut Vec<u8>) -> bool {
        match (self.line(space, addr, count as usize), space) {
            (Some(line), Space::Hmem) => to.extend(self.half[line].iter().flat_map(|v| v.to_le_bytes())),
            (Some(line), Space::Smem) => to.extend(self.single[line].iter().flat_map(|v| v.to_le_bytes())),
            _ => {
                let values = (0..count).map(|i| self.get(space, neighbour(addr, i)));
                let size = space.element_bytes() as usize;
                return values.fold(true, |inside, v| {
                    to.extend_from_slice(&v.unwrap_or(0).to_le_bytes()[..size]);
                    inside & v.is_some()
                });
            }
        }
        true
    }

    /// Writes elements that come as bytes from `addr` on. False where some lie outside, which are dropped.
    pub fn write(&mut self, space: Space, addr: u32, bytes: &[u8]) -> bool {
        let size = space.element_bytes() as usize;
        match (self.line(space, addr, bytes.len() / size), space) {
            (Some(line), Space::Hmem) => {
                let values = bytes.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b));
                self.half[line].iter_mut().zip(values).for_each(|(to, v)| *to = v);
            }
            (Some(line), Space::Smem) => {
                let values = bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b));
                self.single[line].iter_mut().zip(values).for_each(|(to, v)| *to = v);
            }
            _ => {
                return (0..).zip(bytes.chunks_exact(size)).fold(true, |inside, (i, b)| {
                    let mut word = [0; 4];
                    word[..size].copy_from_slice(b);
                    inside & self.set(space, neighbour(addr, i), u32::from_le_bytes(word))
                });
            }
        }
        true
    }

    /// Writes bytes times `power`, rounded to FP16, to `hmem`. False where some lie outside, which are dropped.
    pub fn write_bytes(&mut self, addr: u32, bytes: &[u8], power: f32) -> bool {
        if let Some(line) = self.line(Space::Hmem, addr, bytes.len()) {
            float::narrow_bytes(self.level, bytes, power, &mut self.half[line]);
            return true;
        }
        (0..).zip(bytes).fold(true, |inside, (i, &b)| {
            let value = float::narrow((f32::from(b) * power).to_bits());
            inside & self.set(Space::Hmem, neighbour(addr, i), value.into())
        })
    }

    /// Sets `count` elements from `addr` on to one value. False where some lie outside, which are left out.
    pub fn fill(&mut self, space: Space, addr: u32, count: u32, value: u32) -> bool {
        (0..count).fold(true, |inside, i| inside & self.set(space, neighbour(addr, i), value))
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

/// Stores rows of `cols` elements; `index` is the memory's [`Memory::indexer`].
fn store<T: Copy>(
    memory: &mut [T],
    index: impl Fn(u32) -> Option<usize>,
    grid: &Grid,
    (r, c): (usize, usize),
    cols: usize,
    from: &[T],
) {
    for (i, row) in from.chunks(cols).enumerate() {
        match (grid.linear(r + i, c), grid.walk.inner as isize) {
            (Some(at), 1) => copy(&mut memory[at..at + row.len()], row),
            (Some(at), step) => {
                for (j, &v) in row.iter().enumerate() {
                    memory[at.wrapping_add_signed(j as isize * step)] = v;
                }
            }
            (None, _) => {
                for (j, &v) in row.iter().enumerate() {
                    if let Some(at) = index(grid.walk.at(r + i, c + j)) {
                        memory[at] = v;
                    }
                }
            }
        }
    }
}

/// The address `i` elements behind another.
fn neighbour(addr: u32, i: u32) -> u32 {
    addr.wrapping_add(i) & Addr::MASK
}

/// `copy_from_slice`, without a call for the few elements that rows of small networks have.
#[inline(always)]
fn copy<T: Copy>(to: &mut [T], from: &[T]) {
    match (to.as_chunks_mut::<8>(), from.as_chunks::<8>()) {
        (([to], []), ([from], [])) => *to = *from,
        _ => to.copy_from_slice(from),
    }
}
