//! A result with what lies around it, as it must be and as it is.

use half::f16;
use systole_isa::operand::Addr;
use systole_isa::regs::Space;

use crate::compile::TensorPlace;
use crate::driver::Device;
use crate::driver::requests::Block;

/// Words before and behind a result that are watched.
const MARGIN: u32 = 40;
/// What memory holds where nothing was written.
pub(super) const GUARD: u32 = 0xa5c3_5a3d;

/// Offsets of a tensor's elements within their plane, in row-major order.
pub(super) fn cells(place: &TensorPlace) -> impl Iterator<Item = u32> {
    let (start, pitch, cols) = (place.addr.offset(), place.pitch, place.cols);
    (0..place.rows).flat_map(move |r| (0..cols).map(move |c| start + r * pitch + c))
}

/// A result with what lies around it.
pub(super) struct Window {
    pub(super) space: Space,
    pub(super) addr: Addr,
    pub(super) words: u32,
}

impl Window {
    pub(super) fn around(out: &TensorPlace, device: &Device) -> Window {
        let machine = device.info.machine;
        let plane = if out.space == Space::Smem { machine.smem_words / 2 } else { machine.hmem_words / 2 };
        let first = out.addr.offset().saturating_sub(MARGIN);
        let end = out.addr.offset() + (out.rows - 1) * out.pitch + out.cols + MARGIN;
        Window { space: out.space, addr: Addr::new(out.addr.plane(), first), words: end.min(plane) - first }
    }

    pub(super) fn block(&self) -> Block {
        Block::line(self.space, self.addr.0, self.words)
    }

    /// The guard pattern as an element.
    pub(super) fn guard(&self) -> u32 {
        if self.space == Space::Smem { GUARD } else { GUARD & 0xffff }
    }

    pub(super) fn set(&self, image: &mut [u32], offset: u32, value: u32) {
        let at = offset.checked_sub(self.addr.offset()).and_then(|i| image.get_mut(i as usize));
        if let Some(cell) = at {
            *cell = value;
        }
    }

    pub(super) fn parse(&self, bytes: &[u8]) -> Vec<u32> {
        let element = |b: &[u8]| b.iter().rev().fold(0, |v, &byte| v << 8 | u32::from(byte));
        bytes.chunks_exact(self.space.element_bytes() as usize).map(element).collect()
    }

    /// Where the word at `index` lies, seen from the result.
    pub(super) fn name(&self, index: usize, out: &TensorPlace) -> String {
        let offset = self.addr.offset() + index as u32;
        let element = cells(out).position(|at| at == offset);
        match element {
            Some(i) => format!("element ({}, {})", i / out.cols as usize, i % out.cols as usize),
            None => {
                let away = i64::from(offset) - i64::from(out.addr.offset());
                format!(
                    "the word {away:+} from the result's first (pitch {}), which is none of its elements",
                    out.pitch
                )
            }
        }
    }

    pub(super) fn show(&self, bits: u32) -> String {
        match self.space {
            Space::Smem => format!("{bits:08x} ({:e})", f32::from_bits(bits)),
            _ => format!("{bits:04x} ({:e})", f16::from_bits(bits as u16).to_f32()),
        }
    }
}
