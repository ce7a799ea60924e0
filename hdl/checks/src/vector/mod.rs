//! The vector engine beside a behavioural memory, against an independent reference.

pub mod bench;
pub mod reference;

use crate::design::{Check, Dut};
use bench::{Bench, Queued, Rng, design};
use reference::{PLANE, State};
use systole_isa::instr::{Sync, Vector, VectorOp};
use systole_isa::operand::{Addr, Base, Dest, Modifiers, Source, View};

/// Random programs; eight lanes beside eight columns.
pub const PROGRAMS_N8_V8: Check =
    Check { name: "vector::programs_n8_v8", design: || design(8, 8), run: |dut| programs(dut, 8, 8, 0x5157_0001, 150) };

/// Four lanes beside eight columns.
pub const PROGRAMS_N8_V4: Check =
    Check { name: "vector::programs_n8_v4", design: || design(8, 4), run: |dut| programs(dut, 8, 4, 0x5157_0002, 150) };

/// Four lanes beside four columns.
pub const PROGRAMS_N4_V4: Check =
    Check { name: "vector::programs_n4_v4", design: || design(4, 4), run: |dut| programs(dut, 4, 4, 0x5157_0003, 150) };

const SINGLES: [u32; 24] = [
    0,
    0x8000_0000,
    1,
    0x8000_0001,
    0x007f_ffff,
    0x0080_0000,
    0x8080_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x3f80_0001,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x7f80_0001,
    0xffff_ffff,
    0x3300_0000,
    0x3380_0001,
    0x477f_efff,
    0x477f_f000,
    0xc780_0000,
    0x3880_0000,
    0x387f_e000,
];
const HALVES: [u16; 14] =
    [0, 0x8000, 1, 0x8001, 0x3ff, 0x400, 0x3c00, 0xbc00, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0xfd01];

fn single(rng: &mut Rng) -> u32 {
    match rng.below(4) {
        0 => SINGLES[rng.below(SINGLES.len())],
        1 => rng.next() as u32,
        // ordinary sizes, so that sums and roundings meet
        _ => (rng.next() as u32 & 0x807f_ffff) | (120 + rng.below(14) as u32) << 23,
    }
}

fn half(rng: &mut Rng) -> u16 {
    match rng.below(4) {
        0 => HALVES[rng.below(HALVES.len())],
        1 => rng.next() as u16,
        _ => (rng.next() as u16 & 0x83ff) | (11 + rng.below(8) as u16) << 10,
    }
}

/// Memories and registers with numbers of every class.
pub fn state(rng: &mut Rng) -> State {
    State {
        hmem: (0..2 * PLANE).map(|_| half(rng)).collect(),
        smem: (0..2 * PLANE).map(|_| single(rng)).collect(),
        sregs: core::array::from_fn(|_| single(rng)),
    }
}

/// Memories are cut into 16 regions each, which programs treat as variables.
const REGION: usize = 512;

fn view(rng: &mut Rng, n: usize, region: usize, rows: usize, cols: usize, write: bool) -> View {
    let plane = region as u32 / 8;
    let start = (region % 8 * REGION) as u32;
    let (inner, outer) = match rng.below(6) {
        0 if !write => (0, rng.below(9) as i32 - 4),
        1 => (n as i32 + 1, rng.below(2) as i32 * 3),
        2 => (1 - n as i32, if write { -1 } else { rng.below(5) as i32 - 2 }),
        3 => (1, -(cols as i32) - rng.below(3) as i32),
        4 if !write => (1, 0),
        _ => (1, (cols + rng.below(5)) as i32),
    };
    let span = [(rows as i32 - 1) * outer, (cols as i32 - 1) * inner];
    let low = -span.iter().map(|s| s.min(&0)).sum::<i32>();
    let high = span.iter().map(|s| s.max(&0)).sum::<i32>();
    let free = REGION as i32 - low - high;
    assert!(free > 0);
    let base = start + (low + rng.below(free as usize) as i32) as u32;
    View::new(Base::at(Addr::new(plane, base)), inner as i16, outer as i16)
}

fn modifiers(rng: &mut Rng, scaled: bool) -> Modifiers {
    Modifiers { neg: rng.chance(30), abs: rng.chance(20), scaled: scaled && rng.chance(40) }
}

/// A random instruction, the variables that it reads and those that it writes (0..16 hmem, 16..32 smem, 32..48 sregs).
fn instruction(rng: &mut Rng, n: usize) -> (Vector, Vec<usize>, Vec<usize>) {
    let scalar = rng.chance(8);
    let (rows, cols) = if scalar { (1, 1) } else { (1 + rng.below(6), 1 + rng.below(20)) };
    let recurrent = rng.chance(20);
    let mut reads = vec![];
    let mut sources = [Source::NEG_ZERO; 3];
    for s in &mut sources {
        let region = rng.below(12);
        *s = match rng.below(8) {
            0..3 => {
                reads.push(region);
                Source::Hmem(view(rng, n, region, rows, cols, false), modifiers(rng, true))
            }
            3..6 => {
                reads.push(16 + region);
                Source::Smem(view(rng, n, region, rows, cols, false), modifiers(rng, false))
            }
            6 => Source::Imm(single(rng)),
            _ => {
                let r = rng.below(16);
                reads.push(32 + r);
                Source::Sreg(r as u8, modifiers(rng, false))
            }
        };
    }
    // A destination that no source of this instruction touches.
    let fresh = |rng: &mut Rng, base: usize, taken: &[usize]| loop {
        let r = rng.below(12);
        if !taken.contains(&(base + r)) {
            return r;
        }
    };
    let mut writes = vec![];
    let d = match rng.below(8) {
        _ if scalar => {
            let r = rng.below(16);
            writes.push(32 + r);
            Dest::Sreg(r as u8)
        }
        0..3 => {
            let r = fresh(rng, 0, &reads);
            writes.push(r);
            Dest::Hmem(view(rng, n, r, rows, cols, true))
        }
        3 => Dest::None,
        _ => {
            let r = fresh(rng, 16, &reads);
            writes.push(16 + r);
            Dest::Smem(view(rng, n, r, rows, cols, true))
        }
    };
    let copy = rng.chance(35).then(|| {
        let taken: Vec<usize> = reads.iter().chain(&writes).copied().collect();
        let r = fresh(rng, 0, &taken);
        writes.push(r);
        view(rng, n, r, rows, cols, true)
    });
    let op = if rng.chance(40) { VectorOp::Mad } else { VectorOp::ALL[rng.below(15)] };
    let flag = rng.chance(70).then(|| rng.below(4) as u8);
    let [x, y, z] = sources;
    let mut v = Vector {
        sync: Sync { wait_m: 0, wait_v: 0, flag },
        op,
        rows: rows as u16,
        cols: cols as u16,
        x,
        y,
        z,
        d,
        copy,
        recurrent,
    };
    // Accumulate over rows, or overwrite a source in place.
    if let Dest::Smem(mut t) = v.d
        && (recurrent || rows == 1 || (t.strides.inner == 1 && t.strides.outer.unsigned_abs() as usize >= cols))
        && rng.chance(60)
    {
        if recurrent {
            // Row 0 of the destination, whichever way the rows went.
            t.strides.outer = 0;
        }
        v.d = Dest::Smem(t);
        v.z = Source::Smem(t, Modifiers::default());
        reads.push(writes[0]);
    }
    (v, reads, writes)
}

/// Runs random programs with the least waits that order needs; compares memories, scalar registers, counts and flags.
fn programs(dut: &mut Dut, n: usize, v: usize, seed: u64, count: usize) {
    let mut rng = Rng(seed);
    let initial = state(&mut rng);
    let mut bench = Bench::new(dut, n, v, initial.clone(), rng.clone());
    let mut model = initial;
    let mut done = 0u8;
    for round in 0..count {
        bench.refuse = [0, 0, 20, 60][rng.below(4)];
        let exp = rng.below(201) as i32 - 100;
        bench.set("exp", exp as u8 as u64);
        let mut writer = [None::<usize>; 48];
        let mut flags = vec![];
        let program: Vec<Queued> = (0..12)
            .map(|i| {
                let (instr, reads, writes) = instruction(&mut rng, n);
                let last = reads.iter().filter_map(|&r| writer[r]).max();
                for w in writes {
                    writer[w] = Some(i);
                }
                let pc = (round * 12 + i) as u16;
                if let (Some(addr), Some(f)) = (reference::run(&mut model, &instr, exp), instr.sync.flag) {
                    flags.push((1u8 << f, pc, addr));
                }
                let wait_v = last.map(|l| done.wrapping_add(l as u8 + 1));
                let wait_m = rng.chance(20).then(|| rng.next() as u8 & 127).map(|d| 200u8.wrapping_sub(d));
                Queued { instr, pc, wait_v, wait_m }
            })
            .collect();
        bench.set("done_m", 200);
        bench.flags.clear();
        program.iter().for_each(|q| bench.push(q.clone()));
        bench.drain(50_000);
        done = done.wrapping_add(12);
        assert_eq!(bench.get("done_count"), done as u64);
        let mut seen: Vec<_> = bench.flags.clone();
        seen.dedup_by_key(|f| f.1);
        let show = || program.iter().enumerate().map(|(i, q)| format!("{i}: {q:x?}\n")).collect::<String>();
        for (at, (a, b)) in bench.state.hmem.iter().zip(&model.hmem).enumerate() {
            assert_eq!(a, b, "round {round}: hmem[{at:#x}] is {a:#x}, not {b:#x}\n{}", show());
        }
        for (at, (a, b)) in bench.state.smem.iter().zip(&model.smem).enumerate() {
            assert_eq!(a, b, "round {round}: smem[{at:#x}] is {a:#x}, not {b:#x}\n{}", show());
        }
        assert_eq!(seen, flags, "round {round}: flags\n{}", show());
        for i in 0..16 {
            let value = bench.read_sreg(i);
            assert_eq!(value, model.sregs[i], "round {round}: sreg {i}");
        }
        // Fresh data now and then, so that NaN does not spread everywhere.
        if round % 4 == 3 {
            model = state(&mut rng);
            for i in 0..16 {
                bench.write_sreg(i, model.sregs[i]);
            }
            bench.state = model.clone();
        }
    }
}
