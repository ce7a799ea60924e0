//! Memory system and matrix engine on one bench, with a back door through the vector engine's and the mover's ports.

use crate::design::{Design, Dut, Hang};
use crate::number::Random;
use rust_hdl_core::prelude::*;
use systole_hdl::comment;
use systole_hdl::matrix::MatrixEngine;
use systole_hdl::memory::MemorySystem;
use systole_isa::instr::{Gemm, Instr};
use systole_isa::machine::Machine;
use systole_isa::operand::Addr;
use systole_verilator::{Module, Port};

fn many<T: Default>(n: usize) -> Vec<T> {
    (0..n).map(|_| T::default()).collect()
}

/// The device under test.
#[derive(LogicBlock)]
pub struct Top {
    pub clock: Signal<In, Clock>,
    pub abort: Signal<In, Bit>,
    pub iw_valid: Signal<In, Bit>,
    pub iw_ready: Signal<Out, Bit>,
    pub iw_data: Signal<In, Bits<32>>,
    pub iw_pc: Signal<In, Bits<16>>,
    pub iw_wm_en: Signal<In, Bit>,
    pub iw_wm: Signal<In, Bits<8>>,
    pub iw_wv_en: Signal<In, Bit>,
    pub iw_wv: Signal<In, Bits<8>>,
    pub done_v: Signal<In, Bits<8>>,
    pub done_count: Signal<Out, Bits<8>>,
    pub idle: Signal<Out, Bit>,
    pub busy: Signal<Out, Bit>,
    pub stall_wait: Signal<Out, Bit>,
    pub stall_mem: Signal<Out, Bit>,
    pub row_streamed: Signal<Out, Bit>,
    pub flag_set: Signal<Out, Bits<4>>,
    pub flag_pc: Signal<Out, Bits<16>>,
    pub flag_addr: Signal<Out, Bits<21>>,
    pub trap: Signal<Out, Bit>,
    pub trap_cause: Signal<Out, Bits<8>>,
    pub trap_info: Signal<Out, Bits<32>>,
    pub trap_pc: Signal<Out, Bits<16>>,
    /// Clients v_x, v_y, v_z, mv_r.
    pub r_req: Vec<Signal<In, Bit>>,
    pub r_smem: Signal<In, Bit>,
    pub r_addr: Signal<In, Bits<20>>,
    pub r_q: Signal<In, Bits<16>>,
    pub r_bcast: Signal<In, Bit>,
    pub r_count: Signal<In, Bits<5>>,
    pub r_gnt: Vec<Signal<Out, Bit>>,
    pub r_trap: Vec<Signal<Out, Bit>>,
    pub range_busy: Signal<Out, Bit>,
    /// v_x's data.
    pub rdata: Vec<Signal<Out, Bits<32>>>,
    /// Clients v_d, v_c, mv_w.
    pub w_req: Vec<Signal<In, Bit>>,
    pub w_smem: Signal<In, Bit>,
    pub w_addr: Signal<In, Bits<20>>,
    pub w_q: Signal<In, Bits<16>>,
    pub w_count: Signal<In, Bits<5>>,
    pub wdata: Vec<Signal<In, Bits<32>>>,
    pub w_gnt: Vec<Signal<Out, Bit>>,
    pub w_trap: Vec<Signal<Out, Bit>>,
    memory: MemorySystem,
    engine: MatrixEngine,
    _n: usize,
}

impl Top {
    pub fn new(m: &Machine) -> Top {
        let n = m.lanes as usize;
        Top {
            clock: Default::default(),
            abort: Default::default(),
            iw_valid: Default::default(),
            iw_ready: Default::default(),
            iw_data: Default::default(),
            iw_pc: Default::default(),
            iw_wm_en: Default::default(),
            iw_wm: Default::default(),
            iw_wv_en: Default::default(),
            iw_wv: Default::default(),
            done_v: Default::default(),
            done_count: Default::default(),
            idle: Default::default(),
            busy: Default::default(),
            stall_wait: Default::default(),
            stall_mem: Default::default(),
            row_streamed: Default::default(),
            flag_set: Default::default(),
            flag_pc: Default::default(),
            flag_addr: Default::default(),
            trap: Default::default(),
            trap_cause: Default::default(),
            trap_info: Default::default(),
            trap_pc: Default::default(),
            r_req: many(4),
            r_smem: Default::default(),
            r_addr: Default::default(),
            r_q: Default::default(),
            r_bcast: Default::default(),
            r_count: Default::default(),
            r_gnt: many(4),
            r_trap: many(4),
            range_busy: Default::default(),
            rdata: many(n),
            w_req: many(3),
            w_smem: Default::default(),
            w_addr: Default::default(),
            w_q: Default::default(),
            w_count: Default::default(),
            wdata: many(n),
            w_gnt: many(3),
            w_trap: many(3),
            memory: MemorySystem::new(m),
            engine: MatrixEngine::new(m),
            _n: n,
        }
    }
}

impl Logic for Top {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module matrix_bench");
        self.memory.clock.next = self.clock.val();
        self.engine.clock.next = self.clock.val();
        self.engine.abort.next = self.abort.val();
        self.engine.iw_valid.next = self.iw_valid.val();
        self.engine.iw_data.next = self.iw_data.val();
        self.engine.iw_pc.next = self.iw_pc.val();
        self.engine.iw_wm_en.next = self.iw_wm_en.val();
        self.engine.iw_wm.next = self.iw_wm.val();
        self.engine.iw_wv_en.next = self.iw_wv_en.val();
        self.engine.iw_wv.next = self.iw_wv.val();
        self.engine.done_v.next = self.done_v.val();
        self.iw_ready.next = self.engine.iw_ready.val();
        self.done_count.next = self.engine.done_count.val();
        self.idle.next = self.engine.idle.val();
        self.busy.next = self.engine.busy.val();
        self.stall_wait.next = self.engine.stall_wait.val();
        self.stall_mem.next = self.engine.stall_mem.val();
        self.row_streamed.next = self.engine.row_streamed.val();
        self.flag_set.next = self.engine.flag_set.val();
        self.flag_pc.next = self.engine.flag_pc.val();
        self.flag_addr.next = self.engine.flag_addr.val();
        self.trap.next = self.engine.trap.val();
        self.trap_cause.next = self.engine.trap_cause.val();
        self.trap_info.next = self.engine.trap_info.val();
        if self.engine.trap_cause.val() == 4 {
            self.trap_info.next = self.memory.range_info.val();
        }
        self.trap_pc.next = self.engine.trap_pc.val();
        self.memory.r_req[0].next = self.engine.w_req.val();
        self.memory.r_addr[0].next = self.engine.w_addr.val();
        self.memory.r_q[0].next = self.engine.w_q.val();
        self.memory.r_count[0].next = self.engine.w_count.val();
        self.engine.w_gnt.next = self.memory.r_gnt[0].val();
        self.engine.w_trap.next = self.memory.r_trap[0].val();
        self.memory.r_req[1].next = self.engine.x_req.val();
        self.memory.r_addr[1].next = self.engine.x_addr.val();
        self.memory.r_q[1].next = self.engine.x_q.val();
        self.memory.r_count[1].next = self.engine.x_count.val();
        self.engine.x_gnt.next = self.memory.r_gnt[1].val();
        self.engine.x_trap.next = self.memory.r_trap[1].val();
        self.memory.w_req[0].next = self.engine.out_req.val();
        self.memory.w_want[0].next = self.engine.out_req.val();
        self.memory.w_smem[0].next = self.engine.out_smem.val();
        self.memory.w_addr[0].next = self.engine.out_addr.val();
        self.memory.w_q[0].next = self.engine.out_q.val();
        self.memory.w_count[0].next = self.engine.out_count.val();
        self.engine.out_trap.next = self.memory.w_trap[0].val();
        self.memory.mask_trap.next = self.engine.mask_trap.val();
        self.memory.mask_off.next = self.engine.mask_off.val();
        self.memory.mask_q.next = self.engine.mask_q.val();
        self.memory.abort.next = self.abort.val();
        self.range_busy.next = self.memory.range_busy.val();
        for c in 0..2 {
            self.memory.r_smem[c].next = false;
            self.memory.r_bcast[c].next = false;
        }
        for c in 0..4 {
            self.memory.r_req[c + 2].next = self.r_req[c].val();
            self.memory.r_smem[c + 2].next = self.r_smem.val();
            self.memory.r_addr[c + 2].next = self.r_addr.val();
            self.memory.r_q[c + 2].next = self.r_q.val();
            self.memory.r_bcast[c + 2].next = self.r_bcast.val();
            self.memory.r_count[c + 2].next = self.r_count.val();
            self.r_gnt[c].next = self.memory.r_gnt[c + 2].val();
            self.r_trap[c].next = self.memory.r_trap[c + 2].val();
        }
        for c in 0..3 {
            self.memory.w_req[c + 1].next = self.w_req[c].val();
            self.memory.w_want[c + 1].next = self.w_req[c].val();
            self.memory.w_smem[c + 1].next = self.w_smem.val();
            self.memory.w_addr[c + 1].next = self.w_addr.val();
            self.memory.w_q[c + 1].next = self.w_q.val();
            self.memory.w_count[c + 1].next = self.w_count.val();
            self.w_gnt[c].next = self.memory.w_gnt[c + 1].val();
            self.w_trap[c].next = self.memory.w_trap[c + 1].val();
        }
        for n in self._n..(self._n + 1) {
            for i in 0..self._n {
                self.engine.w_rdata[i].next = self.memory.rdata[i].val();
                self.engine.x_rdata[i].next = self.memory.rdata[n + i].val();
                self.rdata[i].next = self.memory.rdata[2 * n + i].val();
                self.memory.wdata[i].next = self.engine.out_data[i].val();
                self.memory.wdata[n + i].next = self.wdata[i].val();
                self.memory.wdata[2 * n + i].next = self.wdata[i].val();
                self.memory.wdata[3 * n + i].next = self.wdata[i].val();
            }
        }
    }
}

macro_rules! ports {
    ($($name:ident)*) => {
        /// Handles of the ports.
        pub struct Ports { $(pub $name: Port,)* }
        impl Ports {
            fn new(m: &Module) -> Ports {
                Ports { $($name: m.find(stringify!($name)).expect("a port"),)* }
            }
        }
    };
}
ports!(abort iw_valid iw_ready iw_data iw_pc iw_wm_en iw_wm iw_wv_en iw_wv done_v done_count idle busy stall_wait stall_mem
    flag_set flag_pc flag_addr trap trap_cause trap_info trap_pc r_smem r_addr r_q r_bcast r_count range_busy
    w_smem w_addr w_q w_count);

/// An instruction and what it waits for.
#[derive(Clone, Copy)]
pub struct Job {
    pub gemm: Gemm,
    /// Wait until all earlier jobs of the run are complete.
    pub wait: bool,
}

/// The machine that the engine and its memories are cut from.
pub fn machine(lanes: u32, adder_latency: u32) -> Machine {
    Machine {
        lanes,
        adder_latency,
        hmem_words: 1 << 15,
        smem_words: 1 << 13,
        mask_bits: 1 << 12,
        ..Machine::with_lanes(lanes)
    }
}

/// The engine and its memories.
pub fn design(lanes: u32, adder_latency: u32) -> Design {
    Design::of(Top::new(&machine(lanes, adder_latency)), "matrix_bench")
}

/// A bench that runs.
pub struct Bench<'a> {
    /// The engine and its memories.
    pub m: &'a mut Dut,
    pub p: Ports,
    pub machine: Machine,
    pub n: usize,
    r_req: Vec<Port>,
    pub r_trap: Vec<Port>,
    rdata: Vec<Port>,
    w_req: Vec<Port>,
    pub w_trap: Vec<Port>,
    wdata: Vec<Port>,
    pub issued: u64,
    noise: Random,
    /// (flag mask, pc, address) in order.
    pub flags: Vec<(u64, u64, u64)>,
}

impl<'a> Bench<'a> {
    /// Around an instance of [`design`].
    pub fn new(m: &'a mut Dut, lanes: u32, adder_latency: u32) -> Bench<'a> {
        let machine = machine(lanes, adder_latency);
        let n = lanes as usize;
        let all = |name: &str, n: usize| (0..n).map(|i| m.find(&format!("{name}_{i}")).expect("a port")).collect();
        Bench {
            p: Ports::new(m),
            r_req: all("r_req", 4),
            r_trap: all("r_trap", 4),
            rdata: all("rdata", n),
            w_req: all("w_req", 3),
            w_trap: all("w_trap", 3),
            wdata: all("wdata", n),
            m,
            machine,
            n,
            issued: 0,
            noise: Random(0x6e01),
            flags: vec![],
        }
    }

    pub fn address(&self, smem: bool, index: usize) -> u64 {
        let plane = if smem { self.machine.smem_plane() } else { self.machine.hmem_plane() } as usize;
        ((index / plane) << 19 | index % plane) as u64
    }

    pub fn write_all(&mut self, smem: bool, words: &[u32]) {
        self.m.set(self.p.w_smem, smem as u64);
        self.m.set(self.p.w_q, 0);
        self.m.set(self.p.w_count, self.n as u64);
        self.m.set(self.w_req[0], 1);
        for (v, chunk) in words.chunks(self.n).enumerate() {
            let a = self.address(smem, v * self.n);
            self.m.set(self.p.w_addr, a);
            for (i, w) in chunk.iter().enumerate() {
                self.m.set(self.wdata[i], *w as u64);
            }
            self.m.tick();
        }
        self.m.set(self.w_req[0], 0);
        self.m.tick_many(2);
    }

    pub fn read_all(&mut self, smem: bool, len: usize) -> Vec<u32> {
        let mut out = vec![];
        self.m.set(self.p.r_smem, smem as u64);
        self.m.set(self.p.r_q, 0);
        self.m.set(self.p.r_bcast, 0);
        self.m.set(self.p.r_count, self.n as u64);
        self.m.set(self.r_req[0], 1);
        for v in 0..len / self.n + 1 {
            let a = self.address(smem, (v * self.n).min(len - self.n));
            self.m.set(self.p.r_addr, a);
            self.m.tick();
            if v > 0 {
                for i in 0..self.n {
                    out.push(self.m.get(self.rdata[i]) as u32);
                }
            }
        }
        self.m.set(self.r_req[0], 0);
        self.m.tick_many(2);
        out
    }

    /// One strided or broadcast read through v_x.
    pub fn read(&mut self, smem: bool, addr: u64, q: i16, bcast: bool, count: usize) -> (Vec<u32>, bool) {
        self.m.set(self.p.r_smem, smem as u64);
        self.m.set(self.p.r_addr, addr);
        self.m.set(self.p.r_q, q as u16 as u64);
        self.m.set(self.p.r_bcast, bcast as u64);
        self.m.set(self.p.r_count, count as u64);
        self.m.set(self.r_req[0], 1);
        self.m.tick();
        self.m.set(self.r_req[0], 0);
        self.m.tick();
        self.m.eval();
        let trap = self.m.get(self.r_trap[0]) == 1;
        ((0..count).map(|i| self.m.get(self.rdata[i]) as u32).collect(), trap)
    }

    /// One strided write through v_d; whether it trapped.
    pub fn write(&mut self, smem: bool, addr: u64, q: i16, data: &[u32]) -> bool {
        self.m.set(self.p.w_smem, smem as u64);
        self.m.set(self.p.w_addr, addr);
        self.m.set(self.p.w_q, q as u16 as u64);
        self.m.set(self.p.w_count, data.len() as u64);
        for (i, d) in data.iter().enumerate() {
            self.m.set(self.wdata[i], *d as u64);
        }
        self.m.set(self.w_req[0], 1);
        self.m.tick();
        self.m.set(self.w_req[0], 0);
        self.m.tick();
        self.m.eval();
        let trap = self.m.get(self.w_trap[0]) == 1;
        trap
    }

    /// Runs jobs to their end; returns, per job, the cycles from its hand-over to its last result written.
    pub fn run(&mut self, jobs: &[Job], mut traffic: Option<&mut Random>) -> Result<Vec<u64>, (u64, u64, u64)> {
        let mut words: Vec<Vec<u32>> = jobs.iter().map(|j| Instr::Gemm(j.gemm).encode().to_vec()).collect();
        // the fetcher has resolved address registers: what is above an address is none of the engine's business
        for job in &mut words {
            [3, 5, 7, 9, 10].iter().for_each(|&i| job[i] |= self.noise.bits() as u32 & !Addr::MASK);
        }
        let (base, mut job, mut word, mut now) = (self.issued, 0, 0, 0u64);
        let (mut handed, mut ended) = (vec![], vec![]);
        let mut last = self.m.get(self.p.done_count);
        // eight cycles a product, of which the array makes many in one, and room to fill and drain
        let work: u64 = jobs.iter().map(|j| j.gemm.m as u64 * j.gemm.k as u64 * j.gemm.n as u64).sum();
        let limit = 50_000 + 8 * work;
        while ended.len() < jobs.len() {
            let offer = job < jobs.len();
            self.m.set(self.p.iw_valid, offer as u64);
            if offer {
                self.m.set(self.p.iw_data, words[job][word] as u64);
                // beside other words than the first there is anything
                let noise = self.noise.bits();
                let first = |value: u64, shift: u32| if word == 0 { value } else { noise >> shift };
                self.m.set(self.p.iw_pc, first((base + job as u64) * 12 & 0xffff, 0));
                self.m.set(self.p.iw_wm_en, first(jobs[job].wait as u64, 16));
                self.m.set(self.p.iw_wm, first((base + job as u64) & 255, 17));
                self.m.set(self.p.iw_wv_en, first(0, 25));
                self.m.set(self.p.iw_wv, first(noise >> 26, 26));
            }
            if let Some(r) = traffic.as_deref_mut() {
                let bits = r.bits();
                for i in 0..4 {
                    self.m.set(self.r_req[i], bits >> i & 1);
                }
                self.m.set(self.p.r_smem, bits >> 8 & 1);
                self.m.set(self.p.r_addr, (bits >> 16 & 0x7ff) | (bits >> 9 & 1) << 19);
                self.m.set(self.p.r_count, self.n as u64);
            }
            let taken = offer && self.m.get(self.p.iw_ready) == 1;
            self.m.tick();
            now += 1;
            if taken {
                word += 1;
                if word == 12 {
                    (job, word) = (job + 1, 0);
                    handed.push(now);
                }
            }
            let set = self.m.get(self.p.flag_set);
            if set != 0 {
                self.flags.push((set, self.m.get(self.p.flag_pc), self.m.get(self.p.flag_addr)));
            }
            let done = self.m.get(self.p.done_count);
            if done != last {
                assert_eq!(done, (last + 1) & 255);
                last = done;
                ended.push(now);
            }
            if self.m.get(self.p.trap) == 1 {
                self.m.set(self.p.iw_valid, 0);
                self.m.tick();
                while self.m.get(self.p.range_busy) == 1 {
                    self.m.tick();
                }
                let seen = (self.m.get(self.p.trap_cause), self.m.get(self.p.trap_info), self.m.get(self.p.trap_pc));
                return Err(seen);
            }
            if now > limit {
                std::panic::panic_any(Hang(self.m.cycles()));
            }
        }
        self.issued += jobs.len() as u64;
        self.m.set(self.p.iw_valid, 0);
        self.r_req.iter().for_each(|p| self.m.set(*p, 0));
        for _ in 0..4 {
            self.m.tick();
            let set = self.m.get(self.p.flag_set);
            if set != 0 {
                self.flags.push((set, self.m.get(self.p.flag_pc), self.m.get(self.p.flag_addr)));
            }
        }
        assert_eq!(self.m.get(self.p.idle), 1);
        Ok(handed.iter().zip(&ended).map(|(h, e)| e - h).collect())
    }
}
