//! The top of every board: wiring only.

use super::{Lights, Pll, PllSettings, Reset};
use crate::comment;
use crate::soc::{Soc, SocOptions};
use crate::uart::Uart;
use rust_hdl_core::prelude::*;
use systole_isa::machine::Machine;

/// What a board adds to a machine.
#[derive(Clone, Copy, Debug)]
pub struct BoardOptions {
    /// The machine's sizes.
    pub machine: Machine,
    /// From the board's oscillator to the machine's clock.
    pub pll: PllSettings,
    /// Bits per second after power-on; the host may ask for more.
    pub baud: u32,
    /// LEDs light up when driven low.
    pub leds_low: bool,
    /// The button's pin is low while pressed.
    pub button_low: bool,
}

/// Ports are a board's pins.
#[derive(LogicBlock)]
pub struct BoardTop {
    /// Oscillator.
    pub clk: Signal<In, Clock>,
    /// Serial line from the host.
    pub rxd: Signal<In, Bit>,
    /// Serial line to the host.
    pub txd: Signal<Out, Bit>,
    /// Button that starts the soft core anew. A board without one leaves the port at its resting level.
    pub button: Signal<In, Bit>,
    /// Alive.
    pub led_alive: Signal<Out, Bit>,
    /// Bytes pass.
    pub led_link: Signal<Out, Bit>,
    /// Results are not finite.
    pub led_overflow: Signal<Out, Bit>,
    pll: Pll,
    reset: Reset,
    soc: Soc,
    uart: Uart,
    lights: Lights,
    leds_low: Constant<Bit>,
    button_low: Constant<Bit>,
}

impl BoardTop {
    /// The design of a board.
    ///
    /// # Panics
    /// As [`super::verilog`].
    pub fn new(options: &BoardOptions, design_hash: u32) -> BoardTop {
        let clock_hz = options.pll.hz;
        BoardTop {
            clk: Default::default(),
            rxd: Default::default(),
            txd: Default::default(),
            button: Default::default(),
            led_alive: Default::default(),
            led_link: Default::default(),
            led_overflow: Default::default(),
            pll: Pll::new(options.pll),
            reset: Default::default(),
            soc: Soc::new(&options.machine, SocOptions { clock_hz, design_hash }),
            uart: Uart::new(clock_hz, options.baud),
            lights: Default::default(),
            leds_low: Constant::new(options.leds_low),
            button_low: Constant::new(options.button_low),
        }
    }
}

impl Logic for BoardTop {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module board_top");
        self.pll.pad.next = self.clk.val();
        self.reset.clock.next = self.pll.clock.val();
        self.soc.clock.next = self.pll.clock.val();
        self.uart.clock.next = self.pll.clock.val();
        self.lights.clock.next = self.pll.clock.val();
        self.reset.locked.next = self.pll.locked.val();
        self.reset.pressed.next = self.button.val() ^ self.button_low.val();
        self.soc.cpu_reset.next = self.reset.hold.val();

        // bytes
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

        // lights
        self.lights.byte_event.next = self.uart.rx_valid.val() | (self.uart.tx_valid.val() & self.uart.tx_ready.val());
        self.lights.overflow_event.next = self.soc.overflow.val();
        self.lights.panic.next = self.soc.panic_valid.val();
        self.led_alive.next = (self.lights.alive.val() | self.soc.leds.val().get_bit(0)) ^ self.leds_low.val();
        self.led_link.next = (self.lights.link.val() | self.soc.leds.val().get_bit(1)) ^ self.leds_low.val();
        self.led_overflow.next = (self.lights.overflow.val() | self.soc.leds.val().get_bit(2)) ^ self.leds_low.val();
    }
}
