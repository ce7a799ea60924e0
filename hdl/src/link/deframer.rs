//! Bytes to frames: COBS decoder, CRC check, and a writer that fills the receive ring word by word.
//!
//! ```text
//!  byte ─> code or data? ─> decoded byte ─┬─> CRC
//!                                         └─> word of four ─> ring[head + 4 + …]
//!  0x00 ─> intact, not too long, fits? ─> ring[head] = length, head moves behind the frame; else counted and forgotten
//! ```
//!
//! The words of a frame are written before its fate is known, beyond `head`, where nobody looks: a damaged frame is
//! overwritten by the next one. One byte per cycle, never refused.

use super::Crc32;
use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use systole_isa::frame::{CRC_BYTES, HEADER, MAX_CONTENT};

/// See the module.
#[derive(LogicBlock)]
pub struct Deframer {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A byte is there.
    pub valid: Signal<In, Bit>,
    /// The byte.
    pub data: Signal<In, Bits<8>>,
    /// Ring byte offset of the oldest frame that firmware still holds.
    pub tail: Signal<In, Bits<16>>,
    /// Ring byte offset behind the last good frame.
    pub head: Signal<Out, Bits<16>>,
    /// Frames dropped as damaged or too long, wrapping.
    pub damaged: Signal<Out, Bits<16>>,
    /// Frames dropped for want of room, wrapping.
    pub overflowed: Signal<Out, Bits<16>>,
    /// Ring write: enable.
    pub write: Signal<Out, Bit>,
    /// Ring write: byte offset.
    pub write_at: Signal<Out, Bits<16>>,
    /// Ring write: word.
    pub write_data: Signal<Out, Bits<32>>,
    mask: Constant<Bits<16>>,
    last_word: Constant<Bits<16>>,
    shortest: Constant<Bits<16>>,
    longest: Constant<Bits<16>>,
    residue: Constant<Bits<32>>,
    crc_unit: Crc32,
    // COBS
    started: DFF<Bit>,
    remaining: DFF<Bits<8>>,
    full_block: DFF<Bit>,
    // frame so far
    length: DFF<Bits<16>>,
    crc: DFF<Bits<32>>,
    word: DFF<Bits<32>>,
    no_room: DFF<Bit>,
    head_reg: DFF<Bits<16>>,
    damaged_reg: DFF<Bits<16>>,
    overflowed_reg: DFF<Bits<16>>,
    delimiter: Signal<Local, Bit>,
    is_code: Signal<Local, Bit>,
    emit: Signal<Local, Bit>,
    decoded: Signal<Local, Bits<8>>,
    code_less_1: Signal<Local, Bits<8>>,
    remaining_less_1: Signal<Local, Bits<8>>,
    length_plus_1: Signal<Local, Bits<16>>,
    assembled: Signal<Local, Bits<32>>,
    word_done: Signal<Local, Bit>,
    position: Signal<Local, Bits<16>>,
    data_at: Signal<Local, Bits<16>>,
    used: Signal<Local, Bits<16>>,
    used_masked: Signal<Local, Bits<16>>,
    need: Signal<Local, Bits<16>>,
    sound: Signal<Local, Bit>,
    content: Signal<Local, Bits<16>>,
    padded: Signal<Local, Bits<16>>,
    next_head: Signal<Local, Bits<16>>,
    damaged_plus_1: Signal<Local, Bits<16>>,
    overflowed_plus_1: Signal<Local, Bits<16>>,
}

impl Deframer {
    /// A deframer for a ring of `ring_bytes`, a power of two.
    pub fn new(ring_bytes: u32) -> Self {
        let c = |v: u32| Constant::new((v as u64).to_bits());
        Deframer {
            clock: Default::default(),
            valid: Default::default(),
            data: Default::default(),
            tail: Default::default(),
            head: Default::default(),
            damaged: Default::default(),
            overflowed: Default::default(),
            write: Default::default(),
            write_at: Default::default(),
            write_data: Default::default(),
            mask: c(ring_bytes - 1),
            // length word, data and the word that tells full from empty
            last_word: c(ring_bytes - 12),
            shortest: c((HEADER + CRC_BYTES) as u32),
            longest: c((MAX_CONTENT + CRC_BYTES) as u32),
            residue: Constant::new((Crc32::RESIDUE as u64).to_bits()),
            crc_unit: Default::default(),
            started: Default::default(),
            remaining: Default::default(),
            full_block: Default::default(),
            length: Default::default(),
            crc: Default::default(),
            word: Default::default(),
            no_room: Default::default(),
            head_reg: Default::default(),
            damaged_reg: Default::default(),
            overflowed_reg: Default::default(),
            delimiter: Default::default(),
            is_code: Default::default(),
            emit: Default::default(),
            decoded: Default::default(),
            code_less_1: Default::default(),
            remaining_less_1: Default::default(),
            length_plus_1: Default::default(),
            assembled: Default::default(),
            word_done: Default::default(),
            position: Default::default(),
            data_at: Default::default(),
            used: Default::default(),
            used_masked: Default::default(),
            need: Default::default(),
            sound: Default::default(),
            content: Default::default(),
            padded: Default::default(),
            next_head: Default::default(),
            damaged_plus_1: Default::default(),
            overflowed_plus_1: Default::default(),
        }
    }
}

impl Logic for Deframer {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module deframer");
        dff_setup!(
            self,
            clock,
            started,
            remaining,
            full_block,
            length,
            crc,
            word,
            no_room,
            head_reg,
            damaged_reg,
            overflowed_reg
        );
        // What this byte is. A code byte stands for a zero between blocks, unless it is the first or follows a full block.
        self.delimiter.next = self.valid.val() & (self.data.val() == 0);
        self.is_code.next = self.valid.val() & (self.data.val() != 0) & (self.remaining.q.val() == 0);
        self.emit.next = self.valid.val() & (self.data.val() != 0) & (self.remaining.q.val() != 0);
        self.decoded.next = self.data.val();
        if self.is_code.val() {
            self.emit.next = self.started.q.val() & !self.full_block.q.val();
            self.decoded.next = bits::<8>(0);
        }
        self.code_less_1.next = self.data.val() - 1;
        self.remaining_less_1.next = self.remaining.q.val() - 1;
        if self.is_code.val() {
            self.started.d.next = true;
            self.remaining.d.next = self.code_less_1.val();
            self.full_block.d.next = self.data.val() == 255;
        } else if self.emit.val() {
            self.remaining.d.next = self.remaining_less_1.val();
        }
        // The decoded byte: CRC, length, its place in a word.
        self.crc_unit.state.next = self.crc.q.val();
        self.crc_unit.octet.next = self.decoded.val();
        self.length_plus_1.next = self.length.q.val() + 1;
        self.assembled.next = (self.word.q.val() >> 8) | (bit_cast::<32, 8>(self.decoded.val()) << 24);
        self.word_done.next = self.emit.val() & (self.length.q.val().get_bits::<2>(0) == 3);
        // The word goes to head + 4 + its offset in the frame, if that leaves the ring's last word free.
        self.position.next = self.length.q.val() & 0xfffc;
        self.data_at.next = self.head_reg.q.val() + self.position.val() + 4;
        self.used.next = self.head_reg.q.val() - self.tail.val();
        self.used_masked.next = self.used.val() & self.mask.val();
        self.need.next = self.used_masked.val() + self.position.val();
        self.write.next = false;
        self.write_at.next = self.data_at.val() & self.mask.val();
        self.write_data.next = self.assembled.val();
        if self.emit.val() {
            self.crc.d.next = self.crc_unit.after.val();
            self.word.d.next = self.assembled.val();
            // saturates: a stray stream must not wrap around to a plausible length
            if !self.length.q.val().get_bit(15) {
                self.length.d.next = self.length_plus_1.val();
            }
        }
        if self.word_done.val() {
            if self.need.val() > self.last_word.val() {
                self.no_room.d.next = true;
            } else if !self.no_room.q.val() & (self.length.q.val() < self.longest.val()) {
                self.write.next = true;
            }
        }
        // The end of a frame.
        self.sound.next = (self.remaining.q.val() == 0)
            & (self.crc.q.val() == self.residue.val())
            & (self.length.q.val() >= self.shortest.val())
            & (self.length.q.val() <= self.longest.val());
        self.content.next = self.length.q.val() - 4;
        self.padded.next = self.content.val() + 3;
        self.next_head.next = self.head_reg.q.val() + (self.padded.val() & 0xfffc) + 4;
        self.damaged_plus_1.next = self.damaged_reg.q.val() + 1;
        self.overflowed_plus_1.next = self.overflowed_reg.q.val() + 1;
        if self.delimiter.val() {
            self.started.d.next = false;
            self.remaining.d.next = bits::<8>(0);
            self.full_block.d.next = false;
            self.length.d.next = bits::<16>(0);
            self.crc.d.next = bits::<32>(0);
            self.no_room.d.next = false;
            if self.started.q.val() {
                if !self.sound.val() {
                    self.damaged_reg.d.next = self.damaged_plus_1.val();
                } else if self.no_room.q.val() {
                    self.overflowed_reg.d.next = self.overflowed_plus_1.val();
                } else {
                    self.write.next = true;
                    self.write_at.next = self.head_reg.q.val();
                    self.write_data.next = bit_cast::<32, 16>(self.content.val());
                    self.head_reg.d.next = self.next_head.val() & self.mask.val();
                }
            }
        }
        self.head.next = self.head_reg.q.val();
        self.damaged.next = self.damaged_reg.q.val();
        self.overflowed.next = self.overflowed_reg.q.val();
    }
}
