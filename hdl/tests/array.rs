//! The systolic array, Verilated, streaming tiles back to back with weights that arrive as late, and are overwritten as
//! early, as its constants allow.

mod float_common;

use float_common::{Random, canonical, load, widen};
use std::collections::{BTreeMap, BTreeSet};
use systole_hdl::array::{P_IN, SystolicArray, W_LAT, W_SLOTS, p_out, w_hold};
use systole_hdl::float::PSUM_LATENCIES;
use systole_verilator::{Module, Optimise, Port};

struct Bench {
    module: Module,
    n: usize,
    act: Vec<Port>,
    tag: Vec<Port>,
    valid: Vec<Port>,
    we: Vec<Port>,
    slot: Port,
    w_data: Vec<Port>,
    psum_in: Vec<Port>,
    psum_out: Vec<Port>,
}

impl Bench {
    fn new(n: usize, l: usize) -> Bench {
        let module = load(SystolicArray::new(n, l), &format!("array_{n}_{l}"), true, Optimise::Speed);
        let all = |name: &str| (0..n).map(|i| module.find(&format!("{name}_{i}")).expect("a port")).collect();
        Bench {
            act: all("act"),
            tag: all("act_tag"),
            valid: all("act_valid"),
            we: all("w_we"),
            slot: module.find("w_slot").expect("a port"),
            w_data: all("w_data"),
            psum_in: all("psum_in"),
            psum_out: all("psum_out"),
            n,
            module,
        }
    }
}

/// One streamed row: when its first activation is presented, its tile, activations and start values.
struct Wave {
    at: usize,
    tile: usize,
    act: Vec<u16>,
    start: Vec<u32>,
}

/// A plan in which no two weight rows are written in one cycle.
#[derive(Default)]
struct Plan {
    waves: Vec<Wave>,
    weights: Vec<Vec<Vec<u16>>>,
    /// Cycle to (tile, row).
    writes: BTreeMap<usize, (usize, usize)>,
}

fn plan(n: usize, l: usize, tiles: usize, random: &mut Random) -> Plan {
    let mut p = Plan::default();
    let mut spans: Vec<(usize, usize)> = vec![];
    let mut at = 64;
    let pick = |special: bool, r: &mut Random| if special { r.half() } else { r.moderate_half() };
    for tile in 0..tiles {
        let rows = 1 + random.below(2 * n as u64 + 2) as usize;
        let late = random.bits() & 1 == 0;
        let slots: Vec<usize> = loop {
            // Row i is first used at `at + i·L`; the slot's former tile was last used at its end + i·L.
            let mut taken: BTreeSet<usize> = p.writes.keys().copied().collect();
            let mut slots = vec![];
            for i in 0..n {
                let last = at + i * l - W_LAT;
                let first = if tile >= W_SLOTS { spans[tile - W_SLOTS].1 + i * l + w_hold(n) } else { 0 };
                let mut free = (first..=last).filter(|t| !taken.contains(t));
                let Some(t) = (if late { free.next_back() } else { free.next() }) else { break };
                taken.insert(t);
                slots.push(t);
            }
            if slots.len() == n {
                break slots;
            }
            at += 1;
        };
        p.writes.extend(slots.iter().enumerate().map(|(i, t)| (*t, (tile, i))));
        let special = tile % 5 == 4;
        p.weights.push((0..n).map(|_| (0..n).map(|_| pick(special, random)).collect()).collect());
        spans.push((at, at + rows - 1));
        for _ in 0..rows {
            let act = (0..n).map(|_| pick(special, random)).collect();
            let start = (0..n).map(|_| canonical(widen(pick(special, random)))).collect();
            p.waves.push(Wave { at, tile, act, start });
            at += 1;
        }
        at += [0, 0, 0, 1, 5][random.below(5) as usize];
    }
    p
}

fn stream(n: usize, l: usize, tiles: usize, seed: u64) {
    println!("array {n}, latency {l}: seed {seed:#x}, {tiles} tiles");
    let mut random = Random(seed);
    let p = plan(n, l, tiles, &mut random);
    let mut bench = Bench::new(n, l);
    let by_time: BTreeMap<usize, &Wave> = p.waves.iter().map(|w| (w.at, w)).collect();
    let wave_at = |t: usize, lag: usize| t.checked_sub(lag).and_then(|t| by_time.get(&t).copied());
    let end = p.waves.last().expect("waves").at + p_out(n, l) + n + 2;
    let mut compared = 0;
    for t in 0..end {
        let m = &mut bench.module;
        for i in 0..n {
            let wave = wave_at(t, i * l);
            m.set(bench.valid[i], wave.is_some() as u64);
            m.set(bench.act[i], wave.map_or(random.bits(), |w| w.act[i] as u64));
            m.set(bench.tag[i], wave.map_or(random.bits(), |w| (w.tile % W_SLOTS) as u64));
            m.set(bench.psum_in[i], wave_at(t, P_IN + i).map_or(random.bits(), |w| w.start[i] as u64));
        }
        let write = p.writes.get(&t);
        for i in 0..n {
            m.set(bench.we[i], write.is_some_and(|w| w.1 == i) as u64);
            m.set(bench.w_data[i], write.map_or(random.bits(), |(tile, row)| p.weights[*tile][*row][i] as u64));
        }
        m.set(bench.slot, write.map_or(random.bits(), |w| (w.0 % W_SLOTS) as u64));
        m.eval();
        for j in 0..n {
            let Some(w) = wave_at(t, p_out(n, l) + j) else { continue };
            let expected = (0..n).fold(f32::from_bits(w.start[j]), |acc, i| {
                f32::from_bits(canonical(acc + widen(w.act[i]) * widen(p.weights[w.tile][i][j])))
            });
            let got = m.get(bench.psum_out[j]) as u32;
            assert_eq!(got, canonical(expected), "cycle {t}, wave of {}, tile {}, column {j}", w.at, w.tile);
            compared += 1;
        }
        m.tick();
    }
    assert_eq!(compared, p.waves.len() * n);
}

#[test]
fn two_by_two() {
    for l in PSUM_LATENCIES {
        stream(2, l, 2000, 0xa2);
    }
}

#[test]
fn four_by_four() {
    for l in PSUM_LATENCIES {
        stream(4, l, 1000, 0xa4);
    }
}

#[test]
fn eight_by_eight() {
    stream(8, 3, 400, 0xa8);
}

/// Padding (+0 by −0) leaves every sum as it is, bit for bit.
#[test]
fn padding_changes_no_bit() {
    let mut bench = Bench::new(2, 3);
    let m = &mut bench.module;
    for t in 0..bench.n {
        m.set(bench.valid[t], 1);
        m.set(bench.act[t], 0);
        m.set(bench.we[t], 1);
        m.set(bench.w_data[t], 0x8000);
    }
    for sum in [0u32, 0x8000_0000, 0x3f80_0001, 0xbf80_0001, 0x2780_0000, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000] {
        (0..2).for_each(|j| m.set(bench.psum_in[j], sum as u64));
        m.tick_many(32);
        (0..2).for_each(|j| assert_eq!(m.get(bench.psum_out[j]) as u32, sum));
    }
}

/// Processor time of this thread, so that a busy machine does not count.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).expect("nanoseconds") / 1e9
}

/// Not a test: `cargo test --release -p systole-hdl --test array -- --ignored --nocapture` prints the simulated clock.
#[test]
#[ignore = "a measurement"]
fn simulated_clock() {
    for (n, l) in [(4, 3), (8, 2), (8, 3), (8, 4)] {
        let mut bench = Bench::new(n, l);
        let mut random = Random(7);
        let m = &mut bench.module;
        let cycles = 400_000;
        let table: Vec<u64> = (0..4096).map(|_| random.moderate_half() as u64).collect();
        for t in 0..64 {
            for i in 0..n {
                m.set(bench.we[i], (t % n == i) as u64);
                m.set(bench.w_data[i], table[t * n + i]);
                m.set(bench.valid[i], 1);
            }
            m.set(bench.slot, (t / n % 4) as u64);
            m.tick();
        }
        bench.we.iter().for_each(|w| m.set(*w, 0));
        let started = processor_seconds();
        for t in 0..cycles {
            for i in 0..n {
                m.set(bench.act[i], table[(t * n + i) & 4095]);
                m.set(bench.tag[i], (t as u64 >> 5) & 3);
                m.set(bench.psum_in[i], 0);
            }
            m.tick();
        }
        println!("{n} x {n}, latency {l}: {:.0} kHz", cycles as f64 / (processor_seconds() - started) / 1e3);
    }
}
