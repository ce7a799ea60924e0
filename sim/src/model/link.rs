//! The hardware half of the link: bytes to frames in the receive ring, frames in the transmit ring to bytes.

use systole_isa::frame::{CRC_BYTES, HEADER, MAX_CONTENT};

/// A ring in memory: frames as a length word, the content, padding to whole words.
pub struct Ring {
    words: Vec<u32>,
    /// Byte offset behind the last frame.
    pub head: u32,
    /// Byte offset of the first frame.
    pub tail: u32,
}

impl Ring {
    /// A ring of `bytes` bytes, a power of two.
    pub fn new(bytes: u32) -> Ring {
        Ring { words: vec![0; bytes as usize / 4], head: 0, tail: 0 }
    }

    /// Bytes that the ring holds.
    pub fn bytes(&self) -> u32 {
        self.words.len() as u32 * 4
    }

    /// An offset brought into the ring, and to a word.
    pub fn wrap(&self, offset: u32) -> u32 {
        offset & (self.bytes() - 1) & !3
    }

    /// The word at a byte offset.
    pub fn word(&self, offset: u32) -> u32 {
        self.words[self.wrap(offset) as usize / 4]
    }

    /// Sets the word at a byte offset.
    pub fn set_word(&mut self, offset: u32, value: u32) {
        let i = self.wrap(offset) as usize / 4;
        self.words[i] = value;
    }

    /// `count` bytes from a byte offset.
    pub fn read(&self, offset: u32, count: u32) -> Vec<u8> {
        (0..count).map(|i| (self.word(offset + i) >> (8 * ((offset + i) & 3))) as u8).collect()
    }

    /// Writes bytes from a word's start; what is left of the last word becomes zero.
    pub fn write(&mut self, offset: u32, bytes: &[u8]) {
        for (i, part) in bytes.chunks(4).enumerate() {
            let mut word = [0; 4];
            word[..part.len()].copy_from_slice(part);
            self.set_word(offset + 4 * i as u32, u32::from_le_bytes(word));
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

    /// Takes the first frame; `None` where there is none, or its length cannot be true.
    fn take(&mut self) -> Option<Vec<u8>> {
        let used = self.used();
        let length = self.word(self.tail);
        let need = length.checked_next_multiple_of(4)?.checked_add(4)?;
        if used == 0 || need > used {
            return None;
        }
        let content = self.read(self.tail + 4, length);
        self.tail = self.wrap(self.tail + need);
        Some(content)
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
}

/// Longest encoding of a frame without its delimiter: one more byte for every 254.
const MAX_ENCODED: usize = cobs::max_encoding_length(MAX_CONTENT + CRC_BYTES);

impl Link {
    /// A link with rings of these sizes.
    pub fn new(rx_bytes: u32, tx_bytes: u32) -> Link {
        let (rx, tx) = (Ring::new(rx_bytes), Ring::new(tx_bytes));
        Link { rx, tx, damaged: 0, overrun: 0, pending: Vec::new(), out: Vec::new() }
    }

    /// One byte from the host; true where a frame, good or bad, ended with it.
    pub fn byte(&mut self, byte: u8) -> bool {
        if byte != 0 {
            if self.pending.len() <= MAX_ENCODED {
                self.pending.push(byte);
            }
            return false;
        }
        let encoded = std::mem::take(&mut self.pending);
        if encoded.is_empty() {
            return false;
        }
        match decode(&encoded) {
            None => self.damaged = self.damaged.wrapping_add(1),
            Some(content) if self.rx.append(&content) => {}
            Some(_) => self.overrun = self.overrun.wrapping_add(1),
        }
        true
    }

    /// Sends every frame up to the transmit ring's head.
    pub fn transmit(&mut self) {
        while let Some(content) = self.tx.take() {
            self.out.extend(encode(&content));
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
    if encoded.len() > MAX_ENCODED {
        return None;
    }
    let mut bytes = cobs::decode_vec(encoded).ok()?;
    let length = bytes.len().checked_sub(CRC_BYTES)?;
    let crc = bytes.split_off(length);
    let good = crc32fast::hash(&bytes).to_le_bytes() == crc[..];
    (good && (HEADER..=MAX_CONTENT).contains(&length)).then_some(bytes)
}

/// A content as it goes over the wire, delimiter included.
pub fn encode(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.extend(crc32fast::hash(content).to_le_bytes());
    let mut encoded = cobs::encode_vec(&bytes);
    encoded.push(0);
    encoded
}
