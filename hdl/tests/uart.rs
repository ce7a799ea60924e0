//! The UART in Verilated RTL against a line of its own: edges at real-valued times, at rates that are off by up to 2 %.

use rust_hdl_core::prelude::*;
use systole_hdl::emit::{LINT_WAIVERS, emit_verilog};
use systole_hdl::uart::Uart;
use systole_verilator::{ModelSpec, Module, Options, Port, Verilator};

const SEED: u64 = 0x5e71_0012;
/// Clock cycles per bit: 75, 50 and 25 MHz at 3 Mbaud.
const RATIOS: [f64; 3] = [25.0, 50.0 / 3.0, 25.0 / 3.0];
const MISMATCH: [f64; 3] = [-0.02, 0.0, 0.02];

struct Bench {
    m: Module,
    rxd: Port,
    txd: Port,
    rx_valid: Port,
    rx_data: Port,
}

fn spec() -> ModelSpec {
    // the built-in rate is 25 cycles a bit
    let mut uart = Uart::new(75_000_000, 3_000_000);
    uart.connect_all();
    ModelSpec::new("uart_top", emit_verilog(&uart, "uart_top")).clock("clock")
}

impl Bench {
    fn new() -> Bench {
        let verilator = Verilator::provision(&Options::workspace()).expect("Verilator");
        let library = verilator.build(&spec()).expect("a Verilated UART");
        let m = Module::load(&library).expect("a loaded model");
        let [rxd, txd, rx_valid, rx_data] = ["rxd", "txd", "rx_valid", "rx_data"].map(|p| m.find(p).expect("a port"));
        let mut b = Bench { m, rxd, txd, rx_valid, rx_data };
        b.m.set(rxd, 1);
        b.set("rx_ready", 1);
        b.m.tick_many(8);
        b
    }
    fn set(&mut self, port: &str, v: u64) {
        let p = self.m.find(port).expect("a port of the UART");
        self.m.set(p, v);
    }
    fn get(&self, port: &str) -> u64 {
        self.m.get(self.m.find(port).expect("a port of the UART"))
    }
    fn ratio(&mut self, cycles_per_bit: f64) {
        self.set("divisor", (cycles_per_bit * 65536.0).round() as u64);
        self.m.tick_many(2);
    }
    /// Puts a waveform (level and duration in cycles, one after the other) on the line; returns the bytes that arrive.
    fn play(&mut self, wave: &[(bool, f64)]) -> Vec<u8> {
        let (mut out, mut now, mut end) = (Vec::new(), 0.0, 0.0);
        for &(level, duration) in wave {
            end += duration;
            while now < end {
                self.m.set(self.rxd, level.into());
                self.m.tick();
                now += 1.0;
                if self.m.get(self.rx_valid) == 1 && self.get("rx_ready") == 1 {
                    out.push(self.m.get(self.rx_data) as u8);
                }
            }
        }
        out
    }
    fn framing_errors(&self) -> u64 {
        self.get("status") >> 16
    }
}

/// One byte, 8N1, with bits of `bit` cycles.
fn byte(wave: &mut Vec<(bool, f64)>, value: u8, bit: f64) {
    wave.push((false, bit));
    wave.extend((0..8).map(|i| (value >> i & 1 == 1, bit)));
    wave.push((true, bit));
}

/// Decodes the samples of a line, one a cycle, by its own rules: an edge, then the middle of each bit.
fn decode(samples: &[bool], bit: f64) -> Vec<(usize, u8)> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(start) = samples[at..].iter().position(|&s| !s).map(|i| at + i) {
        let sample = |i: usize| samples[(start as f64 + (i as f64 + 0.5) * bit) as usize];
        assert!(!sample(0), "a start bit at cycle {start}");
        assert!(sample(9), "a stop bit behind cycle {start}");
        out.push((start, (0..8).fold(0, |b, i| b | u8::from(sample(i + 1)) << i)));
        at = (start as f64 + 9.5 * bit) as usize;
    }
    out
}

#[test]
fn every_byte_arrives_at_every_ratio_and_mismatch() {
    println!("seed {SEED:#x}");
    let mut rng = fastrand::Rng::with_seed(SEED);
    let mut b = Bench::new();
    for ratio in RATIOS {
        b.ratio(ratio);
        for mismatch in MISMATCH {
            let bit = ratio * (1.0 + mismatch);
            let sent: Vec<u8> = (0..=255).chain((0..400).map(|_| rng.u8(..))).collect();
            let mut wave = vec![(true, 3.0 + rng.f64())];
            for (i, &v) in sent.iter().enumerate() {
                byte(&mut wave, v, bit);
                // the first half back to back, the others with pauses that shift the phase
                if i >= sent.len() / 2 {
                    wave.push((true, rng.f64() * 3.0 * bit));
                }
            }
            wave.push((true, 4.0 * bit));
            assert_eq!(b.play(&wave), sent, "{ratio} cycles a bit, {mismatch} off");
        }
    }
    assert_eq!(b.get("status"), 1, "no framing error, no overrun, nothing to send");
}

#[test]
fn what_is_sent_has_the_exact_rate() {
    println!("seed {SEED:#x}");
    let mut rng = fastrand::Rng::with_seed(SEED + 1);
    let mut b = Bench::new();
    for ratio in RATIOS {
        b.ratio(ratio);
        let sent: Vec<u8> = (0..=255).chain((0..100).map(|_| rng.u8(..))).collect();
        let (mut next, mut samples) = (0, Vec::new());
        let length = (sent.len() as f64 * 10.0 * ratio) as usize + 100;
        for _ in 0..length {
            b.set("tx_valid", (next < sent.len()).into());
            b.set("tx_data", sent.get(next).copied().unwrap_or(0).into());
            b.m.eval();
            let taken = next < sent.len() && b.get("tx_ready") == 1;
            b.m.tick();
            next += usize::from(taken);
            samples.push(b.m.get(b.txd) == 1);
        }
        for mismatch in MISMATCH {
            let got = decode(&samples, ratio * (1.0 + mismatch));
            assert_eq!(got.iter().map(|&(_, v)| v).collect::<Vec<_>>(), sent, "{ratio} cycles a bit, {mismatch} off");
        }
        // back to back, and no edge further than a cycle from where it should be
        let got = decode(&samples, ratio);
        for (i, &(start, _)) in got.iter().enumerate() {
            let ideal = got[0].0 as f64 + i as f64 * 10.0 * ratio;
            assert!((start as f64 - ideal).abs() <= 1.01, "byte {i} starts in cycle {start}, {ideal:.2} is right");
        }
        assert_eq!(b.get("status"), 1, "all is sent");
    }
}

#[test]
fn glitches_are_no_bits() {
    let mut b = Bench::new();
    let bit = 25.0;
    // one cycle low on a resting line, thrice; then a start bit that is too short
    let mut wave = Vec::new();
    for short in [1.0, 1.0, 1.0, 9.0] {
        wave.extend([(true, 60.0), (false, short)]);
    }
    wave.push((true, 60.0));
    // a byte with a spike in the middle of each of its bits
    wave.push((false, bit));
    for i in 0..8 {
        let level = 0xa6_u8 >> i & 1 == 1;
        wave.extend([(level, 12.0), (!level, 1.0), (level, 12.0)]);
    }
    wave.push((true, 60.0));
    assert_eq!(b.play(&wave), [0xa6]);
    assert_eq!(b.framing_errors(), 0);
}

#[test]
fn a_byte_without_a_stop_bit_is_dropped_and_counted() {
    let mut b = Bench::new();
    let bit = 25.0;
    let mut wave = vec![(true, 30.0)];
    byte(&mut wave, 0x11, bit);
    // data, then a low where the stop bit belongs; the line rests again; then a break of 30 bits
    wave.push((false, bit));
    wave.extend((0..8).map(|i| (0x77 >> i & 1 == 1, bit)));
    wave.extend([(false, bit), (true, 2.0 * bit)]);
    byte(&mut wave, 0x22, bit);
    wave.extend([(false, 30.0 * bit), (true, bit)]);
    byte(&mut wave, 0x33, bit);
    wave.push((true, bit));
    assert_eq!(b.play(&wave), [0x11, 0x22, 0x33]);
    assert_eq!(b.framing_errors(), 2);
}

#[test]
fn a_wrong_rate_gives_garbage_and_then_recovers() {
    println!("seed {SEED:#x}");
    let mut rng = fastrand::Rng::with_seed(SEED + 2);
    let mut b = Bench::new();
    let mut wave = Vec::new();
    for _ in 0..50 {
        byte(&mut wave, rng.u8(..), 25.0 * 3.0);
    }
    wave.push((true, 400.0));
    b.play(&wave);
    assert!(b.framing_errors() > 0);
    let mut wave = Vec::new();
    for v in 0..=255 {
        byte(&mut wave, v, 25.0);
    }
    wave.push((true, 50.0));
    assert_eq!(b.play(&wave), (0..=255).collect::<Vec<u8>>());
}

#[test]
fn a_reader_that_is_late_costs_the_next_byte_only() {
    let mut b = Bench::new();
    b.set("rx_ready", 0);
    let mut wave = Vec::new();
    for v in [1, 2, 3] {
        byte(&mut wave, v, 25.0);
    }
    wave.push((true, 50.0));
    assert_eq!(b.play(&wave), [0u8; 0]);
    assert_eq!((b.get("rx_valid"), b.get("rx_data")), (1, 1));
    assert_eq!(b.get("status") >> 8 & 0xff, 2);
    b.set("rx_ready", 1);
    b.m.tick();
    assert_eq!(b.get("rx_valid"), 0);
}

#[test]
fn lint_clean() {
    let verilator = Verilator::provision(&Options::workspace()).expect("Verilator");
    let messages = verilator.lint(&spec(), "").expect("Verilator runs");
    let ours: Vec<_> = messages.iter().filter(|m| !LINT_WAIVERS.iter().any(|(w, _)| *w == m.code)).collect();
    assert!(ours.is_empty(), "{ours:#?}");
}
