//! CRC-32 (IEEE 802.3, reflected), one byte per evaluation.

use crate::comment;
use rust_hdl_core::prelude::*;

/// `after = update(state, byte)`, combinational, on the inverted state: it starts at zero, and it is the CRC of the bytes so far.
/// Once a frame and its own CRC (little endian) have gone through, it is [`Crc32::RESIDUE`].
#[derive(LogicBlock)]
pub struct Crc32 {
    /// State before the byte.
    pub state: Signal<In, Bits<32>>,
    /// The byte.
    pub octet: Signal<In, Bits<8>>,
    /// State after the byte.
    pub after: Signal<Out, Bits<32>>,
    step: Vec<Signal<Local, Bits<32>>>,
}

impl Crc32 {
    /// What an intact frame leaves behind.
    pub const RESIDUE: u32 = 0x2144_df1c;
}

impl Default for Crc32 {
    fn default() -> Self {
        Crc32 {
            state: Default::default(),
            octet: Default::default(),
            after: Default::default(),
            step: (0..9).map(|_| Default::default()).collect(),
        }
    }
}

impl Logic for Crc32 {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module crc32");
        self.step[0].next = !self.state.val() ^ bit_cast::<32, 8>(self.octet.val());
        for i in 0..8 {
            self.step[i + 1].next = self.step[i].val() >> 1;
            if self.step[i].val().get_bit(0) {
                self.step[i + 1].next = (self.step[i].val() >> 1) ^ 0xedb88320u64;
            }
        }
        self.after.next = !self.step[8].val();
    }
}
