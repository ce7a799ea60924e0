//! Frames to bytes: CRC and COBS encoder over the transmit ring.
//!
//! ```text
//!  IDLE ─ head ≠ tail ─> LENGTH ─> FILL ─ zero, 254 bytes or end ─> CODE ─> DATA ─┐
//!    ^                               ^──────────── next block ────────────────────┤
//!    └───────────────────── DELIMITER <──────────── last block ───────────────────┘
//! ```
//!
//! COBS needs the length of a run before the run, so each block of up to 254 bytes is collected first. Two cycles per
//! byte: ahead of any serial line by far.

use super::Crc32;
use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use systole_isa::frame::CRC_BYTES;

/// What the framer is doing.
#[derive(Copy, Clone, PartialEq, Debug, LogicState)]
pub enum FramerState {
    /// Nothing to send.
    Idle,
    /// The length word of a frame arrives from the ring.
    Length,
    /// Collects a block.
    Fill,
    /// Sends the block's code byte.
    Code,
    /// Sends the block.
    Data,
    /// Sends the zero that ends a frame.
    Delimiter,
}

/// See the module.
#[derive(LogicBlock)]
pub struct Framer {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Ring byte offset behind the last frame to send.
    pub head: Signal<In, Bits<16>>,
    /// Ring byte offset of the first frame not wholly sent.
    pub tail: Signal<Out, Bits<16>>,
    /// Ring read: byte offset; the word is there in the next cycle.
    pub read_at: Signal<Out, Bits<16>>,
    /// Ring read: word.
    pub read_data: Signal<In, Bits<32>>,
    /// A byte is there.
    pub valid: Signal<Out, Bit>,
    /// The byte.
    pub data: Signal<Out, Bits<8>>,
    /// The byte is taken.
    pub ready: Signal<In, Bit>,
    mask: Constant<Bits<16>>,
    crc_bytes: Constant<Bits<16>>,
    crc_unit: Crc32,
    block: RAM<Bits<8>, 8>,
    state: DFF<FramerState>,
    tail_reg: DFF<Bits<16>>,
    /// Ring offset of the byte that `read_data` holds.
    at: DFF<Bits<16>>,
    /// Content bytes not read yet.
    left: DFF<Bits<16>>,
    /// CRC bytes not used yet.
    crc_left: DFF<Bits<3>>,
    crc: DFF<Bits<32>>,
    /// Bytes in the block, then the byte being sent.
    count: DFF<Bits<8>>,
    index: DFF<Bits<8>>,
    last_block: DFF<Bit>,
    source: Signal<Local, Bits<8>>,
    shifted: Signal<Local, Bits<32>>,
    ended: Signal<Local, Bit>,
    take: Signal<Local, Bit>,
    at_plus_1: Signal<Local, Bits<16>>,
    left_less_1: Signal<Local, Bits<16>>,
    crc_left_less_1: Signal<Local, Bits<3>>,
    count_plus_1: Signal<Local, Bits<8>>,
    index_plus_1: Signal<Local, Bits<8>>,
    at_rounded: Signal<Local, Bits<16>>,
}

impl Framer {
    /// A framer for a ring of `ring_bytes`, a power of two.
    pub fn new(ring_bytes: u32) -> Self {
        Framer {
            clock: Default::default(),
            head: Default::default(),
            tail: Default::default(),
            read_at: Default::default(),
            read_data: Default::default(),
            valid: Default::default(),
            data: Default::default(),
            ready: Default::default(),
            mask: Constant::new((ring_bytes as u64 - 1).to_bits()),
            crc_bytes: Constant::new((CRC_BYTES as u64).to_bits()),
            crc_unit: Default::default(),
            block: Default::default(),
            state: Default::default(),
            tail_reg: Default::default(),
            at: Default::default(),
            left: Default::default(),
            crc_left: Default::default(),
            crc: Default::default(),
            count: Default::default(),
            index: Default::default(),
            last_block: Default::default(),
            source: Default::default(),
            shifted: Default::default(),
            ended: Default::default(),
            take: Default::default(),
            at_plus_1: Default::default(),
            left_less_1: Default::default(),
            crc_left_less_1: Default::default(),
            count_plus_1: Default::default(),
            index_plus_1: Default::default(),
            at_rounded: Default::default(),
        }
    }
}

impl Logic for Framer {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module framer");
        dff_setup!(self, clock, state, tail_reg, at, left, crc_left, crc, count, index, last_block);
        self.block.read_clock.next = self.clock.val();
        self.block.write_clock.next = self.clock.val();
        // The byte at hand: content, then the CRC from its low byte up.
        self.shifted.next = self.read_data.val() >> (bit_cast::<32, 2>(self.at.q.val().get_bits::<2>(0)) << 3);
        self.source.next = self.shifted.val().get_bits::<8>(0);
        if self.left.q.val() == 0 {
            self.source.next = self.crc.q.val().get_bits::<8>(0);
        }
        self.ended.next = (self.left.q.val() == 0) & (self.crc_left.q.val() == 0);
        self.crc_unit.state.next = self.crc.q.val();
        self.crc_unit.octet.next = self.source.val();
        self.at_plus_1.next = self.at.q.val() + 1;
        self.left_less_1.next = self.left.q.val() - 1;
        self.crc_left_less_1.next = self.crc_left.q.val() - 1;
        self.count_plus_1.next = self.count.q.val() + 1;
        self.index_plus_1.next = self.index.q.val() + 1;
        self.at_rounded.next = (self.at.q.val() + 3) & 0xfffc;
        self.take.next = false;
        self.valid.next = false;
        self.data.next = bits::<8>(0);
        match self.state.q.val() {
            FramerState::Idle => {
                self.at.d.next = self.tail_reg.q.val();
                if self.head.val() != self.tail_reg.q.val() {
                    self.state.d.next = FramerState::Length;
                }
            }
            FramerState::Length => {
                // `at` was presented in the cycle before, so this is the length word
                self.left.d.next = self.read_data.val().get_bits::<16>(0);
                self.crc_left.d.next = self.crc_bytes.val().get_bits::<3>(0);
                self.crc.d.next = bits::<32>(0);
                self.at.d.next = (self.tail_reg.q.val() + 4) & self.mask.val();
                self.count.d.next = bits::<8>(0);
                self.last_block.d.next = false;
                self.state.d.next = FramerState::Fill;
            }
            FramerState::Fill => {
                if self.ended.val() {
                    self.last_block.d.next = true;
                    self.state.d.next = FramerState::Code;
                } else if self.count.q.val() == 254 {
                    self.state.d.next = FramerState::Code;
                } else {
                    self.take.next = true;
                    if self.source.val() == 0 {
                        self.state.d.next = FramerState::Code;
                    } else {
                        self.count.d.next = self.count_plus_1.val();
                    }
                }
            }
            FramerState::Code => {
                self.valid.next = true;
                self.data.next = self.count_plus_1.val();
                self.index.d.next = bits::<8>(0);
                if self.ready.val() {
                    self.state.d.next = FramerState::Data;
                }
            }
            FramerState::Data => {
                if self.index.q.val() == self.count.q.val() {
                    self.count.d.next = bits::<8>(0);
                    self.state.d.next = FramerState::Fill;
                    if self.last_block.q.val() {
                        self.state.d.next = FramerState::Delimiter;
                    }
                } else {
                    self.valid.next = true;
                    self.data.next = self.block.read_data.val();
                    if self.ready.val() {
                        self.index.d.next = self.index_plus_1.val();
                    }
                }
            }
            FramerState::Delimiter => {
                self.valid.next = true;
                if self.ready.val() {
                    self.tail_reg.d.next = self.at_rounded.val() & self.mask.val();
                    self.at.d.next = self.at_rounded.val() & self.mask.val();
                    self.state.d.next = FramerState::Idle;
                }
            }
        }
        if self.take.val() {
            if self.left.q.val() != 0 {
                self.left.d.next = self.left_less_1.val();
                self.at.d.next = self.at_plus_1.val() & self.mask.val();
                self.crc.d.next = self.crc_unit.after.val();
            } else {
                self.crc_left.d.next = self.crc_left_less_1.val();
                self.crc.d.next = self.crc.q.val() >> 8;
            }
        }
        self.block.write_enable.next = self.take.val() & (self.source.val() != 0);
        self.block.write_address.next = self.count.q.val();
        self.block.write_data.next = self.source.val();
        // Both memories answer in the next cycle: they are asked with what the registers will hold then.
        self.block.read_address.next = self.index.d.val();
        self.read_at.next = self.at.d.val();
        self.tail.next = self.tail_reg.q.val();
    }
}
