//! From an access (address of lane 0, stride, lanes) to a row per bank.

use super::{RotateUp, many};
use rust_hdl_core::prelude::*;

/// The address path of one port.
///
/// ```text
///  phase = off mod N (bank of lane 0), base = off / N
///
///  off ─┬─> base ────────────> − ──> low ───────┬─> mux per bank ──> + ──> row[b]
///       └─> phase ─ × ─> back ─┴───> high ──────┘   (b < phase)      │
///  q ──────────────┘        (low + N·q + 1)          b·q (shift, add)┘
///
///  base >= rows, or base + carry + (count − 1)·q >= rows ──> trap
/// ```
///
/// Bank b serves lane `(b − phase) mod N`, whose row is `base + (b − phase)·q` where lanes have not wrapped around the banks, and
/// `base + 1 + (N + b − phase)·q` where they have (b < phase). So two rows of bank 0 and fixed multiples of q make the rows of
/// all banks, with one multiplier, and nothing has to be rotated from lanes to banks but the enables.
///
/// Lanes walk in one direction, so an access is in range if its first and last lanes are: only these two rows are made in full
/// width, and a bank that keeps fewer bits of the others costs only those. Combinational. A broadcast passes `q` zero and uses
/// lane 0 alone, `count` 1.
#[derive(LogicBlock)]
pub struct AddressUnit {
    /// Offset of lane 0 within the plane.
    pub off: Signal<In, Bits<19>>,
    /// `(inner stride − 1) / N`, signed.
    pub q: Signal<In, Bits<16>>,
    /// Enabled lanes.
    pub count: Signal<In, Bits<5>>,
    /// The last of them, `count − 1` (anything if there is none): it begins the longest way, so a client may know it earlier.
    pub last: Signal<In, Bits<4>>,
    /// The row that each bank accesses.
    pub row: Vec<Signal<Out, Bits<20>>>,
    /// Whether the lane that falls into this bank is enabled.
    pub enable: Vec<Signal<Out, Bit>>,
    /// `off mod N`: the bank of lane 0.
    pub phase: Signal<Out, Bits<4>>,
    /// An enabled lane is out of range; [`super::RangeSearch`] tells which.
    pub trap: Signal<Out, Bit>,
    base: Signal<Local, Bits<20>>,
    phase19: Signal<Local, Bits<19>>,
    phase4: Signal<Local, Bits<4>>,
    phase5: Signal<Local, Bits<5>>,
    phase16: Signal<Local, Bits<16>>,
    wide_q: Signal<Local, Bits<20>>,
    back: Signal<Local, Bits<32>>,
    back_sign: Signal<Local, Bits<20>>,
    start: Signal<Local, Bits<20>>,
    ahead: Signal<Local, Bits<20>>,
    low: Signal<Local, Bits<20>>,
    high: Signal<Local, Bits<20>>,
    multiple: Vec<Signal<Local, Bits<20>>>,
    origin: Vec<Signal<Local, Bits<20>>>,
    last16: Signal<Local, Bits<16>>,
    far: Signal<Local, Bits<32>>,
    far_sign: Signal<Local, Bits<20>>,
    far_bank: Signal<Local, Bits<6>>,
    far_base: Signal<Local, Bits<20>>,
    far_row: Signal<Local, Bits<20>>,
    rotate: RotateUp<1>,
    lane: Vec<Constant<Bits<5>>>,
    rows: Constant<Bits<20>>,
    last_bank: Constant<Bits<19>>,
    last_lane: Constant<Bits<6>>,
    shift: Constant<Bits<5>>,
    _n: usize,
    _quarter: usize,
}

impl AddressUnit {
    /// For `n` banks of `rows` words.
    pub fn new(n: usize, rows: usize) -> AddressUnit {
        AddressUnit {
            off: Default::default(),
            q: Default::default(),
            count: Default::default(),
            last: Default::default(),
            row: many(n),
            enable: many(n),
            phase: Default::default(),
            trap: Default::default(),
            base: Default::default(),
            phase19: Default::default(),
            phase4: Default::default(),
            phase5: Default::default(),
            phase16: Default::default(),
            wide_q: Default::default(),
            back: Default::default(),
            back_sign: Default::default(),
            start: Default::default(),
            ahead: Default::default(),
            low: Default::default(),
            high: Default::default(),
            multiple: many(n),
            origin: many(n),
            last16: Default::default(),
            far: Default::default(),
            far_sign: Default::default(),
            far_bank: Default::default(),
            far_base: Default::default(),
            far_row: Default::default(),
            rotate: RotateUp::new(n),
            lane: (0..n).map(|i| Constant::new(bits(i as u64))).collect(),
            rows: Constant::new(bits(rows as u64)),
            last_bank: Constant::new(bits(n as u64 - 1)),
            last_lane: Constant::new(bits(n as u64 - 1)),
            shift: Constant::new(bits(u64::from(n.ilog2()))),
            _n: n,
            _quarter: n / 4,
        }
    }
}

impl Logic for AddressUnit {
    #[hdl_gen]
    fn update(&mut self) {
        self.base.next = bit_cast::<20, 19>(self.off.val() >> self.shift.val());
        self.phase19.next = self.off.val() & self.last_bank.val();
        self.phase4.next = bit_cast::<4, 19>(self.phase19.val());
        self.phase5.next = bit_cast::<5, 19>(self.phase19.val());
        self.phase16.next = bit_cast::<16, 19>(self.phase19.val());
        self.phase.next = self.phase4.val();
        self.wide_q.next = bit_cast::<20, 16>(self.q.val());
        if self.q.val().get_bit(15) {
            self.wide_q.next = bit_cast::<20, 16>(self.q.val()) | 0xf0000;
        }
        // All rows are modulo 2^20. The multipliers take q without its sign: what that makes too much is taken off beside them.
        self.back.next = self.phase16.val() * self.q.val();
        self.back_sign.next = bits::<20>(0);
        if self.q.val().get_bit(15) {
            self.back_sign.next = bit_cast::<20, 4>(self.phase4.val()) << 16;
        }
        self.start.next = self.base.val() + self.back_sign.val();
        // N·q has zeros where the one goes
        self.ahead.next = self.start.val() + ((self.wide_q.val() << self.shift.val()) | 1);
        self.low.next = self.start.val() - self.back.val().get_bits::<20>(0);
        self.high.next = self.ahead.val() - self.back.val().get_bits::<20>(0);
        self.multiple[0].next = bits::<20>(0);
        self.multiple[1].next = self.wide_q.val();
        for h in 0..self._quarter {
            self.multiple[4 * h + 2].next = self.multiple[2 * h + 1].val() << 1;
            self.multiple[4 * h + 3].next = (self.multiple[h + 1].val() << 2) - self.wide_q.val();
        }
        for h in 1..self._quarter {
            self.multiple[4 * h].next = self.multiple[h].val() << 2;
            self.multiple[4 * h + 1].next = (self.multiple[h].val() << 2) + self.wide_q.val();
        }
        self.rotate.by.next = self.phase4.val();
        for i in 0..self._n {
            self.origin[i].next = self.low.val();
            if self.lane[i].val() < self.phase5.val() {
                self.origin[i].next = self.high.val();
            }
            self.row[i].next = self.origin[i].val() + self.multiple[i].val();
            self.rotate.x[i].next = bits::<1>(0);
            if self.lane[i].val() < self.count.val() {
                self.rotate.x[i].next = bits::<1>(1);
            }
            self.enable[i].next = self.rotate.y[i].val().get_bit(0);
        }
        // The last enabled lane, in full. A negative row is far out of range.
        self.last16.next = bit_cast::<16, 4>(self.last.val()) & bit_cast::<16, 19>(self.last_bank.val());
        self.far.next = self.last16.val() * self.q.val();
        self.far_sign.next = bits::<20>(0);
        if self.q.val().get_bit(15) {
            self.far_sign.next = bit_cast::<20, 16>(self.last16.val()) << 16;
        }
        self.far_bank.next = bit_cast::<6, 4>(self.phase4.val()) + bit_cast::<6, 16>(self.last16.val());
        self.far_base.next = self.base.val() - self.far_sign.val();
        if self.far_bank.val() > self.last_lane.val() {
            self.far_base.next = self.base.val() - self.far_sign.val() + 1;
        }
        self.far_row.next = self.far_base.val() + self.far.val().get_bits::<20>(0);
        self.trap.next =
            (self.count.val() != 0) & ((self.base.val() >= self.rows.val()) | (self.far_row.val() >= self.rows.val()));
    }
}
