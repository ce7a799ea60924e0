//! The matrix engine and the memories, against `acc += f32(x) * f32(w)`.

pub mod bench;
mod image;
mod limits;
mod reach;
mod room;

use crate::design::{Check, Dut};
use crate::number::Random;
use bench::{Bench, Job, design};
use image::Image;
pub use limits::{REFUSALS_4, WAITS_4};
pub use reach::{FAR_4, REACH_4};
use room::Room;
use systole_isa::instr::{Gemm, Init, Mask, Output, Sync};
use systole_isa::operand::{Addr, Base, View};

/// Random products, N = 2.
pub const RANDOM_PRODUCTS_2: Check =
    Check { name: "matrix::random_products_2", design: || design(2, 3), run: |dut| trials(dut, [2, 3], 60, 9, 4) };

/// N = 4.
pub const RANDOM_PRODUCTS_4: Check =
    Check { name: "matrix::random_products_4", design: || design(4, 3), run: |dut| trials(dut, [4, 3], 150, 17, 1) };

/// N = 8, small and large.
pub const RANDOM_PRODUCTS_8: [Check; 2] = [
    Check { name: "matrix::random_products_8", design: || design(8, 3), run: |dut| trials(dut, [8, 3], 150, 17, 2) },
    Check {
        name: "matrix::random_products_8, large",
        design: || design(8, 3),
        run: |dut| trials(dut, [8, 3], 20, 44, 3),
    },
];

/// Skew, accumulators, slots and where results go follow the adder's latency.
pub const RANDOM_PRODUCTS_WITH_OTHER_ADDERS: [Check; 3] = [
    Check {
        name: "matrix::random_products_with_other_adders, N 2, latency 4",
        design: || design(2, 4),
        run: |dut| trials(dut, [2, 4], 60, 9, 5),
    },
    Check {
        name: "matrix::random_products_with_other_adders, N 4, latency 4",
        design: || design(4, 4),
        run: |dut| trials(dut, [4, 4], 80, 17, 6),
    },
    Check {
        name: "matrix::random_products_with_other_adders, N 4, latency 2",
        design: || design(4, 2),
        run: |dut| trials(dut, [4, 2], 80, 17, 7),
    },
];

/// Cycles that products take, N = 8.
pub const CYCLES_8: Check = Check {
    name: "matrix::cycles_8",
    design: || design(8, 3),
    run: |dut| {
        let table = [
            (32, 32, 32, 32, 4, 555),
            (64, 64, 64, 64, 2, 4139),
            (10, 128, 64, 10, 8, 1323),
            (32, 32, 10, 32, 2, 299),
            (10, 32, 32, 10, 4, 203),
            (128, 128, 128, 128, 1, 32811),
            (128, 128, 128, 8, 16, 32811),
            (64, 10, 128, 8, 16, 2091),
        ];
        cycles(dut, 8, &table, None)
    },
};

/// Cycles that products take, N = 4.
pub const CYCLES_4: Check = Check {
    name: "matrix::cycles_4",
    design: || design(4, 3),
    run: |dut| {
        let table = [
            (32, 32, 32, 32, 4, 2075),
            (10, 32, 32, 10, 4, 667),
            (32, 32, 10, 32, 2, 795),
            (10, 128, 64, 10, 8, 5147),
            (9, 12, 7, 4, 1, 225),
        ];
        cycles(dut, 4, &table, Some([2075, 4111, 4110, 4110]))
    },
};

/// What cannot be executed traps, names itself, and leaves the engine usable after an abort; N = 8.
pub const TRAPS_AND_ABORT_8: Check =
    Check { name: "matrix::traps_and_abort_8", design: || design(8, 3), run: |dut| traps_and_abort(dut, 8) };

/// The same, N = 4.
pub const TRAPS_AND_ABORT_4: Check =
    Check { name: "matrix::traps_and_abort_4", design: || design(4, 3), run: |dut| traps_and_abort(dut, 4) };

fn compare(b: &mut Bench, image: &Image, what: &str) {
    let h = b.read_all(false, image.h.len());
    let s = b.read_all(true, image.s.len());
    if let Some(i) = (0..h.len()).find(|&i| h[i] != image.h[i]) {
        panic!("{what}: hmem {i:#x} (plane of {:#x}) is {:04x}, should be {:04x}", image.h_plane, h[i], image.h[i]);
    }
    if let Some(i) = (0..s.len()).find(|&i| s[i] != image.s[i]) {
        panic!("{what}: smem {i:#x} (plane of {:#x}) is {:08x}, should be {:08x}", image.s_plane, s[i], image.s[i]);
    }
}

/// Trials of a few instructions each over random operands; everything in both memories is compared after each.
fn trials(dut: &mut Dut, [lanes, latency]: [u32; 2], count: usize, top: u64, seed: u64) {
    let mut b = Bench::new(dut, lanes, latency);
    let lanes = b.n;
    let mut image = Image::new(&b);
    let mut r = Random(seed);
    let mut done = 0;
    for trial in 0..count {
        let wild = r.below(3) == 0;
        for w in image.h.iter_mut() {
            *w = if wild && r.below(8) == 0 { r.half() } else { r.moderate_half() } as u32;
        }
        for w in image.s.iter_mut() {
            *w = r.bits() as u32;
        }
        let (h, s) = (image.h.clone(), image.s.clone());
        b.write_all(false, &h);
        b.write_all(true, &s);
        let mut room = Room::new(&b);
        let mut jobs = vec![];
        for _ in 0..1 + r.below(4) {
            let g = room.gemm(&mut r, top);
            // The mask is shared; a wait orders it.
            jobs.push(Job { gemm: g, wait: g.mask != Mask::None || r.below(2) == 0 });
            if r.below(4) == 0 && g.m <= g.m_block && (g.n as usize).div_ceil(lanes) <= g.n_group as usize {
                let job = jobs.last_mut().expect("one");
                job.gemm.out = Output::Keep;
                job.gemm.mask = Mask::None;
                let mut more = g;
                more.init = Init::Accumulators;
                jobs.push(Job { gemm: more, wait: true });
            }
        }
        if room.full {
            continue;
        }
        done += 1;
        image.flags.clear();
        (b.issued..).zip(&jobs).for_each(|(at, j)| image.gemm(&j.gemm, at * 12 & 0xffff));
        b.flags.clear();
        let traffic = r.below(2) == 0;
        let mut other = Random(seed ^ trial as u64);
        let what = format!(
            "N = {lanes}, trial {trial}, traffic {traffic}: {jobs:?}",
            jobs = jobs.iter().map(|j| j.gemm).collect::<Vec<_>>()
        );
        if let Err(t) = b.run(&jobs, traffic.then_some(&mut other)) {
            panic!("{what}: trap {t:x?}");
        }
        compare(&mut b, &image, &what);
        assert_eq!(b.flags, image.flags, "{what}: flags");
    }
    assert!(done > count / 2, "only {done} of {count} trials found room");
}

/// A product of matrices without gaps.
pub fn dense(m: u16, k: u16, n: u16, m_block: u16, n_group: u16) -> Gemm {
    let at = |plane, offset| Base::at(Addr::new(plane, offset));
    Gemm {
        sync: Sync::default(),
        m,
        k,
        n,
        m_block,
        n_group,
        acc_base: 0,
        x: View::new(at(0, 0), 1, k as i16),
        w: View::new(at(1, 0), 1, n as i16),
        init: Init::Zero,
        out: Output::Half(View::new(at(0, 12000), 1, 1)),
        relu: false,
        mask: Mask::None,
    }
}

/// What cannot be executed traps, names itself, and leaves the engine usable after an abort.
/// A product's M, K, N, m_block, n_group, and its cycles.
type Timed = (u16, u16, u16, u16, u16, u64);

/// Cycles from hand-over to the last result, pinned, so that a change shows; then four products back to back, where the next
/// one's filling hides behind the last one's draining.
fn cycles(dut: &mut Dut, lanes: u32, table: &[Timed], four: Option<[u64; 4]>) {
    let mut b = Bench::new(dut, lanes, 3);
    for &(m, k, n, m_block, n_group, cycles) in table {
        let job = Job { gemm: dense(m, k, n, m_block, n_group), wait: false };
        assert_eq!(b.run(&[job], None).expect("no trap"), [cycles], "{m}x{k}x{n}");
    }
    let jobs = [Job { gemm: dense(32, 32, 32, 32, 4), wait: false }; 4];
    let took = b.run(&jobs, None).expect("no trap");
    if let Some(four) = four {
        assert_eq!(took, four, "back to back");
    }
}

fn traps_and_abort(dut: &mut Dut, lanes: u32) {
    let mut b = Bench::new(dut, lanes, 3);
    let mut image = Image::new(&b);
    let good = dense(9, 12, 7, 4, 1);
    let mut stride = good;
    stride.x.strides.inner = 2;
    let mut size = good;
    size.m_block = 150;
    size.n_group = 2;
    let mut range = good;
    range.w.base = Base::at(Addr::new(1, b.machine.hmem_plane() - 4));
    let mut out = good;
    out.out = Output::Single(View::new(Base::at(Addr::new(1, b.machine.smem_plane() - 3)), 1, 0));
    // rows of W follow each other by its 7 columns, of which the loader asks for as many at once as there are lanes
    let past =
        (0..2).flat_map(|row| (0..lanes.min(7)).map(move |c| 7 * row + c)).find(|&at| at >= 4).expect("row 1") - 4;
    let end = (b.machine.hmem_plane() + past) as u64 | 1 << 19;
    let far = b.machine.smem_plane() as u64 | 1 << 19 | 1 << 31;
    for (gemm, cause, info) in
        [(stride, 5, stride.x.strides.to_bits() as u64), (size, 6, 300), (range, 4, end), (out, 4, far)]
    {
        let seen = b.run(&[Job { gemm, wait: false }], None).expect_err("a trap");
        assert_eq!(seen, (cause, info, b.issued * 12), "{gemm:?}");
        // as long as the machine's registers do: an access that was granted before may still turn out to be out of range
        b.m.set(b.p.abort, 1);
        b.m.tick_many(16);
        b.m.set(b.p.abort, 0);
        b.m.tick_many(200);
        assert_eq!(b.m.get(b.p.idle), 1);
        assert_eq!(b.m.get(b.p.trap), 0);
        b.issued = 0;
        let mut r = Random(7);
        image.h.iter_mut().for_each(|w| *w = r.moderate_half() as u32);
        let h = image.h.clone();
        b.write_all(false, &h);
        image.s = b.read_all(true, image.s.len());
        image.gemm(&good, 0);
        b.run(&[Job { gemm: good, wait: false }], None).expect("no trap");
        compare(&mut b, &image, "after an abort");
        b.issued = b.m.get(b.p.done_count);
    }
}
