//! The SoC behind its UART: the same machine as [`super::Rtl`], every bit on the line simulated.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use systole_isa::frame::Kind;
use systole_isa::machine::Machine;
use systole_isa::regs;
use systole_verilator::{Module, Port as Pin};

use super::wire::Wire;
use super::{Build, Error, RESET_CYCLES, Result};
use crate::model::link::decode;
use crate::port::Port;

/// Cycles that one [`Port::receive`] lets pass while no frame ends.
const QUANTUM: u64 = 4_000;
/// What the host's serial port would buffer.
const BUFFER: usize = 4096;
/// Bits on the line, and cycles beside them, within which the firmware must have announced itself.
const BOOT_BITS: u64 = 1_000;
const BOOT_CYCLES: u64 = 200_000;

/// The clock and the rate at which the UART starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SerialOptions {
    /// Clock in Hz: what makes a number of cycles out of a bit.
    pub clock_hz: u32,
    /// Bits per second.
    pub baud: u32,
}

struct Pins {
    cpu_reset: Pin,
    rxd: Pin,
    txd: Pin,
    panic: Pin,
    panic_valid: Pin,
}

/// The Verilated SoC with its UART as a device. Time passes only inside [`Port::receive`].
pub struct SerialRtl {
    module: Module,
    pins: Pins,
    machine: Machine,
    elf: PathBuf,
    wire: Wire,
    options: SerialOptions,
    host_baud: u32,
    output: Vec<u8>,
}

impl std::fmt::Debug for SerialRtl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SerialRtl").field("options", &self.options).field("wire", &self.wire).finish_non_exhaustive()
    }
}

impl SerialRtl {
    /// Switches on a device that [`super::prepare_serial`] has built with the same `options`. The host's end starts at the
    /// same rate.
    ///
    /// # Errors
    /// Where the firmware does not come up.
    pub fn start(build: &Build, options: SerialOptions) -> Result<SerialRtl> {
        let SerialOptions { clock_hz, baud } = options;
        let bit = regs::uart_divisor(clock_hz, baud).ok_or(Error::Rate { clock_hz, baud })?;
        let module = build.load()?;
        let pins = Pins {
            cpu_reset: module.find("cpu_reset")?,
            rxd: module.find("rxd")?,
            txd: module.find("txd")?,
            panic: module.find("panic")?,
            panic_valid: module.find("panic_valid")?,
        };
        let mut rtl = SerialRtl {
            module,
            pins,
            machine: build.machine,
            elf: build.elf.clone(),
            wire: Wire::new(bit.into()),
            options,
            host_baud: baud,
            output: Vec::new(),
        };
        rtl.module.set(rtl.pins.rxd, 1);
        rtl.module.set(rtl.pins.cpu_reset, 1);
        rtl.module.try_tick(RESET_CYCLES)?;
        rtl.module.set(rtl.pins.cpu_reset, 0);
        rtl.run(BOOT_CYCLES + BOOT_BITS * (u64::from(bit) >> 16))?;
        let announced = |frame: &[u8]| decode(frame).is_some_and(|c| c[0] == Kind::Boot as u8);
        if !rtl.output.strip_suffix(&[0]).is_some_and(announced) {
            return Err(Error::NoBoot { cycles: rtl.module.cycles(), heard: rtl.output.len() });
        }
        Ok(rtl)
    }

    /// The machine that was built.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The firmware's ELF file, which holds the strings of its log.
    pub fn firmware_elf(&self) -> &Path {
        &self.elf
    }

    /// The clock and the rate that the UART started with.
    pub fn options(&self) -> SerialOptions {
        self.options
    }

    /// Bytes of the device that came without a stop bit.
    pub fn framing_errors(&self) -> u64 {
        self.wire.framing_errors
    }

    /// Runs until the end of a frame has arrived at the host, or `quantum` cycles have passed.
    fn run(&mut self, quantum: u64) -> Result<()> {
        let end = self.module.cycles() + quantum;
        loop {
            let now = self.module.cycles();
            if now >= end {
                return Ok(());
            }
            let (m, p) = (&mut self.module, &self.pins);
            let arrived = self.wire.watch(now, m.get(p.txd) != 0);
            let level = self.wire.drive(now);
            m.set(p.rxd, level.into());
            if m.get(p.panic_valid) != 0 {
                return Err(Error::Panic { code: m.get(p.panic) as u32, cycle: now });
            }
            if let Some(byte) = arrived {
                self.output.push(byte);
                if byte == 0 {
                    return Ok(());
                }
            }
            let quiet = self.wire.quiet(now, end - now);
            if self.wire.hearing_nothing() && m.get(p.txd) != 0 {
                m.tick_until(p.txd, 0, quiet);
            } else {
                m.try_tick(quiet)?;
            }
        }
    }
}

impl Port for SerialRtl {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.send(bytes);
        Ok(())
    }

    /// Runs until a frame's end arrives, or some cycles have passed. The timeout plays no part.
    fn receive(&mut self, out: &mut Vec<u8>, _timeout: Duration) -> io::Result<usize> {
        if self.output.is_empty() {
            self.run(QUANTUM)?;
        }
        out.extend_from_slice(&self.output);
        let count = self.output.len();
        self.output.clear();
        Ok(count)
    }

    fn name(&self) -> String {
        format!("rtl behind a UART at {} baud", self.host_baud)
    }

    fn cycles(&self) -> Option<u64> {
        Some(self.module.cycles())
    }

    fn room(&self) -> usize {
        BUFFER.saturating_sub(self.wire.queued())
    }

    fn set_baud(&mut self, baud: u32) -> io::Result<bool> {
        let bit = (u64::from(self.options.clock_hz) << 16) / u64::from(baud.max(1));
        // below a cycle a bit there is nothing to simulate
        if bit < 1 << 16 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the simulated line does not go that fast"));
        }
        self.wire.set_bit(bit);
        self.host_baud = baud;
        Ok(true)
    }

    fn baud(&self) -> Option<u32> {
        Some(self.host_baud)
    }
}
