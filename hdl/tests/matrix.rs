//! The matrix engine and the memories, Verilated, against `acc += f32(x) * f32(w)`.

mod float_common;
mod matrix_bench;

use float_common::{Random, canonical, narrow, widen};
use matrix_bench::{Bench, Job};
use std::collections::HashMap;
use systole_isa::instr::{Gemm, Init, Mask, Output, Sync};
use systole_isa::operand::{Addr, Base, View};

/// The memories as they should be.
struct Image {
    h: Vec<u32>,
    s: Vec<u32>,
    mask: Vec<bool>,
    acc: HashMap<(usize, usize), f32>,
    h_plane: usize,
    s_plane: usize,
    n: usize,
    flags: Vec<(u64, u64)>,
}

impl Image {
    fn new(b: &Bench) -> Image {
        Image {
            h: vec![0; b.machine.hmem_words as usize],
            s: vec![0; b.machine.smem_words as usize],
            mask: vec![false; b.machine.mask_bits as usize],
            acc: HashMap::new(),
            h_plane: b.machine.hmem_plane() as usize,
            s_plane: b.machine.smem_plane() as usize,
            n: b.n,
            flags: vec![],
        }
    }

    fn at(&self, v: View, r: usize, c: usize) -> usize {
        let a = v.base.addr.offset_by(r as i32 * v.strides.outer as i32 + c as i32 * v.strides.inner as i32);
        a.plane() as usize * self.h_plane + a.offset() as usize
    }

    fn address(v: View, r: usize, c: usize) -> Addr {
        v.base.addr.offset_by(r as i32 * v.strides.outer as i32 + c as i32 * v.strides.inner as i32)
    }

    /// What the instruction must do; flags in the machine's order of writing.
    fn gemm(&mut self, g: &Gemm) {
        let (m, k, n) = (g.m as usize, g.k as usize, g.n as usize);
        let mut result = vec![0f32; m * n];
        for r in 0..m {
            for c in 0..n {
                let row = g.acc_base as usize + c / self.n * g.m_block as usize + r;
                let half = |i: usize| widen(self.h[i] as u16);
                let base = |b: Base| b.addr.plane() as usize * self.h_plane + b.addr.offset() as usize;
                let mut acc = match g.init {
                    Init::Zero => 0.0,
                    Init::BiasPerColumn(b) => half(base(b) + c),
                    Init::BiasPerRow(b) => half(base(b) + r),
                    Init::Accumulators => self.acc[&(row, c % self.n)],
                };
                for i in 0..k {
                    acc += half(self.at(g.x, r, i)) * half(self.at(g.w, i, c));
                }
                result[r * n + c] = acc;
            }
        }
        let (view, single) = match g.out {
            Output::Keep => {
                for r in 0..m {
                    for c in 0..n {
                        let row = g.acc_base as usize + c / self.n * g.m_block as usize + r;
                        self.acc.insert((row, c % self.n), result[r * n + c]);
                    }
                }
                return;
            }
            Output::Half(v) => (v, false),
            Output::Single(v) => (v, true),
        };
        let (mb, ng) = (g.m_block as usize, g.n_group as usize * self.n);
        for n0 in (0..n).step_by(ng) {
            for m0 in (0..m).step_by(mb) {
                for t0 in (n0..n.min(n0 + ng)).step_by(self.n) {
                    for r in m0..m.min(m0 + mb) {
                        let mut first = None;
                        for c in t0..n.min(t0 + self.n) {
                            let mut y = result[r * n + c];
                            if g.relu && !(y > 0.0) && !y.is_nan() {
                                y = 0.0;
                            }
                            let a = Image::address(view, r, c);
                            let bit = |b: Base| {
                                let d = a.0.wrapping_sub(view.base.addr.0).wrapping_add(b.addr.0);
                                (d & Addr::MASK) as usize
                            };
                            if let Mask::Apply(b) = g.mask {
                                if !self.mask[bit(b)] {
                                    y = 0.0;
                                }
                            }
                            let written = if single { canonical(y) } else { narrow(y) as u32 };
                            let value = if single { y } else { widen(written as u16) };
                            if let Mask::Write(b) = g.mask {
                                let i = bit(b);
                                self.mask[i] = value > 0.0;
                            }
                            if !value.is_finite() && first.is_none() {
                                first = Some(a);
                            }
                            if single {
                                self.s[a.plane() as usize * self.s_plane + a.offset() as usize] = written;
                            } else {
                                self.h[a.plane() as usize * self.h_plane + a.offset() as usize] = written;
                            }
                        }
                        if let (Some(a), Some(f)) = (first, g.sync.flag) {
                            self.flags.push((1 << f, a.0 as u64 | (single as u64) << 20));
                        }
                    }
                }
            }
        }
    }
}

/// Hands out room, and views of it.
struct Room {
    next: [usize; 2],
    s_next: [usize; 2],
    lanes: usize,
}

impl Room {
    fn take(next: &mut [usize; 2], plane: usize, words: usize, r: &mut Random) -> Addr {
        let at = next[plane] + r.below(13) as usize;
        next[plane] = at + words;
        Addr::new(plane as u32, at as u32)
    }

    /// A view of `rows` × `cols`; the element (0, 0) may be at the end of the room (negative strides).
    fn view(&mut self, single: bool, plane: usize, rows: usize, cols: usize, r: &mut Random) -> View {
        let l = self.lanes;
        let next = if single { &mut self.s_next } else { &mut self.next };
        if r.below(2) == 0 {
            let pitch = cols + r.below(5) as usize;
            View::new(Base::at(Room::take(next, plane, rows * pitch, r)), 1, pitch as i16)
        } else {
            let pitch = rows.div_ceil(l) * l + 1;
            View::new(Base::at(Room::take(next, plane, cols * pitch, r)), pitch as i16, 1)
        }
    }
}

fn room(lanes: usize) -> Room {
    Room { next: [0; 2], s_next: [0; 2], lanes }
}

fn random_gemm(room: &mut Room, r: &mut Random, top: u64) -> Gemm {
    let size = |r: &mut Random| 1 + r.below(top) as usize;
    let (m, k, n) = (size(r), size(r), size(r));
    let (px, pw, po) = (r.below(2) as usize, r.below(2) as usize, r.below(2) as usize);
    let n_group = 1 + r.below(4) as u16;
    let m_block = 1 + r.below((128 / n_group as u64).min(20)) as u16;
    let spare = 128 - (m_block * n_group) as u64;
    let x = room.view(false, px, m, k, r);
    let w = room.view(false, pw, k, n, r);
    let single = r.below(2) == 0;
    let out = room.view(single, po, m, n, r);
    let bias = Base::at(Room::take(&mut room.next, pw, m.max(n), r));
    let mask = Base::at(Addr(r.below(64) as u32));
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
            1 => Init::BiasPerColumn(bias),
            _ => Init::BiasPerRow(bias),
        },
        out: if single { Output::Single(out) } else { Output::Half(out) },
        relu: r.below(3) == 0,
        mask: match r.below(3) {
            0 => Mask::None,
            1 => Mask::Write(mask),
            _ => Mask::Apply(mask),
        },
    }
}

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
fn trials(lanes: u32, count: usize, top: u64, seed: u64) {
    trials_on(Bench::new(lanes), count, top, seed);
}

fn trials_on(mut b: Bench, count: usize, top: u64, seed: u64) {
    let lanes = b.n;
    let mut image = Image::new(&b);
    let mut r = Random(seed);
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
        let mut room = room(lanes);
        let mut jobs = vec![];
        for _ in 0..1 + r.below(4) {
            let g = random_gemm(&mut room, &mut r, top);
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
        if room.next.iter().any(|n| *n > image.h_plane) || room.s_next.iter().any(|n| *n > image.s_plane) {
            continue;
        }
        image.flags.clear();
        jobs.iter().for_each(|j| image.gemm(&j.gemm));
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
        let flags: Vec<(u64, u64)> = b.flags.iter().map(|f| (f.0, f.2)).collect();
        assert_eq!(flags, image.flags, "{what}: flags");
    }
}

#[test]
fn random_products_2() {
    trials(2, 60, 9, 4);
}

#[test]
fn random_products_4() {
    trials(4, 150, 17, 1);
}

/// Skew, accumulators, slots and where results go follow the adder's latency.
#[test]
fn random_products_with_other_adders() {
    trials_on(Bench::with_latency(2, 4), 60, 9, 5);
    trials_on(Bench::with_latency(4, 4), 80, 17, 6);
    trials_on(Bench::with_latency(4, 2), 80, 17, 7);
}

#[test]
fn random_products_8() {
    trials(8, 150, 17, 2);
    trials(8, 20, 44, 3);
}

fn dense(m: u16, k: u16, n: u16, m_block: u16, n_group: u16) -> Gemm {
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

/// Cycles from hand-over to the last result, N = 8: pinned, so that a change shows.
#[test]
fn cycles_8() {
    let mut b = Bench::new(8);
    for (m, k, n, m_block, n_group, cycles) in [
        (32, 32, 32, 32, 4, 555),
        (64, 64, 64, 64, 2, 4139),
        (10, 128, 64, 10, 8, 1323),
        (32, 32, 10, 32, 2, 299),
        (10, 32, 32, 10, 4, 203),
        (128, 128, 128, 128, 1, 32811),
        (128, 128, 128, 8, 16, 32811),
        (64, 10, 128, 8, 16, 2091),
    ] {
        let g = dense(m, k, n, m_block, n_group);
        let start = std::time::Instant::now();
        let c = b.run(&[Job { gemm: g, wait: false }], None).expect("no trap")[0];
        let used = 100.0 * m as f64 * k as f64 * n as f64 / (64.0 * c as f64);
        println!("{m}x{k}x{n}: {c} cycles, {used:.1} %, {:.0} kHz", c as f64 / start.elapsed().as_secs_f64() / 1e3);
        assert_eq!(c, cycles, "{m}x{k}x{n}");
    }
    // Back to back, the second instruction's fill hides behind the first one's drain.
    let pair = [Job { gemm: dense(32, 32, 32, 32, 4), wait: false }; 4];
    let c = b.run(&pair, None).expect("no trap");
    println!("four 32x32x32: each {c:?}");
}

/// What cannot be executed traps, names itself, and leaves the engine usable after an abort.
#[test]
fn traps_and_abort_8() {
    let mut b = Bench::new(8);
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
    let end = b.machine.hmem_plane() as u64 | 1 << 19;
    let far = b.machine.smem_plane() as u64 | 1 << 19 | 1 << 31;
    for (gemm, cause, info) in
        [(stride, 5, stride.x.strides.to_bits() as u64), (size, 6, 300), (range, 4, end), (out, 4, far)]
    {
        let seen = b.run(&[Job { gemm, wait: false }], None).expect_err("a trap");
        assert_eq!(seen, (cause, info, b.issued * 12), "{gemm:?}");
        b.m.set(b.p.abort, 1);
        b.m.tick();
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
        image.gemm(&good);
        b.run(&[Job { gemm: good, wait: false }], None).expect("no trap");
        compare(&mut b, &image, "after an abort");
        b.issued = b.m.get(b.p.done_count);
    }
}

/// Strided, broadcast and out-of-range accesses of the memories.
#[test]
fn memory_accesses_8() {
    let mut b = Bench::new(8);
    let mut r = Random(11);
    let mut image: Vec<u32> = (0..b.machine.smem_words).map(|_| r.bits() as u32).collect();
    b.write_all(true, &image.clone());
    let plane = b.machine.smem_plane() as i64;
    for _ in 0..4000 {
        let q = if r.below(2) == 0 { 0 } else { r.below(121) as i64 - 60 };
        let (p, off, count) = (r.below(2) as i64, r.below(plane as u64) as i64, 1 + r.below(8) as usize);
        let at: Vec<i64> = (0..count as i64).map(|i| off + i * (1 + 8 * q)).collect();
        let bad = at.iter().find(|a| **a < 0 || **a >= plane);
        let addr = (p << 19 | off) as u64;
        if r.below(2) == 0 {
            let data: Vec<u32> = (0..count).map(|_| r.bits() as u32).collect();
            assert_eq!(b.write(true, addr, q as i16, &data), bad.is_some(), "write {off} q {q}");
            if bad.is_none() {
                at.iter().zip(&data).for_each(|(a, d)| image[(p * plane + a) as usize] = *d);
            }
        }
        let bcast = r.below(4) == 0;
        let (data, trap) = b.read(true, addr, q as i16, bcast, count);
        if bcast {
            assert!(!trap && data.iter().all(|d| *d == image[(p * plane + off) as usize]));
        } else {
            assert_eq!(trap, bad.is_some());
            if bad.is_none() {
                let expect: Vec<u32> = at.iter().map(|a| image[(p * plane + a) as usize]).collect();
                assert_eq!(data, expect, "read {off} q {q} count {count}");
            }
        }
    }
    assert_eq!(b.read_all(true, image.len()), image);
}
