//! How far sizes, steps and addresses may go: to the ends of their fields.

use super::bench::{Bench, Job, design};
use super::image::Image;
use super::limits::abort;
use super::{compare, dense};
use crate::design::{Check, Dut};
use crate::number::Random;
use systole_isa::instr::{Gemm, Init, Mask, Output};
use systole_isa::operand::{Addr, Base, Strides, View};
use systole_isa::regs::Trap;

/// Products with tens of thousands of rows, terms or columns, steps across half a memory, and blocks of all sizes.
pub const REACH_4: Check = Check { name: "matrix::reach_4", design: || design(4, 3), run: reach };

/// An operand that begins anywhere beyond its memory traps there, and so does one that steps there.
pub const FAR_4: Check = Check { name: "matrix::far_4", design: || design(4, 3), run: far };

fn view(plane: u32, offset: u32, inner: i16, outer: i16) -> View {
    View::new(Base::at(Addr::new(plane, offset)), inner, outer)
}

/// Sizes; block and group; X, W and the result (which lie in planes 1, 1 and 0).
fn product([m, k, n]: [u16; 3], [m_block, n_group]: [u16; 2], x: View, w: View, out: View) -> Gemm {
    Gemm { x, w, out: Output::Half(out), ..dense(m, k, n, m_block, n_group) }
}

fn reach(dut: &mut Dut) {
    let mut b = Bench::new(dut, 4, 3);
    let mut image = Image::new(&b);
    let mut r = Random(0x7e4c);
    image.h.iter_mut().for_each(|w| *w = r.moderate_half() as u32);
    let h = image.h.clone();
    b.write_all(false, &h);
    image.s = b.read_all(true, image.s.len());
    let per_column = |offset| Init::BiasPerColumn(Base::at(Addr::new(1, offset)));
    let per_row = |offset| Init::BiasPerRow(Base::at(Addr::new(1, offset)));
    let mut products = vec![
        // rows that overlap, where there are more of them than the memory has words
        product([42405, 3, 2], [256, 1], view(1, 9, 1, 0), view(1, 77, 1, 2), view(0, 5, 1, 0)),
        product([23130, 1, 5], [128, 2], view(1, 3, 1, 0), view(1, 99, 1, 5), view(0, 0, 1, 0)),
        product([12_011, 3, 1], [200, 1], view(1, 0, 1, 1), view(1, 15_000, 1, 1), view(0, 4000, 1, 1)),
        product([2, 13_003, 3], [2, 1], view(1, 1, 1, 7), view(1, 2, 1, 1), view(0, 16_000, 1, 100)),
        product([1, 2, 13_001], [1, 4], view(1, 11, 1, 1), view(1, 1, 1, 3), view(0, 3000, 1, 1)),
        // steps from one end to the other, both ways
        product([9, 5, 5], [4, 1], view(1, 100, 2801, 1), view(1, 12_000, -2799, -17), view(0, 10, 3001, 5)),
        product([3, 4, 6], [3, 2], view(1, 0, 1, 8000), view(1, 16_370, 1, -5001), view(0, 100, 1, 6007)),
        product([3, 4, 6], [2, 1], view(1, 16_379, 1, -8000), view(1, 7, 1, 4999), view(0, 16_000, -3, -7501)),
    ];
    products[1].init = per_column(500);
    products[2].init = per_row(600);
    products[4].init = per_column(700);
    products[6].init = per_row(9);
    // blocks and groups of hundreds, with what is left of them: every size that the walks compare or count down
    for case in 0..32 {
        let m_block = 1 + r.below(256) as u16;
        let n_group = 1 + r.below(256 / m_block as u64) as u16;
        let m = 1 + r.below([700, 60][case % 2]) as u16;
        let n = 1 + r.below(700.min(15_000 / m as u64)) as u16;
        let pitch = (n / 4 * 4 + 5) as i16;
        products.push(product(
            [m, 1 + r.below(3) as u16, n],
            [m_block, n_group],
            view(1, r.below(9) as u32, 1, 3),
            view(1, 8000 + r.below(9) as u32, 1, 5),
            view(0, r.below(99) as u32, 1, if m as u32 * pitch as u32 <= 16_000 { pitch } else { n as i16 }),
        ));
    }
    for g in products {
        let pc = b.issued * 12 & 0xffff;
        image.gemm(&g, pc);
        b.run(&[Job { gemm: g, wait: true }], None).unwrap_or_else(|t| panic!("{g:?}: trap {t:x?}"));
        compare(&mut b, &image, &format!("{g:?}"));
    }
}

/// That a product traps at this element, and why.
fn leaves(b: &mut Bench, g: Gemm, element: u64, what: &str) {
    let expected = (Trap::Range as u64, element, b.issued * 12 & 0xffff);
    assert_eq!(b.run(&[Job { gemm: g, wait: false }], None), Err(expected), "{what}: {g:x?}");
    abort(b);
}

fn far(dut: &mut Dut) {
    let mut b = Bench::new(dut, 4, 3);
    let mut r = Random(0xfa4);
    let [half, single] = [b.machine.hmem_plane(), b.machine.smem_plane()];
    for case in 0..240 {
        let kind = case % 8;
        let (words, tag) = match kind {
            3 => (single, 1 << 31),
            6 | 7 => (b.machine.mask_bits, 1 << 30),
            _ => (half, 0),
        };
        // short of the field's end, behind which addresses begin anew
        let offset = words + r.below((Addr::MASK as u64 >> 1) - words as u64 - 64) as u32;
        let plane = if tag == 1 << 30 { 0 } else { r.below(2) as u32 };
        let base = Base::at(Addr::new(plane, offset));
        let there = View { base, strides: Strides { inner: 1, outer: 5 } };
        let mut g = dense(3, 5, 4, 3, 1);
        match kind {
            0 => g.x = there,
            1 => g.w = there,
            2 => g.out = Output::Half(there),
            3 => g.out = Output::Single(there),
            4 => g.init = Init::BiasPerColumn(base),
            5 => g.init = Init::BiasPerRow(base),
            6 => g.mask = Mask::Write(base),
            _ => g.mask = Mask::Apply(base),
        }
        leaves(&mut b, g, tag | (plane as u64) << 19 | offset as u64, &format!("case {case}"));
    }
    // a first row that is there, a second one, of the next block, far behind the end
    for case in 0..24 {
        let (plane, base, outer) = (r.below(2) as u32, 300 + r.below(2000) as u32, 32_767 - r.below(200) as u32);
        let view = View { base: Base::at(Addr::new(plane, base)), strides: Strides { inner: 1, outer: outer as i16 } };
        let mut g = dense(3, 5, 4, 1, 1);
        match case % 2 {
            0 => g.x = view,
            _ => g.out = Output::Half(view),
        }
        leaves(&mut b, g, (plane << 19 | (base + outer)) as u64, &format!("step {case}"));
    }
}
