//! One plane: N banks, one read and one write access per cycle.

use super::{AddressUnit, Bank, RotateDown, RotateUp, many};
use crate::delay::DelayLine;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// ```text
///  cycle 0      cycle 1                          cycle 2
///  read  ─reg─> AddressUnit ──┬─> bank read ─reg──┬─> rotate back ──> rdata (lane order)
///  write ─reg─> AddressUnit ──┴─> bank write (data rotated to banks; nothing if a lane is out of range)
///                   │         │                   │
///                 trap     latency 3: a        latency 4: and
///                          register here       another one here
/// ```
///
/// Whether an access is out of range is said two cycles after it at every latency.
#[derive(LogicBlock)]
pub struct Plane {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Reads in this cycle.
    pub read: Signal<In, Bit>,
    /// Offset of lane 0.
    pub read_off: Signal<In, Bits<19>>,
    /// `(inner − 1)/N`.
    pub read_q: Signal<In, Bits<16>>,
    /// Every lane that can be broadcast to reads `read_off`.
    pub read_bcast: Signal<In, Bit>,
    /// Enabled lanes.
    pub read_count: Signal<In, Bits<5>>,
    /// Data, `latency` cycles later.
    pub rdata: Vec<Signal<Out, Bits<32>>>,
    /// The read of two cycles ago is out of range.
    pub read_trap: Signal<Out, Bit>,
    /// Offset of lane 0 in the read of two cycles ago.
    pub read_off2: Signal<Out, Bits<19>>,
    /// Its `(inner − 1)/N`.
    pub read_q2: Signal<Out, Bits<16>>,
    /// Writes in this cycle.
    pub write: Signal<In, Bit>,
    /// Offset of lane 0.
    pub write_off: Signal<In, Bits<19>>,
    /// `(inner − 1)/N`.
    pub write_q: Signal<In, Bits<16>>,
    /// Enabled lanes.
    pub write_count: Signal<In, Bits<5>>,
    /// Data in lane order.
    pub wdata: Vec<Signal<In, Bits<32>>>,
    /// The write of two cycles ago is out of range (and did not happen).
    pub write_trap: Signal<Out, Bit>,
    /// Offset of lane 0 in the write of two cycles ago.
    pub write_off2: Signal<Out, Bits<19>>,
    /// Its `(inner − 1)/N`.
    pub write_q2: Signal<Out, Bits<16>>,
    r_valid: DFF<Bit>,
    r_off: DFF<Bits<19>>,
    r_q: DFF<Bits<16>>,
    r_count: DFF<Bits<5>>,
    r_bcast: DFF<Bit>,
    r_bad2: DFF<Bit>,
    r_off2: DFF<Bits<19>>,
    r_q2: DFF<Bits<16>>,
    w_valid: DFF<Bit>,
    w_off: DFF<Bits<19>>,
    w_q: DFF<Bits<16>>,
    w_count: DFF<Bits<5>>,
    w_bad2: DFF<Bit>,
    w_off2: DFF<Bits<19>>,
    w_q2: DFF<Bits<16>>,
    w_data: Vec<DFF<Bits<32>>>,
    w_go: Signal<Local, Bit>,
    r_unit: AddressUnit,
    w_unit: AddressUnit,
    turn_back: RotateDown<32>,
    turn_in: RotateUp<32>,
    bank: Vec<Bank>,
    row_r: Vec<DFF<Bits<20>>>,
    phase_way: DelayLine<4>,
    bcast_way: DelayLine<1>,
    phase_back: Signal<Local, Bits<4>>,
    bcast_back: Signal<Local, Bit>,
    row_w: Vec<DFF<Bits<20>>>,
    enable_w: Vec<DFF<Bit>>,
    data_w: Vec<DFF<Bits<32>>>,
    back: Vec<DFF<Bits<32>>>,
    _n: usize,
    _v: usize,
    _early: usize,
    _way: usize,
    _late: usize,
}

impl Plane {
    /// A plane of `n` banks, `words` elements of `width` bits, read in `latency` cycles; broadcasts reach the first `v` lanes.
    pub fn new(n: usize, v: usize, words: usize, width: usize, latency: usize) -> Plane {
        // lanes with a register between address and bank, and with one between bank and reader
        let early = if latency > 2 { n } else { 0 };
        let late = if latency > 3 { n } else { 0 };
        Plane {
            clock: Default::default(),
            read: Default::default(),
            read_off: Default::default(),
            read_q: Default::default(),
            read_bcast: Default::default(),
            read_count: Default::default(),
            rdata: many(n),
            read_trap: Default::default(),
            read_off2: Default::default(),
            read_q2: Default::default(),
            write: Default::default(),
            write_off: Default::default(),
            write_q: Default::default(),
            write_count: Default::default(),
            wdata: many(n),
            write_trap: Default::default(),
            write_off2: Default::default(),
            write_q2: Default::default(),
            r_valid: Default::default(),
            r_off: Default::default(),
            r_q: Default::default(),
            r_count: Default::default(),
            r_bcast: Default::default(),
            r_bad2: Default::default(),
            r_off2: Default::default(),
            r_q2: Default::default(),
            w_valid: Default::default(),
            w_off: Default::default(),
            w_q: Default::default(),
            w_count: Default::default(),
            w_bad2: Default::default(),
            w_off2: Default::default(),
            w_q2: Default::default(),
            w_data: many(n),
            w_go: Default::default(),
            r_unit: AddressUnit::new(n, words / n),
            w_unit: AddressUnit::new(n, words / n),
            turn_back: RotateDown::new(n),
            turn_in: RotateUp::new(n),
            bank: (0..n).map(|_| Bank::new(words / n, width)).collect(),
            row_r: many(early),
            phase_way: DelayLine::new(latency - 1),
            bcast_way: DelayLine::new(latency - 1),
            phase_back: Default::default(),
            bcast_back: Default::default(),
            row_w: many(early),
            enable_w: many(early),
            data_w: many(early),
            back: many(late),
            _n: n,
            _v: v,
            _early: early,
            _way: latency - 1,
            _late: late,
        }
    }
}

impl Logic for Plane {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self, clock, r_valid, r_off, r_q, r_count, r_bcast, r_bad2, r_off2, r_q2, w_valid, w_off, w_q, w_count,
            w_bad2, w_off2, w_q2
        );
        clock!(self, clock, phase_way, bcast_way);
        self.r_valid.d.next = self.read.val();
        self.w_valid.d.next = self.write.val();
        // The rest of an access is latched only when there is one: an idle plane stays still.
        if self.read.val() {
            self.r_off.d.next = self.read_off.val();
            self.r_bcast.d.next = self.read_bcast.val();
            self.r_q.d.next = self.read_q.val();
            self.r_count.d.next = self.read_count.val();
            if self.read_bcast.val() {
                self.r_q.d.next = bits::<16>(0);
                self.r_count.d.next = bits::<5>(1);
            }
        }
        if self.write.val() {
            self.w_off.d.next = self.write_off.val();
            self.w_q.d.next = self.write_q.val();
            self.w_count.d.next = self.write_count.val();
        }
        self.r_unit.off.next = self.r_off.q.val();
        self.r_unit.q.next = self.r_q.q.val();
        self.r_unit.count.next = self.r_count.q.val();
        self.r_unit.last.next = bit_cast::<4, 5>(self.r_count.q.val() - 1);
        self.r_bad2.d.next = self.r_valid.q.val() & self.r_unit.trap.val();
        self.read_trap.next = self.r_bad2.q.val();
        self.r_off2.d.next = self.r_off.q.val();
        self.r_q2.d.next = self.r_q.q.val();
        self.read_off2.next = self.r_off2.q.val();
        self.read_q2.next = self.r_q2.q.val();
        self.w_unit.off.next = self.w_off.q.val();
        self.w_unit.q.next = self.w_q.q.val();
        self.w_unit.count.next = self.w_count.q.val();
        self.w_unit.last.next = bit_cast::<4, 5>(self.w_count.q.val() - 1);
        self.w_bad2.d.next = self.w_valid.q.val() & self.w_unit.trap.val();
        self.write_trap.next = self.w_bad2.q.val();
        self.w_off2.d.next = self.w_off.q.val();
        self.w_q2.d.next = self.w_q.q.val();
        self.write_off2.next = self.w_off2.q.val();
        self.write_q2.next = self.w_q2.q.val();
        self.w_go.next = self.w_valid.q.val() & !self.w_unit.trap.val();
        self.turn_in.by.next = self.w_unit.phase.val();
        for i in 0..self._n {
            self.w_data[i].clock.next = self.clock.val();
            self.w_data[i].d.next = self.w_data[i].q.val();
            if self.write.val() {
                self.w_data[i].d.next = self.wdata[i].val();
            }
            self.turn_in.x[i].next = self.w_data[i].q.val();
            self.bank[i].clock.next = self.clock.val();
            self.bank[i].read_address.next = self.r_unit.row[i].val();
            self.bank[i].write_address.next = self.w_unit.row[i].val();
            self.bank[i].write_data.next = self.turn_in.y[i].val();
            self.bank[i].write_enable.next = self.w_go.val() & self.w_unit.enable[i].val();
            self.turn_back.x[i].next = self.bank[i].read_data.val();
            self.rdata[i].next = self.turn_back.y[i].val();
        }
        // How the data are to be turned goes along with them.
        self.phase_way.x.next = self.r_unit.phase.val();
        self.bcast_way.x.next = bit_cast::<1, 1>(self.r_bcast.q.val().into());
        for k in self._way..(self._way + 1) {
            self.phase_back.next = self.phase_way.tap[k].val();
            self.bcast_back.next = self.bcast_way.tap[k].val().get_bit(0);
        }
        self.turn_back.by.next = self.phase_back.val();
        for i in 0..self._v {
            if self.bcast_back.val() {
                self.rdata[i].next = self.turn_back.y[0].val();
            }
        }
        for i in 0..self._early {
            self.row_r[i].clock.next = self.clock.val();
            self.row_r[i].d.next = self.r_unit.row[i].val();
            self.bank[i].read_address.next = self.row_r[i].q.val();
            self.row_w[i].clock.next = self.clock.val();
            self.row_w[i].d.next = self.w_unit.row[i].val();
            self.bank[i].write_address.next = self.row_w[i].q.val();
            self.data_w[i].clock.next = self.clock.val();
            self.data_w[i].d.next = self.turn_in.y[i].val();
            self.bank[i].write_data.next = self.data_w[i].q.val();
            self.enable_w[i].clock.next = self.clock.val();
            self.enable_w[i].d.next = self.w_valid.q.val() & self.w_unit.enable[i].val();
            // the range is known a cycle after the rows
            self.bank[i].write_enable.next = self.enable_w[i].q.val() & !self.w_bad2.q.val();
        }
        for i in 0..self._late {
            self.back[i].clock.next = self.clock.val();
            self.back[i].d.next = self.bank[i].read_data.val();
            self.turn_back.x[i].next = self.back[i].q.val();
        }
    }
}
