//! Memory map and registers as the soft core sees them. Every register is 32 bits wide, accessed as a whole word.
//!
//! | address | what |
//! |---|---|
//! | `0x0000_0000` | firmware RAM (code, data, stack) |
//! | `0x8000_0000` | registers (offsets below) |
//! | `0x8001_0000` | receive ring, read only, words |
//! | `0x8002_0000` | transmit ring, write only, words |
//!
//! Addresses with bit 31 set are uncached. `hmem`, `smem` and program memory are not on the bus: the mover carries whole
//! tensors between them and the rings.

/// Base of the registers.
pub const MMIO: u32 = 0x8000_0000;
/// Base of the receive ring.
pub const RX_RING: u32 = 0x8001_0000;
/// Base of the transmit ring.
pub const TX_RING: u32 = 0x8002_0000;

// ---- identity and sizes (read only) ----
/// Reads [`MAGIC_VALUE`].
pub const MAGIC: u32 = 0x000;
/// `"SYST"`, little endian.
pub const MAGIC_VALUE: u32 = 0x5453_5953;
/// [`crate::ISA_VERSION`].
pub const VERSION: u32 = 0x004;
/// [`crate::machine::Machine::size_word`].
pub const LANES: u32 = 0x008;
/// FP16 elements in `hmem`, both planes.
pub const HMEM_WORDS: u32 = 0x00c;
/// FP32 elements in `smem`, both planes.
pub const SMEM_WORDS: u32 = 0x010;
/// Words of program memory.
pub const PMEM_WORDS: u32 = 0x014;
/// Rows of accumulator memory.
pub const ACC_ROWS: u32 = 0x018;
/// Bits of mask memory.
pub const MASK_BITS: u32 = 0x01c;
/// Low half of the free-running cycle counter; reading it latches the high half.
pub const CYCLE_LO: u32 = 0x020;
/// High half of the cycle counter, as of the last read of [`CYCLE_LO`].
pub const CYCLE_HI: u32 = 0x024;
/// Clock frequency in Hz (0 in simulation).
pub const CLOCK_HZ: u32 = 0x028;
/// First 32 bits of the SHA-256 of the emitted design.
pub const DESIGN_HASH: u32 = 0x02c;
/// Bytes in the rings: `rx | tx << 16`.
pub const RING_BYTES: u32 = 0x030;
/// Bytes of firmware RAM.
pub const FIRMWARE_BYTES: u32 = 0x034;

// ---- fetcher ----
/// Word address of the segment that the next write of [`SEG_PUSH`] queues.
pub const SEG_ADDR: u32 = 0x100;
/// Write: queue a segment. Bits 3:0 are a mask of sticky flags: once all earlier segments are complete, the segment runs only
/// if every flag in the mask is clear (mask 0: always), else it is skipped. The queue holds four; writing while
/// [`SEG_STATUS`] says full is an error of firmware (ignored).
pub const SEG_PUSH: u32 = 0x104;
/// Read: bits 7:0 segments ended (run or skipped) mod 256, 15:8 segments skipped mod 256, 16 busy (queue not empty or a
/// segment in flight), 17 queue full, 18 trap latched.
pub const SEG_STATUS: u32 = 0x108;
/// Read: bits 7:0 a [`Trap`] (0: none), 31:16 word address of the instruction. Write anything: clear. A trap stops the
/// fetcher until [`ABORT`] is used.
pub const TRAP: u32 = 0x10c;
/// Element address (bit 31: `smem`, bit 30: mask memory) or word that trapped.
pub const TRAP_INFO: u32 = 0x110;
/// Write 1: empty the segment queue, drain or reset the engines and the mover without losing memory. Reads 1 until done.
pub const ABORT: u32 = 0x114;
/// Sticky non-finite flags, bits 3:0. Write ones to clear.
pub const FLAGS: u32 = 0x118;
/// Signed 8-bit exponent by which `scaled` operands are multiplied as they load; −100..=100.
pub const EXP: u32 = 0x11c;
/// Word address of the first instruction that set flag i: `FLAG_PC + 8*i`. Held until the flag is cleared.
pub const FLAG_PC: u32 = 0x120;
/// Element address it wrote (bit 31: `smem`): `FLAG_ADDR + 8*i`. Lane granularity: the first offending lane of the access.
pub const FLAG_ADDR: u32 = 0x124;
/// Address register i at `AREG + 4*i`; write only while the fetcher is idle. Register 0 reads zero.
pub const AREG: u32 = 0x180;
/// Scalar register i at `SREG + 4*i`; write only while the fetcher is idle.
pub const SREG: u32 = 0x1c0;

// ---- counters (32 bits, wrapping; read only) ----
/// First counter; counter i at `COUNTER + 4*i`, see [`Counter`].
pub const COUNTER: u32 = 0x200;
/// Number of counters.
pub const COUNTERS: usize = 10;

/// What each counter counts, in clock cycles unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Counter {
    /// Matrix engine has an instruction in hand (from hand-over to last result written).
    MatrixBusy = 0,
    /// Matrix engine waits for another instruction (wait distances).
    MatrixWait = 1,
    /// Matrix engine's streamed or stationary read was refused by a memory port.
    MatrixMemory = 2,
    /// Vector engine has an instruction in hand.
    VectorBusy = 3,
    /// Vector engine waits for another instruction.
    VectorWait = 4,
    /// Vector engine's read or write was refused by a memory port.
    VectorMemory = 5,
    /// Fetcher has a segment in hand.
    FetchBusy = 6,
    /// Duration of the most recently completed GEMM, hand-over to last result written.
    LastGemm = 7,
    /// Duration of the most recently completed segment.
    LastSegment = 8,
    /// Array rows streamed (valid activations presented to the first row).
    RowsStreamed = 9,
}

// ---- mover: rings <-> memories, one transfer at a time ----
/// Ring byte offset of the first element (receive ring for `To…`, transmit ring for `From…`), a multiple of 4; for
/// [`MV_FILL`]: the value.
pub const MV_RING: u32 = 0x300;
/// Element address in the memory (program memory: word address).
pub const MV_ADDR: u32 = 0x304;
/// `row_len | rows << 16`, in elements, neither zero.
pub const MV_COUNT: u32 = 0x308;
/// Signed distance in elements between row starts in memory. In the ring, elements are contiguous.
pub const MV_PITCH: u32 = 0x30c;
/// Write: start; bits 2:0 [`Space`], 3 direction ([`MV_TO_RING`]), 4 [`MV_BYTES`], 5 [`MV_FILL`], 15:8 scale. Read: bit 0
/// busy, bit 1 an address was out of range (those elements were not written; cleared by the next start).
pub const MV_CTRL: u32 = 0x310;
/// Direction bit of [`MV_CTRL`]: set for memory → transmit ring, clear for receive ring → memory.
pub const MV_TO_RING: u32 = 1 << 3;
/// Ring → `hmem` only: elements in the ring are bytes; each becomes FP16(byte · 2^scale), scale a signed 8-bit number in
/// −14..=7 (so that every result is exact).
pub const MV_BYTES: u32 = 1 << 4;
/// Ring → memory only: every element becomes the low bits of [`MV_RING`] instead of ring content.
pub const MV_FILL: u32 = 1 << 5;

/// Memories that the mover reaches. Element sizes in the rings, little endian: `Hmem` 2 bytes, `Smem` 4, `Program` 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Space {
    /// FP16 memory.
    Hmem = 0,
    /// FP32 memory.
    Smem = 1,
    /// Program memory.
    Program = 2,
}

impl Space {
    /// The space with this number.
    pub const fn from_u8(v: u8) -> Option<Space> {
        match v {
            0 => Some(Space::Hmem),
            1 => Some(Space::Smem),
            2 => Some(Space::Program),
            _ => None,
        }
    }
    /// Bytes of one element in a ring or frame.
    pub const fn element_bytes(self) -> u32 {
        match self {
            Space::Hmem => 2,
            _ => 4,
        }
    }
}

// ---- link ----
/// Byte offset in the receive ring behind the last good frame (hardware).
pub const RX_HEAD: u32 = 0x400;
/// Byte offset of the first frame that firmware has not released yet (firmware).
pub const RX_TAIL: u32 = 0x404;
/// Bits 15:0 frames dropped for a bad CRC, bad COBS or excess length, 31:16 frames dropped because the ring was full. Wrapping.
pub const RX_ERRORS: u32 = 0x408;
/// Byte offset in the transmit ring behind the last frame handed to hardware (firmware).
pub const TX_HEAD: u32 = 0x410;
/// Byte offset of the first frame not wholly sent yet (hardware).
pub const TX_TAIL: u32 = 0x414;
/// Clock cycles per UART bit in 1/65536 (boards and bit-level simulation; ignored by the byte port). 0, as after reset: the
/// rate that the UART was built with.
pub const UART_DIVISOR: u32 = 0x420;
/// Read: bit 0 there is a UART, bit 1 it still sends, 15:8 bytes received and lost because the one before was not taken,
/// 31:16 bytes received without a stop bit and dropped. Both counts wrap. Zero behind a byte port.
pub const UART_STATUS: u32 = 0x424;
/// Smallest value of [`UART_DIVISOR`], beside 0: eight cycles a bit.
pub const UART_SHORTEST_BIT: u32 = 8 << 16;

/// The [`UART_DIVISOR`] that makes `baud` bits per second of `clock_hz`, to the nearest; `None` where a bit would be shorter
/// than [`UART_SHORTEST_BIT`] or last 65536 cycles and more.
pub const fn uart_divisor(clock_hz: u32, baud: u32) -> Option<u32> {
    if baud == 0 {
        return None;
    }
    let divisor = (((clock_hz as u64) << 16) + baud as u64 / 2) / baud as u64;
    if divisor < UART_SHORTEST_BIT as u64 || divisor > u32::MAX as u64 { None } else { Some(divisor as u32) }
}

// ---- board ----
/// Write: LEDs, bits 7:0.
pub const LEDS: u32 = 0x500;
/// Write: firmware has failed for good; the code is a [`crate::frame::ErrorCode`] or `0xdead_0000 | line`. The simulator
/// stops on it, a board lights its overflow LED.
pub const PANIC: u32 = 0x504;

/// Why the hardware stopped a program. Values of bits 7:0 of [`TRAP`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Trap {
    /// Unknown opcode.
    Opcode = 1,
    /// Program counter left program memory.
    ProgramCounter = 2,
    /// Loop or return stack overflowed or underflowed.
    Stack = 3,
    /// An enabled lane's address is beyond the end of its plane (or of mask memory).
    Range = 4,
    /// An inner stride is neither ≡ 1 (mod N) nor an allowed 0.
    Stride = 5,
    /// A size of zero, or a block that the accumulator memory cannot hold.
    Size = 6,
}

impl Trap {
    /// The trap with this number.
    pub const fn from_u8(v: u8) -> Option<Trap> {
        Some(match v {
            1 => Trap::Opcode,
            2 => Trap::ProgramCounter,
            3 => Trap::Stack,
            4 => Trap::Range,
            5 => Trap::Stride,
            6 => Trap::Size,
            _ => return None,
        })
    }
}
