//! What each request does.

use crate::hardware::Hardware;
use crate::link::Received;
use crate::scaler::Scaler;
use crate::{Firmware, Segment, Transfer, log};
use systole_isa::frame::{
    ErrorCode, HEADER, HELLO_MAGIC, Kind, MAX_BULK, MAX_CACHED_REPLY, MAX_SCALERS, MAX_SEGMENTS, NakReason, WINDOW,
    format, hello, scaler, status,
};
use systole_isa::operand::Addr;
use systole_isa::regs::{self, Space};
use systole_isa::{ISA_VERSION, PROTOCOL_VERSION};

/// Why a request fails: a code and two details.
pub(crate) type Failure = (ErrorCode, [u32; 2]);

/// A rectangle of elements in a memory, as `Write`, `Read` and `Fill` name it.
struct Block {
    space: Space,
    addr: u32,
    count: u32,
    pitch: u32,
}

/// A checked write that waits for the mover.
pub(crate) struct Queued {
    block: Block,
    ring: u32,
    ctrl: u32,
    transfer: Transfer,
}

impl Block {
    fn elements(&self) -> u32 {
        (self.count & 0xffff) * (self.count >> 16)
    }
}

impl<H: Hardware> Firmware<H> {
    /// Finishes the mover's transfer, if there is one and it has ended.
    pub(crate) fn poll_transfer(&mut self) -> bool {
        let Some(t) = self.transfer else { return false };
        let ctrl = self.hw.read(regs::MV_CTRL);
        if ctrl & 1 != 0 {
            return false;
        }
        // the mover rests for as short as it can
        let next = self.queued.take();
        self.transfer = next.as_ref().map(|q| q.transfer);
        if let Some(q) = &next {
            self.start_mover(&q.block, q.ring, q.ctrl);
        }
        match t {
            Transfer::In { kind, seq, end } => {
                if ctrl & 2 != 0 {
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
        self.launch_prepared();
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
                Some(Kind::Write) => self.queued.is_none() && self.prepared.is_none(),
                _ => false,
            };
            if !ready || self.link.behind(f.seq) != 0 {
                return news;
            }
        }
        let room = match kind {
            Some(Kind::Read) => HEADER + MAX_BULK,
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
        self.prepared.is_none() && (!updating || self.word(f, 0) as u8 == Space::Hmem as u8)
    }

    pub(crate) fn word(&mut self, f: &Received, i: usize) -> u32 {
        self.link.word(&mut self.hw, f, i)
    }

    /// Checks that a body has exactly `words` words.
    pub(crate) fn exact(&self, f: &Received, words: usize) -> Result<(), Failure> {
        let want = 4 * words as u32;
        if f.body_len() == want { Ok(()) } else { Err((ErrorCode::BadLength, [f.body_len(), want])) }
    }

    /// Checks that a body has at least `words` words.
    pub(crate) fn at_least(&self, f: &Received, words: usize) -> Result<(), Failure> {
        let want = 4 * words as u32;
        if f.body_len() >= want { Ok(()) } else { Err((ErrorCode::BadLength, [f.body_len(), want])) }
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

    /// Reads a block and checks it against its memory's size: words space, address, count, pitch of the body.
    fn block(&mut self, f: &Received) -> Result<Block, Failure> {
        let head = self.word(f, 0);
        let space = Space::from_u8(head as u8).ok_or((ErrorCode::BadSpace, [head, 0]))?;
        let b = Block { space, addr: self.word(f, 1), count: self.word(f, 2), pitch: self.word(f, 3) };
        let (columns, rows) = (b.count & 0xffff, b.count >> 16);
        if columns == 0 || rows == 0 {
            return Err((ErrorCode::BadLength, [columns, rows]));
        }
        let (start, size) = match space {
            Space::Hmem => (Addr(b.addr).offset(), self.hw.read(regs::HMEM_WORDS) / 2),
            Space::Smem => (Addr(b.addr).offset(), self.hw.read(regs::SMEM_WORDS) / 2),
            Space::Program => (b.addr, self.hw.read(regs::PMEM_WORDS)),
        };
        let across = (rows - 1) as i64 * b.pitch as i32 as i64;
        let low = start as i64 + across.min(0);
        let high = start as i64 + across.max(0) + columns as i64;
        if low < 0 || high > size as i64 {
            return Err((ErrorCode::OutOfRange, [if low < 0 { low as u32 } else { high as u32 }, size]));
        }
        Ok(b)
    }

    fn start_mover(&mut self, b: &Block, ring: u32, ctrl: u32) {
        self.hw.write(regs::MV_RING, ring);
        self.hw.write(regs::MV_ADDR, b.addr);
        self.hw.write(regs::MV_COUNT, b.count);
        self.hw.write(regs::MV_PITCH, b.pitch);
        self.hw.write(regs::MV_CTRL, ctrl | b.space as u32);
    }

    fn write(&mut self, f: &Received) -> Result<(), Failure> {
        self.at_least(f, 4)?;
        let b = self.block(f)?;
        let head = self.word(f, 0);
        let bytes = match (head >> 8) as u8 {
            format::ELEMENTS => b.space.element_bytes(),
            format::BYTES if b.space == Space::Hmem => 1,
            _ => return Err((ErrorCode::BadSpace, [head, 0])),
        };
        let want = 16 + u64::from(b.elements()) * u64::from(bytes);
        if u64::from(f.body_len()) != want {
            return Err((ErrorCode::BadLength, [f.body_len(), want as u32]));
        }
        let scale = head >> 16 & 0xff;
        let ctrl = if bytes == 1 { regs::MV_BYTES | scale << 8 } else { 0 };
        let ring = self.link.body_offset(f, 4);
        let transfer = Transfer::In { kind: f.kind, seq: f.seq, end: self.link.end(f) };
        if self.transfer.is_some() {
            self.queued = Some(Queued { block: b, ring, ctrl, transfer });
        } else {
            self.start_mover(&b, ring, ctrl);
            self.transfer = Some(transfer);
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn read(&mut self, f: &Received) -> Result<(), Failure> {
        self.exact(f, 4)?;
        let b = self.block(f)?;
        let bytes = b.elements().saturating_mul(b.space.element_bytes());
        if bytes as usize > MAX_BULK {
            return Err((ErrorCode::BadLength, [bytes, MAX_BULK as u32]));
        }
        let (bulk, next_head) = self.link.open_bulk(&mut self.hw, f.kind, f.seq, bytes);
        self.start_mover(&b, bulk, regs::MV_TO_RING);
        self.transfer = Some(Transfer::Out { next_head });
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn fill(&mut self, f: &Received) -> Result<(), Failure> {
        self.exact(f, 5)?;
        let b = self.block(f)?;
        let value = self.word(f, 4);
        self.start_mover(&b, value, regs::MV_FILL);
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
