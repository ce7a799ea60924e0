//! The rate of a serial line. A board starts at a rate that every cable carries, the host asks for the one that it wants, and
//! both go back where nothing comes through at that: the host after [`TRIAL`], the device a good while before.
//!
//! A device may also be at the wanted rate already, because a host before left it there. So a hello tries both in turn.

use std::time::Duration;

use systole_isa::frame::ErrorCode;
use systole_isa::regs;

use super::link::Link;
use super::requests::DeviceInfo;
use crate::error::{Error, Result};

/// How long the host listens at a new rate.
const TRIAL: Duration = Duration::from_secs(2);
/// How long the device does, in parts of a second.
const DEVICE_TRIALS_A_SECOND: u32 = 8;
/// How long the host looks for the device at the old rate again. A simulated device takes longer than a board.
const RETURN: Duration = Duration::from_secs(60);

/// Says hello at the line's rate or, where it does not answer there, at another of the link's; then asks for the first.
pub(super) fn greet(link: &mut Link) -> Result<DeviceInfo> {
    let wanted = link.baud();
    let info = link.hello()?;
    let found = link.baud();
    // from here on it is known where the device is
    link.set_rates(&[]);
    match (wanted, found) {
        (Some(wanted), Some(found)) if wanted != found => change(link, info, found, wanted),
        _ => Ok(info),
    }
}

/// Asks a device that was greeted at rate `from` to go to rate `to`, and greets it there. It stays where it was if it cannot,
/// or if nothing comes through there; [`Link::baud`] tells.
///
/// # Errors
/// What a request can fail with, and [`Error::Timeout`] where the device is at neither rate any more.
pub fn change(link: &mut Link, info: DeviceInfo, from: u32, to: u32) -> Result<DeviceInfo> {
    let Some(divisor) = regs::uart_divisor(info.clock_hz, to) else {
        tracing::debug!(clock_hz = info.clock_hz, to, "the device does not make this rate");
        return Ok(info);
    };
    match link.change_baud(divisor, info.clock_hz / DEVICE_TRIALS_A_SECOND) {
        Err(Error::Device { code, .. }) if code == ErrorCode::NoBaud as u32 => return Ok(info),
        other => other?,
    }
    link.set_baud(to)?;
    let usual = link.set_deadline(TRIAL);
    let there = link.hello();
    link.set_deadline(usual);
    match there {
        Ok(info) => Ok(info),
        Err(Error::Timeout { .. } | Error::BadReply { .. }) => {
            tracing::warn!("nothing comes through at {to} baud: staying at {from}");
            link.abandon();
            link.set_baud(from)?;
            let usual = link.set_deadline(RETURN);
            let info = link.hello();
            link.set_deadline(usual);
            info
        }
        Err(e) => Err(e),
    }
}
