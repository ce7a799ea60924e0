//! A segment, or a whole training step, in flight.

use crate::hardware::Hardware;
use crate::link::Received;
use crate::requests::{Failure, refuse};
use crate::{Firmware, Segment, log};
use systole_isa::frame::step::Outcome;
use systole_isa::frame::{ErrorCode, HEADER, Kind, MAX_CACHED_REPLY, MAX_SCALERS, REPLY, run, step};
use systole_isa::regs::{self, Counter};
use systole_isa::{AREGS, SREGS, flag, sreg};

const ALL_FLAGS: u32 = (1 << systole_isa::FLAGS) - 1;
/// Flags that forbid an update.
const NO_UPDATE: u32 = 1 << flag::FORWARD | 1 << flag::WEIGHT_GRADIENT;
/// Bits of SEG_STATUS.
const BUSY: u32 = 1 << 16;
const TRAPPED: u32 = 1 << 18;
/// Polls of the ABORT register before giving up on it; the hardware needs a few dozen cycles.
const ABORT_POLLS: u32 = 10_000;

/// How often the end of an update is looked for before its step's reply goes out, which takes longer than a small update.
const PATIENCE: u32 = 64;

/// Scalar registers that programs only read: what they compute is in those behind.
const INPUTS: usize = sreg::LOSS;

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
    /// `more`: its window goes on after it.
    Step {
        scaler: u8,
        more: bool,
    },
    Run,
}

/// Segments in flight for one request. Looked at all the time, it is small enough to be copied.
#[derive(Clone, Copy)]
pub(crate) struct Flight {
    pub seq: u8,
    work: Work,
    /// Low byte of SEG_STATUS once everything has ended.
    ended: u8,
    /// Low byte of SEG_STATUS once what the reply tells has ended.
    told: u8,
    /// The reply has been sent; the update still runs.
    pub replied: bool,
    /// Cycles that it may take; 0: any number.
    deadline: u32,
    launched: u32,
}

impl Flight {
    fn has_ended(&self, status: u32) -> bool {
        status as u8 == self.ended && status & (BUSY | TRAPPED) == 0
    }

    /// Whether compute has ended of a step whose reply waits for no more.
    fn tells_early(&self, status: u32) -> bool {
        self.told != self.ended && status as u8 == self.told
    }
}

/// A step that has been checked. What is left to decide when it is launched, the scale and whether there may be an update,
/// depends on what becomes of the step before. Its registers stand in the list of writes.
#[derive(Clone, Copy)]
pub(crate) struct Prepared {
    pub seq: u8,
    scaler: u8,
    more: bool,
    early: bool,
    /// A step was in flight when it was asked for.
    follows: bool,
    /// The scale that its writes are for.
    exponent: i32,
    compute: Segment,
    update: Segment,
    /// FP32 1/B.
    inv_batch: u32,
    deadline: u32,
}

/// From where the cycles and counters of the next reply count: the launch, or the reply before.
#[derive(Default)]
pub(crate) struct Since {
    cycle: u32,
    counters: [u32; REPORTED.len()],
}

impl Since {
    /// Counts from here on.
    fn restart(&mut self, hw: &mut impl Hardware) {
        self.cycles(hw.read(regs::CYCLE_LO));
        self.counters(hw, &mut [0; REPORTED.len()]);
    }

    /// Cycles until `now`, from where the next reply counts on.
    fn cycles(&mut self, now: u32) -> u32 {
        now.wrapping_sub(core::mem::replace(&mut self.cycle, now))
    }

    /// The same for the reported counters, into `out`.
    fn counters(&mut self, hw: &mut impl Hardware, out: &mut [u32]) {
        for i in 0..REPORTED.len().min(out.len()) {
            let now = hw.read(regs::COUNTER + 4 * REPORTED[i] as u32);
            out[i] = now.wrapping_sub(core::mem::replace(&mut self.counters[i], now));
        }
    }
}

/// Registers to be written, and with what. There is one list in all, filled in place: it is too large to be moved about.
pub(crate) struct Writes {
    list: [(u32, u32); AREGS + SREGS + 5],
    len: usize,
    /// The first ones in the list are address registers: so many.
    addresses: usize,
    /// So many of them have been written.
    done: usize,
    /// What is known to stand in the scalar registers that only requests write, and in EXP behind them.
    known: [Option<u32>; INPUTS + 1],
}

impl Writes {
    pub(crate) const NONE: Writes =
        Writes { list: [(0, 0); AREGS + SREGS + 5], len: 0, addresses: 0, done: 0, known: [None; INPUTS + 1] };

    fn add(&mut self, register: u32, value: u32) -> Result<(), Failure> {
        let room = self.list.len() as u32;
        let Some(slot) = self.list.get_mut(self.len) else {
            return refuse(ErrorCode::BadLength, self.len as u32, room);
        };
        *slot = (register, value);
        self.len += 1;
        Ok(())
    }

    /// Leaves the scalar registers out of the list that hold their values already.
    fn keep_changes(&mut self) {
        let all = core::mem::replace(&mut self.len, self.addresses);
        for i in self.addresses..all {
            let Some(&(register, value)) = self.list.get(i) else { return };
            self.change(register, value);
        }
    }

    /// Adds a scalar register or EXP, unless it holds the value already.
    fn change(&mut self, register: u32, value: u32) {
        let index = if register == regs::EXP { INPUTS } else { (register - regs::SREG) as usize / 4 };
        if let Some(known) = self.known.get_mut(index) {
            if *known == Some(value) {
                return;
            }
            *known = Some(value);
        }
        if let Some(slot) = self.list.get_mut(self.len) {
            *slot = (register, value);
            self.len += 1;
        }
    }
}

impl<H: Hardware> Firmware<H> {
    fn segment(&self, index: u32) -> Result<Segment, Failure> {
        match self.segments.get(index as usize) {
            Some(&Some(s)) => Ok(s),
            _ => refuse(ErrorCode::BadSegment, index, 0),
        }
    }

    /// Checks the (index, value) pairs that a request carries from body word `first` on, and makes them the writes to come.
    fn collect(&mut self, f: &Received, counts: usize, first: usize) -> Result<(), Failure> {
        (self.writes.len, self.writes.addresses, self.writes.done) = (0, 0, 0);
        let n = self.word(f, counts);
        let (aregs, sregs) = ((n & 0xff) as usize, (n >> 8 & 0xff) as usize);
        let want = 4 * (first + 2 * (aregs + sregs)) as u32;
        if f.body_len() != want {
            return refuse(ErrorCode::BadLength, f.body_len(), want);
        }
        for i in 0..aregs + sregs {
            let (low, high, base) = if i < aregs { (1, AREGS, regs::AREG) } else { (0, SREGS, regs::SREG) };
            let index = self.word(f, first + 2 * i);
            if (index as usize) < low || index as usize >= high {
                return refuse(ErrorCode::BadRegister, index, i as u32);
            }
            let value = self.word(f, first + 2 * i + 1);
            self.writes.add(base + 4 * index, value)?;
        }
        self.writes.addresses = aregs;
        Ok(())
    }

    /// Writes registers of the list until the first `until` are done.
    fn write_registers(&mut self, until: usize) {
        while self.writes.done < until {
            let Some(&(register, value)) = self.writes.list.get(self.writes.done) else { return };
            self.hw.write(register, value);
            self.writes.done += 1;
        }
    }

    /// Adds what depends on the loss scale to the writes of the step that waits, unless it is there already.
    fn arrange(&mut self) {
        let Some(p) = &mut self.prepared else { return };
        let scaler = &self.scalers[p.scaler as usize];
        if p.exponent != scaler.exponent {
            p.exponent = scaler.exponent;
            self.writes.change(regs::SREG + 4 * sreg::LOSS_SEED as u32, scaler.scaled_bits(p.inv_batch));
            self.writes.change(regs::EXP, -scaler.exponent as u32);
        }
    }

    /// Launches the step that waits, if there is one and its batch is not still being moved; `behind` a step whose update is about to
    /// end, or with nothing in flight. What can be done before that end is: the engines rest for a few cycles only.
    #[inline(never)]
    pub(crate) fn launch_prepared(&mut self, behind: Option<&Flight>) -> bool {
        if self.prepared.is_none() || behind.is_none() && self.flight.is_some() || self.moving() {
            return false;
        }
        self.arrange();
        let Some(p) = &self.prepared else { return false };
        let (compute, update) = (p.compute.addr, p.update.addr);
        let (seq, early, deadline) = (p.seq, p.early, p.deadline);
        let work = Work::Step { scaler: p.scaler, more: p.more };
        // once a window has met an overflow there will be no update: what else it computes is for the loss alone
        let updates = self.overflows[p.scaler as usize].is_none();
        if !p.follows {
            self.since.restart(&mut self.hw);
        }
        self.write_registers(self.writes.addresses);
        self.hw.write(regs::SEG_ADDR, compute);
        let before = match behind {
            None => self.hw.read(regs::SEG_STATUS) as u8,
            Some(f) => {
                let mut looks = 0;
                while !f.has_ended(self.hw.read(regs::SEG_STATUS)) {
                    looks += 1;
                    if looks > PATIENCE {
                        return false;
                    }
                }
                f.ended
            }
        };
        self.write_registers(self.writes.len);
        self.hw.write(regs::FLAGS, ALL_FLAGS);
        self.hw.write(regs::SEG_PUSH, 0);
        let mut told = before.wrapping_add(1);
        let mut ended = told;
        if updates {
            self.hw.write(regs::SEG_ADDR, update);
            self.hw.write(regs::SEG_PUSH, NO_UPDATE);
            ended = before.wrapping_add(2);
        }
        if !early {
            told = ended;
        }
        let launched = self.hw.read(regs::CYCLE_LO);
        self.prepared = None;
        self.flight = Some(Flight { seq, work, ended, told, replied: false, deadline, launched });
        true
    }

    /// Whether the mover still works for a request. Whether that one has been answered is another matter.
    fn moving(&mut self) -> bool {
        self.transfer.is_some() && (self.queued.is_some() || self.hw.read(regs::MV_CTRL) & 1 != 0)
    }

    /// Whether a step may be requested now, to be launched once the one in flight has ended.
    pub(crate) fn may_prepare(&self) -> bool {
        self.prepared.is_none() && self.flight.as_ref().is_some_and(|f| matches!(f.work, Work::Step { .. }))
    }

    /// `Step`: forward, loss, backward; then the update, unless a flag forbids it.
    pub(crate) fn step(&mut self, f: &Received) -> Result<(), Failure> {
        self.at_least(f, step::PAIRS)?;
        let what = self.word(f, step::WHAT);
        let scaler = what as u8;
        if scaler as usize >= MAX_SCALERS {
            return refuse(ErrorCode::BadScaler, u32::from(scaler), MAX_SCALERS as u32);
        }
        self.broken &= what & step::CHAINED != 0;
        if self.broken {
            return refuse(ErrorCode::NotReady, u32::from(f.seq), 0);
        }
        let compute = self.segment(what >> 8 & 0xff)?;
        let update = self.segment(what >> 16 & 0xff)?;
        self.collect(f, step::WRITES, step::PAIRS)?;
        let inv_batch = self.word(f, step::INV_BATCH);
        self.prepared = Some(Prepared {
            seq: f.seq,
            scaler,
            more: what & step::MORE != 0,
            early: what & step::EARLY != 0,
            follows: self.flight.is_some(),
            exponent: i32::MIN,
            compute,
            update,
            inv_batch,
            deadline: self.word(f, step::DEADLINE),
        });
        self.writes.keep_changes();
        self.writes.change(regs::SREG + 4 * sreg::INV_BATCH as u32, inv_batch);
        self.arrange();
        self.launch_prepared(None);
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
        let deadline = self.word(f, run::DEADLINE);
        self.since.restart(&mut self.hw);
        self.write_registers(self.writes.len);
        self.hw.write(regs::FLAGS, ALL_FLAGS);
        let ended = (self.hw.read(regs::SEG_STATUS) as u8).wrapping_add(1);
        let launched = self.hw.read(regs::CYCLE_LO);
        self.hw.write(regs::SEG_ADDR, segment.addr);
        self.hw.write(regs::SEG_PUSH, 0);
        // whatever it writes
        self.writes.known = Writes::NONE.known;
        let (seq, work) = (f.seq, Work::Run);
        self.flight = Some(Flight { seq, work, ended, told: ended, replied: false, deadline, launched });
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
        if flight.replied && flight.has_ended(status) {
            self.flight = None;
            self.launch_prepared(None);
            return true;
        }
        let trapped = status & TRAPPED != 0;
        // of an early step compute, or even the update, has ended
        let tell = !flight.replied && (flight.has_ended(status) || flight.tells_early(status));
        let overdue = flight.deadline != 0
            && self.hw.read(regs::CYCLE_LO).wrapping_sub(flight.launched) > flight.deadline
            && !flight.has_ended(status);
        // the step that waits may have to be answered, too
        if !(trapped || tell || overdue) || !self.link.can_send(&mut self.hw, 2 * (HEADER + MAX_CACHED_REPLY) + 4) {
            return false;
        }
        if trapped || overdue {
            self.give_up(&flight, status);
        } else {
            self.tell(&flight);
        }
        true
    }

    #[cold]
    #[inline(never)]
    fn give_up(&mut self, flight: &Flight, status: u32) {
        let failure = if status & TRAPPED != 0 {
            (ErrorCode::Trap, [self.hw.read(regs::TRAP), self.hw.read(regs::TRAP_INFO)])
        } else {
            let taken = self.hw.read(regs::CYCLE_LO).wrapping_sub(flight.launched);
            (ErrorCode::Deadline, [taken, status])
        };
        self.abort_engines();
        self.flight = None;
        self.fail_flight(flight, failure);
    }

    /// Takes the step that waits, which will not be launched.
    #[cold]
    #[inline(never)]
    fn take_prepared(&mut self) -> Option<Prepared> {
        // what it was to write may count as known already
        self.writes.known = Writes::NONE.known;
        self.prepared.take()
    }

    /// Tells the host that what was in flight has failed, and that the step behind it will not run. Where the reply has been sent
    /// and no step waits, the next request hears of it.
    #[cold]
    #[inline(never)]
    pub(crate) fn fail_flight(&mut self, flight: &Flight, (code, detail): Failure) {
        let waiting = self.take_prepared();
        self.broken = true;
        if !flight.replied {
            self.link.fail(&mut self.hw, flight.seq, code, detail);
        } else if waiting.is_none() {
            self.late = Some((code, detail));
        }
        if let Some(p) = waiting {
            self.link.fail(&mut self.hw, p.seq, code, detail);
        }
    }

    /// Answers the request in flight.
    fn tell(&mut self, flight: &Flight) {
        match flight.work {
            Work::Step { scaler, more } => self.finish_step(flight, scaler as usize, more),
            Work::Run => self.finish_run(flight),
        }
    }

    #[cold]
    #[inline(never)]
    fn finish_run(&mut self, flight: &Flight) {
        let mut w = [0; run::REPLY_WORDS];
        w[run::CYCLES] = self.hw.read(regs::COUNTER + 4 * Counter::LastSegment as u32);
        w[run::LAST_GEMM] = self.hw.read(regs::COUNTER + 4 * Counter::LastGemm as u32);
        w[run::FLAGS] = self.hw.read(regs::FLAGS);
        self.since.counters(&mut self.hw, &mut w[run::COUNTERS..run::COUNTERS + 8]);
        for (i, w) in w[run::SREGS..].iter_mut().enumerate() {
            *w = self.hw.read(regs::SREG + 4 * (8 + i as u32));
        }
        self.flight = None;
        self.link.reply(&mut self.hw, Kind::Run as u8, flight.seq, &w);
    }

    fn finish_step(&mut self, flight: &Flight, index: usize, more: bool) {
        let now = self.hw.read(regs::CYCLE_LO);
        let flags = self.hw.read(regs::FLAGS);
        let exponent = self.scalers[index].exponent;
        let mut outcome = if more { Outcome::Accumulated } else { Outcome::Updated };
        let mut place = (0, 0);
        if flags & NO_UPDATE != 0 || self.overflows[index].is_some() {
            (outcome, place) = self.skip(index, flags, more);
        } else if !more {
            self.scalers[index].update(false);
        }
        self.broken = outcome == Outcome::SkippedForward;
        let refused = if self.broken { self.take_prepared() } else { None };
        // (registers that the next step's products overwrite)
        let results = [sreg::LOSS, sreg::CORRECT, sreg::GRAD_NORM].map(|r| self.hw.read(regs::SREG + 4 * r as u32));
        // The step that waits goes first if the update ends about now, for the engines are at rest then.
        let launched = self.launch_prepared(Some(flight));
        if !launched && flight.has_ended(self.hw.read(regs::SEG_STATUS)) {
            self.flight = None;
            self.launch_prepared(None);
        } else if let Some(f) = &mut self.flight {
            f.replied |= !launched;
        }
        let scaler = &self.scalers[index];
        let w = self.link.keep(&mut self.hw, Kind::Step as u8 | REPLY, flight.seq, step::REPLY_WORDS);
        w[step::CYCLES] = self.since.cycles(now);
        w[step::END_CYCLE] = now;
        self.since.counters(&mut self.hw, &mut w[step::COUNTERS..step::COUNTERS + 8]);
        (w[step::LOSS], w[step::CORRECT], w[step::GRAD_NORM]) = results.into();
        w[step::FLAGS] = flags;
        (w[step::FLAG_PC], w[step::FLAG_ADDR]) = place;
        w[step::OUTCOME] = outcome as u32;
        w[step::EXPONENT_USED] = exponent as u32;
        w[step::EXPONENT_NEXT] = scaler.exponent as u32;
        w[step::SKIPS] = scaler.skips_in_a_row;
        w[step::SKIPS + 1] = scaler.skips;
        if launched {
            // the batch behind the step that runs now is more urgent
            self.link.owe(flight.seq);
        } else {
            self.link.send_kept(&mut self.hw, flight.seq);
        }
        if let Some(p) = refused {
            self.link.fail(&mut self.hw, p.seq, ErrorCode::NotReady, [u32::from(flight.seq), 0]);
        }
    }

    /// Decides about a step without an update: what becomes of it, and which word and element it met first that forbids one.
    #[cold]
    #[inline(never)]
    fn skip(&mut self, index: usize, flags: u32, more: bool) -> (Outcome, (u32, u32)) {
        // a forward pass that is not finite cannot be cured by any scale: the scaler is not told, and the window is over
        if flags >> flag::FORWARD & 1 == 1 {
            log::warning!("forward pass not finite: step skipped");
            self.overflows[index] = None;
            return (Outcome::SkippedForward, self.offender(flag::FORWARD));
        }
        let first = match self.overflows[index] {
            Some(place) => place,
            None => self.offender(flag::WEIGHT_GRADIENT),
        };
        self.overflows[index] = more.then_some(first);
        let scaler = &mut self.scalers[index];
        let _used = scaler.exponent;
        if !more {
            scaler.update(true);
        }
        log::info!("overflow at scale 2^{=i32}: step skipped, scale now 2^{=i32}", _used, scaler.exponent);
        (Outcome::SkippedGradient, first)
    }

    fn offender(&mut self, flag: usize) -> (u32, u32) {
        (self.hw.read(regs::FLAG_PC + 8 * flag as u32), self.hw.read(regs::FLAG_ADDR + 8 * flag as u32))
    }
}
