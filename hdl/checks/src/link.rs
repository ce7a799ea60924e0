//! The link engine against the crates `cobs` and `crc32fast`.

use std::collections::VecDeque;

use crate::design::{Check, Design, Dut};
use systole_hdl::link::Link;
use systole_isa::frame::MAX_CONTENT;
use systole_isa::machine::Machine;
use systole_isa::regs;

const SEED: u64 = 0x5e71_0001;
/// Bytes of each ring: a few of the longest frames.
const RING: u32 = 4096;

/// Frames of every shape arrive whole.
pub const FRAMES_ARRIVE_WHOLE: Check = Check { name: "link::frames_arrive_whole", design, run: frames_arrive_whole };

/// Damaged and over-long frames are dropped and counted; the next one arrives.
pub const DAMAGE_NEVER_REACHES_THE_RING: Check =
    Check { name: "link::damage_never_reaches_the_ring", design, run: damage_never_reaches_the_ring };

/// A full ring drops whole frames.
pub const A_FULL_RING_DROPS_WHOLE_FRAMES_AND_SAYS_SO: Check = Check {
    name: "link::a_full_ring_drops_whole_frames_and_says_so",
    design,
    run: a_full_ring_drops_whole_frames_and_says_so,
};

/// A frame that fills the ring to the word arrives, one that is a word longer does not.
pub const A_RING_FILLS_TO_THE_LAST_WORD: Check =
    Check { name: "link::a_ring_fills_to_the_last_word", design, run: a_ring_fills_to_the_last_word };

/// Damaged frames and those without room are counted through all 16 bits.
pub const COUNTERS_GO_AROUND: Check = Check { name: "link::counters_go_around", design, run: counters_go_around };

/// What is sent decodes.
pub const SENT_FRAMES_DECODE: Check = Check { name: "link::sent_frames_decode", design, run: sent_frames_decode };

/// The bus reads before the mover does.
pub const THE_BUS_HAS_PRECEDENCE_OVER_THE_MOVER: Check =
    Check { name: "link::the_bus_has_precedence_over_the_mover", design, run: the_bus_has_precedence_over_the_mover };

fn design() -> Design {
    let machine = Machine { rx_ring_bytes: RING, tx_ring_bytes: RING, ..Machine::DEFAULT };
    Design::of(Link::new(&machine), "link_top")
}

struct Bench<'a> {
    m: &'a mut Dut,
    rx_mask: u32,
    tx_mask: u32,
}

impl<'a> Bench<'a> {
    fn new(m: &'a mut Dut) -> Bench<'a> {
        Bench { m, rx_mask: RING - 1, tx_mask: RING - 1 }
    }
    fn set(&mut self, port: &str, v: u64) {
        let p = self.m.find(port).expect("a port of the link");
        self.m.set(p, v);
    }
    fn get(&self, port: &str) -> u64 {
        self.m.get(self.m.find(port).expect("a port of the link"))
    }
    fn read(&mut self, register: u32) -> u32 {
        self.set("sel", 1);
        self.set("we", 0);
        self.set("addr", register.into());
        self.m.tick();
        self.set("sel", 0);
        self.get("rdata") as u32
    }
    fn write(&mut self, register: u32, v: u32) {
        self.set("sel", 1);
        self.set("we", 1);
        self.set("addr", register.into());
        self.set("wdata", v.into());
        self.m.tick();
        self.set("sel", 0);
        self.set("we", 0);
    }
    fn ring_word(&mut self, offset: u32) -> u32 {
        self.set("bus_read", 1);
        self.set("bus_read_at", (offset & self.rx_mask).into());
        self.m.tick();
        self.set("bus_read", 0);
        self.get("ring_data") as u32
    }
    fn feed(&mut self, bytes: &[u8]) {
        let [valid, data] = ["rx_valid", "rx_data"].map(|p| self.m.find(p).expect("a port of the link"));
        self.m.set(valid, 1);
        for &b in bytes {
            self.m.set(data, b.into());
            self.m.tick();
        }
        self.m.set(valid, 0);
        self.m.tick();
    }
    /// The oldest frame in the receive ring, released once read.
    fn receive(&mut self) -> Option<Vec<u8>> {
        let tail = self.read(regs::RX_TAIL);
        if self.read(regs::RX_HEAD) == tail {
            return None;
        }
        let len = self.ring_word(tail);
        let mut out = Vec::new();
        for i in 0..len.div_ceil(4) {
            out.extend(self.ring_word(tail + 4 + 4 * i).to_le_bytes());
        }
        out.truncate(len as usize);
        self.write(regs::RX_TAIL, (tail + 4 + len.next_multiple_of(4)) & self.rx_mask);
        Some(out)
    }
    fn send(&mut self, content: &[u8]) {
        let mut at = self.read(regs::TX_HEAD);
        let mut words = vec![content.len() as u32];
        words.extend(content.chunks(4).map(|c| {
            let mut b = [0xaa; 4];
            b[..c.len()].copy_from_slice(c);
            u32::from_le_bytes(b)
        }));
        for w in words {
            self.set("bus_write", 1);
            self.set("bus_write_at", at.into());
            self.set("bus_write_data", w.into());
            self.m.tick();
            at = (at + 4) & self.tx_mask;
        }
        self.set("bus_write", 0);
        self.write(regs::TX_HEAD, at);
    }
    /// Bytes that come out in `cycles`, the reader being ready in three cycles of four.
    fn collect(&mut self, cycles: usize, rng: &mut fastrand::Rng) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..cycles {
            let ready = rng.u8(0..4) != 0;
            self.set("tx_ready", ready.into());
            self.m.eval();
            if ready && self.get("tx_valid") == 1 {
                out.push(self.get("tx_data") as u8);
            }
            self.m.tick();
        }
        out
    }
}

fn wire(content: &[u8]) -> Vec<u8> {
    let mut c = content.to_vec();
    c.extend(crc32fast::hash(content).to_le_bytes());
    let mut w = cobs::encode_vec(&c);
    w.push(0);
    w
}

/// Contents that hit every corner of COBS: runs without a zero, zeros alone, 253 to 256 bytes between zeros.
fn contents(rng: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = vec![vec![0; 4], vec![1; 4], vec![0; MAX_CONTENT], vec![7; MAX_CONTENT]];
    for run in 250..=260 {
        let mut v = vec![9u8; run];
        all.push(v.clone());
        v.push(0);
        all.push(v.clone());
        v.extend([5, 0, 0, 6]);
        all.push(v);
    }
    for _ in 0..200 {
        let longest = if rng.bool() { 40 } else { MAX_CONTENT };
        let len = rng.usize(4..=longest);
        let density = rng.u8(0..4);
        all.push((0..len).map(|_| if rng.u8(0..4) < density { 0 } else { rng.u8(..) }).collect());
    }
    all
}

fn frames_arrive_whole(dut: &mut Dut) {
    let mut rng = fastrand::Rng::with_seed(SEED);
    let mut b = Bench::new(dut);
    for (i, c) in contents(&mut rng).into_iter().enumerate() {
        b.feed(&wire(&c));
        assert_eq!(b.receive().as_deref(), Some(&c[..]), "frame {i} of {} bytes", c.len());
        assert_eq!(b.receive(), None);
    }
    assert_eq!(b.read(regs::RX_ERRORS), 0);
}

fn damage_never_reaches_the_ring(dut: &mut Dut) {
    let mut rng = fastrand::Rng::with_seed(SEED + 1);
    let mut b = Bench::new(dut);
    let mut dropped = 0;
    for i in 0..600 {
        let len = rng.usize(4..200);
        let good: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
        let mut w = wire(&good);
        // flip a bit, cut bytes out, double one, or make the frame too long; keep the delimiter where it is
        let at = rng.usize(0..w.len() - 1);
        match rng.u8(0..4) {
            0 => w[at] ^= 1 << rng.u8(0..8),
            1 => drop(w.drain(at..at + 1)),
            2 => w.insert(at, w[at]),
            _ => w = wire(&vec![rng.u8(..); MAX_CONTENT + 1 + rng.usize(0..3000)]),
        }
        b.feed(&w);
        // a flip may make a zero, which splits the frame in two damaged ones: count what an independent decoder accepts
        for part in w.split(|&x| x == 0).filter(|p| !p.is_empty()) {
            let sound = cobs::decode_vec(part).is_ok_and(|d| {
                let fits = (8..=MAX_CONTENT + 4).contains(&d.len());
                fits && crc32fast::hash(&d[..d.len() - 4]).to_le_bytes() == d[d.len() - 4..]
            });
            assert!(!sound, "case {i} is not damaged at all");
            dropped += 1;
        }
        assert_eq!(b.receive(), None, "case {i}");
        b.feed(&wire(&good));
        assert_eq!(b.receive().as_deref(), Some(&good[..]), "the frame behind case {i}");
    }
    assert_eq!(b.read(regs::RX_ERRORS), dropped);
}

fn a_full_ring_drops_whole_frames_and_says_so(dut: &mut Dut) {
    let mut b = Bench::new(dut);
    let frame = vec![3u8; 1000];
    for _ in 0..5 {
        b.feed(&wire(&frame));
    }
    // 4096 bytes hold four frames of 1004 with a word to spare
    assert_eq!(b.read(regs::RX_ERRORS), 1 << 16);
    for _ in 0..4 {
        assert_eq!(b.receive().as_deref(), Some(&frame[..]));
    }
    assert_eq!(b.receive(), None);
    b.feed(&wire(&frame));
    assert_eq!(b.receive().as_deref(), Some(&frame[..]));
}

fn a_ring_fills_to_the_last_word(dut: &mut Dut) {
    let mut rng = fastrand::Rng::with_seed(SEED + 3);
    let mut b = Bench::new(dut);
    let (mut kept, mut used, mut lost, mut brims) = (VecDeque::new(), 0, 0, 0);
    for i in 0..400 {
        // whole words of contents that just have room: length word and CRC come with them, and a word of the ring stays free
        let room = RING as usize - 12 - used;
        let words = match rng.u8(0..4) {
            0 if room <= MAX_CONTENT - 4 => room,
            1 if room <= MAX_CONTENT - 8 => room + 4,
            _ => rng.usize(4..=MAX_CONTENT - 4) & !3,
        };
        let frame: Vec<u8> = (0..(words + rng.usize(0..4)).max(4)).map(|_| rng.u8(..)).collect();
        b.feed(&wire(&frame));
        match frame.len() & !3 <= room {
            true => {
                brims += usize::from(frame.len() & !3 == room);
                used += 4 + frame.len().next_multiple_of(4);
                kept.push_back(frame);
            }
            false => lost += 1,
        }
        assert_eq!(b.read(regs::RX_ERRORS), lost << 16, "frame {i}");
        while used > RING as usize - 16 || rng.u8(0..3) == 0 {
            let expected: Option<Vec<u8>> = kept.pop_front();
            used -= expected.as_ref().map_or(0, |f| 4 + f.len().next_multiple_of(4));
            assert_eq!(b.receive(), expected, "after frame {i}");
        }
    }
    assert!(brims > 40 && lost > 40, "{brims} full rings, {lost} refusals");
}

fn counters_go_around(dut: &mut Dut) {
    const STEP: usize = 1 << 11;
    let mut b = Bench::new(dut);
    // one byte and no CRC
    let damaged = [2u8, 1, 0].repeat(STEP);
    let mut count = 0;
    for _ in 0..(1 << 16) / STEP {
        b.feed(&damaged);
        count += STEP as u32;
        assert_eq!(b.read(regs::RX_ERRORS), count & 0xffff);
    }
    b.feed(&[2, 1, 0]);
    assert_eq!(b.read(regs::RX_ERRORS), 1, "around");
    let sound = wire(&[7; 4]);
    while b.read(regs::RX_ERRORS) == 1 {
        b.feed(&sound);
    }
    let lost = sound.repeat(STEP);
    count = 1;
    for _ in 0..(1 << 16) / STEP {
        assert_eq!(b.read(regs::RX_ERRORS), (count & 0xffff) << 16 | 1);
        b.feed(&lost);
        count += STEP as u32;
    }
    assert_eq!(b.read(regs::RX_ERRORS), 1 << 16 | 1, "around");
    assert_eq!(b.receive().as_deref(), Some(&[7; 4][..]), "what was there is still there");
}

fn sent_frames_decode(dut: &mut Dut) {
    let mut rng = fastrand::Rng::with_seed(SEED + 2);
    let mut b = Bench::new(dut);
    for (i, c) in contents(&mut rng).into_iter().enumerate() {
        b.send(&c);
        let out = b.collect(4 * c.len() + 200, &mut rng);
        let (&end, body) = out.split_last().expect("bytes came out");
        assert_eq!(end, 0);
        assert!(!body.contains(&0), "one delimiter in frame {i}");
        let d = cobs::decode_vec(body).unwrap_or_else(|e| panic!("frame {i} of {} bytes: {e:?}", c.len()));
        let (content, crc) = d.split_at(d.len() - 4);
        assert_eq!(content, &c[..], "frame {i}");
        assert_eq!(crc, crc32fast::hash(&c).to_le_bytes(), "frame {i}");
        assert_eq!(b.read(regs::TX_TAIL), b.read(regs::TX_HEAD));
    }
}

fn the_bus_has_precedence_over_the_mover(dut: &mut Dut) {
    let mut b = Bench::new(dut);
    b.feed(&wire(b"firstsecond!"));
    b.set("mover_read", 1);
    b.set("mover_read_at", 8);
    b.set("bus_read", 1);
    b.set("bus_read_at", 4);
    b.m.eval();
    assert_eq!(b.get("mover_read_grant"), 0);
    b.m.tick();
    assert_eq!(b.get("ring_data") as u32, u32::from_le_bytes(*b"firs"));
    b.set("bus_read", 0);
    b.m.eval();
    assert_eq!(b.get("mover_read_grant"), 1);
    b.m.tick();
    assert_eq!(b.get("ring_data") as u32, u32::from_le_bytes(*b"tsec"));
}
