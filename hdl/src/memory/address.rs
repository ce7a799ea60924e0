//! From an access (address of lane 0, stride, lanes) to a row per bank.

use super::{RotateUp, many};
use rust_hdl_core::prelude::*;

/// The address path of one port.
///
/// ```text
///  off ──┬─ off / N ─────────┐
///        └─ off mod N = phase├─> row[i] = off/N + carry(phase + i) + i·q ──> rotate by phase ──> bank_row[b]
///  q ──── i·q (shift, add) ──┘          └── row[i] >= rows, i < count ──> trap, first offender
/// ```
///
/// Combinational. A broadcast passes `q` zero and uses lane 0 alone, `count` 1.
#[derive(LogicBlock)]
pub struct AddressUnit {
    /// Offset of lane 0 within the plane.
    pub off: Signal<In, Bits<19>>,
    /// `(inner stride − 1) / N`, signed.
    pub q: Signal<In, Bits<16>>,
    /// Enabled lanes.
    pub count: Signal<In, Bits<5>>,
    /// The row that each bank accesses.
    pub row: Vec<Signal<Out, Bits<20>>>,
    /// Whether the lane that falls into this bank is enabled.
    pub enable: Vec<Signal<Out, Bit>>,
    /// `off mod N`: the bank of lane 0.
    pub phase: Signal<Out, Bits<4>>,
    /// An enabled lane is out of range.
    pub trap: Signal<Out, Bit>,
    /// Offset of the first such lane.
    pub trap_off: Signal<Out, Bits<19>>,
    base: Signal<Local, Bits<21>>,
    phase19: Signal<Local, Bits<19>>,
    bad_row: Signal<Local, Bits<21>>,
    bad_bank: Signal<Local, Bits<19>>,
    wide_q: Signal<Local, Bits<21>>,
    multiple: Vec<Signal<Local, Bits<21>>>,
    bank: Vec<Signal<Local, Bits<19>>>,
    lane_sum: Vec<Signal<Local, Bits<21>>>,
    lane_row: Vec<Signal<Local, Bits<21>>>,
    carry: Vec<Signal<Local, Bits<21>>>,
    used: Vec<Signal<Local, Bit>>,
    bad: Vec<Signal<Local, Bit>>,
    rotate: RotateUp<21>,
    lane: Vec<Constant<Bits<5>>>,
    lane19: Vec<Constant<Bits<19>>>,
    rows: Constant<Bits<21>>,
    last_bank: Constant<Bits<19>>,
    shift: Constant<Bits<5>>,
    _n: usize,
    _half: usize,
}

impl AddressUnit {
    /// For `n` banks of `rows` words.
    pub fn new(n: usize, rows: usize) -> AddressUnit {
        AddressUnit {
            off: Default::default(),
            q: Default::default(),
            count: Default::default(),
            row: many(n),
            enable: many(n),
            phase: Default::default(),
            trap: Default::default(),
            trap_off: Default::default(),
            base: Default::default(),
            phase19: Default::default(),
            bad_row: Default::default(),
            bad_bank: Default::default(),
            wide_q: Default::default(),
            multiple: many(n),
            bank: many(n),
            lane_sum: many(n),
            lane_row: many(n),
            carry: many(n),
            used: many(n),
            bad: many(n),
            rotate: RotateUp::new(n),
            lane: (0..n).map(|i| Constant::new(bits(i as u64))).collect(),
            lane19: (0..n).map(|i| Constant::new(bits(i as u64))).collect(),
            rows: Constant::new(bits(rows as u64)),
            last_bank: Constant::new(bits(n as u64 - 1)),
            shift: Constant::new(bits(n.ilog2() as u64)),
            _n: n,
            _half: n / 2,
        }
    }
}

impl Logic for AddressUnit {
    #[hdl_gen]
    fn update(&mut self) {
        for n in self._n..(self._n + 1) {
            self.base.next = bit_cast::<21, 19>(self.off.val() >> self.shift.val());
            self.phase19.next = self.off.val() & self.last_bank.val();
            self.phase.next = bit_cast::<4, 19>(self.phase19.val());
            self.wide_q.next = bit_cast::<21, 16>(self.q.val());
            if self.q.val().get_bit(15) {
                self.wide_q.next = bit_cast::<21, 16>(self.q.val()) | 0x1f0000;
            }
            self.multiple[0].next = bits::<21>(0);
            self.multiple[1].next = self.wide_q.val();
            for h in 1..self._half {
                self.multiple[2 * h].next = self.multiple[h].val() << 1;
                self.multiple[2 * h + 1].next = self.multiple[2 * h].val() + self.wide_q.val();
            }
            self.rotate.by.next = self.phase.val();
            for i in 0..self._n {
                self.bank[i].next = self.phase19.val() + self.lane19[i].val();
                self.carry[i].next = bits::<21>(0);
                if self.bank[i].val() > self.last_bank.val() {
                    self.carry[i].next = bits::<21>(1);
                }
                self.lane_sum[i].next = self.base.val() + self.multiple[i].val() + self.carry[i].val();
                // Twenty bits: a negative row is far out of range.
                self.lane_row[i].next = self.lane_sum[i].val() & 0xfffff;
                self.used[i].next = self.lane[i].val() < self.count.val();
                self.bad[i].next = self.used[i].val() & (self.lane_row[i].val() >= self.rows.val());
                self.rotate.x[i].next = self.lane_row[i].val();
                if self.used[i].val() {
                    self.rotate.x[i].next = self.lane_row[i].val() | 0x100000;
                }
                self.row[i].next = self.rotate.y[i].val().get_bits::<20>(0);
                self.enable[i].next = self.rotate.y[i].val().get_bit(20);
            }
            self.trap.next = false;
            self.bad_row.next = bits::<21>(0);
            self.bad_bank.next = bits::<19>(0);
            for i in 0..self._n {
                if self.bad[n - 1 - i].val() {
                    self.trap.next = true;
                    self.bad_row.next = self.lane_row[n - 1 - i].val();
                    self.bad_bank.next = self.bank[n - 1 - i].val();
                }
            }
            self.trap_off.next = bit_cast::<19, 21>(self.bad_row.val() << self.shift.val())
                | (self.bad_bank.val() & self.last_bank.val());
        }
    }
}
