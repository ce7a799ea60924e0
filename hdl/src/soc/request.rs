//! Registers between the soft core's data port and its slaves, where a machine is large.
//!
//! ```text
//!  cycle     t           t+1         t+2
//!  core      request     (still)     d_ack
//!  register              bus_request
//! ```
//!
//! The core lies at one end of a large FPGA and its slaves all over it, so the way from an address to a slave's registers is
//! longer than a cycle. One register is shown; two take a cycle more. A request goes through them once: until it is acknowledged
//! the next one does not begin.

use crate::comment;
use crate::delay::DelayLine;
use rust_hdl_core::prelude::*;

/// Passes the core's data requests to [`super::Bus`], some cycles later.
#[derive(LogicBlock)]
pub struct RequestRegister {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// The core's request.
    pub request: Signal<In, Bit>,
    /// It is a write.
    pub write: Signal<In, Bit>,
    /// Its word address.
    pub address: Signal<In, Bits<30>>,
    /// Its byte enables.
    pub select: Signal<In, Bits<4>>,
    /// What it writes.
    pub wdata: Signal<In, Bits<32>>,
    /// The bus acknowledges.
    pub ack: Signal<In, Bit>,
    /// Request to the bus.
    pub bus_request: Signal<Out, Bit>,
    /// It is a write.
    pub bus_write: Signal<Out, Bit>,
    /// Its word address.
    pub bus_address: Signal<Out, Bits<30>>,
    /// Its byte enables.
    pub bus_select: Signal<Out, Bits<4>>,
    /// What it writes.
    pub bus_wdata: Signal<Out, Bits<32>>,
    valid: DelayLine<1>,
    writes: DelayLine<1>,
    at: DelayLine<30>,
    bytes: DelayLine<4>,
    word: DelayLine<32>,
    under_way: Signal<Local, Bit>,
    _count: usize,
    _any: usize,
}

impl RequestRegister {
    /// With `count` registers in a row; none are wires.
    pub fn new(count: usize) -> RequestRegister {
        RequestRegister {
            clock: Default::default(),
            request: Default::default(),
            write: Default::default(),
            address: Default::default(),
            select: Default::default(),
            wdata: Default::default(),
            ack: Default::default(),
            bus_request: Default::default(),
            bus_write: Default::default(),
            bus_address: Default::default(),
            bus_select: Default::default(),
            bus_wdata: Default::default(),
            valid: DelayLine::new(count),
            writes: DelayLine::new(count),
            at: DelayLine::new(count),
            bytes: DelayLine::new(count),
            word: DelayLine::new(count),
            under_way: Default::default(),
            _count: count,
            _any: count.min(1),
        }
    }
}

impl Logic for RequestRegister {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module request_register");
        clock!(self, clock, valid, writes, at, bytes, word);
        // the core lets go a cycle after its acknowledge: it is not asked before
        self.under_way.next = false;
        for _i in 0..self._any {
            self.under_way.next = self.ack.val();
        }
        for i in 1..(self._count + 1) {
            if self.valid.tap[i].val().get_bit(0) {
                self.under_way.next = true;
            }
        }
        self.valid.x.next = bit_cast::<1, 1>((self.request.val() & !self.under_way.val()).into());
        self.writes.x.next = bit_cast::<1, 1>(self.write.val().into());
        self.at.x.next = self.address.val();
        self.bytes.x.next = self.select.val();
        self.word.x.next = self.wdata.val();
        for i in self._count..(self._count + 1) {
            self.bus_request.next = self.valid.tap[i].val().get_bit(0);
            self.bus_write.next = self.writes.tap[i].val().get_bit(0);
            self.bus_address.next = self.at.tap[i].val();
            self.bus_select.next = self.bytes.tap[i].val();
            self.bus_wdata.next = self.word.tap[i].val();
        }
    }
}
