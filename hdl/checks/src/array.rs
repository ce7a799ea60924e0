//! The systolic array, streaming tiles back to back with weights that arrive as late, and are overwritten as early, as its
//! constants allow.

use crate::design::{Check, Design, Dut};
use crate::number::{Random, canonical, widen};
use std::collections::{BTreeMap, BTreeSet};
use systole_hdl::array::{P_IN, SystolicArray, W_LAT, W_SLOTS, p_out, w_hold};
use systole_verilator::{Module, Port};

/// An array of `n` × `n` with adders of `l` cycles.
pub fn design(n: usize, l: usize) -> Design {
    Design::of(SystolicArray::new(n, l), &format!("array_{n}_{l}"))
}

/// 2 × 2, adders of 2, 3 and 4 cycles.
pub const TWO_BY_TWO: [Check; 3] = [
    Check { name: "array::two_by_two, latency 2", design: || design(2, 2), run: |dut| stream(dut, 2, 2, 2000, 0xa2) },
    Check { name: "array::two_by_two, latency 3", design: || design(2, 3), run: |dut| stream(dut, 2, 3, 2000, 0xa2) },
    Check { name: "array::two_by_two, latency 4", design: || design(2, 4), run: |dut| stream(dut, 2, 4, 2000, 0xa2) },
];

/// 4 × 4, adders of 2, 3 and 4 cycles.
pub const FOUR_BY_FOUR: [Check; 3] = [
    Check { name: "array::four_by_four, latency 2", design: || design(4, 2), run: |dut| stream(dut, 4, 2, 1000, 0xa4) },
    Check { name: "array::four_by_four, latency 3", design: || design(4, 3), run: |dut| stream(dut, 4, 3, 1000, 0xa4) },
    Check { name: "array::four_by_four, latency 4", design: || design(4, 4), run: |dut| stream(dut, 4, 4, 1000, 0xa4) },
];

/// 8 × 8.
pub const EIGHT_BY_EIGHT: Check =
    Check { name: "array::eight_by_eight", design: || design(8, 3), run: |dut| stream(dut, 8, 3, 400, 0xa8) };

/// +0 by -0 leaves every sum as it is.
pub const PADDING: Check = Check { name: "array::padding_changes_no_bit", design: || design(2, 3), run: padding };

/// Handles of its ports.
struct Bench {
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
    fn new(module: &Module, n: usize) -> Bench {
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

fn stream(m: &mut Dut, n: usize, l: usize, tiles: usize, seed: u64) {
    let mut random = Random(seed);
    let p = plan(n, l, tiles, &mut random);
    let bench = Bench::new(m, n);
    let by_time: BTreeMap<usize, &Wave> = p.waves.iter().map(|w| (w.at, w)).collect();
    let wave_at = |t: usize, lag: usize| t.checked_sub(lag).and_then(|t| by_time.get(&t).copied());
    let end = p.waves.last().expect("waves").at + p_out(n, l) + n + 2;
    let mut compared = 0;
    for t in 0..end {
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

/// Padding (+0 by −0) leaves every sum as it is, bit for bit.
fn padding(m: &mut Dut) {
    let bench = Bench::new(m, 2);
    for t in 0..2 {
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
