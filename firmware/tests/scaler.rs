//! The scaler against PyTorch's GradScaler (recorded), and its invariants.

use proptest::prelude::*;
use systole_firmware::Scaler;
use systole_isa::frame::scaler as word;

fn traces() -> serde_json::Value {
    serde_json::from_str(include_str!("data/gradscaler_traces.json")).expect("the recorded traces are JSON")
}

#[test]
fn equals_torch_gradscaler_step_by_step() {
    let traces = traces();
    let traces = traces["traces"].as_array().expect("a list of traces");
    assert_eq!(traces.len(), 7);
    for t in traces {
        let name = t["name"].as_str().unwrap();
        let number = |k: &str| t[k].as_f64().unwrap_or_else(|| panic!("{name}: {k}"));
        let overflow: std::collections::HashSet<u64> =
            t["overflow_steps"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
        let mut s = Scaler {
            exponent: number("init_scale").log2() as i32,
            growth: number("growth_factor").log2() as u32,
            backoff: -number("backoff_factor").log2() as u32,
            interval: number("growth_interval") as u32,
            floor: -126,
            cap: 127,
            ..Scaler::DYNAMIC
        };
        let mut step = 0u64;
        for run in t["scale_after_step_rle"].as_array().unwrap() {
            let (scale, times) = (run[0].as_f64().unwrap(), run[1].as_u64().unwrap());
            for _ in 0..times {
                s.update(overflow.contains(&step));
                assert_eq!(f64::from(f32::from_bits(s.scale_bits())), scale, "{name}, step {step}");
                step += 1;
            }
        }
        assert_eq!(step, t["steps"].as_u64().unwrap(), "{name}");
        assert_eq!(u64::from(s.skips), overflow.len() as u64, "{name}");
        assert_eq!(u64::from(s.steps), step, "{name}");
    }
}

/// Megatron-LM's rule as its documentation states it: each overflow uses up one unit of hysteresis, the scale falls once none
/// is left, and growth refills it.
#[test]
fn hysteresis_in_both_forms() {
    let base = Scaler { exponent: 10, interval: 4, hysteresis: 2, hysteresis_left: 2, ..Scaler::DYNAMIC };
    let run = |mut s: Scaler, pattern: &str| -> Vec<i32> {
        pattern
            .chars()
            .map(|c| {
                s.update(c == 'x');
                s.exponent
            })
            .collect()
    };
    let growth = Scaler { refill_on_growth: true, ..base };
    //                      x: overflow   the budget survives good steps until the scale grows
    assert_eq!(run(growth, "x.x....x"), [10, 10, 9, 9, 9, 9, 10, 10]);
    assert_eq!(run(growth, "xxx"), [10, 9, 8]);
    assert_eq!(run(base, "x.x.xx"), [10, 10, 10, 10, 10, 9], "any good step refills");
}

#[test]
fn static_and_none_never_move_but_count() {
    for start in [Scaler::DISABLED, Scaler::fixed(10)] {
        let mut s = start;
        for i in 0..5000 {
            s.update(i % 3 == 0);
        }
        assert_eq!((s.exponent, s.steps, s.skips), (start.exponent, 5000, 1667));
    }
}

#[test]
fn unscale_is_exact() {
    // S/B as the firmware computes it, against the product in FP32
    for batch in 1..=1024u32 {
        for exponent in [-24, -1, 0, 1, 16, 24, 60] {
            let s = Scaler::fixed(exponent);
            let inv = 1.0 / batch as f32;
            assert_eq!(f32::from_bits(s.scaled_bits(inv.to_bits())), f32::from_bits(s.scale_bits()) * inv);
        }
    }
}

proptest! {
    #[test]
    fn stays_between_floor_and_cap(
        (floor, cap) in (-50i32..=50).prop_flat_map(|f| (Just(f), f..=60)),
        start in 0i32..=110, growth in 1u32..=8, backoff in 1u32..=8, interval in 1u32..=9, hysteresis in 1u32..=4,
        refill_on_growth: bool, overflow in prop::collection::vec(any::<bool>(), 0..400),
    ) {
        let mut s = Scaler {
            exponent: floor + start % (cap - floor + 1), growth, backoff, interval, floor, cap, hysteresis,
            hysteresis_left: hysteresis, refill_on_growth, ..Scaler::DYNAMIC
        };
        for o in overflow {
            let before = s;
            s.update(o);
            prop_assert!((floor..=cap).contains(&s.exponent));
            let moved_the_right_way = if o { s.exponent <= before.exponent } else { s.exponent >= before.exponent };
            prop_assert!(moved_the_right_way);
            // what a checkpoint stores is the whole state
            prop_assert_eq!(Scaler::from_words(&s.to_words()), Ok(s));
        }
    }

    #[test]
    fn nonsense_is_named(index in 0..word::WORDS, value: u32) {
        let mut w = Scaler::DYNAMIC.to_words();
        w[index] = value;
        if let Ok(s) = Scaler::from_words(&w) {
            prop_assert_eq!(s.to_words(), w);
            prop_assert!(s.floor <= s.cap && s.interval > 0 && s.exponent.abs() <= 100);
        }
    }
}
