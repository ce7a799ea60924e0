//! A byte times a power of two, as FP16.

use rust_hdl_core::prelude::*;

/// `half = FP16(raw · 2^scale)`: exact, and never subnormal, for a scale in −14..=7. Combinational.
#[derive(LogicBlock, Default)]
pub struct ToHalf {
    /// The byte, unsigned.
    pub raw: Signal<In, Bits<8>>,
    /// The exponent, signed.
    pub scale: Signal<In, Bits<8>>,
    /// The FP16 number.
    pub half: Signal<Out, Bits<16>>,
    by_four: Signal<Local, Bits<8>>,
    by_two: Signal<Local, Bits<8>>,
    by_one: Signal<Local, Bits<8>>,
    top: Signal<Local, Bits<5>>,
    top_two: Signal<Local, Bits<5>>,
    top_one: Signal<Local, Bits<5>>,
    exponent: Signal<Local, Bits<5>>,
}

impl Logic for ToHalf {
    #[hdl_gen]
    fn update(&mut self) {
        // Shift the leading one to bit 7; `top` is the biased exponent (15) plus the place where it stood.
        self.by_four.next = self.raw.val();
        self.top.next = bits::<5>(22);
        if self.raw.val().get_bits::<4>(4) == 0 {
            self.by_four.next = self.raw.val() << 4;
            self.top.next = bits::<5>(18);
        }
        self.by_two.next = self.by_four.val();
        self.top_two.next = self.top.val();
        if self.by_four.val().get_bits::<2>(6) == 0 {
            self.by_two.next = self.by_four.val() << 2;
            self.top_two.next = self.top.val() - 2;
        }
        self.by_one.next = self.by_two.val();
        self.top_one.next = self.top_two.val();
        if !self.by_two.val().get_bit(7) {
            self.by_one.next = self.by_two.val() << 1;
            self.top_one.next = self.top_two.val() - 1;
        }
        self.exponent.next = self.top_one.val() + self.scale.val().get_bits::<5>(0);
        self.half.next = bits::<16>(0);
        if self.raw.val() != 0 {
            self.half.next = (bit_cast::<16, 5>(self.exponent.val()) << 10)
                | (bit_cast::<16, 7>(self.by_one.val().get_bits::<7>(0)) << 3);
        }
    }
}
