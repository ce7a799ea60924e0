//! Above and below the array: start values in, partial sums out, one accumulator RAM per column, on the skewed side.
//!
//! ```text
//!  token ──[0]──[1]── … ──[P_IN + j]───────[P_IN + j + 1] ── … ──[P_OUT + j + 1]
//!                 │            │ read            │ select              │ write
//!                 │      acc RAM j ──────────> zero / bias / sum ─> psum_in[j]
//!                 └─ bias store ─> select ─[1 + j]─> FP16→FP32 ┘        psum_out[j] ─> acc RAM j
//!                                                                          └─[N−1−j]─> sum[j] (lanes aligned)
//! ```

use crate::array::{P_IN, p_out};
use crate::delay::DelayLine;
use crate::float::HalfToSingle;
use crate::memory::{Bank, many};
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use systole_isa::machine::Machine;

/// Start values, accumulators and de-skew.
#[derive(LogicBlock)]
pub struct Columns {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// From the streamer, one cycle before `act[0]`.
    pub token: Signal<In, Bits<32>>,
    /// Write `bias` to `bias_addr`.
    pub bias_we: Signal<In, Bit>,
    /// Slot and vector.
    pub bias_addr: Signal<In, Bits<20>>,
    /// FP16, one per lane.
    pub bias: Vec<Signal<In, Bits<16>>>,
    /// To the array.
    pub psum_in: Vec<Signal<Out, Bits<32>>>,
    /// From the array.
    pub psum_out: Vec<Signal<In, Bits<32>>>,
    /// Sums of one row, all lanes in the cycle in which the last column's leaves the array.
    pub sum: Vec<Signal<Out, Bits<32>>>,
    way: DelayLine<11>,
    lead: DelayLine<32>,
    reach: Vec<TokenRow>,
    land: Vec<TokenRow>,
    wide: Vec<Widen>,
    stored: Vec<Signal<Local, Bits<16>>>,
    acc: Vec<Bank>,
    store: Vec<Bank>,
    one: Signal<Local, Bits<16>>,
    chosen: Vec<DFF<Bits<16>>>,
    skew: Vec<DelayLine<16>>,
    align: Vec<DelayLine<32>>,
    widen: Vec<HalfToSingle>,
    bias_from: Signal<Local, Bits<20>>,
    bias_lane: Signal<Local, Bits<4>>,
    token_at: Signal<Local, Bits<32>>,
    token_then: Signal<Local, Bits<32>>,
    vec: Signal<Local, Bits<8>>,
    lane: Vec<Constant<Bits<4>>>,
    last_lane: Constant<Bits<4>>,
    shift: Constant<Bits<5>>,
    bias_shift: Constant<Bits<5>>,
    _n: usize,
    _pairs: usize,
    _in: usize,
    _out: usize,
}

impl Columns {
    /// For `machine`.
    pub fn new(machine: &Machine) -> Columns {
        let (n, l) = (machine.lanes as usize, machine.adder_latency as usize);
        Columns {
            clock: Default::default(),
            token: Default::default(),
            bias_we: Default::default(),
            bias_addr: Default::default(),
            bias: many(n),
            psum_in: many(n),
            psum_out: many(n),
            sum: many(n),
            way: DelayLine::new(p_out(n, l) + n),
            lead: DelayLine::new(P_IN),
            reach: many(n),
            land: many(n),
            wide: many(n),
            stored: many(n),
            acc: (0..n).map(|_| Bank::new(machine.acc_rows as usize, 32)).collect(),
            // all columns read and write the same vector, so two share the width of a block RAM
            store: (0..n / 2).map(|_| Bank::new(1024 / n, 32)).collect(),
            one: Default::default(),
            chosen: many(n),
            skew: (0..n).map(DelayLine::new).collect(),
            align: (0..n).map(|j| DelayLine::new(n - 1 - j)).collect(),
            widen: many(n),
            bias_from: Default::default(),
            bias_lane: Default::default(),
            token_at: Default::default(),
            token_then: Default::default(),
            vec: Default::default(),
            lane: (0..n).map(|i| Constant::new(bits(i as u64))).collect(),
            last_lane: Constant::new(bits(n as u64 - 1)),
            shift: Constant::new(bits(n.ilog2() as u64)),
            bias_shift: Constant::new(bits(8 - n.ilog2() as u64)),
            _n: n,
            _pairs: n / 2,
            _in: P_IN,
            _out: p_out(n, l),
        }
    }
}

impl Logic for Columns {
    #[hdl_gen]
    fn update(&mut self) {
        clock!(self, clock, way, lead);
        self.way.x.next = self.token.val().get_bits::<11>(0);
        self.lead.x.next = self.token.val();
        // A cycle ahead of the accumulators: memory, selection and conversion are too much for one.
        for p in self._in..(self._in + 1) {
            self.token_at.next = self.lead.tap[p - 1].val();
            self.token_then.next = self.lead.tap[p].val();
        }
        // Biases: vector 0 of the slot per column, or element `row` for all columns.
        self.vec.next = bits::<8>(0);
        if self.token_at.val().get_bit(26) {
            self.vec.next = self.token_at.val().get_bits::<8>(18) >> self.shift.val();
        }
        self.bias_from.next = (bit_cast::<20, 2>(self.token_at.val().get_bits::<2>(11)) << self.bias_shift.val())
            | bit_cast::<20, 8>(self.vec.val());
        self.bias_lane.next = self.token_then.val().get_bits::<4>(18) & self.last_lane.val();
        for p in 0..self._pairs {
            self.wide[2 * p].half.next = self.bias[2 * p].val();
            self.wide[2 * p + 1].half.next = self.bias[2 * p + 1].val();
            self.store[p].clock.next = self.clock.val();
            self.store[p].read_address.next = self.bias_from.val();
            self.store[p].write_address.next = self.bias_addr.val();
            self.store[p].write_data.next = self.wide[2 * p].wide.val() | (self.wide[2 * p + 1].wide.val() << 16);
            self.store[p].write_enable.next = self.bias_we.val();
            self.stored[2 * p].next = self.store[p].read_data.val().get_bits::<16>(0);
            self.stored[2 * p + 1].next = self.store[p].read_data.val().get_bits::<16>(16);
        }
        self.one.next = self.stored[0].val();
        for i in 1..self._n {
            if self.bias_lane.val() == self.lane[i].val() {
                self.one.next = self.stored[i].val();
            }
        }
        for n in self._n..(self._n + 1) {
            for p in self._in..(self._in + 1) {
                for o in self._out..(self._out + 1) {
                    for j in 0..self._n {
                        self.chosen[j].clock.next = self.clock.val();
                        self.chosen[j].d.next = self.stored[j].val();
                        if self.token_then.val().get_bit(26) {
                            self.chosen[j].d.next = self.one.val();
                        }
                        self.skew[j].clock.next = self.clock.val();
                        self.skew[j].x.next = self.chosen[j].q.val();
                        self.widen[j].half.next = self.skew[j].tap[j].val();
                        self.widen[j].offset.next = bits::<8>(0);
                        self.acc[j].clock.next = self.clock.val();
                        self.acc[j].read_address.next = self.reach[j].row.val();
                        self.reach[j].token.next = self.way.tap[p + j].val();
                        self.psum_in[j].next = bits::<32>(0);
                        if self.way.tap[p + j + 1].val().get_bits::<2>(8) == 1 {
                            self.psum_in[j].next = self.widen[j].single.val();
                        }
                        if self.way.tap[p + j + 1].val().get_bit(9) {
                            self.psum_in[j].next = self.acc[j].read_data.val();
                        }
                        self.land[j].token.next = self.way.tap[o + j + 1].val();
                        self.acc[j].write_address.next = self.land[j].row.val();
                        self.acc[j].write_data.next = self.psum_out[j].val();
                        self.acc[j].write_enable.next = self.way.tap[o + j + 1].val().get_bit(10);
                        self.align[j].clock.next = self.clock.val();
                        self.align[j].x.next = self.psum_out[j].val();
                        self.sum[j].next = self.align[j].tap[n - 1 - j].val();
                    }
                }
            }
        }
    }
}

/// The accumulator row that a token names.
#[derive(LogicBlock, Default)]
pub struct TokenRow {
    /// Low bits of a token.
    pub token: Signal<In, Bits<11>>,
    /// Its row, as an address.
    pub row: Signal<Out, Bits<20>>,
}

impl Logic for TokenRow {
    #[hdl_gen]
    fn update(&mut self) {
        self.row.next = bit_cast::<20, 8>(self.token.val().get_bits::<8>(0));
    }
}

/// Sixteen bits in thirty-two.
#[derive(LogicBlock, Default)]
pub struct Widen {
    /// Low half.
    pub half: Signal<In, Bits<16>>,
    /// Zero-extended.
    pub wide: Signal<Out, Bits<32>>,
}

impl Logic for Widen {
    #[hdl_gen]
    fn update(&mut self) {
        self.wide.next = bit_cast::<32, 16>(self.half.val());
    }
}
