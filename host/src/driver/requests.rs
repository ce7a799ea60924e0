//! Every request of the protocol as a typed method of [`Link`].

use std::collections::VecDeque;

use systole_isa::frame::{HEADER, HELLO_MAGIC, Kind, MAX_CONTENT, MAX_READ, format, hello, run, scaler, status, step};
use systole_isa::machine::Machine;
use systole_isa::regs::Space;
use systole_isa::{ISA_VERSION, PROTOCOL_VERSION};

use super::link::{Link, Reply, Ticket};
use crate::error::{Error, Result};

/// What a device says of itself in its hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its sizes.
    pub machine: Machine,
    /// Clock frequency; 0 in simulation.
    pub clock_hz: u32,
    /// First 32 bits of the emitted design's SHA-256; 0 where there is none.
    pub design_hash: u32,
    /// First 32 bits of the firmware build's hash; 0 where it runs natively.
    pub firmware_hash: u32,
}

/// A rectangle of elements in one of the device's memories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Which memory.
    pub space: Space,
    /// Address of the first element.
    pub addr: u32,
    /// Elements in a row, next to each other.
    pub columns: u32,
    /// Rows.
    pub rows: u32,
    /// Elements from the start of one row to the start of the next.
    pub pitch: i32,
}

impl Block {
    /// `count` elements next to each other.
    pub fn line(space: Space, addr: u32, count: u32) -> Block {
        Block { space, addr, columns: count, rows: 1, pitch: 0 }
    }

    /// Elements in all.
    pub fn elements(&self) -> usize {
        self.columns as usize * self.rows as usize
    }

    /// Cuts the block into pieces of at most `limit` elements, in row-major order.
    fn pieces(self, limit: u32) -> Vec<Block> {
        let mut b = self;
        if b.rows > 1 && b.pitch == b.columns as i32 {
            b = Block { columns: b.columns * b.rows, rows: 1, ..b };
        }
        let mut out = Vec::new();
        if b.columns <= limit {
            let step = (limit / b.columns).max(1);
            for row in (0..b.rows).step_by(step as usize) {
                let addr = b.addr.wrapping_add((row as i32 * b.pitch) as u32);
                out.push(Block { addr, rows: step.min(b.rows - row), ..b });
            }
        } else {
            for row in 0..b.rows {
                let start = b.addr.wrapping_add((row as i32 * b.pitch) as u32);
                for column in (0..b.columns).step_by(limit as usize) {
                    let columns = limit.min(b.columns - column);
                    out.push(Block { addr: start + column, columns, rows: 1, ..b });
                }
            }
        }
        out
    }

    fn words(&self, flags: u32) -> [u32; 4] {
        [self.space as u32 | flags, self.addr, self.columns | self.rows << 16, self.pitch as u32]
    }
}

/// Registers to write before segments start: (index, value) each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Address registers, 1..16.
    pub address: Vec<(u32, u32)>,
    /// Scalar registers, 0..16, as bits.
    pub scalar: Vec<(u32, u32)>,
}

impl Registers {
    fn append(&self, words: &mut Vec<u32>) {
        words.push(self.address.len() as u32 | (self.scalar.len() as u32) << 8);
        for &(index, value) in self.address.iter().chain(&self.scalar) {
            words.extend([index, value]);
        }
    }
}

/// One training step, as asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRequest {
    /// Which loss scaler.
    pub scaler: u32,
    /// Segment with forward, loss and backward.
    pub compute: u32,
    /// Segment with the update, or what accumulates gradients.
    pub update: u32,
    /// This step does not end its window.
    pub more: bool,
    /// 1/B, B being the valid rows.
    pub inv_batch: f32,
    /// Cycles after which the firmware gives up; 0: never.
    pub deadline: u32,
    /// The reply may come before the update has ended, see [`step::EARLY`].
    pub early: bool,
    /// It is asked for before the one before it was answered, see [`step::CHAINED`].
    pub chained: bool,
    /// Registers to write first.
    pub registers: Registers,
}

/// What became of a training step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReply {
    /// Updated or skipped, and why.
    pub outcome: step::Outcome,
    /// Mean loss of the batch.
    pub loss: f32,
    /// Rows predicted right.
    pub correct: f32,
    /// The step's loss scale is 2 to this power.
    pub exponent_used: i32,
    /// The next step's.
    pub exponent_next: i32,
    /// Sticky flags at the end.
    pub flags: u32,
    /// Program word of the instruction that decided a skip.
    pub flag_pc: u32,
    /// Element address that it wrote (bit 31: FP32 memory).
    pub flag_addr: u32,
    /// Cycles of the step, from its launch (or the reply before, where it was prepared by then) to its reply.
    pub cycles: u32,
    /// Cycles that passed from the reply before in the same training, whatever they were spent on; of the first, `cycles`.
    pub passed: u32,
    /// Low half of the cycle counter at its end.
    pub end_cycle: u32,
    /// Counters 0..=6 of [`systole_isa::regs::Counter`] over the step, and 9 in the place of 7.
    pub counters: [u32; 8],
    /// Skips in a row.
    pub skips_in_a_row: u32,
    /// Skips in all.
    pub skips: u32,
    /// 2-norm of the unscaled gradients, where the update computed it.
    pub grad_norm: f32,
}

/// What came out of a segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunReply {
    /// Cycles of the segment.
    pub cycles: u32,
    /// Cycles of its last GEMM.
    pub last_gemm: u32,
    /// Sticky flags.
    pub flags: u32,
    /// As in [`StepReply::counters`].
    pub counters: [u32; 8],
    /// Scalar registers 8..16, as bits.
    pub sregs: [u32; 8],
}

/// What a device says of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Cycle counter.
    pub cycle: u64,
    /// Frames dropped as damaged, and for want of room, since the start (each modulo 2^16).
    pub dropped: (u32, u32),
    /// NAKs sent.
    pub naks: u32,
    /// Requests executed.
    pub requests: u32,
    /// Sticky flags.
    pub flags: u32,
    /// The ten counters.
    pub counters: [u32; systole_isa::regs::COUNTERS],
}

/// Flags of a write whose data are bytes, to be converted to FP16 times 2^`scale`.
fn byte_format(scale: i8) -> u32 {
    u32::from(format::BYTES) << 8 | u32::from(scale as u8) << 16
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

impl Link {
    fn check(&self, what: &str, reply: &Reply, words: usize) -> Result<()> {
        if reply.0.len() == 4 * words {
            return Ok(());
        }
        Err(self.nonsense(format!("{} bytes in reply to {what}, {} expected", reply.0.len(), 4 * words)))
    }

    fn nonsense(&self, reason: String) -> Error {
        Error::BadReply { port: self.name(), phase: self.current_phase().into(), reason }
    }

    /// Greets the device, checks that versions agree, and learns its sizes.
    pub fn hello(&mut self) -> Result<DeviceInfo> {
        let r = self.request(Kind::Hello, &bytes(&[HELLO_MAGIC, PROTOCOL_VERSION, ISA_VERSION]))?;
        let (protocol, isa) = (r.word(hello::PROTOCOL), r.word(hello::ISA));
        if r.word(hello::MAGIC) == HELLO_MAGIC && (protocol, isa) != (PROTOCOL_VERSION, ISA_VERSION) {
            return Err(Error::Version {
                port: self.name(),
                host_protocol: PROTOCOL_VERSION,
                host_isa: ISA_VERSION,
                device_protocol: protocol,
                device_isa: isa,
            });
        }
        self.check("hello", &r, hello::WORDS)?;
        if r.word(hello::MAGIC) != HELLO_MAGIC {
            return Err(self.nonsense(format!("its hello starts with {:#010x}", r.word(hello::MAGIC))));
        }
        let (lanes, rings) = (r.word(hello::LANES), r.word(hello::RING_BYTES));
        let machine = Machine {
            lanes: lanes & 0xff,
            vector_lanes: lanes >> 8 & 0xff,
            adder_latency: lanes >> 16 & 0xff,
            memory_latency: lanes >> 24,
            hmem_words: r.word(hello::HMEM_WORDS),
            smem_words: r.word(hello::SMEM_WORDS),
            mask_bits: r.word(hello::MASK_BITS),
            pmem_words: r.word(hello::PMEM_WORDS),
            acc_rows: r.word(hello::ACC_ROWS),
            firmware_bytes: r.word(hello::FIRMWARE_BYTES),
            rx_ring_bytes: rings & 0xffff,
            tx_ring_bytes: rings >> 16,
        };
        if let Some(rule) = machine.invalid() {
            return Err(self.nonsense(format!("it says that it has {machine:?}, but {rule}")));
        }
        self.set_ring(machine.rx_ring_bytes as usize);
        self.set_greeted();
        Ok(DeviceInfo {
            machine,
            clock_hz: r.word(hello::CLOCK_HZ),
            design_hash: r.word(hello::DESIGN_HASH),
            firmware_hash: r.word(hello::FIRMWARE_HASH),
        })
    }

    /// Stops whatever runs.
    pub fn abort(&mut self) -> Result<()> {
        self.request(Kind::Abort, &[]).map(|_| ())
    }

    /// Writes a block; `data` holds its elements in row-major order in the memory's own size, little endian. Does not wait.
    pub fn write(&mut self, block: Block, data: &[u8]) -> Result<()> {
        let size = block.space.element_bytes() as usize;
        let bodies = self.bodies(block, data, size, u32::from(format::ELEMENTS) << 8);
        bodies.iter().try_for_each(|b| self.post(Kind::Write, b))
    }

    /// Writes a block of FP16 memory from bytes, each times 2^`scale`. Does not wait.
    pub fn write_bytes(&mut self, block: Block, data: &[u8], scale: i8) -> Result<()> {
        let bodies = self.bodies(block, data, 1, byte_format(scale));
        bodies.iter().try_for_each(|b| self.post(Kind::Write, b))
    }

    /// [`Link::write`] of one block and [`Link::write_bytes`] of another, in one frame less where that has room for both. Does
    /// not wait.
    pub fn write_both(&mut self, elements: (Block, &[u8]), bytes: (Block, &[u8], i8)) -> Result<()> {
        let size = elements.0.space.element_bytes() as usize;
        let mut bodies = self.bodies(elements.0, elements.1, size, u32::from(format::ELEMENTS) << 8);
        let mut others = self.bodies(bytes.0, bytes.1, 1, byte_format(bytes.2));
        if let ([.., last], [next, ..]) = (&mut bodies[..], &mut others[..]) {
            let padded = last.len().next_multiple_of(4);
            if HEADER + padded + next.len() <= MAX_CONTENT {
                last[3] |= (format::ANOTHER >> 24) as u8;
                last.resize(padded, 0);
                last.append(&mut others.remove(0));
            }
        }
        bodies.iter().chain(&others).try_for_each(|b| self.post(Kind::Write, b))
    }

    /// The bodies of the requests that write a block.
    fn bodies(&self, block: Block, data: &[u8], size: usize, flags: u32) -> Vec<Vec<u8>> {
        assert_eq!(data.len(), size * block.elements(), "data of {block:?}");
        let mut rest = data;
        let pieces = block.pieces((self.write_block(data.len()) / size) as u32);
        let body = |piece: Block| {
            let (now, later) = rest.split_at(size * piece.elements());
            rest = later;
            let mut body = bytes(&piece.words(flags));
            body.extend_from_slice(now);
            body
        };
        pieces.into_iter().map(body).collect()
    }

    /// Sets every element of a block to `value` (its low bits). Does not wait.
    pub fn fill(&mut self, block: Block, value: u32) -> Result<()> {
        for piece in block.pieces(0xffff) {
            let mut words = piece.words(0).to_vec();
            words.push(value);
            self.post(Kind::Fill, &bytes(&words))?;
        }
        Ok(())
    }

    /// Reads a block: its elements in row-major order.
    pub fn read(&mut self, block: Block) -> Result<Vec<u8>> {
        let size = block.space.element_bytes() as usize;
        let mut out = Vec::with_capacity(size * block.elements());
        // a window of them in flight, so that the line is never idle
        let mut asked = VecDeque::new();
        let mut pieces = block.pieces((MAX_READ / size) as u32).into_iter();
        loop {
            while asked.len() < self.window() {
                let Some(piece) = pieces.next() else { break };
                asked.push_back((self.submit(Kind::Read, &bytes(&piece.words(0)))?, size * piece.elements()));
            }
            let Some((ticket, expected)) = asked.pop_front() else { break };
            let reply = self.wait(ticket)?;
            if reply.0.len() != expected {
                return Err(self.nonsense(format!("{} bytes read, {expected} asked for", reply.0.len())));
            }
            out.extend_from_slice(&reply.0);
        }
        Ok(out)
    }

    /// Defines the segments 0.. as (word address, words).
    pub fn segments(&mut self, segments: &[(u32, u32)]) -> Result<()> {
        let mut words = vec![segments.len() as u32];
        words.extend(segments.iter().flat_map(|&(addr, n)| [addr, n]));
        self.request(Kind::Segments, &bytes(&words)).map(|_| ())
    }

    /// Sets a loss scaler's whole state.
    pub fn scaler_set(&mut self, index: u32, state: &[u32; scaler::WORDS]) -> Result<()> {
        let mut words = vec![index];
        words.extend(state);
        self.request(Kind::ScalerSet, &bytes(&words)).map(|_| ())
    }

    /// A loss scaler's whole state.
    pub fn scaler_get(&mut self, index: u32) -> Result<[u32; scaler::WORDS]> {
        let r = self.request(Kind::ScalerGet, &bytes(&[index]))?;
        self.check("a request for the scaler", &r, scaler::WORDS)?;
        Ok(std::array::from_fn(|i| r.word(i)))
    }

    /// Asks for a training step; [`Link::step_reply`] waits for it.
    pub fn step(&mut self, s: &StepRequest) -> Result<Ticket> {
        let bit = |on: bool, bit: u32| if on { bit } else { 0 };
        let how = bit(s.more, step::MORE) | bit(s.early, step::EARLY) | bit(s.chained, step::CHAINED);
        let what = s.scaler | s.compute << 8 | s.update << 16 | how;
        let mut words = vec![what, s.inv_batch.to_bits(), s.deadline];
        s.registers.append(&mut words);
        self.submit(Kind::Step, &bytes(&words))
    }

    /// What became of a training step.
    pub fn step_reply(&mut self, ticket: Ticket) -> Result<StepReply> {
        let r = self.wait(ticket)?;
        self.check("a step", &r, step::REPLY_WORDS)?;
        let outcome = r.word(step::OUTCOME);
        Ok(StepReply {
            outcome: step::Outcome::from_u32(outcome)
                .ok_or_else(|| self.nonsense(format!("step outcome {outcome}")))?,
            loss: f32::from_bits(r.word(step::LOSS)),
            correct: f32::from_bits(r.word(step::CORRECT)),
            exponent_used: r.word(step::EXPONENT_USED) as i32,
            exponent_next: r.word(step::EXPONENT_NEXT) as i32,
            flags: r.word(step::FLAGS),
            flag_pc: r.word(step::FLAG_PC),
            flag_addr: r.word(step::FLAG_ADDR),
            cycles: r.word(step::CYCLES),
            passed: r.word(step::CYCLES),
            end_cycle: r.word(step::END_CYCLE),
            counters: std::array::from_fn(|i| r.word(step::COUNTERS + i)),
            skips_in_a_row: r.word(step::SKIPS),
            skips: r.word(step::SKIPS + 1),
            grad_norm: f32::from_bits(r.word(step::GRAD_NORM)),
        })
    }

    /// Asks to run one segment; [`Link::run_reply`] waits for it.
    pub fn run(&mut self, segment: u32, deadline: u32, registers: &Registers) -> Result<Ticket> {
        let mut words = vec![segment, deadline];
        registers.append(&mut words);
        self.submit(Kind::Run, &bytes(&words))
    }

    /// What came out of a segment.
    pub fn run_reply(&mut self, ticket: Ticket) -> Result<RunReply> {
        let r = self.wait(ticket)?;
        self.check("a run", &r, run::REPLY_WORDS)?;
        Ok(RunReply {
            cycles: r.word(run::CYCLES),
            last_gemm: r.word(run::LAST_GEMM),
            flags: r.word(run::FLAGS),
            counters: std::array::from_fn(|i| r.word(run::COUNTERS + i)),
            sregs: std::array::from_fn(|i| r.word(run::SREGS + i)),
        })
    }

    /// Asks for another rate of the device's UART, [`systole_isa::regs::UART_DIVISOR`]. Nothing may be sent at the old one
    /// after this, and the device goes back to it unless a good frame arrives within `cycles`.
    ///
    /// # Errors
    /// [`Error::Device`] with [`systole_isa::frame::ErrorCode::NoBaud`] where it has no UART, or that is too fast for it.
    pub fn change_baud(&mut self, divisor: u32, cycles: u32) -> Result<()> {
        self.request(Kind::Baud, &bytes(&[divisor, cycles])).map(|_| ())
    }

    /// The device's counters.
    pub fn status(&mut self) -> Result<Status> {
        let r = self.request(Kind::Status, &[])?;
        self.check("a request for its status", &r, status::WORDS)?;
        Ok(Status {
            cycle: u64::from(r.word(status::CYCLE)) | u64::from(r.word(status::CYCLE + 1)) << 32,
            dropped: (r.word(status::RX_ERRORS) & 0xffff, r.word(status::RX_ERRORS) >> 16),
            naks: r.word(status::NAKS),
            requests: r.word(status::REQUESTS),
            flags: r.word(status::FLAGS),
            counters: std::array::from_fn(|i| r.word(status::COUNTERS + i)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_cover_a_block_in_order(columns in 1u32..700, rows in 1u32..20, extra in 0i32..5, limit in 1u32..600) {
            let b = Block { space: Space::Smem, addr: 1000, columns, rows, pitch: columns as i32 + extra };
            let list = |b: &Block| -> Vec<u32> {
                (0..b.rows).flat_map(|r| (0..b.columns).map(move |c| (r, c))).map(|(r, c)| b.addr + r * b.pitch as u32 + c).collect()
            };
            let pieces = b.pieces(limit);
            prop_assert!(pieces.iter().all(|p| p.elements() <= limit as usize));
            prop_assert_eq!(pieces.iter().flat_map(list).collect::<Vec<_>>(), list(&b));
        }
    }
}
