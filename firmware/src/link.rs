//! Frames out of the receive ring and into the transmit ring, sequence numbers, and the cache of replies.

use crate::hardware::Hardware;
use systole_isa::frame::{self, ErrorCode, HEADER, Kind, MAX_CACHED_REPLY, NakReason, REPLIES, REPLY, WINDOW};
use systole_isa::regs;

/// Bytes of log that one `Log` notice carries at most.
const LOG_CHUNK: usize = 128;
/// Room that log notices leave free in the transmit ring for replies.
const LOG_RESERVE: u32 = 2048;
const CACHE_WORDS: usize = MAX_CACHED_REPLY / 4;

/// A frame that stands in the receive ring.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Byte offset of the content in the ring.
    content: u32,
    /// Bytes of content.
    pub len: u32,
    /// Kind byte.
    pub kind: u8,
    /// Sequence number.
    pub seq: u8,
}

impl Received {
    /// Bytes behind the header.
    pub fn body_len(&self) -> u32 {
        self.len - HEADER as u32
    }
}

/// A reply that says something.
#[derive(Clone, Copy)]
struct Cached {
    /// Which request it answers, counted from the last hello; [`NONE`] before the first.
    number: u32,
    kind: u8,
    len: u8,
    words: [u32; CACHE_WORDS],
}

/// No request's number.
const NONE: u32 = u32::MAX;

/// The device's end of the link.
pub struct Link {
    rx_mask: u32,
    tx_mask: u32,
    /// Where the next frame to be read begins.
    rx_tail: u32,
    /// The mover still reads a frame before that: the receiver must not be given its room.
    held: bool,
    tx_head: u32,
    /// Requests accepted, from the number of the last hello on; the low byte is the sequence number expected.
    accepted: u32,
    nak_sent: bool,
    rx_errors: u32,
    /// NAKs sent so far.
    pub naks: u32,
    cache: [Cached; REPLIES],
    /// The request whose reply was kept last and has not been sent.
    owed: Option<u8>,
    /// Where the last reply is kept.
    newest: usize,
    /// For each of the last numbers: its request was executed, and the reply says just that.
    done: [bool; WINDOW],
    log_seq: u8,
}

impl Link {
    /// A link whose rings are empty.
    pub fn new<H: Hardware>(hw: &mut H) -> Link {
        let rings = hw.read(regs::RING_BYTES);
        Link {
            rx_mask: (rings & 0xffff) - 1,
            tx_mask: (rings >> 16) - 1,
            rx_tail: hw.read(regs::RX_TAIL),
            held: false,
            tx_head: hw.read(regs::TX_HEAD),
            accepted: 0,
            nak_sent: false,
            rx_errors: hw.read(regs::RX_ERRORS),
            naks: 0,
            cache: [Cached { number: NONE, kind: 0, len: 0, words: [0; CACHE_WORDS] }; REPLIES],
            owed: None,
            newest: 0,
            done: [false; WINDOW],
            log_seq: 0,
        }
    }

    /// The oldest frame that has not been released, and nothing of its fate decided yet.
    pub fn peek<H: Hardware>(&mut self, hw: &mut H) -> Option<Received> {
        if hw.read(regs::RX_HEAD) == self.rx_tail {
            return None;
        }
        let len = hw.rx_word(self.rx_tail);
        let content = (self.rx_tail + 4) & self.rx_mask;
        let head = hw.rx_word(content);
        Some(Received { content, len, kind: head as u8, seq: (head >> 8) as u8 })
    }

    /// Body word `i` of a frame; the caller has checked the length.
    pub fn word<H: Hardware>(&self, hw: &mut H, f: &Received, i: usize) -> u32 {
        hw.rx_word(self.body_offset(f, i))
    }

    /// Ring offset of body word `i`, for the mover.
    pub fn body_offset(&self, f: &Received, i: usize) -> u32 {
        (f.content + (HEADER + 4 * i) as u32) & self.rx_mask
    }

    /// Is done with the frame, whose room goes back to the receiver; with [`Link::hold`] later.
    pub fn release<H: Hardware>(&mut self, hw: &mut H, f: &Received) {
        self.rx_tail = self.end(f);
        if !self.held {
            hw.write(regs::RX_TAIL, self.rx_tail);
        }
    }

    /// Keeps the room of frames that are released from now on.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Gives the room of all released frames back.
    pub fn let_go<H: Hardware>(&mut self, hw: &mut H) {
        self.held = false;
        hw.write(regs::RX_TAIL, self.rx_tail);
    }

    /// Gives the room of frames up to one that [`Link::end`]s there back, and keeps that of those behind it.
    pub fn let_go_until<H: Hardware>(&self, hw: &mut H, end: u32) {
        hw.write(regs::RX_TAIL, end);
    }

    /// Where a frame's room ends in the ring.
    pub fn end(&self, f: &Received) -> u32 {
        (f.content + f.len.next_multiple_of(4)) & self.rx_mask
    }

    /// How far a number lies behind the one expected: 0 is in turn.
    pub fn behind(&self, seq: u8) -> u8 {
        (self.accepted as u8).wrapping_sub(seq)
    }

    /// The number of a request that was accepted, counted from the last hello.
    fn number(&self, seq: u8) -> u32 {
        self.accepted.wrapping_sub(u32::from(self.behind(seq)))
    }

    /// Counts a frame that is in turn.
    pub fn accept(&mut self) {
        self.done[self.accepted as usize % WINDOW] = false;
        self.accepted = self.accepted.wrapping_add(1);
        self.nak_sent = false;
    }

    /// Restarts the numbering with `seq`, which is accepted, and forgets all replies.
    #[cold]
    #[inline(never)]
    pub fn restart(&mut self, seq: u8) {
        self.accepted = u32::from(seq);
        for c in &mut self.cache {
            c.number = NONE;
        }
        self.done = [false; WINDOW];
        self.owed = None;
        self.accept();
    }

    /// Asks for the expected frame, once until it comes.
    #[cold]
    #[inline(never)]
    pub fn nak<H: Hardware>(&mut self, hw: &mut H, reason: NakReason) {
        if !self.nak_sent {
            self.nak_sent = true;
            self.naks = self.naks.wrapping_add(1);
            let expected = self.accepted as u8;
            crate::log::warning!("asking again for frame {=u8}", expected);
            self.notice(hw, Kind::Nak, expected, reason as u16);
        }
    }

    /// Notices damaged frames that the deframer has dropped since the last look.
    pub fn watch_errors<H: Hardware>(&mut self, hw: &mut H) -> bool {
        let errors = hw.read(regs::RX_ERRORS);
        let news = errors != self.rx_errors;
        if news {
            self.rx_errors = errors;
            // the frame asked for may itself be the damaged one
            self.nak_sent = false;
            self.nak(hw, NakReason::Damaged);
        }
        news
    }

    /// Free bytes of the transmit ring.
    fn tx_room<H: Hardware>(&self, hw: &mut H) -> u32 {
        let used = self.tx_head.wrapping_sub(hw.read(regs::TX_TAIL)) & self.tx_mask;
        // head = tail means empty, so the last word stays free
        let owed = if self.owed.is_some() { 4 + (HEADER + MAX_CACHED_REPLY) as u32 } else { 0 };
        (self.tx_mask + 1 - 4 - used).saturating_sub(owed)
    }

    /// Whether a frame with `content` bytes fits now.
    pub fn can_send<H: Hardware>(&self, hw: &mut H, content: usize) -> bool {
        self.tx_room(hw) >= 4 + (content as u32).next_multiple_of(4)
    }

    fn put<H: Hardware>(&mut self, hw: &mut H, header: [u8; HEADER], words: &[u32]) {
        let len = (HEADER + 4 * words.len()) as u32;
        let mut at = self.tx_head;
        for w in [len, u32::from_le_bytes(header)].iter().chain(words) {
            hw.tx_word(at, *w);
            at = (at + 4) & self.tx_mask;
        }
        self.tx_head = at;
        hw.write(regs::TX_HEAD, at);
    }

    /// Sends a notice of header and no body; dropped where the ring is full (the host's timeouts cover that).
    #[cold]
    #[inline(never)]
    pub fn notice<H: Hardware>(&mut self, hw: &mut H, kind: Kind, seq: u8, aux: u16) {
        if self.can_send(hw, HEADER) {
            self.put(hw, frame::header(kind as u8, seq, aux), &[]);
        }
    }

    /// Sends and keeps the reply to request `kind`, number `seq`. The caller has made sure that it fits.
    pub fn reply<H: Hardware>(&mut self, hw: &mut H, kind: u8, seq: u8, words: &[u32]) {
        self.answer(hw, kind | REPLY, seq, words);
    }

    /// Sends and keeps the reply to a request that failed.
    #[cold]
    #[inline(never)]
    pub fn fail<H: Hardware>(&mut self, hw: &mut H, seq: u8, code: ErrorCode, detail: [u32; 2]) {
        crate::log::warning!("request {=u8} failed: code {=u32}", seq, code as u32);
        let words = [code as u32, detail[0], detail[1]];
        self.answer(hw, Kind::Error as u8, seq, &words);
    }

    fn answer<H: Hardware>(&mut self, hw: &mut H, kind: u8, seq: u8, words: &[u32]) {
        debug_assert!(words.len() <= CACHE_WORDS);
        if words.is_empty() {
            self.done[seq as usize % WINDOW] = true;
            self.put(hw, frame::header(kind, seq, 0), &[]);
        } else {
            for (kept, &word) in self.keep(hw, kind, seq, words.len()).iter_mut().zip(words) {
                *kept = word;
            }
            self.send_kept(hw, seq);
        }
    }

    /// The place of a reply of `len` words, kind and number as they are sent, to be filled in and sent by [`Link::send_kept`]: the
    /// soft core has no time to build it elsewhere and copy it. What it held before is still there.
    pub fn keep<H: Hardware>(&mut self, hw: &mut H, kind: u8, seq: u8, len: usize) -> &mut [u32; CACHE_WORDS] {
        if let Some(owed) = self.owed.take() {
            self.send_kept(hw, owed);
        }
        let number = self.number(seq);
        self.newest = (self.newest + 1) % REPLIES;
        let slot = &mut self.cache[self.newest];
        (slot.number, slot.kind, slot.len) = (number, kind, len as u8);
        &mut slot.words
    }

    /// Sends the reply that was kept last, which is to request `seq`. The caller has made sure that it fits.
    pub fn send_kept<H: Hardware>(&mut self, hw: &mut H, seq: u8) {
        let (mask, slot) = (self.tx_mask, &self.cache[self.newest]);
        let mut at = self.tx_head;
        let mut put = |word: u32| {
            hw.tx_word(at, word);
            at = (at + 4) & mask;
        };
        put(HEADER as u32 + 4 * u32::from(slot.len));
        put(u32::from_le_bytes(frame::header(slot.kind, seq, 0)));
        slot.words.iter().take(slot.len as usize).for_each(|&w| put(w));
        self.tx_head = at;
        hw.write(regs::TX_HEAD, at);
    }

    /// Answers a repeated request, if it was answered and the answer is known.
    #[cold]
    #[inline(never)]
    pub fn repeat<H: Hardware>(&mut self, hw: &mut H, kind: u8, seq: u8) -> bool {
        if self.done[seq as usize % WINDOW] {
            self.put(hw, frame::header(kind | REPLY, seq, 0), &[]);
            return true;
        }
        let number = self.number(seq);
        let Some(c) = self.cache.iter().find(|c| c.number == number).copied() else { return false };
        self.put(hw, frame::header(c.kind, seq, 0), &c.words[..c.len as usize]);
        true
    }

    /// Leaves the reply that was kept last, which is to request `seq`, for when nothing else is to be done.
    pub fn owe(&mut self, seq: u8) {
        self.owed = Some(seq);
    }

    /// Sends the reply that is owed, if there is one and it fits.
    pub fn send_owed<H: Hardware>(&mut self, hw: &mut H) -> bool {
        let Some(seq) = self.owed else { return false };
        // (its room is set aside)
        let sends = self.can_send(hw, 0);
        if sends {
            self.owed = None;
            self.send_kept(hw, seq);
        }
        sends
    }

    /// Writes length and header of a reply whose `bytes` of bulk the mover will add, but does not commit it. Returns the
    /// ring offset of the bulk and the head to commit.
    pub fn open_bulk<H: Hardware>(&mut self, hw: &mut H, kind: u8, seq: u8, bytes: u32) -> (u32, u32) {
        let at = self.tx_head;
        hw.tx_word(at, HEADER as u32 + bytes);
        hw.tx_word((at + 4) & self.tx_mask, u32::from_le_bytes(frame::header(kind | REPLY, seq, 0)));
        let bulk = (at + 8) & self.tx_mask;
        (bulk, (bulk + bytes.next_multiple_of(4)) & self.tx_mask)
    }

    /// Commits a frame opened by [`Link::open_bulk`].
    pub fn commit<H: Hardware>(&mut self, hw: &mut H, head: u32) {
        self.tx_head = head;
        hw.write(regs::TX_HEAD, head);
    }

    /// Sends a chunk of the defmt stream if there is any and the ring has plenty of room.
    #[cold]
    #[inline(never)]
    pub fn send_log<H: Hardware>(&mut self, hw: &mut H) -> bool {
        if self.tx_room(hw) < LOG_RESERVE {
            return false;
        }
        let mut chunk = [0u8; LOG_CHUNK];
        let (n, lost) = hw.log_drain(&mut chunk);
        if n == 0 {
            return false;
        }
        let header = frame::header(Kind::Log as u8, self.log_seq, lost.min(0xffff) as u16);
        self.log_seq = self.log_seq.wrapping_add(1);
        let mut at = self.tx_head;
        let mut put = |hw: &mut H, w: u32| {
            hw.tx_word(at, w);
            at = (at + 4) & self.tx_mask;
        };
        put(hw, (HEADER + n) as u32);
        put(hw, u32::from_le_bytes(header));
        for c in chunk[..n].chunks(4) {
            let mut b = [0; 4];
            b[..c.len()].copy_from_slice(c);
            put(hw, u32::from_le_bytes(b));
        }
        self.tx_head = at;
        hw.write(regs::TX_HEAD, at);
        true
    }
}
