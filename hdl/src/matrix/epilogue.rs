//! From aligned sums to written results.
//!
//! ```text
//!  cycle 0            1                          2        3                        4
//!  sum, info ──[ ]── ReLU, mask ──┬─ FP32 → FP16 ────────── write request ──[ ]── flag: address of the first
//!  mask address ─> mask RAM ──────┘                         mask bit = value > 0   non-finite lane
//! ```
//!
//! Nothing here can stall: the memory grants every write of the matrix engine at once. With a memory latency above 2 the mask's bits
//! are written a cycle later than shown; whether they are out of range is said when it was.

use crate::float::SingleToHalf;
use crate::matrix::Widen;
use crate::memory::{AddressUnit, Bank, RotateDown, RotateUp, many};
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use systole_isa::machine::Machine;

/// ReLU, mask, rounding, non-finite detection and the write port.
#[derive(LogicBlock)]
pub struct Epilogue {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Let nothing out.
    pub mute: Signal<In, Bit>,
    /// Sums of a row.
    pub sum: Vec<Signal<In, Bits<32>>>,
    /// See `Streamer::info_a`.
    pub info_a: Signal<In, Bits<32>>,
    /// See `Streamer::info_b`.
    pub info_b: Signal<In, Bits<32>>,
    /// See `Streamer::info_c`.
    pub info_c: Signal<In, Bits<32>>,
    /// Write to memory.
    pub req: Signal<Out, Bit>,
    /// FP32 into smem.
    pub smem: Signal<Out, Bit>,
    /// Address of lane 0.
    pub addr: Signal<Out, Bits<20>>,
    /// Stride.
    pub q: Signal<Out, Bits<16>>,
    /// Lanes.
    pub count: Signal<Out, Bits<5>>,
    /// Data.
    pub data: Vec<Signal<Out, Bits<32>>>,
    /// The last result of an instruction is written in this cycle.
    pub done: Signal<Out, Bit>,
    /// Set these flags.
    pub flag_set: Signal<Out, Bits<4>>,
    /// Address of the instruction that wrote the value.
    pub flag_pc: Signal<Out, Bits<16>>,
    /// Address of the value; bit 20: smem.
    pub flag_addr: Signal<Out, Bits<21>>,
    /// A mask access was out of range.
    pub mask_trap: Signal<Out, Bit>,
    /// Its instruction.
    pub mask_trap_pc: Signal<Out, Bits<16>>,
    /// Offset of its lane 0.
    pub mask_trap_off: Signal<Out, Bits<19>>,
    /// Its `(inner stride − 1)/N`, signed.
    pub mask_trap_q: Signal<Out, Bits<16>>,
    /// Instruction of the access being written (for a trap of the next cycle).
    pub pc: Signal<Out, Bits<16>>,
    x1: Vec<DFF<Bits<32>>>,
    y2: Vec<DFF<Bits<32>>>,
    y3: Vec<DFF<Bits<32>>>,
    a1: DFF<Bits<32>>,
    a2: DFF<Bits<32>>,
    a3: DFF<Bits<32>>,
    last3: DFF<Bits<4>>,
    b1: DFF<Bits<32>>,
    b2: DFF<Bits<32>>,
    b3: DFF<Bits<32>>,
    c1: DFF<Bits<32>>,
    c2: DFF<Bits<32>>,
    c3: DFF<Bits<32>>,
    phase1: DFF<Bits<4>>,
    bad4: DFF<Bit>,
    lane4: DFF<Bits<16>>,
    addr4: DFF<Bits<21>>,
    q4: DFF<Bits<16>>,
    pc4: DFF<Bits<16>>,
    flag4: DFF<Bits<3>>,
    positive: Vec<Signal<Local, Bit>>,
    nan: Vec<Signal<Local, Bit>>,
    kill2: Vec<DFF<Bit>>,
    kill3: Vec<DFF<Bit>>,
    round: Vec<SingleToHalf>,
    spread: Vec<Widen>,
    above: Vec<Signal<Local, Bit>>,
    bad: Vec<Signal<Local, Bit>>,
    any_bad: Signal<Local, Bit>,
    bad_lane: Signal<Local, Bits<16>>,
    product: Signal<Local, Bits<32>>,
    product4: DFF<Bits<32>>,
    read_bad1: DFF<Bit>,
    mask_bad: DFF<Bit>,
    mask_pc: DFF<Bits<16>>,
    mask_off: DFF<Bits<19>>,
    mask_q: DFF<Bits<16>>,
    correction: Signal<Local, Bits<32>>,
    steps: Signal<Local, Bits<32>>,
    distance: Signal<Local, Bits<21>>,
    place: Signal<Local, Bits<20>>,
    reading: AddressUnit,
    writing: AddressUnit,
    mask: Vec<Bank>,
    turn_back: RotateDown<1>,
    turn_in: RotateUp<1>,
    write3: Signal<Local, Bit>,
    mask_go: Signal<Local, Bit>,
    bad_write: Vec<DFF<Bit>>,
    row4: Vec<DFF<Bits<20>>>,
    enable4: Vec<DFF<Bit>>,
    bit4: Vec<DFF<Bits<32>>>,
    mask_write: Signal<Local, Bit>,
    mask_read: Signal<Local, Bit>,
    bit_in: Vec<Signal<Local, Bits<32>>>,
    lane: Vec<Constant<Bits<5>>>,
    lane16: Vec<Constant<Bits<16>>>,
    shift: Constant<Bits<5>>,
    _n: usize,
    _early: usize,
    _early_one: usize,
}

impl Epilogue {
    /// For `machine`.
    pub fn new(machine: &Machine) -> Epilogue {
        let n = machine.lanes as usize;
        // as in a plane: a register between address and bank
        let early = if machine.memory_latency > 2 { n } else { 0 };
        Epilogue {
            clock: Default::default(),
            mute: Default::default(),
            sum: many(n),
            info_a: Default::default(),
            info_b: Default::default(),
            info_c: Default::default(),
            req: Default::default(),
            smem: Default::default(),
            addr: Default::default(),
            q: Default::default(),
            count: Default::default(),
            data: many(n),
            done: Default::default(),
            flag_set: Default::default(),
            flag_pc: Default::default(),
            flag_addr: Default::default(),
            mask_trap: Default::default(),
            mask_trap_pc: Default::default(),
            mask_trap_off: Default::default(),
            mask_trap_q: Default::default(),
            pc: Default::default(),
            x1: many(n),
            y2: many(n),
            y3: many(n),
            a1: Default::default(),
            a2: Default::default(),
            a3: Default::default(),
            last3: Default::default(),
            b1: Default::default(),
            b2: Default::default(),
            b3: Default::default(),
            c1: Default::default(),
            c2: Default::default(),
            c3: Default::default(),
            phase1: Default::default(),
            bad4: Default::default(),
            lane4: Default::default(),
            addr4: Default::default(),
            q4: Default::default(),
            pc4: Default::default(),
            flag4: Default::default(),
            positive: many(n),
            nan: many(n),
            kill2: many(n),
            kill3: many(n),
            round: many(n),
            spread: many(n),
            above: many(n),
            bad: many(n),
            any_bad: Default::default(),
            bad_lane: Default::default(),
            product: Default::default(),
            product4: Default::default(),
            read_bad1: Default::default(),
            mask_bad: Default::default(),
            mask_pc: Default::default(),
            mask_off: Default::default(),
            mask_q: Default::default(),
            correction: Default::default(),
            steps: Default::default(),
            distance: Default::default(),
            place: Default::default(),
            reading: AddressUnit::new(n, machine.mask_bits as usize / n),
            writing: AddressUnit::new(n, machine.mask_bits as usize / n),
            mask: (0..n).map(|_| Bank::new(machine.mask_bits as usize / n, 1)).collect(),
            turn_back: RotateDown::new(n),
            turn_in: RotateUp::new(n),
            write3: Default::default(),
            mask_go: Default::default(),
            bad_write: many(early.min(1)),
            row4: many(early),
            enable4: many(early),
            bit4: many(early),
            mask_write: Default::default(),
            mask_read: Default::default(),
            bit_in: many(n),
            lane: (0..n).map(|i| Constant::new(bits(i as u64))).collect(),
            lane16: (0..n).map(|i| Constant::new(bits(i as u64))).collect(),
            shift: Constant::new(bits(n.ilog2() as u64)),
            _n: n,
            _early: early,
            _early_one: early.min(1),
        }
    }
}

impl Logic for Epilogue {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self, clock, a1, a2, a3, last3, b1, b2, b3, c1, c2, c3, phase1, read_bad1, mask_bad, mask_pc, mask_off,
            mask_q, bad4, lane4, addr4, q4, product4, pc4, flag4
        );
        self.a1.d.next = self.info_a.val();
        self.a2.d.next = self.a1.q.val();
        self.a3.d.next = self.a2.q.val();
        self.b1.d.next = self.info_b.val();
        self.b2.d.next = self.b1.q.val();
        self.b3.d.next = self.b2.q.val();
        self.c1.d.next = self.info_c.val();
        self.c2.d.next = self.c1.q.val();
        self.c3.d.next = self.c2.q.val();
        // Cycle 0: mask read.
        self.reading.off.next = self.info_b.val().get_bits::<19>(0);
        self.reading.q.next = self.info_c.val().get_bits::<16>(0);
        self.reading.count.next = self.info_a.val().get_bits::<5>(20);
        self.reading.last.next = bit_cast::<4, 5>(self.info_a.val().get_bits::<5>(20) - 1);
        self.phase1.d.next = self.reading.phase.val();
        self.turn_back.by.next = self.phase1.q.val();
        self.mask_read.next = self.info_a.val().get_bit(31)
            & self.info_a.val().get_bit(28)
            & self.info_b.val().get_bit(22)
            & !self.mute.val();
        // Cycle 3: writes.
        self.write3.next = self.a3.q.val().get_bit(31) & self.a3.q.val().get_bit(28) & !self.mute.val();
        self.req.next = self.write3.val();
        self.smem.next = self.a3.q.val().get_bit(29);
        self.addr.next = self.a3.q.val().get_bits::<20>(0);
        self.q.next = self.c3.q.val().get_bits::<16>(0);
        self.count.next = self.a3.q.val().get_bits::<5>(20);
        self.pc.next = self.c3.q.val().get_bits::<16>(16);
        self.done.next = self.a3.q.val().get_bit(31) & self.a3.q.val().get_bit(30) & !self.mute.val();
        self.writing.off.next = self.b3.q.val().get_bits::<19>(0);
        self.writing.q.next = self.c3.q.val().get_bits::<16>(0);
        self.writing.count.next = self.a3.q.val().get_bits::<5>(20);
        self.last3.d.next = bit_cast::<4, 5>(self.a2.q.val().get_bits::<5>(20) - 1);
        self.writing.last.next = self.last3.q.val();
        self.turn_in.by.next = self.writing.phase.val();
        self.mask_write.next = self.write3.val() & self.b3.q.val().get_bit(21);
        self.mask_go.next = self.mask_write.val() & !self.writing.trap.val();
        // A read's trap a cycle later: what leads to it comes from a block RAM, and its write is still two cycles off.
        self.read_bad1.d.next = self.mask_read.val() & self.reading.trap.val();
        self.mask_bad.d.next = (self.mask_write.val() & self.writing.trap.val()) | self.read_bad1.q.val();
        self.mask_pc.d.next = self.c3.q.val().get_bits::<16>(16);
        self.mask_off.d.next = self.b3.q.val().get_bits::<19>(0);
        self.mask_q.d.next = self.c3.q.val().get_bits::<16>(0);
        if self.read_bad1.q.val() {
            self.mask_pc.d.next = self.c1.q.val().get_bits::<16>(16);
            self.mask_off.d.next = self.b1.q.val().get_bits::<19>(0);
            self.mask_q.d.next = self.c1.q.val().get_bits::<16>(0);
        }
        self.mask_trap.next = self.mask_bad.q.val();
        self.mask_trap_pc.next = self.mask_pc.q.val();
        self.mask_trap_off.next = self.mask_off.q.val();
        self.mask_trap_q.next = self.mask_q.q.val();
        self.any_bad.next = false;
        self.bad_lane.next = bits::<16>(0);
        for n in self._n..(self._n + 1) {
            for i in 0..self._n {
                self.x1[i].clock.next = self.clock.val();
                self.y2[i].clock.next = self.clock.val();
                self.kill2[i].clock.next = self.clock.val();
                self.kill3[i].clock.next = self.clock.val();
                self.y3[i].clock.next = self.clock.val();
                self.round[i].clock.next = self.clock.val();
                self.mask[i].clock.next = self.clock.val();
                self.x1[i].d.next = self.sum[i].val();
                self.mask[i].read_address.next = self.reading.row[i].val();
                self.turn_back.x[i].next = self.mask[i].read_data.val().get_bits::<1>(0);
                self.nan[i].next =
                    (self.x1[i].q.val().get_bits::<8>(23) == 255) & (self.x1[i].q.val().get_bits::<23>(0) != 0);
                self.positive[i].next = !self.x1[i].q.val().get_bit(31) & (self.x1[i].q.val().get_bits::<31>(0) != 0);
                // What ReLU or the mask clears is known here, from a block RAM, and cleared when it has been rounded.
                self.kill2[i].d.next = (self.b1.q.val().get_bit(20) & !self.positive[i].val() & !self.nan[i].val())
                    | (self.b1.q.val().get_bit(22) & !self.turn_back.y[i].val().get_bit(0));
                self.kill3[i].d.next = self.kill2[i].q.val();
                self.y2[i].d.next = self.x1[i].q.val();
                self.y3[i].d.next = self.y2[i].q.val();
                self.round[i].single.next = self.x1[i].q.val();
                self.spread[i].half.next = self.round[i].half.val();
                self.data[i].next = self.spread[i].wide.val();
                self.above[i].next = !self.round[i].half.val().get_bit(15)
                    & (self.round[i].half.val().get_bits::<15>(0) != 0)
                    & (self.round[i].half.val().get_bits::<15>(0) <= 0x7c00);
                self.bad[i].next = self.round[i].nonfinite.val();
                if self.a3.q.val().get_bit(29) {
                    self.data[i].next = self.y3[i].q.val();
                    self.above[i].next = !self.y3[i].q.val().get_bit(31)
                        & (self.y3[i].q.val().get_bits::<31>(0) != 0)
                        & (self.y3[i].q.val().get_bits::<31>(0) <= 0x7f800000);
                    self.bad[i].next = self.y3[i].q.val().get_bits::<8>(23) == 255;
                }
                if self.kill3[i].q.val() {
                    self.data[i].next = bits::<32>(0);
                    self.above[i].next = false;
                    self.bad[i].next = false;
                }
                self.turn_in.x[i].next = bits::<1>(0);
                if self.above[i].val() {
                    self.turn_in.x[i].next = bits::<1>(1);
                }
                self.mask[i].write_address.next = self.writing.row[i].val();
                self.bit_in[i].next = bits::<32>(0);
                if self.turn_in.y[i].val().get_bit(0) {
                    self.bit_in[i].next = bits::<32>(1);
                }
                self.mask[i].write_data.next = self.bit_in[i].val();
                self.mask[i].write_enable.next = self.mask_go.val() & self.writing.enable[i].val();
            }
            for i in 0..self._n {
                if self.bad[n - 1 - i].val() & (self.lane[n - 1 - i].val() < self.a3.q.val().get_bits::<5>(20)) {
                    self.any_bad.next = true;
                    self.bad_lane.next = self.lane16[n - 1 - i].val();
                }
            }
        }
        for i in 0..self._early_one {
            self.bad_write[i].clock.next = self.clock.val();
            self.bad_write[i].d.next = self.mask_write.val() & self.writing.trap.val();
            for k in 0..self._early {
                self.row4[k].clock.next = self.clock.val();
                self.row4[k].d.next = self.writing.row[k].val();
                self.enable4[k].clock.next = self.clock.val();
                self.enable4[k].d.next = self.mask_write.val() & self.writing.enable[k].val();
                self.bit4[k].clock.next = self.clock.val();
                self.bit4[k].d.next = self.bit_in[k].val();
                self.mask[k].write_address.next = self.row4[k].q.val();
                self.mask[k].write_data.next = self.bit4[k].q.val();
                self.mask[k].write_enable.next = self.enable4[k].q.val() & !self.bad_write[i].q.val();
            }
        }
        self.bad4.d.next = self.any_bad.val() & self.write3.val();
        self.lane4.d.next = self.bad_lane.val();
        self.addr4.d.next = bit_cast::<21, 20>(self.a3.q.val().get_bits::<20>(0))
            | (bit_cast::<21, 1>(self.a3.q.val().get_bits::<1>(29)) << 20);
        self.q4.d.next = self.c3.q.val().get_bits::<16>(0);
        self.pc4.d.next = self.c3.q.val().get_bits::<16>(16);
        self.flag4.d.next = self.a3.q.val().get_bits::<3>(25);
        self.product.next = self.bad_lane.val() * self.c3.q.val().get_bits::<16>(0);
        self.product4.d.next = self.product.val();
        // Cycle 4: address + lane·(1 + q·N), q signed.
        self.correction.next = bits::<32>(0);
        if self.q4.q.val().get_bit(15) {
            self.correction.next = bit_cast::<32, 16>(self.lane4.q.val()) << 16;
        }
        self.steps.next = self.product4.q.val() - self.correction.val();
        self.distance.next = bit_cast::<21, 32>(self.steps.val() << self.shift.val());
        self.place.next = bit_cast::<20, 21>(self.addr4.q.val())
            + bit_cast::<20, 16>(self.lane4.q.val())
            + bit_cast::<20, 21>(self.distance.val());
        self.flag_addr.next = (self.addr4.q.val() & 0x100000) | bit_cast::<21, 20>(self.place.val());
        self.flag_pc.next = self.pc4.q.val();
        self.flag_set.next = bits::<4>(0);
        if self.bad4.q.val() {
            if self.flag4.q.val() == 1 {
                self.flag_set.next = bits::<4>(1);
            } else if self.flag4.q.val() == 2 {
                self.flag_set.next = bits::<4>(2);
            } else if self.flag4.q.val() == 3 {
                self.flag_set.next = bits::<4>(4);
            } else if self.flag4.q.val() == 4 {
                self.flag_set.next = bits::<4>(8);
            }
        }
    }
}
