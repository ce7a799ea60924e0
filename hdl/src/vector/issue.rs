//! Takes an instruction's twelve words, checks it, and starts it once its waits are over.
//!
//! The words stay here until the lanes take their part ([`Issue::taken`]), while the readers, which have copied theirs, may
//! already be reading.

use super::many;
use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Instruction buffer, waits and traps. See the module's text.
#[derive(LogicBlock)]
pub struct Issue {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Forget everything, the trap included.
    pub abort: Signal<In, Bit>,
    /// A word is offered.
    pub iw_valid: Signal<In, Bit>,
    /// It is taken if offered.
    pub iw_ready: Signal<Out, Bit>,
    /// The word.
    pub iw_data: Signal<In, Bits<32>>,
    /// With word 0: the instruction's address.
    pub iw_pc: Signal<In, Bits<16>>,
    /// With word 0: wait for the matrix engine.
    pub iw_wm_en: Signal<In, Bit>,
    /// With word 0: its count of completed instructions to wait for.
    pub iw_wm: Signal<In, Bits<8>>,
    /// With word 0: wait for the vector engine.
    pub iw_wv_en: Signal<In, Bit>,
    /// With word 0: its count of completed instructions to wait for.
    pub iw_wv: Signal<In, Bits<8>>,
    /// Completed matrix instructions.
    pub done_m: Signal<In, Bits<8>>,
    /// Completed vector instructions.
    pub done_v: Signal<In, Bits<8>>,
    /// One more of them ends in this cycle.
    pub finish: Signal<In, Bit>,
    /// A reader has requests left.
    pub reading: Signal<In, Bit>,
    /// The lanes and the writer have copied what they need.
    pub taken: Signal<In, Bit>,
    /// The instruction's words.
    pub word: Vec<Signal<Out, Bits<32>>>,
    /// Its address.
    pub pc: Signal<Out, Bits<16>>,
    /// The readers start in this cycle.
    pub start: Signal<Out, Bit>,
    /// A started instruction is there for the lanes to take: without and with `finish`.
    pub pending: Vec<Signal<Out, Bit>>,
    /// It was there in the cycle before, too.
    pub begun_before: Signal<Out, Bit>,
    /// A whole instruction waits for another one.
    pub waiting: Signal<Out, Bit>,
    /// There are words here.
    pub occupied: Signal<Out, Bit>,
    /// A faulty instruction; level until `abort`.
    pub trap: Signal<Out, Bit>,
    /// As [`systole_isa::regs::Trap`].
    pub trap_cause: Signal<Out, Bits<8>>,
    /// The word that is at fault.
    pub trap_info: Signal<Out, Bits<32>>,
    words: Vec<DFF<Bits<32>>>,
    slot: DFF<Bits<13>>,
    begun: DFF<Bit>,
    pc_q: DFF<Bits<16>>,
    wm_en: DFF<Bit>,
    wm: DFF<Bits<8>>,
    wv_en: DFF<Bit>,
    wv: DFF<Bits<8>>,
    wv_less: DFF<Bits<8>>,
    trap_q: DFF<Bit>,
    cause_q: DFF<Bits<8>>,
    info_q: DFF<Bits<32>>,
    accept: Signal<Local, Bit>,
    full: Signal<Local, Bit>,
    past_m: Signal<Local, Bits<8>>,
    past_v: Signal<Local, Bits<8>>,
    less_v: Signal<Local, Bits<8>>,
    clear_m: Signal<Local, Bit>,
    clear: Vec<Signal<Local, Bit>>,
    clear_now: Signal<Local, Bit>,
    able: Signal<Local, Bit>,
    may_start: Signal<Local, Bit>,
    good: Signal<Local, Bit>,
    bad_code: DFF<Bit>,
    bad_size: DFF<Bit>,
    bad_stride: Vec<DFF<Bit>>,
    cause: Signal<Local, Bits<8>>,
    info: Signal<Local, Bits<32>>,
    banks_mask: Constant<Bits<16>>,
}

impl Issue {
    /// For N banks.
    pub fn new(n: usize) -> Issue {
        Issue {
            clock: Default::default(),
            abort: Default::default(),
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
            finish: Default::default(),
            less_v: Default::default(),
            wv_less: Default::default(),
            clear_m: Default::default(),
            reading: Default::default(),
            taken: Default::default(),
            word: many(12),
            pc: Default::default(),
            start: Default::default(),
            pending: many(2),
            begun_before: Default::default(),
            waiting: Default::default(),
            occupied: Default::default(),
            trap: Default::default(),
            trap_cause: Default::default(),
            trap_info: Default::default(),
            words: many(12),
            slot: DFF::default(),
            begun: Default::default(),
            pc_q: Default::default(),
            wm_en: Default::default(),
            wm: Default::default(),
            wv_en: Default::default(),
            wv: Default::default(),
            trap_q: Default::default(),
            cause_q: Default::default(),
            info_q: Default::default(),
            accept: Default::default(),
            full: Default::default(),
            past_m: Default::default(),
            past_v: Default::default(),
            clear: many(2),
            clear_now: Default::default(),
            able: Default::default(),
            may_start: Default::default(),
            good: Default::default(),
            bad_code: Default::default(),
            bad_size: Default::default(),
            bad_stride: many(5),
            cause: Default::default(),
            info: Default::default(),
            banks_mask: Constant::new(bits(n as u64 - 1)),
        }
    }
}

impl Logic for Issue {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module vector_issue");
        dff_setup!(
            self, clock, slot, begun, pc_q, wm_en, wm, wv_en, wv, wv_less, trap_q, cause_q, info_q, bad_code, bad_size
        );
        // `slot` is one-hot with bit 0 inverted (so that it starts at zero): bit k, the next word is word k; bit 12, full.
        self.full.next = self.slot.q.val().get_bit(12);
        self.accept.next = self.iw_valid.val() & !self.full.val();
        self.iw_ready.next = !self.full.val();
        for i in 0..12 {
            self.words[i].clock.next = self.clock.val();
            self.words[i].d.next = self.words[i].q.val();
            self.word[i].next = self.words[i].q.val();
        }
        if self.accept.val() & !self.slot.q.val().get_bit(0) {
            self.words[0].d.next = self.iw_data.val();
            self.pc_q.d.next = self.iw_pc.val();
            self.wm_en.d.next = self.iw_wm_en.val();
            self.wm.d.next = self.iw_wm.val();
            self.wv_en.d.next = self.iw_wv_en.val();
            self.wv.d.next = self.iw_wv.val();
            self.wv_less.d.next = self.iw_wv.val() - 1;
        }
        for i in 1..12 {
            if self.accept.val() & self.slot.q.val().get_bit(i) {
                self.words[i].d.next = self.iw_data.val();
            }
        }
        if self.accept.val() {
            self.slot.d.next = ((self.slot.q.val() ^ 1) << 1) | 1;
        }

        self.past_m.next = self.done_m.val() - self.wm.q.val();
        // That an instruction ends in this cycle is known last: both cases are ready beside, so that it only selects.
        self.past_v.next = self.done_v.val() - self.wv.q.val();
        self.less_v.next = self.done_v.val() - self.wv_less.q.val();
        self.clear_m.next = !(self.wm_en.q.val() & self.past_m.val().get_bit(7));
        self.clear[0].next = self.clear_m.val() & !(self.wv_en.q.val() & self.past_v.val().get_bit(7));
        self.clear[1].next = self.clear_m.val() & !(self.wv_en.q.val() & self.less_v.val().get_bit(7));
        self.able.next = self.full.val() & !self.begun.q.val() & !self.trap_q.q.val() & !self.reading.val();
        self.clear_now.next = self.clear[0].val();
        self.may_start.next = self.able.val() & self.clear[0].val();
        if self.finish.val() {
            self.clear_now.next = self.clear[1].val();
            self.may_start.next = self.able.val() & self.clear[1].val();
        }

        // Checks are flip-flops by the time the last word is there: of words that have been for a cycle, and of the last
        // one, the copy's stride, on its way in.
        self.bad_code.d.next =
            (self.words[0].q.val().get_bits::<7>(0) > 14) | (self.words[0].q.val().get_bits::<3>(29) != 0);
        self.bad_size.d.next = (self.words[1].q.val().get_bits::<16>(0) == 0)
            | (self.words[1].q.val().get_bits::<16>(16) == 0)
            | ((self.words[0].q.val().get_bits::<2>(25) == 3) & (self.words[1].q.val() != 0x10001));
        for i in 0..5 {
            self.bad_stride[i].clock.next = self.clock.val();
            self.bad_stride[i].d.next = self.bad_stride[i].q.val();
        }
        for i in 0..3 {
            // x, y, z: in memory, neither ≡ 1 (mod N) nor 0
            self.bad_stride[i].d.next = !self.words[0].q.val().get_bit(20 + 2 * i)
                & ((self.words[2 * i + 3].q.val().get_bits::<16>(0) & self.banks_mask.val()) != 1)
                & (self.words[2 * i + 3].q.val().get_bits::<16>(0) != 0);
        }
        self.bad_stride[3].d.next = !self.words[0].q.val().get_bit(26)
            & ((self.words[9].q.val().get_bits::<16>(0) & self.banks_mask.val()) != 1);
        if self.accept.val() {
            self.bad_stride[4].d.next = self.words[0].q.val().get_bit(27)
                & ((self.iw_data.val().get_bits::<16>(0) & self.banks_mask.val()) != 1);
        }
        self.good.next = !(self.bad_code.q.val()
            | self.bad_size.q.val()
            | self.bad_stride[0].q.val()
            | self.bad_stride[1].q.val()
            | self.bad_stride[2].q.val()
            | self.bad_stride[3].q.val()
            | self.bad_stride[4].q.val());
        self.cause.next = bits::<8>(5);
        self.info.next = self.words[11].q.val();
        for i in 0..4 {
            if self.bad_stride[3 - i].q.val() {
                self.info.next = self.words[9 - 2 * i].q.val();
            }
        }
        if self.bad_size.q.val() {
            self.cause.next = bits::<8>(6);
            self.info.next = self.words[1].q.val();
        }
        if self.bad_code.q.val() {
            self.cause.next = bits::<8>(1);
            self.info.next = self.words[0].q.val();
        }

        self.start.next = self.may_start.val() & self.good.val();
        for i in 0..2 {
            self.pending[i].next = self.begun.q.val() | (self.able.val() & self.clear[i].val() & self.good.val());
        }
        self.begun_before.next = self.begun.q.val();
        if self.may_start.val() {
            if self.good.val() {
                self.begun.d.next = true;
            } else {
                self.trap_q.d.next = true;
                self.cause_q.d.next = self.cause.val();
                self.info_q.d.next = self.info.val();
            }
        }
        if self.taken.val() {
            self.begun.d.next = false;
            self.slot.d.next = bits::<13>(0);
        }
        if self.abort.val() {
            self.begun.d.next = false;
            self.slot.d.next = bits::<13>(0);
            self.trap_q.d.next = false;
        }
        self.waiting.next = self.full.val() & !self.begun.q.val() & !self.trap_q.q.val() & !self.clear_now.val();
        self.occupied.next = self.slot.q.val() != 0;
        self.pc.next = self.pc_q.q.val();
        self.trap.next = self.trap_q.q.val();
        self.trap_cause.next = self.cause_q.q.val();
        self.trap_info.next = self.info_q.q.val();
    }
}
