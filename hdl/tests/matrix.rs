//! The matrix engine and the memories, Verilated, against `acc += f32(x) * f32(w)`.

use systole_checks::Check;
use systole_checks::matrix;
use systole_checks::matrix::bench::{Bench, design};
use systole_checks::number::Random;

#[test]
fn random_products_2() {
    matrix::RANDOM_PRODUCTS_2.pass();
}

#[test]
fn random_products_4() {
    matrix::RANDOM_PRODUCTS_4.pass();
}

/// Skew, accumulators, slots and where results go follow the adder's latency.
#[test]
fn random_products_with_other_adders() {
    matrix::RANDOM_PRODUCTS_WITH_OTHER_ADDERS.iter().for_each(Check::pass);
}

#[test]
fn random_products_8() {
    matrix::RANDOM_PRODUCTS_8.iter().for_each(Check::pass);
}

#[test]
fn traps_and_abort_4() {
    matrix::TRAPS_AND_ABORT_4.pass();
}

#[test]
fn traps_and_abort_8() {
    matrix::TRAPS_AND_ABORT_8.pass();
}

#[test]
fn waits_4() {
    matrix::WAITS_4.pass();
}

#[test]
fn refusals_4() {
    matrix::REFUSALS_4.pass();
}

#[test]
fn reach_4() {
    matrix::REACH_4.pass();
}

#[test]
fn far_4() {
    matrix::FAR_4.pass();
}

#[test]
fn cycles_4() {
    matrix::CYCLES_4.pass();
}

#[test]
fn cycles_8() {
    matrix::CYCLES_8.pass();
}

/// Strided, broadcast and out-of-range accesses of the memories.
#[test]
fn memory_accesses_8() {
    let mut dut = design(8, 3).load();
    let mut b = Bench::new(&mut dut, 8, 3);
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
