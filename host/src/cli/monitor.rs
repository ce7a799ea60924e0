//! `systole monitor`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use systole_isa::frame::scaler;
use systole_isa::regs::Counter;

use super::{DeviceArgs, OutputArgs};
use crate::driver::Device;
use crate::driver::log::LogDecoder;
use crate::error::{Error, Result};

/// Watch a device: its firmware's log and its counters
///
/// The device must be free: a port has one host at a time (`train --log` shows the log of a run). Nothing that it holds
/// changes, except that the monitor's hello ends an earlier host's conversation. Lines go to stderr until Ctrl-C, --for or
/// --once; the last counters go to stdout, with --json as an object. With --follow, stdout gets every reading and every line
/// of the log, as they come.
///
/// The log's strings are in the firmware's ELF file. One that `systole setup` has built is found by the hash that the device
/// reports.
#[derive(Debug, Args)]
pub(super) struct MonitorArgs {
    #[command(flatten)]
    device: DeviceArgs,
    /// ELF file of the firmware, where it was built elsewhere
    #[arg(long, value_name = "FILE")]
    firmware_elf: Option<PathBuf>,
    /// Time between two readings of the counters
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", allow_negative_numbers = true)]
    interval: f64,
    /// Stop after one reading
    #[arg(long)]
    once: bool,
    /// Stop after so long
    #[arg(long = "for", value_name = "SECONDS", conflicts_with = "once", allow_negative_numbers = true)]
    duration: Option<f64>,
    /// Every reading and log line on stdout; with --json one object a line
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// One reading.
#[derive(Clone, Debug, Serialize)]
struct Reading {
    /// Since the monitor began.
    seconds: f64,
    /// Clock cycles since the device started; null on the model, which has no clock.
    cycles: Option<u64>,
    matrix: Option<Engine>,
    vector: Option<Engine>,
    /// Requests executed since the device started.
    requests: u32,
    /// Frames that the device dropped as damaged, and for want of room.
    damaged: u32,
    overflowed: u32,
    naks: u32,
    /// The loss scaler's.
    steps: u32,
    skipped: u32,
    loss_scale: f64,
    /// Which values came out non-finite last: forward, activation_gradient, weight_gradient, free.
    flags: Vec<&'static str>,
}

/// Cycles of an engine, modulo 2^32.
#[derive(Clone, Copy, Debug, Serialize)]
struct Engine {
    busy: u32,
    waiting: u32,
    memory: u32,
}

#[derive(Serialize)]
struct LogLine<'a> {
    log: &'a str,
}

#[derive(Serialize)]
struct Report {
    device: String,
    lanes: u32,
    vector_lanes: u32,
    hmem_elements: u32,
    smem_elements: u32,
    clock_hz: u32,
    /// Bits per second of a serial port.
    baud: Option<u32>,
    firmware_hash: String,
    /// Lines of the firmware's log.
    log_lines: usize,
    /// The last reading.
    counters: Reading,
}

const FLAGS: [&str; 4] = ["forward", "activation_gradient", "weight_gradient", "free"];

impl MonitorArgs {
    pub(super) fn run(self) -> Result<()> {
        for (flag, value) in [("--interval", Some(self.interval)), ("--for", self.duration)] {
            if let Some(v) = value.filter(|&v| !(v > 0.0 && v <= 1e6)) {
                return Err(Error::value(flag, v, "it must be above 0 and at most a million seconds"));
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        let _ = ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst));
        let mut device = Device::open(&self.device.options())?;
        let elf = self.firmware_elf.clone().or_else(|| device.firmware_elf.clone());
        let mut decoder = elf.as_deref().map(LogDecoder::open).transpose()?;
        if decoder.is_none() && device.info.firmware_hash != 0 {
            eprintln!("this firmware was built elsewhere: its log needs --firmware-elf");
        }
        device.link.phase("watching it");
        let (begun, mut log_lines) = (Instant::now(), 0);
        let over = |begun: Instant| {
            stop.load(Ordering::SeqCst) || self.duration.is_some_and(|d| begun.elapsed().as_secs_f64() >= d)
        };
        let counters = loop {
            let reading = read(&mut device, begun)?;
            for (seq, lost, bytes) in device.link.take_logs() {
                for line in decoder.iter_mut().flat_map(|d| d.push(seq, lost, &bytes)) {
                    log_lines += 1;
                    self.say(&LogLine { log: &line }, |l| l.log.into());
                }
            }
            self.say(&reading, text);
            if self.once || over(begun) {
                break reading;
            }
            let next = Instant::now() + Duration::from_secs_f64(self.interval);
            while Instant::now() < next && !over(begun) {
                std::thread::sleep(Duration::from_millis(20).min(next - Instant::now()));
            }
            if over(begun) {
                break reading;
            }
        };
        let m = device.info.machine;
        let report = Report {
            device: device.link.name(),
            lanes: m.lanes,
            vector_lanes: m.vector_lanes,
            hmem_elements: m.hmem_words,
            smem_elements: m.smem_words,
            clock_hz: device.info.clock_hz,
            baud: device.link.baud(),
            firmware_hash: format!("{:08x}", device.info.firmware_hash),
            log_lines,
            counters,
        };
        // with --follow everything has been said
        if !self.follow {
            self.output.print(&report, summary);
        }
        Ok(())
    }

    /// A line as it comes: on stdout with --follow, else on stderr.
    fn say<T: Serialize>(&self, what: &T, text: impl FnOnce(&T) -> String) {
        if self.follow {
            self.output.print(what, text);
        } else {
            eprintln!("{}", text(what));
        }
    }
}

fn read(device: &mut Device, begun: Instant) -> Result<Reading> {
    let s = device.link.status()?;
    let state = device.link.scaler_get(0)?;
    let engine = |first: Counter| {
        let i = first as usize;
        Engine { busy: s.counters[i], waiting: s.counters[i + 1], memory: s.counters[i + 2] }
    };
    let clocked = device.has_cycles();
    Ok(Reading {
        seconds: begun.elapsed().as_secs_f64(),
        cycles: clocked.then_some(s.cycle),
        matrix: clocked.then(|| engine(Counter::MatrixBusy)),
        vector: clocked.then(|| engine(Counter::VectorBusy)),
        requests: s.requests,
        damaged: s.dropped.0,
        overflowed: s.dropped.1,
        naks: s.naks,
        steps: state[scaler::STEPS],
        skipped: state[scaler::SKIPS],
        loss_scale: f64::exp2(f64::from(state[scaler::EXPONENT] as i32)),
        flags: (0..FLAGS.len()).filter(|i| s.flags >> i & 1 == 1).map(|i| FLAGS[i]).collect(),
    })
}

fn text(r: &Reading) -> String {
    let mut line = format!("{:8.1} s", r.seconds);
    if let (Some(cycles), Some(m), Some(v)) = (r.cycles, r.matrix, r.vector) {
        line += &format!(
            "  cycles {cycles}  matrix busy {} wait {} memory {}  vector busy {} wait {} memory {}",
            m.busy, m.waiting, m.memory, v.busy, v.waiting, v.memory
        );
    }
    line += &format!("  steps {}  skips {}  scale {}  requests {}", r.steps, r.skipped, r.loss_scale, r.requests);
    if r.damaged + r.overflowed + r.naks > 0 {
        line += &format!("  frames damaged {} overflowed {} naks {}", r.damaged, r.overflowed, r.naks);
    }
    if !r.flags.is_empty() {
        line += &format!("  non-finite: {}", r.flags.join(", "));
    }
    line
}

fn summary(r: &Report) -> String {
    let clock = if r.clock_hz == 0 { "simulated".into() } else { format!("{:.1} MHz", f64::from(r.clock_hz) / 1e6) };
    format!(
        "{}: N = {}, V = {}, {} FP16 and {} FP32 elements, {clock}, firmware {}, {} log lines\n{}",
        r.device,
        r.lanes,
        r.vector_lanes,
        r.hmem_elements,
        r.smem_elements,
        r.firmware_hash,
        r.log_lines,
        text(&r.counters)
    )
}
