//! Reset at power-on and by a button.

use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Holds the soft core in reset until the PLL has been locked, and the button released, for 65,536 cycles: long enough for
/// contacts to settle.
#[derive(LogicBlock, Default)]
pub struct Reset {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// The PLL is locked; any clock.
    pub locked: Signal<In, Bit>,
    /// The button is pressed; straight from the pad.
    pub pressed: Signal<In, Bit>,
    /// Hold.
    pub hold: Signal<Out, Bit>,
    first: DFF<Bit>,
    second: DFF<Bit>,
    waited: DFF<Bits<17>>,
}

impl Logic for Reset {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module power_on_reset");
        dff_setup!(self, clock, first, second, waited);
        self.first.d.next = self.locked.val() & !self.pressed.val();
        self.second.d.next = self.first.q.val();
        if !self.second.q.val() {
            self.waited.d.next = bits::<17>(0);
        } else if !self.waited.q.val().get_bit(16) {
            self.waited.d.next = self.waited.q.val() + 1;
        }
        self.hold.next = !self.waited.q.val().get_bit(16);
    }
}
