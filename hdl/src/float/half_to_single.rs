//! FP16 to FP32, exact, scaled by a power of two on the way.

use super::Recode;
use crate::comment;
use rust_hdl_core::prelude::*;

/// `single = half · 2^offset`; combinational. The scaled number must lie in FP32's normal range; zero, infinity and NaN
/// stay what they are.
#[derive(LogicBlock, Default)]
pub struct HalfToSingle {
    /// FP16.
    pub half: Signal<In, Bits<16>>,
    /// Signed exponent offset, two's complement.
    pub offset: Signal<In, Bits<8>>,
    /// FP32.
    pub single: Signal<Out, Bits<32>>,
    recode: Recode,
    exp: Signal<Local, Bits<8>>,
    magnitude: Signal<Local, Bits<32>>,
}

impl Logic for HalfToSingle {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module half_to_single");
        self.recode.half.next = self.half.val();
        // Eight bits wrap as the offset's sign needs.
        self.exp.next = bit_cast::<8, 6>(self.recode.operand.val().get_bits::<6>(11)) + 102 + self.offset.val();
        if self.recode.operand.val().get_bit(19) {
            self.magnitude.next = bits::<32>(0x7fc00000);
        } else if self.recode.operand.val().get_bit(18) {
            self.magnitude.next = bits::<32>(0x7f800000);
        } else if self.recode.operand.val().get_bit(10) {
            self.magnitude.next = (bit_cast::<32, 8>(self.exp.val()) << 23)
                | (bit_cast::<32, 10>(self.recode.operand.val().get_bits::<10>(0)) << 13);
        } else {
            self.magnitude.next = bits::<32>(0);
        }
        self.single.next = self.magnitude.val();
        if self.recode.operand.val().get_bit(17) & !self.recode.operand.val().get_bit(19) {
            self.single.next = self.magnitude.val() | 0x80000000u64;
        }
    }
}
