//! A device behind a serial port, here a pseudo-terminal.
#![cfg(unix)]

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serialport::{SerialPort as _, TTYPort};
use systole::driver::Device;
use systole::driver::device::{DeviceKind, DeviceOptions};
use systole::driver::serial::SerialPort;
use systole::error::Error;
use systole::run::{Silent, TrainOptions, train, train_on};
use systole_isa::machine::Machine;
use systole_sim::{Model, Port as _};

/// A pseudo-terminal with `serve` at its far end; the path of the near end.
fn terminal(serve: impl FnOnce(TTYPort, Arc<AtomicBool>) + Send + 'static) -> (String, Arc<AtomicBool>) {
    let (mut master, slave) = TTYPort::pair().unwrap();
    master.set_timeout(Duration::from_millis(1)).unwrap();
    let path = slave.name().unwrap();
    // a port is locked by whoever has it open
    drop(slave);
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    std::thread::spawn(move || serve(master, flag));
    (path, stop)
}

fn serve_model(mut line: TTYPort, stop: Arc<AtomicBool>) {
    let mut model = Model::new(Machine::DEFAULT).unwrap();
    let mut chunk = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        if let Ok(n) = line.read(&mut chunk) {
            model.send(&chunk[..n]).unwrap();
        }
        let mut out = Vec::new();
        model.receive(&mut out, Duration::ZERO).unwrap();
        let mut rest = &out[..];
        while !rest.is_empty() && !stop.load(Ordering::Relaxed) {
            if let Ok(n) = line.write(rest) {
                rest = &rest[n..];
            }
        }
    }
}

#[test]
fn a_port_trains_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let (path, stop) = terminal(serve_model);
    let options = |name: &str| TrainOptions {
        device: DeviceOptions { name: name.into(), ..DeviceOptions::default() },
        epochs: 1,
        seed: 7,
        runs: dir.path().into(),
        ..TrainOptions::default()
    };
    let over_port = train(&options(&path), &mut Silent).unwrap();
    stop.store(true, Ordering::Relaxed);
    let device = Device::on_port(Box::new(Model::new(Machine::DEFAULT).unwrap()), DeviceKind::Model).unwrap();
    let direct = train_on(device, &options("model"), &mut Silent).unwrap();
    assert_eq!(over_port.weights_sha256, direct.weights_sha256);
    assert_eq!(over_port.device, path);
}

#[test]
fn a_silent_port_is_given_up() {
    let (path, _stop) = terminal(|mut line, stop| {
        let mut chunk = [0; 256];
        while !stop.load(Ordering::Relaxed) {
            let _ = line.read(&mut chunk);
        }
    });
    let started = Instant::now();
    let error = Device::open(&DeviceOptions { name: path, ..DeviceOptions::default() }).unwrap_err();
    assert!(matches!(error, Error::Timeout { received: 0, .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_port_that_is_in_use_is_named() {
    let (_master, slave) = TTYPort::pair().unwrap();
    let path = slave.name().unwrap();
    drop(slave);
    let _first = SerialPort::open(&path, 3_000_000).unwrap();
    let error = Device::open(&DeviceOptions { name: path.clone(), ..DeviceOptions::default() }).unwrap_err();
    assert!(error.to_string().contains("in use") && error.to_string().contains(&path), "{error}");
}
