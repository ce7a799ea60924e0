//! The systolic array, Verilated, streaming tiles back to back with weights that arrive as late, and are overwritten as
//! early, as its constants allow.

use systole_checks::number::Random;
use systole_checks::{Check, array};
use systole_verilator::Port;

#[test]
fn two_by_two() {
    array::TWO_BY_TWO.iter().for_each(Check::pass);
}

#[test]
fn four_by_four() {
    array::FOUR_BY_FOUR.iter().for_each(Check::pass);
}

#[test]
fn eight_by_eight() {
    array::EIGHT_BY_EIGHT.pass();
}

/// Padding (+0 by −0) leaves every sum as it is, bit for bit.
#[test]
fn padding_changes_no_bit() {
    array::PADDING.pass();
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
        let mut random = Random(7);
        let mut m = array::design(n, l).load();
        let all =
            |name: &str| -> Vec<Port> { (0..n).map(|i| m.find(&format!("{name}_{i}")).expect("a port")).collect() };
        let [act, tag, valid, we, w_data, psum_in] =
            ["act", "act_tag", "act_valid", "w_we", "w_data", "psum_in"].map(all);
        let slot = m.find("w_slot").expect("a port");
        let cycles = 400_000;
        let table: Vec<u64> = (0..4096).map(|_| random.moderate_half() as u64).collect();
        for t in 0..64 {
            for i in 0..n {
                m.set(we[i], (t % n == i) as u64);
                m.set(w_data[i], table[t * n + i]);
                m.set(valid[i], 1);
            }
            m.set(slot, (t / n % 4) as u64);
            m.tick();
        }
        we.iter().for_each(|w| m.set(*w, 0));
        let started = processor_seconds();
        for t in 0..cycles {
            for i in 0..n {
                m.set(act[i], table[(t * n + i) & 4095]);
                m.set(tag[i], (t as u64 >> 5) & 3);
                m.set(psum_in[i], 0);
            }
            m.tick();
        }
        println!("{n} x {n}, latency {l}: {:.0} kHz", cycles as f64 / (processor_seconds() - started) / 1e3);
    }
}
