//! The array: PEs, and the conversions at its edges.

use super::Pe;
use crate::comment;
use crate::float::{PsumDecode, PsumEncode, Recode};
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// An `n` × `n` array; see [the module](super) for its timing.
#[derive(LogicBlock)]
pub struct SystolicArray {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Activation of each row, FP16.
    pub act: Vec<Signal<In, Bits<16>>>,
    /// The slot of the weight store that it uses.
    pub act_tag: Vec<Signal<In, Bits<2>>>,
    /// There is an activation. Without it the row keeps the last one: sums that pass are meaningless.
    pub act_valid: Vec<Signal<In, Bit>>,
    /// Write `w_data` into this row's PEs.
    pub w_we: Vec<Signal<In, Bit>>,
    /// The slot to write.
    pub w_slot: Signal<In, Bits<2>>,
    /// Weight for each column, FP16.
    pub w_data: Vec<Signal<In, Bits<16>>>,
    /// Partial sum into the top of each column, FP32: ±0, Inf, NaN, an FP16 number or a sum that this array made.
    pub psum_in: Vec<Signal<In, Bits<32>>>,
    /// Partial sum from the bottom of each column, FP32; out of a register and a short adder.
    pub psum_out: Vec<Signal<Out, Bits<32>>>,
    act_recode: Vec<Recode>,
    act_reg: Vec<DFF<Bits<20>>>,
    tag_reg: Vec<DFF<Bits<2>>>,
    we_reg: Vec<DFF<Bit>>,
    slot_reg: DFF<Bits<2>>,
    w_recode: Vec<Recode>,
    w_reg: Vec<DFF<Bits<20>>>,
    encode: Vec<PsumEncode>,
    psum_reg: Vec<DFF<Bits<32>>>,
    decode: Vec<PsumDecode>,
    pe: Vec<Pe>,
    _n: usize,
}

impl SystolicArray {
    /// An array of `n` rows and columns, `n` ≥ 2, whose adders take `l` cycles.
    pub fn new(n: usize, l: usize) -> Self {
        assert!(n >= 2, "an array has at least two rows and columns, not {n}");
        fn many<T: Default>(n: usize) -> Vec<T> {
            (0..n).map(|_| T::default()).collect()
        }
        SystolicArray {
            clock: Default::default(),
            act: many(n),
            act_tag: many(n),
            act_valid: many(n),
            w_we: many(n),
            w_slot: Default::default(),
            w_data: many(n),
            psum_in: many(n),
            psum_out: many(n),
            act_recode: many(n),
            act_reg: many(n),
            tag_reg: many(n),
            we_reg: many(n),
            slot_reg: Default::default(),
            w_recode: many(n),
            w_reg: many(n),
            encode: many(n),
            psum_reg: many(n),
            decode: many(n),
            pe: (0..n * n).map(|_| Pe::new(l)).collect(),
            _n: n,
        }
    }
}

impl Logic for SystolicArray {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module systolic_array");
        self.slot_reg.clock.next = self.clock.val();
        self.slot_reg.d.next = self.w_slot.val();
        for n in self._n..(self._n + 1) {
            for i in 0..self._n {
                // Edges: row i on the left, column i above and below.
                self.act_recode[i].half.next = self.act[i].val();
                self.act_reg[i].clock.next = self.clock.val();
                self.act_reg[i].d.next = self.act_reg[i].q.val();
                self.tag_reg[i].clock.next = self.clock.val();
                self.tag_reg[i].d.next = self.tag_reg[i].q.val();
                if self.act_valid[i].val() {
                    self.act_reg[i].d.next = self.act_recode[i].operand.val();
                    self.tag_reg[i].d.next = self.act_tag[i].val();
                }
                self.we_reg[i].clock.next = self.clock.val();
                self.we_reg[i].d.next = self.w_we[i].val();
                self.w_recode[i].half.next = self.w_data[i].val();
                self.w_reg[i].clock.next = self.clock.val();
                self.w_reg[i].d.next = self.w_recode[i].operand.val();
                self.encode[i].single.next = self.psum_in[i].val();
                self.psum_reg[i].clock.next = self.clock.val();
                self.psum_reg[i].d.next = self.encode[i].psum.val();
                self.decode[i].psum.next = self.pe[n * n - n + i].psum_out.val();
                self.psum_out[i].next = self.decode[i].single.val();
                self.pe[i * n].act.next = self.act_reg[i].q.val();
                self.pe[i * n].tag.next = self.tag_reg[i].q.val();
                self.pe[i].psum.next = self.psum_reg[i].q.val();
                for j in 0..self._n {
                    self.pe[i * n + j].clock.next = self.clock.val();
                    self.pe[i * n + j].w_we.next = self.we_reg[i].q.val();
                    self.pe[i * n + j].w_slot.next = self.slot_reg.q.val();
                    self.pe[i * n + j].w_data.next = self.w_reg[j].q.val();
                }
                for j in 1..self._n {
                    self.pe[i * n + j].act.next = self.pe[i * n + j - 1].act_out.val();
                    self.pe[i * n + j].tag.next = self.pe[i * n + j - 1].tag_out.val();
                    self.pe[j * n + i].psum.next = self.pe[j * n + i - n].psum_out.val();
                }
            }
        }
    }
}
