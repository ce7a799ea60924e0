//! The Verilated vector engine against an independent reference.

mod vector_common;

use systole_isa::instr::{Sync, Vector, VectorOp};
use systole_isa::operand::{Addr, Base, Dest, Modifiers, Source, View};
use systole_isa::regs::Trap;
use vector_common::bench::{Bench, Queued, Rng};
use vector_common::reference::{self, PLANE, State};

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

fn state(rng: &mut Rng) -> State {
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
fn programs(n: usize, v: usize, seed: u64, count: usize) {
    println!("N {n}, V {v}, seed {seed:#x}");
    let mut rng = Rng(seed);
    let initial = state(&mut rng);
    let mut bench = Bench::new(n, v, initial.clone(), rng.clone());
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
    println!("{} cycles", bench.cycle);
}

#[test]
fn programs_n8_v8() {
    programs(8, 8, 0x5157_0001, 150);
}

#[test]
fn programs_n8_v4() {
    programs(8, 4, 0x5157_0002, 150);
}

#[test]
fn programs_n4_v4() {
    programs(4, 4, 0x5157_0003, 150);
}

fn row(offset: u32) -> View {
    View::new(Base::at(Addr::new(0, offset)), 1, 0)
}

fn simple(x: Source, d: Dest, rows: u16, cols: u16) -> Vector {
    let (y, z) = (Source::ONE, Source::NEG_ZERO);
    Vector { sync: Sync::default(), op: VectorOp::Mad, rows, cols, x, y, z, d, copy: None, recurrent: false }
}

fn smem(offset: u32) -> Source {
    Source::Smem(row(offset), Modifiers::default())
}

fn queued(instr: Vector, wait_v: Option<u8>) -> Queued {
    Queued { instr, pc: 0x123, wait_v, wait_m: None }
}

/// A vector a cycle within one instruction; the gap between dependent instructions.
#[test]
fn throughput_and_latency() {
    let mut rng = Rng(7);
    let initial = state(&mut rng);
    let mut b = Bench::new(8, 8, initial, rng);
    // Three operands, 64 vectors.
    let mut long = simple(smem(0), Dest::Smem(row(1024)), 1, 512);
    long.y = smem(512);
    long.z = Source::Smem(row(2048), Modifiers::default());
    b.push(queued(long, None));
    b.drain(1000);
    let writes: Vec<u64> = b.grants.iter().filter(|g| g.0 == 3).map(|g| g.1).collect();
    assert_eq!((writes.len(), writes[63] - writes[0]), (64, 63));
    // Two long independent instructions: one cycle is lost between them.
    b.grants.clear();
    b.push(queued(long, None));
    b.push(queued(long, None));
    b.drain(1000);
    let writes: Vec<u64> = b.grants.iter().filter(|g| g.0 == 3).map(|g| g.1).collect();
    assert_eq!((writes.len(), writes[127] - writes[0]), (128, 128));
    // Dependent instructions of five vectors.
    for (name, hmem) in [("smem", false), ("hmem", true)] {
        b.grants.clear();
        let base = b.get("done_count") as u8;
        let data = |o: u32| if hmem { Source::Hmem(row(o), Modifiers::default()) } else { smem(o) };
        let to = |o: u32| if hmem { Dest::Hmem(row(o)) } else { Dest::Smem(row(o)) };
        b.push(queued(simple(data(0), to(64), 1, 40), None));
        b.push(queued(simple(data(64), to(128), 1, 40), Some(base.wrapping_add(1))));
        b.drain(1000);
        let reads: Vec<u64> = b.grants.iter().filter(|g| g.0 == 0).map(|g| g.1).collect();
        println!("{name}: {} cycles from last read to first dependent read", reads[5] - reads[4]);
        assert_eq!(reads[5] - reads[4], if hmem { 16 } else { 14 });
    }
}

#[test]
fn traps_and_abort() {
    let mut rng = Rng(8);
    let initial = state(&mut rng);
    let mut b = Bench::new(8, 4, initial.clone(), rng);
    let bad = |inner: i16| View::new(Base::at(Addr(0)), inner, 0);
    let cases: Vec<(Vector, Trap, usize)> = vec![
        (simple(Source::Smem(bad(2), Modifiers::default()), Dest::None, 1, 4), Trap::Stride, 3),
        (simple(smem(0), Dest::Smem(bad(0)), 1, 4), Trap::Stride, 9),
        (Vector { copy: Some(bad(8)), ..simple(smem(0), Dest::None, 1, 4) }, Trap::Stride, 11),
        (simple(smem(0), Dest::Smem(row(64)), 0, 4), Trap::Size, 1),
        (simple(smem(0), Dest::Smem(row(64)), 4, 0), Trap::Size, 1),
    ];
    for (v, trap, word) in cases {
        // The instruction before still completes.
        b.push(queued(simple(smem(0), Dest::Smem(row(64)), 2, 9), None));
        b.push(queued(v, None));
        for _ in 0..100 {
            b.step();
        }
        let words = systole_isa::instr::Instr::Vector(v).encode();
        let got = ["trap", "trap_cause", "trap_info", "trap_pc", "done_count"].map(|p| b.get(p));
        assert_eq!(got, [1, trap as u64, words[word] as u64, 0x123, 1], "{v:?}");
        b.abort();
        assert_eq!((b.get("trap"), b.get("idle"), b.get("done_count")), (0, 1, 0));
    }
    // Abort at every cycle of a short program; then the engine works as if nothing had been.
    for at in 0..90 {
        b.refuse = if at % 2 == 0 { 0 } else { 30 };
        b.push(queued(simple(smem(0), Dest::Smem(row(64)), 3, 30), None));
        b.push(queued(Vector { copy: Some(row(0)), ..simple(smem(128), Dest::Smem(row(256)), 2, 30) }, None));
        for _ in 0..at {
            b.step();
        }
        b.abort();
        b.step();
        assert_eq!((b.get("idle"), b.get("done_count")), (1, 0), "after an abort in cycle {at}");
        b.state = initial.clone();
        let mut model = initial.clone();
        let check = simple(smem(7), Dest::Hmem(row(512)), 2, 21);
        reference::run(&mut model, &check, 0);
        b.push(queued(check, None));
        b.drain(1000);
        assert_eq!(b.get("done_count"), 1);
        assert!(b.state == model, "after an abort in cycle {at}");
        b.abort();
    }
}
