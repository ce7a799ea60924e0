//! What the engine waits for, and what it refuses.

use super::bench::{Bench, Job, design};
use super::dense;
use crate::design::{Check, Dut};
use crate::number::Random;
use systole_isa::instr::{Gemm, Instr, Output};
use systole_isa::operand::{Addr, Base, Strides, View};
use systole_isa::regs::Trap;

/// An instruction stays where it is until both engines' counts have come, whatever they are, and goes when they have.
pub const WAITS_4: Check = Check { name: "matrix::waits_4", design: || design(4, 3), run: waits };

/// Sizes and strides that cannot be executed trap with their cause and what is wrong, and nothing else does.
pub const REFUSALS_4: Check = Check { name: "matrix::refusals_4", design: || design(4, 3), run: refusals };

fn waits(dut: &mut Dut) {
    let mut b = Bench::new(dut, 4, 3);
    let words = Instr::Gemm(dense(3, 5, 4, 3, 1)).encode().to_vec();
    let mut done = 0u8;
    let mut r = Random(0x3a17);
    // how far the awaited count is ahead of the count that there is; 0 and below: it has come
    for ahead in [1i16, 128, 0, -1, -127, 64, 2, -64, 127, 33, -90, 100] {
        for _ in 0..4 {
            let count = r.bits() as u8;
            b.m.set(b.p.done_v, count.into());
            b.m.set(b.p.iw_valid, 1);
            for (i, word) in words.iter().enumerate() {
                // a wait for the matrix engine's own count that has come, or none; beside other words there is anything
                let side = |value: u64| if i == 0 { value } else { r.0 >> 7 };
                b.m.set(b.p.iw_data, (*word).into());
                b.m.set(b.p.iw_pc, side(0x1234));
                b.m.set(b.p.iw_wv_en, side(1));
                b.m.set(b.p.iw_wv, side(count.wrapping_add(ahead as u8).into()));
                b.m.set(b.p.iw_wm_en, side(r.0 >> 9 & 1));
                b.m.set(b.p.iw_wm, side(done.into()));
                while b.m.get(b.p.iw_ready) == 0 {
                    b.m.tick();
                }
                b.m.tick();
            }
            b.m.set(b.p.iw_valid, 0);
            b.m.tick_many(300);
            let held = ahead > 0;
            let seen = [b.p.stall_wait, b.p.done_count].map(|p| b.m.get(p));
            assert_eq!(seen, [held as u64, done.wrapping_add(!held as u8).into()], "{ahead} ahead of {count}");
            b.m.set(b.p.done_v, count.wrapping_add(ahead.max(0) as u8).into());
            b.m.tick_many(300);
            done = done.wrapping_add(1);
            let seen = [b.p.stall_wait, b.p.done_count].map(|p| b.m.get(p));
            assert_eq!(seen, [0, done.into()], "{ahead} ahead of {count}, which has come");
        }
    }
    // its own count: what lies ahead cannot come, and an abort ends the wait
    for ahead in [1u8, 2, 77, 128] {
        b.m.set(b.p.iw_valid, 1);
        b.m.set(b.p.iw_wv_en, 0);
        b.m.set(b.p.iw_wm_en, 1);
        b.m.set(b.p.iw_wm, done.wrapping_add(ahead).into());
        for word in &words {
            b.m.set(b.p.iw_data, (*word).into());
            b.m.tick();
        }
        b.m.set(b.p.iw_valid, 0);
        b.m.tick_many(300);
        let seen = [b.p.stall_wait, b.p.done_count].map(|p| b.m.get(p));
        assert_eq!(seen, [1, done.into()], "{ahead} ahead");
        abort(&mut b);
        done = 0;
        assert_eq!([b.p.stall_wait, b.p.done_count].map(|p| b.m.get(p)), [0, 0], "after an abort");
    }
}

/// What follows a trap.
pub(super) fn abort(b: &mut Bench) {
    b.m.set(b.p.abort, 1);
    b.m.tick_many(16);
    b.m.set(b.p.abort, 0);
    b.m.tick_many(200);
    b.issued = 0;
}

/// Cause and information of the trap that an instruction deserves.
fn deserved(g: &Gemm, lanes: i16, acc_rows: u32) -> Option<(u64, u64)> {
    let rows = g.m_block as u32 * g.n_group as u32 + g.acc_base as u32;
    if g.m == 0 || g.k == 0 || g.n == 0 || rows > acc_rows {
        return Some((Trap::Size as u64, rows.into()));
    }
    let wrong = |s: Strides| s.inner.rem_euclid(lanes) != 1;
    let out = match g.out {
        Output::Half(v) | Output::Single(v) => Some(v),
        Output::Keep => None,
    };
    [Some(g.x), Some(g.w), out]
        .into_iter()
        .flatten()
        .find(|v| wrong(v.strides))
        .map(|v| (Trap::Stride as u64, v.strides.to_bits().into()))
}

fn refusals(dut: &mut Dut) {
    let mut b = Bench::new(dut, 4, 3);
    let mut r = Random(0x3ef5);
    let [mut refused, mut done] = [0; 2];
    for case in 0..600 {
        let mut g = dense(1 + r.below(5) as u16, 1 + r.below(5) as u16, 1 + r.below(5) as u16, 1, 1);
        let at = |r: &mut Random, plane| Base::at(Addr::new(plane, 4096 + r.below(1024) as u32));
        // small steps only where something may be executed
        let stride = |r: &mut Random| if r.below(3) == 0 { r.bits() as i16 } else { (r.below(9) as i16 - 4) * 4 + 1 };
        let view = |r: &mut Random, plane| View::new(at(r, plane), stride(r), r.below(40) as i16);
        (g.x, g.w) = (view(&mut r, 0), view(&mut r, 1));
        let out = view(&mut r, 0);
        g.out = if r.below(2) == 0 { Output::Keep } else { Output::Half(out) };
        // sums around the limit, and products of all sizes
        g.m_block = 1 + r.below(256) as u16;
        g.n_group = match r.below(4) {
            0 => 1 + r.below(256) as u16,
            1 => 1,
            _ => (256 / g.m_block).max(1),
        };
        g.acc_base = match r.below(3) {
            0 => r.below(256) as u8,
            1 => (257 - (g.m_block as i32 * g.n_group as i32).min(256)).clamp(0, 255) as u8,
            _ => (256 - (g.m_block as i32 * g.n_group as i32).min(256)).clamp(0, 255) as u8,
        };
        match r.below(12) {
            0 => g.m = 0,
            1 => g.k = 0,
            2 => g.n = 0,
            _ => {}
        }
        let expected = deserved(&g, 4, b.machine.acc_rows);
        if expected.is_none() && [g.x, g.w, out].iter().any(|v| v.strides.inner.unsigned_abs() > 17) {
            // right, but with steps that may leave the memory: another check's business
            continue;
        }
        let pc = b.issued * 12 & 0xffff;
        let seen = b.run(&[Job { gemm: g, wait: false }], None);
        match expected {
            Some((cause, info)) => {
                assert_eq!(seen, Err((cause, info, pc)), "case {case}: {g:?}");
                abort(&mut b);
                refused += 1;
            }
            None => {
                assert!(seen.is_ok(), "case {case} is sound: {seen:x?}, {g:?}");
                done += 1;
            }
        }
    }
    assert!(refused > 200 && done > 20, "{refused} refused, {done} executed");
}
