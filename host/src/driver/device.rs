//! Opens a device by its name: `model`, `rtl`, the path of a serial port, or `tcp:HOST:PORT`. From here on they are all the same.

use std::path::PathBuf;
use std::time::Duration;

use systole_isa::machine::Machine;
use systole_sim::port::Port;
use systole_sim::rtl::SerialOptions;

use super::link::{Link, Timeouts};
use super::rate;
use super::requests::DeviceInfo;
use super::serial::{self, SerialPort};
use super::tcp::{self, TcpPort};
use super::trace::{Recording, TraceOptions};
use crate::error::{Error, Result};

/// The model of an array that rounds every partial sum to FP16: an ablation, there is no such hardware.
pub const HALF_SUMS: &str = "model:fp16-sums";

/// What kind of device stands behind a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// The bit-exact model, which has no clock.
    Model,
    /// The Verilated RTL.
    Rtl,
    /// A serial port, or a connection that stands for one.
    Serial,
}

/// How to open a device.
#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    /// `rtl`, `model`, [`HALF_SUMS`], the path of a port, or `tcp:HOST:PORT`.
    pub name: String,
    /// Lanes of the array; a simulated device is built so, another one must have so many. `None`: 8, or whatever it has.
    pub lanes: Option<u32>,
    /// Lanes of the vector engine, as `lanes`; `None`: as many as the array's, up to 8, or whatever it has.
    pub vector_lanes: Option<u32>,
    /// Record signals; only `rtl` has any.
    pub trace: Option<TraceOptions>,
    /// Bits per second that a serial port shall run at; `None`: [`serial::BAUD`].
    pub baud: Option<u32>,
    /// Threads that `rtl` is simulated on; `None`: 1.
    pub sim_threads: Option<u32>,
}

/// A device that has answered hello.
pub struct Device {
    /// The link to it.
    pub link: Link,
    /// What it says of itself.
    pub info: DeviceInfo,
    /// What kind it is.
    pub kind: DeviceKind,
    /// The ELF file of the firmware that it runs, where this program started it or this workspace has built it.
    pub firmware_elf: Option<PathBuf>,
    /// The recording of its signals.
    pub recording: Option<Recording>,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Device({:?}, {:?})", self.kind, self.info)
    }
}

impl Device {
    /// Opens a device and greets it.
    pub fn open(options: &DeviceOptions) -> Result<Device> {
        Device::open_sized(options, machine(options)?)
    }

    /// Opens a device and greets it; a simulated one is built with these sizes, another has its own.
    pub fn open_sized(options: &DeviceOptions, machine: Machine) -> Result<Device> {
        refuse_trace(options)?;
        match options.name.as_str() {
            "model" => Device::greet(model(machine, false)?, DeviceKind::Model, None, options),
            HALF_SUMS => Device::greet(model(machine, true)?, DeviceKind::Model, None, options),
            "rtl" => {
                let (recording, trace) = options.trace.as_ref().map(Recording::new).transpose()?.unzip();
                let (port, elf) = super::rtl::open(machine, trace, options.sim_threads.unwrap_or(1))?;
                let device = Device::greet(port, DeviceKind::Rtl, elf, options)?;
                Ok(Device { recording, ..device })
            }
            "" => Err(Error::UnknownDevice { name: String::new(), reason: "the name is empty".into() }),
            line => {
                let port = open_line(line, options.baud.unwrap_or(serial::BAUD))?;
                Device::greet(port, DeviceKind::Serial, None, options)
            }
        }
    }

    /// Says hello on a serial port or `tcp:HOST:PORT`, and leaves again. Gives up after `limit`.
    pub fn probe(line: &str, baud: u32, limit: Duration) -> Result<DeviceInfo> {
        let timeouts = Timeouts { deadline: limit, ..timeouts(DeviceKind::Serial) };
        let mut link = Link::new(open_line(line, baud)?, timeouts);
        link.set_rates(&rates(baud, line));
        link.phase("saying hello");
        link.hello()
    }

    /// A device on a port that is open already.
    pub fn on_port(port: Box<dyn Port>, kind: DeviceKind) -> Result<Device> {
        Device::greet(port, kind, None, &DeviceOptions::default())
    }

    fn greet(
        port: Box<dyn Port>,
        kind: DeviceKind,
        firmware_elf: Option<PathBuf>,
        options: &DeviceOptions,
    ) -> Result<Device> {
        let mut link = Link::new(port, timeouts(kind));
        link.phase("saying hello");
        // a simulator needs a moment to boot, a board answers at once
        let usual = link.set_deadline(if kind == DeviceKind::Serial {
            Duration::from_secs(5)
        } else {
            Duration::from_secs(60)
        });
        if kind == DeviceKind::Serial
            && let Some(wanted) = link.baud()
        {
            link.set_rates(&rates(wanted, &options.name));
        }
        let info = rate::greet(&mut link)?;
        link.set_deadline(usual);
        if let Some(lanes) = options.lanes.filter(|&l| l != info.machine.lanes) {
            let reason = format!("the device has {}", info.machine.lanes);
            return Err(Error::value("--lanes", lanes, reason));
        }
        if let Some(lanes) = options.vector_lanes.filter(|&l| l != info.machine.vector_lanes) {
            let reason = format!("the device has {}", info.machine.vector_lanes);
            return Err(Error::value("--vector-lanes", lanes, reason));
        }
        // what this workspace has built may be what a board runs
        let firmware_elf = firmware_elf.or_else(|| match kind {
            DeviceKind::Serial => super::log::find_elf(info.firmware_hash),
            _ => None,
        });
        Ok(Device { link, info, kind, firmware_elf, recording: None })
    }

    /// Whether the device's cycle counts mean anything.
    pub fn has_cycles(&self) -> bool {
        self.kind != DeviceKind::Model
    }
}

/// The rates at which a device may be: the one wanted, and the one that boards start with. What stands behind a network
/// has a rate of its own.
fn rates(wanted: u32, line: &str) -> Vec<u32> {
    match (line.starts_with(tcp::PREFIX), wanted == serial::SAFE_BAUD) {
        // twice where it should be: a slow device is not a silent one
        (false, false) => vec![wanted, wanted, serial::SAFE_BAUD],
        _ => Vec::new(),
    }
}

fn open_line(name: &str, baud: u32) -> Result<Box<dyn Port>> {
    Ok(match name.strip_prefix(tcp::PREFIX) {
        Some(address) => Box::new(TcpPort::open(address)?),
        None => Box::new(SerialPort::open(name, baud)?),
    })
}

/// A simulated device, `rtl` or `model`, that nobody has greeted yet.
pub fn simulated(options: &DeviceOptions) -> Result<Box<dyn Port>> {
    let machine = machine(options)?;
    refuse_trace(options)?;
    match options.name.as_str() {
        "model" => model(machine, false),
        "rtl" => {
            let trace = options.trace.as_ref().map(Recording::new).transpose()?.map(|(_, trace)| trace);
            Ok(super::rtl::open(machine, trace, options.sim_threads.unwrap_or(1))?.0)
        }
        name => Err(Error::UnknownDevice { name: name.into(), reason: "it is not a simulated one".into() }),
    }
}

/// The simulated hardware behind a UART, which nobody has greeted yet.
pub fn simulated_serial(options: &DeviceOptions, line: SerialOptions) -> Result<Box<dyn Port>> {
    Ok(Box::new(super::rtl::open_serial(machine(options)?, line)?.0))
}

/// Refuses a trace of anything but the simulated hardware, which alone has signals.
pub fn refuse_trace(options: &DeviceOptions) -> Result<()> {
    match &options.trace {
        Some(trace) if options.name != "rtl" => {
            let reason = format!("only the device rtl has signals to record; {:?} has none", options.name);
            Err(Error::value("--trace-fst", trace.path.display(), reason))
        }
        _ => Ok(()),
    }
}

/// The machine of these lanes.
pub fn machine(options: &DeviceOptions) -> Result<Machine> {
    let lanes = options.lanes.unwrap_or(Machine::DEFAULT.lanes);
    let machine = Machine::with_lanes(lanes);
    if let Some(rule) = machine.invalid() {
        return Err(Error::value("--lanes", lanes, rule));
    }
    let Some(vector_lanes) = options.vector_lanes else { return Ok(machine) };
    let machine = Machine { vector_lanes, ..machine };
    machine.invalid().map_or(Ok(machine), |rule| Err(Error::value("--vector-lanes", vector_lanes, rule)))
}

fn model(machine: Machine, half_sums: bool) -> Result<Box<dyn Port>> {
    let build = if half_sums { systole_sim::Model::with_half_sums } else { systole_sim::Model::new };
    let model = build(machine).map_err(|e| Error::Setup {
        what: "the model".into(),
        reason: e.to_string(),
        help: "this is a bug worth reporting".into(),
    })?;
    Ok(Box::new(model))
}

fn timeouts(kind: DeviceKind) -> Timeouts {
    match kind {
        DeviceKind::Model => {
            Timeouts { deadline: Duration::from_secs(60), retransmit: Duration::from_millis(10), ..Timeouts::default() }
        }
        DeviceKind::Rtl => Timeouts { deadline: Duration::from_secs(300), ..Timeouts::default() },
        DeviceKind::Serial => Timeouts::default(),
    }
}
