//! Bytes onto a serial line.

use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Sends one byte after the other, 8N1, without a pause between them. The line rests high.
#[derive(LogicBlock, Default)]
pub struct UartTx {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Clock cycles per bit in 1/65536.
    pub divisor: Signal<In, Bits<32>>,
    /// A byte is there.
    pub valid: Signal<In, Bit>,
    /// The byte.
    pub data: Signal<In, Bits<8>>,
    /// It is taken.
    pub ready: Signal<Out, Bit>,
    /// A bit is on the line.
    pub busy: Signal<Out, Bit>,
    /// The line.
    pub txd: Signal<Out, Bit>,
    /// Bits still to send, the one on the line included.
    bits_left: DFF<Bits<4>>,
    /// Those bits, inverted, the lowest on the line: a register starts as zero, the line as one.
    low: DFF<Bits<9>>,
    /// Cycles that the bit on the line has left, less one.
    count: DFF<Bits<16>>,
    fraction: DFF<Bits<16>>,
    fraction_sum: Signal<Local, Bits<17>>,
    whole: Signal<Local, Bits<16>>,
    last_cycle: Signal<Local, Bits<16>>,
    bit_ends: Signal<Local, Bit>,
    free: Signal<Local, Bit>,
    not_data: Signal<Local, Bits<8>>,
    count_less_1: Signal<Local, Bits<16>>,
    bits_left_less_1: Signal<Local, Bits<4>>,
}

impl Logic for UartTx {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module uart_tx");
        dff_setup!(self, clock, bits_left, low, count, fraction);
        // The next bit lasts `whole` cycles, or one more where the fractions add up to one.
        self.fraction_sum.next =
            bit_cast::<17, 16>(self.fraction.q.val()) + bit_cast::<17, 16>(self.divisor.val().get_bits::<16>(0));
        self.whole.next = self.divisor.val().get_bits::<16>(16);
        self.last_cycle.next = self.whole.val() - 1;
        if self.fraction_sum.val().get_bit(16) {
            self.last_cycle.next = self.whole.val();
        }
        self.count_less_1.next = self.count.q.val() - 1;
        self.bits_left_less_1.next = self.bits_left.q.val() - 1;
        self.bit_ends.next = self.count.q.val() == 0;
        self.free.next = (self.bits_left.q.val() == 0) | (self.bit_ends.val() & (self.bits_left.q.val() == 1));
        self.not_data.next = !self.data.val();
        if !self.bit_ends.val() {
            self.count.d.next = self.count_less_1.val();
        }
        if self.free.val() & self.valid.val() {
            // start bit, data from the lowest bit up; the stop bit is what the shifting leaves
            self.bits_left.d.next = bits::<4>(10);
            self.low.d.next = (bit_cast::<9, 8>(self.not_data.val()) << 1) | bits::<9>(1);
            self.count.d.next = self.last_cycle.val();
            self.fraction.d.next = self.fraction_sum.val().get_bits::<16>(0);
        } else if self.bit_ends.val() & (self.bits_left.q.val() != 0) {
            self.bits_left.d.next = self.bits_left_less_1.val();
            self.low.d.next = self.low.q.val() >> 1;
            self.count.d.next = self.last_cycle.val();
            self.fraction.d.next = self.fraction_sum.val().get_bits::<16>(0);
        }
        self.ready.next = self.free.val();
        self.busy.next = self.bits_left.q.val() != 0;
        self.txd.next = !self.low.q.val().get_bit(0);
    }
}
