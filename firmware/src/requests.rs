//! What each request does.

use crate::hardware::Hardware;
use crate::link::{Link, Received};
use crate::scaler::Scaler;
use crate::{Firmware, Segment, Transfer, log};
use systole_isa::frame::{
    ErrorCode, HEADER, HELLO_MAGIC, Kind, MAX_CACHED_REPLY, MAX_READ, MAX_SCALERS, MAX_SEGMENTS, MAX_WRITE, NakReason,
    WINDOW, format, hello, scaler, status,
};
use systole_isa::operand::Addr;
use systole_isa::regs::{self, Space};
use systole_isa::{ISA_VERSION, PROTOCOL_VERSION};

/// Why a request fails: a code and two details.
pub(crate) type Failure = (ErrorCode, [u32; 2]);

/// A request fails. Out of the way of those that do not.
#[cold]
#[inline(never)]
pub(crate) fn refuse<T>(code: ErrorCode, first: u32, second: u32) -> Result<T, Failure> {
    Err((code, [first, second]))
}

/// A rectangle of elements in a memory, as `Write`, `Read` and `Fill` name it.
struct Block {
    addr: u32,
    count: u32,
    pitch: u32,
}

/// A block of a write that has been checked: where its data stand in the receive ring, and how the mover takes them.
struct Source {
    block: Block,
    ring: u32,
    ctrl: u32,
}

/// How often the end of a write's first block is looked for before it is left to the mover.
const LOOKS: u32 = 16;

/// A write of two blocks, as it was checked: batches go to the same places again and again, in turn.
#[derive(Clone, Copy)]
pub(crate) struct Pair {
    /// Bytes of the frame's content; 0: there was none yet.
    len: u32,
    /// Body word at which the second block begins.
    second: usize,
    /// What describes the blocks.
    heads: [[u32; 4]; 2],
    ctrl: [u32; 2],
}

impl Pair {
    pub(crate) const NONE: Pair = Pair { len: 0, second: 0, heads: [[0; 4]; 2], ctrl: [0; 2] };
}

/// What the mover does next.
pub(crate) struct Queued {
    source: Source,
    transfer: Transfer,
}

impl Block {
    fn elements(&self) -> u32 {
        (self.count & 0xffff) * (self.count >> 16)
    }
}

/// Elements from the first row to the last, where that is more than any memory has: about so many.
#[cold]
#[inline(never)]
fn far(rows: u32, pitch: i32) -> i32 {
    ((i64::from(rows) - 1) * i64::from(pitch)).clamp(-(1 << 30), 1 << 30) as i32
}

impl<H: Hardware> Firmware<H> {
    /// Finishes the mover's transfer, if there is one and it has ended.
    pub(crate) fn poll_transfer(&mut self) -> bool {
        let Some(t) = self.transfer else { return false };
        let ctrl = self.hw.read(regs::MV_CTRL);
        if ctrl & 1 != 0 {
            return false;
        }
        let (failed, partial) = (ctrl & 2 != 0, matches!(t, Transfer::Part { .. }));
        // the mover rests for as short as it can; what follows a part belongs to the same request
        let next = self.queued.take().filter(|_| !(failed && partial));
        self.transfer = next.as_ref().map(|q| q.transfer);
        if let Some(q) = &next {
            self.start_mover(&q.source);
            if partial {
                return true;
            }
        }
        match t {
            Transfer::In { kind, seq, end } | Transfer::Part { kind, seq, end } => {
                if failed {
                    self.link.fail(&mut self.hw, seq, ErrorCode::OutOfRange, [0, 0]);
                } else {
                    self.link.reply(&mut self.hw, kind, seq, &[]);
                }
                if next.is_some() {
                    self.link.let_go_until(&mut self.hw, end);
                    return true;
                }
            }
            Transfer::Out { next_head } => self.link.commit(&mut self.hw, next_head),
        }
        self.link.let_go(&mut self.hw);
        self.launch_prepared(None);
        true
    }

    /// Takes the next frame, if there is one and its turn has come.
    pub(crate) fn poll_request(&mut self) -> bool {
        let news = self.link.watch_errors(&mut self.hw);
        let Some(f) = self.link.peek(&mut self.hw) else { return news };
        let kind = Kind::from_u8(f.kind);
        if self.transfer.is_some() {
            // what may be got ready beside it
            let ready = match kind {
                Some(Kind::Step) => self.prepared.is_none(),
                Some(Kind::Write) => self.queued.is_none() && self.prepared.is_none() && !self.two_blocks(&f),
                _ => false,
            };
            if !ready || self.link.behind(f.seq) != 0 {
                return news;
            }
        }
        let room = match kind {
            Some(Kind::Read) => HEADER + MAX_READ,
            _ => HEADER + MAX_CACHED_REPLY,
        };
        if !self.link.can_send(&mut self.hw, room) {
            return news;
        }
        let idle = self.flight.is_none();
        if kind == Some(Kind::Hello) {
            // a running update is never cut short: that would lose what cannot be computed again
            if !idle {
                return news;
            }
            self.link.restart(f.seq);
        } else {
            match self.link.behind(f.seq) {
                0 => {
                    let allowed = match kind {
                        Some(Kind::Status | Kind::Abort) => true,
                        Some(Kind::Write) => self.may_write(&f),
                        Some(Kind::Step) => self.may_prepare(),
                        _ => false,
                    };
                    if !idle && !allowed {
                        return news;
                    }
                    self.link.accept();
                }
                back if back as usize <= WINDOW => return self.repeat(&f, kind, idle) || news,
                _ => {
                    self.link.nak(&mut self.hw, NakReason::Gap);
                    self.link.release(&mut self.hw, &f);
                    return true;
                }
            }
        }
        self.requests = self.requests.wrapping_add(1);
        self.execute(&f, kind);
        true
    }

    /// A request that was executed already: its reply must have been lost.
    #[cold]
    #[inline(never)]
    fn repeat(&mut self, f: &Received, kind: Option<Kind>, idle: bool) -> bool {
        let in_flight = self.flight.as_ref().is_some_and(|x| x.seq == f.seq && !x.replied)
            || self.prepared.as_ref().is_some_and(|x| x.seq == f.seq);
        if !in_flight && !self.link.repeat(&mut self.hw, f.kind, f.seq) && kind == Some(Kind::Read) {
            if !idle {
                return false;
            }
            self.execute(f, kind);
            return true;
        }
        self.link.release(&mut self.hw, f);
        true
    }

    fn execute(&mut self, f: &Received, kind: Option<Kind>) {
        let late = match kind {
            Some(Kind::Hello | Kind::Abort | Kind::Status | Kind::Write) => None,
            _ => self.late.take(),
        };
        let done = match kind {
            _ if late.is_some() => Err(late.unwrap_or((ErrorCode::NotReady, [0, 0]))),
            Some(Kind::Hello) => self.hello(f),
            Some(Kind::Abort) => self.abort(f),
            Some(Kind::Write) => self.write(f),
            Some(Kind::Read) => self.read(f),
            Some(Kind::Fill) => self.fill(f),
            Some(Kind::Segments) => self.define_segments(f),
            Some(Kind::ScalerSet) => self.scaler_set(f),
            Some(Kind::ScalerGet) => self.scaler_get(f),
            Some(Kind::Step) => self.step(f),
            Some(Kind::Run) => self.run(f),
            Some(Kind::Status) => self.status(f),
            Some(Kind::Baud) => self.baud(f),
            _ => Err((ErrorCode::UnknownKind, [f.kind as u32, 0])),
        };
        if let Err((code, detail)) = done {
            self.broken |= kind == Some(Kind::Step);
            self.link.fail(&mut self.hw, f.seq, code, detail);
        }
        if self.transfer.is_some() {
            // the mover still reads the frame's bulk
            self.link.hold();
        }
        self.link.release(&mut self.hw, f);
    }

    /// Whether a block may be written beside what is in flight. An update that goes on behind its reply owns `smem`: masters
    /// and moments. Nothing that comes behind a step that waits is done before that one has been launched.
    fn may_write(&mut self, f: &Received) -> bool {
        let updating = self.flight.is_some_and(|x| x.replied);
        self.prepared.is_none() && (!updating || self.word(f, 0) as u8 == Space::Hmem as u8 && !self.two_blocks(f))
    }

    /// Whether a write has two blocks. Such a one waits until the mover is at rest.
    fn two_blocks(&mut self, f: &Received) -> bool {
        self.word(f, 0) & format::ANOTHER != 0
    }

    pub(crate) fn word(&mut self, f: &Received, i: usize) -> u32 {
        self.link.word(&mut self.hw, f, i)
    }

    /// Checks that a body has exactly `words` words.
    pub(crate) fn exact(&self, f: &Received, words: usize) -> Result<(), Failure> {
        let want = 4 * words as u32;
        if f.body_len() == want { Ok(()) } else { refuse(ErrorCode::BadLength, f.body_len(), want) }
    }

    /// Checks that a body has at least `words` words.
    pub(crate) fn at_least(&self, f: &Received, words: usize) -> Result<(), Failure> {
        let want = 4 * words as u32;
        if f.body_len() >= want { Ok(()) } else { refuse(ErrorCode::BadLength, f.body_len(), want) }
    }

    #[cold]
    #[inline(never)]
    fn hello(&mut self, f: &Received) -> Result<(), Failure> {
        self.exact(f, 3)?;
        let theirs = [self.word(f, 0), self.word(f, 1), self.word(f, 2)];
        if theirs != [HELLO_MAGIC, PROTOCOL_VERSION, ISA_VERSION] {
            return Err((ErrorCode::Version, [PROTOCOL_VERSION, ISA_VERSION]));
        }
        let mut w = [0; hello::WORDS];
        w[hello::MAGIC] = HELLO_MAGIC;
        w[hello::PROTOCOL] = PROTOCOL_VERSION;
        for (i, register) in [
            (hello::ISA, regs::VERSION),
            (hello::LANES, regs::LANES),
            (hello::HMEM_WORDS, regs::HMEM_WORDS),
            (hello::SMEM_WORDS, regs::SMEM_WORDS),
            (hello::MASK_BITS, regs::MASK_BITS),
            (hello::PMEM_WORDS, regs::PMEM_WORDS),
            (hello::ACC_ROWS, regs::ACC_ROWS),
            (hello::RING_BYTES, regs::RING_BYTES),
            (hello::FIRMWARE_BYTES, regs::FIRMWARE_BYTES),
            (hello::CLOCK_HZ, regs::CLOCK_HZ),
            (hello::DESIGN_HASH, regs::DESIGN_HASH),
        ] {
            w[i] = self.hw.read(register);
        }
        w[hello::FIRMWARE_HASH] = self.hw.firmware_hash();
        log::info!("hello: protocol {=u32}, isa {=u32}", theirs[1], theirs[2]);
        self.link.reply(&mut self.hw, f.kind, f.seq, &w);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn abort(&mut self, f: &Received) -> Result<(), Failure> {
        self.abort_engines();
        if let Some(flight) = self.flight.take() {
            self.fail_flight(&flight, (ErrorCode::NotReady, [0, 0]));
        }
        self.late = None;
        self.link.reply(&mut self.hw, f.kind, f.seq, &[]);
        Ok(())
    }

    /// Reads a block and checks it against its memory's size. Body words from `at` on: `head`, which has its space in it, and then
    /// address, count, pitch.
    #[cold]
    fn block(&mut self, f: &Received, at: usize, head: u32) -> Result<(Space, Block), Failure> {
        let Some(space) = Space::from_u8(head as u8) else { return refuse(ErrorCode::BadSpace, head, 0) };
        let b = Block { addr: self.word(f, at + 1), count: self.word(f, at + 2), pitch: self.word(f, at + 3) };
        let (columns, rows) = (b.count & 0xffff, b.count >> 16);
        if columns == 0 || rows == 0 {
            return refuse(ErrorCode::BadLength, columns, rows);
        }
        // (the soft core multiplies bit by bit: rarely, and in 32 bits where that does)
        let (start, size) = match space {
            Space::Hmem => (Addr(b.addr).offset(), self.hw.read(regs::HMEM_WORDS) / 2),
            Space::Smem => (Addr(b.addr).offset(), self.hw.read(regs::SMEM_WORDS) / 2),
            Space::Program => (b.addr, self.hw.read(regs::PMEM_WORDS)),
        };
        let pitch = b.pitch as i32;
        let across = match rows {
            1 => 0,
            _ if rows <= 1 << 15 && (-(1 << 15)..=1 << 15).contains(&pitch) => (rows - 1) as i32 * pitch,
            _ => far(rows, pitch),
        };
        if start > size {
            return refuse(ErrorCode::OutOfRange, start, size);
        }
        let low = start as i32 + across.min(0);
        let high = start as i32 + across.max(0) + columns as i32;
        if low < 0 || high > size as i32 {
            return refuse(ErrorCode::OutOfRange, if low < 0 { low as u32 } else { high as u32 }, size);
        }
        Ok((space, b))
    }

    fn start_mover(&mut self, s: &Source) {
        let b = &s.block;
        self.hw.write(regs::MV_RING, s.ring);
        self.hw.write(regs::MV_ADDR, b.addr);
        self.hw.write(regs::MV_COUNT, b.count);
        self.hw.write(regs::MV_PITCH, b.pitch);
        self.hw.write(regs::MV_CTRL, s.ctrl);
    }

    /// The block of a write whose description starts at body word `at`, and the byte of the body behind its data. That the body goes
    /// so far, the caller checks.
    #[cold]
    fn source(&mut self, f: &Received, at: usize) -> Result<(Source, u32), Failure> {
        self.at_least(f, at + 4)?;
        let head = self.word(f, at);
        if at != 0 && head & format::ANOTHER != 0 {
            return refuse(ErrorCode::BadSpace, head, 0);
        }
        let (space, block) = self.block(f, at, head)?;
        let doublings = match ((head >> 8) as u8, space) {
            (format::ELEMENTS, Space::Hmem) => 1,
            (format::ELEMENTS, _) => 2,
            (format::BYTES, Space::Hmem) => 0,
            _ => return refuse(ErrorCode::BadSpace, head, 0),
        };
        // (so many bytes at least, whatever an element has)
        let elements = block.elements();
        if elements > MAX_WRITE as u32 {
            return refuse(ErrorCode::BadLength, elements, MAX_WRITE as u32);
        }
        let ctrl = space as u32 | if doublings == 0 { regs::MV_BYTES | (head >> 16 & 0xff) << 8 } else { 0 };
        let source = Source { block, ring: self.link.body_offset(f, at + 4), ctrl };
        Ok((source, 4 * (at as u32 + 4) + (elements << doublings)))
    }

    fn write(&mut self, f: &Received) -> Result<(), Failure> {
        let turn = self.turn;
        if self.is_again(f, turn) {
            self.start_pair(f, turn);
            return Ok(());
        }
        self.check_write(f)
    }

    /// Whether a frame is, but for its data, the write of two blocks that was checked so many turns ago.
    fn is_again(&mut self, f: &Received, turn: usize) -> bool {
        if f.len != self.pairs[turn].len {
            return false;
        }
        let second = self.pairs[turn].second;
        for i in 0..4 {
            let [a, b] = self.pairs[turn].heads;
            if self.word(f, i) != a[i] || self.word(f, second + i) != b[i] {
                return false;
            }
        }
        true
    }

    /// Starts a write of two blocks that has been checked.
    fn start_pair(&mut self, f: &Received, turn: usize) {
        self.turn = turn ^ 1;
        let (kind, seq, end) = (f.kind, f.seq, self.link.end(f));
        let transfer = Transfer::In { kind, seq, end };
        let p = self.pairs[turn];
        let source = |link: &Link, at: usize, [_, addr, count, pitch]: [u32; 4], ctrl: u32| Source {
            ring: link.body_offset(f, at + 4),
            block: Block { addr, count, pitch },
            ctrl,
        };
        let first = source(&self.link, 0, p.heads[0], p.ctrl[0]);
        let second = source(&self.link, p.second, p.heads[1], p.ctrl[1]);
        self.start_mover(&first);
        // a small one is soon done
        let mut looks = 0;
        while self.hw.read(regs::MV_CTRL) & 3 != 0 && looks < LOOKS {
            looks += 1;
        }
        if looks < LOOKS {
            self.start_mover(&second);
            self.transfer = Some(transfer);
        } else {
            self.transfer = Some(Transfer::Part { kind, seq, end });
            self.queued = Some(Queued { source: second, transfer });
        }
    }

    /// A write that does not come again and again as it is: everything is checked.
    #[cold]
    #[inline(never)]
    fn check_write(&mut self, f: &Received) -> Result<(), Failure> {
        let (first, mut bytes) = self.source(f, 0)?;
        let at = bytes.div_ceil(4) as usize;
        let second = if self.two_blocks(f) {
            let (source, to) = self.source(f, at)?;
            bytes = to;
            Some(source)
        } else {
            None
        };
        if f.body_len() != bytes {
            return refuse(ErrorCode::BadLength, f.body_len(), bytes);
        }
        let transfer = Transfer::In { kind: f.kind, seq: f.seq, end: self.link.end(f) };
        if let Some(second) = second {
            let turn = self.turn;
            let mut heads = [[0; 4]; 2];
            for i in 0..4 {
                heads[0][i] = self.word(f, i);
                heads[1][i] = self.word(f, at + i);
            }
            self.pairs[turn] = Pair { len: f.len, second: at, heads, ctrl: [first.ctrl, second.ctrl] };
            self.start_pair(f, turn);
        } else if self.transfer.is_some() {
            self.queued = Some(Queued { source: first, transfer });
        } else {
            self.start_mover(&first);
            self.transfer = Some(transfer);
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn read(&mut self, f: &Received) -> Result<(), Failure> {
        self.exact(f, 4)?;
        let head = self.word(f, 0);
        let (space, block) = self.block(f, 0, head)?;
        let bytes = block.elements().saturating_mul(space.element_bytes());
        if bytes as usize > MAX_READ {
            return Err((ErrorCode::BadLength, [bytes, MAX_READ as u32]));
        }
        let (ring, next_head) = self.link.open_bulk(&mut self.hw, f.kind, f.seq, bytes);
        self.start_mover(&Source { block, ring, ctrl: space as u32 | regs::MV_TO_RING });
        self.transfer = Some(Transfer::Out { next_head });
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn fill(&mut self, f: &Received) -> Result<(), Failure> {
        self.exact(f, 5)?;
        let head = self.word(f, 0);
        let (space, block) = self.block(f, 0, head)?;
        // (what fills stands in the ring offset's place)
        let ring = self.word(f, 4);
        self.start_mover(&Source { block, ring, ctrl: space as u32 | regs::MV_FILL });
        self.transfer = Some(Transfer::In { kind: f.kind, seq: f.seq, end: self.link.end(f) });
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn define_segments(&mut self, f: &Received) -> Result<(), Failure> {
        self.at_least(f, 1)?;
        let n = self.word(f, 0);
        if n as usize > MAX_SEGMENTS {
            return Err((ErrorCode::BadSegment, [n, MAX_SEGMENTS as u32]));
        }
        self.exact(f, 1 + 2 * n as usize)?;
        let room = self.hw.read(regs::PMEM_WORDS);
        let mut segments = [None; MAX_SEGMENTS];
        for (i, slot) in segments.iter_mut().enumerate().take(n as usize) {
            let s = Segment { addr: self.word(f, 1 + 2 * i), words: self.word(f, 2 + 2 * i) };
            if s.words == 0 || s.addr.checked_add(s.words).is_none_or(|end| end > room) {
                return Err((ErrorCode::OutOfRange, [s.addr, room]));
            }
            *slot = Some(s);
        }
        self.segments = segments;
        self.link.reply(&mut self.hw, f.kind, f.seq, &[]);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn scaler_set(&mut self, f: &Received) -> Result<(), Failure> {
        self.exact(f, 1 + scaler::WORDS)?;
        let index = self.word(f, 0);
        let mut w = [0; scaler::WORDS];
        for (i, w) in w.iter_mut().enumerate() {
            *w = self.word(f, 1 + i);
        }
        let new = Scaler::from_words(&w).map_err(|word| (ErrorCode::BadScaler, [index, word as u32]))?;
        let slot = self.scalers.get_mut(index as usize).ok_or((ErrorCode::BadScaler, [index, MAX_SCALERS as u32]))?;
        *slot = new;
        self.overflows[index as usize] = None;
        self.link.reply(&mut self.hw, f.kind, f.seq, &[]);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn scaler_get(&mut self, f: &Received) -> Result<(), Failure> {
        self.exact(f, 1)?;
        let index = self.word(f, 0);
        let s = self.scalers.get(index as usize).ok_or((ErrorCode::BadScaler, [index, MAX_SCALERS as u32]))?;
        let words = s.to_words();
        self.link.reply(&mut self.hw, f.kind, f.seq, &words);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn status(&mut self, f: &Received) -> Result<(), Failure> {
        self.exact(f, 0)?;
        let mut w = [0; status::WORDS];
        w[status::CYCLE] = self.hw.read(regs::CYCLE_LO);
        w[status::CYCLE + 1] = self.hw.read(regs::CYCLE_HI);
        w[status::RX_ERRORS] = self.hw.read(regs::RX_ERRORS);
        w[status::NAKS] = self.link.naks;
        w[status::REQUESTS] = self.requests;
        w[status::FLAGS] = self.hw.read(regs::FLAGS);
        w[status::SEG_STATUS] = self.hw.read(regs::SEG_STATUS);
        for i in 0..regs::COUNTERS {
            w[status::COUNTERS + i] = self.hw.read(regs::COUNTER + 4 * i as u32);
        }
        self.link.reply(&mut self.hw, f.kind, f.seq, &w);
        Ok(())
    }
}
