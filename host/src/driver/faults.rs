//! A bad line, as an ordinary layer: loses, damages and duplicates what passes through it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use systole_sim::port::Port;

/// How often what happens, each as a chance per frame in 1/1000, the same in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The frame is lost.
    pub drop_frame: u32,
    /// The frame arrives twice.
    pub duplicate_frame: u32,
    /// One of its bits is flipped.
    pub flip_bit: u32,
    /// One of its bytes is lost.
    pub drop_byte: u32,
    /// One of its bytes arrives twice.
    pub duplicate_byte: u32,
    /// Up to 40 of its bytes in a row are lost, the closing zero perhaps among them: what a disturbance, or a moment at a
    /// wrong rate, costs a UART that drops bytes without a stop bit.
    pub burst: u32,
    /// Up to 20 bytes that nobody sent arrive before it.
    pub noise: u32,
}

impl Faults {
    /// Everything that can go wrong, each with the same chance.
    pub const fn all(per_mille: u32) -> Faults {
        Faults {
            drop_frame: per_mille,
            duplicate_frame: per_mille,
            flip_bit: per_mille,
            drop_byte: per_mille,
            duplicate_byte: per_mille,
            burst: per_mille,
            noise: per_mille,
        }
    }
}

/// A port behind a bad line. The same seed gives the same faults for the same traffic.
pub struct FaultPort<P> {
    inner: P,
    faults: Faults,
    random: ChaCha8Rng,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    made: Arc<AtomicU64>,
}

impl<P: Port> FaultPort<P> {
    /// Puts a bad line before `inner`.
    pub fn new(inner: P, faults: Faults, seed: u64) -> FaultPort<P> {
        let random = ChaCha8Rng::seed_from_u64(seed);
        FaultPort { inner, faults, random, outgoing: Vec::new(), incoming: Vec::new(), made: Arc::default() }
    }

    /// Counts the faults that are made.
    pub fn made(&self) -> Arc<AtomicU64> {
        self.made.clone()
    }

    fn chance(&mut self, per_mille: u32) -> bool {
        let hit = self.random.next_u32() % 1000 < per_mille;
        self.made.fetch_add(u64::from(hit), Ordering::Relaxed);
        hit
    }

    fn pick(&mut self, below: usize) -> usize {
        self.random.next_u32() as usize % below
    }

    /// Passes one frame, its closing zero included, through the bad line.
    fn pass(&mut self, mut frame: Vec<u8>, out: &mut Vec<u8>) {
        let f = self.faults;
        if self.chance(f.drop_frame) {
            return;
        }
        if self.chance(f.flip_bit) {
            let i = self.pick(frame.len());
            frame[i] ^= 1 << self.pick(8);
        }
        if self.chance(f.drop_byte) {
            frame.remove(self.pick(frame.len()));
        }
        if !frame.is_empty() && self.chance(f.duplicate_byte) {
            let i = self.pick(frame.len());
            frame.insert(i, frame[i]);
        }
        if !frame.is_empty() && self.chance(f.burst) {
            let from = self.pick(frame.len());
            let count = 1 + self.pick(40);
            frame.drain(from..(from + count).min(frame.len()));
        }
        if self.chance(f.noise) {
            let count = 1 + self.pick(20);
            out.extend((0..count).map(|_| self.random.next_u32() as u8));
        }
        out.extend_from_slice(&frame);
        if self.chance(f.duplicate_frame) {
            out.extend_from_slice(&frame);
        }
    }
}

/// Takes the first frame, its closing zero included, from a buffer.
fn take_frame(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = buffer.iter().position(|&b| b == 0)?;
    let rest = buffer.split_off(end + 1);
    Some(std::mem::replace(buffer, rest))
}

impl<P: Port> Port for FaultPort<P> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.outgoing.extend_from_slice(bytes);
        let mut out = Vec::new();
        while let Some(frame) = take_frame(&mut self.outgoing) {
            self.pass(frame, &mut out);
        }
        self.inner.send(&out)
    }

    fn receive(&mut self, out: &mut Vec<u8>, timeout: Duration) -> io::Result<usize> {
        let before = out.len();
        self.inner.receive(&mut self.incoming, timeout)?;
        while let Some(frame) = take_frame(&mut self.incoming) {
            self.pass(frame, out);
        }
        Ok(out.len() - before)
    }

    fn name(&self) -> String {
        format!("{} behind a bad line", self.inner.name())
    }

    fn cycles(&self) -> Option<u64> {
        self.inner.cycles()
    }

    fn set_baud(&mut self, baud: u32) -> io::Result<bool> {
        self.inner.set_baud(baud)
    }

    fn baud(&self) -> Option<u32> {
        self.inner.baud()
    }
}
