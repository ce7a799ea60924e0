//! A serial line into bytes.

use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Where in a byte the receiver is.
#[derive(Copy, Clone, PartialEq, Debug, LogicState)]
pub enum RxState {
    /// The line rests.
    Idle,
    /// In a start bit, up to its middle.
    Start,
    /// Between the middles of two data bits.
    Data,
    /// Between the middles of the last data bit and of the stop bit.
    Stop,
    /// After a byte without a stop bit: until the line rests.
    Recover,
}

/// Receives 8N1. A byte starts with a falling edge and a line that is still low half a bit later; each bit is the majority
/// of three samples, a cycle apart, about its middle. The next byte may begin half a bit early, so rates that differ by 2 %
/// do no harm. A byte without a stop bit is dropped and counted.
#[derive(LogicBlock, Default)]
pub struct UartRx {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Clock cycles per bit in 1/65536, at least 8 cycles.
    pub divisor: Signal<In, Bits<32>>,
    /// The line, not synchronous to the clock.
    pub rxd: Signal<In, Bit>,
    /// A byte is there.
    pub valid: Signal<Out, Bit>,
    /// The byte.
    pub data: Signal<Out, Bits<8>>,
    /// It is taken.
    pub ready: Signal<In, Bit>,
    /// Bytes without a stop bit so far, wrapping.
    pub framing_errors: Signal<Out, Bits<16>>,
    /// Bytes that found the one before still there so far, wrapping.
    pub overruns: Signal<Out, Bits<8>>,
    /// The line's last cycles, inverted, so that it rests when the clock starts: two for metastability, three to vote.
    history: DFF<Bits<5>>,
    state: DFF<RxState>,
    /// Cycles to the next sample, less one.
    count: DFF<Bits<16>>,
    fraction: DFF<Bits<16>>,
    bits_left: DFF<Bits<3>>,
    shift: DFF<Bits<8>>,
    byte_reg: DFF<Bits<8>>,
    full: DFF<Bit>,
    framing_reg: DFF<Bits<16>>,
    overrun_reg: DFF<Bits<8>>,
    low: Signal<Local, Bit>,
    fraction_sum: Signal<Local, Bits<17>>,
    whole: Signal<Local, Bits<16>>,
    next_count: Signal<Local, Bits<16>>,
    half: Signal<Local, Bits<32>>,
    half_count: Signal<Local, Bits<16>>,
    now: Signal<Local, Bit>,
    good: Signal<Local, Bit>,
    count_less_1: Signal<Local, Bits<16>>,
    bits_left_less_1: Signal<Local, Bits<3>>,
    framing_plus_1: Signal<Local, Bits<16>>,
    overrun_plus_1: Signal<Local, Bits<8>>,
}

impl Logic for UartRx {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module uart_rx");
        dff_setup!(
            self,
            clock,
            history,
            state,
            count,
            fraction,
            bits_left,
            shift,
            byte_reg,
            full,
            framing_reg,
            overrun_reg
        );
        self.history.d.next = self.history.q.val() << 1;
        if !self.rxd.val() {
            self.history.d.next = (self.history.q.val() << 1) | bits::<5>(1);
        }
        self.low.next = (self.history.q.val().get_bit(2) & self.history.q.val().get_bit(3))
            | (self.history.q.val().get_bit(3) & self.history.q.val().get_bit(4))
            | (self.history.q.val().get_bit(2) & self.history.q.val().get_bit(4));
        // From one sample to the next: `whole` cycles, or one more where the fractions add up to one.
        self.fraction_sum.next =
            bit_cast::<17, 16>(self.fraction.q.val()) + bit_cast::<17, 16>(self.divisor.val().get_bits::<16>(0));
        self.whole.next = self.divisor.val().get_bits::<16>(16);
        self.next_count.next = self.whole.val() - 1;
        if self.fraction_sum.val().get_bit(16) {
            self.next_count.next = self.whole.val();
        }
        self.half.next = self.divisor.val() >> 1;
        // the edge was up to a cycle ago: on average the first sample is in the middle
        self.half_count.next = self.half.val().get_bits::<16>(16) - 1;
        self.count_less_1.next = self.count.q.val() - 1;
        self.bits_left_less_1.next = self.bits_left.q.val() - 1;
        self.now.next = self.count.q.val() == 0;
        self.good.next = false;
        self.framing_plus_1.next = self.framing_reg.q.val() + 1;
        self.overrun_plus_1.next = self.overrun_reg.q.val() + 1;
        if !self.now.val() {
            self.count.d.next = self.count_less_1.val();
        }
        match self.state.q.val() {
            RxState::Idle => {
                if self.low.val() {
                    self.count.d.next = self.half_count.val();
                    self.fraction.d.next = self.half.val().get_bits::<16>(0);
                    self.bits_left.d.next = bits::<3>(7);
                    self.state.d.next = RxState::Start;
                }
            }
            RxState::Start => {
                if self.now.val() {
                    // a glitch is no start bit
                    self.state.d.next = RxState::Idle;
                    if self.low.val() {
                        self.state.d.next = RxState::Data;
                    }
                }
            }
            RxState::Data => {
                if self.now.val() {
                    self.shift.d.next = self.shift.q.val() >> 1;
                    if !self.low.val() {
                        self.shift.d.next = (self.shift.q.val() >> 1) | bits::<8>(0x80);
                    }
                    self.bits_left.d.next = self.bits_left_less_1.val();
                    if self.bits_left.q.val() == 0 {
                        self.state.d.next = RxState::Stop;
                    }
                }
            }
            RxState::Stop => {
                if self.now.val() {
                    self.good.next = !self.low.val();
                    self.state.d.next = RxState::Idle;
                    if self.low.val() {
                        self.framing_reg.d.next = self.framing_plus_1.val();
                        self.state.d.next = RxState::Recover;
                    }
                }
            }
            RxState::Recover => {
                if !self.low.val() {
                    self.state.d.next = RxState::Idle;
                }
            }
        }
        if self.now.val() & (self.state.q.val() != RxState::Idle) {
            self.count.d.next = self.next_count.val();
            self.fraction.d.next = self.fraction_sum.val().get_bits::<16>(0);
        }
        if self.ready.val() {
            self.full.d.next = false;
        }
        if self.good.val() {
            if self.full.q.val() & !self.ready.val() {
                self.overrun_reg.d.next = self.overrun_plus_1.val();
            } else {
                self.full.d.next = true;
                self.byte_reg.d.next = self.shift.q.val();
            }
        }
        self.valid.next = self.full.q.val();
        self.data.next = self.byte_reg.q.val();
        self.framing_errors.next = self.framing_reg.q.val();
        self.overruns.next = self.overrun_reg.q.val();
    }
}
