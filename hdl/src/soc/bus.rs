//! The soft core's two ports, answered: firmware RAM, registers, rings.
//!
//! ```text
//!  cycle    t              t+1
//!  request  d_request      (still there)
//!  slave    sel, we, addr  rdata
//!  core                    d_ack
//! ```
//!
//! Every slave answers in the cycle after its selection, so one rule serves all: acknowledge one cycle after an unacknowledged
//! request.
//!
//! Instructions come a line of the cache at a time, in a burst (Wishbone B4, registered feedback, incrementing). There the RAM
//! reads ahead: while it acknowledges one word it is asked for the next, so that a burst takes a cycle a word.

use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Address decoder and acknowledge logic; combinational but for the acknowledges and the choice of the answer.
#[derive(LogicBlock, Default)]
pub struct Bus {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Instruction request.
    pub i_request: Signal<In, Bit>,
    /// The next word is wanted after this one: the burst goes on.
    pub i_burst: Signal<In, Bit>,
    /// Instruction word address.
    pub i_address: Signal<In, Bits<30>>,
    /// What the RAM's instruction port reads.
    pub i_fetch: Signal<Out, Bits<30>>,
    /// Instruction acknowledge.
    pub i_ack: Signal<Out, Bit>,
    /// Data request.
    pub d_request: Signal<In, Bit>,
    /// Data request is a write.
    pub d_write: Signal<In, Bit>,
    /// Data word address.
    pub d_address: Signal<In, Bits<30>>,
    /// Data byte enables.
    pub d_select: Signal<In, Bits<4>>,
    /// Data acknowledge.
    pub d_ack: Signal<Out, Bit>,
    /// Data answer.
    pub d_rdata: Signal<Out, Bits<32>>,
    /// RAM access.
    pub ram: Signal<Out, Bit>,
    /// RAM bytes to write.
    pub ram_write: Signal<Out, Bits<4>>,
    /// RAM answer.
    pub ram_rdata: Signal<In, Bits<32>>,
    /// Register write.
    pub we: Signal<Out, Bit>,
    /// Register byte offset.
    pub addr: Signal<Out, Bits<12>>,
    /// Selects `control` (0x000..0x300).
    pub sel_control: Signal<Out, Bit>,
    /// Selects `mover` (0x300..0x400).
    pub sel_mover: Signal<Out, Bit>,
    /// Selects `link` (0x400..0x500).
    pub sel_link: Signal<Out, Bit>,
    /// Selects `board` (0x500..0x600).
    pub sel_board: Signal<Out, Bit>,
    /// Answer of `control`.
    pub control_rdata: Signal<In, Bits<32>>,
    /// Answer of `mover`.
    pub mover_rdata: Signal<In, Bits<32>>,
    /// Answer of `link`.
    pub link_rdata: Signal<In, Bits<32>>,
    /// Ring byte offset.
    pub ring_at: Signal<Out, Bits<16>>,
    /// Reads the receive ring.
    pub rx_read: Signal<Out, Bit>,
    /// Answer of the receive ring.
    pub rx_rdata: Signal<In, Bits<32>>,
    /// Writes the transmit ring.
    pub tx_write: Signal<Out, Bit>,
    i_ack_reg: DFF<Bit>,
    d_ack_reg: DFF<Bit>,
    /// Which slave answers: 0 RAM, 1 control, 2 mover, 3 link, 4 receive ring, 5 nobody.
    answers: DFF<Bits<3>>,
    start: Signal<Local, Bit>,
    page: Signal<Local, Bits<2>>,
    block: Signal<Local, Bits<4>>,
}

impl Logic for Bus {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module bus");
        dff_setup!(self, clock, i_ack_reg, d_ack_reg, answers);
        self.i_ack_reg.d.next = self.i_request.val() & (!self.i_ack_reg.q.val() | self.i_burst.val());
        self.i_fetch.next = self.i_address.val();
        if self.i_ack_reg.q.val() {
            self.i_fetch.next = self.i_address.val() + 1;
        }
        self.i_ack.next = self.i_ack_reg.q.val();
        self.start.next = self.d_request.val() & !self.d_ack_reg.q.val();
        self.d_ack_reg.d.next = self.start.val();
        self.d_ack.next = self.d_ack_reg.q.val();
        // word address: bit 29 is address bit 31
        self.page.next = self.d_address.val().get_bits::<2>(14);
        self.block.next = self.d_address.val().get_bits::<4>(6);
        self.addr.next = bit_cast::<12, 10>(self.d_address.val().get_bits::<10>(0)) << 2;
        self.ring_at.next = bit_cast::<16, 14>(self.d_address.val().get_bits::<14>(0)) << 2;
        self.we.next = self.d_write.val();
        self.ram.next = false;
        self.ram_write.next = bits::<4>(0);
        self.sel_control.next = false;
        self.sel_mover.next = false;
        self.sel_link.next = false;
        self.sel_board.next = false;
        self.rx_read.next = false;
        self.tx_write.next = false;
        if self.start.val() {
            self.answers.d.next = bits::<3>(5);
            if !self.d_address.val().get_bit(29) {
                self.ram.next = true;
                if self.d_write.val() {
                    self.ram_write.next = self.d_select.val();
                }
                self.answers.d.next = bits::<3>(0);
            } else if self.page.val() == 0 {
                if self.block.val() < 3 {
                    self.sel_control.next = true;
                    self.answers.d.next = bits::<3>(1);
                } else if self.block.val() == 3 {
                    self.sel_mover.next = true;
                    self.answers.d.next = bits::<3>(2);
                } else if self.block.val() == 4 {
                    self.sel_link.next = true;
                    self.answers.d.next = bits::<3>(3);
                } else if self.block.val() == 5 {
                    self.sel_board.next = true;
                }
            } else if (self.page.val() == 1) & !self.d_write.val() {
                self.rx_read.next = true;
                self.answers.d.next = bits::<3>(4);
            } else if (self.page.val() == 2) & self.d_write.val() {
                self.tx_write.next = true;
            }
        }
        self.d_rdata.next = bits::<32>(0);
        if self.answers.q.val() == 0 {
            self.d_rdata.next = self.ram_rdata.val();
        } else if self.answers.q.val() == 1 {
            self.d_rdata.next = self.control_rdata.val();
        } else if self.answers.q.val() == 2 {
            self.d_rdata.next = self.mover_rdata.val();
        } else if self.answers.q.val() == 3 {
            self.d_rdata.next = self.link_rdata.val();
        } else if self.answers.q.val() == 4 {
            self.d_rdata.next = self.rx_rdata.val();
        }
    }
}
