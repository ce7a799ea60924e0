//! The host's end of a serial line, bit by bit, 8N1: what a USB bridge does. It shares nothing with the UART in `hdl`.
//!
//! Time is counted in 1/65536 of a clock cycle, so that rates keep their fractions.

use std::collections::VecDeque;

/// One clock cycle.
const CYCLE: u64 = 1 << 16;

/// Where a receiver is in a byte.
#[derive(Clone, Copy, Debug)]
enum Receiver {
    /// The line rests.
    Idle,
    /// `bit` is sampled next, at `at`: 0 is the start bit, 9 the stop bit.
    Byte { bit: u8, at: u64, value: u8 },
    /// A byte without a stop bit: until the line rests.
    Recover,
}

/// The host's transmitter and receiver.
#[derive(Debug)]
pub(super) struct Wire {
    bit: u64,
    /// Bytes to send, each with the length of its bits: what was sent before a change of rate goes at the old one.
    queue: VecDeque<(u8, u64)>,
    /// Length of the bits of the byte on the line.
    sending_bit: u64,
    /// Bits of the byte on the line, the next one lowest, and how many there are.
    shift: u16,
    left: u32,
    level: bool,
    /// When the bit on the line ends.
    ends: u64,
    receiver: Receiver,
    /// Bytes without a stop bit.
    pub framing_errors: u64,
}

impl Wire {
    /// A line at rest with bits of `bit`/65536 cycles.
    pub(super) fn new(bit: u64) -> Wire {
        let (queue, receiver) = (VecDeque::new(), Receiver::Idle);
        Wire { bit, queue, sending_bit: bit, shift: 0, left: 0, level: true, ends: 0, receiver, framing_errors: 0 }
    }

    /// Changes the rate, for what is sent and heard from now on.
    pub(super) fn set_bit(&mut self, bit: u64) {
        self.bit = bit;
    }

    /// Bytes to send.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.queue.extend(bytes.iter().map(|&b| (b, self.bit)));
    }

    /// Bytes that wait to be sent.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether bits are on their way to the device, or wait for it.
    pub(super) fn sending(&self) -> bool {
        self.left > 0 || !self.queue.is_empty()
    }

    /// Whether nothing of the device's is on the line.
    pub(super) fn hearing_nothing(&self) -> bool {
        matches!(self.receiver, Receiver::Idle)
    }

    /// The level that the host gives the line in `cycle`.
    pub(super) fn drive(&mut self, cycle: u64) -> bool {
        let now = cycle * CYCLE;
        if self.left == 0 && now >= self.ends {
            let Some((byte, bit)) = self.queue.pop_front() else { return true };
            self.sending_bit = bit;
            // a pause before this byte ends now, a byte before it ended when it did
            if now >= self.ends + CYCLE {
                self.ends = now;
            }
            (self.shift, self.left) = (u16::from(byte) << 1 | 1 << 9, 10);
        }
        while self.left > 0 && now >= self.ends {
            self.level = self.shift & 1 == 1;
            self.shift >>= 1;
            self.left -= 1;
            self.ends += self.sending_bit;
        }
        self.level
    }

    /// Looks at the device's level in `cycle`; a whole byte, once its stop bit has been seen.
    pub(super) fn watch(&mut self, cycle: u64, level: bool) -> Option<u8> {
        let now = cycle * CYCLE;
        match self.receiver {
            Receiver::Idle if !level => {
                self.receiver = Receiver::Byte { bit: 0, at: now + self.bit / 2, value: 0 };
            }
            Receiver::Byte { bit, at, value } if now >= at => {
                self.receiver = Receiver::Byte { bit: bit + 1, at: at + self.bit, value };
                match bit {
                    0 if level => self.receiver = Receiver::Idle,
                    1..=8 => {
                        let value = value | u8::from(level) << (bit - 1);
                        self.receiver = Receiver::Byte { bit: bit + 1, at: at + self.bit, value };
                    }
                    9 if level => {
                        self.receiver = Receiver::Idle;
                        return Some(value);
                    }
                    9 => {
                        self.framing_errors += 1;
                        self.receiver = Receiver::Recover;
                    }
                    _ => {}
                }
            }
            Receiver::Recover if level => self.receiver = Receiver::Idle,
            _ => {}
        }
        None
    }

    /// Cycles from `cycle` on in which neither end has anything to do, given that the device's line does not fall; at
    /// least 1, at most `most`.
    pub(super) fn quiet(&self, cycle: u64, most: u64) -> u64 {
        let now = cycle * CYCLE;
        let wait = |at: u64| at.saturating_sub(now).div_ceil(CYCLE);
        let mut cycles = most;
        if self.sending() {
            cycles = cycles.min(wait(self.ends));
        }
        match self.receiver {
            Receiver::Byte { at, .. } => cycles = cycles.min(wait(at)),
            Receiver::Recover => cycles = 1,
            Receiver::Idle => {}
        }
        cycles.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_wire_drives_another_hears_at_two_percent_off() {
        for bit in [25.0, 50.0 / 3.0, 25.0 / 3.0] {
            for off in [0.98, 1.0, 1.02] {
                let fixed = |b: f64| (b * CYCLE as f64) as u64;
                let (mut from, mut to) = (Wire::new(fixed(bit)), Wire::new(fixed(bit * off)));
                let sent: Vec<u8> = (0..=255).collect();
                from.send(&sent);
                let mut heard = Vec::new();
                let mut cycle = 0;
                while from.sending() || cycle % 1000 != 0 {
                    let level = from.drive(cycle);
                    heard.extend(to.watch(cycle, level));
                    cycle += 1;
                }
                assert_eq!(heard, sent, "{bit} cycles a bit, receiver off by {off}");
                assert_eq!(to.framing_errors, 0);
                // back to back: ten bits a byte
                assert!((from.ends as f64 / CYCLE as f64 - 2560.0 * bit).abs() < 1.0);
            }
        }
    }

    #[test]
    fn a_wrong_rate_is_heard_as_garbage() {
        let (mut from, mut to) = (Wire::new(25 * CYCLE), Wire::new(10 * CYCLE));
        from.send(&[0; 50]);
        let mut heard = Vec::new();
        for cycle in 0..20_000 {
            let level = from.drive(cycle);
            heard.extend(to.watch(cycle, level));
        }
        assert!(to.framing_errors > 0 && heard != [0; 50]);
    }
}
