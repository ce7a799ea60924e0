//! The machine behind a serial line: [`Soc`] and [`Uart`], for bit-level simulation and as the core of a board's top.

use super::{Soc, SocOptions};
use crate::comment;
use crate::uart::Uart;
use rust_hdl_core::prelude::*;
use systole_isa::machine::Machine;

/// The whole machine with a UART.
#[derive(LogicBlock)]
pub struct SerialSoc {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Holds the soft core in reset.
    pub cpu_reset: Signal<In, Bit>,
    /// Serial line from the host.
    pub rxd: Signal<In, Bit>,
    /// Serial line to the host.
    pub txd: Signal<Out, Bit>,
    /// LEDs.
    pub leds: Signal<Out, Bits<8>>,
    /// What firmware gave up with.
    pub panic: Signal<Out, Bits<32>>,
    /// Firmware has given up.
    pub panic_valid: Signal<Out, Bit>,
    soc: Soc,
    uart: Uart,
}

impl SerialSoc {
    /// The SoC of `machine` behind a UART that starts at `baud`.
    ///
    /// # Panics
    /// If the machine breaks a rule of [`Machine::invalid`], or `options.clock_hz` does not make `baud`
    /// ([`systole_isa::regs::uart_divisor`]).
    pub fn new(machine: &Machine, options: SocOptions, baud: u32) -> SerialSoc {
        SerialSoc {
            clock: Default::default(),
            cpu_reset: Default::default(),
            rxd: Default::default(),
            txd: Default::default(),
            leds: Default::default(),
            panic: Default::default(),
            panic_valid: Default::default(),
            soc: Soc::new(machine, options),
            uart: Uart::new(options.clock_hz, baud),
        }
    }
}

impl Logic for SerialSoc {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module serial_soc");
        clock!(self, clock, soc, uart);
        self.soc.cpu_reset.next = self.cpu_reset.val();
        self.uart.rxd.next = self.rxd.val();
        self.txd.next = self.uart.txd.val();
        self.uart.divisor.next = self.soc.uart_divisor.val();
        self.soc.uart_status.next = self.uart.status.val();
        self.soc.rx_valid.next = self.uart.rx_valid.val();
        self.soc.rx_data.next = self.uart.rx_data.val();
        self.uart.rx_ready.next = self.soc.rx_ready.val();
        self.uart.tx_valid.next = self.soc.tx_valid.val();
        self.uart.tx_data.next = self.soc.tx_data.val();
        self.soc.tx_ready.next = self.uart.tx_ready.val();
        self.leds.next = self.soc.leds.val();
        self.panic.next = self.soc.panic.val();
        self.panic_valid.next = self.soc.panic_valid.val();
    }
}
