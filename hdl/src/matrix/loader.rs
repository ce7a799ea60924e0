//! Walks the tiles of an instruction ahead of the streamer and fills the weight stores.
//!
//! ```text
//!  n-group ─> m-block ─> k tile ─> n tile ─> [bias] ─> row 0 … N−1
//!                                               │         │ request (padding rows need none)
//!            slot timers, occupancy ──> may go ─┘         v
//!                                     grant ─[1]─ … ─[M]─ data ─[M+1]─> w_we, w_slot, w_data / bias store
//! ```
//!
//! A slot is free for row i once the wave that used it has passed that row: its timer counts down from [`timer_start`]
//! in the cycle after the wave's last row was requested, and row i may be requested from `timer_start + 1 − w_hold − i·L`
//! on, `w_hold` + i·L cycles after that row. Rows follow each
//! other at least as fast as the wave comes down, so a wave that starts behind row 0 never overtakes the loader.

use crate::array::{P_IN, W_SLOTS, w_hold};
use crate::delay::DelayLine;
use crate::memory::many;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Where a slot's timer starts.
pub const fn timer_start(n: usize, l: usize) -> usize {
    w_hold(n) + n * l + P_IN + 4
}

/// The weight loader; asks memory through `req` …, writes weights and biases.
#[derive(LogicBlock)]
pub struct Loader {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Stop, forget.
    pub clear: Signal<In, Bit>,
    /// Start on the instruction in `word`.
    pub start: Signal<In, Bit>,
    /// Its words.
    pub word: Vec<Signal<In, Bits<32>>>,
    /// Its `m_block`.
    pub m_block: Signal<In, Bits<16>>,
    /// Its `n_group`.
    pub n_group: Signal<In, Bits<16>>,
    /// An instruction is in hand.
    pub active: Signal<Out, Bit>,
    /// Row 0 of a tile was requested.
    pub opened: Signal<Out, Bit>,
    /// The streamer asked for the last row of its oldest tile.
    pub closed: Signal<In, Bit>,
    /// Read request.
    pub req: Signal<Out, Bit>,
    /// Its address.
    pub addr: Signal<Out, Bits<20>>,
    /// Its stride.
    pub q: Signal<Out, Bits<16>>,
    /// Its lanes.
    pub count: Signal<Out, Bits<5>>,
    /// It is granted.
    pub gnt: Signal<In, Bit>,
    /// Data, M cycles after the grant: [`systole_isa::machine::Machine::memory_latency`].
    pub rdata: Vec<Signal<In, Bits<32>>>,
    /// Write this row's weights.
    pub w_we: Vec<Signal<Out, Bit>>,
    /// Into this slot.
    pub w_slot: Signal<Out, Bits<2>>,
    /// Weights of each column, or biases.
    pub w_data: Vec<Signal<Out, Bits<16>>>,
    /// `w_data` are biases.
    pub bias_we: Signal<Out, Bit>,
    /// Where they belong.
    pub bias_addr: Signal<Out, Bits<20>>,
    run: DFF<Bit>,
    m: DFF<Bits<16>>,
    k: DFF<Bits<16>>,
    block: DFF<Bits<16>>,
    group: DFF<Bits<16>>,
    outer: DFF<Bits<20>>,
    hop: DFF<Bits<20>>,
    stride: DFF<Bits<16>>,
    init: DFF<Bits<2>>,
    n_left: DFF<Bits<16>>,
    tile_left: DFF<Bits<16>>,
    tiles: DFF<Bits<16>>,
    m_left: DFF<Bits<16>>,
    k_left: DFF<Bits<16>>,
    first: DFF<Bit>,
    in_bias: DFF<Bit>,
    vec: DFF<Bits<8>>,
    row: DFF<Bits<5>>,
    slot: DFF<Bits<2>>,
    limit: DFF<Bits<8>>,
    fresh: DFF<Bit>,
    a_group: DFF<Bits<20>>,
    a_next: DFF<Bits<20>>,
    a_k: DFF<Bits<20>>,
    a_tile: DFF<Bits<20>>,
    a_row: DFF<Bits<20>>,
    b_group: DFF<Bits<20>>,
    b_next: DFF<Bits<20>>,
    b_tile: DFF<Bits<20>>,
    b_base: DFF<Bits<20>>,
    b_block: DFF<Bits<20>>,
    held: DFF<Bits<3>>,
    old: DFF<Bits<2>>,
    copy: DFF<Bits<8>>,
    timer: Vec<DFF<Bits<8>>>,
    sent: Signal<Local, Bits<20>>,
    /// Tokens, while what they ask for is read.
    way: DelayLine<20>,
    arrived: Signal<Local, Bits<20>>,
    p3: DFF<Bits<20>>,
    data: Vec<DFF<Bits<16>>>,
    mine: Signal<Local, Bits<8>>,
    early: Vec<Signal<Local, Bit>>,
    passed: Signal<Local, Bit>,
    may: Signal<Local, Bit>,
    padding: DFF<Bit>,
    row_then: Signal<Local, Bits<5>>,
    want: Signal<Local, Bit>,
    step: Signal<Local, Bit>,
    bias_on: Signal<Local, Bit>,
    rows: Signal<Local, Bits<16>>,
    vec_at: Signal<Local, Bits<16>>,
    rows_left: Signal<Local, Bits<16>>,
    bias_last: Signal<Local, Bit>,
    last_row: Signal<Local, Bit>,
    tile_end: Signal<Local, Bit>,
    last_tile: Signal<Local, Bit>,
    last_k: Signal<Local, Bit>,
    last_m: Signal<Local, Bit>,
    last_n: Signal<Local, Bit>,
    lanes: Signal<Local, Bits<16>>,
    a_step: Signal<Local, Bits<20>>,
    a_hop: Signal<Local, Bits<20>>,
    a_down: Signal<Local, Bits<20>>,
    b_hop: Signal<Local, Bits<20>>,
    n_rest: Signal<Local, Bits<16>>,
    inner20: Signal<Local, Bits<20>>,
    outer20: Signal<Local, Bits<20>>,
    bias20: Signal<Local, Bits<20>>,
    token: Signal<Local, Bits<20>>,
    open_now: Signal<Local, Bit>,
    bias_next: Signal<Local, Bit>,
    n16: Constant<Bits<16>>,
    n20: Constant<Bits<20>>,
    top_row: Constant<Bits<5>>,
    shift: Constant<Bits<5>>,
    bias_shift: Constant<Bits<5>>,
    timer_top: Constant<Bits<8>>,
    limit_row0: Constant<Bits<8>>,
    limit_bias: Constant<Bits<8>>,
    latency: Constant<Bits<8>>,
    lane: Vec<Constant<Bits<5>>>,
    id: Vec<Constant<Bits<2>>>,
    _n: usize,
    _m: usize,
}

impl Loader {
    /// For an array of `n` rows and columns, an adder of `l` cycles and a memory of `m`.
    pub fn new(n: usize, l: usize, m: usize) -> Loader {
        Loader {
            clock: Default::default(),
            clear: Default::default(),
            start: Default::default(),
            word: many(12),
            m_block: Default::default(),
            n_group: Default::default(),
            active: Default::default(),
            opened: Default::default(),
            closed: Default::default(),
            req: Default::default(),
            addr: Default::default(),
            q: Default::default(),
            count: Default::default(),
            gnt: Default::default(),
            rdata: many(n),
            w_we: many(n),
            w_slot: Default::default(),
            w_data: many(n),
            bias_we: Default::default(),
            bias_addr: Default::default(),
            run: Default::default(),
            m: Default::default(),
            k: Default::default(),
            block: Default::default(),
            group: Default::default(),
            outer: Default::default(),
            hop: Default::default(),
            stride: Default::default(),
            init: Default::default(),
            n_left: Default::default(),
            tile_left: Default::default(),
            tiles: Default::default(),
            m_left: Default::default(),
            k_left: Default::default(),
            first: Default::default(),
            in_bias: Default::default(),
            vec: Default::default(),
            row: Default::default(),
            slot: Default::default(),
            limit: Default::default(),
            fresh: Default::default(),
            a_group: Default::default(),
            a_next: Default::default(),
            a_k: Default::default(),
            a_tile: Default::default(),
            a_row: Default::default(),
            b_group: Default::default(),
            b_next: Default::default(),
            b_tile: Default::default(),
            b_base: Default::default(),
            b_block: Default::default(),
            held: Default::default(),
            old: Default::default(),
            copy: Default::default(),
            timer: many(W_SLOTS),
            sent: Default::default(),
            way: DelayLine::new(m),
            arrived: Default::default(),
            p3: Default::default(),
            data: many(n),
            mine: Default::default(),
            early: many(W_SLOTS),
            passed: Default::default(),
            may: Default::default(),
            padding: Default::default(),
            row_then: Default::default(),
            want: Default::default(),
            step: Default::default(),
            bias_on: Default::default(),
            rows: Default::default(),
            vec_at: Default::default(),
            rows_left: Default::default(),
            bias_last: Default::default(),
            last_row: Default::default(),
            tile_end: Default::default(),
            last_tile: Default::default(),
            last_k: Default::default(),
            last_m: Default::default(),
            last_n: Default::default(),
            lanes: Default::default(),
            a_step: Default::default(),
            a_hop: Default::default(),
            a_down: Default::default(),
            b_hop: Default::default(),
            n_rest: Default::default(),
            inner20: Default::default(),
            outer20: Default::default(),
            bias20: Default::default(),
            token: Default::default(),
            open_now: Default::default(),
            bias_next: Default::default(),
            n16: Constant::new(bits(n as u64)),
            n20: Constant::new(bits(n as u64)),
            top_row: Constant::new(bits(n as u64 - 1)),
            shift: Constant::new(bits(n.ilog2() as u64)),
            bias_shift: Constant::new(bits(8 - n.ilog2() as u64)),
            timer_top: Constant::new(bits(timer_start(n, l) as u64)),
            limit_row0: Constant::new(bits((timer_start(n, l) - w_hold(n) + 1) as u64)),
            limit_bias: Constant::new(bits((timer_start(n, l) - P_IN - 3) as u64)),
            latency: Constant::new(bits(l as u64)),
            lane: (0..n).map(|i| Constant::new(bits(i as u64))).collect(),
            id: (0..4).map(|i| Constant::new(bits(i))).collect(),
            _n: n,
            _m: m,
        }
    }
}

impl Logic for Loader {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self, clock, run, m, k, block, group, outer, hop, stride, init, n_left, tile_left, tiles, m_left, k_left
        );
        dff_setup!(self, clock, first, in_bias, vec, row, slot, limit, fresh, a_group, a_next, a_k, a_tile, a_row);
        dff_setup!(self, clock, b_group, b_next, b_tile, b_base, b_block, held, old, copy, p3, padding);
        clock!(self, clock, way);
        self.active.next = self.run.q.val();
        // Slot timers: a closed tile's slot counts down while its wave passes the rows.
        for i in 0..4 {
            self.timer[i].clock.next = self.clock.val();
            self.timer[i].d.next = self.timer[i].q.val();
            if self.timer[i].q.val() != 0 {
                self.timer[i].d.next = self.timer[i].q.val() - 1;
            }
            if self.closed.val() & (self.old.q.val() == self.id[i].val()) {
                self.timer[i].d.next = self.timer_top.val();
            }
        }
        if self.closed.val() {
            self.old.d.next = self.old.q.val() + 1;
        }
        // (timers are compared before one is chosen, which is quicker than the other way round)
        for i in 0..4 {
            self.early[i].next = self.timer[i].q.val() > self.limit.q.val();
        }
        self.mine.next = self.timer[0].q.val();
        self.passed.next = !self.early[0].val();
        for i in 1..4 {
            if self.slot.q.val() == self.id[i].val() {
                self.mine.next = self.timer[i].q.val();
                self.passed.next = !self.early[i].val();
            }
        }
        // A tile of few rows may be closed while its own last rows are still being loaded: from its first step on, a tile
        // goes by its own copy of the timer.
        if !self.fresh.q.val() {
            self.mine.next = self.copy.q.val();
            self.passed.next = self.copy.q.val() <= self.limit.q.val();
        }
        self.copy.d.next = bits::<8>(0);
        if self.mine.val() != 0 {
            self.copy.d.next = self.mine.val() - 1;
        }
        // What the next step is.
        self.rows.next = self.block.q.val();
        if self.m_left.q.val() < self.block.q.val() {
            self.rows.next = self.m_left.q.val();
        }
        self.vec_at.next = bit_cast::<16, 8>(self.vec.q.val()) << self.shift.val();
        self.rows_left.next = self.rows.val() - self.vec_at.val();
        self.bias_last.next = !self.init.q.val().get_bit(1) | (self.rows_left.val() <= self.n16.val());
        self.may.next = self.run.q.val() & self.passed.val() & (!self.fresh.q.val() | !self.held.q.val().get_bit(2));
        self.want.next = self.may.val() & !self.padding.q.val();
        self.req.next = self.want.val();
        self.step.next = self.may.val() & (self.padding.q.val() | self.gnt.val());
        self.lanes.next = self.tile_left.q.val();
        self.addr.next = self.a_row.q.val();
        self.q.next = self.stride.q.val();
        if self.in_bias.q.val() {
            self.q.next = bits::<16>(0);
            self.addr.next = self.b_tile.q.val();
            if self.init.q.val().get_bit(1) {
                self.addr.next = self.b_block.q.val() + bit_cast::<20, 16>(self.vec_at.val());
                self.lanes.next = self.rows_left.val();
            }
        }
        self.count.next = bit_cast::<5, 16>(self.lanes.val());
        if self.lanes.val() > self.n16.val() {
            self.count.next = bit_cast::<5, 16>(self.n16.val());
        }
        // Loops, innermost first.
        self.last_row.next = !self.in_bias.q.val() & (self.row.q.val() == self.top_row.val());
        self.tile_end.next = self.step.val() & self.last_row.val();
        self.last_n.next = self.tile_left.q.val() <= self.n16.val();
        self.last_tile.next = self.last_n.val() | (self.tiles.q.val() == 1);
        self.last_k.next = self.k_left.q.val() <= self.n16.val();
        self.last_m.next = self.m_left.q.val() <= self.block.q.val();
        self.a_step.next = self.a_row.q.val() + self.outer.q.val();
        self.a_hop.next = self.a_tile.q.val() + self.hop.q.val();
        self.a_down.next = self.a_k.q.val() + (self.outer.q.val() << self.shift.val());
        self.b_hop.next = self.b_tile.q.val() + self.n20.val();
        self.n_rest.next = self.tile_left.q.val() - self.n16.val();
        self.bias_on.next = (self.init.q.val() == 1) | (self.init.q.val() == 2);
        // Biases come with the first k tile.
        self.bias_next.next = self.bias_on.val()
            & ((!self.last_tile.val() & self.first.q.val()) | (self.last_tile.val() & self.last_k.val()));
        self.open_now.next = self.step.val() & !self.in_bias.q.val() & (self.row.q.val() == 0);
        self.opened.next = self.open_now.val();
        self.held.d.next = self.held.q.val();
        if self.step.val() & self.fresh.q.val() & !self.closed.val() {
            self.held.d.next = self.held.q.val() + 1;
        } else if self.closed.val() & !(self.step.val() & self.fresh.q.val()) {
            self.held.d.next = self.held.q.val() - 1;
        }
        self.row_then.next = self.row.q.val() + 1;
        if self.step.val() {
            self.fresh.d.next = false;
            if self.in_bias.q.val() {
                self.vec.d.next = self.vec.q.val() + 1;
                if self.bias_last.val() {
                    self.in_bias.d.next = false;
                    self.limit.d.next = self.limit_row0.val();
                }
            } else {
                self.row.d.next = self.row_then.val();
                // Rows beyond k are zero, and not read. Row 0 never is.
                self.padding.d.next = bit_cast::<16, 5>(self.row_then.val()) >= self.k_left.q.val();
                self.limit.d.next = self.limit.q.val() - self.latency.val();
                self.a_row.d.next = self.a_step.val();
            }
        }
        if self.tile_end.val() {
            self.slot.d.next = self.slot.q.val() + 1;
            self.fresh.d.next = true;
            self.row.d.next = bits::<5>(0);
            self.padding.d.next = false;
            self.vec.d.next = bits::<8>(0);
            self.limit.d.next = self.limit_row0.val();
            if self.first.q.val() & self.last_tile.val() {
                self.a_next.d.next = self.a_hop.val();
                self.b_next.d.next = self.b_hop.val();
            }
            if !self.last_tile.val() {
                self.tile_left.d.next = self.n_rest.val();
                self.tiles.d.next = self.tiles.q.val() - 1;
                self.a_tile.d.next = self.a_hop.val();
                self.a_row.d.next = self.a_hop.val();
                self.b_tile.d.next = self.b_hop.val();
            } else {
                self.tile_left.d.next = self.n_left.q.val();
                self.tiles.d.next = self.group.q.val();
                self.b_tile.d.next = self.b_group.q.val();
                if !self.last_k.val() {
                    self.k_left.d.next = self.k_left.q.val() - self.n16.val();
                    self.first.d.next = false;
                    self.a_k.d.next = self.a_down.val();
                    self.a_tile.d.next = self.a_down.val();
                    self.a_row.d.next = self.a_down.val();
                } else {
                    self.k_left.d.next = self.k.q.val();
                    self.first.d.next = true;
                    if !self.last_m.val() {
                        self.m_left.d.next = self.m_left.q.val() - self.block.q.val();
                        self.b_block.d.next = self.b_block.q.val() + bit_cast::<20, 16>(self.block.q.val());
                        self.a_k.d.next = self.a_group.q.val();
                        self.a_tile.d.next = self.a_group.q.val();
                        self.a_row.d.next = self.a_group.q.val();
                    } else {
                        self.m_left.d.next = self.m.q.val();
                        self.b_block.d.next = self.b_base.q.val();
                        self.n_left.d.next = self.n_rest.val();
                        self.tile_left.d.next = self.n_rest.val();
                        self.a_group.d.next = self.a_next.q.val();
                        self.a_k.d.next = self.a_next.q.val();
                        self.a_tile.d.next = self.a_next.q.val();
                        self.a_row.d.next = self.a_next.q.val();
                        self.b_group.d.next = self.b_next.q.val();
                        self.b_tile.d.next = self.b_next.q.val();
                        if self.first.q.val() {
                            self.a_group.d.next = self.a_hop.val();
                            self.a_k.d.next = self.a_hop.val();
                            self.a_tile.d.next = self.a_hop.val();
                            self.a_row.d.next = self.a_hop.val();
                            self.b_group.d.next = self.b_hop.val();
                            self.b_tile.d.next = self.b_hop.val();
                        }
                        if self.last_n.val() {
                            self.run.d.next = false;
                        }
                    }
                }
            }
            self.in_bias.d.next = self.bias_next.val();
            if self.bias_next.val() {
                self.limit.d.next = self.limit_bias.val();
            }
        }
        self.inner20.next = bit_cast::<20, 16>(self.word[6].val().get_bits::<16>(0));
        if self.word[6].val().get_bit(15) {
            self.inner20.next = bit_cast::<20, 16>(self.word[6].val().get_bits::<16>(0)) | 0xf0000;
        }
        self.outer20.next = bit_cast::<20, 16>(self.word[6].val().get_bits::<16>(16));
        if self.word[6].val().get_bit(31) {
            self.outer20.next = bit_cast::<20, 16>(self.word[6].val().get_bits::<16>(16)) | 0xf0000;
        }
        self.bias20.next = self.word[9].val().get_bits::<20>(0);
        if self.start.val() {
            self.run.d.next = true;
            self.m.d.next = self.word[1].val().get_bits::<16>(0);
            self.k.d.next = self.word[1].val().get_bits::<16>(16);
            self.block.d.next = self.m_block.val();
            self.group.d.next = self.n_group.val();
            self.outer.d.next = self.outer20.val();
            self.hop.d.next = self.inner20.val() << self.shift.val();
            self.stride.d.next = bit_cast::<16, 20>(self.inner20.val() >> self.shift.val());
            self.init.d.next = self.word[0].val().get_bits::<2>(19);
            self.n_left.d.next = self.word[2].val().get_bits::<16>(0);
            self.tile_left.d.next = self.word[2].val().get_bits::<16>(0);
            self.tiles.d.next = self.n_group.val();
            self.m_left.d.next = self.word[1].val().get_bits::<16>(0);
            self.k_left.d.next = self.word[1].val().get_bits::<16>(16);
            self.first.d.next = true;
            self.fresh.d.next = true;
            self.row.d.next = bits::<5>(0);
            self.padding.d.next = false;
            self.vec.d.next = bits::<8>(0);
            self.limit.d.next = self.limit_row0.val();
            self.in_bias.d.next = false;
            if (self.word[0].val().get_bits::<2>(19) == 1) | (self.word[0].val().get_bits::<2>(19) == 2) {
                self.in_bias.d.next = true;
                self.limit.d.next = self.limit_bias.val();
            }
            self.a_group.d.next = self.word[5].val().get_bits::<20>(0);
            self.a_k.d.next = self.word[5].val().get_bits::<20>(0);
            self.a_tile.d.next = self.word[5].val().get_bits::<20>(0);
            self.a_row.d.next = self.word[5].val().get_bits::<20>(0);
            self.b_group.d.next = self.bias20.val();
            self.b_tile.d.next = self.bias20.val();
            self.b_base.d.next = self.bias20.val();
            self.b_block.d.next = self.bias20.val();
        }
        if self.clear.val() {
            self.run.d.next = false;
            self.held.d.next = bits::<3>(0);
            self.slot.d.next = bits::<2>(0);
            self.old.d.next = bits::<2>(0);
        }
        // Token: 19 valid, 18 bias, 17 padding, 16:15 slot, 14:10 row, 7:0 bias vector.
        self.token.next = (bit_cast::<20, 2>(self.slot.q.val()) << 15)
            | (bit_cast::<20, 5>(self.row.q.val()) << 10)
            | bit_cast::<20, 8>(self.vec.q.val());
        self.sent.next = bits::<20>(0);
        if self.step.val() {
            self.sent.next = self.token.val() | 0x80000;
            if self.in_bias.q.val() {
                self.sent.next = self.token.val() | 0xc0000;
            } else if self.padding.q.val() {
                self.sent.next = self.token.val() | 0xa0000;
            }
        }
        self.way.x.next = self.sent.val();
        for k in self._m..(self._m + 1) {
            self.arrived.next = self.way.tap[k].val();
        }
        self.p3.d.next = self.arrived.val();
        self.bias_we.next = self.p3.q.val().get_bit(19) & self.p3.q.val().get_bit(18);
        self.bias_addr.next = (bit_cast::<20, 2>(self.p3.q.val().get_bits::<2>(15)) << self.bias_shift.val())
            | bit_cast::<20, 8>(self.p3.q.val().get_bits::<8>(0));
        self.w_slot.next = self.p3.q.val().get_bits::<2>(15);
        for i in 0..self._n {
            self.w_we[i].next = self.p3.q.val().get_bit(19)
                & !self.p3.q.val().get_bit(18)
                & (self.p3.q.val().get_bits::<5>(10) == self.lane[i].val());
            self.data[i].clock.next = self.clock.val();
            self.data[i].d.next = self.data[i].q.val();
            if self.arrived.val().get_bit(19) {
                self.data[i].d.next = self.rdata[i].val().get_bits::<16>(0);
                if self.arrived.val().get_bit(17) {
                    self.data[i].d.next = bits::<16>(0x8000);
                }
            }
            self.w_data[i].next = self.data[i].q.val();
        }
    }
}
