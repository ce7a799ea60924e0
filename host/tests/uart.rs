//! The hardware's UART, bit by bit, against the host: rates that agree, change, are off, and are wrong.
#![cfg(unix)]

mod sim_process;

use std::io;
use std::time::Duration;

use sim_process::{Sim, report, systole};
use systole::driver::faults::{FaultPort, Faults};
use systole::driver::link::{Link, Timeouts};
use systole::driver::requests::{Block, DeviceInfo};
use systole::driver::{rate, rtl};
use systole::error::Error;
use systole_isa::frame::ErrorCode;
use systole_isa::machine::Machine;
use systole_isa::regs::Space;
use systole_sim::Model;
use systole_sim::port::Port;
use systole_sim::rtl::{SerialOptions, SerialRtl};

/// 8.33 cycles a bit: the fastest that a board of 25 MHz is asked for.
const LINE: SerialOptions = SerialOptions { clock_hz: 25_000_000, baud: 3_000_000 };

fn serial() -> SerialRtl {
    rtl::open_serial(Machine::with_lanes(4), LINE).unwrap().0
}

/// A host whose clock is off by some parts in a thousand above a rate.
struct OffPort<P> {
    inner: P,
    per_mille: i64,
    above: u32,
    nominal: u32,
}

impl<P: Port> OffPort<P> {
    fn new(inner: P, per_mille: i64, above: u32) -> OffPort<P> {
        let nominal = inner.baud().unwrap();
        let mut port = OffPort { inner, per_mille, above, nominal };
        port.set_baud(nominal).unwrap();
        port
    }
}

impl<P: Port> Port for OffPort<P> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.send(bytes)
    }
    fn receive(&mut self, out: &mut Vec<u8>, timeout: Duration) -> io::Result<usize> {
        self.inner.receive(out, timeout)
    }
    fn name(&self) -> String {
        "a host whose clock is off".into()
    }
    fn cycles(&self) -> Option<u64> {
        self.inner.cycles()
    }
    fn set_baud(&mut self, baud: u32) -> io::Result<bool> {
        self.nominal = baud;
        let off = if baud > self.above { self.per_mille } else { 0 };
        self.inner.set_baud((i64::from(baud) * (1000 + off) / 1000) as u32)
    }
    fn baud(&self) -> Option<u32> {
        Some(self.nominal)
    }
}

fn greeted(port: impl Port + 'static) -> (Link, DeviceInfo) {
    // in simulated time the line is fast, however slow the simulation
    let timeouts = Timeouts { deadline: Duration::from_secs(300), retransmit_cycles: 400_000, ..Timeouts::default() };
    let mut link = Link::new(Box::new(port), timeouts);
    link.phase("in a test");
    let info = link.hello().unwrap();
    (link, info)
}

fn moves_data(link: &mut Link) {
    let block = Block::line(Space::Hmem, 0, 700);
    let data: Vec<u8> = (0..1400u32).map(|i| (i * i >> 3) as u8).collect();
    link.write(block, &data).unwrap();
    assert_eq!(link.read(block).unwrap(), data);
}

#[test]
fn the_rate_changes_when_asked_and_stays_when_nothing_comes_through() {
    // the host's clock is 8 % off above 2 Mbaud: too much for any UART
    let mut port = serial();
    port.set_baud(LINE.baud).unwrap();
    let (mut link, info) = greeted(OffPort::new(port, -80, LINE.baud));
    assert_eq!(info.clock_hz, LINE.clock_hz);
    // no clock makes this: it is not even asked for
    rate::change(&mut link, info, LINE.baud, 4_000_000).unwrap();
    assert_eq!(link.baud(), Some(LINE.baud));
    rate::change(&mut link, info, LINE.baud, 1_000_000).unwrap();
    assert_eq!(link.baud(), Some(1_000_000));
    moves_data(&mut link);
    // 3.1 Mbaud are 8.06 cycles a bit, and there the host is off
    rate::change(&mut link, info, 1_000_000, 3_100_000).unwrap();
    assert_eq!(link.baud(), Some(1_000_000));
    moves_data(&mut link);
}

#[test]
fn two_percent_off_is_no_matter() {
    for per_mille in [-20, 20] {
        let (mut link, _) = greeted(OffPort::new(serial(), per_mille, 0));
        moves_data(&mut link);
        let s = link.statistics();
        assert_eq!((s.damaged, s.naks, s.retransmitted), (0, 0, 0), "{per_mille}");
    }
}

#[test]
fn a_wrong_rate_is_a_named_error() {
    let port = OffPort::new(serial(), -500, 0);
    let timeouts = Timeouts { deadline: Duration::from_secs(1), retransmit_cycles: 100_000, ..Timeouts::default() };
    let mut link = Link::new(Box::new(port), timeouts);
    link.phase("saying hello");
    let e = link.hello().unwrap_err();
    assert!(matches!(e, Error::Timeout { .. }), "{e}");
    assert_eq!(e.exit_code(), 5);
}

#[test]
fn noise_on_the_line_costs_time_and_no_bits() {
    let faults = Faults { burst: 60, noise: 60, ..Faults::default() };
    let port = FaultPort::new(serial(), faults, 3);
    let made = port.made();
    let (mut link, _) = greeted(port);
    for _ in 0..20 {
        moves_data(&mut link);
    }
    assert!(made.load(std::sync::atomic::Ordering::Relaxed) > 5);
    assert!(link.statistics().retransmitted > 0);
}

#[test]
fn a_device_without_a_uart_refuses_politely() {
    let refused = |e: Error| matches!(e, Error::Device { code, .. } if code == ErrorCode::NoBaud as u32);
    let (mut link, _) = greeted(Model::new(Machine::DEFAULT).unwrap());
    let e = link.change_baud(100 << 16, 1_000_000).unwrap_err();
    assert!(e.to_string().contains("no UART"), "{e}");
    assert!(refused(e));
    let (mut link, _) = greeted(rtl::open(Machine::DEFAULT, None, 1).unwrap().0);
    assert!(refused(link.change_baud(100 << 16, 1_000_000).unwrap_err()));
    // and one with a UART refuses what it cannot do
    let (mut link, _) = greeted(serial());
    let e = link.change_baud(7 << 16, 1_000_000).unwrap_err();
    assert!(e.to_string().contains("8 clock cycles a bit, 7.00"), "{e}");
    moves_data(&mut link);
}

#[test]
fn training_through_every_bit_of_the_line_gives_the_same_weights() {
    let dir = tempfile::tempdir().unwrap();
    let rows: String = (0..40u32)
        .map(|r| {
            let features: Vec<String> = (0..16).map(|c| ((r * 31 + c * 17) % 256).to_string()).collect();
            format!("{},{}\n", features.join(","), r % 4)
        })
        .collect();
    std::fs::write(dir.path().join("rows.csv"), rows).unwrap();
    let train = |device: &str, more: &[&str]| {
        let args = "train --data rows.csv --model mlp:16-8-4 --batch 8 --epochs 1 --seed 7 --json --device";
        report(&systole(dir.path(), &[&args.split(' ').collect::<Vec<_>>()[..], &[device], more].concat()))
    };
    let direct = train("model", &["--lanes", "4"]);
    let (rate, clock) = (LINE.baud.to_string(), LINE.clock_hz.to_string());
    let link = dir.path().join("dev");
    for line in [&["--pty", "--link", link.to_str().unwrap()][..], &["--tcp", "0"]] {
        let sim = Sim::start(&[line, &["--lanes", "4", "--uart", &rate, "--clock-hz", &clock]].concat());
        assert_eq!(sim.ready["uart"], LINE.baud);
        // a pseudo-terminal's rate is the host's: it starts at a wrong one, and finds the device at the one wanted
        let through = train(sim.connect(), &["--baud", &rate]);
        assert_eq!(through["weights_sha256"], direct["weights_sha256"], "{line:?}");
        assert_eq!(through["steps"], direct["steps"]);
    }
}
