//! What travels over the link.
//!
//! **On the wire** a frame is `COBS(content ++ crc32(content)) ++ 0x00`: CRC-32 (IEEE 802.3, reflected, as in zlib), little
//! endian; COBS as in Cheshire & Baker, IEEE/ACM ToN 1999. `content` is 4..=[`MAX_CONTENT`] bytes. A frame that fails its CRC
//! never reaches the receive ring.
//!
//! **In a ring** a frame is a 32-bit little-endian length of the content, the content, and padding to a multiple of 4; frames
//! follow each other modulo the ring's size.
//!
//! **Content** starts with a 4-byte header: kind, sequence number, and a 16-bit field `aux`; then 32-bit little-endian words,
//! then bulk data (always at a multiple of 4). Byte layouts are given at each kind in words after the header.
//!
//! **Order.** The host numbers requests 0, 1, … 255, 0, …. The device executes them strictly in that order, each exactly
//! once, and answers every one with `kind | REPLY` (or [`Kind::Error`]) and the same number. On a frame ahead of its turn, or
//! a damaged one, it drops it and sends one [`Kind::Nak`] with the number that it wants; the host sends again from there
//! (go-back-N). A number already executed is answered again, from a small cache where its reply says something (reads are
//! executed again), so a lost reply costs one retransmission and never a second update. `Hello` always is accepted and restarts the numbering after its own.

/// Header bytes of every content.
pub const HEADER: usize = 4;
/// Bytes of data that a block of a `Write` may have.
pub const MAX_WRITE: usize = 2048;
/// Bytes of data that one `Read` may ask for.
pub const MAX_READ: usize = 1024;
/// Largest content in bytes: a block of [`MAX_WRITE`] bytes, and the classes of its rows in front of it.
pub const MAX_CONTENT: usize = 2304;
/// CRC bytes behind the content.
pub const CRC_BYTES: usize = 4;
/// Set in the kind of a reply.
pub const REPLY: u8 = 0x80;
/// Numbers outstanding, at most: for so many the device knows what it has answered. A step that computes is the oldest of them
/// until it is answered, so this is also how many frames of the next batch come in beside it.
pub const WINDOW: usize = 64;
/// How many of the requests outstanding may be of a kind that [tells](Kind::tells): so many replies the device keeps.
pub const REPLIES: usize = 8;
/// Largest reply that is kept (everything but read data).
pub const MAX_CACHED_REPLY: usize = 128;
/// Segments that a device keeps.
pub const MAX_SEGMENTS: usize = 16;
/// Loss scalers that a device keeps (a GAN uses two).
pub const MAX_SCALERS: usize = 4;
/// Initial value, polynomial (reflected) and final xor of the frame CRC, as in zlib.
pub const CRC_POLYNOMIAL: u32 = 0xedb8_8320;
/// Word 0 of a hello, so that a stray port is told apart: `"systole?"`'s first four bytes.
pub const HELLO_MAGIC: u32 = u32::from_le_bytes(*b"syst");

/// What stands in a firmware's image before the hash that its hello reports ([`hello::FIRMWARE_HASH`], little endian).
pub const FIRMWARE_MARK: &[u8; 16] = b"systole firmware";

/// Request and notice kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Words: magic, host protocol version, host ISA version. Reply: see [`hello`]. Also drops everything queued but a
    /// running segment, and forgets cached replies.
    Hello = 0x01,
    /// Stop engines, empty queues, clear traps and flags. Reply: none of note.
    Abort = 0x02,
    /// Words: `space | format<<8 | scale<<16` (format [`format`]; scale signed 8 bits), address, `row_len | rows<<16`, pitch;
    /// then data, `row_len·rows` elements contiguous, [`MAX_WRITE`] bytes at most. With [`format::ANOTHER`] in the first word a second block
    /// follows behind them, at a multiple of 4; neither is written unless both are in order.
    Write = 0x10,
    /// Words as `Write` (format elements). Reply: the data; at most [`MAX_READ`] bytes.
    Read = 0x11,
    /// Words: space, address, `row_len | rows<<16`, pitch, value. Fills memory.
    Fill = 0x12,
    /// Words: count, then (word address, words) per segment. Defines segments 0..count.
    Segments = 0x20,
    /// Words: scaler index, then [`scaler::WORDS`] words of state. Sets a scaler wholly (start or resume).
    ScalerSet = 0x21,
    /// Words: scaler index. Reply: [`scaler::WORDS`] words of state.
    ScalerGet = 0x22,
    /// One training step, see [`step`].
    Step = 0x23,
    /// Run one segment without any policy, see [`run`].
    Run = 0x24,
    /// Reply: see [`status`].
    Status = 0x30,
    /// Words: a divisor as [`crate::regs::UART_DIVISOR`], cycles. Reply, still at the old rate: none of note. Once that has
    /// left, the UART changes its rate; unless a good frame arrives within so many cycles, it changes back.
    Baud = 0x31,
    /// Notice: a chunk of the defmt stream (bulk after the header; aux: bytes lost before it, saturating).
    Log = 0x40,
    /// Notice: `seq` is the sequence number wanted; aux: [`NakReason`].
    Nak = 0x41,
    /// Notice: the firmware has started.
    Boot = 0x42,
    /// Reply to a request that failed. Words: [`ErrorCode`], two details.
    Error = 0xff,
}

impl Kind {
    /// The kind with this number.
    pub const fn from_u8(v: u8) -> Option<Kind> {
        Some(match v {
            0x01 => Kind::Hello,
            0x02 => Kind::Abort,
            0x10 => Kind::Write,
            0x11 => Kind::Read,
            0x12 => Kind::Fill,
            0x20 => Kind::Segments,
            0x21 => Kind::ScalerSet,
            0x22 => Kind::ScalerGet,
            0x23 => Kind::Step,
            0x24 => Kind::Run,
            0x30 => Kind::Status,
            0x31 => Kind::Baud,
            0x40 => Kind::Log,
            0x41 => Kind::Nak,
            0x42 => Kind::Boot,
            0xff => Kind::Error,
            _ => return None,
        })
    }

    /// Whether the reply says more than that the request was executed, and cannot be had by executing it again.
    pub const fn tells(self) -> bool {
        matches!(self, Kind::Hello | Kind::ScalerGet | Kind::Step | Kind::Run | Kind::Status)
    }
}

/// Why a NAK was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum NakReason {
    /// A frame was damaged or the ring was full.
    Damaged = 1,
    /// A number was skipped.
    Gap = 2,
}

/// Element formats of `Write`.
pub mod format {
    /// Elements of the space's own size, little endian.
    pub const ELEMENTS: u8 = 0;
    /// Bytes, converted to FP16 times 2^scale (`hmem` only).
    pub const BYTES: u8 = 1;
    /// Bit of a block's first word: another block follows in the same frame.
    pub const ANOTHER: u32 = 1 << 24;
}

/// Words of the reply to `Hello`, in this order (index constants).
pub mod hello {
    #![allow(missing_docs)]
    pub const MAGIC: usize = 0;
    pub const PROTOCOL: usize = 1;
    pub const ISA: usize = 2;
    /// As [`crate::regs::LANES`].
    pub const LANES: usize = 3;
    pub const HMEM_WORDS: usize = 4;
    pub const SMEM_WORDS: usize = 5;
    pub const MASK_BITS: usize = 6;
    pub const PMEM_WORDS: usize = 7;
    pub const ACC_ROWS: usize = 8;
    /// As [`crate::regs::RING_BYTES`].
    pub const RING_BYTES: usize = 9;
    pub const FIRMWARE_BYTES: usize = 10;
    pub const CLOCK_HZ: usize = 11;
    pub const DESIGN_HASH: usize = 12;
    /// First 32 bits of the firmware build's hash.
    pub const FIRMWARE_HASH: usize = 13;
    pub const WORDS: usize = 14;
}

/// A loss scaler's whole state in words. The scale is 2^exponent.
pub mod scaler {
    /// [`Mode`].
    pub const MODE: usize = 0;
    /// Current exponent, signed.
    pub const EXPONENT: usize = 1;
    /// log2 of the growth factor (default 1).
    pub const GROWTH: usize = 2;
    /// −log2 of the backoff factor (default 1).
    pub const BACKOFF: usize = 3;
    /// Good steps between growths (default 2000).
    pub const INTERVAL: usize = 4;
    /// Smallest exponent, signed (default 0).
    pub const FLOOR: usize = 5;
    /// Largest exponent, signed (default 24).
    pub const CAP: usize = 6;
    /// Overflows tolerated before a backoff (default 1: back off at once).
    pub const HYSTERESIS: usize = 7;
    /// 0: hysteresis is refilled on any good step, 1: only on growth.
    pub const HYSTERESIS_MODE: usize = 8;
    /// Good steps since the last growth or backoff.
    pub const GOOD_STEPS: usize = 9;
    /// Hysteresis left.
    pub const HYSTERESIS_LEFT: usize = 10;
    /// Skips in a row.
    pub const SKIPS_IN_A_ROW: usize = 11;
    /// Skips in all.
    pub const SKIPS: usize = 12;
    /// Steps in all, skipped ones included.
    pub const STEPS: usize = 13;
    /// Number of words.
    pub const WORDS: usize = 14;

    /// Values of [`MODE`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[repr(u32)]
    pub enum Mode {
        /// Scale 1, overflow still skips the step.
        None = 0,
        /// A fixed power of two; overflow skips the step.
        Static = 1,
        /// Grows after `INTERVAL` good steps, backs off on overflow.
        Dynamic = 2,
    }
}

/// `Step`: request words and reply words.
///
/// The firmware writes scalar registers, `LOSS_SEED = S · inv_batch`, EXP = −log2 S, clears the flags, queues the compute
/// segment and, predicated on the flags `FORWARD` and `WEIGHT_GRADIENT`, the update segment.
///
/// Several steps may make one *window* with one update: all but the last say [`MORE`](step::MORE) and name a segment that
/// accumulates their gradients in the update's place. The scaler is told at the window's end only, so that the scale stands
/// still within it; an overflow in any of its steps skips the update at its end.
///
/// An update segment must not use address registers: those of the next step are written while it runs.
///
/// One step may be asked for while another runs. It is launched, with the scale that holds by then, as soon as that one's
/// update has ended, and until then nothing behind it is executed, so that the batch after it may stand in the receive ring already. It is
/// refused where the forward pass of the step before was not finite, and with that step's own error where it failed; for those
/// behind it there is [`CHAINED`](step::CHAINED). Cycles and counters of its reply count from the reply before.
pub mod step {
    /// Request: scaler index | compute segment << 8 | update segment << 16 | [`MORE`] | [`EARLY`].
    pub const WHAT: usize = 0;
    /// Bit of [`WHAT`]: this step does not end its window, and its update segment accumulates gradients.
    pub const MORE: u32 = 1 << 24;
    /// Bit of [`WHAT`]: the reply comes as soon as compute has ended, for what it tells is known then: the update runs on while
    /// host and firmware get the next step ready. Until the update has ended every request waits but `Status`, `Abort`, a
    /// `Write` to `hmem` and the next `Step`; should the update fail, the next request is answered with the error.
    pub const EARLY: u32 = 1 << 25;
    /// Bit of [`WHAT`]: this step was asked for before the one before it was answered. It is refused
    /// ([`ErrorCode::NotReady`](super::ErrorCode)) where that one was, or has failed, or had a forward pass that was not finite.
    pub const CHAINED: u32 = 1 << 26;
    /// Request: FP32 `1/B` of this batch (B: valid rows).
    pub const INV_BATCH: usize = 1;
    /// Request: cycles after which the firmware gives up.
    pub const DEADLINE: usize = 2;
    /// Request: address registers to write | scalar registers to write << 8; pairs (index, value) follow, address ones first.
    pub const WRITES: usize = 3;
    /// Request: first pair.
    pub const PAIRS: usize = 4;

    /// Reply: an [`Outcome`].
    pub const OUTCOME: usize = 0;
    /// Reply: mean loss, FP32.
    pub const LOSS: usize = 1;
    /// Reply: rows predicted right, FP32.
    pub const CORRECT: usize = 2;
    /// Reply: scale exponent that this step used, signed.
    pub const EXPONENT_USED: usize = 3;
    /// Reply: scale exponent of the next step, signed.
    pub const EXPONENT_NEXT: usize = 4;
    /// Reply: sticky flags as they were at the end.
    pub const FLAGS: usize = 5;
    /// Reply: program word that first set the flag that decided the outcome.
    pub const FLAG_PC: usize = 6;
    /// Reply: element address that it wrote.
    pub const FLAG_ADDR: usize = 7;
    /// Reply: cycles since the launch; of a step that was asked for while another ran, since that one's reply.
    pub const CYCLES: usize = 8;
    /// Reply: low half of the cycle counter when the step ended.
    pub const END_CYCLE: usize = 9;
    /// Reply: counters 0..=6 of [`crate::regs::Counter`] over the step, and 9 in the place of 7.
    pub const COUNTERS: usize = 10;
    /// Reply: skips in a row, skips in all.
    pub const SKIPS: usize = 18;
    /// Reply: 2-norm of the unscaled gradients, FP32, where the update computed it.
    pub const GRAD_NORM: usize = 20;
    /// Reply: number of words.
    pub const REPLY_WORDS: usize = 21;

    /// What became of a step.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[repr(u32)]
    pub enum Outcome {
        /// Weights were updated.
        Updated = 0,
        /// A weight gradient was not finite: nothing was updated, the scaler was told.
        SkippedGradient = 1,
        /// The forward pass or the loss was not finite: nothing was updated, the scaler was not told.
        SkippedForward = 2,
        /// Gradients were accumulated; the window goes on.
        Accumulated = 3,
    }
    impl Outcome {
        /// The outcome with this number.
        pub const fn from_u32(v: u32) -> Option<Outcome> {
            match v {
                0 => Some(Outcome::Updated),
                1 => Some(Outcome::SkippedGradient),
                2 => Some(Outcome::SkippedForward),
                3 => Some(Outcome::Accumulated),
                _ => None,
            }
        }
    }
}

/// `Run`: request words and reply words. Flags are cleared before the segment starts.
pub mod run {
    /// Request: segment.
    pub const SEGMENT: usize = 0;
    /// Request: cycles after which the firmware gives up.
    pub const DEADLINE: usize = 1;
    /// Request: as [`super::step::WRITES`].
    pub const WRITES: usize = 2;
    /// Request: first pair.
    pub const PAIRS: usize = 3;

    /// Reply: cycles of the segment.
    pub const CYCLES: usize = 0;
    /// Reply: cycles of its last GEMM.
    pub const LAST_GEMM: usize = 1;
    /// Reply: sticky flags.
    pub const FLAGS: usize = 2;
    /// Reply: counters as in [`super::step::COUNTERS`].
    pub const COUNTERS: usize = 3;
    /// Reply: scalar registers 8..16.
    pub const SREGS: usize = 11;
    /// Reply: number of words.
    pub const REPLY_WORDS: usize = 19;
}

/// Words of the reply to `Status`.
pub mod status {
    /// Cycle counter, low and high half.
    pub const CYCLE: usize = 0;
    /// As [`crate::regs::RX_ERRORS`].
    pub const RX_ERRORS: usize = 2;
    /// NAKs sent.
    pub const NAKS: usize = 3;
    /// Requests executed.
    pub const REQUESTS: usize = 4;
    /// Sticky flags.
    pub const FLAGS: usize = 5;
    /// As [`crate::regs::SEG_STATUS`].
    pub const SEG_STATUS: usize = 6;
    /// The ten counters.
    pub const COUNTERS: usize = 7;
    /// Number of words.
    pub const WORDS: usize = 17;
}

/// Why a request failed. Word 0 of an `Error` reply; the two words behind it say more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ErrorCode {
    /// Unknown kind (detail: the kind).
    UnknownKind = 1,
    /// Content shorter or longer than its fields say (details: length, length expected).
    BadLength = 2,
    /// No such memory, or a format it does not take.
    BadSpace = 3,
    /// Address or size beyond the memory (details: first address beyond, size of the memory).
    OutOfRange = 4,
    /// Unknown or undefined segment (detail: its index).
    BadSegment = 5,
    /// Unknown scaler, or state that contradicts itself (details: index, offending word).
    BadScaler = 6,
    /// Hardware trap (details: TRAP register, TRAP_INFO register).
    Trap = 7,
    /// Engines did not finish within the deadline (details: cycles waited, SEG_STATUS register).
    Deadline = 8,
    /// Host and device versions differ (details: protocol version, ISA version of the device).
    Version = 9,
    /// Register index out of range in a pair (details: index, pair number).
    BadRegister = 10,
    /// The device is not in a state to do this (detail: what is missing).
    NotReady = 11,
    /// No UART is before the byte port, or it does not go that fast (details: divisor, the smallest; 0: there is no UART).
    NoBaud = 12,
}

impl ErrorCode {
    /// The code with this number.
    pub const fn from_u32(v: u32) -> Option<ErrorCode> {
        Some(match v {
            1 => ErrorCode::UnknownKind,
            2 => ErrorCode::BadLength,
            3 => ErrorCode::BadSpace,
            4 => ErrorCode::OutOfRange,
            5 => ErrorCode::BadSegment,
            6 => ErrorCode::BadScaler,
            7 => ErrorCode::Trap,
            8 => ErrorCode::Deadline,
            9 => ErrorCode::Version,
            10 => ErrorCode::BadRegister,
            11 => ErrorCode::NotReady,
            12 => ErrorCode::NoBaud,
            _ => return None,
        })
    }
}

/// A content as a view: header fields and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content<'a> {
    /// Kind byte (not necessarily a known one).
    pub kind: u8,
    /// Sequence number.
    pub seq: u8,
    /// Kind-specific 16 bits.
    pub aux: u16,
    /// Everything behind the header.
    pub body: &'a [u8],
}

impl<'a> Content<'a> {
    /// Splits a content; `None` where it is shorter than a header.
    pub fn parse(bytes: &'a [u8]) -> Option<Content<'a>> {
        let (h, body) = bytes.split_at_checked(HEADER)?;
        Some(Content { kind: h[0], seq: h[1], aux: u16::from_le_bytes([h[2], h[3]]), body })
    }
    /// Body word `i`, if there.
    pub fn word(&self, i: usize) -> Option<u32> {
        let b = self.body.get(4 * i..4 * i + 4)?;
        Some(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }
}

/// The four header bytes.
pub const fn header(kind: u8, seq: u8, aux: u16) -> [u8; HEADER] {
    let a = aux.to_le_bytes();
    [kind, seq, a[0], a[1]]
}

/// CRC-32 (IEEE, reflected), bit by bit: `update(!0, bytes)` then invert; see [`crc32`].
pub const fn crc32_update(mut crc: u32, byte: u8) -> u32 {
    crc ^= byte as u32;
    let mut i = 0;
    while i < 8 {
        crc = if crc & 1 == 1 { (crc >> 1) ^ CRC_POLYNOMIAL } else { crc >> 1 };
        i += 1;
    }
    crc
}

/// CRC-32 of `bytes`, as zlib gives it.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |c, &b| crc32_update(c, b))
}
