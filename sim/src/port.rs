//! What a host sees of a device: bytes in, bytes out. Boards, the Verilated RTL and the model all look like this.

use std::io;
use std::time::Duration;

use systole_isa::operand::Addr;

/// A byte stream to a device, as over a serial line: no message boundaries, no guarantee that a byte arrives whole or at all.
pub trait Port: Send {
    /// Sends all of `bytes`.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Appends what has arrived to `out` and returns how many bytes that was; `Ok(0)`: nothing within `timeout`.
    ///
    /// A simulated device runs in here until a frame delimiter comes out, or it has nothing left to do, or a quantum of
    /// simulated time has passed. That is independent of wall-clock time, and so is everything that comes out.
    fn receive(&mut self, out: &mut Vec<u8>, timeout: Duration) -> io::Result<usize>;

    /// What to call this device in messages.
    fn name(&self) -> String;

    /// Simulated clock cycles since the start; `None` where the device does not count them (a board, the model).
    fn cycles(&self) -> Option<u64> {
        None
    }

    /// Bytes that the device takes now without queueing them for long: what a serial port's own buffer would hold.
    fn room(&self) -> usize {
        usize::MAX
    }

    /// Changes the rate of the host's end of the line; `false` where it has none.
    fn set_baud(&mut self, _baud: u32) -> io::Result<bool> {
        Ok(false)
    }

    /// Bits per second of the host's end of the line; `None` where it has no rate.
    fn baud(&self) -> Option<u32> {
        None
    }
}

impl<P: Port + ?Sized> Port for Box<P> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        (**self).send(bytes)
    }
    fn receive(&mut self, out: &mut Vec<u8>, timeout: Duration) -> io::Result<usize> {
        (**self).receive(out, timeout)
    }
    fn name(&self) -> String {
        (**self).name()
    }
    fn cycles(&self) -> Option<u64> {
        (**self).cycles()
    }
    fn room(&self) -> usize {
        (**self).room()
    }
    fn set_baud(&mut self, baud: u32) -> io::Result<bool> {
        (**self).set_baud(baud)
    }
    fn baud(&self) -> Option<u32> {
        (**self).baud()
    }
}

/// One place in a device that [`Inspect`] reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// An FP16 element (its 16 bits).
    Hmem(Addr),
    /// A 32-bit element.
    Smem(Addr),
    /// A bit of mask memory: 0 or 1.
    Mask(u32),
    /// A word of program memory.
    Program(u32),
    /// A scalar register.
    Sreg(u8),
    /// An address register. Register 0 reads zero, whatever is written.
    Areg(u8),
    /// A sticky non-finite flag: 0 or 1.
    Flag(u8),
}

/// A [`Cell`] that the device does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the device has no {0:?}")]
pub struct NoSuchCell(pub Cell);

/// A look behind the byte stream, for tests and for whoever wants to watch a training run from inside. Nothing that a host
/// needs in order to train.
pub trait Inspect {
    /// The value of a cell.
    fn peek(&mut self, cell: Cell) -> Result<u32, NoSuchCell>;

    /// Sets a cell.
    fn poke(&mut self, cell: Cell, value: u32) -> Result<(), NoSuchCell>;

    /// `count` consecutive elements of `hmem`.
    fn peek_half(&mut self, from: Addr, count: usize) -> Result<Vec<u16>, NoSuchCell> {
        (0..count).map(|i| self.peek(Cell::Hmem(from.offset_by(i as i32))).map(|v| v as u16)).collect()
    }

    /// Writes consecutive elements of `hmem`.
    fn poke_half(&mut self, from: Addr, values: &[u16]) -> Result<(), NoSuchCell> {
        let cells = values.iter().enumerate();
        cells.map(|(i, &v)| (Cell::Hmem(from.offset_by(i as i32)), v)).try_for_each(|(c, v)| self.poke(c, v.into()))
    }

    /// `count` consecutive elements of `smem`.
    fn peek_single(&mut self, from: Addr, count: usize) -> Result<Vec<u32>, NoSuchCell> {
        (0..count).map(|i| self.peek(Cell::Smem(from.offset_by(i as i32)))).collect()
    }

    /// Writes consecutive elements of `smem`.
    fn poke_single(&mut self, from: Addr, values: &[u32]) -> Result<(), NoSuchCell> {
        values.iter().enumerate().try_for_each(|(i, &v)| self.poke(Cell::Smem(from.offset_by(i as i32)), v))
    }
}
