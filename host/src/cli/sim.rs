//! `systole sim`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{ArgGroup, Args};
use serde::Serialize;
use systole_sim::rtl::SerialOptions;

use super::OutputArgs;
use super::trace::TraceArgs;
use crate::driver::device::{self, DeviceOptions};
use crate::driver::serve::{self, Line, LinkFile, Pty, Tcp, Watch};
use crate::driver::trace::Span;
use crate::error::{Error, Result};

/// Run the simulated hardware behind a serial port of its own
///
/// The device stays on until Ctrl-C (or SIGTERM), and hosts come and go as with a board: `systole train --device PATH`. What it
/// says goes to stderr; with --json, one object goes to stdout as soon as hosts may connect. Its clock stands still while
/// nobody is connected.
///
///   systole sim --pty --link ./dev &
///   systole train --device ./dev
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, group(ArgGroup::new("line").required(true).args(["pty", "tcp"])))]
pub(super) struct SimArgs {
    /// On a new pseudo-terminal, which looks like the serial port of a board
    #[arg(long)]
    pty: bool,
    /// Make PATH a symbolic link to the pseudo-terminal while it is there
    #[arg(long, value_name = "PATH")]
    link: Option<PathBuf>,
    /// On this TCP port of 127.0.0.1; 0 takes one that is free. Hosts connect with `--device tcp:127.0.0.1:PORT`
    #[arg(long, value_name = "PORT")]
    tcp: Option<u16>,
    /// What to simulate: `rtl` (the hardware, cycle by cycle) or `model` (the same bits at native speed)
    #[arg(long, default_value = "rtl", value_name = "rtl|model", value_parser = ["rtl", "model"])]
    device: String,
    /// Lanes of the systolic array
    #[arg(long, default_value_t = 8, value_name = "N")]
    lanes: u32,
    /// Put the hardware's UART before the port and simulate its line bit by bit, at RATE bits per second. The host's end runs
    /// at the rate that the host sets on the pseudo-terminal, right or wrong, or at RATE behind --tcp
    #[arg(long, value_name = "RATE")]
    uart: Option<u32>,
    /// Clock of the hardware with --uart: what makes clock cycles of a bit
    #[arg(long, default_value_t = 50_000_000, value_name = "HZ", requires = "uart")]
    clock_hz: u32,
    /// Lanes of the vector engine, at most those of the array [default: the array's, up to 8]
    #[arg(long, value_name = "V")]
    vector_lanes: Option<u32>,
    #[command(flatten)]
    trace: TraceArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Printed when hosts may connect.
#[derive(Serialize)]
struct Ready {
    /// What a host gives as `--device`.
    connect: String,
    /// The pseudo-terminal or TCP address itself.
    address: String,
    device: String,
    lanes: u32,
    /// Bits per second of the UART, where there is one.
    uart: Option<u32>,
    pid: u32,
}

struct Keeper {
    stop: Arc<AtomicBool>,
    link: Option<LinkFile>,
}

impl Watch for Keeper {
    fn stop(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn moved(&mut self, address: &str) -> Result<()> {
        match &mut self.link {
            Some(link) => link.point(address)?,
            None => eprintln!("the last host left its lock on the port: connect to {address} from now on"),
        }
        Ok(())
    }
}

impl SimArgs {
    pub(super) fn run(self) -> Result<()> {
        if let (Some(link), false) = (&self.link, self.pty) {
            return Err(Error::value(
                "--link",
                link.display(),
                "only a pseudo-terminal has a path: it goes with --pty",
            ));
        }
        let trace = self.trace.options(Span::Cycles(0..10_000))?;
        if matches!(&trace, Some(t) if matches!(t.span, Span::Steps(_))) {
            return Err(Error::value("--trace-start", "step:…", "the simulator knows no steps: give cycles"));
        }
        let traced = trace.is_some();
        let options = DeviceOptions {
            name: self.device.clone(),
            lanes: Some(self.lanes),
            vector_lanes: self.vector_lanes,
            trace,
            ..DeviceOptions::default()
        };
        let mut device = match self.uart {
            None => device::simulated(&options)?,
            Some(baud) if traced => {
                return Err(Error::value(
                    "--uart",
                    baud,
                    "signals are recorded without the UART: leave out --trace-fst",
                ));
            }
            Some(baud) if self.device == "rtl" => {
                device::simulated_serial(&options, SerialOptions { clock_hz: self.clock_hz, baud })?
            }
            Some(baud) => return Err(Error::value("--uart", baud, "only rtl has a UART")),
        };
        // from here on there may be something to clean up; before, a signal simply ends the program
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst)).map_err(|e| Error::Setup {
            what: "the signal handler".into(),
            reason: e.to_string(),
            help: "this is a bug worth reporting".into(),
        })?;
        let mut line: Box<dyn Line> = match self.tcp {
            Some(port) => Box::new(Tcp::listen(port)?),
            None => Box::new(Pty::open()?),
        };
        let address = line.address();
        let link = self.link.as_ref().map(|path| LinkFile::create(path, &address)).transpose()?;
        let connect = self.link.as_ref().map_or(address.clone(), |path| path.display().to_string());
        eprintln!("{} with {} lanes is ready: systole train --device {connect}", self.device, self.lanes);
        if self.output.json {
            let (device, lanes, uart) = (self.device.clone(), self.lanes, self.uart);
            let ready = Ready { connect, address, device, lanes, uart, pid: std::process::id() };
            self.output.print(&ready, |_| String::new());
        }
        let served = serve::serve(&mut *device, &mut *line, &mut Keeper { stop, link });
        drop(device);
        self.trace.report(served.is_err());
        served
    }
}
