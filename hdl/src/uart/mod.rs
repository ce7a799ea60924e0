//! A UART, 8N1, at any rate up to one bit in eight clock cycles: 3 Mbaud from 25 MHz upwards.
//!
//! ```text
//!  rxd ─> 2 flip-flops ─> majority of 3 ─> UartRx ─> one byte ─────> rx (valid, ready)
//!  txd <─────────────────────────────────── UartTx <─ 16-byte FIFO <─ tx (valid, ready)
//! ```
//!
//! A bit lasts `divisor / 65536` clock cycles. Both directions accumulate the fraction bit by bit, so that no bit is off by
//! more than a cycle and the mean rate is exact to 2^-16 of a cycle: 50 MHz make 3 Mbaud from bits of 16 and 17 cycles.
//!
//! The FIFO covers the time in which the framer collects its next block, so that the line never pauses inside a frame.
//! Nothing is reported about a damaged byte but a count: the link's CRC finds the frame that misses it.

mod fifo;
mod rx;
mod tx;

pub use fifo::ByteFifo;
pub use rx::UartRx;
pub use tx::UartTx;

use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use systole_isa::regs;

/// See the module.
#[derive(LogicBlock)]
pub struct Uart {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Serial line from the host, straight from the pad.
    pub rxd: Signal<In, Bit>,
    /// Serial line to the host, from a register.
    pub txd: Signal<Out, Bit>,
    /// Clock cycles per bit in 1/65536; 0: the rate that the UART was built with. May change at any time; a byte on its way
    /// is damaged by that.
    pub divisor: Signal<In, Bits<32>>,
    /// A byte has arrived.
    pub rx_valid: Signal<Out, Bit>,
    /// The byte.
    pub rx_data: Signal<Out, Bits<8>>,
    /// It is taken. One that is still there when the next arrives costs that one.
    pub rx_ready: Signal<In, Bit>,
    /// A byte to send is there.
    pub tx_valid: Signal<In, Bit>,
    /// The byte.
    pub tx_data: Signal<In, Bits<8>>,
    /// It is taken.
    pub tx_ready: Signal<Out, Bit>,
    /// As [`regs::UART_STATUS`].
    pub status: Signal<Out, Bits<32>>,
    rx: UartRx,
    fifo: ByteFifo,
    tx: UartTx,
    built_in: Constant<Bits<32>>,
    rate: DFF<Bits<32>>,
    flags: Signal<Local, Bits<32>>,
}

/// Clock cycles per bit in 1/65536, rounded to the nearest.
///
/// # Panics
/// If a bit would last less than [`regs::UART_SHORTEST_BIT`] or 65536 cycles and more.
pub fn divisor(clock_hz: u32, baud: u32) -> u32 {
    regs::uart_divisor(clock_hz, baud).unwrap_or_else(|| panic!("a clock of {clock_hz} Hz does not make {baud} baud"))
}

impl Uart {
    /// A UART that runs at `baud` on a clock of `clock_hz` until it is told another divisor.
    ///
    /// # Panics
    /// As [`divisor`].
    pub fn new(clock_hz: u32, baud: u32) -> Self {
        Uart {
            clock: Default::default(),
            rxd: Default::default(),
            txd: Default::default(),
            divisor: Default::default(),
            rx_valid: Default::default(),
            rx_data: Default::default(),
            rx_ready: Default::default(),
            tx_valid: Default::default(),
            tx_data: Default::default(),
            tx_ready: Default::default(),
            status: Default::default(),
            rx: Default::default(),
            fifo: Default::default(),
            tx: Default::default(),
            built_in: Constant::new(u64::from(divisor(clock_hz, baud)).to_bits()),
            rate: Default::default(),
            flags: Default::default(),
        }
    }
}

impl Logic for Uart {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module uart");
        dff_setup!(self, clock, rate);
        clock!(self, clock, rx, fifo, tx);
        self.rate.d.next = self.divisor.val();
        if self.divisor.val() == 0 {
            self.rate.d.next = self.built_in.val();
        }
        // receive
        self.rx.rxd.next = self.rxd.val();
        self.rx.divisor.next = self.rate.q.val();
        self.rx_valid.next = self.rx.valid.val();
        self.rx_data.next = self.rx.data.val();
        self.rx.ready.next = self.rx_ready.val();
        // send
        self.fifo.in_valid.next = self.tx_valid.val();
        self.fifo.in_data.next = self.tx_data.val();
        self.tx_ready.next = self.fifo.in_ready.val();
        self.tx.valid.next = self.fifo.out_valid.val();
        self.tx.data.next = self.fifo.out_data.val();
        self.fifo.out_ready.next = self.tx.ready.val();
        self.tx.divisor.next = self.rate.q.val();
        self.txd.next = self.tx.txd.val();
        // what firmware sees
        self.flags.next = bits::<32>(1);
        if self.tx_valid.val() | self.fifo.out_valid.val() | self.tx.busy.val() {
            self.flags.next = bits::<32>(3);
        }
        self.status.next = self.flags.val()
            | (bit_cast::<32, 8>(self.rx.overruns.val()) << 8)
            | (bit_cast::<32, 16>(self.rx.framing_errors.val()) << 16);
    }
}
