//! Random instructions over operands that do not overlap.

use super::bench::Bench;
use crate::number::Random;
use systole_isa::instr::{Gemm, Init, Mask, Output, Sync};
use systole_isa::operand::{Addr, Base, View};

/// What is free of a plane.
struct Free {
    front: usize,
    back: usize,
}

/// Hands out room, and views of it.
pub struct Room {
    half: [Free; 2],
    single: [Free; 2],
    mask_bits: usize,
    accumulator_rows: u64,
    lanes: usize,
    /// Something did not fit: the instructions are of no use.
    pub full: bool,
}

impl Room {
    /// Of all memories.
    pub fn new(b: &Bench) -> Room {
        let free = |plane: u32| [0, 1].map(|_| Free { front: 0, back: plane as usize });
        Room {
            half: free(b.machine.hmem_plane()),
            single: free(b.machine.smem_plane()),
            mask_bits: b.machine.mask_bits as usize,
            accumulator_rows: b.machine.acc_rows.into(),
            lanes: b.n,
            full: false,
        }
    }

    /// So many words: behind what was given last, or up to the plane's last word, behind which nothing may be touched.
    fn take(&mut self, single: bool, plane: usize, words: usize, r: &mut Random) -> Addr {
        let free = if single { &mut self.single[plane] } else { &mut self.half[plane] };
        let gap = r.below(13) as usize;
        self.full |= free.front + gap + words > free.back;
        if self.full {
            return Addr(0);
        }
        let at = if r.below(4) == 0 {
            free.back -= words;
            free.back
        } else {
            free.front += gap + words;
            free.front - words
        };
        Addr::new(plane as u32, at as u32)
    }

    /// A view of `rows` × `cols`, along the rows or across; the element (0, 0) may be at either end in both directions. And how many
    /// words it spans.
    fn view(&mut self, single: bool, plane: usize, rows: usize, cols: usize, r: &mut Random) -> (View, usize) {
        let l = self.lanes;
        let (along, down) = match r.below(6) {
            // steps along the lanes are 1 more than a multiple of N
            0 => (rows.div_ceil(l) * l + 1, 1),
            1 => (rows.div_ceil(l) * l + 1, -1),
            2 => (rows.div_ceil(l) * l + l - 1, if r.below(2) == 0 { 1 } else { -1 }),
            3 => (1, -((cols + r.below(5) as usize) as i32)),
            _ => (1, (cols + r.below(5) as usize) as i32),
        };
        let inner = if along % l == 1 % l { along as i32 } else { -(along as i32) };
        let (rows, cols) = (rows as i32 - 1, cols as i32 - 1);
        let span = (rows * down.abs() + cols * along as i32 + 1) as usize;
        // from the lowest address to element (0, 0)
        let up = -(rows * down.min(0) + cols * inner.min(0));
        let at = self.take(single, plane, span, r);
        (View::new(Base::at(at.offset_by(up)), inner as i16, down as i16), span)
    }

    /// A product of up to `top` in each direction.
    pub fn gemm(&mut self, r: &mut Random, top: u64) -> Gemm {
        let size = |r: &mut Random| 1 + r.below(top) as usize;
        let (m, k, n) = (size(r), size(r), size(r));
        let (px, pw, po) = (r.below(2) as usize, r.below(2) as usize, r.below(2) as usize);
        let n_group = 1 + r.below(4) as u16;
        let m_block = 1 + r.below((128 / n_group as u64).min(20)) as u16;
        let spare = self.accumulator_rows - (m_block * n_group) as u64;
        let (x, _) = self.view(false, px, m, k, r);
        let (w, _) = self.view(false, pw, k, n, r);
        let single = r.below(2) == 0;
        let (out, span) = self.view(single, po, m, n, r);
        // as many words as are read, so that one more is outside where the plane ends
        let per_row = r.below(2) == 0;
        let bias = Base::at(self.take(false, pw, if per_row { m } else { n }, r));
        let upwards = out.strides.inner > 0 && out.strides.outer > 0;
        let mask_room = self.mask_bits.saturating_sub(span) as u64;
        let mask = match r.below(3) {
            // a mask lies as its result does: below its base where steps are negative
            1 if upwards => Mask::Write(Base::at(Addr(r.below(mask_room + 1) as u32))),
            2 if upwards => Mask::Apply(Base::at(Addr(r.below(mask_room + 1) as u32))),
            _ => Mask::None,
        };
        Gemm {
            sync: Sync { flag: if r.below(5) == 0 { None } else { Some(r.below(4) as u8) }, ..Sync::default() },
            m: m as u16,
            k: k as u16,
            n: n as u16,
            m_block,
            n_group,
            acc_base: r.below(spare + 1) as u8,
            x,
            w,
            init: match r.below(3) {
                0 => Init::Zero,
                _ if per_row => Init::BiasPerRow(bias),
                _ => Init::BiasPerColumn(bias),
            },
            out: if single { Output::Single(out) } else { Output::Half(out) },
            relu: r.below(3) == 0,
            mask,
        }
    }
}
