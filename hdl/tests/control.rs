//! Control, Verilated: random programs against an interpreter, traps, abort, queue, registers, cycles.

mod control_bench;
mod control_common;

use control_bench::{Bench, Issued, control, engine};
use control_common::Rng;
use systole_isa::instr::op;
use systole_isa::machine::Machine;
use systole_isa::regs::{self, Counter, Trap};

const MACHINE: Machine = Machine { pmem_words: 3000, ..Machine::DEFAULT };

/// What a program does, read off its words: no pipeline, no cycles.
struct Interpreter<'a> {
    memory: &'a [u32],
    aregs: [u32; 16],
    issued: [u32; 2],
    out: Vec<Issued>,
    flags: u32,
}

impl Interpreter<'_> {
    fn segment(&mut self, mut pc: usize) {
        let (mut loops, mut calls): (Vec<(usize, u32)>, Vec<usize>) = (vec![], vec![]);
        loop {
            let (w0, w1) = (self.memory[pc], self.memory[pc + 1]);
            let register = (w0 >> 8 & 15) as usize;
            let next = pc + 2;
            match w0 & 0xff {
                op::NOP | op::FENCE => pc = next,
                op::END => return,
                op::LOOP => {
                    loops.push((next, w1));
                    pc = next;
                }
                op::END_LOOP => {
                    let (start, left) = loops.pop().unwrap();
                    pc = next;
                    if left > 1 {
                        loops.push((start, left - 1));
                        pc = start;
                    }
                }
                op::CALL => {
                    calls.push(next);
                    pc = w1 as usize;
                }
                op::RET => pc = calls.pop().unwrap(),
                op::ASET => {
                    self.aregs[register] = w1 & 0xf_ffff;
                    pc = next;
                }
                op::AADD => {
                    self.aregs[register] = (self.aregs[register] + (w1 & 0xf_ffff)) & 0xf_ffff;
                    pc = next;
                }
                _ => {
                    self.engine(pc);
                    pc += 12;
                }
            }
            self.aregs[0] = 0;
        }
    }

    fn engine(&mut self, pc: usize) {
        let mut words = self.memory[pc..pc + 12].to_vec();
        let w0 = words[0];
        let vector = w0 & 0x80 != 0;
        let addresses: Vec<usize> = if vector {
            let memory = |shift: u32| (w0 >> shift & 3) < 2;
            let kinds = [(2, memory(19)), (4, memory(21)), (6, memory(23)), (8, memory(25)), (10, w0 >> 27 & 1 == 1)];
            kinds.iter().filter(|k| k.1).map(|k| k.0).collect()
        } else {
            vec![3, 5, 7, 9, 10]
        };
        for a in addresses {
            let base = self.aregs[(words[a] >> 20 & 15) as usize];
            words[a] = words[a] & 0xff00_0000 | (words[a] + base) & 0xf_ffff;
        }
        // Distance 1 is the last one issued: as many must be complete as were issued.
        let wait = |distance: u32, issued: u32| (distance > 0).then(|| (issued + 1).wrapping_sub(distance) as u8);
        let wait = [wait(w0 >> 8 & 15, self.issued[0]), wait(w0 >> 12 & 15, self.issued[1])];
        let i = Issued { vector, words, pc: pc as u32, wait };
        self.issued[vector as usize] += 1;
        self.flags |= i.raises().map_or(0, |f| 1 << f);
        self.out.push(i);
    }
}

/// A piece of program, with the loops and calls that it nests.
#[derive(Default)]
struct Piece {
    words: Vec<u32>,
    loops: u32,
    calls: u32,
}

struct Function {
    at: u32,
    loops: u32,
    calls: u32,
}

fn piece(rng: &mut Rng, functions: &[Function], budget: u32, room: u32) -> Piece {
    let mut p = Piece::default();
    for _ in 0..1 + rng.below(budget) {
        match rng.below(10) {
            0 if room > 0 => {
                let inner = piece(rng, functions, 3, room - 1);
                p.words.extend(control(op::LOOP, 0, 1 + rng.below(3)));
                p.words.extend(&inner.words);
                p.words.extend(control(op::END_LOOP, 0, rng.word()));
                p.loops = p.loops.max(inner.loops + 1);
                p.calls = p.calls.max(inner.calls);
            }
            1 | 2 => {
                let usable: Vec<_> = functions.iter().filter(|f| f.loops <= room && f.calls < 4).collect();
                if !usable.is_empty() {
                    let f = usable[rng.below(usable.len() as u32) as usize];
                    p.words.extend(control(op::CALL, 0, f.at));
                    p.loops = p.loops.max(f.loops);
                    p.calls = p.calls.max(f.calls + 1);
                }
            }
            3 => p.words.extend(control(op::ASET, rng.below(16), rng.word())),
            4 | 5 => p.words.extend(control(op::AADD, rng.below(16), rng.word())),
            6 if rng.chance(30) => p.words.extend(control(op::FENCE, 0, rng.word())),
            6 => p.words.extend(control(op::NOP, 0, rng.word())),
            _ => p.words.extend(engine(rng)),
        }
    }
    p
}

#[test]
fn random_programs_issue_what_the_interpreter_says() {
    let mut b = Bench::new(&MACHINE, 0x5e60);
    let mut rng = Rng::new(0x5e61);
    let (mut ended, mut skipped, mut total) = (0u32, 0u32, 0);
    let mut aregs = [0; 16];
    let mut issued = [0; 2];
    for round in 0..400 {
        (b.eagerness, b.longest, b.mover) = [(100, 1, 0), (100, 40, 30), (50, 8, 100), (90, 200, 5)][round % 4];
        let (mut words, mut functions, mut segments) = (vec![], vec![], vec![]);
        let origin = rng.below(800);
        for _ in 0..rng.below(5) {
            let p = piece(&mut rng, &functions, 3, 2);
            functions.push(Function { at: origin + words.len() as u32, loops: p.loops, calls: p.calls });
            words.extend(p.words);
            words.extend(control(op::RET, 0, rng.word()));
        }
        for _ in 0..2 {
            segments.push(origin + words.len() as u32);
            words.extend(piece(&mut rng, &functions, 10, 4).words);
            words.extend(control(op::END, 0, rng.word()));
        }
        b.program(origin, &words);
        let memory = b.memory.clone();
        let mut expected = Interpreter { memory: &memory, aregs, issued, out: vec![], flags: 0 };
        b.log.clear();
        b.raised.clear();
        b.write(regs::FLAGS, 15);
        for _ in 0..1 + rng.below(4) {
            let at = segments[rng.below(2) as usize];
            let mask = if rng.chance(50) { rng.below(16) } else { 0 };
            b.push(at, mask | 0xabc0);
            ended += 1;
            if expected.flags & mask == 0 {
                expected.segment(at as usize);
            } else {
                skipped += 1;
            }
        }
        let status = b.finish();
        assert_eq!(status, ended & 0xff | (skipped & 0xff) << 8, "round {round}");
        // Between the engines the order of hand-over is that of the program, too.
        assert_eq!(b.log.len(), expected.out.len(), "round {round}");
        for (i, (got, want)) in b.log.iter().zip(&expected.out).enumerate() {
            assert_eq!(got, want, "round {round}, instruction {i}");
        }
        assert_eq!(b.read(regs::FLAGS), expected.flags);
        for f in 0..4 {
            if let Some((_, pc)) = b.raised.iter().find(|r| r.0 == f).copied() {
                assert_eq!(b.read(regs::FLAG_PC + 8 * f), pc);
                let vector = memory[pc as usize] & 0x80 != 0;
                assert_eq!(b.read(regs::FLAG_ADDR + 8 * f), pc * 3 | (vector as u32) << 31);
            }
        }
        for r in 0..16 {
            assert_eq!(b.read(regs::AREG + 4 * r), expected.aregs[r as usize], "areg {r}");
        }
        if let Some(last) = b.log.iter().rev().find(|i| !i.vector).map(|_| b.last_gemm) {
            assert_eq!(b.read(regs::COUNTER + 4 * Counter::LastGemm as u32) as u64, last);
        }
        total += expected.out.len();
        (aregs, issued) = (expected.aregs, expected.issued);
    }
    println!(
        "{total} instructions, {ended} segments, {skipped} skipped, {} mover reads, {} cycles",
        b.mover_reads, b.cycle
    );
    assert!(total > 500 && skipped > 10 && b.mover_reads > 1000);
}

#[test]
fn cycles_per_instruction() {
    let mut b = Bench::new(&MACHINE, 1);
    let mut rng = Rng::new(2);
    let segment = |b: &mut Bench, words: &[u32]| {
        let words = [words, &control(op::END, 0, 0)].concat();
        b.program(0, &words);
        b.push(0, 0);
        b.finish();
        b.read(regs::COUNTER + 4 * Counter::LastSegment as u32)
    };
    let empty = segment(&mut b, &[]);
    let mut w = engine(&mut rng);
    w[0] = op::GEMM;
    let one = segment(&mut b, &w);
    let two = segment(&mut b, &[w, w].concat());
    let nops = segment(&mut b, &[0; 20]);
    let looped = segment(&mut b, &[control(op::LOOP, 0, 10), control(op::END_LOOP, 0, 0)].concat());
    let call = segment(&mut b, &[control(op::CALL, 0, 4), control(op::END, 0, 0), control(op::RET, 0, 0)].concat());
    println!("empty {empty}, one {one}, two {two}, ten nops {nops}, loop of 10 {looped}, call {call}");
    // word 0, word 1, then three in which the engines' last write may still trap, and the end itself
    assert_eq!(empty, 6);
    assert_eq!(two - one, 12);
    assert_eq!(nops - empty, 20);
    assert_eq!(looped - empty, 22);
    assert_eq!(call - empty, 4);
}

#[test]
fn traps_stop_until_abort() {
    let mut b = Bench::new(&MACHINE, 3);
    let last = MACHINE.pmem_words;
    let nop = control(op::NOP, 0, 0);
    let call = |at| control(op::CALL, 0, at);
    let opening = control(op::LOOP, 0, 2);
    let cases: Vec<(u32, Vec<u32>, u32, Trap, u32, u32)> = vec![
        (10, [nop, [0x09, 0]].concat(), 10, Trap::Opcode, 0x09, 12),
        (10, vec![0x41, 0], 10, Trap::Opcode, 0x41, 10),
        (10, vec![0x123_458f, 0], 10, Trap::Opcode, 0x123_458f, 10),
        (10, vec![0x90, 0], 10, Trap::Opcode, 0x90, 10),
        (10, vec![0xff, 0], 10, Trap::Opcode, 0xff, 10),
        (10, control(op::LOOP, 0, 0).to_vec(), 10, Trap::Size, 0, 10),
        (10, [opening; 5].concat(), 10, Trap::Stack, 2, 18),
        (10, control(op::END_LOOP, 0, 7).to_vec(), 10, Trap::Stack, 7, 10),
        (10, control(op::RET, 0, 8).to_vec(), 10, Trap::Stack, 8, 10),
        (10, [call(12), call(14), call(16), call(18), call(20)].concat(), 10, Trap::Stack, 20, 18),
        (10, call(last).to_vec(), 10, Trap::ProgramCounter, last, last),
        (10, call(0x2_0005).to_vec(), 10, Trap::ProgramCounter, 0x1_0005, 5),
        (10, vec![], last + 9, Trap::ProgramCounter, last + 9, last + 9),
        (last - 2, nop.to_vec(), last - 2, Trap::ProgramCounter, last, last),
        (last - 1, vec![0], last - 1, Trap::ProgramCounter, last, last - 1),
        (last - 3, vec![op::GEMM, 0, 0], last - 3, Trap::ProgramCounter, last, last - 3),
    ];
    let end = control(op::END, 0, 0);
    for (i, (at, words, start, trap, info, pc)) in cases.into_iter().enumerate() {
        b.program(at, &words);
        b.program(100, &end);
        let before = b.read(regs::SEG_STATUS) & 0xff;
        b.push(start, 0);
        b.push(100, 0);
        let status = b.finish();
        assert_eq!(status >> 16 & 7, 5, "case {i}: {status:#x}");
        assert_eq!(b.read(regs::TRAP), trap as u32 | pc << 16, "case {i}");
        assert_eq!(b.read(regs::TRAP_INFO), info, "case {i}");
        b.write(regs::TRAP, 0);
        b.ticks(50);
        assert_eq!(b.read(regs::TRAP), 0);
        assert_eq!(b.read(regs::SEG_STATUS), before & 0xff | 1 << 16, "stopped until the abort");
        b.abort();
        assert_eq!(b.read(regs::SEG_STATUS), before & 0xff, "the queue is empty");
        b.push(100, 0);
        assert_eq!(b.finish() & 0xff, before + 1 & 0xff);
    }
}

#[test]
fn traps_of_engines_are_latched_and_aborts_resynchronise() {
    let mut b = Bench::new(&MACHINE, 4);
    let mut rng = Rng::new(5);
    let mut words = vec![];
    words.extend(control(op::LOOP, 0, 50));
    (0..4).for_each(|_| words.extend(engine(&mut rng)));
    words.extend(control(op::END_LOOP, 0, 0));
    words.extend(control(op::END, 0, 0));
    b.program(20, &words);
    let memory = b.memory.clone();
    b.longest = 60;
    for round in 0..24u32 {
        b.push(20, 0);
        b.push(20, 0);
        b.ticks(rng.below(900));
        let with_trap = round % 2 == 1;
        if with_trap {
            b.trap(round % 4 == 1, 5, 0x8000_1234 + round, 21 + round);
            b.ticks(3);
            assert_eq!(b.read(regs::TRAP), 5 | (21 + round) << 16);
            assert_eq!(b.read(regs::TRAP_INFO), 0x8000_1234 + round);
            b.write(regs::TRAP, 0);
            assert_eq!(b.read(regs::TRAP), 0, "cleared, although the engine still says so");
        }
        b.abort();
        assert_eq!(b.read(regs::SEG_STATUS) >> 16, 0);
        // A whole run afterwards, with counts that start from the engines'.
        b.log.clear();
        b.write(regs::FLAGS, 15);
        let mut expected = Interpreter { memory: &memory, aregs: [0; 16], issued: [77; 2], out: vec![], flags: 0 };
        for r in 1..16 {
            expected.aregs[r as usize] = b.read(regs::AREG + 4 * r);
        }
        expected.segment(20);
        b.push(20, 0);
        b.finish();
        assert!(b.log == expected.out, "round {round}");
        b.abort();
    }
}

#[test]
fn a_fence_waits_for_both_engines() {
    let mut b = Bench::new(&MACHINE, 9);
    let mut rng = Rng::new(10);
    b.longest = 300;
    for round in 0..40 {
        let (mut first, mut second) = (engine(&mut rng), engine(&mut rng));
        (first[0], second[0]) = if round % 2 == 0 { (op::GEMM, op::VECTOR) } else { (op::VECTOR, op::GEMM) };
        let words = [&first[..], &control(op::FENCE, 0, 0), &second, &control(op::END, 0, 0)].concat();
        b.program(0, &words);
        b.quiet.clear();
        b.push(0, 0);
        b.finish();
        assert!(b.quiet[0] && b.quiet[12] && !b.quiet[1], "round {round}");
    }
}

#[test]
fn the_queue_holds_four() {
    let mut b = Bench::new(&MACHINE, 6);
    let mut w = engine(&mut Rng::new(7));
    w[0] = op::GEMM;
    b.program(0, &[&w[..], &control(op::END, 0, 0)].concat());
    b.longest = 3000;
    // One in hand, four queued, the others are dropped.
    for _ in 0..8 {
        b.push(0, 0);
    }
    assert_eq!(b.read(regs::SEG_STATUS) >> 16, 3);
    assert_eq!(b.finish(), 5);
    assert_eq!(b.log.len(), 5);
}

#[test]
fn registers() {
    let mut b = Bench::new(&MACHINE, 8);
    let identity = [
        (regs::MAGIC, regs::MAGIC_VALUE),
        (regs::VERSION, systole_isa::ISA_VERSION),
        (regs::LANES, 8 | 8 << 8 | 3 << 16 | 2 << 24),
        (regs::HMEM_WORDS, MACHINE.hmem_words),
        (regs::SMEM_WORDS, MACHINE.smem_words),
        (regs::PMEM_WORDS, 3000),
        (regs::ACC_ROWS, MACHINE.acc_rows),
        (regs::MASK_BITS, MACHINE.mask_bits),
        (regs::CLOCK_HZ, 12),
        (regs::DESIGN_HASH, 0xcafe_f00d),
        (regs::RING_BYTES, 8192 | 4096 << 16),
        (regs::FIRMWARE_BYTES, 65536),
    ];
    for (register, value) in identity {
        assert_eq!(b.read(register), value, "{register:#x}");
    }
    for other in [0x038, 0x0fc, 0x300, 0x310, 0x404, 0x510, 0x7fc, regs::COUNTER + 40, 0x2fc] {
        assert_eq!(b.read(other), 0, "{other:#x}");
    }
    let first = b.read(regs::CYCLE_LO);
    assert_eq!(b.read(regs::CYCLE_LO) - first, 2);
    assert_eq!(b.read(regs::CYCLE_HI), 0);
    for exp in [0, 5, -3, -100, 100] {
        b.write(regs::EXP, exp as u32);
        assert_eq!(b.read(regs::EXP), exp as u32);
        assert_eq!(b.get("exp"), exp as u32 & 0xff);
    }
    for r in 0..16 {
        b.write(regs::AREG + 4 * r, 0xfff0_0000 | 0x1111 * r | 1);
        b.write(regs::SREG + 4 * r, 0x8000_0000 | r);
    }
    for r in 0..16 {
        assert_eq!(b.read(regs::AREG + 4 * r), if r == 0 { 0 } else { 0x1111 * r | 1 });
        assert_eq!(b.read(regs::SREG + 4 * r), 0x8000_0000 | r);
        assert_eq!(b.read(regs::MAGIC), regs::MAGIC_VALUE);
    }
    // Levels: one counter each.
    let levels =
        ["m_busy", "m_stall_wait", "m_stall_mem", "v_busy", "v_stall_wait", "v_stall_mem", "", "", "", "m_row"];
    for (i, level) in levels.into_iter().enumerate() {
        if level.ends_with("_busy") || level.is_empty() {
            continue; // the stubs drive these
        }
        b.set(level, 1);
        b.ticks(10 + i as u32);
        b.set(level, 0);
        for (j, other) in levels.into_iter().enumerate().filter(|(_, l)| !l.is_empty() && !l.ends_with("_busy")) {
            let expected = if j <= i { 10 + j as u32 } else { 0 };
            assert_eq!(b.read(regs::COUNTER + 4 * j as u32), expected, "{other} after {level}");
        }
    }
    // The memory system's trap.
    for (port, value) in [("range_info", 99), ("mem_trap_pc", 7), ("mem_trap", 1)] {
        b.set(port, value);
    }
    b.tick();
    b.set("mem_trap", 0);
    assert_eq!((b.read(regs::TRAP), b.read(regs::TRAP_INFO)), (4 | 7 << 16, 99));
}
