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
use crate::memory::many;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

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
    valid: Vec<DFF<Bit>>,
    writes: Vec<DFF<Bit>>,
    at: Vec<DFF<Bits<30>>>,
    bytes: Vec<DFF<Bits<4>>>,
    word: Vec<DFF<Bits<32>>>,
    under_way: Signal<Local, Bit>,
    _count: usize,
    _first: usize,
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
            valid: many(count),
            writes: many(count),
            at: many(count),
            bytes: many(count),
            word: many(count),
            under_way: Default::default(),
            _count: count,
            _first: count.min(1),
        }
    }
}

impl Logic for RequestRegister {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module request_register");
        self.bus_request.next = self.request.val();
        self.bus_write.next = self.write.val();
        self.bus_address.next = self.address.val();
        self.bus_select.next = self.select.val();
        self.bus_wdata.next = self.wdata.val();
        for i in 0..self._count {
            self.valid[i].clock.next = self.clock.val();
            self.writes[i].clock.next = self.clock.val();
            self.at[i].clock.next = self.clock.val();
            self.bytes[i].clock.next = self.clock.val();
            self.word[i].clock.next = self.clock.val();
            self.bus_request.next = self.valid[i].q.val();
            self.bus_write.next = self.writes[i].q.val();
            self.bus_address.next = self.at[i].q.val();
            self.bus_select.next = self.bytes[i].q.val();
            self.bus_wdata.next = self.word[i].q.val();
        }
        // the core lets go a cycle after its acknowledge: it is not asked before
        self.under_way.next = self.ack.val();
        for i in 0..self._count {
            if self.valid[i].q.val() {
                self.under_way.next = true;
            }
        }
        for i in 0..self._first {
            self.valid[i].d.next = self.request.val() & !self.under_way.val();
            self.writes[i].d.next = self.write.val();
            self.at[i].d.next = self.address.val();
            self.bytes[i].d.next = self.select.val();
            self.word[i].d.next = self.wdata.val();
        }
        for i in 1..self._count {
            self.valid[i].d.next = self.valid[i - 1].q.val();
            self.writes[i].d.next = self.writes[i - 1].q.val();
            self.at[i].d.next = self.at[i - 1].q.val();
            self.bytes[i].d.next = self.bytes[i - 1].q.val();
            self.word[i].d.next = self.word[i - 1].q.val();
        }
    }
}
