//! Tops for measuring units alone on an FPGA, out of context: every input and output passes a register, so that the clock
//! which place and route reports is that of the unit.

use crate::array::Pe;
use crate::comment;
use crate::emit::emit_verilog;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// A processing element between registers.
#[derive(LogicBlock)]
struct PeTop {
    clock: Signal<In, Clock>,
    act: Signal<In, Bits<20>>,
    tag: Signal<In, Bits<2>>,
    w_we: Signal<In, Bit>,
    w_slot: Signal<In, Bits<2>>,
    w_data: Signal<In, Bits<20>>,
    psum: Signal<In, Bits<32>>,
    act_out: Signal<Out, Bits<20>>,
    tag_out: Signal<Out, Bits<2>>,
    psum_out: Signal<Out, Bits<32>>,
    r_act: DFF<Bits<20>>,
    r_tag: DFF<Bits<2>>,
    r_we: DFF<Bit>,
    r_slot: DFF<Bits<2>>,
    r_data: DFF<Bits<20>>,
    r_psum: DFF<Bits<32>>,
    o_act: DFF<Bits<20>>,
    o_tag: DFF<Bits<2>>,
    o_psum: DFF<Bits<32>>,
    pe: Pe,
}

impl Logic for PeTop {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module pe_top");
        dff_setup!(self, clock, r_act, r_tag, r_we, r_slot, r_data, r_psum, o_act, o_tag, o_psum);
        clock!(self, clock, pe);
        self.r_act.d.next = self.act.val();
        self.r_tag.d.next = self.tag.val();
        self.r_we.d.next = self.w_we.val();
        self.r_slot.d.next = self.w_slot.val();
        self.r_data.d.next = self.w_data.val();
        self.r_psum.d.next = self.psum.val();
        self.pe.act.next = self.r_act.q.val();
        self.pe.tag.next = self.r_tag.q.val();
        self.pe.w_we.next = self.r_we.q.val();
        self.pe.w_slot.next = self.r_slot.q.val();
        self.pe.w_data.next = self.r_data.q.val();
        self.pe.psum.next = self.r_psum.q.val();
        self.o_act.d.next = self.pe.act_out.val();
        self.o_tag.d.next = self.pe.tag_out.val();
        self.o_psum.d.next = self.pe.psum_out.val();
        self.act_out.next = self.o_act.q.val();
        self.tag_out.next = self.o_tag.q.val();
        self.psum_out.next = self.o_psum.q.val();
    }
}

/// The name of every top that this module emits.
pub const TOP: &str = "bench_top";

fn print(mut block: impl Block) -> String {
    block.connect_all();
    emit_verilog(&block, TOP)
}

/// One processing element whose adder takes `l` cycles.
pub fn pe(l: usize) -> String {
    print(PeTop {
        clock: Default::default(),
        act: Default::default(),
        tag: Default::default(),
        w_we: Default::default(),
        w_slot: Default::default(),
        w_data: Default::default(),
        psum: Default::default(),
        act_out: Default::default(),
        tag_out: Default::default(),
        psum_out: Default::default(),
        r_act: Default::default(),
        r_tag: Default::default(),
        r_we: Default::default(),
        r_slot: Default::default(),
        r_data: Default::default(),
        r_psum: Default::default(),
        o_act: Default::default(),
        o_tag: Default::default(),
        o_psum: Default::default(),
        pe: Pe::new(l),
    })
}
