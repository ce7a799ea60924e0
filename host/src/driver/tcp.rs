//! A device behind a TCP connection: a simulator elsewhere, or a board behind a serial-to-network bridge.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use systole_sim::port::Port;

use crate::error::{Error, Result};

/// Longest wait for the other side to accept, and for it to take bytes.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the names of such devices start with.
pub const PREFIX: &str = "tcp:";

/// A TCP connection.
pub struct TcpPort {
    stream: TcpStream,
    name: String,
}

impl TcpPort {
    /// Connects to `address`, a host and a port: `localhost:7000`.
    ///
    /// # Errors
    /// [`Error::UnknownDevice`] where the address makes no sense or nobody listens there.
    pub fn open(address: &str) -> Result<TcpPort> {
        let name = format!("{PREFIX}{address}");
        let unknown = |reason: String| Error::UnknownDevice { name: name.clone(), reason };
        let addresses = address.to_socket_addrs().map_err(|e| unknown(format!("{address:?} is no host:port: {e}")))?;
        let mut reason = "the host has no address".to_string();
        for a in addresses {
            match TcpStream::connect_timeout(&a, TIMEOUT) {
                Ok(stream) => {
                    // frames are short and somebody waits for each
                    let set = stream.set_nodelay(true).and_then(|()| stream.set_write_timeout(Some(TIMEOUT)));
                    set.map_err(|e| unknown(e.to_string()))?;
                    return Ok(TcpPort { stream, name });
                }
                Err(e) => reason = format!("{a}: {e}"),
            }
        }
        Err(unknown(reason))
    }
}

impl Port for TcpPort {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    fn receive(&mut self, out: &mut Vec<u8>, timeout: Duration) -> io::Result<usize> {
        // zero would mean "for ever"
        self.stream.set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other side closed the connection")),
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
        self.name.clone()
    }
}
