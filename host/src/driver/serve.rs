//! A simulated device behind a line of its own: a pseudo-terminal, which looks like the serial port of a board, or a TCP port.
//!
//! One host at a time talks to the device; when it leaves, the device keeps its memories, as a board does, and the next one
//! may come. Simulated time stands still while nobody is there.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use systole_sim::port::Port;

use crate::error::{Error, Result};

/// How long to sleep while nobody is there.
const NOBODY: Duration = Duration::from_millis(10);
/// Longest wait for bytes while the device has nothing to say.
const IDLE: Duration = Duration::from_millis(1);

/// Where hosts connect to.
pub trait Line {
    /// What a host gives as `--device`.
    fn address(&self) -> String;

    /// Bytes from the host, waiting at most [`IDLE`] if `wait`: `Ok(0)` none so far, `None` nobody is there.
    fn read(&mut self, chunk: &mut [u8], wait: bool) -> io::Result<Option<usize>>;

    /// Bits per second that the host has set its end to, where it can.
    fn baud(&self) -> Option<u32> {
        None
    }

    /// Writes some of `bytes` and returns how many; those for nobody are dropped.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

/// What happens while serving, and when to stop.
pub trait Watch {
    /// Whether to stop.
    fn stop(&self) -> bool;

    /// Hosts connect to another address from now on.
    fn moved(&mut self, address: &str) -> Result<()>;
}

/// Passes bytes between `device` and whoever connects to `line`, until told to stop.
///
/// # Errors
/// [`Error::PortLost`] where the simulation fails or the line cannot be kept up.
pub fn serve(device: &mut dyn Port, line: &mut dyn Line, watch: &mut dyn Watch) -> Result<()> {
    let failed = |name: String| {
        move |source| Error::PortLost { port: name, phase: "serving the simulated device".into(), source }
    };
    let (mut chunk, mut out) = ([0; 4096], Vec::new());
    let mut address = line.address();
    let mut busy = false;
    while !watch.stop() {
        // a line that is simulated bit by bit takes no more than it can send: the host's own buffer fills, as with a board
        let room = device.room().min(chunk.len());
        let count = match room {
            0 => Some(0),
            _ => line.read(&mut chunk[..room], !busy).map_err(failed(address.clone()))?,
        };
        if line.address() != address {
            address = line.address();
            watch.moved(&address)?;
        }
        let Some(count) = count else {
            std::thread::sleep(NOBODY);
            continue;
        };
        let name = device.name();
        // A line that is simulated bit by bit runs at the host's rate, right or wrong; one of whole bytes has none.
        if let (Some(wanted), Some(now)) = (line.baud(), device.baud())
            && wanted != now
            && wanted != 0
            && let Err(e) = device.set_baud(wanted)
        {
            tracing::warn!(wanted, "the host's rate cannot be simulated: {e}");
        }
        if count > 0 {
            device.send(&chunk[..count]).map_err(failed(name.clone()))?;
        }
        out.clear();
        device.receive(&mut out, Duration::ZERO).map_err(failed(name))?;
        let mut rest = &out[..];
        while !rest.is_empty() && !watch.stop() {
            let written = line.write(rest).map_err(failed(address.clone()))?;
            rest = &rest[written..];
        }
        // a device with a clock has spent its own time in `receive`
        busy = count > 0 || !out.is_empty() || device.cycles().is_some();
    }
    Ok(())
}

fn quiet(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// A TCP port on the loopback interface.
pub struct Tcp {
    listener: TcpListener,
    address: String,
    host: Option<TcpStream>,
}

impl Tcp {
    /// Listens on `port` of 127.0.0.1; 0: one that is free.
    pub fn listen(port: u16) -> Result<Tcp> {
        let refuse = |e: io::Error| Error::value("--tcp", port, format!("cannot listen on 127.0.0.1:{port}: {e}"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(refuse)?;
        listener.set_nonblocking(true).map_err(refuse)?;
        let address = format!("{}{}", super::tcp::PREFIX, listener.local_addr().map_err(refuse)?);
        Ok(Tcp { listener, address, host: None })
    }
}

impl Line for Tcp {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn read(&mut self, chunk: &mut [u8], wait: bool) -> io::Result<Option<usize>> {
        let Some(host) = &mut self.host else {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nodelay(true)?;
                    stream.set_write_timeout(Some(NOBODY))?;
                    stream.set_read_timeout(Some(IDLE))?;
                    self.host = Some(stream);
                    return Ok(Some(0));
                }
                Err(e) if quiet(&e) => return Ok(None),
                Err(e) => return Err(e),
            }
        };
        host.set_nonblocking(!wait)?;
        let got = host.read(chunk);
        host.set_nonblocking(false)?;
        match got {
            Ok(n) if n > 0 => Ok(Some(n)),
            Err(e) if quiet(&e) => Ok(Some(0)),
            _ => {
                self.host = None;
                Ok(None)
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(host) = &mut self.host else { return Ok(bytes.len()) };
        match host.write(bytes) {
            Ok(n) if n > 0 => Ok(n),
            Err(e) if quiet(&e) => Ok(0),
            _ => {
                self.host = None;
                Ok(bytes.len())
            }
        }
    }
}

#[cfg(unix)]
pub use unix::{LinkFile, Pty};

#[cfg(unix)]
mod unix {
    use std::fs;
    use std::path::{Path, PathBuf};

    use serialport::{SerialPort as _, TTYPort};

    use super::*;

    /// A pseudo-terminal.
    pub struct Pty {
        master: TTYPort,
        path: String,
        there: bool,
    }

    impl Pty {
        /// A new one.
        pub fn open() -> Result<Pty> {
            let (master, path) = pair().map_err(|e| Error::Setup {
                what: "a pseudo-terminal".into(),
                reason: e.to_string(),
                help: "is /dev/pts mounted? `--tcp 0` needs none".into(),
            })?;
            Ok(Pty { master, path, there: false })
        }
    }

    fn pair() -> io::Result<(TTYPort, String)> {
        let (master, slave) = TTYPort::pair()?;
        let path = slave.name().ok_or_else(|| io::Error::other("it has no name"))?;
        // whoever has a port open locks it: ours must be closed before a host comes
        drop(slave);
        Ok((master, path))
    }

    impl Line for Pty {
        fn address(&self) -> String {
            self.path.clone()
        }

        fn read(&mut self, chunk: &mut [u8], wait: bool) -> io::Result<Option<usize>> {
            self.master.set_timeout(if wait { IDLE } else { Duration::ZERO })?;
            match self.master.read(chunk) {
                Ok(n) if n > 0 => {
                    self.there = true;
                    Ok(Some(n))
                }
                Err(e) if quiet(&e) => {
                    self.there = true;
                    Ok(Some(0))
                }
                _ => {
                    // A host that was killed leaves its lock behind, and the system would keep everybody else out.
                    if std::mem::take(&mut self.there) && locked(&self.path) {
                        (self.master, self.path) = pair()?;
                    }
                    Ok(None)
                }
            }
        }

        /// The rate that the host has given the terminal: both ends share its settings.
        fn baud(&self) -> Option<u32> {
            self.there.then(|| self.master.baud_rate().ok()).flatten()
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.master.set_timeout(NOBODY)?;
            match self.master.write(bytes) {
                Ok(n) => Ok(n),
                Err(e) if quiet(&e) => Ok(0),
                Err(_) => Ok(bytes.len()),
            }
        }
    }

    fn locked(path: &str) -> bool {
        fs::OpenOptions::new().read(true).write(true).open(path).is_err_and(|e| e.kind() == io::ErrorKind::ResourceBusy)
    }

    /// A symbolic link to the pseudo-terminal, removed in the end.
    pub struct LinkFile {
        path: PathBuf,
        target: PathBuf,
    }

    impl LinkFile {
        /// Makes `path` a link to `target`. An older link gives way, any other file does not.
        pub fn create(path: &Path, target: &str) -> Result<LinkFile> {
            let mut link = LinkFile { path: path.into(), target: PathBuf::new() };
            link.point(target)?;
            Ok(link)
        }

        /// Makes it a link to `target`; at no moment is there none.
        pub fn point(&mut self, target: &str) -> Result<()> {
            if fs::symlink_metadata(&self.path).is_ok_and(|m| !m.is_symlink()) {
                let reason = "there is a file of that name, and it is no symbolic link";
                return Err(Error::value("--link", self.path.display(), reason));
            }
            let mut fresh = self.path.clone().into_os_string();
            fresh.push(format!(".{}", std::process::id()));
            std::os::unix::fs::symlink(target, &fresh).map_err(Error::io("create", &fresh))?;
            fs::rename(&fresh, &self.path).map_err(|e| {
                let _ = fs::remove_file(&fresh);
                Error::io("create", &self.path)(e)
            })?;
            self.target = target.into();
            Ok(())
        }
    }

    impl Drop for LinkFile {
        fn drop(&mut self) {
            // another simulator may have taken the name
            if fs::read_link(&self.path).is_ok_and(|target| target == self.target) {
                let _ = fs::remove_file(&self.path);
            }
        }
    }
}
