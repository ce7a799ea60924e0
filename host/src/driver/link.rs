//! The host's end of the link: numbered requests, a window of them outstanding, retransmission, replies.
//!
//! The device executes requests strictly in order, each once, and keeps its last [`REPLIES`] replies that
//! [tell](Kind::tells) something. Whatever the line loses or damages is therefore made good by sending again: from a wanted
//! number when the device asks (a NAK), and from the oldest unanswered request when nothing is heard for a while. A request that
//! was answered is never sent again, because it was executed. The numbers outstanding span at most [`WINDOW`], with
//! [`REPLIES`] that tell something among them, and their bytes what the device's receive ring holds less one frame, so that a
//! first transmission never meets a full ring; a retransmission may, and is asked for again.
//!
//! How long "a while" is follows from how long replies take (Jacobson's estimate with Karn's rule, as in RFC 6298), because a
//! line at 115,200 baud, or a simulated one, needs longer for a frame than a fast one for a hundred.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use systole_isa::frame::{self, Content, ErrorCode, Kind, MAX_CONTENT, MAX_WRITE, REPLIES, REPLY, WINDOW};
use systole_sim::port::Port;

use super::explain;
use super::framing::{Deframer, Event, encode};
use crate::error::{Error, Result};

/// What the largest frame takes in a ring, with the word that tells a full ring from an empty one.
const LARGEST_IN_RING: usize = MAX_CONTENT + 8;
/// What a write takes in a ring beside its data.
const BESIDE_DATA: usize = 4 + frame::HEADER + 16;
/// Bytes outstanding before the device has said how large its receive ring is: what the smallest legal ring holds beside one
/// more frame.
const SMALLEST_BUDGET: usize = 4096 - LARGEST_IN_RING;

/// How long the link waits for what. Every wait ends.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Wall-clock time without any reply after which the link gives up.
    pub deadline: Duration,
    /// Least time without a reply after which unanswered requests are sent again. It grows with the time that replies take,
    /// and doubles up to eightfold while nothing comes.
    pub retransmit: Duration,
    /// The same on a device that counts simulated cycles, so that a simulation does not depend on the host's speed.
    pub retransmit_cycles: u64,
    /// Longest single wait for bytes.
    pub poll: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            deadline: Duration::from_secs(10),
            retransmit: Duration::from_millis(200),
            retransmit_cycles: 4_000_000,
            poll: Duration::from_millis(20),
        }
    }
}

/// What the link has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes sent, retransmissions included.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Requests submitted.
    pub requests: u64,
    /// Frames sent again.
    pub retransmitted: u64,
    /// Damaged frames received.
    pub damaged: u64,
    /// NAKs received.
    pub naks: u64,
    /// Replies that nobody was waiting for any more.
    pub stale: u64,
}

/// Stands for a submitted request until its reply is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// A reply's body, as words or as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply(pub Vec<u8>);

impl Reply {
    /// Word `i`; zero where the body is shorter (the typed requests check lengths first).
    pub fn word(&self, i: usize) -> u32 {
        self.0.get(4 * i..4 * i + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }
}

struct Pending {
    ticket: u64,
    kind: Kind,
    wire: Vec<u8>,
    ring_bytes: usize,
    answered: bool,
    wanted: bool,
    sends: u32,
    sent: Moment,
}

/// A point in real and in simulated time.
#[derive(Clone, Copy, Debug)]
struct Moment {
    real: Instant,
    cycles: u64,
}

impl Moment {
    fn now(port: &dyn Port) -> Moment {
        Moment { real: Instant::now(), cycles: port.cycles().unwrap_or(0) }
    }
}

/// Mean and deviation of the time between a request, or the reply before, and its reply: in seconds, or in cycles where the
/// device counts them.
#[derive(Clone, Copy, Debug, Default)]
struct Estimate {
    mean: f64,
    deviation: f64,
}

impl Estimate {
    fn sample(&mut self, t: f64) {
        if self.mean == 0.0 {
            *self = Estimate { mean: t, deviation: t / 2.0 };
        } else {
            self.deviation += ((t - self.mean).abs() - self.deviation) / 4.0;
            self.mean += (t - self.mean) / 8.0;
        }
    }

    fn limit(&self) -> f64 {
        self.mean + 4.0 * self.deviation
    }
}

impl Pending {
    fn seq(&self) -> u8 {
        self.ticket as u8
    }
}

/// The link to one device.
pub struct Link {
    port: Box<dyn Port>,
    timeouts: Timeouts,
    deframer: Deframer,
    pending: VecDeque<Pending>,
    next: u64,
    budget: usize,
    window: usize,
    replies: BTreeMap<u64, Result<Reply>>,
    failed: Option<Error>,
    phase: String,
    quiet_since: Moment,
    usual: Estimate,
    backoff: u32,
    heard: Instant,
    greeted: bool,
    /// Rates to try in turn while a hello is not answered.
    rates: Vec<u32>,
    statistics: Statistics,
    logs: Vec<(u8, u16, Vec<u8>)>,
    buffer: Vec<u8>,
}

impl Link {
    /// A link over `port`, which nothing has been said on yet.
    pub fn new(port: Box<dyn Port>, timeouts: Timeouts) -> Link {
        let now = Moment::now(&*port);
        Link {
            port,
            timeouts,
            deframer: Deframer::default(),
            pending: VecDeque::new(),
            next: 0,
            budget: SMALLEST_BUDGET,
            window: WINDOW,
            replies: BTreeMap::new(),
            failed: None,
            phase: "connecting".into(),
            quiet_since: now,
            usual: Estimate::default(),
            backoff: 0,
            heard: now.real,
            greeted: false,
            rates: Vec::new(),
            statistics: Statistics::default(),
            logs: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// Names what is being done from here on, for messages.
    pub fn phase(&mut self, phase: impl Into<String>) {
        self.phase = phase.into();
    }

    /// What is being done, as last named.
    pub fn current_phase(&self) -> &str {
        &self.phase
    }

    /// The port's name.
    pub fn name(&self) -> String {
        self.port.name()
    }

    /// Simulated cycles so far, where the device counts them.
    pub fn cycles(&self) -> Option<u64> {
        self.port.cycles()
    }

    /// What the link has seen so far.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Chunks of the device's log since the last call: chunk number, bytes lost before it, bytes.
    pub fn take_logs(&mut self) -> Vec<(u8, u16, Vec<u8>)> {
        std::mem::take(&mut self.logs)
    }

    /// Allows as much to be outstanding as fits into a receive ring of `ring_bytes` beside one more frame.
    pub(super) fn set_ring(&mut self, ring_bytes: usize) {
        self.budget = ring_bytes.saturating_sub(LARGEST_IN_RING).max(SMALLEST_BUDGET);
    }

    /// Bytes of data for each block of a write of so many `bytes`: two such blocks may be outstanding, whatever the ring; and of
    /// more than that, as many as fill it to the end, which is what a line with a long way back lives on.
    pub(super) fn write_block(&self, bytes: usize) -> usize {
        let of = |blocks: usize| MAX_WRITE.min((self.budget / blocks - BESIDE_DATA) & !63);
        if bytes <= 2 * of(2) { of(2) } else { of(self.budget.div_ceil(MAX_WRITE + BESIDE_DATA).max(2)) }
    }

    /// How many requests may be outstanding now.
    pub fn window(&self) -> usize {
        self.window
    }

    /// How many requests may be outstanding: 1 is stop-and-wait, [`WINDOW`] the most and what a link starts with.
    pub fn set_window(&mut self, requests: usize) {
        self.window = requests.clamp(1, WINDOW);
    }

    /// Rates of the line that a hello tries in turn, each time that it is sent again. An empty list keeps the rate.
    pub(super) fn set_rates(&mut self, rates: &[u32]) {
        self.rates = rates.into();
    }

    /// Bits per second of the host's end; `None` where the line has no rate.
    pub fn baud(&self) -> Option<u32> {
        self.port.baud()
    }

    /// Changes the rate of the host's end alone; `false` where the line has none.
    pub(super) fn set_baud(&mut self, baud: u32) -> Result<bool> {
        self.deframer = Deframer::default();
        self.port.set_baud(baud).map_err(|source| lost(&*self.port, &self.phase, source))
    }

    /// Forgets every request that has no answer yet. Only a hello may follow.
    pub(super) fn abandon(&mut self) {
        self.pending.clear();
        self.replies.clear();
        self.failed = None;
        self.backoff = 0;
        self.greeted = false;
    }

    /// The device has answered a hello: from now on a `Boot` notice means that it lost its memories.
    pub(super) fn set_greeted(&mut self) {
        self.greeted = true;
    }

    /// Changes how long the link waits for a reply before it gives up; returns what it was.
    pub fn set_deadline(&mut self, deadline: Duration) -> Duration {
        std::mem::replace(&mut self.timeouts.deadline, deadline)
    }

    /// Sends a request as soon as the window has room. Its reply must be fetched with [`Link::wait`].
    pub fn submit(&mut self, kind: Kind, body: &[u8]) -> Result<Ticket> {
        self.enqueue(kind, body, true)
    }

    /// Sends a request whose reply says nothing. Should it fail, the next wait does.
    pub fn post(&mut self, kind: Kind, body: &[u8]) -> Result<()> {
        self.enqueue(kind, body, false).map(|_| ())
    }

    /// Sends a request and waits for its reply.
    pub fn request(&mut self, kind: Kind, body: &[u8]) -> Result<Reply> {
        let ticket = self.submit(kind, body)?;
        self.wait(ticket)
    }

    /// The reply to a request.
    pub fn wait(&mut self, ticket: Ticket) -> Result<Reply> {
        self.heard = Instant::now();
        loop {
            if let Some(reply) = self.replies.remove(&ticket.0) {
                return reply;
            }
            self.pump()?;
        }
    }

    /// Waits until every request has been answered.
    pub fn drain(&mut self) -> Result<()> {
        self.heard = Instant::now();
        while self.pending.iter().any(|p| !p.answered) {
            self.pump()?;
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    fn enqueue(&mut self, kind: Kind, body: &[u8], wanted: bool) -> Result<Ticket> {
        let length = frame::HEADER + body.len();
        assert!(length <= MAX_CONTENT, "a content of {length} bytes");
        let ring_bytes = 4 + length.next_multiple_of(4);
        self.heard = Instant::now();
        while self.pending.len() >= self.window
            || (kind.tells() && self.pending.iter().filter(|p| p.kind.tells()).count() >= REPLIES)
            || (!self.pending.is_empty() && self.outstanding_bytes() + ring_bytes > self.budget)
        {
            self.pump()?;
        }
        let ticket = self.next;
        self.next += 1;
        let mut content = Vec::with_capacity(length);
        content.extend_from_slice(&frame::header(kind as u8, ticket as u8, 0));
        content.extend_from_slice(body);
        let wire = encode(&content);
        if self.pending.is_empty() {
            self.restart_timer();
        }
        self.statistics.requests += 1;
        let sent = Moment::now(&*self.port);
        self.pending.push_back(Pending { ticket, kind, wire, ring_bytes, answered: false, wanted, sends: 0, sent });
        self.transmit(self.pending.len() - 1)?;
        Ok(Ticket(ticket))
    }

    fn outstanding_bytes(&self) -> usize {
        self.pending.iter().filter(|p| !p.answered).map(|p| p.ring_bytes).sum()
    }

    fn transmit(&mut self, index: usize) -> Result<()> {
        let p = &mut self.pending[index];
        p.sends += 1;
        p.sent = Moment::now(&*self.port);
        if p.sends > 1 {
            self.statistics.retransmitted += 1;
        }
        self.statistics.sent += p.wire.len() as u64;
        if p.kind == Kind::Hello && p.sends > 1 {
            // whatever half a frame stands in the device's deframer ends here
            self.port.send(&[0]).map_err(|source| lost(&*self.port, &self.phase, source))?;
        }
        self.port.send(&p.wire).map_err(|source| lost(&*self.port, &self.phase, source))
    }

    /// Sends the oldest unanswered request again. The others may be on their way still: on a line that is merely slow, sending
    /// them all would make it slower. Lost ones follow in their turn, or at once where the device sees a gap and asks.
    fn retransmit_oldest(&mut self) -> Result<()> {
        if let Some(i) = self.pending.iter().position(|p| !p.answered) {
            self.transmit(i)?;
        }
        self.restart_timer();
        Ok(())
    }

    /// Sends unanswered requests again from the one on that the device wants.
    fn retransmit_from(&mut self, seq: u8) -> Result<()> {
        // a NAK may have been overtaken by the reply
        let Some(first) = self.pending.iter().position(|p| p.seq() == seq) else { return Ok(()) };
        for i in first..self.pending.len() {
            if !self.pending[i].answered {
                self.transmit(i)?;
            }
        }
        self.restart_timer();
        Ok(())
    }

    fn restart_timer(&mut self) {
        self.quiet_since = Moment::now(&*self.port);
    }

    /// Learns from a reply to a request that was sent once how long replies take. What was sent twice says nothing: the
    /// reply may be to either.
    fn learn(&mut self, sent: Moment) {
        let t = match self.port.cycles() {
            Some(now) => (now - sent.cycles.max(self.quiet_since.cycles)) as f64,
            None => sent.real.max(self.quiet_since.real).elapsed().as_secs_f64(),
        };
        self.usual.sample(t);
        self.backoff = 0;
    }

    /// Whether it is time to send again.
    fn due(&self) -> bool {
        let factor = f64::from(1 << self.backoff);
        match self.port.cycles() {
            Some(now) => {
                let least = self.timeouts.retransmit_cycles as f64;
                (now - self.quiet_since.cycles) as f64 > self.usual.limit().max(least) * factor
            }
            None => {
                let least = self.timeouts.retransmit.as_secs_f64();
                let usual = self.usual.limit().min(self.timeouts.deadline.as_secs_f64() / 4.0);
                self.quiet_since.real.elapsed().as_secs_f64() > usual.max(least) * factor
            }
        }
    }

    /// Receives what there is, waits for it briefly, and sends again or gives up where it is time to.
    fn pump(&mut self) -> Result<()> {
        self.buffer.clear();
        let got = match self.port.receive(&mut self.buffer, self.timeouts.poll) {
            Ok(n) => n,
            Err(e)
                if matches!(
                    e.kind(),
                    std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
                ) =>
            {
                0
            }
            Err(source) => return Err(lost(&*self.port, &self.phase, source)),
        };
        self.statistics.received += got as u64;
        if got > 0 {
            let (mut events, buffer) = (Vec::new(), std::mem::take(&mut self.buffer));
            self.deframer.push(&buffer, |e| events.push(e));
            self.buffer = buffer;
            for event in events {
                self.handle(event)?;
            }
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        self.watch_time()
    }

    fn watch_time(&mut self) -> Result<()> {
        let Some(oldest) = self.pending.iter().find(|p| !p.answered) else { return Ok(()) };
        if self.heard.elapsed() > self.timeouts.deadline {
            return Err(Error::Timeout {
                port: self.port.name(),
                phase: self.phase.clone(),
                limit: self.timeouts.deadline,
                request: format!("{:?}", oldest.kind),
                seq: oldest.seq(),
                sends: oldest.sends,
                outstanding: self.pending.iter().filter(|p| !p.answered).count(),
                received: self.statistics.received,
            });
        }
        if self.due() {
            tracing::debug!(phase = %self.phase, "no reply: sending again");
            self.backoff = (self.backoff + 1).min(3);
            if oldest.kind == Kind::Hello && !self.rates.is_empty() {
                self.rates.rotate_left(1);
                let rate = self.rates[0];
                self.set_baud(rate)?;
            }
            self.retransmit_oldest()?;
        }
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<()> {
        let bytes = match event {
            Event::Content(bytes) => bytes,
            Event::Damaged(length) => {
                tracing::debug!(length, "damaged frame received");
                self.statistics.damaged += 1;
                // it may have been a reply: ask soon
                return if self.greeted { self.retransmit_oldest() } else { Ok(()) };
            }
        };
        let Some(c) = Content::parse(&bytes) else { return Ok(()) };
        match Kind::from_u8(c.kind) {
            Some(Kind::Log) => {
                tracing::debug!(seq = c.seq, lost = c.aux, bytes = c.body.len(), "log chunk");
                self.logs.push((c.seq, c.aux, c.body.to_vec()));
            }
            Some(Kind::Nak) => {
                self.statistics.naks += 1;
                self.retransmit_from(c.seq)?;
            }
            Some(Kind::Boot) => {
                if self.greeted {
                    return Err(Error::DeviceRestarted { port: self.port.name(), phase: self.phase.clone() });
                }
            }
            _ => self.take_reply(c),
        }
        Ok(())
    }

    fn take_reply(&mut self, c: Content<'_>) {
        let found = self.pending.iter_mut().find(|p| p.seq() == c.seq && !p.answered);
        let fits = |p: &Pending| c.kind == p.kind as u8 | REPLY || c.kind == Kind::Error as u8;
        let Some(p) = found.filter(|p| fits(p)) else {
            // a sign of life all the same, on a line that is slower than was thought
            self.statistics.stale += 1;
            self.heard = Instant::now();
            return;
        };
        p.answered = true;
        let (ticket, wanted, sent_once) = (p.ticket, p.wanted, (p.sends == 1).then_some(p.sent));
        let result = if c.kind == Kind::Error as u8 {
            Err(refusal(&self.port.name(), &self.phase, p.kind, &c))
        } else {
            Ok(Reply(c.body.to_vec()))
        };
        match result {
            result if wanted => {
                self.replies.insert(ticket, result);
            }
            Err(error) => self.failed = self.failed.take().or(Some(error)),
            Ok(_) => {}
        }
        while self.pending.front().is_some_and(|p| p.answered) {
            self.pending.pop_front();
        }
        if let Some(sent) = sent_once {
            self.learn(sent);
        }
        self.heard = Instant::now();
        self.restart_timer();
    }
}

fn lost(port: &dyn Port, phase: &str, source: std::io::Error) -> Error {
    Error::PortLost { port: port.name(), phase: phase.into(), source }
}

fn refusal(port: &str, phase: &str, request: Kind, c: &Content<'_>) -> Error {
    let [code, a, b] = [0, 1, 2].map(|i| c.word(i).unwrap_or(0));
    if ErrorCode::from_u32(code) == Some(ErrorCode::Version) {
        return Error::Version {
            port: port.into(),
            host_protocol: systole_isa::PROTOCOL_VERSION,
            host_isa: systole_isa::ISA_VERSION,
            device_protocol: a,
            device_isa: b,
        };
    }
    Error::Device {
        request: format!("{request:?}"),
        phase: phase.into(),
        code,
        explanation: explain::error(code, a, b),
    }
}
