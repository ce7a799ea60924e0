//! Board registers: LEDs and the word of a firmware that has given up.

use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Registers `0x500..0x600`, write only.
#[derive(LogicBlock, Default)]
pub struct Board {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Register port.
    pub sel: Signal<In, Bit>,
    /// Register write.
    pub we: Signal<In, Bit>,
    /// Register byte offset.
    pub addr: Signal<In, Bits<12>>,
    /// Register write data.
    pub wdata: Signal<In, Bits<32>>,
    /// LEDs.
    pub leds: Signal<Out, Bits<8>>,
    /// What firmware gave up with.
    pub panic: Signal<Out, Bits<32>>,
    /// Firmware has given up.
    pub panic_valid: Signal<Out, Bit>,
    leds_reg: DFF<Bits<8>>,
    panic_reg: DFF<Bits<32>>,
    panicked: DFF<Bit>,
}

impl Logic for Board {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module board");
        dff_setup!(self, clock, leds_reg, panic_reg, panicked);
        if self.sel.val() & self.we.val() {
            if self.addr.val() == 0x500 {
                self.leds_reg.d.next = self.wdata.val().get_bits::<8>(0);
            }
            if self.addr.val() == 0x504 {
                self.panic_reg.d.next = self.wdata.val();
                self.panicked.d.next = true;
            }
        }
        self.leds.next = self.leds_reg.q.val();
        self.panic.next = self.panic_reg.q.val();
        self.panic_valid.next = self.panicked.q.val();
    }
}
