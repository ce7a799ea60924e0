//! Contract 2: the hardware and the model give the same bits for the same bytes.
//!
//! `SYSTOLE_LOCKSTEP=<count>` runs so many random programs per machine instead of the few of an ordinary test run;
//! `SYSTOLE_LOCKSTEP_SEED=<seed>` begins with another.

mod rtl_support;

use rtl_support::pair::Pair;
use rtl_support::program::{Generator, half, number};
use rtl_support::{DEADLINE, Request, Rng, SHARED, assemble, bytes, setting, small};
use systole_isa::check;
use systole_isa::frame::{ErrorCode, Kind, scaler, step};
use systole_isa::instr::{Control, Gemm, Init, Instr, Mask, Output, Sync, Vector, VectorOp};
use systole_isa::machine::Machine;
use systole_isa::operand::{Addr, Base, Dest, Source, View};
use systole_isa::sreg;

/// A scaler's request: static, with this exponent.
fn fixed_scale(index: u32, exponent: i32) -> Request {
    let mut state = [0; scaler::WORDS];
    state[scaler::MODE] = scaler::Mode::Static as u32;
    state[scaler::EXPONENT] = exponent as u32;
    (state[scaler::GROWTH], state[scaler::BACKOFF], state[scaler::INTERVAL]) = (1, 1, 2000);
    (state[scaler::CAP], state[scaler::HYSTERESIS], state[scaler::HYSTERESIS_LEFT]) = (24, 1, 1);
    let words: Vec<u32> = std::iter::once(index).chain(state).collect();
    Request::new(Kind::ScalerSet, &words, &[])
}

/// Fills both data memories.
fn fill(pair: &mut Pair, rng: &mut Rng, machine: &Machine) {
    let wild = rng.one_in(2);
    for plane in [0, 1 << 19] {
        let data: Vec<u8> = (0..machine.hmem_plane()).flat_map(|_| half(rng, wild).to_le_bytes()).collect();
        pair.write(0, plane, &data);
        let data: Vec<u8> = (0..machine.smem_plane()).flat_map(|_| number(rng).to_le_bytes()).collect();
        pair.write(1, plane, &data);
    }
}

/// Disassembly, for a failure's message.
fn listing(words: &[u32]) -> String {
    let (mut at, mut out) = (0, String::new());
    while at < words.len() {
        out += &format!("{at:4}: {:?}\n", Instr::decode(&words[at..]));
        at += systole_isa::instr::length(words[at]);
    }
    out
}

/// Random programs on both devices; all memories, registers and flags are compared after each.
fn random_programs(machine: Machine, seed: u64, count: u64) {
    let (seed, count) =
        (setting("SYSTOLE_LOCKSTEP_SEED").unwrap_or(seed), setting("SYSTOLE_LOCKSTEP").unwrap_or(count));
    let mut pair = Pair::new(machine);
    for seed in seed..seed + count {
        let mut g = Generator::new(seed, machine);
        if seed % 4 == 0 || count < 4 {
            fill(&mut pair, &mut g.rng, &machine);
        }
        let (first, second) = (g.program(4), g.program(2));
        let (at, end) = (first.len() as u32, second.len() as u32);
        if first.len() + second.len() > machine.pmem_words as usize {
            continue;
        }
        for p in [&first, &second] {
            // a program's calls count from its own start
            if let Err(e) = check::program(p, &machine) {
                panic!("seed {seed}: the generator is wrong: {e}\n{}", listing(p));
            }
        }
        let what = format!("{} lanes, seed {seed}\n{}\n--\n{}", machine.lanes, listing(&first), listing(&second));
        let second = relocate(&second, at);
        pair.write(2, 0, &bytes(&[first, second].concat()));
        pair.ask(&what, Kind::Segments, &[2, 0, at, at, end]);
        if g.rng.one_in(2) {
            let exponent = g.rng.range(-3, 12) as i32;
            pair.same(&what, &[fixed_scale(1, exponent)]);
            let inverse = 0.125f32.to_bits();
            let request = [1 | 1 << 16, inverse, DEADLINE, 1 | 1 << 8, 3, 17, 5, 0.5f32.to_bits()];
            step_without_offender(&mut pair, &what, &request);
        }
        pair.ask(&what, Kind::Run, &[0, DEADLINE, 0]);
        pair.ask(&what, Kind::Run, &[1, DEADLINE, 0]);
        pair.compare(&what);
    }
    println!("{} lanes: {count} programs from seed {seed}, {:.0} kHz", machine.lanes, pair.rtl.device.speed().khz());
}

/// A step whose first offender may depend on which engine was faster: it is not compared.
fn step_without_offender(pair: &mut Pair, what: &str, request: &[u32]) {
    let [m, r] = [pair.model.ok(Kind::Step, request), pair.rtl.ok(Kind::Step, request)];
    for i in [step::OUTCOME, step::LOSS, step::CORRECT, step::EXPONENT_USED, step::EXPONENT_NEXT, step::FLAGS] {
        assert_eq!(m[i], r[i], "{what}: word {i} of a step's reply differs: {m:x?} {r:x?}");
    }
}

/// Moves a program's calls to where it is loaded.
fn relocate(words: &[u32], by: u32) -> Vec<u32> {
    let (mut at, mut out) = (0, words.to_vec());
    while at < words.len() {
        if words[at] & 0xff == systole_isa::instr::op::CALL {
            out[at + 1] += by;
        }
        at += systole_isa::instr::length(words[at]);
    }
    out
}

#[test]
fn random_programs_4_lanes() {
    random_programs(SHARED, 1000, 60);
}

/// The latencies of adder and memories change no bit: the model has none.
#[test]
fn random_programs_4_lanes_latencies_4_4() {
    random_programs(Machine { adder_latency: 4, memory_latency: 4, ..SHARED }, 1100, 24);
}

#[test]
#[ignore = "builds another machine"]
fn random_programs_4_lanes_latencies_2_3() {
    random_programs(Machine { adder_latency: 2, memory_latency: 3, ..SHARED }, 1200, 24);
}

#[test]
#[ignore = "builds another machine"]
fn random_programs_8_lanes() {
    random_programs(small(8), 2000, 24);
}

#[test]
#[ignore = "builds another machine"]
fn random_programs_8_lanes_4_vector_lanes() {
    random_programs(Machine { vector_lanes: 4, ..small(8) }, 3000, 24);
}

/// One vector instruction over a grid.
fn elementwise(op: VectorOp, x: Source, y: Source, z: Source, d: Dest, rows: u16, cols: u16) -> Instr {
    Instr::Vector(Vector {
        sync: Sync { wait_v: 1, ..Sync::default() },
        op,
        rows,
        cols,
        x,
        y,
        z,
        d,
        copy: None,
        recurrent: false,
    })
}

fn at(plane: u32, offset: u32, pitch: i16) -> View {
    View::new(Base::at(Addr::new(plane, offset)), 1, pitch)
}

/// Every operation meets every pair of special numbers.
#[test]
fn every_vector_operation_on_every_special_number() {
    const SPECIAL: [u32; 16] = [
        0,
        0x8000_0000,
        1,
        0x8000_0001,
        0x007f_ffff,
        0x0080_0000,
        0x3f80_0000,
        0xbf80_0000,
        0x3f80_0001,
        0x7f7f_ffff,
        0xff7f_ffff,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0000,
        0xffc0_1234,
        0x7f80_0001,
    ];
    let mut pair = Pair::new(SHARED);
    let (x, y): (Vec<u32>, Vec<u32>) = SPECIAL.iter().flat_map(|&a| SPECIAL.map(|b| (a, b))).unzip();
    pair.write(1, 0, &bytes(&x));
    pair.write(1, 256, &bytes(&y));
    let z: Vec<u32> = y.iter().rev().copied().collect();
    pair.write(1, 512, &bytes(&z));
    for part in VectorOp::ALL.chunks(4) {
        let mut program = Vec::new();
        for (i, &op) in part.iter().enumerate() {
            let source = |o| Source::Smem(at(0, o, 32), Default::default());
            let i = i as u32;
            program.push(elementwise(op, source(0), source(256), source(512), Dest::Smem(at(1, 256 * i, 32)), 8, 32));
            program.push(elementwise(op, source(256), source(512), source(0), Dest::Hmem(at(0, 256 * i, 32)), 8, 32));
        }
        program.push(Instr::Control(Control::End));
        let words = assemble(&program);
        pair.write(2, 0, &bytes(&words));
        pair.ask("ops", Kind::Segments, &[1, 0, words.len() as u32]);
        pair.ask("ops", Kind::Run, &[0, DEADLINE, 0]);
        pair.compare(&format!("{part:?}"));
    }
}

/// A step that overflows in one place: outcome, scale, flag and first offender agree, and nothing is updated.
#[test]
fn steps_update_skip_and_name_the_offender() {
    let mut pair = Pair::new(SHARED);
    let gemm = Instr::Gemm(Gemm {
        sync: Sync { flag: Some(2), ..Sync::default() },
        m: 6,
        k: 2,
        n: 6,
        m_block: 4,
        n_group: 2,
        acc_base: 0,
        x: at(0, 0, 2),
        w: at(1, 0, 6),
        init: Init::Zero,
        out: Output::Half(at(0, 100, 6)),
        relu: false,
        mask: Mask::None,
    });
    let loss =
        elementwise(VectorOp::Mad, Source::f32(0.5), Source::ONE, Source::NEG_ZERO, Dest::Sreg(sreg::LOSS as u8), 1, 1);
    let count = Source::Smem(at(0, 0, 1), Default::default());
    let update = elementwise(VectorOp::IntAdd, count, Source::Imm(1), Source::Imm(0), Dest::Smem(at(0, 0, 1)), 1, 1);
    let compute = assemble(&[gemm, loss, Instr::Control(Control::End)]);
    let tail = assemble(&[update, Instr::Control(Control::End)]);
    let length = compute.len() as u32;
    pair.write(2, 0, &bytes(&[compute, tail.clone()].concat()));
    pair.ask("segments", Kind::Segments, &[2, 0, length, length, tail.len() as u32]);
    let mut dynamic = fixed_scale(0, 10);
    dynamic.words[1 + scaler::MODE] = scaler::Mode::Dynamic as u32;
    pair.same("scaler", &[dynamic]);
    let one: Vec<u8> = [0x3c00u16; 16].iter().flat_map(|v| v.to_le_bytes()).collect();
    let large: Vec<u8> = [0x7bffu16, 0x7bff].iter().flat_map(|v| v.to_le_bytes()).collect();
    pair.write(0, 1 << 19, &one);
    for row in [None, Some(5), Some(3), None] {
        pair.write(0, 0, &one);
        if let Some(row) = row {
            pair.write(0, 2 * row, &large);
        }
        let reply =
            pair.ask(&format!("step, row {row:?}"), Kind::Step, &[1 << 16, 0.125f32.to_bits(), DEADLINE, 0]).words();
        let want = if row.is_some() { step::Outcome::SkippedGradient } else { step::Outcome::Updated };
        assert_eq!(reply[step::OUTCOME], want as u32);
        if let Some(row) = row {
            assert_eq!(reply[step::FLAG_ADDR], 100 + 6 * row);
        }
    }
    assert_eq!(pair.ask("count", Kind::Read, &[1, 0, 1 | 1 << 16, 1]).words(), [2]);
    pair.ask("scaler", Kind::ScalerGet, &[0]);
    pair.compare("steps");
}

/// Of many values that are not finite, both name the one that the engine writes first, whatever the tiling.
#[test]
fn the_first_of_many_offenders() {
    let mut pair = Pair::new(SHARED);
    let mut rng = Rng(77);
    pair.same("scaler", &[fixed_scale(0, 0)]);
    for round in 0..40 {
        let (m, n) = (rng.range(1, 20) as u16, rng.range(1, 24) as u16);
        let (m_block, n_group) = (rng.range(1, 7) as u16, rng.range(1, 4) as u16);
        let single = rng.one_in(2);
        let to = at(round % 2, 600, 25);
        let gemm = Instr::Gemm(Gemm {
            sync: Sync { flag: Some(2), ..Sync::default() },
            m,
            k: 1,
            n,
            m_block,
            n_group,
            acc_base: 0,
            x: at(0, 0, 1),
            w: at(1, 0, 1),
            init: Init::Zero,
            out: if single { Output::Single(to) } else { Output::Half(to) },
            relu: false,
            mask: Mask::None,
        });
        let words = assemble(&[gemm, Instr::Control(Control::End)]);
        pair.write(2, 0, &bytes(&words));
        pair.ask("segments", Kind::Segments, &[2, 0, words.len() as u32, 0, words.len() as u32]);
        let values = |rng: &mut Rng| -> Vec<u8> {
            (0..24).flat_map(|_| if rng.one_in(4) { 0x7c00u16 } else { 0x3c00 }.to_le_bytes()).collect()
        };
        pair.write(0, 0, &values(&mut rng));
        pair.write(0, 1 << 19, &values(&mut rng));
        pair.ask(&format!("{gemm:?}"), Kind::Step, &[0, 1f32.to_bits(), DEADLINE, 0]);
    }
}

/// Traps name the same cause and place on both, and both live on.
#[test]
fn traps_agree() {
    let mut pair = Pair::new(SHARED);
    let nop = Instr::Control(Control::Nop);
    let end = Instr::Control(Control::End);
    let deep: Vec<Instr> = (0..5).map(|_| Instr::Control(Control::Loop(1))).collect();
    let reading = |o, inner| {
        let x = Source::Smem(View::new(Base::at(Addr::new(1, o)), inner, 0), Default::default());
        elementwise(VectorOp::Mad, x, Source::ONE, Source::NEG_ZERO, Dest::Smem(at(0, 8, 1)), 1, 2)
    };
    let writing =
        |o| elementwise(VectorOp::Mad, Source::ONE, Source::ONE, Source::NEG_ZERO, Dest::Smem(at(1, o, 1)), 1, 2);
    // one access, the segment's last: its trap comes when the engine has counted it
    let product = |out, mask| {
        let (view, sync) = (at(0, 0, 1), Sync::default());
        let (m, k, n, m_block, n_group, acc_base) = (1, 3, 3, 1, 1, 0);
        let (x, w, init, relu) = (view, view, Init::Zero, false);
        Instr::Gemm(Gemm { sync, m, k, n, m_block, n_group, acc_base, x, w, init, out, relu, mask })
    };
    let beyond = at(0, SHARED.hmem_plane() - 2, 1);
    let bits = Base::at(Addr(SHARED.mask_bits - 2));
    let cases: Vec<Vec<u32>> = vec![
        assemble(&[product(Output::Half(beyond), Mask::None), end]),
        assemble(&[product(Output::Single(beyond), Mask::None), end]),
        assemble(&[product(Output::Half(at(0, 0, 1)), Mask::Write(bits)), end]),
        assemble(&[product(Output::Half(at(0, 0, 1)), Mask::Apply(bits)), end]),
        vec![0, 0, 0x3f, 0],
        assemble(&[nop, Instr::Control(Control::EndLoop)]),
        assemble(&[nop, Instr::Control(Control::Ret)]),
        assemble(&deep),
        assemble(&[Instr::Control(Control::Call(5000))]),
        assemble(&[nop, reading(SHARED.smem_plane() - 1, 1), end]),
        assemble(&[nop, nop, reading(0, 3), end]),
        assemble(&[nop, writing(SHARED.smem_plane() - 1), end]),
        assemble(&[reading(0, 1), reading(4, 1), reading(SHARED.smem_plane() - 1, 1), reading(8, 1), end]),
        assemble(&[reading(0, 1), reading(4, 1), writing(SHARED.smem_plane() - 1), reading(8, 1), end]),
    ];
    for words in cases {
        pair.write(2, 0, &bytes(&words));
        pair.ask("segments", Kind::Segments, &[1, 0, words.len() as u32]);
        let reply = pair.ask(&listing(&words), Kind::Run, &[0, DEADLINE, 0]).words();
        assert_eq!(reply[0], ErrorCode::Trap as u32, "{}", listing(&words));
        let words = assemble(&[reading(0, 1), end]);
        pair.write(2, 0, &bytes(&words));
        pair.ask("segments", Kind::Segments, &[1, 0, words.len() as u32]);
        pair.ask("after a trap", Kind::Run, &[0, DEADLINE, 0]);
    }
    pair.compare("traps");
}

/// Requests that are wrong are refused in the same words, several at once.
#[test]
fn refusals_agree() {
    let mut pair = Pair::new(SHARED);
    let r = |kind, words: &[u32]| Request::new(kind, words, &[]);
    let beyond = SHARED.hmem_plane() - 1;
    pair.same(
        "refusals",
        &[
            r(Kind::Fill, &[0, beyond, 2 | 1 << 16, 2, 0]),
            r(Kind::Fill, &[3, 0, 1 | 1 << 16, 1, 0]),
            r(Kind::Run, &[9, 0, 0]),
            r(Kind::ScalerGet, &[7]),
            r(Kind::Run, &[0, 0]),
            r(Kind::Status, &[]),
        ],
    );
}
