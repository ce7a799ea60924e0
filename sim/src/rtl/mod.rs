//! The hardware itself: the SoC, Verilated, with the firmware on its soft core.
//!
//! ```no_run
//! use systole_sim::rtl::{Rtl, RtlOptions};
//! use systole_isa::machine::Machine;
//!
//! let device = Rtl::open(&RtlOptions::new(Machine::DEFAULT))?; // builds what is missing, boots
//! # Ok::<(), systole_sim::rtl::Error>(())
//! ```
//!
//! Bytes go in and come out as over a wire that takes one byte a cycle in either direction. Time passes only inside
//! [`Port::receive`]: what happens in which cycle follows from the order of calls alone, never from the wall clock.

mod build;
mod error;
mod save_file;
mod serial;
mod trace;
pub mod wave;
mod wire;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use systole_isa::frame::Kind;
use systole_isa::machine::Machine;
pub use systole_verilator::Options;
use systole_verilator::{Module, Port as Pin};

use crate::model::link::decode;
use crate::port::Port;

pub use build::{Build, Report, Step, Variant, firmware_image, prepare, prepare_serial, setup, time_build};
pub use error::{Error, Result};
pub use save_file::groups;
pub use serial::{SerialOptions, SerialRtl};
use trace::Recorder;
pub use trace::{HALF_PERIOD, PERIOD, Switch, Trace, Window};

/// Cycles for which the soft core is held in reset.
const RESET_CYCLES: u64 = 16;
/// Cycles after reset within which the firmware must have announced itself.
const BOOT_CYCLES: u64 = 2_000_000;
/// Cycles that one [`Port::receive`] lets pass while nothing goes in and nothing comes out.
pub const QUANTUM: u64 = 20_000;

/// What to build and how to watch it.
#[derive(Clone, Debug)]
pub struct RtlOptions {
    /// Sizes.
    pub machine: Machine,
    /// Record signals.
    pub trace: Option<Trace>,
    /// Threads to simulate on.
    pub threads: u32,
    /// Where things are kept, and who hears what is being built.
    pub options: Options,
}

impl RtlOptions {
    /// No trace, one thread; everything below the workspace's `target`.
    pub fn new(machine: Machine) -> RtlOptions {
        RtlOptions { machine, trace: None, threads: 1, options: Options::workspace() }
    }
}

/// How fast the simulation has run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Speed {
    /// Cycles simulated.
    pub cycles: u64,
    /// Wall-clock seconds that they took, without the time between calls.
    pub seconds: f64,
}

impl Speed {
    /// Simulated kilohertz; 0 before anything ran.
    pub fn khz(&self) -> f64 {
        if self.seconds > 0.0 { self.cycles as f64 / self.seconds / 1000.0 } else { 0.0 }
    }

    /// What happened since an earlier reading.
    pub fn since(&self, earlier: Speed) -> Speed {
        Speed { cycles: self.cycles - earlier.cycles, seconds: self.seconds - earlier.seconds }
    }
}

/// The pins of the SoC.
struct Pins {
    cpu_reset: Pin,
    rx_data: Pin,
    rx_valid: Pin,
    rx_ready: Pin,
    tx_data: Pin,
    tx_valid: Pin,
    tx_ready: Pin,
    leds: Pin,
    panic: Pin,
    panic_valid: Pin,
}

impl Pins {
    fn find(m: &Module) -> Result<Pins> {
        Ok(Pins {
            cpu_reset: m.find("cpu_reset")?,
            rx_data: m.find("rx_data")?,
            rx_valid: m.find("rx_valid")?,
            rx_ready: m.find("rx_ready")?,
            tx_data: m.find("tx_data")?,
            tx_valid: m.find("tx_valid")?,
            tx_ready: m.find("tx_ready")?,
            leds: m.find("leds")?,
            panic: m.find("panic")?,
            panic_valid: m.find("panic_valid")?,
        })
    }
}

/// The Verilated SoC as a device.
pub struct Rtl {
    module: Module,
    pins: Pins,
    machine: Machine,
    elf: PathBuf,
    recorder: Option<Recorder>,
    input: VecDeque<u8>,
    output: Vec<u8>,
    boot_cycles: u64,
    speed: Speed,
}

impl std::fmt::Debug for Rtl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rtl")
            .field("machine", &self.machine)
            .field("cycles", &self.module.cycles())
            .finish_non_exhaustive()
    }
}

impl Rtl {
    /// Builds what is not there yet, switches the device on and waits until its firmware has announced itself.
    pub fn open(options: &RtlOptions) -> Result<Rtl> {
        let variant = Variant { traces: options.trace.is_some(), threads: options.threads };
        let report = prepare(&options.options, options.machine, variant, &mut |_| ())?;
        Rtl::start(&report.build, options.trace.clone())
    }

    /// Switches on a device that has been built. Several may run side by side.
    ///
    /// # Errors
    /// Where the firmware does not come up; a trace needs a build with traces.
    pub fn start(build: &Build, trace: Option<Trace>) -> Result<Rtl> {
        let mut module = build.load()?;
        let pins = Pins::find(&module)?;
        let recorder = trace.map(|t| Recorder::start(t, &mut module)).transpose()?;
        let mut rtl = Rtl {
            module,
            pins,
            machine: build.machine,
            elf: build.elf.clone(),
            recorder,
            input: VecDeque::new(),
            output: Vec::new(),
            boot_cycles: 0,
            speed: Speed::default(),
        };
        rtl.boot()?;
        Ok(rtl)
    }

    fn boot(&mut self) -> Result<()> {
        self.module.set(self.pins.tx_ready, 1);
        self.module.set(self.pins.cpu_reset, 1);
        for _ in 0..RESET_CYCLES {
            self.watch_trace()?;
            self.module.try_tick(1)?;
        }
        self.module.set(self.pins.cpu_reset, 0);
        self.run(BOOT_CYCLES)?;
        let announced = |frame: &[u8]| decode(frame).is_some_and(|c| c[0] == Kind::Boot as u8);
        if !self.output.strip_suffix(&[0]).is_some_and(announced) {
            return Err(Error::NoBoot { cycles: self.module.cycles(), heard: self.output.len() });
        }
        self.boot_cycles = self.module.cycles();
        Ok(())
    }

    /// The machine that was built.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The firmware's ELF file, which holds the strings of its log.
    pub fn firmware_elf(&self) -> &Path {
        &self.elf
    }

    /// Cycles from switching on to the last byte of the firmware's announcement.
    pub fn boot_cycles(&self) -> u64 {
        self.boot_cycles
    }

    /// How fast the simulation has run so far.
    pub fn speed(&self) -> Speed {
        self.speed
    }

    /// The LEDs.
    pub fn leds(&self) -> u8 {
        self.module.get(self.pins.leds) as u8
    }

    /// Runs until a frame's end comes out, or `quantum` cycles have passed in which nothing went in.
    fn run(&mut self, quantum: u64) -> Result<()> {
        let (from, begun) = (self.module.cycles(), Instant::now());
        let result = self.clock(quantum);
        self.speed.cycles += self.module.cycles() - from;
        self.speed.seconds += begun.elapsed().as_secs_f64();
        result
    }

    fn clock(&mut self, quantum: u64) -> Result<()> {
        let mut idle = 0;
        while idle < quantum {
            self.watch_trace()?;
            let (m, p) = (&mut self.module, &self.pins);
            // Everything on the byte port comes from registers: what stands there now is what the next edge sees.
            let arrived = (m.get(p.tx_valid) != 0).then(|| m.get(p.tx_data) as u8);
            let offered = self.input.front().copied();
            if let Some(byte) = offered {
                m.set(p.rx_data, byte.into());
            }
            m.set(p.rx_valid, offered.is_some().into());
            let taken = offered.is_some() && m.get(p.rx_ready) != 0;
            m.try_tick(1)?;
            if taken {
                self.input.pop_front();
            } else {
                idle += 1;
            }
            if m.get(p.panic_valid) != 0 {
                return Err(Error::Panic { code: m.get(p.panic) as u32, cycle: m.cycles() });
            }
            if let Some(byte) = arrived {
                self.output.push(byte);
                if byte == 0 {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Switches the recording on and off.
    #[inline]
    fn watch_trace(&mut self) -> Result<()> {
        match &mut self.recorder {
            Some(recorder) => recorder.watch(&mut self.module),
            None => Ok(()),
        }
    }

    /// Completes a trace that still records, and says where it is.
    pub fn finish_trace(&mut self) -> Result<Option<PathBuf>> {
        let Some(recorder) = &mut self.recorder else { return Ok(None) };
        recorder.finish(&mut self.module)?;
        Ok(Some(recorder.path().into()))
    }
}

impl Drop for Rtl {
    fn drop(&mut self) {
        // a run that fails in its window leaves what was recorded, which is what somebody will want to look at
        let _ = self.finish_trace();
    }
}

impl Port for Rtl {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.extend(bytes);
        Ok(())
    }

    /// Runs until a frame's end comes out, or [`QUANTUM`] cycles have passed in which nothing went in. The timeout plays no
    /// part: it would make what happens in which cycle depend on the host.
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
        "rtl".into()
    }

    fn cycles(&self) -> Option<u64> {
        Some(self.module.cycles())
    }
}
