//! What a board's LEDs say.

use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Three lights: *alive* blinks slowly (fast once firmware has given up), *link* is on while bytes pass, *overflow* while products
/// or vectors are not finite. Both stay on for some 2^21 cycles after the last event, so that an eye sees it.
#[derive(LogicBlock, Default)]
pub struct Lights {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A byte passes.
    pub byte_event: Signal<In, Bit>,
    /// A result is not finite.
    pub overflow_event: Signal<In, Bit>,
    /// Firmware has given up.
    pub panic: Signal<In, Bit>,
    /// Blinks.
    pub alive: Signal<Out, Bit>,
    /// Bytes pass.
    pub link: Signal<Out, Bit>,
    /// Results are not finite.
    pub overflow: Signal<Out, Bit>,
    count: DFF<Bits<26>>,
    link_left: DFF<Bits<22>>,
    overflow_left: DFF<Bits<22>>,
}

impl Logic for Lights {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module lights");
        dff_setup!(self, clock, count, link_left, overflow_left);
        self.count.d.next = self.count.q.val() + 1;
        if self.byte_event.val() {
            self.link_left.d.next = bits::<22>(0x3fffff);
        } else if self.link_left.q.val().get_bit(21) {
            self.link_left.d.next = self.link_left.q.val() - 1;
        }
        if self.overflow_event.val() {
            self.overflow_left.d.next = bits::<22>(0x3fffff);
        } else if self.overflow_left.q.val().get_bit(21) {
            self.overflow_left.d.next = self.overflow_left.q.val() - 1;
        }
        self.alive.next = self.count.q.val().get_bit(25);
        if self.panic.val() {
            self.alive.next = self.count.q.val().get_bit(22);
        }
        self.link.next = self.link_left.q.val().get_bit(21);
        self.overflow.next = self.overflow_left.q.val().get_bit(21);
    }
}
