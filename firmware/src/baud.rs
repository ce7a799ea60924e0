//! Changes of the UART's rate: a trial that is taken back unless a good frame arrives at the new rate.

use crate::hardware::Hardware;
use crate::link::Received;
use crate::requests::Failure;
use crate::{Firmware, log};
use systole_isa::frame::ErrorCode;
use systole_isa::regs;

/// [`regs::UART_STATUS`]: there is a UART; it still sends.
const PRESENT: u32 = 1;
const SENDING: u32 = 2;

/// What the UART's rate is doing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rate {
    /// It stays.
    Steady,
    /// It changes once everything has been sent.
    Leaving { divisor: u32, cycles: u32 },
    /// It is new since cycle `start`, and the receive ring's head has been at `head` since.
    Trial { before: u32, start: u32, cycles: u32, head: u32 },
}

impl<H: Hardware> Firmware<H> {
    /// `Baud`: answers at the old rate, then changes.
    #[cold]
    #[inline(never)]
    pub(crate) fn baud(&mut self, f: &Received) -> Result<(), Failure> {
        self.exact(f, 2)?;
        let (divisor, cycles) = (self.word(f, 0), self.word(f, 1));
        if self.hw.read(regs::UART_STATUS) & PRESENT == 0 {
            return Err((ErrorCode::NoBaud, [divisor, 0]));
        }
        if divisor != 0 && divisor < regs::UART_SHORTEST_BIT {
            return Err((ErrorCode::NoBaud, [divisor, regs::UART_SHORTEST_BIT]));
        }
        self.link.reply(&mut self.hw, f.kind, f.seq, &[]);
        self.rate = Rate::Leaving { divisor, cycles };
        Ok(())
    }

    /// Looks whether it is time to change the rate, or to change it back. Returns whether anything happened.
    pub(crate) fn poll_rate(&mut self) -> bool {
        !matches!(self.rate, Rate::Steady) && self.follow_rate()
    }

    #[cold]
    #[inline(never)]
    fn follow_rate(&mut self) -> bool {
        match self.rate {
            Rate::Steady => return false,
            Rate::Leaving { divisor, cycles } => {
                let sent = self.hw.read(regs::TX_TAIL) == self.hw.read(regs::TX_HEAD);
                if !sent || self.hw.read(regs::UART_STATUS) & SENDING != 0 {
                    return false;
                }
                let before = self.hw.read(regs::UART_DIVISOR);
                self.hw.write(regs::UART_DIVISOR, divisor);
                let (start, head) = (self.hw.read(regs::CYCLE_LO), self.hw.read(regs::RX_HEAD));
                self.rate = Rate::Trial { before, start, cycles, head };
            }
            Rate::Trial { before, start, cycles, head } => {
                if self.hw.read(regs::RX_HEAD) != head {
                    self.rate = Rate::Steady;
                } else if self.hw.read(regs::CYCLE_LO).wrapping_sub(start) > cycles {
                    self.hw.write(regs::UART_DIVISOR, before);
                    self.rate = Rate::Steady;
                    log::warning!("nobody followed to the new rate: back to the old one");
                } else {
                    return false;
                }
            }
        }
        true
    }
}
