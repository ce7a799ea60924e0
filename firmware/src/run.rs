//! A segment, or a whole training step, in flight.

use crate::hardware::Hardware;
use crate::link::Received;
use crate::requests::Failure;
use crate::{Firmware, Segment, log};
use systole_isa::frame::step::Outcome;
use systole_isa::frame::{ErrorCode, HEADER, MAX_CACHED_REPLY, MAX_SCALERS, run, step};
use systole_isa::regs::{self, Counter};
use systole_isa::{AREGS, SREGS, flag, sreg};

const ALL_FLAGS: u32 = (1 << systole_isa::FLAGS) - 1;
/// Flags that forbid an update.
const NO_UPDATE: u32 = 1 << flag::FORWARD | 1 << flag::WEIGHT_GRADIENT;
/// Polls of the ABORT register before giving up on it; the hardware needs a few dozen cycles.
const ABORT_POLLS: u32 = 10_000;

/// Counters that replies report, in their order.
const REPORTED: [Counter; 8] = [
    Counter::MatrixBusy,
    Counter::MatrixWait,
    Counter::MatrixMemory,
    Counter::VectorBusy,
    Counter::VectorWait,
    Counter::VectorMemory,
    Counter::FetchBusy,
    Counter::RowsStreamed,
];

/// What is in flight.
#[derive(Clone, Copy)]
enum Work {
    /// `more`: its window goes on after it. `early`: its reply need not wait for the update.
    Step {
        scaler: usize,
        more: bool,
        early: bool,
    },
    Run,
}

impl Work {
    /// Segments that have ended when the reply can be given, from those before and after all of this.
    fn told(self, before: u8, ended: u8) -> u8 {
        match self {
            Work::Step { early: true, .. } => before.wrapping_add(1),
            _ => ended,
        }
    }
}

/// Segments in flight for one request.
#[derive(Clone, Copy)]
pub(crate) struct Flight {
    pub seq: u8,
    kind: u8,
    work: Work,
    /// Low byte of SEG_STATUS once everything has ended.
    ended: u8,
    /// Low byte of SEG_STATUS once what the reply tells has ended.
    told: u8,
    /// The reply has been sent; the update still runs. Most of what firmware and host do between two steps happens now.
    pub replied: bool,
    start: u32,
    deadline: u32,
    /// When the clock of `deadline` started.
    launched: u32,
    counters: [u32; 8],
}

/// A step that was requested while the update of the one before was running: all that is left to do is to write and push.
#[derive(Clone, Copy)]
pub(crate) struct Prepared {
    pub seq: u8,
    kind: u8,
    work: Work,
    deadline: u32,
    segments: [(Segment, u32); 2],
    /// How many of them run.
    count: usize,
}

/// Registers to be written, and with what. There is one list in all, filled in place: it is too large to be moved about.
pub(crate) struct Writes {
    list: [(u32, u32); AREGS + SREGS + 3],
    len: usize,
}

impl Writes {
    pub(crate) const NONE: Writes = Writes { list: [(0, 0); AREGS + SREGS + 3], len: 0 };

    fn add(&mut self, register: u32, value: u32) -> Result<(), Failure> {
        let room = self.list.len() as u32;
        *self.list.get_mut(self.len).ok_or((ErrorCode::BadLength, [self.len as u32, room]))? = (register, value);
        self.len += 1;
        Ok(())
    }
}

impl<H: Hardware> Firmware<H> {
    fn segment(&self, index: u32) -> Result<Segment, Failure> {
        let s = self.segments.get(index as usize).copied().flatten();
        s.ok_or((ErrorCode::BadSegment, [index, 0]))
    }

    fn read_counters(&mut self) -> [u32; 8] {
        REPORTED.map(|c| self.hw.read(regs::COUNTER + 4 * c as u32))
    }

    /// Checks the (index, value) pairs that a request carries from body word `first` on, and makes them the writes to come.
    fn collect(&mut self, f: &Received, counts: usize, first: usize) -> Result<(), Failure> {
        self.writes.len = 0;
        let n = self.word(f, counts);
        let (aregs, sregs) = ((n & 0xff) as usize, (n >> 8 & 0xff) as usize);
        let want = 4 * (first + 2 * (aregs + sregs)) as u32;
        if f.body_len() != want {
            return Err((ErrorCode::BadLength, [f.body_len(), want]));
        }
        for i in 0..aregs + sregs {
            let (low, high, base) = if i < aregs { (1, AREGS, regs::AREG) } else { (0, SREGS, regs::SREG) };
            let index = self.word(f, first + 2 * i);
            if (index as usize) < low || index as usize >= high {
                return Err((ErrorCode::BadRegister, [index, i as u32]));
            }
            let value = self.word(f, first + 2 * i + 1);
            self.writes.add(base + 4 * index, value)?;
        }
        Ok(())
    }

    fn write_all(&mut self) {
        for &(register, value) in self.writes.list.iter().take(self.writes.len) {
            self.hw.write(register, value);
        }
    }

    fn push(&mut self, s: Segment, unless: u32) {
        self.hw.write(regs::SEG_ADDR, s.addr);
        self.hw.write(regs::SEG_PUSH, unless);
    }

    fn launch(&mut self, f: &Received, work: Work, deadline: u32, segments: &[(Segment, u32)]) {
        self.hw.write(regs::FLAGS, ALL_FLAGS);
        let counters = self.read_counters();
        let before = self.hw.read(regs::SEG_STATUS) as u8;
        let start = self.hw.read(regs::CYCLE_LO);
        for &(s, unless) in segments {
            self.push(s, unless);
        }
        let ended = before.wrapping_add(segments.len() as u8);
        let told = work.told(before, ended);
        let (seq, kind, launched) = (f.seq, f.kind, start);
        self.flight =
            Some(Flight { seq, kind, work, ended, told, replied: false, start, deadline, launched, counters });
    }

    /// Launches a prepared step behind `before`, whose update has just ended. Its cycles and counters go on from the last
    /// reply, so that those of consecutive steps add up to all that passed.
    fn launch_prepared(&mut self, p: &Prepared, before: &Flight) {
        self.write_all();
        self.hw.write(regs::FLAGS, ALL_FLAGS);
        for &(s, unless) in &p.segments[..p.count] {
            self.push(s, unless);
        }
        let launched = self.hw.read(regs::CYCLE_LO);
        let ended = before.ended.wrapping_add(p.count as u8);
        self.flight = Some(Flight {
            seq: p.seq,
            kind: p.kind,
            work: p.work,
            ended,
            told: p.work.told(before.ended, ended),
            replied: false,
            deadline: p.deadline,
            launched,
            ..*before
        });
    }

    /// Whether a step may be requested now, to be launched once the update in flight has ended.
    pub(crate) fn may_prepare(&self) -> bool {
        self.prepared.is_none() && self.flight.is_some_and(|f| f.replied)
    }

    /// `Step`: forward, loss, backward; then the update, unless a flag forbids it.
    pub(crate) fn step(&mut self, f: &Received) -> Result<(), Failure> {
        self.at_least(f, step::PAIRS)?;
        let what = self.word(f, step::WHAT);
        let index = (what & 0xff) as usize;
        let scaler = *self.scalers.get(index).ok_or((ErrorCode::BadScaler, [index as u32, MAX_SCALERS as u32]))?;
        let compute = self.segment(what >> 8 & 0xff)?;
        let update = self.segment(what >> 16 & 0xff)?;
        self.collect(f, step::WRITES, step::PAIRS)?;
        let inv_batch = self.word(f, step::INV_BATCH);
        self.writes.add(regs::SREG + 4 * sreg::INV_BATCH as u32, inv_batch)?;
        self.writes.add(regs::SREG + 4 * sreg::LOSS_SEED as u32, scaler.scaled_bits(inv_batch))?;
        self.writes.add(regs::EXP, -scaler.exponent as u32)?;
        let deadline = self.word(f, step::DEADLINE);
        let work = Work::Step { scaler: index, more: what & step::MORE != 0, early: what & step::EARLY != 0 };
        // once a window has met an overflow there will be no update: what else it computes is for the loss alone
        let segments = [(compute, 0), (update, NO_UPDATE)];
        let count = if self.overflows[index].is_some() { 1 } else { 2 };
        if self.flight.is_some() {
            // the step before has been replied to, so scaler and window are what this one needs
            self.prepared = Some(Prepared { seq: f.seq, kind: f.kind, work, deadline, segments, count });
        } else {
            self.write_all();
            self.launch(f, work, deadline, &segments[..count]);
        }
        Ok(())
    }

    /// `Run`: one segment, no policy.
    #[cold]
    #[inline(never)]
    pub(crate) fn run(&mut self, f: &Received) -> Result<(), Failure> {
        self.at_least(f, run::PAIRS)?;
        let index = self.word(f, run::SEGMENT);
        let segment = self.segment(index)?;
        self.collect(f, run::WRITES, run::PAIRS)?;
        self.write_all();
        let deadline = self.word(f, run::DEADLINE);
        self.launch(f, Work::Run, deadline, &[(segment, 0)]);
        Ok(())
    }

    /// Stops and resets the engines; memory stays.
    #[cold]
    #[inline(never)]
    pub(crate) fn abort_engines(&mut self) {
        self.hw.write(regs::ABORT, 1);
        for _ in 0..ABORT_POLLS {
            if self.hw.read(regs::ABORT) == 0 {
                break;
            }
        }
        self.hw.write(regs::TRAP, 0);
        self.hw.write(regs::FLAGS, ALL_FLAGS);
    }

    /// Looks whether what is in flight has ended, trapped or overrun its deadline.
    pub(crate) fn poll_flight(&mut self) -> bool {
        let Some(flight) = self.flight else { return false };
        let status = self.hw.read(regs::SEG_STATUS);
        let trapped = status >> 18 & 1 == 1;
        let ended = status as u8 == flight.ended && status >> 16 & 1 == 0;
        if flight.replied && ended && !trapped {
            self.flight = None;
            if let Some(p) = self.prepared.take() {
                self.launch_prepared(&p, &flight);
            }
            return true;
        }
        // of an early step compute, or even the update, has ended
        let early = flight.told != flight.ended && status as u8 == flight.told;
        let tell = !flight.replied && (ended || early);
        let now = self.hw.read(regs::CYCLE_LO);
        let overdue = flight.deadline != 0 && now.wrapping_sub(flight.launched) > flight.deadline;
        if !(trapped || tell || overdue) || !self.link.can_send(&mut self.hw, HEADER + MAX_CACHED_REPLY) {
            return false;
        }
        if trapped || overdue && !ended {
            let failure = if trapped {
                (ErrorCode::Trap, [self.hw.read(regs::TRAP), self.hw.read(regs::TRAP_INFO)])
            } else {
                (ErrorCode::Deadline, [now.wrapping_sub(flight.launched), status])
            };
            self.abort_engines();
            self.flight = None;
            self.fail_flight(&flight, failure);
        } else {
            let told = Flight { replied: true, start: now, counters: self.finish(&flight, now), ..flight };
            self.flight = (!ended).then_some(told);
        }
        true
    }

    /// Tells the host that what was in flight has failed. Where its reply has been sent, the next request hears of it.
    #[cold]
    #[inline(never)]
    pub(crate) fn fail_flight(&mut self, flight: &Flight, (code, detail): Failure) {
        let waiting = self.prepared.take().map(|p| p.seq);
        match waiting {
            _ if !flight.replied => self.link.fail(&mut self.hw, flight.seq, code, detail),
            Some(seq) => self.link.fail(&mut self.hw, seq, code, detail),
            None => self.late = Some((code, detail)),
        }
    }

    /// Sends the reply; returns the counters as they stood.
    fn finish(&mut self, flight: &Flight, now: u32) -> [u32; 8] {
        let cycles = now.wrapping_sub(flight.start);
        let flags = self.hw.read(regs::FLAGS);
        let absolute = self.read_counters();
        let mut counters = absolute;
        for (c, before) in counters.iter_mut().zip(flight.counters) {
            *c = c.wrapping_sub(before);
        }
        match flight.work {
            Work::Step { scaler, more, .. } => {
                let words = self.finish_step(scaler, more, flags, counters, cycles, now);
                self.link.reply(&mut self.hw, flight.kind, flight.seq, &words);
            }
            Work::Run => {
                let mut w = [0; run::REPLY_WORDS];
                w[run::CYCLES] = self.hw.read(regs::COUNTER + 4 * Counter::LastSegment as u32);
                w[run::LAST_GEMM] = self.hw.read(regs::COUNTER + 4 * Counter::LastGemm as u32);
                w[run::FLAGS] = flags;
                w[run::COUNTERS..run::COUNTERS + 8].copy_from_slice(&counters);
                for (i, w) in w[run::SREGS..].iter_mut().enumerate() {
                    *w = self.hw.read(regs::SREG + 4 * (8 + i as u32));
                }
                self.link.reply(&mut self.hw, flight.kind, flight.seq, &w);
            }
        }
        absolute
    }

    fn finish_step(
        &mut self,
        index: usize,
        more: bool,
        flags: u32,
        counters: [u32; 8],
        cycles: u32,
        now: u32,
    ) -> [u32; step::REPLY_WORDS] {
        let used = self.scalers[index].exponent;
        let overflow = flags >> flag::WEIGHT_GRADIENT & 1 == 1;
        // a forward pass that is not finite cannot be cured by any scale: the scaler is not told, and the window is over
        let (outcome, decided_by) = if flags >> flag::FORWARD & 1 == 1 {
            self.overflows[index] = None;
            (Outcome::SkippedForward, self.offender(flag::FORWARD))
        } else {
            if overflow && self.overflows[index].is_none() {
                self.overflows[index] = Some(self.offender(flag::WEIGHT_GRADIENT));
            }
            let first = self.overflows[index];
            if !more {
                self.overflows[index] = None;
                self.scalers[index].update(first.is_some());
            }
            match first {
                Some(place) => (Outcome::SkippedGradient, place),
                None if more => (Outcome::Accumulated, (0, 0)),
                None => (Outcome::Updated, (0, 0)),
            }
        };
        let scaler = self.scalers[index];
        match outcome {
            Outcome::Updated | Outcome::Accumulated => {}
            Outcome::SkippedGradient => {
                log::info!("overflow at scale 2^{=i32}: step skipped, scale now 2^{=i32}", used, scaler.exponent)
            }
            Outcome::SkippedForward => log::warning!("forward pass not finite: step skipped"),
        }
        let mut w = [0; step::REPLY_WORDS];
        w[step::OUTCOME] = outcome as u32;
        w[step::LOSS] = self.hw.read(regs::SREG + 4 * sreg::LOSS as u32);
        w[step::CORRECT] = self.hw.read(regs::SREG + 4 * sreg::CORRECT as u32);
        w[step::EXPONENT_USED] = used as u32;
        w[step::EXPONENT_NEXT] = scaler.exponent as u32;
        w[step::FLAGS] = flags;
        (w[step::FLAG_PC], w[step::FLAG_ADDR]) = decided_by;
        w[step::CYCLES] = cycles;
        w[step::END_CYCLE] = now;
        w[step::COUNTERS..step::COUNTERS + 8].copy_from_slice(&counters);
        w[step::SKIPS] = scaler.skips_in_a_row;
        w[step::SKIPS + 1] = scaler.skips;
        w[step::GRAD_NORM] = self.hw.read(regs::SREG + 4 * sreg::GRAD_NORM as u32);
        w
    }

    /// Program word and element address that first set a flag.
    #[cold]
    #[inline(never)]
    fn offender(&mut self, flag: usize) -> (u32, u32) {
        (self.hw.read(regs::FLAG_PC + 8 * flag as u32), self.hw.read(regs::FLAG_ADDR + 8 * flag as u32))
    }
}
