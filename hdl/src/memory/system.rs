//! Four planes, six read clients, four write clients.

use super::{Plane, RangeSearch, many};
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use systole_isa::machine::Machine;

/// Indices of the read clients, in falling priority.
pub mod read {
    /// Matrix engine: stationary operand and bias.
    pub const M_W: usize = 0;
    /// Matrix engine: streamed operand.
    pub const M_X: usize = 1;
    /// Vector engine: first source.
    pub const V_X: usize = 2;
    /// Vector engine: second source.
    pub const V_Y: usize = 3;
    /// Vector engine: third source.
    pub const V_Z: usize = 4;
    /// Mover.
    pub const MV_R: usize = 5;
    /// How many there are.
    pub const CLIENTS: usize = 6;
}

/// Indices of the write clients, in falling priority.
pub mod write {
    /// Matrix engine's results; always granted.
    pub const M_OUT: usize = 0;
    /// Vector engine's results.
    pub const V_D: usize = 1;
    /// Vector engine's FP16 copies.
    pub const V_C: usize = 2;
    /// Mover.
    pub const MV_W: usize = 3;
    /// How many there are.
    pub const CLIENTS: usize = 4;
}

/// The memory system. Client c's lane i is at index `c·N + i` of the data vectors; clients with fewer lanes use the first
/// ones. See the module's text for latencies and order.
#[derive(LogicBlock)]
pub struct MemorySystem {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Read requests, held until granted; see [`read`].
    pub r_req: Vec<Signal<In, Bit>>,
    /// `smem`, not `hmem`.
    pub r_smem: Vec<Signal<In, Bit>>,
    /// Address of lane 0.
    pub r_addr: Vec<Signal<In, Bits<20>>>,
    /// `(inner stride − 1)/N`, signed.
    pub r_q: Vec<Signal<In, Bits<16>>>,
    /// The first V lanes read lane 0's element.
    pub r_bcast: Vec<Signal<In, Bit>>,
    /// Enabled lanes.
    pub r_count: Vec<Signal<In, Bits<5>>>,
    /// Granted in this cycle.
    pub r_gnt: Vec<Signal<Out, Bit>>,
    /// Data, [`Machine::memory_latency`] cycles after the grant.
    pub rdata: Vec<Signal<Out, Bits<32>>>,
    /// The read granted two cycles ago is out of range.
    pub r_trap: Vec<Signal<Out, Bit>>,
    /// Write requests, held until granted; see [`write`].
    pub w_req: Vec<Signal<In, Bit>>,
    /// There will be a request for this element, or is: never low with `w_req`. Grants of all but the last client go by it, since
    /// whether the data are there is known late.
    pub w_want: Vec<Signal<In, Bit>>,
    /// `smem`, not `hmem`.
    pub w_smem: Vec<Signal<In, Bit>>,
    /// Address of lane 0.
    pub w_addr: Vec<Signal<In, Bits<20>>>,
    /// `(inner stride − 1)/N`, signed.
    pub w_q: Vec<Signal<In, Bits<16>>>,
    /// Enabled lanes.
    pub w_count: Vec<Signal<In, Bits<5>>>,
    /// Data, taken with the grant.
    pub wdata: Vec<Signal<In, Bits<32>>>,
    /// Granted in this cycle, if requested.
    pub w_gnt: Vec<Signal<Out, Bit>>,
    /// The write granted two cycles ago is out of range; nothing was written.
    pub w_trap: Vec<Signal<Out, Bit>>,
    /// An access to the matrix engine's mask memory is out of range.
    pub mask_trap: Signal<In, Bit>,
    /// Offset of its lane 0.
    pub mask_off: Signal<In, Bits<19>>,
    /// `(inner stride − 1)/N`, signed.
    pub mask_q: Signal<In, Bits<16>>,
    /// Level: forget which access was out of range.
    pub abort: Signal<In, Bit>,
    /// The element of the first access out of range, as `TRAP_INFO` says it. The matrix engine's comes before the vector
    /// engine's of the same cycle.
    pub range_info: Signal<Out, Bits<32>>,
    /// `range_info` is being found.
    pub range_busy: Signal<Out, Bit>,
    r_target: Vec<Signal<Local, Bits<2>>>,
    w_target: Vec<Signal<Local, Bits<2>>>,
    r_hit: Vec<Signal<Local, Bit>>,
    w_hit: Vec<Signal<Local, Bit>>,
    w_aim: Vec<Signal<Local, Bit>>,
    w_open: Vec<Signal<Local, Bit>>,
    r_win: Vec<Signal<Local, Bit>>,
    w_pick: Vec<Signal<Local, Bit>>,
    r_free: Vec<Signal<Local, Bit>>,
    w_free: Vec<Signal<Local, Bit>>,
    clash: Signal<Local, Bit>,
    turn: DFF<Bit>,
    gnt1: Vec<DFF<Bit>>,
    from1: Vec<DFF<Bits<2>>>,
    from2: Vec<DFF<Bits<2>>>,
    older: Vec<DFF<Bits<2>>>,
    source: Vec<Signal<Local, Bits<2>>>,
    w_gnt1: Vec<DFF<Bit>>,
    w_from1: Vec<DFF<Bits<2>>>,
    w_from2: Vec<DFF<Bits<2>>>,
    gnt2: Vec<DFF<Bit>>,
    w_gnt2: Vec<DFF<Bit>>,
    pick: Signal<Local, Bits<4>>,
    plane: Vec<Plane>,
    id: Vec<Constant<Bits<2>>>,
    search: RangeSearch,
    room: Vec<Constant<Bits<3>>>,
    port: Vec<Constant<Bits<4>>>,
    _n: usize,
    _r: usize,
    _w: usize,
    _more: usize,
    _more_one: usize,
}

impl MemorySystem {
    /// The memories of `machine`.
    pub fn new(machine: &Machine) -> MemorySystem {
        let n = machine.lanes as usize;
        let (r, w) = (read::CLIENTS, write::CLIENTS);
        // only the vector engine broadcasts
        let v = machine.vector_lanes as usize;
        let latency = machine.memory_latency as usize;
        let more = latency - 2;
        let half = || Plane::new(n, v, machine.hmem_plane() as usize, 16, latency);
        let single = || Plane::new(n, v, machine.smem_plane() as usize, 32, latency);
        MemorySystem {
            clock: Default::default(),
            r_req: many(r),
            r_smem: many(r),
            r_addr: many(r),
            r_q: many(r),
            r_bcast: many(r),
            r_count: many(r),
            r_gnt: many(r),
            rdata: many(r * n),
            r_trap: many(r),
            w_req: many(w),
            w_want: many(w),
            w_smem: many(w),
            w_addr: many(w),
            w_q: many(w),
            w_count: many(w),
            wdata: many(w * n),
            w_gnt: many(w),
            w_trap: many(w),
            mask_trap: Default::default(),
            mask_off: Default::default(),
            mask_q: Default::default(),
            abort: Default::default(),
            range_info: Default::default(),
            range_busy: Default::default(),
            r_target: many(r),
            w_target: many(w),
            r_hit: many(4 * r),
            w_hit: many(4 * w),
            w_aim: many(4 * w),
            w_open: many(4 * w),
            r_win: many(4 * r),
            w_pick: many(4 * w),
            r_free: many(4 * r),
            w_free: many(4 * w),
            clash: Default::default(),
            turn: Default::default(),
            gnt1: many(r),
            from1: many(r),
            from2: many(r),
            older: many(more * r),
            source: many(r),
            w_gnt1: many(w),
            w_from1: many(w),
            w_from2: many(w),
            gnt2: many(r),
            w_gnt2: many(w),
            pick: Default::default(),
            plane: vec![half(), half(), single(), single()],
            id: (0..4).map(|p| Constant::new(bits(p))).collect(),
            search: RangeSearch::new(machine),
            room: (0..4).map(|p| Constant::new(bits(p))).collect(),
            port: (0..8).map(|p| Constant::new(bits(p))).collect(),
            _n: n,
            _r: r,
            _w: w,
            _more: more,
            _more_one: more.min(1),
        }
    }
}

impl Logic for MemorySystem {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, turn);
        clock!(self, clock, search);
        for r in self._r..(self._r + 1) {
            for w in self._w..(self._w + 1) {
                for n in self._n..(self._n + 1) {
                    for c in 0..self._r {
                        self.r_target[c].next = bits::<2>(0);
                        if self.r_addr[c].val().get_bit(19) {
                            self.r_target[c].next = bits::<2>(1);
                        }
                        if self.r_smem[c].val() {
                            self.r_target[c].next = bits::<2>(2);
                            if self.r_addr[c].val().get_bit(19) {
                                self.r_target[c].next = bits::<2>(3);
                            }
                        }
                        for p in 0..4 {
                            self.r_hit[p * r + c].next =
                                self.r_req[c].val() & (self.r_target[c].val() == self.id[p].val());
                        }
                        self.r_gnt[c].next = self.r_win[c].val()
                            | self.r_win[r + c].val()
                            | self.r_win[2 * r + c].val()
                            | self.r_win[3 * r + c].val();
                        self.gnt1[c].clock.next = self.clock.val();
                        self.from1[c].clock.next = self.clock.val();
                        self.from2[c].clock.next = self.clock.val();
                        self.gnt1[c].d.next = self.r_gnt[c].val();
                        self.from1[c].d.next = self.r_target[c].val();
                        self.from2[c].d.next = self.from1[c].q.val();
                        self.r_trap[c].next = false;
                        for p in 0..4 {
                            if self.from2[c].q.val() == self.id[p].val() {
                                self.r_trap[c].next = self.gnt2[c].q.val() & self.plane[p].read_trap.val();
                            }
                        }
                        self.gnt2[c].clock.next = self.clock.val();
                        self.gnt2[c].d.next = self.gnt1[c].q.val();
                        // the plane whose data come now
                        self.source[c].next = self.from2[c].q.val();
                        for k in 0..self._more_one {
                            self.older[k * r + c].d.next = self.from2[c].q.val();
                        }
                        for k in 1..self._more {
                            self.older[k * r + c].d.next = self.older[(k - 1) * r + c].q.val();
                        }
                        for k in 0..self._more {
                            self.older[k * r + c].clock.next = self.clock.val();
                            self.source[c].next = self.older[k * r + c].q.val();
                        }
                        for i in 0..self._n {
                            self.rdata[c * n + i].next = self.plane[0].rdata[i].val();
                            if self.source[c].val() == 1 {
                                self.rdata[c * n + i].next = self.plane[1].rdata[i].val();
                            }
                            if self.source[c].val() == 2 {
                                self.rdata[c * n + i].next = self.plane[2].rdata[i].val();
                            }
                            if self.source[c].val() == 3 {
                                self.rdata[c * n + i].next = self.plane[3].rdata[i].val();
                            }
                        }
                    }
                    // The matrix engine's two readers take turns where they want one plane.
                    self.clash.next =
                        self.r_req[0].val() & self.r_req[1].val() & (self.r_target[0].val() == self.r_target[1].val());
                    self.turn.d.next = self.clash.val() & !self.turn.q.val();
                    for p in 0..4 {
                        self.r_win[p * r].next = self.r_hit[p * r].val() & !(self.clash.val() & self.turn.q.val());
                        self.r_win[p * r + 1].next =
                            self.r_hit[p * r + 1].val() & !(self.clash.val() & !self.turn.q.val());
                        self.r_free[p * r + 1].next = !(self.r_hit[p * r].val() | self.r_hit[p * r + 1].val());
                        self.r_free[p * r].next = self.r_free[p * r + 1].val();
                        for c in 2..self._r {
                            self.r_win[p * r + c].next = self.r_hit[p * r + c].val() & self.r_free[p * r + c - 1].val();
                            self.r_free[p * r + c].next =
                                self.r_free[p * r + c - 1].val() & !self.r_hit[p * r + c].val();
                        }
                        self.w_pick[p * w].next = self.w_aim[p * w].val();
                        self.w_open[p * w].next = !self.w_aim[p * w].val();
                        self.w_free[p * w].next = !self.w_hit[p * w].val();
                        for c in 1..self._w {
                            self.w_pick[p * w + c].next =
                                self.w_aim[p * w + c].val() & self.w_open[p * w + c - 1].val();
                            self.w_open[p * w + c].next =
                                self.w_open[p * w + c - 1].val() & !self.w_aim[p * w + c].val();
                            self.w_free[p * w + c].next =
                                self.w_free[p * w + c - 1].val() & !self.w_hit[p * w + c].val();
                        }
                        // The last client waits for requests only.
                        self.w_pick[p * w + w - 1].next =
                            self.w_hit[p * w + w - 1].val() & self.w_free[p * w + w - 2].val();
                        self.plane[p].clock.next = self.clock.val();
                        self.plane[p].read.next = !self.r_free[p * r + r - 1].val();
                        self.plane[p].read_off.next = self.r_addr[0].val().get_bits::<19>(0);
                        self.plane[p].read_q.next = self.r_q[0].val();
                        self.plane[p].read_bcast.next = self.r_bcast[0].val();
                        self.plane[p].read_count.next = self.r_count[0].val();
                        for c in 1..self._r {
                            if self.r_win[p * r + c].val() {
                                self.plane[p].read_off.next = self.r_addr[c].val().get_bits::<19>(0);
                                self.plane[p].read_q.next = self.r_q[c].val();
                                self.plane[p].read_bcast.next = self.r_bcast[c].val();
                                self.plane[p].read_count.next = self.r_count[c].val();
                            }
                        }
                        self.plane[p].write.next = !self.w_free[p * w + w - 1].val();
                        self.plane[p].write_off.next = self.w_addr[0].val().get_bits::<19>(0);
                        self.plane[p].write_q.next = self.w_q[0].val();
                        self.plane[p].write_count.next = self.w_count[0].val();
                        for i in 0..self._n {
                            self.plane[p].wdata[i].next = self.wdata[i].val();
                        }
                        for c in 1..self._w {
                            if self.w_pick[p * w + c].val() {
                                self.plane[p].write_off.next = self.w_addr[c].val().get_bits::<19>(0);
                                self.plane[p].write_q.next = self.w_q[c].val();
                                self.plane[p].write_count.next = self.w_count[c].val();
                                for i in 0..self._n {
                                    self.plane[p].wdata[i].next = self.wdata[c * n + i].val();
                                }
                            }
                        }
                    }
                    for c in 0..self._w {
                        self.w_target[c].next = bits::<2>(0);
                        if self.w_addr[c].val().get_bit(19) {
                            self.w_target[c].next = bits::<2>(1);
                        }
                        if self.w_smem[c].val() {
                            self.w_target[c].next = bits::<2>(2);
                            if self.w_addr[c].val().get_bit(19) {
                                self.w_target[c].next = bits::<2>(3);
                            }
                        }
                        for p in 0..4 {
                            self.w_hit[p * w + c].next =
                                self.w_req[c].val() & (self.w_target[c].val() == self.id[p].val());
                            self.w_aim[p * w + c].next =
                                self.w_want[c].val() & (self.w_target[c].val() == self.id[p].val());
                        }
                        self.w_gnt[c].next = self.w_pick[c].val()
                            | self.w_pick[w + c].val()
                            | self.w_pick[2 * w + c].val()
                            | self.w_pick[3 * w + c].val();
                        self.w_gnt1[c].clock.next = self.clock.val();
                        self.w_from1[c].clock.next = self.clock.val();
                        self.w_gnt1[c].d.next = self.w_req[c].val() & self.w_gnt[c].val();
                        self.w_from1[c].d.next = self.w_target[c].val();
                        self.w_trap[c].next = false;
                        for p in 0..4 {
                            if self.w_from2[c].q.val() == self.id[p].val() {
                                self.w_trap[c].next = self.w_gnt2[c].q.val() & self.plane[p].write_trap.val();
                            }
                        }
                        self.w_from2[c].clock.next = self.clock.val();
                        self.w_gnt2[c].clock.next = self.clock.val();
                        self.w_from2[c].d.next = self.w_from1[c].q.val();
                        self.w_gnt2[c].d.next = self.w_gnt1[c].q.val();
                    }
                }
            }
        }
        // Which access out of range is reported. Of several in one cycle the last `if` wins: the order of the engines' own.
        // The mover checks its addresses itself.
        self.search.start.next = false;
        self.pick.next = bits::<4>(0);
        for c in 1..3 {
            for p in 0..4 {
                if self.w_trap[3 - c].val() & (self.w_from2[3 - c].q.val() == self.id[p].val()) {
                    self.search.start.next = true;
                    self.pick.next = self.port[p + 4].val();
                }
            }
        }
        for c in 2..5 {
            for p in 0..4 {
                if self.r_trap[6 - c].val() & (self.from2[6 - c].q.val() == self.id[p].val()) {
                    self.search.start.next = true;
                    self.pick.next = self.port[p].val();
                }
            }
        }
        for c in 0..2 {
            for p in 0..4 {
                if self.r_trap[c].val() & (self.from2[c].q.val() == self.id[p].val()) {
                    self.search.start.next = true;
                    self.pick.next = self.port[p].val();
                }
            }
        }
        if self.mask_trap.val() {
            self.search.start.next = true;
            self.pick.next = bits::<4>(8);
        }
        for p in 0..4 {
            if self.w_trap[0].val() & (self.w_from2[0].q.val() == self.id[p].val()) {
                self.search.start.next = true;
                self.pick.next = self.port[p + 4].val();
            }
        }
        self.search.off.next = self.mask_off.val();
        self.search.q.next = self.mask_q.val();
        self.search.room.next = bits::<3>(4);
        for p in 0..4 {
            if self.pick.val() == self.port[p].val() {
                self.search.off.next = self.plane[p].read_off2.val();
                self.search.q.next = self.plane[p].read_q2.val();
                self.search.room.next = self.room[p].val();
            }
            if self.pick.val() == self.port[p + 4].val() {
                self.search.off.next = self.plane[p].write_off2.val();
                self.search.q.next = self.plane[p].write_q2.val();
                self.search.room.next = self.room[p].val();
            }
        }
        self.search.abort.next = self.abort.val();
        self.range_info.next = self.search.info.val();
        self.range_busy.next = self.search.busy.val();
    }
}
