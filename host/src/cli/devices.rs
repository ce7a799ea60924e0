//! `systole devices`.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::OutputArgs;
use crate::driver::Device;
use crate::driver::serial;
use crate::error::{Error, Result};

/// Find devices: say hello to serial ports and list what answers
///
/// Without PORT, all serial ports of this system are tried, several at a time. Hello is one short frame; equipment that speaks
/// something else sees some twenty bytes that it did not expect. With PORT, the exit code is 0 only if every one of them answers.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  systole devices                    every serial port of this system
  systole devices ./dev tcp:localhost:7000 --timeout 3")]
pub(super) struct DevicesArgs {
    /// Try these instead: paths of serial ports or pseudo-terminals, or tcp:HOST:PORT
    #[arg(value_name = "PORT")]
    ports: Vec<String>,
    /// Bits per second
    #[arg(long, default_value_t = serial::BAUD, value_name = "RATE")]
    baud: u32,
    /// How long to wait for an answer
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: f64,
    #[command(flatten)]
    output: OutputArgs,
}

/// What became of one port.
#[derive(Serialize)]
struct Found {
    port: String,
    /// `None` where no device answered.
    device: Option<Facts>,
    /// Why not.
    error: Option<String>,
}

/// What a device says of itself.
#[derive(Serialize)]
struct Facts {
    lanes: u32,
    vector_lanes: u32,
    hmem_elements: u32,
    smem_elements: u32,
    program_words: u32,
    /// 0 in simulation.
    clock_hz: u32,
    design_hash: String,
    firmware_hash: String,
}

impl DevicesArgs {
    pub(super) fn run(self) -> Result<()> {
        if !(self.timeout > 0.0 && self.timeout <= 60.0) {
            return Err(Error::value("--timeout", self.timeout, "it must be above 0 and at most 60 seconds"));
        }
        let limit = Duration::from_secs_f64(self.timeout);
        let ports = if self.ports.is_empty() { system_ports()? } else { self.ports.clone() };
        let probes: Vec<_> = ports
            .into_iter()
            .map(|port| {
                let (name, baud) = (port.clone(), self.baud);
                (port, std::thread::spawn(move || Device::probe(&name, baud, limit)))
            })
            .collect();
        let (mut found, mut failed) = (Vec::new(), None);
        for (port, probe) in probes {
            let answer = probe.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            found.push(match answer {
                Ok(info) => Found { port, device: Some(facts(&info)), error: None },
                Err(e) => {
                    let error = Some(e.to_string());
                    failed = failed.or(Some(e));
                    Found { port, device: None, error }
                }
            });
        }
        self.output.print(&Report { devices: found }, text);
        match failed {
            Some(e) if !self.ports.is_empty() => Err(e),
            _ => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct Report {
    devices: Vec<Found>,
}

fn system_ports() -> Result<Vec<String>> {
    let ports = serialport::available_ports().map_err(|e| Error::Setup {
        what: "the list of serial ports".into(),
        reason: e.to_string(),
        help: "name the ports to try: systole devices /dev/ttyUSB0".into(),
    })?;
    Ok(ports.into_iter().map(|p| p.port_name).collect())
}

fn facts(info: &crate::driver::requests::DeviceInfo) -> Facts {
    let m = &info.machine;
    Facts {
        lanes: m.lanes,
        vector_lanes: m.vector_lanes,
        hmem_elements: m.hmem_words,
        smem_elements: m.smem_words,
        program_words: m.pmem_words,
        clock_hz: info.clock_hz,
        design_hash: format!("{:08x}", info.design_hash),
        firmware_hash: format!("{:08x}", info.firmware_hash),
    }
}

fn text(r: &Report) -> String {
    if r.devices.is_empty() {
        return "this system has no serial ports (pseudo-terminals are not listed: name them)".into();
    }
    let lines = r.devices.iter().map(|f| match (&f.device, &f.error) {
        (Some(d), _) => format!(
            "{}: N = {}, V = {}, {} FP16 and {} FP32 elements, {}, design {}, firmware {}",
            f.port,
            d.lanes,
            d.vector_lanes,
            d.hmem_elements,
            d.smem_elements,
            if d.clock_hz == 0 { "simulated".into() } else { format!("{:.1} MHz", f64::from(d.clock_hz) / 1e6) },
            d.design_hash,
            d.firmware_hash
        ),
        (None, e) => format!("{}: no device: {}", f.port, e.as_deref().unwrap_or("no answer")),
    });
    lines.collect::<Vec<_>>().join("\n")
}
