//! defmt into a ring in RAM, from which the library sends `Log` notices when the link has nothing better to do.
//!
//! One hart, no interrupts: nothing can log while a frame is being written, and the ring needs no lock. When it is full,
//! bytes are dropped and counted; the decoder finds its feet again at the next frame (rzCOBS).

use core::cell::UnsafeCell;
use systole_isa::regs::{CYCLE_LO, MMIO};

const CAPACITY: usize = 1024;

struct Log {
    encoder: defmt::Encoder,
    bytes: [u8; CAPACITY],
    start: usize,
    len: usize,
    lost: usize,
}

struct Shared(UnsafeCell<Log>);
// SAFETY: there is one hart and no interrupt handler, so there is never a second access at the same time.
unsafe impl Sync for Shared {}

static LOG: Shared =
    Shared(UnsafeCell::new(Log { encoder: defmt::Encoder::new(), bytes: [0; CAPACITY], start: 0, len: 0, lost: 0 }));

fn push(encoded: &[u8]) {
    // Raw places, not `&mut Log`: the encoder that calls this is borrowed from the same struct.
    let log = LOG.0.get();
    for &b in encoded {
        // SAFETY: see `Shared`; the fields touched here are disjoint from `encoder`.
        unsafe {
            if (*log).len == CAPACITY {
                (*log).lost += 1;
            } else {
                let at = ((*log).start + (*log).len) % CAPACITY;
                (*log).bytes[at] = b;
                (*log).len += 1;
            }
        }
    }
}

/// Whether there are bytes to take.
pub fn waiting() -> bool {
    // SAFETY: see `Shared`.
    unsafe { (*LOG.0.get()).len > 0 }
}

/// Takes up to `out.len()` bytes; returns how many, and how many were lost since the last call.
pub fn drain(out: &mut [u8]) -> (usize, usize) {
    // SAFETY: see `Shared`; no logging happens while this borrow lives.
    let log = unsafe { &mut *LOG.0.get() };
    let n = log.len.min(out.len());
    for slot in &mut out[..n] {
        *slot = log.bytes[log.start];
        log.start = (log.start + 1) % CAPACITY;
    }
    log.len -= n;
    let lost = if n > 0 { core::mem::take(&mut log.lost) } else { 0 };
    (n, lost)
}

#[defmt::global_logger]
struct Logger;

// SAFETY: acquire and release are called in pairs from one hart without interrupts.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // SAFETY: see `Shared`; `push` touches other fields only.
        unsafe { (*LOG.0.get()).encoder.start_frame(push) }
    }
    unsafe fn flush() {}
    unsafe fn release() {
        // SAFETY: as in `acquire`.
        unsafe { (*LOG.0.get()).encoder.end_frame(push) }
    }
    unsafe fn write(bytes: &[u8]) {
        // SAFETY: as in `acquire`.
        unsafe { (*LOG.0.get()).encoder.write(bytes, push) }
    }
}

defmt::timestamp!("{=u32}", {
    // SAFETY: the cycle counter is a register of the memory map.
    unsafe { ((MMIO + CYCLE_LO) as usize as *const u32).read_volatile() }
});
