//! The Verilated engine beside a behavioural memory that obeys the client protocol and refuses at random.

use super::reference::{State, index};
use crate::design::{Design, Dut};
use std::collections::VecDeque;
use systole_hdl::vector::VectorEngine;
use systole_isa::instr::{Instr, Vector};
use systole_verilator::Port;

/// SplitMix64.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// An instruction, with the counts that it waits for.
#[derive(Clone, Debug)]
pub struct Queued {
    pub instr: Vector,
    pub pc: u16,
    pub wait_v: Option<u8>,
    pub wait_m: Option<u8>,
}

/// One observed flag pulse: flags, program address, element address.
pub type Flag = (u8, u16, u32);

struct Client {
    req: Port,
    smem: Port,
    addr: Port,
    q: Port,
    count: Port,
    gnt: Port,
    bcast: Option<Port>,
    data: Vec<Port>,
}

/// The engine and what is around it.
pub struct Bench<'a> {
    /// The engine.
    pub m: &'a mut Dut,
    pub n: usize,
    pub v: usize,
    pub state: State,
    pub rng: Rng,
    /// Percent of requests that are refused.
    pub refuse: usize,
    pub flags: Vec<Flag>,
    pub cycle: u64,
    /// Cycle of each grant: client (0..3 reads, 3..5 writes), cycle.
    pub grants: Vec<(usize, u64)>,
    queue: VecDeque<Queued>,
    word: usize,
    clients: Vec<Client>,
    due: [VecDeque<(u64, Vec<u32>)>; 3],
}

/// An engine of `v` lanes beside an array of `n` columns.
pub fn design(n: usize, v: usize) -> Design {
    Design::of(VectorEngine::new(n, v, 2), "vector_engine")
}

impl<'a> Bench<'a> {
    /// Around an instance of [`design`], with the scalar registers written.
    pub fn new(m: &'a mut Dut, n: usize, v: usize, state: State, rng: Rng) -> Bench<'a> {
        let p = |name: String| m.find(&name).unwrap();
        let mut clients = vec![];
        for (side, count, data) in [("r", 3, "rdata"), ("w", 2, "wdata")] {
            for c in 0..count {
                clients.push(Client {
                    req: p(format!("{side}_req_{c}")),
                    smem: p(format!("{side}_smem_{c}")),
                    addr: p(format!("{side}_addr_{c}")),
                    q: p(format!("{side}_q_{c}")),
                    count: p(format!("{side}_count_{c}")),
                    gnt: p(format!("{side}_gnt_{c}")),
                    bcast: (side == "r").then(|| p(format!("r_bcast_{c}"))),
                    data: (0..v).map(|i| p(format!("{data}_{}", c * v + i))).collect(),
                });
            }
        }
        let mut bench = Bench {
            m,
            n,
            v,
            state,
            rng,
            refuse: 0,
            flags: vec![],
            cycle: 0,
            grants: vec![],
            queue: VecDeque::new(),
            word: 0,
            clients,
            due: Default::default(),
        };
        for i in 0..16 {
            let value = bench.state.sregs[i];
            bench.write_sreg(i, value);
        }
        bench
    }

    pub fn set(&mut self, name: &str, value: u64) {
        let p = self.m.find(name).unwrap();
        self.m.set(p, value);
    }

    pub fn get(&self, name: &str) -> u64 {
        self.m.get(self.m.find(name).unwrap())
    }

    pub fn write_sreg(&mut self, i: usize, value: u32) {
        self.set("sreg_we", 1);
        self.set("sreg_index", i as u64);
        self.set("sreg_wdata", value as u64);
        self.step();
        self.set("sreg_we", 0);
    }

    pub fn read_sreg(&mut self, i: usize) -> u32 {
        self.set("sreg_index", i as u64);
        self.step();
        self.get("sreg_rdata") as u32
    }

    pub fn push(&mut self, q: Queued) {
        self.queue.push_back(q);
    }

    pub fn queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Forgets queued instructions and reads in flight, as the rest of the machine does on an abort.
    pub fn abort(&mut self) {
        self.queue.clear();
        self.word = 0;
        self.set("iw_valid", 0);
        self.set("abort", 1);
        self.step();
        self.step();
        self.set("abort", 0);
    }

    /// Runs until all is done; panics after `limit` cycles.
    pub fn drain(&mut self, limit: u64) {
        let end = self.cycle + limit;
        while self.queued() || self.get("idle") == 0 {
            self.step();
            assert!(self.cycle < end, "still busy after {limit} cycles");
        }
        self.step();
        self.step();
    }

    fn lane(&self, addr: u32, q: i16, lane: usize) -> usize {
        let inner = q as i64 * self.n as i64 + 1;
        index((addr as i64 + inner * lane as i64) as u32 & 0xf_ffff)
    }

    /// One clock cycle: memory, instruction port, clock.
    pub fn step(&mut self) {
        // Instruction port.
        let offer =
            self.queue.front().cloned().filter(|_| self.word > 0 || self.refuse == 0 || !self.rng.chance(self.refuse));
        self.set("iw_valid", offer.is_some() as u64);
        if let Some(q) = &offer {
            let words = Instr::Vector(q.instr).encode();
            let first = self.word == 0;
            self.set("iw_data", words[self.word] as u64);
            // The side signals are valid with word 0 only.
            self.set("iw_pc", if first { q.pc as u64 } else { 0xdead });
            self.set("iw_wv_en", if first { q.wait_v.is_some() as u64 } else { 1 });
            self.set("iw_wv", if first { q.wait_v.unwrap_or(0x55) as u64 } else { 0x77 });
            self.set("iw_wm_en", if first { q.wait_m.is_some() as u64 } else { 1 });
            self.set("iw_wm", if first { q.wait_m.unwrap_or(0x55) as u64 } else { 0x77 });
        }
        self.m.eval();
        if offer.is_some() && self.get("iw_ready") == 1 {
            self.word += 1;
            if self.word == 12 {
                self.word = 0;
                self.queue.pop_front();
            }
        }
        // Reads see what was written in earlier cycles.
        for c in 0..5 {
            let k = &self.clients[c];
            let (req, smem) = (self.m.get(k.req) == 1, self.m.get(k.smem) == 1);
            let gnt = req && !self.rng.chance(self.refuse);
            self.m.set(k.gnt, gnt as u64);
            if !gnt {
                continue;
            }
            self.grants.push((c, self.cycle));
            let (addr, q) = (self.m.get(k.addr) as u32, self.m.get(k.q) as u16 as i16);
            let count = self.m.get(k.count) as usize;
            assert!((1..=self.v).contains(&count));
            if c < 3 {
                let bcast = self.m.get(k.bcast.unwrap()) == 1;
                let mut data = vec![0u32; self.v];
                for (i, d) in data.iter_mut().enumerate() {
                    *d = 0x7f80_0000 | self.cycle as u32; // a disabled lane holds garbage
                    if i < count {
                        let at = if bcast { index(addr) } else { self.lane(addr, q, i) };
                        *d = if smem { self.state.smem[at] } else { self.state.hmem[at] as u32 };
                    }
                }
                self.due[c].push_back((self.cycle + 2, data));
            } else {
                for i in 0..count {
                    let at = self.lane(addr, q, i);
                    let d = self.m.get(self.clients[c].data[i]) as u32;
                    if smem {
                        self.state.smem[at] = d;
                    } else {
                        self.state.hmem[at] = d as u16;
                    }
                }
            }
        }
        for c in 0..3 {
            let due = self.due[c].front().is_some_and(|(at, _)| *at == self.cycle);
            let data = if due { self.due[c].pop_front().unwrap().1 } else { vec![0xdead_beef; self.v] };
            for (i, d) in data.iter().enumerate() {
                self.m.set(self.clients[c].data[i], *d as u64);
            }
        }
        self.m.tick();
        self.cycle += 1;
        let set = self.get("flag_set") as u8;
        if set != 0 {
            self.flags.push((set, self.get("flag_pc") as u16, self.get("flag_addr") as u32));
        }
    }
}
