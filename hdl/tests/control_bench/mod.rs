//! A test bench for Verilated control: bus, program memory, scalar registers, and two stub engines that take instructions, wait
//! as told, work for a random time and raise flags.

use super::control_common::{Rng, load};
use std::collections::{HashMap, VecDeque};
use systole_hdl::control::Control;
use systole_isa::instr::op;
use systole_isa::machine::Machine;
use systole_isa::regs;
use systole_verilator::{Module, Port};

/// An instruction as an engine received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub vector: bool,
    pub words: Vec<u32>,
    pub pc: u32,
    /// Counts to wait for, of matrix and vector instructions.
    pub wait: [Option<u8>; 2],
}

impl Issued {
    /// Whether the stubs raise this instruction's flag: a property of its words, so that an interpreter can know it.
    pub fn raises(&self) -> Option<u32> {
        let flag = self.words[0] >> 16 & 7;
        (flag > 0 && flag < 5 && self.words[11] & 3 == 0).then(|| flag - 1)
    }
}

#[derive(Default)]
struct Stub {
    partial: Vec<u32>,
    head: Option<(u32, [Option<u8>; 2])>,
    waiting: VecDeque<Issued>,
    running: Option<(Issued, u32, u64)>,
    handed_over: VecDeque<u64>,
    done: u32,
    flag: Option<(u32, u32)>,
    trap: Option<(u32, u32, u32)>,
}

pub struct Bench {
    pub m: Module,
    ports: HashMap<String, Port>,
    pub rng: Rng,
    pub memory: Vec<u32>,
    pub sregs: [u32; 16],
    pub log: Vec<Issued>,
    /// Flags raised, in order: flag, pc.
    pub raised: Vec<(u32, u32)>,
    pub cycle: u64,
    /// Percent of cycles in which an engine that could take a word does.
    pub eagerness: u32,
    /// Longest run time of an instruction.
    pub longest: u32,
    /// Percent of cycles in which the mover reads program memory.
    pub mover: u32,
    pub mover_reads: u32,
    pub last_gemm: u64,
    /// For each word taken: whether both engines were empty then.
    pub quiet: Vec<bool>,
    stubs: [Stub; 2],
    mover_at: Option<u32>,
}

impl Bench {
    pub fn new(machine: &Machine, seed: u64) -> Bench {
        let m = load(&mut Control::new(machine, 12, 0xcafe_f00d), "control_top");
        let ports = m.ports().iter().map(|p| p.name.clone()).collect::<Vec<_>>();
        let ports = ports.into_iter().map(|n| (n.clone(), m.find(&n).unwrap())).collect();
        Bench {
            m,
            ports,
            rng: Rng::new(seed),
            memory: vec![0; machine.pmem_words as usize],
            sregs: [0; 16],
            log: vec![],
            raised: vec![],
            cycle: 0,
            eagerness: 100,
            longest: 1,
            mover: 0,
            mover_reads: 0,
            last_gemm: 0,
            quiet: vec![],
            stubs: Default::default(),
            mover_at: None,
        }
    }

    pub fn set(&mut self, port: &str, v: u32) {
        self.m.set(self.ports[port], v.into());
    }

    pub fn get(&self, port: &str) -> u32 {
        self.m.get(self.ports[port]) as u32
    }

    pub fn trap(&mut self, vector: bool, cause: u32, info: u32, pc: u32) {
        self.stubs[vector as usize].trap = Some((cause, info, pc));
    }

    /// One clock cycle with everything around control.
    pub fn tick(&mut self) {
        let done = [self.stubs[0].done as u8, self.stubs[1].done as u8];
        for (e, p) in ["m", "v"].into_iter().enumerate() {
            let room = self.stubs[e].waiting.len() < 2;
            let ready = room && self.rng.chance(self.eagerness);
            self.set(&format!("{p}_iw_ready"), ready as u32);
            self.set(&format!("{p}_done_count"), done[e].into());
            let busy = self.stubs[e].running.is_some() || !self.stubs[e].waiting.is_empty();
            self.set(&format!("{p}_busy"), busy as u32);
            let flag = self.stubs[e].flag.take();
            self.set(&format!("{p}_flag_set"), flag.map_or(0, |f| 1 << f.0));
            self.set(&format!("{p}_flag_pc"), flag.map_or(0, |f| f.1));
            self.set(&format!("{p}_flag_addr"), flag.map_or(0, |f| f.1 * 3 | (e as u32) << 20));
            let trap = self.stubs[e].trap;
            self.set(&format!("{p}_trap"), trap.is_some() as u32);
            let (cause, info, pc) = trap.unwrap_or_default();
            self.set(&format!("{p}_trap_cause"), cause);
            self.set(&format!("{p}_trap_info"), info);
            self.set(&format!("{p}_trap_pc"), pc);
        }
        if self.mover_at.is_none() && self.rng.chance(self.mover) {
            self.mover_at = Some(self.rng.below(self.memory.len() as u32));
        }
        self.set("pm_req", self.mover_at.is_some() as u32);
        self.set("pm_raddr", self.mover_at.unwrap_or(0));
        self.m.eval();

        let granted = self.mover_at.filter(|_| self.get("pm_gnt") == 1);
        let sreg = self.get("sreg_index") as usize;
        let abort = self.get("abort") == 1;
        let sreg_value = self.sregs[sreg];
        if self.get("sreg_we") == 1 {
            self.sregs[sreg] = self.get("sreg_wdata");
        }
        assert!(self.get("m_iw_valid") & self.get("v_iw_valid") == 0);
        for (e, p) in ["m", "v"].into_iter().enumerate() {
            let taken = self.get(&format!("{p}_iw_valid")) & self.get(&format!("{p}_iw_ready")) == 1;
            if taken {
                let empty = |s: &Stub| s.running.is_none() && s.waiting.is_empty() && s.partial.is_empty();
                self.quiet.push(self.stubs.iter().all(empty));
            }
            self.step(e, taken, done);
        }
        self.m.tick();
        self.cycle += 1;
        self.set("sreg_rdata", sreg_value);
        self.m.eval();
        if let Some(at) = granted {
            assert_eq!(self.get("pm_rdata"), self.memory[at as usize], "mover's read of {at}");
            self.mover_reads += 1;
            self.mover_at = None;
        }
        if abort {
            self.stubs.iter_mut().for_each(|s| *s = Stub { done: 77, ..Default::default() });
        }
    }

    fn step(&mut self, e: usize, taken: bool, done: [u8; 2]) {
        let now = self.cycle;
        let wait = |enable: &str, count: &str| (self.get(enable) == 1).then(|| self.get(count) as u8);
        let (word, pc, waits) =
            (self.get("iw_data"), self.get("iw_pc"), [wait("iw_wm_en", "iw_wm"), wait("iw_wv_en", "iw_wv")]);
        let time = 1 + self.rng.below(self.longest);
        let s = &mut self.stubs[e];
        // Work, then start, then take a word: an instruction starts at the earliest in the cycle after its last word.
        if s.running.as_ref().is_some_and(|r| r.1 <= 1) {
            let (i, ..) = s.running.take().unwrap();
            s.done += 1;
            let handed = s.handed_over.pop_front().unwrap();
            if e == 0 {
                self.last_gemm = now + 1 - handed;
            }
            if let Some(flag) = i.raises() {
                s.flag = Some((flag, i.pc));
                self.raised.push((flag, i.pc));
            }
        } else if let Some(r) = &mut s.running {
            r.1 -= 1;
        }
        let reached = |have: u8, want: Option<u8>| want.is_none_or(|w| have.wrapping_sub(w) < 128);
        if s.running.is_none()
            && s.waiting.front().is_some_and(|i| reached(done[0], i.wait[0]) && reached(done[1], i.wait[1]))
        {
            s.running = s.waiting.pop_front().map(|i| (i, time, now));
        }
        if taken {
            if s.partial.is_empty() {
                s.head = Some((pc, waits));
            }
            s.partial.push(word);
            if s.partial.len() == 12 {
                let (pc, wait) = s.head.take().unwrap();
                let i = Issued { vector: e == 1, words: std::mem::take(&mut s.partial), pc, wait };
                s.handed_over.push_back(now);
                s.waiting.push_back(i.clone());
                self.log.push(i);
            }
        }
    }

    pub fn ticks(&mut self, n: u32) {
        (0..n).for_each(|_| self.tick());
    }

    pub fn read(&mut self, register: u32) -> u32 {
        self.set("sel", 1);
        self.set("we", 0);
        self.set("addr", register);
        self.tick();
        self.set("sel", 0);
        self.m.eval();
        let first = self.get("rdata");
        self.tick();
        assert_eq!(self.get("rdata"), first, "a value read is held");
        first
    }

    pub fn write(&mut self, register: u32, v: u32) {
        self.set("sel", 1);
        self.set("we", 1);
        self.set("addr", register);
        self.set("wdata", v);
        self.tick();
        self.set("sel", 0);
        self.set("we", 0);
    }

    /// Writes program memory as the mover does.
    pub fn program(&mut self, at: u32, words: &[u32]) {
        // A word must not be read while it is written.
        let mover = std::mem::take(&mut self.mover);
        while self.mover_at.is_some() {
            self.tick();
        }
        for (i, w) in words.iter().enumerate() {
            self.memory[at as usize + i] = *w;
            self.set("pm_we", 1);
            self.set("pm_waddr", at + i as u32);
            self.set("pm_wdata", *w);
            self.tick();
        }
        self.set("pm_we", 0);
        self.mover = mover;
    }

    pub fn push(&mut self, at: u32, mask: u32) {
        self.write(regs::SEG_ADDR, at);
        self.write(regs::SEG_PUSH, mask);
    }

    /// Polls until no segment is left, or a trap.
    pub fn finish(&mut self) -> u32 {
        for _ in 0..100_000 {
            let status = self.read(regs::SEG_STATUS);
            if status & 1 << 16 == 0 || status & 1 << 18 != 0 {
                return status;
            }
        }
        panic!("segments do not end");
    }

    pub fn abort(&mut self) {
        self.write(regs::ABORT, 1);
        let polls = (0..100).take_while(|_| self.read(regs::ABORT) == 1).count();
        assert!(polls > 0 && polls < 20, "abort took {polls} polls");
    }
}

/// Words of a control instruction.
pub fn control(opcode: u32, register: u32, operand: u32) -> [u32; 2] {
    [opcode | register << 8, operand]
}

/// A random instruction for an engine; reserved bits too, which the fetcher must pass on.
pub fn engine(rng: &mut Rng) -> [u32; 12] {
    let mut w = [0; 12].map(|_: u32| rng.word());
    w[0] = w[0] & !0xf_ffff | rng.below(6) << 16;
    for at in [8, 12] {
        if rng.chance(40) {
            w[0] |= (1 + rng.below(15)) << at;
        }
    }
    w[0] |= if rng.chance(50) { op::GEMM } else { op::VECTOR | rng.below(15) };
    w
}
