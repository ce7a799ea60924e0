//! The Verilated vector engine against an independent reference.

use systole_checks::vector::bench::{Bench, Queued, Rng, design};
use systole_checks::vector::{self, reference, state};
use systole_isa::instr::{Sync, Vector, VectorOp};
use systole_isa::operand::{Addr, Base, Dest, Modifiers, Source, View};
use systole_isa::regs::Trap;

#[test]
fn programs_n8_v8() {
    vector::PROGRAMS_N8_V8.pass();
}

#[test]
fn programs_n8_v4() {
    vector::PROGRAMS_N8_V4.pass();
}

#[test]
fn programs_n4_v4() {
    vector::PROGRAMS_N4_V4.pass();
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
    let mut dut = design(8, 8).load();
    let mut b = Bench::new(&mut dut, 8, 8, initial, rng);
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
    let mut dut = design(8, 4).load();
    let mut b = Bench::new(&mut dut, 8, 4, initial.clone(), rng);
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
