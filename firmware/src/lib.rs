//! What runs between the segments: the link protocol, the loss scaler, the sequence of a training step.
//!
//! The library is generic over [`Hardware`], a view of registers and rings. It runs as RV32IM code on the soft core, in the
//! Verilated RTL and on boards, and natively inside the model: the same source, so the same policy and the same replies.
//! It allocates nothing, never blocks (every wait is a state that [`Firmware::poll`] looks at again) and does not panic on
//! anything that comes over the link.
//!
//! Between two steps the engines wait for this code, and the soft core's instruction cache holds 4 KiB: it takes longer to fetch
//! a line than to execute it. So what a training step does not need is `#[cold]`, out of the way of what it does.
//!
//! | module | what |
//! |---|---|
//! | [`hardware`] | the trait between policy and machine |
//! | [`link`] | frames out of the receive ring, frames into the transmit ring, the cache of replies |
//! | [`scaler`] | static and dynamic loss scaling with exponent, hysteresis, floor and cap |
//! | `baud` | changes of the UART's rate, taken back where nobody follows |
//! | `requests` | what each request kind does |
//! | `run` | a segment or a whole training step in flight |
#![no_std]
#![deny(missing_docs, unsafe_code)]

#[cfg(test)]
extern crate std;

mod baud;
mod log;

pub mod hardware;
pub mod link;
mod requests;
mod run;
pub mod scaler;

pub use hardware::Hardware;
pub use scaler::Scaler;

use isa::frame::{self, MAX_SCALERS, MAX_SEGMENTS};
use link::Link;
use systole_isa as isa;

/// A segment that the host has defined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub addr: u32,
    pub words: u32,
}

/// Looks at the update in flight for each look at anything else, while the next step waits for its end.
const EAGER: u32 = 8;

/// A transfer of the mover that a request waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transfer {
    /// Into a memory: acknowledge, give the frame's room back, which ends at `end` in the ring.
    In { kind: u8, seq: u8, end: u32 },
    /// Into a memory, and what is queued is the rest of the same request.
    Part { kind: u8, seq: u8, end: u32 },
    /// Into the transmit ring: commit the frame whose length is known already.
    Out { next_head: u32 },
}

/// The firmware: everything that it knows between two calls of [`Firmware::poll`].
pub struct Firmware<H: Hardware> {
    pub(crate) hw: H,
    pub(crate) link: Link,
    pub(crate) segments: [Option<Segment>; MAX_SEGMENTS],
    pub(crate) scalers: [Scaler; MAX_SCALERS],
    /// Per scaler: the first overflow of the window of steps that is open, as (program word, element address).
    pub(crate) overflows: [Option<(u32, u32)>; MAX_SCALERS],
    pub(crate) transfer: Option<Transfer>,
    /// The write behind the one that is being transferred.
    pub(crate) queued: Option<requests::Queued>,
    /// The last two writes of two blocks, and which of them is expected again.
    pub(crate) pairs: [requests::Pair; 2],
    pub(crate) turn: usize,
    pub(crate) flight: Option<run::Flight>,
    /// The step after the one in flight, asked for while that one runs.
    pub(crate) prepared: Option<run::Prepared>,
    pub(crate) since: run::Since,
    /// What is to be written before the segments of a request start, the prepared step's where there is one.
    pub(crate) writes: run::Writes,
    /// The step before was refused, has failed or had a forward pass that was not finite: so are those refused that were asked for
    /// in good faith behind it.
    pub(crate) broken: bool,
    /// What went wrong after its request had been answered.
    pub(crate) late: Option<requests::Failure>,
    pub(crate) requests: u32,
    pub(crate) rate: baud::Rate,
}

impl<H: Hardware> Firmware<H> {
    /// Starts the firmware on a machine that is idle, and announces it with a `Boot` notice.
    pub fn new(mut hw: H) -> Self {
        // whatever rate an earlier host had asked for
        hw.write(isa::regs::UART_DIVISOR, 0);
        let mut link = Link::new(&mut hw);
        link.notice(&mut hw, frame::Kind::Boot, 0, 0);
        log::info!("systole firmware started");
        Firmware {
            hw,
            link,
            segments: [None; MAX_SEGMENTS],
            scalers: [Scaler::DISABLED; MAX_SCALERS],
            overflows: [None; MAX_SCALERS],
            transfer: None,
            queued: None,
            pairs: [requests::Pair::NONE; 2],
            turn: 0,
            flight: None,
            prepared: None,
            since: run::Since::default(),
            writes: run::Writes::NONE,
            broken: false,
            late: None,
            requests: 0,
            rate: baud::Rate::Steady,
        }
    }

    /// Looks once at everything that may have happened. Returns whether anything did, so that a simulator knows when the
    /// firmware is idle. Never waits.
    pub fn poll(&mut self) -> bool {
        let mut progress = self.poll_transfer();
        // With the next step in hand nothing is more urgent than the end of the update before it.
        let updating = self.prepared.is_some() && self.flight.as_ref().is_some_and(|f| f.replied);
        for _ in 0..if updating { EAGER } else { 1 } {
            if self.poll_flight() {
                progress = true;
                break;
            }
        }
        progress |= self.poll_rate();
        // a read's frame is open until its transfer has ended
        let open = matches!(self.transfer, Some(Transfer::Out { .. }));
        progress |= !open && self.poll_request();
        if !open && !progress {
            progress = self.link.send_owed(&mut self.hw);
        }
        if !progress && !open && self.hw.log_waiting() {
            progress = self.link.send_log(&mut self.hw);
        }
        progress
    }

    /// The machine underneath.
    pub fn hardware(&mut self) -> &mut H {
        &mut self.hw
    }

    /// The state of a loss scaler; `None` where there is no such scaler.
    pub fn scaler(&self, index: usize) -> Option<&Scaler> {
        self.scalers.get(index)
    }

    /// Whether a segment or a training step is in flight.
    pub fn busy(&self) -> bool {
        self.flight.is_some() || self.transfer.is_some() || !matches!(self.rate, baud::Rate::Steady)
    }
}
