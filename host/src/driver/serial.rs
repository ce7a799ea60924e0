//! A serial port: a board, or a simulator behind a pseudo-terminal.

use std::io::{self, Read, Write};
use std::time::Duration;

use systole_sim::port::Port;

use crate::error::{Error, Result};

/// Bits per second that a line runs at, if nothing else is asked for.
pub const BAUD: u32 = 3_000_000;
/// Bits per second that boards start with.
pub const SAFE_BAUD: u32 = 115_200;

/// Longest wait for the operating system to take bytes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// A serial port.
pub struct SerialPort {
    inner: Box<dyn serialport::SerialPort>,
    path: String,
}

impl SerialPort {
    /// Opens the port at `path`.
    pub fn open(path: &str, baud: u32) -> Result<SerialPort> {
        if !std::path::Path::new(path).exists() {
            return Err(Error::UnknownDevice {
                name: path.into(),
                reason: "neither a simulated device nor an existing port".into(),
            });
        }
        let inner = open(serialport::new(path, baud).timeout(WRITE_TIMEOUT)).map_err(|e| match e.kind() {
            serialport::ErrorKind::Io(kind) => {
                Error::Io { action: "open", path: path.into(), source: io::Error::new(kind, e.description.clone()) }
            }
            serialport::ErrorKind::NoDevice => {
                let busy = io::Error::new(io::ErrorKind::ResourceBusy, "it is in use by another program");
                Error::Io { action: "open", path: path.into(), source: busy }
            }
            _ => Error::UnknownDevice { name: path.into(), reason: e.description.clone() },
        })?;
        // what an earlier program left unread is not for us
        let _ = inner.clear(serialport::ClearBuffer::All);
        Ok(SerialPort { inner, path: path.into() })
    }
}

#[cfg(target_os = "linux")]
fn open(builder: serialport::SerialPortBuilder) -> serialport::Result<Box<dyn serialport::SerialPort>> {
    let port = builder.open_native()?;
    low_latency::request(&port);
    Ok(Box::new(port))
}

#[cfg(not(target_os = "linux"))]
fn open(builder: serialport::SerialPortBuilder) -> serialport::Result<Box<dyn serialport::SerialPort>> {
    builder.open()
}

/// USB bridges hold what they receive for up to 16 ms, in case that more comes; a driver that is asked for low latency lets
/// them hold it for 1 ms. Pseudo-terminals and many drivers know nothing of it, and then nothing changes.
#[cfg(target_os = "linux")]
mod low_latency {
    use std::os::fd::AsRawFd as _;

    /// `struct serial_struct` of `<linux/serial.h>`, with room to spare: its fifth word holds the flags.
    #[repr(C, align(8))]
    struct Settings([u32; 32]);
    const FLAGS: usize = 4;
    const ASYNC_LOW_LATENCY: u32 = 1 << 13;
    const TIOCGSERIAL: libc::c_ulong = 0x541e;
    const TIOCSSERIAL: libc::c_ulong = 0x541f;

    #[allow(unsafe_code)]
    pub(super) fn request(port: &serialport::TTYPort) {
        let (fd, mut settings) = (port.as_raw_fd(), Settings([0; 32]));
        // SAFETY: the descriptor is open, and the buffer is larger than what the kernel reads or writes.
        let set = unsafe {
            libc::ioctl(fd, TIOCGSERIAL as _, settings.0.as_mut_ptr()) == 0 && {
                settings.0[FLAGS] |= ASYNC_LOW_LATENCY;
                libc::ioctl(fd, TIOCSSERIAL as _, settings.0.as_ptr()) == 0
            }
        };
        tracing::debug!(set, "low latency");
    }
}

impl Port for SerialPort {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.set_timeout(WRITE_TIMEOUT).map_err(io::Error::from)?;
        self.inner.write_all(bytes)
    }

    fn receive(&mut self, out: &mut Vec<u8>, timeout: Duration) -> io::Result<usize> {
        self.inner.set_timeout(timeout).map_err(io::Error::from)?;
        let mut chunk = [0; 4096];
        match self.inner.read(&mut chunk) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                out.extend_from_slice(&chunk[..n]);
                Ok(n)
            }
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(0)
            }
            Err(e) => Err(e),
        }
    }

    fn name(&self) -> String {
        self.path.clone()
    }

    fn set_baud(&mut self, baud: u32) -> io::Result<bool> {
        self.inner.set_baud_rate(baud)?;
        Ok(true)
    }

    fn baud(&self) -> Option<u32> {
        self.inner.baud_rate().ok()
    }
}
