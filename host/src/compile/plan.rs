//! The memory plan: which tensor lies where, and the report of it.

use super::CompileError;
use std::fmt;
use systole_isa::machine::Machine;
use systole_isa::operand::Addr;
use systole_isa::regs::Space;

/// What a tensor is for; the report sums by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// FP32 masters and FP16 copies of parameters.
    Weights,
    /// Optimizer state.
    Moments,
    /// Input slots, labels, and what the forward pass keeps.
    Activations,
    /// Gradients of activations and parameters.
    Gradients,
    /// Constants and temporaries of the loss.
    Workspace,
}

impl Class {
    /// All classes, in report order.
    pub const ALL: [Class; 5] =
        [Class::Weights, Class::Moments, Class::Activations, Class::Gradients, Class::Workspace];

    /// As reports and messages call it.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Weights => "weights",
            Class::Moments => "moments",
            Class::Activations => "activations",
            Class::Gradients => "gradients",
            Class::Workspace => "workspace",
        }
    }
}

/// How long a tensor's contents matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lifetime {
    /// From one step to the next.
    Resident,
    /// Within a step.
    Step,
    /// From one instruction to another, counted over all segments; its memory serves others before and after.
    Span(u32, u32),
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lifetime::Resident => write!(f, "resident"),
            Lifetime::Step => write!(f, "step"),
            Lifetime::Span(first, last) => write!(f, "{first}..={last}"),
        }
    }
}

/// One planned tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedTensor {
    /// For messages and the report.
    pub name: String,
    /// What it is for.
    pub class: Class,
    /// Memory.
    pub space: Space,
    /// First element; the plane is in it.
    pub addr: Addr,
    /// Elements that it occupies, padding included.
    pub words: u32,
    /// How long it lives.
    pub lifetime: Lifetime,
}

impl PlannedTensor {
    /// Bytes that it occupies.
    pub fn bytes(&self) -> u32 {
        self.words * self.space.element_bytes()
    }

    /// Bytes that it would occupy if the network were trained in FP32.
    fn bytes_fp32(&self) -> u32 {
        match (self.space, self.class) {
            (Space::Hmem, Class::Weights) => 0,
            (Space::Hmem, _) => 2 * self.bytes(),
            _ => self.bytes(),
        }
    }
}

/// The whole plan. `Display` prints a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The machine that it was made for.
    pub machine: Machine,
    /// All tensors in `hmem` and `smem`, in order of declaration.
    pub tensors: Vec<PlannedTensor>,
    /// Bits of mask memory in use.
    pub mask_bits: u32,
    /// Words of program memory in use.
    pub program_words: u32,
}

impl MemoryPlan {
    /// Bytes of one class over both memories.
    pub fn class_bytes(&self, class: Class) -> u32 {
        self.tensors.iter().filter(|t| t.class == class).map(PlannedTensor::bytes).sum()
    }

    /// Bytes of one class if the same network were trained in FP32: no FP16 copies of weights, and four bytes where there are
    /// two.
    pub fn class_bytes_fp32(&self, class: Class) -> u32 {
        self.tensors.iter().filter(|t| t.class == class).map(PlannedTensor::bytes_fp32).sum()
    }

    /// Bytes of the tensors that are alive together, at the worst moment.
    pub fn peak_bytes(&self) -> u32 {
        self.peak(PlannedTensor::bytes)
    }

    /// The same if the network were trained in FP32, as for [`class_bytes_fp32`](MemoryPlan::class_bytes_fp32).
    pub fn peak_bytes_fp32(&self) -> u32 {
        self.peak(PlannedTensor::bytes_fp32)
    }

    fn peak(&self, bytes: fn(&PlannedTensor) -> u32) -> u32 {
        let alive = |t: &PlannedTensor, at: u32| match t.lifetime {
            Lifetime::Span(first, last) => (first..=last).contains(&at),
            _ => true,
        };
        let starts = self.tensors.iter().filter_map(|t| match t.lifetime {
            Lifetime::Span(first, _) => Some(first),
            _ => None,
        });
        let live = |at: u32| self.tensors.iter().filter(|t| alive(t, at)).map(bytes).sum();
        starts.chain([0]).map(live).max().unwrap_or(0)
    }

    /// Elements of one plane that some tensor uses at some time: the end of the last one.
    pub fn plane_words(&self, space: Space, plane: u32) -> u32 {
        let here = |t: &&PlannedTensor| t.space == space && t.addr.plane() == plane;
        self.tensors.iter().filter(here).map(|t| t.addr.offset() + t.words).max().unwrap_or(0)
    }
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.tensors.iter().map(|t| t.name.len()).max().unwrap_or(0).max(6);
        writeln!(f, "{:width$}  {:<11}  memory  {:>7}  {:>8}  life", "tensor", "class", "offset", "bytes")?;
        for t in &self.tensors {
            let memory = format!("{}{}", memory_name(t.space), t.addr.plane());
            let (class, life) = (t.class.name(), t.lifetime.to_string());
            let (offset, bytes) = (t.addr.offset(), t.bytes());
            writeln!(f, "{:width$}  {class:<11}  {memory:<6}  {offset:>7}  {bytes:>8}  {life}", t.name)?;
        }
        writeln!(f, "{:<12}  {:>9}  {:>11}  {:>5}", "bytes", "mixed", "all in FP32", "ratio")?;
        for class in Class::ALL {
            let (mixed, single) = (self.class_bytes(class), self.class_bytes_fp32(class));
            let ratio = single as f64 / mixed.max(1) as f64;
            writeln!(f, "{:<12}  {mixed:>9}  {single:>11}  {ratio:>5.2}", class.name())?;
        }
        writeln!(f, "hmem holds FP16, smem FP32; peak of what is alive together: {} bytes", self.peak_bytes())?;
        for (space, room) in [(Space::Hmem, self.machine.hmem_plane()), (Space::Smem, self.machine.smem_plane())] {
            for plane in 0..2 {
                let used = self.plane_words(space, plane) * space.element_bytes();
                let room = room * space.element_bytes();
                writeln!(f, "{}{plane}: {used} of {room} bytes", memory_name(space))?;
            }
        }
        writeln!(f, "mask memory: {} of {} bits", self.mask_bits, self.machine.mask_bits)?;
        write!(f, "program memory: {} of {} words", self.program_words, self.machine.pmem_words)
    }
}

/// The name of a memory in messages.
pub(crate) fn memory_name(space: Space) -> &'static str {
    match space {
        Space::Hmem => "hmem",
        Space::Smem => "smem",
        Space::Program => "program memory",
    }
}

/// What a memory must hold at a time: the plan of a network that does not fit. `Display` tells bytes by class and the largest tensors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Name, class and bytes of each tensor.
    pub tensors: Vec<(String, Class, u64)>,
}

impl Demand {
    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(|t| t.2).sum()
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |class: Class| self.tensors.iter().filter(|t| t.1 == class).map(|t| t.2).sum::<u64>();
        let present = Class::ALL.into_iter().filter(|&class| of(class) > 0);
        let classes: Vec<_> = present.map(|c| format!("{} {}", c.name(), of(c))).collect();
        let mut by_size: Vec<_> = self.tensors.iter().collect();
        by_size.sort_by_key(|t| std::cmp::Reverse(t.2));
        let largest: Vec<_> = by_size.iter().take(3).map(|(name, _, bytes)| format!("`{name}` {bytes}")).collect();
        write!(f, "{} bytes ({}; the largest are {})", self.bytes(), classes.join(", "), largest.join(", "))
    }
}

/// A tensor that wants a place.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) name: String,
    pub(crate) class: Class,
    pub(crate) space: Space,
    pub(crate) words: u64,
    pub(crate) lifetime: Lifetime,
    /// Plane that it should be in, if it matters.
    pub(crate) plane: Option<u32>,
}

/// Two tensors that are read at the same time, and how many cycles it costs to have them in one plane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conflict {
    pub(crate) a: usize,
    pub(crate) b: usize,
    pub(crate) cycles: u64,
}

/// Cost of a wrong plane against a preference, per tensor.
const PREFERENCE: u64 = 1 << 20;

fn room(space: Space, machine: &Machine) -> u64 {
    match space {
        Space::Hmem => machine.hmem_plane() as u64,
        _ => machine.smem_plane() as u64,
    }
}

/// Assigns planes (greedily by size, then by single moves while they help) and addresses.
pub(crate) fn place(
    requests: &[Request],
    conflicts: &[Conflict],
    machine: &Machine,
) -> Result<Vec<PlannedTensor>, CompileError> {
    let lanes = machine.lanes as u64;
    let words: Vec<u64> = requests.iter().map(|r| r.words.next_multiple_of(lanes)).collect();
    let mut planes: Vec<Option<u32>> = vec![None; requests.len()];
    // (words beyond a plane's room, cycles lost, fullest plane): smaller is better, in that order.
    let price = |planes: &[Option<u32>]| {
        let mut used = [[0u64; 2]; 2];
        let mut cycles = 0;
        for (i, r) in requests.iter().enumerate() {
            if let Some(p) = planes[i] {
                used[(r.space == Space::Smem) as usize][p as usize] += words[i];
                cycles += if r.plane.is_some_and(|want| want != p) { PREFERENCE } else { 0 };
            }
        }
        for c in conflicts {
            cycles += if planes[c.a].is_some() && planes[c.a] == planes[c.b] { c.cycles } else { 0 };
        }
        let beyond = |space: Space, u: [u64; 2]| u.iter().map(|&u| u.saturating_sub(room(space, machine))).sum::<u64>();
        let over = beyond(Space::Hmem, used[0]) + beyond(Space::Smem, used[1]);
        (over, cycles, used[0].iter().max().copied(), used[1].iter().max().copied())
    };
    let mut by_size: Vec<usize> = (0..requests.len()).collect();
    by_size.sort_by_key(|&i| (std::cmp::Reverse(words[i]), i));
    for &i in &by_size {
        let mut with = |p| {
            planes[i] = Some(p);
            price(&planes)
        };
        let p = if with(1) < with(0) { 1 } else { 0 };
        planes[i] = Some(p);
    }
    for _ in 0..8 {
        let mut moved = false;
        for &i in &by_size {
            let before = price(&planes);
            let old = planes[i];
            planes[i] = old.map(|p| 1 - p);
            if price(&planes) < before {
                moved = true;
            } else {
                planes[i] = old;
            }
        }
        if !moved {
            break;
        }
    }
    let mut used = [[0u64; 2]; 2];
    let mut tensors = Vec::new();
    for (i, r) in requests.iter().enumerate() {
        let used = &mut used[(r.space == Space::Smem) as usize];
        let room = room(r.space, machine);
        let mut plane = planes[i].unwrap_or(0) as usize;
        if used[plane] + words[i] > room {
            plane = 1 - plane;
        }
        if used[plane] + words[i] > room {
            let bytes = r.space.element_bytes() as u64;
            let left = used.iter().map(|u| room - u).max().unwrap_or(0);
            return Err(CompileError::Memory {
                tensor: r.name.clone(),
                memory: memory_name(r.space),
                need: words[i] * bytes,
                room: left * bytes,
                plane: room * bytes,
                demand: Demand {
                    tensors: (words.iter().zip(requests))
                        .filter(|(_, q)| q.space == r.space)
                        .map(|(w, q)| (q.name.clone(), q.class, w * bytes))
                        .collect(),
                },
            });
        }
        tensors.push(PlannedTensor {
            name: r.name.clone(),
            class: r.class,
            space: r.space,
            addr: Addr::new(plane as u32, used[plane] as u32),
            words: words[i] as u32,
            lifetime: r.lifetime,
        });
        used[plane] += words[i];
    }
    Ok(tensors)
}
