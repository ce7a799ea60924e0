//! `systole bench link`: payload over line rate.
//!
//! Without `--device`, the hardware and its UART are simulated bit by bit and time is counted in clock cycles, so the
//! numbers are exact and repeat. The line rate in bytes is a tenth of its bits: 8N1 sends ten bits for eight.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use systole_isa::frame::WINDOW;
use systole_isa::machine::Machine;
use systole_isa::regs::Space;
use systole_sim::port::Port;
use systole_sim::rtl::SerialOptions;

use super::super::OutputArgs;
use crate::driver::device::{DeviceKind, DeviceOptions};
use crate::driver::requests::Block;
use crate::driver::{Device, rtl};
use crate::error::{Error, Result};

/// Latencies of the host's side, in milliseconds: none, a USB bridge in its low-latency mode, and as it comes.
const LATENCIES: [u32; 3] = [0, 1, 16];

/// Share of the line rate that is payload, stop-and-wait against windowed
///
/// Writes and reads FP16 memory and compares what comes back. By default the hardware behind its UART is simulated bit by
/// bit, and every frame of the device reaches the host after 0, 1 and 16 ms: a simulator, a USB bridge in its low-latency
/// mode, and one as it comes. With --device, a board is measured by the wall clock.
#[derive(Debug, Args)]
pub(in crate::cli) struct LinkArgs {
    /// Measure this serial port instead of a simulated one
    #[arg(long, value_name = "PATH|tcp:HOST:PORT")]
    device: Option<String>,
    /// Bits per second
    #[arg(long, default_value_t = 3_000_000, value_name = "RATE")]
    baud: u32,
    /// Clock of the simulated hardware
    #[arg(long, default_value_t = 50_000_000, value_name = "HZ", conflicts_with = "device")]
    clock_hz: u32,
    /// Lanes of the simulated array
    #[arg(long, default_value_t = 8, value_name = "N", conflicts_with = "device")]
    lanes: u32,
    /// Bytes each way; stop-and-wait, which is periodic from the first frame on, moves a quarter of them
    #[arg(long, default_value_t = 32_768, value_name = "BYTES")]
    bytes: u32,
    /// Write the table as CSV, too, with the command in its first line
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Row {
    direction: &'static str,
    mode: &'static str,
    /// Requests that may be outstanding.
    window: usize,
    /// Added to the way of every frame from the device to the host.
    latency_ms: u32,
    payload_bytes: usize,
    /// Clock cycles, where the device is simulated.
    cycles: Option<u64>,
    seconds: f64,
    bytes_per_second: f64,
    /// Payload over line rate, 0..=1.
    share: f64,
    retransmitted: u64,
}

#[derive(Serialize)]
struct Report {
    device: String,
    baud: u32,
    /// Line rate in bytes: a tenth of the bits.
    line_bytes_per_second: f64,
    rows: Vec<Row>,
}

/// A host that hears every frame a while after it was sent.
struct LatePort<P> {
    inner: P,
    cycles: u64,
    held: VecDeque<(u64, Vec<u8>)>,
}

impl<P: Port> Port for LatePort<P> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.send(bytes)
    }

    fn receive(&mut self, out: &mut Vec<u8>, timeout: Duration) -> io::Result<usize> {
        let mut fresh = Vec::new();
        self.inner.receive(&mut fresh, timeout)?;
        let now = self.inner.cycles().unwrap_or(0);
        if !fresh.is_empty() {
            self.held.push_back((now + self.cycles, fresh));
        }
        let before = out.len();
        while self.held.front().is_some_and(|(due, _)| *due <= now) {
            out.extend(self.held.pop_front().map(|(_, bytes)| bytes).unwrap_or_default());
        }
        Ok(out.len() - before)
    }

    fn name(&self) -> String {
        self.inner.name()
    }

    fn cycles(&self) -> Option<u64> {
        self.inner.cycles()
    }

    fn set_baud(&mut self, baud: u32) -> io::Result<bool> {
        self.inner.set_baud(baud)
    }

    fn baud(&self) -> Option<u32> {
        self.inner.baud()
    }
}

impl LinkArgs {
    pub(super) fn run(self) -> Result<()> {
        if self.baud == 0 {
            return Err(Error::value("--baud", 0, "a line has a rate"));
        }
        let mut rows = Vec::new();
        match &self.device {
            Some(name) => {
                let options = DeviceOptions { name: name.clone(), baud: Some(self.baud), ..DeviceOptions::default() };
                self.measure(&mut Device::open(&options)?, 0, &mut rows)?;
            }
            None => {
                let machine = Machine::with_lanes(self.lanes);
                if let Some(rule) = machine.invalid() {
                    return Err(Error::value("--lanes", self.lanes, rule));
                }
                let line = SerialOptions { clock_hz: self.clock_hz, baud: self.baud };
                for latency in LATENCIES {
                    let (inner, _) = rtl::open_serial(machine, line)?;
                    let cycles = u64::from(self.clock_hz) * u64::from(latency) / 1000;
                    let port = LatePort { inner, cycles, held: VecDeque::new() };
                    let mut device = Device::on_port(Box::new(port), DeviceKind::Rtl)?;
                    self.measure(&mut device, latency, &mut rows)?;
                }
            }
        }
        let report = Report {
            device: self.device.clone().unwrap_or_else(|| format!("rtl with a UART at {} Hz", self.clock_hz)),
            baud: self.baud,
            line_bytes_per_second: f64::from(self.baud) / 10.0,
            rows,
        };
        if let Some(path) = &self.csv {
            super::write_csv(path, &report.rows)?;
        }
        self.output.print(&report, text);
        Ok(())
    }

    /// Writes and reads, one at a time and with a window.
    fn measure(&self, device: &mut Device, latency_ms: u32, rows: &mut Vec<Row>) -> Result<()> {
        let machine = device.info.machine;
        let room = machine.hmem_plane();
        let elements = self.bytes / 2;
        if elements < 4 || elements > room {
            let reason = format!("one plane of the device's FP16 memory holds 8 to {} bytes", 2 * room);
            return Err(Error::value("--bytes", self.bytes, reason));
        }
        // no zeros in sight of COBS would be a best case: these bytes take every value
        let data: Vec<u8> = (0..2 * elements).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        device.link.phase("measuring the link");
        for (mode, window, part) in [("stop-and-wait", 1, 4), ("windowed", WINDOW, 1)] {
            device.link.set_window(window);
            let block = Block::line(Space::Hmem, 0, elements / part);
            let data = &data[..2 * block.elements()];
            let mut time = |direction, work: &mut dyn FnMut(&mut Device) -> Result<()>| {
                device.link.drain()?;
                let (before, again, begun) =
                    (device.link.cycles(), device.link.statistics().retransmitted, Instant::now());
                work(device)?;
                let cycles = device.link.cycles().zip(before).map(|(now, before)| now - before);
                let seconds = match cycles {
                    Some(c) => c as f64 / f64::from(self.clock_hz),
                    None => begun.elapsed().as_secs_f64(),
                };
                let bytes_per_second = data.len() as f64 / seconds;
                rows.push(Row {
                    direction,
                    mode,
                    window,
                    latency_ms,
                    payload_bytes: data.len(),
                    cycles,
                    seconds: (1e6 * seconds).round() / 1e6,
                    bytes_per_second: bytes_per_second.round(),
                    share: (1e5 * bytes_per_second / f64::from(self.baud)).round() / 1e4,
                    retransmitted: device.link.statistics().retransmitted - again,
                });
                Ok(())
            };
            time("upload", &mut |d| {
                d.link.write(block, data)?;
                d.link.drain()
            })?;
            let mut back = Vec::new();
            time("download", &mut |d| {
                back = d.link.read(block)?;
                Ok(())
            })?;
            if let Some(i) = (0..data.len()).find(|&i| back[i] != data[i]) {
                return Err(Error::Mismatch {
                    what: format!("byte {i} read back"),
                    found: format!("{:#04x}", back[i]),
                    expected: format!("{:#04x}", data[i]),
                });
            }
        }
        device.link.set_window(WINDOW);
        Ok(())
    }
}

fn text(r: &Report) -> String {
    let mut out = vec![
        format!("{} at {} baud: {:.0} bytes/s on the line", r.device, r.baud, r.line_bytes_per_second),
        format!(
            "{:<9} {:<13} {:>6} {:>8} {:>8} {:>10} {:>9} {:>7}",
            "direction", "mode", "window", "latency", "bytes", "cycles", "bytes/s", "% line"
        ),
    ];
    for row in &r.rows {
        out.push(format!(
            "{:<9} {:<13} {:>6} {:>5} ms {:>8} {:>10} {:>9.0} {:>7.2}",
            row.direction,
            row.mode,
            row.window,
            row.latency_ms,
            row.payload_bytes,
            super::cell(row.cycles),
            row.bytes_per_second,
            100.0 * row.share
        ));
    }
    out.join("\n")
}
