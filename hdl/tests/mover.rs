//! The mover, Verilated: every direction and format with random rows, pitches, ring offsets and refusals, against memories
//! that are plain arrays; guard elements around everything.

mod control_common;

use control_common::{Rng, load};
use std::collections::{HashMap, VecDeque};
use systole_hdl::mover::Mover;
use systole_isa::machine::Machine;
use systole_isa::regs::{self, Space};
use systole_verilator::{Module, Port};

const MACHINE: Machine = Machine {
    hmem_words: 6000 * 2,
    smem_words: 5000 * 2,
    pmem_words: 3000,
    rx_ring_bytes: 8192,
    tx_ring_bytes: 4096,
    lanes: 4,
    vector_lanes: 4,
    ..Machine::DEFAULT
};
const PLANE: usize = 1 << 19;

struct Bench {
    m: Module,
    ports: HashMap<String, Port>,
    rng: Rng,
    /// hmem, smem, program memory, by address.
    memory: [HashMap<u32, u32>; 3],
    rx: Vec<u32>,
    tx: Vec<u32>,
    /// Percent of requests that are granted.
    grants: u32,
    cycles: u64,
    writes: usize,
    /// Elements between their grant and the mover.
    arriving: VecDeque<u32>,
}

impl Bench {
    fn new(seed: u64) -> Bench {
        Bench::of(&MACHINE, seed)
    }
    fn of(machine: &Machine, seed: u64) -> Bench {
        let m = load(&mut Mover::new(machine), "mover_top");
        let ports = m.ports().iter().map(|p| p.name.clone()).collect::<Vec<_>>();
        let ports = ports.into_iter().map(|n| (n.clone(), m.find(&n).unwrap())).collect();
        let mut rng = Rng::new(seed);
        let rx = (0..MACHINE.rx_ring_bytes / 4).map(|_| rng.word()).collect();
        let tx = vec![0xdead_beef; MACHINE.tx_ring_bytes as usize / 4];
        let arriving = vec![0; machine.memory_latency as usize - 1].into();
        Bench { m, ports, rng, memory: Default::default(), rx, tx, grants: 100, cycles: 0, writes: 0, arriving }
    }
    fn set(&mut self, port: &str, v: u32) {
        self.m.set(self.ports[port], v.into());
    }
    fn get(&self, port: &str) -> u32 {
        self.m.get(self.ports[port]) as u32
    }

    fn tick(&mut self) {
        self.m.eval();
        for (request, grant) in
            [("rx_req", "rx_gnt"), ("tx_req", "tx_gnt"), ("r_req", "r_gnt"), ("w_req", "w_gnt"), ("pm_req", "pm_gnt")]
        {
            let granted = self.get(request) == 1 && self.rng.chance(self.grants);
            self.set(grant, granted as u32);
        }
        self.m.eval();
        let junk = self.rng.word();
        let (mut ring, mut program, mut element) = (junk, junk, junk);
        if self.get("rx_gnt") == 1 {
            ring = self.rx[self.get("rx_addr") as usize / 4];
        }
        if self.get("tx_gnt") == 1 {
            let at = self.get("tx_addr") as usize;
            assert_eq!(at % 4, 0);
            self.tx[at / 4] = self.get("tx_wdata");
        }
        if self.get("r_gnt") == 1 {
            let (space, at) = (self.get("r_smem"), self.get("r_addr"));
            assert!(inside(space, at));
            // hmem's upper half is undefined
            element = self.memory[space as usize][&at] | if space == 0 { junk << 16 } else { 0 };
        }
        if self.get("pm_gnt") == 1 {
            program = self.memory[2][&self.get("pm_raddr")];
        }
        if self.get("w_gnt") == 1 {
            let (space, at) = (self.get("w_smem"), self.get("w_addr"));
            assert!(inside(space, at));
            let value = self.get("w_wdata") & if space == 0 { 0xffff } else { !0 };
            self.memory[space as usize].insert(at, value);
            self.writes += 1;
        }
        if self.get("pm_we") == 1 {
            let at = self.get("pm_waddr");
            assert!(inside(2, at));
            self.memory[2].insert(at, self.get("pm_wdata"));
            self.writes += 1;
        }
        self.m.tick();
        self.cycles += 1;
        self.set("rx_rdata", ring);
        self.set("pm_rdata", program);
        self.arriving.push_back(element);
        let arrived = self.arriving.pop_front().expect("a latency of two or more");
        self.set("r_rdata", arrived);
    }

    fn write(&mut self, register: u32, v: u32) {
        for (port, value) in [("sel", 1), ("we", 1), ("addr", register), ("wdata", v)] {
            self.set(port, value);
        }
        self.tick();
        self.set("sel", 0);
        self.set("we", 0);
    }
    fn read(&mut self, register: u32) -> u32 {
        for (port, value) in [("sel", 1), ("we", 0), ("addr", register)] {
            self.set(port, value);
        }
        self.tick();
        self.set("sel", 0);
        self.m.eval();
        self.get("rdata")
    }

    /// Runs a transfer; the cycles it took.
    fn transfer(&mut self, t: &Transfer) -> u64 {
        self.write(regs::MV_RING, t.ring);
        self.write(regs::MV_ADDR, t.at);
        self.write(regs::MV_COUNT, t.columns | t.rows << 16);
        self.write(regs::MV_PITCH, t.pitch as u32);
        let begun = self.cycles;
        self.write(regs::MV_CTRL, t.control());
        self.writes = 0;
        for _ in 0..100_000 {
            let status = self.read(regs::MV_CTRL);
            if status & 1 == 0 {
                let outside = t.addresses().any(|a| !inside(t.space as u32, a));
                assert_eq!(status, if outside { 2 } else { 0 }, "{t:?}");
                return self.cycles - begun;
            }
        }
        panic!("{t:?} does not end");
    }
}

fn inside(space: u32, at: u32) -> bool {
    match space {
        0 => at as usize % PLANE < 6000,
        1 => at as usize % PLANE < 5000,
        _ => at < 3000,
    }
}

#[derive(Clone, Debug)]
struct Transfer {
    space: Space,
    to_ring: bool,
    bytes: bool,
    fill: bool,
    scale: i32,
    ring: u32,
    at: u32,
    columns: u32,
    rows: u32,
    pitch: i32,
}

impl Transfer {
    fn control(&self) -> u32 {
        let bit = |on: bool, mask: u32| if on { mask } else { 0 };
        self.space as u32
            | bit(self.to_ring, regs::MV_TO_RING)
            | bit(self.bytes, regs::MV_BYTES)
            | bit(self.fill, regs::MV_FILL)
            | (self.scale as u8 as u32) << 8
    }
    fn addresses(&self) -> impl Iterator<Item = u32> + '_ {
        let at = |r: u32, c: u32| (self.at as i64 + r as i64 * self.pitch as i64 + c as i64) as u32 & 0xf_ffff;
        (0..self.rows).flat_map(move |r| (0..self.columns).map(move |c| at(r, c)))
    }
    fn random(rng: &mut Rng) -> Transfer {
        let space = Space::from_u8(rng.below(3) as u8).unwrap();
        let size = [6000, 5000, 3000][space as usize];
        let near_end = rng.chance(20);
        let plane = if space == Space::Program { 0 } else { rng.below(2) << 19 };
        let at = plane + if near_end { size - rng.below(30) } else { rng.below(size) };
        let to_ring = rng.chance(40);
        let fill = !to_ring && rng.chance(20);
        let bytes = !to_ring && !fill && space == Space::Hmem && rng.chance(60);
        let ring = if fill { rng.word() } else { rng.below(if to_ring { 1024 } else { 2048 }) * 4 };
        Transfer {
            space,
            to_ring,
            bytes,
            fill,
            scale: rng.below(22) as i32 - 14,
            ring,
            at,
            columns: 1 + rng.below(40),
            rows: 1 + rng.below(8),
            pitch: rng.below(200) as i32 - 60,
        }
    }
}

/// FP16 of a byte times a power of two, by way of f64 and division.
fn half_of(byte: u32, scale: i32) -> u32 {
    if byte == 0 {
        return 0;
    }
    let v = byte as f64 * (scale as f64).exp2();
    let e = v.log2().floor() as i32;
    let mantissa = (v / (e as f64).exp2() - 1.0) * 1024.0;
    assert_eq!(mantissa.fract(), 0.0);
    ((e + 15) as u32) << 10 | mantissa as u32
}

fn fill_memories(b: &mut Bench) {
    for space in 0..3 {
        let planes = if space == 2 { vec![0] } else { vec![0, PLANE as u32] };
        for at in planes.into_iter().flat_map(|p| (0..6000).map(move |i| p + i)).filter(|a| inside(space, *a)) {
            let value = b.rng.word() & if space == 0 { 0xffff } else { !0 };
            b.memory[space as usize].insert(at, value);
        }
    }
}

fn check(b: &mut Bench, t: &Transfer) {
    let (mut memory, mut tx) = (b.memory.clone(), b.tx.clone());
    let space = t.space as usize;
    let size = if t.bytes { 1 } else { t.space.element_bytes() };
    if t.to_ring {
        let mut bytes = vec![];
        for a in t.addresses() {
            let v = if inside(space as u32, a) { memory[space][&a] } else { 0 };
            bytes.extend_from_slice(&v.to_le_bytes()[..size as usize]);
        }
        bytes.resize(bytes.len().div_ceil(4) * 4, 0);
        for (i, w) in bytes.chunks(4).enumerate() {
            let n = tx.len();
            tx[(t.ring as usize / 4 + i) % n] = u32::from_le_bytes(w.try_into().unwrap());
        }
    } else {
        for (i, a) in t.addresses().enumerate() {
            let byte = (t.ring + i as u32 * size) % MACHINE.rx_ring_bytes;
            let raw = b.rx[byte as usize / 4] >> (8 * (byte % 4));
            let v = if t.fill {
                t.ring
            } else if t.bytes {
                half_of(raw & 0xff, t.scale)
            } else {
                raw
            };
            if inside(space as u32, a) {
                memory[space].insert(a, v & if space == 0 { 0xffff } else { !0 });
            }
        }
    }
    b.transfer(t);
    assert!(b.tx == tx, "transmit ring after {t:?}");
    for (s, expected) in memory.iter().enumerate() {
        let wrong = expected.iter().find(|(a, v)| b.memory[s][*a] != **v);
        assert_eq!(wrong.map(|(a, v)| (a, v, b.memory[s][a])), None, "space {s} after {t:?}");
        assert_eq!(expected.len(), b.memory[s].len());
    }
}

/// Random transfers on memories of this latency.
fn every_direction_and_format(memory_latency: u32) {
    let mut b = Bench::of(&Machine { memory_latency, ..MACHINE }, 0x3001);
    let mut rng = Rng::new(0x3002);
    fill_memories(&mut b);
    let mut outside = 0;
    for round in 0..600 {
        b.grants = [100, 100, 50, 10][round % 4];
        let t = Transfer::random(&mut rng);
        outside += t.addresses().any(|a| !inside(t.space as u32, a)) as u32;
        check(&mut b, &t);
    }
    println!("latency {memory_latency}: {outside} transfers reached out of range, {} cycles", b.cycles);
    assert!(outside > 50);
}

#[test]
fn every_direction_and_format_at_every_memory_latency() {
    for memory_latency in 2..=4 {
        every_direction_and_format(memory_latency);
    }
}

#[test]
fn every_byte_at_every_scale() {
    let mut b = Bench::new(1);
    for i in 0..64 {
        b.rx[i] = u32::from_le_bytes([0, 1, 2, 3].map(|j| (4 * i + j) as u8));
    }
    for scale in -14..=7 {
        let t = Transfer {
            space: Space::Hmem,
            to_ring: false,
            bytes: true,
            fill: false,
            scale,
            ring: 0,
            at: 100,
            columns: 256,
            rows: 1,
            pitch: 0,
        };
        let cycles = b.transfer(&t);
        assert!(cycles < 256 + 10, "{cycles} cycles for 256 bytes");
        for i in 0..256 {
            assert_eq!(b.memory[0][&(100 + i)], half_of(i, scale), "{i} · 2^{scale}");
        }
    }
}

#[test]
fn one_element_a_cycle() {
    let mut b = Bench::new(2);
    fill_memories(&mut b);
    for (space, to_ring, fill) in [
        (Space::Hmem, false, false),
        (Space::Smem, false, false),
        (Space::Program, false, false),
        (Space::Hmem, true, false),
        (Space::Smem, true, false),
        (Space::Program, true, false),
        (Space::Smem, false, true),
    ] {
        let t = Transfer {
            space,
            to_ring,
            bytes: false,
            fill,
            scale: 0,
            ring: 64,
            at: 0,
            columns: 100,
            rows: 8,
            pitch: 101,
        };
        let cycles = b.transfer(&t);
        println!("{space:?}, to ring {to_ring}, fill {fill}: {cycles} cycles for 800 elements");
        assert!(cycles <= 812);
    }
}

#[test]
fn abort_and_bad_starts() {
    let mut b = Bench::new(3);
    let mut rng = Rng::new(4);
    fill_memories(&mut b);
    for _ in 0..60 {
        b.grants = 40;
        let t = Transfer { columns: 200, rows: 20, ..Transfer::random(&mut rng) };
        for (register, v) in [
            (regs::MV_RING, t.ring),
            (regs::MV_ADDR, t.at),
            (regs::MV_COUNT, t.columns | t.rows << 16),
            (regs::MV_PITCH, t.pitch as u32),
        ] {
            b.write(register, v);
        }
        b.write(regs::MV_CTRL, t.control());
        (0..rng.below(300)).for_each(|_| b.tick());
        b.set("abort", 1);
        (0..16).for_each(|_| b.tick());
        b.set("abort", 0);
        b.writes = 0;
        assert_eq!(b.read(regs::MV_CTRL) & 1, 0);
        (0..20).for_each(|_| b.tick());
        assert_eq!(b.writes, 0, "nothing is written after an abort");
        check(&mut b, &Transfer::random(&mut rng));
    }
    // Sizes of zero and a space that does not exist: nothing happens.
    for (count, control, status) in [(0x1_0000, 0, 0), (5, 0, 0), (0x1_0001, 3, 2), (0x1_0001, 7 | regs::MV_TO_RING, 2)]
    {
        b.write(regs::MV_COUNT, count);
        b.write(regs::MV_CTRL, control);
        b.writes = 0;
        assert_eq!(b.read(regs::MV_CTRL), status);
        (0..20).for_each(|_| b.tick());
        assert_eq!(b.writes, 0);
    }
    assert_eq!(b.read(regs::MV_COUNT), 0x1_0001);
    assert_eq!(b.read(regs::MAGIC) | b.read(regs::RX_TAIL) | b.read(0x330), 0, "not its own registers");
}
