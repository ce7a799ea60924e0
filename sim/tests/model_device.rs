//! The model as a device: programs through the fetcher, and everything through the framed byte protocol.

mod model_client;

use model_client::Client;
use systole_isa::frame::{ErrorCode, Kind, NakReason, REPLY, format, run, scaler, step};
use systole_isa::instr::{Control, Gemm, Init, Instr, Mask, Output, Sync, Vector, VectorOp};
use systole_isa::machine::Machine;
use systole_isa::operand::{Addr, Base, Dest, Modifiers, Source, View};
use systole_isa::regs::Trap;
use systole_isa::{flag, sreg};
use systole_sim::{Cell, Inspect, Port};

const DEADLINE: u32 = 1_000_000;

fn assemble(program: &[Instr]) -> Vec<u32> {
    program.iter().flat_map(|i| i.encode().to_vec()).collect()
}

fn control(c: Control) -> Instr {
    Instr::Control(c)
}

/// `smem[a1 + at] += 1` for one element.
fn increment(at: u32) -> Instr {
    let v = View::new(Base::indexed(Addr(at), 1), 1, 0);
    Instr::Vector(Vector {
        sync: Sync::default(),
        op: VectorOp::IntAdd,
        rows: 1,
        cols: 1,
        x: Source::Smem(v, Modifiers::default()),
        y: Source::Imm(1),
        z: Source::Imm(0),
        d: Dest::Smem(v),
        copy: None,
        recurrent: false,
    })
}

/// `sreg[to] = value`, with a flag.
fn set(to: u8, value: f32, flag: Option<u8>) -> Instr {
    Instr::Vector(Vector {
        sync: Sync { flag, ..Sync::default() },
        op: VectorOp::Mad,
        rows: 1,
        cols: 1,
        x: Source::f32(value),
        y: Source::ONE,
        z: Source::NEG_ZERO,
        d: Dest::Sreg(to),
        copy: None,
        recurrent: false,
    })
}

/// Uploads a program as segment 0 and runs it.
fn run_program(client: &mut Client, words: &[u32]) -> Result<Vec<u32>, [u32; 3]> {
    client.write_words(2, 0, words);
    client.ok(Kind::Segments, &[1, 0, words.len() as u32]);
    client.request(Kind::Run, &[0, DEADLINE, 0])
}

#[test]
fn loops_calls_and_address_registers() {
    let mut c = Client::new(Machine::DEFAULT);
    let mut program = vec![
        control(Control::ASet(1, 100)),
        control(Control::Loop(3)),
        control(Control::Loop(5)),
        control(Control::Call(0)),
        control(Control::EndLoop),
        control(Control::AAdd(1, 10)),
        control(Control::EndLoop),
        control(Control::AAdd(1, -29)),
        increment(0),
        control(Control::Fence),
        control(Control::End),
    ];
    let function = assemble(&program).len() as u32;
    program[3] = control(Control::Call(function));
    program.extend([increment(1), control(Control::Nop), control(Control::Ret)]);
    run_program(&mut c, &assemble(&program)).expect("runs");
    let got = c.device.peek_single(Addr(100), 25).unwrap();
    let mut want = vec![0; 25];
    (want[1], want[11], want[21]) = (6, 5, 5);
    // a1 ended at 101: the last increment fell onto the first counter.
    assert_eq!(got, want);
    assert_eq!(c.device.peek(Cell::Areg(1)), Ok(101));
}

#[test]
fn traps_name_cause_and_place_and_the_device_lives_on() {
    let mut c = Client::new(Machine::DEFAULT);
    let nop = control(Control::Nop);
    let deep: Vec<Instr> = (0..5).map(|_| control(Control::Loop(1))).collect();
    let range = [nop, control(Control::ASet(1, Machine::DEFAULT.smem_plane())), increment(0)];
    let beyond = Machine::DEFAULT.pmem_words + 100;
    let cases: [(Vec<u32>, Trap, u32); 7] = [
        (vec![0, 0, 0x3f, 0], Trap::Opcode, 2),
        (assemble(&[control(Control::EndLoop)]), Trap::Stack, 0),
        (assemble(&[nop, control(Control::Ret)]), Trap::Stack, 2),
        (assemble(&deep), Trap::Stack, 8),
        (assemble(&[control(Control::Call(beyond))]), Trap::ProgramCounter, beyond),
        (vec![2, 0], Trap::Size, 0),
        (assemble(&range), Trap::Range, 4),
    ];
    for (words, trap, pc) in cases {
        let error = run_program(&mut c, &words).expect_err("traps");
        assert_eq!(error[0], ErrorCode::Trap as u32);
        assert_eq!((error[1] & 0xff, error[1] >> 16), (trap as u32, pc), "{trap:?}");
    }
    run_program(&mut c, &assemble(&[set(8, 4.0, None), control(Control::End)])).expect("runs again");
    assert_eq!(c.device.peek(Cell::Sreg(8)), Ok(4f32.to_bits()));
}

#[test]
fn an_endless_program_meets_its_deadline() {
    let mut c = Client::new(Machine::DEFAULT);
    let words = assemble(&[control(Control::Loop(u32::MAX)), control(Control::Nop), control(Control::EndLoop)]);
    let error = run_program(&mut c, &words).expect_err("too long");
    assert_eq!(error[0], ErrorCode::Deadline as u32);
    run_program(&mut c, &assemble(&[control(Control::End)])).expect("lives");
}

#[test]
fn memories_round_trip_and_bytes_become_halves() {
    let mut c = Client::new(Machine::DEFAULT);
    // Two rows of three FP16 elements, pitch 8, in plane 1.
    let at = Addr::new(1, 40).0;
    let data: Vec<u8> = (1..=12).collect();
    c.ok_with(Kind::Write, &[0, at, 3 | 2 << 16, 8], &data);
    assert_eq!(c.device.peek_half(Addr(at + 8), 3).unwrap(), [0x0807, 0x0a09, 0x0c0b]);
    assert_eq!(c.read(&[0, at, 3 | 2 << 16, 8]), data);
    // Bytes times 2^-8 and 2^7.
    c.ok_with(Kind::Write, &[1 << 8 | 0xf8 << 16, at, 4 | 1 << 16, 4], &[0, 1, 128, 255]);
    assert_eq!(c.device.peek_half(Addr(at), 4).unwrap(), [0, 0x1c00, 0x3800, 0x3bf8]);
    c.ok(Kind::Fill, &[1, 7, 5 | 2 << 16, 6, 0xdead_beef]);
    let got = c.device.peek_single(Addr(7), 12).unwrap();
    assert!(got.iter().enumerate().all(|(i, &v)| (v == 0xdead_beef) == (i != 5 && i != 11)), "{got:x?}");
    // Large blocks go around the rings many times.
    let words: Vec<u32> = (0..200).map(|i| i * 0x0101_0101).collect();
    for round in 0..40 {
        c.write_words(1, 1000 + 200 * round, &words);
        let bytes = c.read(&[1, 1000 + 200 * round, 200 | 1 << 16, 200]);
        assert!(bytes.chunks(4).zip(&words).all(|(b, w)| b == w.to_le_bytes()));
    }
    let error = c.request(Kind::Fill, &[0, Machine::DEFAULT.hmem_plane() - 1, 2 | 1 << 16, 2, 0]).expect_err("beyond");
    assert_eq!(error[0], ErrorCode::OutOfRange as u32);
}

/// The two blocks of a write in one frame: three FP16 elements at `half`, five bytes at `byte`.
fn two_blocks(half: u32, byte: u32) -> [Vec<u8>; 2] {
    let words = |w: [u32; 4]| w.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    [words([format::ANOTHER, half, 3 | 1 << 16, 3]), words([1 << 8, byte, 5 | 1 << 16, 5])]
}

#[test]
fn a_write_of_two_blocks_is_whole_or_nothing() {
    let mut c = Client::new(Machine::DEFAULT);
    let body = |half: u32, byte: u32, salt: u8| {
        let [first, second] = two_blocks(half, byte);
        let halves: Vec<u8> = (1..=6).map(|i| i + salt).chain([0, 0]).collect();
        [first, halves, second, (0..5).map(|i| i + salt).collect()].concat()
    };
    // to two places in turn, as batches go, and to others in between
    for (round, place) in [0u32, 300, 0, 300, 77, 0, 300, 300, 0].into_iter().enumerate() {
        let salt = 7 * round as u8;
        c.send(Kind::Write, &body(place, Addr::new(1, place).0, salt)).expect("written");
        let pair = |i: u8| u32::from(u16::from_le_bytes([i + salt, i + 1 + salt]));
        assert_eq!(c.device.peek_half(Addr(place), 3).unwrap(), [1, 3, 5].map(|i| pair(i) as u16));
        let bytes: Vec<u16> = (0..5).map(|i| half::f16::from_f32(f32::from(i + salt)).to_bits()).collect();
        assert_eq!(c.device.peek_half(Addr::new(1, place), 5).unwrap(), bytes);
    }
    c.ok(Kind::Fill, &[0, 0, 16 | 1 << 16, 16, 0xffff]);
    let beyond = Machine::DEFAULT.hmem_plane() - 4;
    let mut third = body(0, 400, 0);
    third[27] |= 1;
    let mut short = body(0, 400, 0);
    short.pop();
    for (bad, code) in [
        (body(0, beyond, 0), ErrorCode::OutOfRange),
        (body(beyond + 2, 0, 0), ErrorCode::OutOfRange),
        (third, ErrorCode::BadSpace),
        (short, ErrorCode::BadLength),
    ] {
        assert_eq!(c.send(Kind::Write, &bad).expect_err("refused")[0], code as u32);
        assert_eq!(c.device.peek_half(Addr(0), 16).unwrap(), [0xffff; 16]);
    }
}

/// Compute: one product with a flag, loss to its register. Update: smem[0] += 1.
fn training(c: &mut Client) {
    let gemm = Instr::Gemm(Gemm {
        sync: Sync { flag: Some(flag::WEIGHT_GRADIENT as u8), ..Sync::default() },
        m: 1,
        k: 2,
        n: 1,
        m_block: 1,
        n_group: 1,
        acc_base: 0,
        x: View::new(Base::at(Addr::new(0, 0)), 1, 2),
        w: View::new(Base::at(Addr::new(1, 0)), 1, 1),
        init: Init::Zero,
        out: Output::Half(View::new(Base::at(Addr::new(0, 50)), 1, 1)),
        relu: false,
        mask: Mask::None,
    });
    let compute = assemble(&[gemm, set(sreg::LOSS as u8, 0.5, None), control(Control::End)]);
    let update = assemble(&[increment(0), control(Control::End)]);
    let at = compute.len() as u32;
    c.write_words(2, 0, &compute);
    c.write_words(2, at, &update);
    c.ok(Kind::Segments, &[2, 0, at, at, update.len() as u32]);
    let mut state = [0; scaler::WORDS];
    state[scaler::MODE] = scaler::Mode::Dynamic as u32;
    state[scaler::EXPONENT] = 10;
    (state[scaler::GROWTH], state[scaler::BACKOFF], state[scaler::INTERVAL]) = (1, 1, 2000);
    (state[scaler::CAP], state[scaler::HYSTERESIS], state[scaler::HYSTERESIS_LEFT]) = (24, 1, 1);
    let request: Vec<u32> = std::iter::once(0).chain(state).collect();
    c.ok(Kind::ScalerSet, &request);
}

#[test]
fn a_step_updates_or_skips_and_backs_off() {
    let mut c = Client::new(Machine::DEFAULT);
    training(&mut c);
    let request = [1 << 16, 0.125f32.to_bits(), DEADLINE, 0];
    c.device.poke_half(Addr::new(0, 0), &[0x4000, 0x4200]).unwrap();
    c.device.poke_half(Addr::new(1, 0), &[0x3c00, 0x3c00]).unwrap();
    let reply = c.ok(Kind::Step, &request);
    assert_eq!(reply[step::OUTCOME], step::Outcome::Updated as u32);
    assert_eq!(reply[step::LOSS], 0.5f32.to_bits());
    assert_eq!(c.device.peek(Cell::Hmem(Addr(50))), Ok(0x4500));
    assert_eq!(c.device.peek(Cell::Smem(Addr(0))), Ok(1));
    assert_eq!(c.device.peek(Cell::Sreg(sreg::LOSS_SEED as u8)), Ok(128f32.to_bits()));
    // 65504 + 65504 is no FP16 number.
    c.device.poke_half(Addr::new(0, 0), &[0x7bff, 0x7bff]).unwrap();
    let reply = c.ok(Kind::Step, &request);
    assert_eq!(reply[step::OUTCOME], step::Outcome::SkippedGradient as u32);
    assert_eq!((reply[step::EXPONENT_USED], reply[step::EXPONENT_NEXT]), (10, 9));
    assert_eq!((reply[step::FLAG_PC], reply[step::FLAG_ADDR]), (0, 50));
    assert_eq!(c.device.peek(Cell::Smem(Addr(0))), Ok(1), "the update was skipped");
}

#[test]
fn an_early_reply_leaves_the_update_running() {
    let mut c = Client::new(Machine::DEFAULT);
    training(&mut c);
    c.device.poke_half(Addr::new(0, 0), &[0x4000, 0x4200]).unwrap();
    c.device.poke_half(Addr::new(1, 0), &[0x3c00, 0x3c00]).unwrap();
    // steps follow each other without a wait of the host's, and each update has run by the time that anything else is answered
    let request = [1 << 16 | step::EARLY, 0.125f32.to_bits(), DEADLINE, 0];
    for _ in 0..5 {
        let reply = c.ok(Kind::Step, &request);
        assert_eq!(reply[step::OUTCOME], step::Outcome::Updated as u32);
        assert_eq!(reply[step::LOSS], 0.5f32.to_bits());
    }
    assert_eq!(c.read(&[1, 0, 1 | 1 << 16, 1]), 5u32.to_le_bytes());
    // an overflow is known by then, too
    c.device.poke_half(Addr::new(0, 0), &[0x7bff, 0x7bff]).unwrap();
    let reply = c.ok(Kind::Step, &request);
    assert_eq!(reply[step::OUTCOME], step::Outcome::SkippedGradient as u32);
    assert_eq!(c.read(&[1, 0, 1 | 1 << 16, 1]), 5u32.to_le_bytes());
}

#[test]
fn a_step_asked_for_while_one_runs_follows_it() {
    let mut c = Client::new(Machine::DEFAULT);
    training(&mut c);
    c.device.poke_half(Addr::new(0, 0), &[0x4000, 0x4200]).unwrap();
    c.device.poke_half(Addr::new(1, 0), &[0x3c00, 0x3c00]).unwrap();
    for early in [0, step::EARLY] {
        let request = [1 << 16 | early, 0.125f32.to_bits(), DEADLINE, 0];
        // the reads wait for both updates
        let read = [1, 0, 1 | 1 << 16, 1];
        let done = c.together(&[(Kind::Step, &request), (Kind::Step, &request), (Kind::Read, &read)]);
        let steps = done[..2].iter().map(|r| r.as_ref().expect("a step")[step::OUTCOME]).collect::<Vec<_>>();
        assert_eq!(steps, [step::Outcome::Updated as u32; 2]);
        c.write_words(1, 0, &[0]);
        assert_eq!(done[2], Ok(vec![2]));
    }
    // 65504 + 65504 is no FP16 number: the second step must use the scale that the first leaves
    c.device.poke_half(Addr::new(0, 0), &[0x7bff, 0x7bff]).unwrap();
    let request = [1 << 16 | step::EARLY, 0.125f32.to_bits(), DEADLINE, 0];
    let done = c.together(&[(Kind::Step, &request), (Kind::Step, &request)]);
    let used = done.iter().map(|r| r.as_ref().expect("a step")[step::EXPONENT_USED]).collect::<Vec<_>>();
    assert_eq!(used, [10, 9]);
    assert_eq!(c.device.peek(Cell::Sreg(sreg::LOSS_SEED as u8)), Ok(64f32.to_bits()));
    assert_eq!(c.read(&[1, 0, 1 | 1 << 16, 1]), [0; 4], "both updates were skipped");
}

#[test]
fn a_step_behind_one_that_fails_does_not_run() {
    let mut c = Client::new(Machine::DEFAULT);
    let request = [1 << 16 | step::EARLY, 0.125f32.to_bits(), DEADLINE, 0];
    // the forward pass is not finite
    training(&mut c);
    let while_the_next_comes = [control(Control::Loop(100_000)), control(Control::Nop), control(Control::EndLoop)];
    let fails = [set(sreg::LOSS as u8, f32::INFINITY, Some(flag::FORWARD as u8)), control(Control::End)];
    let program = [assemble(&while_the_next_comes), assemble(&fails)].concat();
    c.write_words(2, 200, &program);
    c.ok(Kind::Segments, &[2, 200, program.len() as u32, 26, 26]);
    let chained = [request[0] | step::CHAINED, request[1], request[2], 0];
    let done = c.together(&[(Kind::Step, &request), (Kind::Step, &chained), (Kind::Step, &chained)]);
    assert_eq!(done[0].as_ref().expect("a step")[step::OUTCOME], step::Outcome::SkippedForward as u32);
    for refused in &done[1..] {
        assert_eq!(refused.as_ref().expect_err("refused")[0], ErrorCode::NotReady as u32);
    }
    // even when everything else has been answered; one that is asked for anew runs
    assert_eq!(c.request(Kind::Step, &chained).expect_err("refused")[0], ErrorCode::NotReady as u32);
    assert_eq!(c.ok(Kind::Step, &request)[step::OUTCOME], step::Outcome::SkippedForward as u32);
    // it never ends
    let endless = assemble(&[control(Control::Loop(u32::MAX)), control(Control::Nop), control(Control::EndLoop)]);
    c.write_words(2, 200, &endless);
    c.ok(Kind::Segments, &[2, 200, endless.len() as u32, 26, 26]);
    let done = c.together(&[(Kind::Step, &request), (Kind::Step, &request)]);
    for failed in done {
        assert_eq!(failed.expect_err("nothing ends")[0], ErrorCode::Deadline as u32);
    }
    c.ok(Kind::ScalerGet, &[0]);
}

#[test]
fn an_update_that_fails_behind_its_reply_is_told_with_the_next_request() {
    let mut c = Client::new(Machine::DEFAULT);
    training(&mut c);
    let endless = assemble(&[control(Control::Loop(u32::MAX)), control(Control::Nop), control(Control::EndLoop)]);
    c.write_words(2, 200, &endless);
    c.ok(Kind::Segments, &[2, 0, 26, 200, endless.len() as u32]);
    for next in [Kind::Step, Kind::ScalerGet] {
        let request = [1 << 16 | step::EARLY, 0.125f32.to_bits(), DEADLINE, 0];
        assert_eq!(c.ok(Kind::Step, &request)[step::OUTCOME], step::Outcome::Updated as u32);
        let words: &[u32] = if next == Kind::Step { &request } else { &[0] };
        assert_eq!(c.request(next, words).expect_err("the update never ends")[0], ErrorCode::Deadline as u32);
        c.ok(Kind::ScalerGet, &[0]);
    }
}

#[test]
fn damaged_frames_are_dropped_and_asked_for_again() {
    let mut c = Client::new(Machine::DEFAULT);
    let good = c.frame(Kind::Fill, &[1, 0, 1 | 1 << 16, 1, 77], &[]);
    for i in 0..good.len() - 1 {
        let mut bad = good.clone();
        bad[i] ^= 0x10;
        c.device.send(&bad).unwrap();
        // The delimiter inside, or behind, leaves the line in step.
        c.device.send(&[0]).unwrap();
        let notices = c.collect();
        assert!(notices.iter().all(|n| n[0] == Kind::Nak as u8), "{notices:?}");
        assert_eq!(c.device.peek(Cell::Smem(Addr(0))), Ok(0), "byte {i}");
        if i == 0 {
            let nak = &notices[0];
            assert_eq!((nak[1], nak[2]), (c.next, NakReason::Damaged as u8));
        }
    }
    c.device.send(&good).unwrap();
    let replies = c.collect();
    assert_eq!(replies[0][..2], [Kind::Fill as u8 | REPLY, c.next]);
    assert_eq!(c.device.peek(Cell::Smem(Addr(0))), Ok(77));
    // Junk without end is one damaged frame, and costs no memory.
    c.device.send(&[0x55; 100_000]).unwrap();
    c.device.send(&[0]).unwrap();
    assert!(c.device.hardware().link.errors() & 0xffff >= good.len() as u32);
}

#[test]
fn bytes_may_arrive_in_any_pieces() {
    let mut c = Client::new(Machine::with_lanes(4));
    let frame = c.frame(Kind::Fill, &[1, 0, 1 | 1 << 16, 1, 5], &[]);
    for b in frame {
        c.device.send(&[b]).unwrap();
    }
    assert_eq!(c.collect().len(), 1);
    assert_eq!(c.device.peek(Cell::Smem(Addr(0))), Ok(5));
}

#[test]
fn run_reports_scalar_registers_and_flags() {
    let mut c = Client::new(Machine::DEFAULT);
    let program = [set(9, 3.0, Some(0)), set(10, f32::INFINITY, Some(3)), control(Control::End)];
    let reply = run_program(&mut c, &assemble(&program)).expect("runs");
    assert_eq!(reply[run::FLAGS], 1 << 3);
    assert_eq!(reply[run::SREGS + 1..run::SREGS + 3], [3f32.to_bits(), f32::INFINITY.to_bits()]);
}
