//! One processing element.
//!
//! ```text
//!  act ──┬────────────[a]──────────────────> act_out
//!        │             │
//!  tag ──┼─[t]──────── │ ──────────────────> tag_out
//!        └> store ─[w]─× ─[m]─ normalise ─[y]─┐
//!                                             + ─[L]─> psum_out
//!  psum ──────────────────────────────────────┘
//! ```

use super::WeightStore;
use crate::comment;
use crate::float::{Product, PsumAdd};
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Multiplies activation and weight, and adds the product to the passing sum.
#[derive(LogicBlock)]
pub struct Pe {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Activation, operand form.
    pub act: Signal<In, Bits<20>>,
    /// Which weight it meets.
    pub tag: Signal<In, Bits<2>>,
    /// `act`, one cycle later.
    pub act_out: Signal<Out, Bits<20>>,
    /// `tag`, one cycle later.
    pub tag_out: Signal<Out, Bits<2>>,
    /// Write a weight.
    pub w_we: Signal<In, Bit>,
    /// Its slot.
    pub w_slot: Signal<In, Bits<2>>,
    /// The weight, operand form.
    pub w_data: Signal<In, Bits<20>>,
    /// Partial sum from above; meets the product of the activation of [`super::P_IN`] cycles before.
    pub psum: Signal<In, Bits<32>>,
    /// Partial sum for the PE below, L cycles later.
    pub psum_out: Signal<Out, Bits<32>>,
    store: WeightStore,
    product: Product,
    add: PsumAdd,
    tag_reg: DFF<Bits<2>>,
}

impl Pe {
    /// A processing element whose adder takes `l` cycles.
    pub fn new(l: usize) -> Pe {
        Pe {
            clock: Default::default(),
            act: Default::default(),
            tag: Default::default(),
            act_out: Default::default(),
            tag_out: Default::default(),
            w_we: Default::default(),
            w_slot: Default::default(),
            w_data: Default::default(),
            psum: Default::default(),
            psum_out: Default::default(),
            store: Default::default(),
            product: Default::default(),
            add: PsumAdd::new(l),
            tag_reg: Default::default(),
        }
    }
}

impl Logic for Pe {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module pe");
        dff_setup!(self, clock, tag_reg);
        clock!(self, clock, store, product, add);
        self.store.write.next = self.w_we.val();
        self.store.slot.next = self.w_slot.val();
        self.store.data.next = self.w_data.val();
        self.store.tag.next = self.tag.val();
        self.tag_reg.d.next = self.tag.val();
        self.tag_out.next = self.tag_reg.q.val();
        self.product.a.next = self.act.val();
        self.product.b.next = self.store.weight.val();
        self.act_out.next = self.product.a_out.val();
        self.add.x.next = self.psum.val();
        self.add.y.next = self.product.p.val();
        self.psum_out.next = self.add.z.val();
    }
}
