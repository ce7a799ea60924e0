//! The smallest host: frames requests, waits for their replies.

use std::time::Duration;

use systole_isa::frame::{self, HELLO_MAGIC, Kind, REPLY};
use systole_isa::machine::Machine;
use systole_isa::{ISA_VERSION, PROTOCOL_VERSION};
use systole_sim::model::link::{decode, encode};
use systole_sim::{Model, Port};

/// A model and its host.
pub struct Client {
    pub device: Model,
    /// Sequence number of the next request.
    pub next: u8,
}

fn words_of(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

impl Client {
    /// A device that has been greeted.
    pub fn new(machine: Machine) -> Client {
        let mut c = Client { device: Model::new(machine).expect("valid machine"), next: 0 };
        assert_eq!(c.collect()[0][0], Kind::Boot as u8);
        let hello = c.ok(Kind::Hello, &[HELLO_MAGIC, PROTOCOL_VERSION, ISA_VERSION]);
        assert_eq!(hello[frame::hello::HMEM_WORDS], machine.hmem_words);
        c
    }

    /// A request with the next number, as it goes over the wire.
    pub fn frame(&self, kind: Kind, words: &[u32], bulk: &[u8]) -> Vec<u8> {
        let mut content = frame::header(kind as u8, self.next, 0).to_vec();
        content.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        content.extend(bulk);
        encode(&content)
    }

    /// Contents of everything that the device has to say.
    pub fn collect(&mut self) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        while self.device.receive(&mut bytes, Duration::ZERO).expect("firmware lives") > 0 {}
        let frames = bytes.split(|&b| b == 0).filter(|f| !f.is_empty());
        frames.map(|f| decode(f).expect("the device sends whole frames")).collect()
    }

    fn exchange(&mut self, kind: Kind, words: &[u32], bulk: &[u8]) -> Result<Vec<u8>, [u32; 3]> {
        let frame = self.frame(kind, words, bulk);
        self.device.send(&frame).expect("firmware lives");
        let replies = self.collect();
        assert_eq!(replies.len(), 1, "{kind:?}: {replies:?}");
        let content = frame::Content::parse(&replies[0]).expect("has a header");
        assert_eq!(content.seq, self.next);
        self.next = self.next.wrapping_add(1);
        if content.kind == Kind::Error as u8 {
            return Err([0, 1, 2].map(|i| content.word(i).expect("errors have three words")));
        }
        assert_eq!(content.kind, kind as u8 | REPLY);
        Ok(content.body.to_vec())
    }

    /// Sends several requests before any is answered; what each brings, in order.
    pub fn together(&mut self, requests: &[(Kind, &[u32])]) -> Vec<Result<Vec<u32>, [u32; 3]>> {
        let first = self.next;
        let mut wire = Vec::new();
        for (kind, words) in requests {
            wire.extend(self.frame(*kind, words, &[]));
            self.next = self.next.wrapping_add(1);
        }
        self.device.send(&wire).expect("firmware lives");
        let replies = self.collect();
        assert_eq!(replies.len(), requests.len());
        let result = |(i, reply): (usize, &Vec<u8>)| {
            let content = frame::Content::parse(reply).expect("has a header");
            assert_eq!(content.seq, first.wrapping_add(i as u8));
            match content.kind == Kind::Error as u8 {
                true => Err([0, 1, 2].map(|i| content.word(i).expect("errors have three words"))),
                false => Ok(words_of(content.body)),
            }
        };
        replies.iter().enumerate().map(result).collect()
    }

    /// The words of a reply, or of an error.
    pub fn request(&mut self, kind: Kind, words: &[u32]) -> Result<Vec<u32>, [u32; 3]> {
        self.exchange(kind, words, &[]).map(|b| words_of(&b))
    }

    /// The words of a reply.
    pub fn ok(&mut self, kind: Kind, words: &[u32]) -> Vec<u32> {
        self.request(kind, words).unwrap_or_else(|e| panic!("{kind:?} failed: {e:x?}"))
    }

    /// A request with bulk data.
    pub fn ok_with(&mut self, kind: Kind, words: &[u32], bulk: &[u8]) {
        self.exchange(kind, words, bulk).unwrap_or_else(|e| panic!("{kind:?} failed: {e:x?}"));
    }

    /// A request with a body of bytes.
    pub fn send(&mut self, kind: Kind, body: &[u8]) -> Result<Vec<u8>, [u32; 3]> {
        self.exchange(kind, &[], body)
    }

    /// What a `Read` brings.
    pub fn read(&mut self, words: &[u32]) -> Vec<u8> {
        self.exchange(Kind::Read, words, &[]).expect("readable")
    }

    /// Writes words into `smem` (1) or program memory (2).
    pub fn write_words(&mut self, space: u32, at: u32, words: &[u32]) {
        let bulk: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let count = words.len() as u32;
        self.ok_with(Kind::Write, &[space, at, count | 1 << 16, count], &bulk);
    }
}
