//! Instructions that no compiler would make: addresses and strides from their whole fields, sizes that do not fit, counts and targets
//! at random, at any place of program memory. The hardware and the model must stop at the same word for the same reason, or both run.
//! One operand is wild at a time: which of several the hardware finds first depends on how far ahead of the others it is.
//!
//! `SYSTOLE_WILD=<count>` tries so many programs instead of the few of an ordinary test run; `SYSTOLE_WILD_SEED=<seed>` others.

mod rtl_support;

use rtl_support::pair::Pair;
use rtl_support::{DEADLINE, Request, Rng, SHARED, assemble, bytes, setting};
use systole_isa::frame::{ErrorCode, Kind};
use systole_isa::instr::{Control, ENGINE_WORDS, Gemm, Init, Instr, Mask, Output, Sync, Vector, VectorOp};
use systole_isa::machine::Machine;
use systole_isa::operand::{Addr, Base, Dest, Modifiers, Source, View};
use systole_isa::regs::Trap;

/// Makes programs of one wild instruction.
struct Wild {
    rng: Rng,
    machine: Machine,
}

impl Wild {
    fn word(&mut self) -> u32 {
        self.rng.bits() as u32
    }

    /// An address: in a plane, around its end, or anywhere; a third of them less what an address register adds.
    fn base(&mut self, plane_words: u32, registers: &[u32; 2]) -> Base {
        let plane = self.rng.range(0, 1) as u32;
        let offset = match self.rng.range(0, 3) {
            0 => self.rng.range(0, plane_words as i64 - 1) as u32,
            1 => plane_words - 1 - self.rng.range(0, 40) as u32,
            _ => self.word() & (Addr::MASK >> 1),
        };
        let addr = Addr::new(plane, offset);
        match self.rng.range(0, 5) {
            r @ (0 | 1) => Base::indexed(addr.offset_by((registers[r as usize] as i32).wrapping_neg()), r as u8 + 1),
            _ => Base::at(addr),
        }
    }

    /// A view whose lanes are one apart modulo their number, as a rule; `broadcast` allows 0, too.
    fn view(&mut self, plane_words: u32, registers: &[u32; 2], broadcast: bool) -> View {
        let lanes = self.machine.lanes as i64;
        let inner = match self.rng.range(0, 15) {
            0 => self.word() as i16,
            1 | 2 if broadcast => 0,
            3..=8 => 1,
            _ => (1 + lanes * self.rng.range(-32768 / lanes, 32766 / lanes)) as i16,
        };
        let outer = if self.rng.one_in(2) { self.rng.range(-40, 40) as i16 } else { self.word() as i16 };
        View::new(self.base(plane_words, registers), inner, outer)
    }

    fn half(&mut self, registers: &[u32; 2], broadcast: bool) -> View {
        self.view(self.machine.hmem_plane(), registers, broadcast)
    }

    fn single(&mut self, registers: &[u32; 2], broadcast: bool) -> View {
        self.view(self.machine.smem_plane(), registers, broadcast)
    }

    /// Sizes whose product is small, though one of them may be large; sometimes one is nothing.
    fn sizes(&mut self, most: i64) -> [u16; 3] {
        let large = self.rng.range(0, 2) as usize;
        let mut sizes = [0; 3].map(|_| self.rng.range(1, 9) as u16);
        sizes[large] = self.rng.range(1, most) as u16;
        if self.rng.one_in(24) {
            sizes[self.rng.range(0, 2) as usize] = 0;
        }
        sizes
    }

    fn source(&mut self, registers: &[u32; 2]) -> Source {
        let mut modifiers = Modifiers { neg: self.rng.one_in(2), abs: self.rng.one_in(2), scaled: false };
        match self.rng.range(0, 3) {
            0 => Source::Imm(self.word()),
            1 => Source::Sreg(self.rng.range(8, 31) as u8, modifiers),
            2 => {
                modifiers.scaled = self.rng.one_in(2);
                Source::Hmem(self.half(registers, true), modifiers)
            }
            _ => Source::Smem(self.single(registers, true), modifiers),
        }
    }

    fn vector(&mut self, registers: &[u32; 2]) -> Instr {
        let [rows, cols, _] = self.sizes(700);
        let wild = self.rng.range(0, 4);
        let [x, y, z] = [0, 1, 2].map(|i| if i == wild { self.source(registers) } else { Source::Imm(self.word()) });
        let d = match (wild, self.rng.range(0, 1)) {
            (3, 0) => Dest::Hmem(self.half(registers, false)),
            (3, _) => Dest::Smem(self.single(registers, false)),
            _ => Dest::Smem(View::new(Base::at(Addr::new(0, 0)), 1, 0)),
        };
        let copy = (wild == 4).then(|| self.half(registers, false));
        let op = self.rng.pick(&VectorOp::ALL);
        Instr::Vector(Vector { sync: Sync::default(), op, rows, cols, x, y, z, d, copy, recurrent: self.rng.one_in(8) })
    }

    fn gemm(&mut self, registers: &[u32; 2]) -> Instr {
        let [m, k, n] = self.sizes(500);
        let acc_rows = self.machine.acc_rows as i64;
        let acc_base = if self.rng.one_in(2) { 0 } else { self.rng.range(0, 255) as u8 };
        let (m_block, n_group) = match self.rng.range(0, 3) {
            0 => (self.rng.range(1, 256) as u16, self.rng.range(1, 256) as u16),
            _ => {
                let m_block = self.rng.range(1, 64.min(acc_rows));
                (m_block as u16, self.rng.range(1, (acc_rows - acc_base as i64).max(m_block) / m_block) as u16)
            }
        };
        let tame = View::new(Base::at(Addr::new(0, 0)), 1, 0);
        let wild = self.rng.range(0, 6);
        let init = match wild {
            0 => Init::BiasPerColumn(self.base(self.machine.hmem_plane(), registers)),
            1 => Init::BiasPerRow(self.base(self.machine.hmem_plane(), registers)),
            _ => Init::Zero,
        };
        let out = match (wild, self.rng.range(0, 1)) {
            (2, 0) => Output::Single(self.single(registers, false)),
            (2, _) => Output::Half(self.half(registers, false)),
            _ => Output::Single(tame),
        };
        let mask = match wild {
            3 => Mask::Write(self.base(self.machine.mask_bits, registers)),
            4 => Mask::Apply(self.base(self.machine.mask_bits, registers)),
            _ => Mask::None,
        };
        let x = if wild == 5 { self.half(registers, false) } else { tame };
        let w = if wild == 6 { self.half(registers, false) } else { tame };
        let (sync, relu) = (Sync::default(), self.rng.one_in(2));
        Instr::Gemm(Gemm { sync, m, k, n, m_block, n_group, acc_base, x, w, init, out, relu, mask })
    }

    /// In a loop, EndLoop would go on for ever.
    fn control(&mut self, in_loop: bool) -> Instr {
        Instr::Control(match self.rng.range(0, 5) {
            0 if !in_loop => Control::EndLoop,
            1 => Control::Ret,
            // beyond program memory: elsewhere the target might be anything
            2 => Control::Call(self.machine.pmem_words | self.word()),
            3 => Control::ASet(self.rng.range(0, 15) as u8, self.word() & Addr::MASK),
            4 => Control::AAdd(self.rng.range(0, 15) as u8, self.word() as i32),
            _ => Control::Fence,
        })
    }

    /// Address registers 1 and 2, the wild instruction, an end. Some begin with loops.
    fn program(&mut self) -> Vec<Instr> {
        let registers = [0; 2].map(|_| self.word() & Addr::MASK);
        let mut all =
            vec![Instr::Control(Control::ASet(1, registers[0])), Instr::Control(Control::ASet(2, registers[1]))];
        let depth = if self.rng.one_in(8) { self.rng.range(1, 6) } else { 0 };
        all.extend((0..depth).map(|_| Instr::Control(Control::Loop(self.word().max(1)))));
        all.push(match self.rng.range(0, 9) {
            0 => self.control(depth > 0),
            1..=4 => self.gemm(&registers),
            _ => self.vector(&registers),
        });
        // (also out of loops; anything that traps would be ahead of the engines)
        all.push(Instr::Control(Control::End));
        all
    }
}

#[test]
fn wild_instructions_stop_both_alike() {
    let (count, seed) = (setting("SYSTOLE_WILD").unwrap_or(300), setting("SYSTOLE_WILD_SEED").unwrap_or(1));
    let mut pair = Pair::new(SHARED);
    let (mut ran, mut trapped) = (0, std::collections::BTreeMap::<u32, u32>::new());
    for seed in seed..seed + count {
        let mut wild = Wild { rng: Rng(seed), machine: SHARED };
        let program = wild.program();
        let product = program.iter().any(|i| matches!(i, Instr::Gemm(_)));
        let mut words = assemble(&program);
        if wild.rng.one_in(24) {
            // no such opcode, with anything behind it
            words = (0..ENGINE_WORDS).map(|_| wild.word()).collect();
            words[0] = words[0] & !0xff | wild.rng.pick(&[0x20, 0x3f, 0x7f, 0xff]);
        }
        let room = SHARED.pmem_words as i64 - words.len() as i64;
        let at = wild.rng.range(0, room) as u32;
        let size = words.len() as u32;
        let requests = [
            Request::new(Kind::Write, &[2, at, size | 1 << 16, size], &bytes(&words)),
            Request::new(Kind::Segments, &[1, at, size], &[]),
            Request::new(Kind::Run, &[0, DEADLINE, 0], &[]),
        ];
        let what = format!("seed {seed}, at {at:#x}: {program:?}\n{words:x?}");
        let [model, rtl] = [pair.model.burst(&requests).remove(2), pair.rtl.burst(&requests).remove(2)];
        assert_eq!(model.kind, rtl.kind, "{what}:\nmodel {model:x?}\nrtl   {rtl:x?}");
        if rtl.kind != Kind::Error as u8 {
            ran += 1;
            continue;
        }
        let [mut m, mut r] = [model.words(), rtl.words()];
        let cause = r[1] & 0xff;
        if cause == Trap::Range as u32 && product {
            // where among the elements outside depends on how a product is cut into tiles
            (m[2], r[2]) = (0, 0);
        }
        assert_eq!((r[0], &m), (ErrorCode::Trap as u32, &r), "{what}");
        *trapped.entry(cause).or_default() += 1;
    }
    println!("seed {seed}: {ran} of {count} ran, traps by cause {trapped:?}");
    assert!(ran > 0 && trapped.len() >= 5, "too tame: {ran} ran, {trapped:?}");
}
