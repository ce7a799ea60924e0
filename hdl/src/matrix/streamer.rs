//! Walks the same tiles as the loader, one row of X per cycle, and sends each row's particulars along.
//!
//! ```text
//!  n-group ─> m-block ─> k tile ─> n tile ─> row ── request ── grant ─[1]─ … ─[M]─ data, masked to k ─> skew
//!                                   │                                  │   └─ token: start value, accumulator row
//!       tile loaded far enough? ────┤                                  └─ info: where the result goes
//!       previous k tile's sums back? (rows in flight < rows of a k step)
//! ```

use crate::array::{P_IN, p_out};
use crate::delay::DelayLine;
use crate::memory::many;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Cycles after which a row of the same accumulators may follow: its sum has been written and can be read.
pub const fn period(n: usize, l: usize) -> usize {
    p_out(n, l) - P_IN + 2
}

/// The streamer.
#[derive(LogicBlock)]
pub struct Streamer {
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
    /// Its address.
    pub pc: Signal<In, Bits<16>>,
    /// An instruction is in hand.
    pub active: Signal<Out, Bit>,
    /// The loader asked for row 0 of one more tile.
    pub opened: Signal<In, Bit>,
    /// The last row of the oldest tile is granted.
    pub closed: Signal<Out, Bit>,
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
    /// M cycles after the grant: activations, tag and validity, per row of the array: `valid:1 tag:2 act:16`.
    pub act: Vec<Signal<Out, Bits<19>>>,
    /// With `act`: 7:0 accumulator row, 9:8 start (0 zero, 1 bias, 2 accumulator), 10 valid, 12:11 slot, 25:18 row in the
    /// block, 26 bias per row.
    pub token: Signal<Out, Bits<32>>,
    /// One cycle after the grant: 19:0 address, 24:20 lanes, 27:25 flag, 28 write, 29 FP32, 30 last of the instruction,
    /// 31 valid.
    pub info_a: Signal<Out, Bits<32>>,
    /// With `info_a`: 19:0 mask address, 20 ReLU, 21 mask write, 22 mask apply.
    pub info_b: Signal<Out, Bits<32>>,
    /// With `info_a`: 15:0 stride, 31:16 address of the instruction.
    pub info_c: Signal<Out, Bits<32>>,
    run: DFF<Bit>,
    m: DFF<Bits<16>>,
    k: DFF<Bits<16>>,
    block: DFF<Bits<16>>,
    group: DFF<Bits<16>>,
    outer: DFF<Bits<20>>,
    hop: DFF<Bits<20>>,
    stride: DFF<Bits<16>>,
    head: DFF<Bits<32>>,
    acc_base: DFF<Bits<8>>,
    n_left: DFF<Bits<16>>,
    tile_left: DFF<Bits<16>>,
    tiles: DFF<Bits<16>>,
    m_left: DFF<Bits<16>>,
    k_left: DFF<Bits<16>>,
    row_left: DFF<Bits<16>>,
    row: DFF<Bits<8>>,
    first: DFF<Bit>,
    tile0: DFF<Bit>,
    block0: DFF<Bit>,
    open: DFF<Bit>,
    slot: DFF<Bits<2>>,
    a_base: DFF<Bits<20>>,
    a_next: DFF<Bits<20>>,
    a_k: DFF<Bits<20>>,
    a_row: DFF<Bits<20>>,
    o_outer: DFF<Bits<20>>,
    o_hop: DFF<Bits<20>>,
    o_stride: DFF<Bits<16>>,
    o_next_group: DFF<Bits<20>>,
    o_next_block: DFF<Bits<20>>,
    o_block: DFF<Bits<20>>,
    o_tile: DFF<Bits<20>>,
    o_row: DFF<Bits<20>>,
    mask_shift: DFF<Bits<20>>,
    acc_tile: DFF<Bits<8>>,
    acc_row: DFF<Bits<8>>,
    pc_reg: DFF<Bits<16>>,
    loaded: DFF<Bits<3>>,
    flying: DFF<Bits<10>>,
    step_rows: DFF<Bits<10>>,
    sent: Signal<Local, Bits<32>>,
    /// Tokens, while what they ask for is read.
    way: DelayLine<32>,
    arrived: Signal<Local, Bits<32>>,
    a1: DFF<Bits<32>>,
    b1: DFF<Bits<32>>,
    c1: DFF<Bits<32>>,
    landing: DelayLine<1>,
    may: Signal<Local, Bit>,
    go: Signal<Local, Bit>,
    ready: Signal<Local, Bit>,
    landed: Signal<Local, Bit>,
    tile_end: Signal<Local, Bit>,
    last_row: Signal<Local, Bit>,
    last_n: Signal<Local, Bit>,
    last_tile: Signal<Local, Bit>,
    last_k: Signal<Local, Bit>,
    last_m: Signal<Local, Bit>,
    finish: Signal<Local, Bit>,
    m_then: Signal<Local, Bits<16>>,
    block_then: Signal<Local, Bits<16>>,
    rows_then: Signal<Local, Bits<16>>,
    n_rest: Signal<Local, Bits<16>>,
    a_step: Signal<Local, Bits<20>>,
    a_hop: Signal<Local, Bits<20>>,
    a_then: Signal<Local, Bits<20>>,
    o_step: Signal<Local, Bits<20>>,
    o_side: Signal<Local, Bits<20>>,
    o_down: Signal<Local, Bits<20>>,
    o_group: Signal<Local, Bits<20>>,
    acc_side: Signal<Local, Bits<8>>,
    kcount: Signal<Local, Bits<5>>,
    ncount: Signal<Local, Bits<5>>,
    kind: Signal<Local, Bits<2>>,
    mask_addr: Signal<Local, Bits<20>>,
    x_inner: Signal<Local, Bits<20>>,
    x_outer: Signal<Local, Bits<20>>,
    y_inner: Signal<Local, Bits<20>>,
    y_outer: Signal<Local, Bits<20>>,
    word_p: Signal<Local, Bits<32>>,
    word_a: Signal<Local, Bits<32>>,
    word_b: Signal<Local, Bits<32>>,
    padded: Vec<Signal<Local, Bits<16>>>,
    act_bits: Vec<Pack>,
    n16: Constant<Bits<16>>,
    shift: Constant<Bits<5>>,
    lane: Vec<Constant<Bits<5>>>,
    _n: usize,
    _land: usize,
    _m: usize,
}

impl Streamer {
    /// For an array of `n` rows and columns.
    pub fn new(n: usize, l: usize, m: usize) -> Streamer {
        Streamer {
            clock: Default::default(),
            clear: Default::default(),
            start: Default::default(),
            word: many(12),
            m_block: Default::default(),
            n_group: Default::default(),
            pc: Default::default(),
            active: Default::default(),
            opened: Default::default(),
            closed: Default::default(),
            req: Default::default(),
            addr: Default::default(),
            q: Default::default(),
            count: Default::default(),
            gnt: Default::default(),
            rdata: many(n),
            act: many(n),
            token: Default::default(),
            info_a: Default::default(),
            info_b: Default::default(),
            info_c: Default::default(),
            run: Default::default(),
            m: Default::default(),
            k: Default::default(),
            block: Default::default(),
            group: Default::default(),
            outer: Default::default(),
            hop: Default::default(),
            stride: Default::default(),
            head: Default::default(),
            acc_base: Default::default(),
            n_left: Default::default(),
            tile_left: Default::default(),
            tiles: Default::default(),
            m_left: Default::default(),
            k_left: Default::default(),
            row_left: Default::default(),
            row: Default::default(),
            first: Default::default(),
            tile0: Default::default(),
            block0: Default::default(),
            open: Default::default(),
            slot: Default::default(),
            a_base: Default::default(),
            a_next: Default::default(),
            a_k: Default::default(),
            a_row: Default::default(),
            o_outer: Default::default(),
            o_hop: Default::default(),
            o_stride: Default::default(),
            o_next_group: Default::default(),
            o_next_block: Default::default(),
            o_block: Default::default(),
            o_tile: Default::default(),
            o_row: Default::default(),
            mask_shift: Default::default(),
            acc_tile: Default::default(),
            acc_row: Default::default(),
            pc_reg: Default::default(),
            loaded: Default::default(),
            flying: Default::default(),
            step_rows: Default::default(),
            sent: Default::default(),
            way: DelayLine::new(m),
            arrived: Default::default(),
            a1: Default::default(),
            b1: Default::default(),
            c1: Default::default(),
            landing: DelayLine::new(period(n, l) - 1),
            may: Default::default(),
            go: Default::default(),
            ready: Default::default(),
            landed: Default::default(),
            tile_end: Default::default(),
            last_row: Default::default(),
            last_n: Default::default(),
            last_tile: Default::default(),
            last_k: Default::default(),
            last_m: Default::default(),
            finish: Default::default(),
            m_then: Default::default(),
            block_then: Default::default(),
            rows_then: Default::default(),
            n_rest: Default::default(),
            a_step: Default::default(),
            a_hop: Default::default(),
            a_then: Default::default(),
            o_step: Default::default(),
            o_side: Default::default(),
            o_down: Default::default(),
            o_group: Default::default(),
            acc_side: Default::default(),
            kcount: Default::default(),
            ncount: Default::default(),
            kind: Default::default(),
            mask_addr: Default::default(),
            x_inner: Default::default(),
            x_outer: Default::default(),
            y_inner: Default::default(),
            y_outer: Default::default(),
            word_p: Default::default(),
            word_a: Default::default(),
            word_b: Default::default(),
            padded: many(n),
            act_bits: many(n),
            n16: Constant::new(bits(n as u64)),
            shift: Constant::new(bits(n.ilog2() as u64)),
            lane: (0..n).map(|i| Constant::new(bits(i as u64))).collect(),
            _n: n,
            _land: period(n, l) - 1,
            _m: m,
        }
    }
}

impl Logic for Streamer {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self, clock, run, m, k, block, group, outer, hop, stride, head, acc_base, n_left, tile_left, tiles, m_left
        );
        dff_setup!(self, clock, k_left, row_left, row, first, tile0, block0, open, slot, a_base, a_next, a_k, a_row);
        dff_setup!(
            self,
            clock,
            o_outer,
            o_hop,
            o_stride,
            o_next_group,
            o_next_block,
            o_block,
            o_tile,
            o_row,
            mask_shift
        );
        dff_setup!(self, clock, acc_tile, acc_row, pc_reg, loaded, flying, step_rows, a1, b1, c1);
        clock!(self, clock, landing, way);
        self.active.next = self.run.q.val();
        // May a row go?
        self.landing.x.next = self.go.val().into();
        // Weights and activations are both presented M + 1 cycles after their request: a wave may follow row 0 of its tile by
        // one cycle (`W_LAT`).
        self.ready.next = self.opened.val();
        self.landed.next = false;
        for d in self._land..(self._land + 1) {
            self.landed.next = self.landing.tap[d].val().get_bit(0);
        }
        self.may.next = self.run.q.val()
            & (self.open.q.val() | (self.loaded.q.val() != 0))
            & (self.first.q.val() | (self.flying.q.val() < self.step_rows.q.val()));
        self.req.next = self.may.val();
        self.addr.next = self.a_row.q.val();
        self.q.next = self.stride.q.val();
        self.kcount.next = bit_cast::<5, 16>(self.k_left.q.val());
        if self.k_left.q.val() > self.n16.val() {
            self.kcount.next = bit_cast::<5, 16>(self.n16.val());
        }
        self.ncount.next = bit_cast::<5, 16>(self.tile_left.q.val());
        if self.tile_left.q.val() > self.n16.val() {
            self.ncount.next = bit_cast::<5, 16>(self.n16.val());
        }
        self.count.next = self.kcount.val();
        self.go.next = self.may.val() & self.gnt.val();
        if self.go.val() & !self.landed.val() {
            self.flying.d.next = self.flying.q.val() + 1;
        } else if self.landed.val() & !self.go.val() {
            self.flying.d.next = self.flying.q.val() - 1;
        }
        if self.ready.val() & !(self.go.val() & !self.open.q.val()) {
            self.loaded.d.next = self.loaded.q.val() + 1;
        } else if !self.ready.val() & self.go.val() & !self.open.q.val() {
            self.loaded.d.next = self.loaded.q.val() - 1;
        }
        // Loops, innermost first.
        self.last_row.next = self.row_left.q.val() == 1;
        self.tile_end.next = self.go.val() & self.last_row.val();
        self.closed.next = self.tile_end.val();
        self.last_n.next = self.tile_left.q.val() <= self.n16.val();
        self.last_tile.next = self.last_n.val() | (self.tiles.q.val() == 1);
        self.last_k.next = self.k_left.q.val() <= self.n16.val();
        self.last_m.next = self.m_left.q.val() <= self.block.q.val();
        self.finish.next = self.last_row.val() & self.last_n.val() & self.last_k.val() & self.last_m.val();
        self.n_rest.next = self.tile_left.q.val() - self.n16.val();
        self.a_step.next = self.a_row.q.val() + self.outer.q.val();
        self.a_hop.next = self.a_k.q.val() + self.hop.q.val();
        self.a_then.next = self.a_next.q.val();
        if self.first.q.val() {
            self.a_then.next = self.a_step.val();
        }
        self.o_step.next = self.o_row.q.val() + self.o_outer.q.val();
        self.o_side.next = self.o_tile.q.val() + self.o_hop.q.val();
        self.o_down.next = self.o_next_block.q.val();
        if self.tile0.q.val() {
            self.o_down.next = self.o_step.val();
        }
        self.o_group.next = self.o_next_group.q.val();
        if self.block0.q.val() {
            self.o_group.next = self.o_side.val();
        }
        self.acc_side.next = self.acc_tile.q.val() + bit_cast::<8, 16>(self.block.q.val());
        self.m_then.next = self.m_left.q.val();
        if self.last_tile.val() & self.last_k.val() {
            self.m_then.next = self.m_left.q.val() - self.block.q.val();
            if self.last_m.val() {
                self.m_then.next = self.m.q.val();
            }
        }
        self.block_then.next = self.block.q.val();
        if self.start.val() {
            self.m_then.next = self.word[1].val().get_bits::<16>(0);
            self.block_then.next = self.m_block.val();
        }
        self.rows_then.next = self.block_then.val();
        if self.m_then.val() < self.block_then.val() {
            self.rows_then.next = self.m_then.val();
        }
        if self.go.val() {
            self.open.d.next = true;
            self.a_row.d.next = self.a_step.val();
            self.o_row.d.next = self.o_step.val();
            self.row_left.d.next = self.row_left.q.val() - 1;
            self.row.d.next = self.row.q.val() + 1;
            self.acc_row.d.next = self.acc_row.q.val() + 1;
            if self.first.q.val() {
                self.step_rows.d.next = self.step_rows.q.val() + 1;
            }
        }
        if self.tile_end.val() {
            self.open.d.next = false;
            self.slot.d.next = self.slot.q.val() + 1;
            self.row.d.next = bits::<8>(0);
            self.row_left.d.next = self.rows_then.val();
            self.tile0.d.next = false;
            if self.first.q.val() {
                self.a_next.d.next = self.a_step.val();
            }
            if self.tile0.q.val() {
                self.o_next_block.d.next = self.o_step.val();
            }
            if !self.last_tile.val() {
                self.tile_left.d.next = self.n_rest.val();
                self.tiles.d.next = self.tiles.q.val() - 1;
                self.a_row.d.next = self.a_k.q.val();
                self.o_tile.d.next = self.o_side.val();
                self.o_row.d.next = self.o_side.val();
                self.acc_tile.d.next = self.acc_side.val();
                self.acc_row.d.next = self.acc_side.val();
            } else {
                self.tile0.d.next = true;
                self.tile_left.d.next = self.n_left.q.val();
                self.tiles.d.next = self.group.q.val();
                self.acc_tile.d.next = self.acc_base.q.val();
                self.acc_row.d.next = self.acc_base.q.val();
                if self.block0.q.val() {
                    self.o_next_group.d.next = self.o_side.val();
                }
                if !self.last_k.val() {
                    self.k_left.d.next = self.k_left.q.val() - self.n16.val();
                    self.first.d.next = false;
                    self.a_k.d.next = self.a_hop.val();
                    self.a_row.d.next = self.a_hop.val();
                    self.o_tile.d.next = self.o_block.q.val();
                    self.o_row.d.next = self.o_block.q.val();
                } else {
                    self.k_left.d.next = self.k.q.val();
                    self.first.d.next = true;
                    self.step_rows.d.next = bits::<10>(0);
                    self.m_left.d.next = self.m_then.val();
                    if !self.last_m.val() {
                        self.block0.d.next = false;
                        self.a_k.d.next = self.a_then.val();
                        self.a_row.d.next = self.a_then.val();
                        self.o_block.d.next = self.o_down.val();
                        self.o_tile.d.next = self.o_down.val();
                        self.o_row.d.next = self.o_down.val();
                    } else {
                        self.block0.d.next = true;
                        self.n_left.d.next = self.n_rest.val();
                        self.tile_left.d.next = self.n_rest.val();
                        self.a_k.d.next = self.a_base.q.val();
                        self.a_row.d.next = self.a_base.q.val();
                        self.o_block.d.next = self.o_group.val();
                        self.o_tile.d.next = self.o_group.val();
                        self.o_row.d.next = self.o_group.val();
                        if self.last_n.val() {
                            self.run.d.next = false;
                        }
                    }
                }
            }
        }
        self.x_inner.next = bit_cast::<20, 16>(self.word[4].val().get_bits::<16>(0));
        if self.word[4].val().get_bit(15) {
            self.x_inner.next = bit_cast::<20, 16>(self.word[4].val().get_bits::<16>(0)) | 0xf0000;
        }
        self.x_outer.next = bit_cast::<20, 16>(self.word[4].val().get_bits::<16>(16));
        if self.word[4].val().get_bit(31) {
            self.x_outer.next = bit_cast::<20, 16>(self.word[4].val().get_bits::<16>(16)) | 0xf0000;
        }
        self.y_inner.next = bit_cast::<20, 16>(self.word[8].val().get_bits::<16>(0));
        if self.word[8].val().get_bit(15) {
            self.y_inner.next = bit_cast::<20, 16>(self.word[8].val().get_bits::<16>(0)) | 0xf0000;
        }
        self.y_outer.next = bit_cast::<20, 16>(self.word[8].val().get_bits::<16>(16));
        if self.word[8].val().get_bit(31) {
            self.y_outer.next = bit_cast::<20, 16>(self.word[8].val().get_bits::<16>(16)) | 0xf0000;
        }
        if self.start.val() {
            self.run.d.next = true;
            self.m.d.next = self.word[1].val().get_bits::<16>(0);
            self.k.d.next = self.word[1].val().get_bits::<16>(16);
            self.block.d.next = self.m_block.val();
            self.group.d.next = self.n_group.val();
            self.outer.d.next = self.x_outer.val();
            self.hop.d.next = self.x_inner.val() << self.shift.val();
            self.stride.d.next = bit_cast::<16, 20>(self.x_inner.val() >> self.shift.val());
            self.head.d.next = self.word[0].val();
            self.acc_base.d.next = self.word[11].val().get_bits::<8>(0);
            self.acc_tile.d.next = self.word[11].val().get_bits::<8>(0);
            self.acc_row.d.next = self.word[11].val().get_bits::<8>(0);
            self.n_left.d.next = self.word[2].val().get_bits::<16>(0);
            self.tile_left.d.next = self.word[2].val().get_bits::<16>(0);
            self.tiles.d.next = self.n_group.val();
            self.m_left.d.next = self.word[1].val().get_bits::<16>(0);
            self.k_left.d.next = self.word[1].val().get_bits::<16>(16);
            self.row_left.d.next = self.rows_then.val();
            self.row.d.next = bits::<8>(0);
            self.first.d.next = true;
            self.tile0.d.next = true;
            self.block0.d.next = true;
            self.open.d.next = false;
            self.step_rows.d.next = bits::<10>(0);
            self.a_base.d.next = self.word[3].val().get_bits::<20>(0);
            self.a_k.d.next = self.word[3].val().get_bits::<20>(0);
            self.a_row.d.next = self.word[3].val().get_bits::<20>(0);
            self.o_outer.d.next = self.y_outer.val();
            self.o_hop.d.next = self.y_inner.val() << self.shift.val();
            self.o_stride.d.next = bit_cast::<16, 20>(self.y_inner.val() >> self.shift.val());
            self.o_block.d.next = self.word[7].val().get_bits::<20>(0);
            self.o_tile.d.next = self.word[7].val().get_bits::<20>(0);
            self.o_row.d.next = self.word[7].val().get_bits::<20>(0);
            self.mask_shift.d.next = self.word[10].val().get_bits::<20>(0) - self.word[7].val().get_bits::<20>(0);
            self.pc_reg.d.next = self.pc.val();
        }
        if self.clear.val() {
            self.run.d.next = false;
            self.open.d.next = false;
            self.loaded.d.next = bits::<3>(0);
            self.slot.d.next = bits::<2>(0);
        }
        // What goes with the row.
        self.kind.next = bits::<2>(2);
        if self.first.q.val() {
            self.kind.next = bits::<2>(1);
            if self.head.q.val().get_bits::<2>(19) == 0 {
                self.kind.next = bits::<2>(0);
            }
            if self.head.q.val().get_bits::<2>(19) == 3 {
                self.kind.next = bits::<2>(2);
            }
        }
        self.word_p.next = bit_cast::<32, 8>(self.acc_row.q.val())
            | (bit_cast::<32, 2>(self.kind.val()) << 8)
            | (bit_cast::<32, 2>(self.slot.q.val()) << 11)
            | (bit_cast::<32, 5>(self.kcount.val()) << 13)
            | (bit_cast::<32, 8>(self.row.q.val()) << 18)
            | (bit_cast::<32, 1>(self.head.q.val().get_bits::<1>(20)) << 26);
        self.mask_addr.next = self.o_row.q.val() + self.mask_shift.q.val();
        self.word_a.next = bit_cast::<32, 20>(self.o_row.q.val())
            | (bit_cast::<32, 5>(self.ncount.val()) << 20)
            | (bit_cast::<32, 3>(self.head.q.val().get_bits::<3>(16)) << 25)
            | (bit_cast::<32, 2>(self.head.q.val().get_bits::<2>(21)) << 28);
        self.word_b.next =
            bit_cast::<32, 20>(self.mask_addr.val()) | (bit_cast::<32, 3>(self.head.q.val().get_bits::<3>(23)) << 20);
        self.sent.next = self.word_p.val();
        self.a1.d.next = self.word_a.val();
        if self.go.val() {
            self.sent.next = self.word_p.val() | 0x400;
            if self.last_k.val() {
                self.a1.d.next = self.word_a.val() | 0x80000000u64;
                if self.finish.val() {
                    self.a1.d.next = self.word_a.val() | 0xc0000000u64;
                }
            }
        }
        self.b1.d.next = self.word_b.val();
        self.c1.d.next = bit_cast::<32, 16>(self.o_stride.q.val()) | (bit_cast::<32, 16>(self.pc_reg.q.val()) << 16);
        self.info_a.next = self.a1.q.val();
        self.info_b.next = self.b1.q.val();
        self.info_c.next = self.c1.q.val();
        self.way.x.next = self.sent.val();
        for k in self._m..(self._m + 1) {
            self.arrived.next = self.way.tap[k].val();
        }
        self.token.next = self.arrived.val();
        for i in 0..self._n {
            // Lanes beyond k stream +0.
            self.padded[i].next = bits::<16>(0);
            if self.lane[i].val() < self.arrived.val().get_bits::<5>(13) {
                self.padded[i].next = self.rdata[i].val().get_bits::<16>(0);
            }
            self.act_bits[i].half.next = self.padded[i].val();
            self.act_bits[i].tag.next = self.arrived.val().get_bits::<2>(11);
            self.act_bits[i].valid.next = self.arrived.val().get_bit(10);
            self.act[i].next = self.act_bits[i].word.val();
        }
    }
}

/// `valid:1 tag:2 act:16`.
#[derive(LogicBlock, Default)]
pub struct Pack {
    /// Activation.
    pub half: Signal<In, Bits<16>>,
    /// Slot.
    pub tag: Signal<In, Bits<2>>,
    /// There is one.
    pub valid: Signal<In, Bit>,
    /// Together.
    pub word: Signal<Out, Bits<19>>,
}

impl Logic for Pack {
    #[hdl_gen]
    fn update(&mut self) {
        self.word.next = bit_cast::<19, 16>(self.half.val())
            | (bit_cast::<19, 2>(self.tag.val()) << 16)
            | (bit_cast::<19, 1>(self.valid.val().into()) << 18);
    }
}
