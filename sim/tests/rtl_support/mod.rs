//! The smallest host, for any device; and two devices side by side.
#![allow(dead_code)]

pub mod pair;
pub mod program;

use std::sync::OnceLock;
use std::time::Duration;

use systole_isa::frame::{self, Content, HELLO_MAGIC, Kind, REPLY};
use systole_isa::instr::Instr;
use systole_isa::machine::Machine;
use systole_isa::{ISA_VERSION, PROTOCOL_VERSION};
use systole_sim::model::link::{decode, encode};
use systole_sim::rtl::{self, Build};
use systole_sim::{Port, Rtl};
use systole_verilator::Options;

/// Cycles that a program may take.
pub const DEADLINE: u32 = 2_000_000;

/// A program's words.
pub fn assemble(program: &[Instr]) -> Vec<u32> {
    program.iter().flat_map(|i| i.encode().to_vec()).collect()
}

/// Words as the link carries them.
pub fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// A number in the environment.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{v}`")))
}

/// A machine whose memories are small enough to be read out whole after every program.
pub const fn small(lanes: u32) -> Machine {
    Machine {
        lanes,
        vector_lanes: lanes,
        adder_latency: 3,
        memory_latency: 2,
        hmem_words: 1 << 13,
        smem_words: 1 << 12,
        mask_bits: 1 << 11,
        pmem_words: 1 << 11,
        acc_rows: 64,
        firmware_bytes: 64 << 10,
        rx_ring_bytes: 4 << 10,
        tx_ring_bytes: 4 << 10,
    }
}

/// The machine that most tests share: they wait for one build only.
pub const SHARED: Machine = small(4);

/// Builds a machine, once per process for [`SHARED`].
pub fn build(machine: Machine) -> Build {
    static BUILT: OnceLock<Build> = OnceLock::new();
    let make = || {
        rtl::setup(&Options::workspace(), machine, &mut |_| ()).unwrap_or_else(|e| panic!("{e}\n{}", e.help())).build
    };
    if machine == SHARED { BUILT.get_or_init(make).clone() } else { make() }
}

/// The hardware of a machine, booted.
pub fn rtl(machine: Machine) -> Rtl {
    Rtl::start(&build(machine), None).unwrap_or_else(|e| panic!("{e}\n{}", e.help()))
}

/// Calls that bring nothing before a reply counts as lost: 10 million cycles of hardware.
const PATIENCE: usize = 500;

/// A reply: its kind and what follows the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub kind: u8,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn words(&self) -> Vec<u32> {
        self.body.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }
}

/// A device and its host.
pub struct Client<P: Port> {
    pub device: P,
    /// Sequence number of the next request.
    pub next: u8,
    /// Contents of notices other than logs.
    pub notices: Vec<Vec<u8>>,
    /// The log's bytes.
    pub log: Vec<u8>,
    partial: Vec<u8>,
}

impl<P: Port> Client<P> {
    /// Greets a device.
    pub fn new(device: P) -> Client<P> {
        let mut c = Client { device, next: 0, notices: Vec::new(), log: Vec::new(), partial: Vec::new() };
        let hello = c.ok(Kind::Hello, &[HELLO_MAGIC, PROTOCOL_VERSION, ISA_VERSION]);
        assert_eq!(hello.len(), frame::hello::WORDS);
        assert_eq!(c.notices.remove(0)[0], Kind::Boot as u8);
        c
    }

    /// A request with number `seq`, as it goes over the wire.
    pub fn frame(seq: u8, kind: u8, words: &[u32], bulk: &[u8]) -> Vec<u8> {
        let mut content = frame::header(kind, seq, 0).to_vec();
        content.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        content.extend(bulk);
        encode(&content)
    }

    /// What the device says within one call; replies only, notices are put aside.
    pub fn listen(&mut self) -> Vec<(u8, Reply)> {
        let mut bytes = std::mem::take(&mut self.partial);
        self.device.receive(&mut bytes, Duration::ZERO).unwrap_or_else(|e| panic!("{}: {e}", self.device.name()));
        let mut replies = Vec::new();
        let mut frames: Vec<&[u8]> = bytes.split(|&b| b == 0).collect();
        self.partial = frames.pop().expect("split gives at least one").to_vec();
        for f in frames.into_iter().filter(|f| !f.is_empty()) {
            let content = decode(f)
                .unwrap_or_else(|| panic!("{}: {} bytes are no frame: {:02x?}", self.device.name(), f.len(), f));
            let c = Content::parse(&content).expect("has a header");
            match Kind::from_u8(c.kind) {
                Some(Kind::Log) => self.log.extend(c.body),
                Some(Kind::Nak | Kind::Boot) => self.notices.push(content),
                _ => replies.push((c.seq, Reply { kind: c.kind, body: c.body.to_vec() })),
            }
        }
        replies
    }

    /// Listens until the device has been silent for a while.
    pub fn drain(&mut self) -> Vec<(u8, Reply)> {
        let (mut replies, mut silent) = (Vec::new(), 0);
        while silent < 5 {
            let logged = self.log.len();
            let noticed = self.notices.len();
            let new = self.listen();
            let heard = !new.is_empty() || self.log.len() > logged || self.notices.len() > noticed;
            silent = if heard { 0 } else { silent + 1 };
            replies.extend(new);
        }
        replies
    }

    /// Sends several requests at once, and returns their replies in order.
    pub fn burst(&mut self, requests: &[Request]) -> Vec<Reply> {
        let first = self.next;
        for r in requests {
            let frame = Client::<P>::frame(self.next, r.kind as u8, &r.words, &r.bulk);
            self.device.send(&frame).expect("the port lives");
            self.next = self.next.wrapping_add(1);
        }
        let (mut replies, mut silent) = (Vec::new(), 0);
        while replies.len() < requests.len() {
            let new = self.listen();
            silent = if new.is_empty() { silent + 1 } else { 0 };
            assert!(silent < PATIENCE, "{}: no reply to {:?}", self.device.name(), requests[replies.len()]);
            for (seq, reply) in new {
                let i = replies.len();
                assert_eq!(
                    seq,
                    first.wrapping_add(i as u8),
                    "{}: replies come in order: {reply:?}",
                    self.device.name()
                );
                let fits = [requests[i].kind as u8 | REPLY, Kind::Error as u8].contains(&reply.kind);
                assert!(fits, "{}: {:?} answered by {reply:?}", self.device.name(), requests[i]);
                replies.push(reply);
            }
        }
        replies
    }

    /// The words of a reply, or of an error.
    pub fn request(&mut self, kind: Kind, words: &[u32], bulk: &[u8]) -> Result<Reply, [u32; 3]> {
        let reply = self.burst(&[Request::new(kind, words, bulk)]).remove(0);
        if reply.kind == Kind::Error as u8 {
            let w = reply.words();
            return Err([w[0], w[1], w[2]]);
        }
        Ok(reply)
    }

    /// The words of a reply.
    pub fn ok(&mut self, kind: Kind, words: &[u32]) -> Vec<u32> {
        self.request(kind, words, &[])
            .unwrap_or_else(|e| panic!("{}: {kind:?} failed: {e:x?}", self.device.name()))
            .words()
    }
}

/// A request but for its number.
#[derive(Clone, Debug)]
pub struct Request {
    pub kind: Kind,
    pub words: Vec<u32>,
    pub bulk: Vec<u8>,
}

impl Request {
    pub fn new(kind: Kind, words: &[u32], bulk: &[u8]) -> Request {
        Request { kind, words: words.to_vec(), bulk: bulk.to_vec() }
    }
}

/// A small generator (SplitMix64), so that a printed seed tells everything.
pub struct Rng(pub u64);

impl Rng {
    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    /// A number in `low..=high`.
    pub fn range(&mut self, low: i64, high: i64) -> i64 {
        low + (self.bits() % (high - low + 1) as u64) as i64
    }
    /// True once in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.bits() % n == 0
    }
    /// One of them.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.bits() as usize % of.len()]
    }
}
