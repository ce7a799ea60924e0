//! The hardware half of the link: bytes to frames in the receive ring, frames in the transmit ring to bytes.

use systole_isa::frame::{CRC_BYTES, HEADER, MAX_CONTENT};

/// A ring in memory: frames as a length word, the content, padding to whole words.
pub struct Ring {
    memory: Vec<u8>,
    /// Byte offset behind the last frame.
    pub head: u32,
    /// Byte offset of the first frame.
    pub tail: u32,
}

impl Ring {
    /// A ring of `bytes` bytes, a power of two.
    pub fn new(bytes: u32) -> Ring {
        Ring { memory: vec![0; bytes as usize], head: 0, tail: 0 }
    }

    /// Bytes that the ring holds.
    pub fn bytes(&self) -> u32 {
        self.memory.len() as u32
    }

    /// An offset brought into the ring, and to a word.
    pub fn wrap(&self, offset: u32) -> u32 {
        offset & (self.bytes() - 1) & !3
    }

    /// The word at a byte offset.
    pub fn word(&self, offset: u32) -> u32 {
        let at = self.wrap(offset) as usize;
        self.memory[at..].first_chunk().map_or(0, |w| u32::from_le_bytes(*w))
    }

    /// Sets the word at a byte offset.
    pub fn set_word(&mut self, offset: u32, value: u32) {
        let at = self.wrap(offset) as usize;
        self.memory[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Appends `count` bytes from a byte offset to `to`.
    pub fn read(&self, offset: u32, count: u32, to: &mut Vec<u8>) {
        let mut at = (offset & (self.bytes() - 1)) as usize;
        let mut left = count as usize;
        while left > 0 {
            let part = left.min(self.memory.len() - at);
            to.extend_from_slice(&self.memory[at..at + part]);
            (at, left) = (0, left - part);
        }
    }

    /// Writes bytes from a word's start; what is left of the last word becomes zero.
    pub fn write(&mut self, offset: u32, bytes: &[u8]) {
        let mut at = self.wrap(offset) as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(rest.len().min(self.memory.len() - at));
            self.memory[at..at + part.len()].copy_from_slice(part);
            at = (at + part.len()) & (self.memory.len() - 1);
            rest = behind;
        }
        while !at.is_multiple_of(4) {
            self.memory[at] = 0;
            at += 1;
        }
    }

    fn used(&self) -> u32 {
        self.head.wrapping_sub(self.tail) & (self.bytes() - 1)
    }

    /// Appends a frame; false where it does not fit. A full ring keeps a word free, so that it differs from an empty one.
    fn append(&mut self, content: &[u8]) -> bool {
        let need = 4 + (content.len() as u32).next_multiple_of(4);
        if self.used() + need >= self.bytes() {
            return false;
        }
        self.set_word(self.head, content.len() as u32);
        self.write(self.head + 4, content);
        self.head = self.wrap(self.head + need);
        true
    }

    /// Takes the first frame into `content`; `false` where there is none, or its length cannot be true.
    fn take(&mut self, content: &mut Vec<u8>) -> bool {
        let used = self.used();
        let length = self.word(self.tail);
        let need = length.checked_next_multiple_of(4).and_then(|n| n.checked_add(4));
        let Some(need) = need.filter(|&n| used > 0 && n <= used) else { return false };
        content.clear();
        self.read(self.tail + 4, length, content);
        self.tail = self.wrap(self.tail + need);
        true
    }
}

/// Both directions of the link.
pub struct Link {
    /// Frames that have arrived.
    pub rx: Ring,
    /// Frames to be sent.
    pub tx: Ring,
    /// Frames dropped because they were damaged.
    pub damaged: u16,
    /// Frames dropped because the ring was full.
    pub overrun: u16,
    /// Bytes since the last delimiter; no more than one too many are kept.
    pending: Vec<u8>,
    /// Bytes on their way to the host.
    pub out: Vec<u8>,
    /// What one frame needs on its way, kept for the next.
    content: Vec<u8>,
}

/// Longest encoding of a frame without its delimiter: one more byte for every 254.
const MAX_ENCODED: usize = cobs::max_encoding_length(MAX_CONTENT + CRC_BYTES);

impl Link {
    /// A link with rings of these sizes.
    pub fn new(rx_bytes: u32, tx_bytes: u32) -> Link {
        let (rx, tx) = (Ring::new(rx_bytes), Ring::new(tx_bytes));
        Link { rx, tx, damaged: 0, overrun: 0, pending: Vec::new(), out: Vec::new(), content: Vec::new() }
    }

    /// Takes bytes from the host up to the end of a frame, good or bad. Returns how many, and whether a frame ended there.
    pub fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        let end = memchr::memchr(0, bytes);
        let part = &bytes[..end.unwrap_or(bytes.len())];
        let room = (MAX_ENCODED + 1).saturating_sub(self.pending.len());
        self.pending.extend_from_slice(&part[..part.len().min(room)]);
        let Some(end) = end else { return (bytes.len(), false) };
        let ended = !self.pending.is_empty();
        if ended {
            if !decode_into(&self.pending, &mut self.content) {
                self.damaged = self.damaged.wrapping_add(1);
            } else if !self.rx.append(&self.content) {
                self.overrun = self.overrun.wrapping_add(1);
            }
            self.pending.clear();
        }
        (end + 1, ended)
    }

    /// Sends every frame up to the transmit ring's head.
    pub fn transmit(&mut self) {
        while self.tx.take(&mut self.content) {
            self.out.extend(encode(&self.content));
        }
        self.tx.tail = self.tx.head;
    }

    /// [`systole_isa::regs::RX_ERRORS`].
    pub fn errors(&self) -> u32 {
        u32::from(self.damaged) | u32::from(self.overrun) << 16
    }
}

/// The content of a frame without its delimiter, if it is whole.
pub fn decode(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    decode_into(encoded, &mut content).then_some(content)
}

/// As [`decode`], into a buffer; `false` where the frame is not whole.
fn decode_into(encoded: &[u8], content: &mut Vec<u8>) -> bool {
    if encoded.len() > MAX_ENCODED {
        return false;
    }
    if !crate::stuffing::decode_into(encoded, content) {
        return false;
    }
    let Some((rest, crc)) = content.split_last_chunk::<CRC_BYTES>() else { return false };
    let length = rest.len();
    let good = crc32fast::hash(rest).to_le_bytes() == *crc && (HEADER..=MAX_CONTENT).contains(&length);
    content.truncate(length);
    good
}

/// A content as it goes over the wire, delimiter included.
pub fn encode(content: &[u8]) -> Vec<u8> {
    let bytes = [content, &crc32fast::hash(content).to_le_bytes()].concat();
    let mut encoded = Vec::with_capacity(bytes.len() + 8);
    crate::stuffing::encode_into(&bytes, &mut encoded);
    encoded.push(0);
    encoded
}
