//! Frames on the wire: `COBS(content ++ CRC-32) ++ 0x00`.

use systole_isa::frame::{CRC_BYTES, HEADER, MAX_CONTENT};
use systole_sim::stuffing;

/// The wire bytes of one content.
pub fn encode(content: &[u8]) -> Vec<u8> {
    debug_assert!((HEADER..=MAX_CONTENT).contains(&content.len()));
    let mut raw = Vec::with_capacity(content.len() + CRC_BYTES);
    raw.extend_from_slice(content);
    raw.extend_from_slice(&crc32fast::hash(content).to_le_bytes());
    let mut wire = Vec::with_capacity(raw.len() + 8);
    stuffing::encode_into(&raw, &mut wire);
    wire.push(0);
    wire
}

/// What a [`Deframer`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole, undamaged content.
    Content(Vec<u8>),
    /// Bytes between two zeros that are no frame; how many.
    Damaged(usize),
}

/// Cuts a stream of bytes into contents.
#[derive(Debug, Default)]
pub struct Deframer {
    buffer: Vec<u8>,
    overlong: bool,
}

impl Deframer {
    /// Longest encoding of a legal frame, without the closing zero.
    const LONGEST: usize = MAX_CONTENT + CRC_BYTES + (MAX_CONTENT + CRC_BYTES) / 254 + 1;

    /// Takes some bytes and calls `found` for every frame that they complete.
    pub fn push(&mut self, bytes: &[u8], mut found: impl FnMut(Event)) {
        for &b in bytes {
            if b != 0 {
                if self.buffer.len() < Self::LONGEST {
                    self.buffer.push(b);
                } else {
                    self.overlong = true;
                }
            } else if !self.buffer.is_empty() {
                found(self.finish());
            }
        }
    }

    fn finish(&mut self) -> Event {
        let length = self.buffer.len();
        let overlong = std::mem::take(&mut self.overlong);
        let mut raw = Vec::new();
        let whole = stuffing::decode_into(&self.buffer, &mut raw);
        self.buffer.clear();
        if !whole || overlong || !(HEADER + CRC_BYTES..=MAX_CONTENT + CRC_BYTES).contains(&raw.len()) {
            return Event::Damaged(length);
        }
        let crc = raw.split_off(raw.len() - CRC_BYTES);
        if crc32fast::hash(&raw).to_le_bytes()[..] != crc[..] {
            return Event::Damaged(length);
        }
        Event::Content(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_content_survives_in_any_pieces(
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), HEADER..=MAX_CONTENT), 1..4),
            piece in 1usize..200,
        ) {
            let wire: Vec<u8> = contents.iter().flat_map(|c| encode(c)).collect();
            let (mut deframer, mut got) = (Deframer::default(), Vec::new());
            for part in wire.chunks(piece) {
                deframer.push(part, |e| got.push(e));
            }
            prop_assert_eq!(got, contents.into_iter().map(Event::Content).collect::<Vec<_>>());
        }

        #[test]
        fn one_damaged_byte_never_passes(content in prop::collection::vec(any::<u8>(), HEADER..200), at: usize, flip in 1u8..) {
            let mut wire = encode(&content);
            let at = at % (wire.len() - 1);
            wire[at] ^= flip;
            let mut deframer = Deframer::default();
            let mut passed = false;
            deframer.push(&wire, |e| passed |= matches!(e, Event::Content(_)));
            prop_assert!(!passed);
        }
    }

    #[test]
    fn the_crc_is_that_of_the_isa() {
        assert_eq!(crc32fast::hash(b"123456789"), systole_isa::frame::crc32(b"123456789"));
    }

    #[test]
    fn a_frame_after_an_endless_one_is_found() {
        let mut wire = vec![7; 5000];
        wire.push(0);
        wire.extend(encode(b"hello"));
        let mut got = Vec::new();
        Deframer::default().push(&wire, |e| got.push(e));
        assert_eq!(got.len(), 2);
        assert_eq!(got[1], Event::Content(b"hello".to_vec()));
    }
}
