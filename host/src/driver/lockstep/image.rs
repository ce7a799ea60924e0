//! The contents of a device's data memories.

use std::fmt;

use systole_isa::machine::Machine;
use systole_isa::operand::Addr;
use systole_isa::regs::Space;

use crate::compile::plan::MemoryPlan;
use crate::driver::Device;
use crate::driver::requests::Block;
use crate::error::{Error, Result};

/// How many elements of each plane count, from its start: `hmem` 0 and 1, `smem` 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent([u32; 4]);

const PLANES: [(Space, u32); 4] = [(Space::Hmem, 0), (Space::Hmem, 1), (Space::Smem, 0), (Space::Smem, 1)];

impl Extent {
    /// Whole memories.
    pub(super) fn all(machine: &Machine) -> Extent {
        Extent(PLANES.map(|(space, _)| if space == Space::Hmem { machine.hmem_plane() } else { machine.smem_plane() }))
    }

    /// What a plan uses.
    pub(super) fn planned(plan: &MemoryPlan) -> Extent {
        Extent(PLANES.map(|(space, plane)| {
            let here = plan.tensors.iter().filter(|t| t.space == space && t.addr.plane() == plane);
            here.map(|t| t.addr.offset() + t.words).max().unwrap_or(0)
        }))
    }
}

/// Both planes of both data memories: elements, little endian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    planes: Vec<Plane>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Plane {
    space: Space,
    first: Addr,
    bytes: Vec<u8>,
}

/// Where two devices differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Memory.
    pub space: Space,
    /// Address of the first element that differs, FP16 memory before FP32, plane 0 before plane 1.
    pub addr: Addr,
    /// What the device that is checked has there.
    pub found: u32,
    /// What the other one has.
    pub expected: u32,
    /// Elements that differ, in all memories.
    pub count: u64,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:#x}, the first of {} elements that differ", self.space, self.addr.0, self.count)
    }
}

impl Difference {
    /// As an error of `what`.
    pub(super) fn error(&self, what: String) -> Error {
        let show = |bits: u32| match self.space {
            Space::Smem => format!("{bits:08x} ({:e})", f32::from_bits(bits)),
            _ => format!("{bits:04x} ({:e})", half::f16::from_bits(bits as u16).to_f32()),
        };
        Error::Mismatch { what, found: show(self.found), expected: show(self.expected) }
    }
}

fn element(space: Space, bytes: &[u8], i: usize) -> u32 {
    let size = space.element_bytes() as usize;
    bytes[i * size..][..size].iter().rev().fold(0, |v, &b| v << 8 | u32::from(b))
}

impl Image {
    /// Reads so much of everything.
    pub(super) fn read(device: &mut Device, extent: Extent) -> Result<Image> {
        device.link.phase("comparing memories");
        let mut planes = Vec::new();
        for ((space, number), words) in PLANES.into_iter().zip(extent.0) {
            let first = Addr::new(number, 0);
            let bytes = if words > 0 { device.link.read(Block::line(space, first.0, words))? } else { Vec::new() };
            planes.push(Plane { space, first, bytes });
        }
        Ok(Image { planes })
    }

    /// Writes everything.
    pub(super) fn write(&self, device: &mut Device) -> Result<()> {
        device.link.phase("restoring memories");
        for p in self.planes.iter().filter(|p| !p.bytes.is_empty()) {
            let words = p.bytes.len() as u32 / p.space.element_bytes();
            device.link.write(Block::line(p.space, p.first.0, words), &p.bytes)?;
        }
        device.link.drain()
    }

    /// Elements in all.
    pub(super) fn elements(&self) -> u64 {
        self.planes.iter().map(|p| p.bytes.len() as u64 / u64::from(p.space.element_bytes())).sum()
    }

    /// The first difference from the image of a device that is right.
    pub(super) fn difference(&self, right: &Image) -> Option<Difference> {
        let mut first: Option<Difference> = None;
        for (a, b) in self.planes.iter().zip(&right.planes).filter(|(a, b)| a.bytes != b.bytes) {
            for i in 0..a.bytes.len() / a.space.element_bytes() as usize {
                let (found, expected) = (element(a.space, &a.bytes, i), element(a.space, &b.bytes, i));
                if found != expected {
                    let addr = a.first.offset_by(i as i32);
                    let here = Difference { space: a.space, addr, found, expected, count: 0 };
                    first.get_or_insert(here).count += 1;
                }
            }
        }
        first
    }
}
