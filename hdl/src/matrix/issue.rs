//! Takes the twelve words of the next instruction while one executes, checks them, and holds them until both the loader
//! and the streamer have started on it.
//!
//! ```text
//!  iw ──> shift register of 12 words ──> fields ──> go (waits satisfied, checks passed) ──> loader, streamer
//!            └── checks, each on its word as it passes by ──> flip-flops
//! ```

use crate::memory::many;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use systole_isa::machine::Machine;

/// The instruction buffer and its wait logic.
#[derive(LogicBlock)]
pub struct Issue {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Drop everything, accept nothing.
    pub clear: Signal<In, Bit>,
    /// A word is offered.
    pub iw_valid: Signal<In, Bit>,
    /// It is taken.
    pub iw_ready: Signal<Out, Bit>,
    /// The word.
    pub iw_data: Signal<In, Bits<32>>,
    /// Address of the instruction, with word 0.
    pub iw_pc: Signal<In, Bits<16>>,
    /// Wait for the matrix engine's count `iw_wm`, with word 0.
    pub iw_wm_en: Signal<In, Bit>,
    /// See `iw_wm_en`.
    pub iw_wm: Signal<In, Bits<8>>,
    /// Wait for the vector engine's count `iw_wv`, with word 0.
    pub iw_wv_en: Signal<In, Bit>,
    /// See `iw_wv_en`.
    pub iw_wv: Signal<In, Bits<8>>,
    /// Completed matrix instructions.
    pub done_m: Signal<In, Bits<8>>,
    /// Completed vector instructions.
    pub done_v: Signal<In, Bits<8>>,
    /// The instruction's words.
    pub word: Vec<Signal<Out, Bits<32>>>,
    /// Its address.
    pub pc: Signal<Out, Bits<16>>,
    /// `m_block`, 1..=256.
    pub m_block: Signal<Out, Bits<16>>,
    /// `n_group`, 1..=256.
    pub n_group: Signal<Out, Bits<16>>,
    /// It may start.
    pub go: Signal<Out, Bit>,
    /// It waits for another instruction.
    pub waiting: Signal<Out, Bit>,
    /// There is one, or part of one.
    pub occupied: Signal<Out, Bit>,
    /// Both have started on it.
    pub free: Signal<In, Bit>,
    /// It cannot be executed.
    pub trap: Signal<Out, Bit>,
    /// Stride (5) or size (6).
    pub trap_cause: Signal<Out, Bits<8>>,
    /// The offending word.
    pub trap_info: Signal<Out, Bits<32>>,
    store: Vec<DFF<Bits<32>>>,
    count: DFF<Bits<4>>,
    pc_reg: DFF<Bits<16>>,
    wm_en: DFF<Bit>,
    wm: DFF<Bits<8>>,
    wv_en: DFF<Bit>,
    wv: DFF<Bits<8>>,
    full: Signal<Local, Bit>,
    take: Signal<Local, Bit>,
    ready: Signal<Local, Bit>,
    behind_m: Signal<Local, Bits<8>>,
    behind_v: Signal<Local, Bits<8>>,
    held: Signal<Local, Bit>,
    block: Signal<Local, Bits<16>>,
    group: Signal<Local, Bits<16>>,
    early_block: Signal<Local, Bits<16>>,
    early_group: Signal<Local, Bits<16>>,
    product: Signal<Local, Bits<32>>,
    rows: DFF<Bits<17>>,
    need: DFF<Bits<18>>,
    spare: Signal<Local, Bits<18>>,
    first: Signal<Local, Bits<18>>,
    bad_size: DFF<Bit>,
    bad_x: DFF<Bit>,
    bad_w: DFF<Bit>,
    bad_out: DFF<Bit>,
    bad: Signal<Local, Bit>,
    lane_mask: Constant<Bits<32>>,
    acc_rows: Constant<Bits<18>>,
}

impl Issue {
    /// For `machine`.
    pub fn new(machine: &Machine) -> Issue {
        Issue {
            clock: Default::default(),
            clear: Default::default(),
            iw_valid: Default::default(),
            iw_ready: Default::default(),
            iw_data: Default::default(),
            iw_pc: Default::default(),
            iw_wm_en: Default::default(),
            iw_wm: Default::default(),
            iw_wv_en: Default::default(),
            iw_wv: Default::default(),
            done_m: Default::default(),
            done_v: Default::default(),
            word: many(12),
            pc: Default::default(),
            m_block: Default::default(),
            n_group: Default::default(),
            go: Default::default(),
            waiting: Default::default(),
            occupied: Default::default(),
            free: Default::default(),
            trap: Default::default(),
            trap_cause: Default::default(),
            trap_info: Default::default(),
            store: many(12),
            count: Default::default(),
            pc_reg: Default::default(),
            wm_en: Default::default(),
            wm: Default::default(),
            wv_en: Default::default(),
            wv: Default::default(),
            full: Default::default(),
            take: Default::default(),
            ready: Default::default(),
            behind_m: Default::default(),
            behind_v: Default::default(),
            held: Default::default(),
            block: Default::default(),
            group: Default::default(),
            early_block: Default::default(),
            early_group: Default::default(),
            product: Default::default(),
            rows: Default::default(),
            need: Default::default(),
            spare: Default::default(),
            first: Default::default(),
            bad_size: Default::default(),
            bad_x: Default::default(),
            bad_w: Default::default(),
            bad_out: Default::default(),
            bad: Default::default(),
            lane_mask: Constant::new(bits(machine.lanes as u64 - 1)),
            acc_rows: Constant::new(bits(machine.acc_rows as u64)),
        }
    }
}

impl Logic for Issue {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, count, pc_reg, wm_en, wm, wv_en, wv, rows, need, bad_size, bad_x, bad_w, bad_out);
        self.full.next = self.count.q.val() == 12;
        self.ready.next = !self.full.val() & !self.clear.val();
        self.iw_ready.next = self.ready.val();
        self.take.next = self.iw_valid.val() & self.ready.val();
        for i in 0..12 {
            self.store[i].clock.next = self.clock.val();
            self.store[i].d.next = self.store[i].q.val();
            self.word[i].next = self.store[i].q.val();
        }
        if self.take.val() {
            self.count.d.next = self.count.q.val() + 1;
            for i in 0..11 {
                self.store[i].d.next = self.store[i + 1].q.val();
            }
            self.store[11].d.next = self.iw_data.val();
        }
        // What comes with word 0 is followed until there is one: that there is comes late, out of program memory.
        if self.count.q.val() == 0 {
            self.pc_reg.d.next = self.iw_pc.val();
            self.wm_en.d.next = self.iw_wm_en.val();
            self.wm.d.next = self.iw_wm.val();
            self.wv_en.d.next = self.iw_wv_en.val();
            self.wv.d.next = self.iw_wv.val();
        }
        if self.clear.val() | self.free.val() {
            self.count.d.next = bits::<4>(0);
        }
        self.occupied.next = self.count.q.val() != 0;
        self.pc.next = self.pc_reg.q.val();
        self.behind_m.next = self.done_m.val() - self.wm.q.val();
        self.behind_v.next = self.done_v.val() - self.wv.q.val();
        self.held.next = (self.wm_en.q.val() & self.behind_m.val().get_bit(7))
            | (self.wv_en.q.val() & self.behind_v.val().get_bit(7));
        // 256 is encoded as 0.
        self.block.next = bit_cast::<16, 8>(self.store[2].q.val().get_bits::<8>(16));
        if self.store[2].q.val().get_bits::<8>(16) == 0 {
            self.block.next = bits::<16>(256);
        }
        self.group.next = bit_cast::<16, 8>(self.store[2].q.val().get_bits::<8>(24));
        if self.store[2].q.val().get_bits::<8>(24) == 0 {
            self.group.next = bits::<16>(256);
        }
        self.m_block.next = self.block.val();
        self.n_group.next = self.group.val();
        // The checks see each word a place before its own, as the last word comes; word 2's product two places before.
        self.early_block.next = bit_cast::<16, 8>(self.store[4].q.val().get_bits::<8>(16));
        if self.store[4].q.val().get_bits::<8>(16) == 0 {
            self.early_block.next = bits::<16>(256);
        }
        self.early_group.next = bit_cast::<16, 8>(self.store[4].q.val().get_bits::<8>(24));
        if self.store[4].q.val().get_bits::<8>(24) == 0 {
            self.early_group.next = bits::<16>(256);
        }
        self.product.next = self.early_block.val() * self.early_group.val();
        self.spare.next = self.acc_rows.val() - bit_cast::<18, 17>(self.rows.q.val());
        self.first.next = bit_cast::<18, 8>(self.iw_data.val().get_bits::<8>(0));
        if self.take.val() {
            self.rows.d.next = self.product.val().get_bits::<17>(0);
            self.need.d.next = bit_cast::<18, 17>(self.rows.q.val()) + self.first.val();
            self.bad_size.d.next = (self.store[2].q.val().get_bits::<16>(0) == 0)
                | (self.store[2].q.val().get_bits::<16>(16) == 0)
                | (self.store[3].q.val().get_bits::<16>(0) == 0)
                | self.spare.val().get_bit(17)
                | (self.first.val() > self.spare.val());
            self.bad_x.d.next = (self.store[5].q.val() & self.lane_mask.val()) != 1;
            self.bad_w.d.next = (self.store[7].q.val() & self.lane_mask.val()) != 1;
            self.bad_out.d.next =
                self.store[1].q.val().get_bit(21) & ((self.store[9].q.val() & self.lane_mask.val()) != 1);
        }
        self.bad.next =
            self.full.val() & (self.bad_size.q.val() | self.bad_x.q.val() | self.bad_w.q.val() | self.bad_out.q.val());
        self.trap.next = self.bad.val();
        self.trap_cause.next = bits::<8>(5);
        self.trap_info.next = self.store[8].q.val();
        if self.bad_w.q.val() {
            self.trap_info.next = self.store[6].q.val();
        }
        if self.bad_x.q.val() {
            self.trap_info.next = self.store[4].q.val();
        }
        if self.bad_size.q.val() {
            self.trap_cause.next = bits::<8>(6);
            self.trap_info.next = bit_cast::<32, 18>(self.need.q.val());
        }
        self.go.next = self.full.val() & !self.held.val() & !self.bad.val() & !self.clear.val();
        self.waiting.next = self.full.val() & self.held.val();
    }
}
