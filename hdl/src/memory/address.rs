//! From an access (address of lane 0, stride, lanes) to a row per bank.

use super::{RotateUp, many};
use rust_hdl_core::prelude::*;

/// The address path of one port.
///
/// ```text
///  off ──┬─ off / N ─────────┐
///        └─ off mod N = phase├─> row[i] = off/N + carry(phase + i) + i·q ──> rotate by phase ──> bank_row[b]
///  q ──── i·q (shift, add) ──┘
///        row[0] >= rows, or row[count − 1] >= rows ──> trap
/// ```
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
    /// The row that each bank accesses.
    pub row: Vec<Signal<Out, Bits<20>>>,
    /// Whether the lane that falls into this bank is enabled.
    pub enable: Vec<Signal<Out, Bit>>,
    /// `off mod N`: the bank of lane 0.
    pub phase: Signal<Out, Bits<4>>,
    /// An enabled lane is out of range; [`super::RangeSearch`] tells which.
    pub trap: Signal<Out, Bit>,
    base: Signal<Local, Bits<21>>,
    phase19: Signal<Local, Bits<19>>,
    begin: Signal<Local, Bits<22>>,
    wide_q: Signal<Local, Bits<22>>,
    multiple: Vec<Signal<Local, Bits<22>>>,
    bank: Vec<Signal<Local, Bits<19>>>,
    lane_sum: Vec<Signal<Local, Bits<22>>>,
    addend: Vec<Signal<Local, Bits<22>>>,
    used: Vec<Signal<Local, Bit>>,
    last: Signal<Local, Bits<5>>,
    power: Vec<Signal<Local, Bits<22>>>,
    part: Vec<Signal<Local, Bits<22>>>,
    far: Vec<Signal<Local, Bits<22>>>,
    far_bank: Signal<Local, Bits<19>>,
    far_addend: Signal<Local, Bits<22>>,
    far_sum: Signal<Local, Bits<22>>,
    far_row: Signal<Local, Bits<21>>,
    rotate: RotateUp<21>,
    lane: Vec<Constant<Bits<5>>>,
    lane19: Vec<Constant<Bits<19>>>,
    rows: Constant<Bits<21>>,
    last_bank: Constant<Bits<19>>,
    shift: Constant<Bits<5>>,
    _n: usize,
    _half: usize,
    _log: usize,
}

impl AddressUnit {
    /// For `n` banks of `rows` words.
    pub fn new(n: usize, rows: usize) -> AddressUnit {
        let log = n.ilog2() as usize;
        AddressUnit {
            off: Default::default(),
            q: Default::default(),
            count: Default::default(),
            row: many(n),
            enable: many(n),
            phase: Default::default(),
            trap: Default::default(),
            base: Default::default(),
            phase19: Default::default(),
            begin: Default::default(),
            wide_q: Default::default(),
            multiple: many(n),
            bank: many(n),
            lane_sum: many(n),
            addend: many(n),
            used: many(n),
            last: Default::default(),
            power: many(log),
            part: many(log),
            far: many(log),
            far_bank: Default::default(),
            far_addend: Default::default(),
            far_sum: Default::default(),
            far_row: Default::default(),
            rotate: RotateUp::new(n),
            lane: (0..n).map(|i| Constant::new(bits(i as u64))).collect(),
            lane19: (0..n).map(|i| Constant::new(bits(i as u64))).collect(),
            rows: Constant::new(bits(rows as u64)),
            last_bank: Constant::new(bits(n as u64 - 1)),
            shift: Constant::new(bits(log as u64)),
            _n: n,
            _half: n / 2,
            _log: log,
        }
    }
}

impl Logic for AddressUnit {
    #[hdl_gen]
    fn update(&mut self) {
        self.base.next = bit_cast::<21, 19>(self.off.val() >> self.shift.val());
        self.phase19.next = self.off.val() & self.last_bank.val();
        self.phase.next = bit_cast::<4, 19>(self.phase19.val());
        self.wide_q.next = bit_cast::<22, 16>(self.q.val());
        if self.q.val().get_bit(15) {
            self.wide_q.next = bit_cast::<22, 16>(self.q.val()) | 0x3f0000;
        }
        // A lane's carry enters below the lowest bit, beside a one: one adder instead of two.
        self.begin.next = (bit_cast::<22, 21>(self.base.val()) << 1) | 1;
        self.multiple[0].next = bits::<22>(0);
        self.multiple[1].next = self.wide_q.val();
        for h in 1..self._half {
            self.multiple[2 * h].next = self.multiple[h].val() << 1;
            self.multiple[2 * h + 1].next = self.multiple[2 * h].val() + self.wide_q.val();
        }
        self.rotate.by.next = self.phase.val();
        for i in 0..self._n {
            self.bank[i].next = self.phase19.val() + self.lane19[i].val();
            self.addend[i].next = self.multiple[i].val() << 1;
            if self.bank[i].val() > self.last_bank.val() {
                self.addend[i].next = (self.multiple[i].val() << 1) | 1;
            }
            self.lane_sum[i].next = self.begin.val() + self.addend[i].val();
            self.used[i].next = self.lane[i].val() < self.count.val();
            self.rotate.x[i].next = self.lane_sum[i].val().get_bits::<21>(1) & 0xfffff;
            if self.used[i].val() {
                self.rotate.x[i].next = self.lane_sum[i].val().get_bits::<21>(1) | 0x100000;
            }
            self.row[i].next = self.rotate.y[i].val().get_bits::<20>(0);
            self.enable[i].next = self.rotate.y[i].val().get_bit(20);
        }
        // The last enabled lane, in full.
        self.last.next = self.count.val() - 1;
        self.power[0].next = self.wide_q.val();
        for k in 1..self._log {
            self.power[k].next = self.power[k - 1].val() << 1;
        }
        for k in 0..self._log {
            self.part[k].next = bits::<22>(0);
            if self.last.val().get_bit(k) {
                self.part[k].next = self.power[k].val();
            }
        }
        self.far[0].next = self.part[0].val();
        for k in 1..self._log {
            self.far[k].next = self.far[k - 1].val() + self.part[k].val();
        }
        self.far_bank.next = self.phase19.val() + bit_cast::<19, 5>(self.last.val());
        for k in self._log..(self._log + 1) {
            self.far_addend.next = self.far[k - 1].val() << 1;
            if self.far_bank.val() > self.last_bank.val() {
                self.far_addend.next = (self.far[k - 1].val() << 1) | 1;
            }
        }
        self.far_sum.next = self.begin.val() + self.far_addend.val();
        // Twenty bits: a negative row is far out of range.
        self.far_row.next = self.far_sum.val().get_bits::<21>(1) & 0xfffff;
        self.trap.next =
            (self.count.val() != 0) & ((self.base.val() >= self.rows.val()) | (self.far_row.val() >= self.rows.val()));
    }
}
