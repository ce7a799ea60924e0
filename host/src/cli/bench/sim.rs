//! `systole bench sim`: how fast the simulated hardware is simulated.

use std::time::Instant;

use serde::Serialize;

use super::{Common, Table, digits_session};
use crate::driver::Device;
use crate::driver::device::DeviceKind;
use crate::driver::session::Hyper;
use crate::error::{Error, Result};

#[derive(Serialize)]
struct SimRow {
    lanes: u32,
    threads: u32,
    khz: f64,
}

pub(super) fn run(common: Common) -> Result<()> {
    let device = Device::open(&common.device.options())?;
    if device.kind != DeviceKind::Rtl {
        return Err(Error::value("--device", &common.device.device, "only rtl is simulated cycle by cycle"));
    }
    let lanes = device.info.machine.lanes;
    let (mut session, data) = digits_session(device)?;
    let order: Vec<usize> = (0..data.train.len()).collect();
    let before = session.device().link.cycles().unwrap_or(0);
    let started = Instant::now();
    session.train(&data.train, &order, Hyper { lr: 0.05, momentum: 0.9 }, |_, _, _| Ok(()))?;
    let cycles = session.device().link.cycles().unwrap_or(0) - before;
    let khz = cycles as f64 / started.elapsed().as_secs_f64() / 1000.0;
    let table = Table { device: common.device.device.clone(), rows: vec![SimRow { lanes, threads: 1, khz }] };
    common.output.print(&table, |t| {
        format!("{} lanes, {} thread: {:.0} kHz while training", t.rows[0].lanes, t.rows[0].threads, t.rows[0].khz)
    });
    Ok(())
}
