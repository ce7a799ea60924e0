//! A few mutants of two units, and what mutation testing says where nothing is tested.

use systole_checks::mutation::{Error, Fate, Plan, Report, Tried, Unit, list, run};
use systole_checks::number::widen;
use systole_checks::{Check, float};

/// Of the smallest design that has a clock.
const MODULES: &[(&str, usize)] = &[("single_to_half_top", 4)];

fn of(unit: &'static Unit, most: usize) -> Result<Report, Error> {
    let heard = std::sync::Mutex::new(0);
    let count = |_: &Tried, done: usize, of: usize| {
        assert!(done <= of);
        *heard.lock().unwrap() += 1;
    };
    let report = run(unit, &Plan { most, ..Plan::default() }, &count)?;
    assert_eq!(*heard.lock().unwrap(), report.mutants.len(), "each mutant is told of once");
    Ok(report)
}

#[test]
fn a_few_mutants_of_two_units() {
    for (name, most) in [("to_half", 8), ("deframer", 2)] {
        let unit = Unit::named(name).unwrap();
        let report = of(unit, most).unwrap_or_else(|e| panic!("{name}: {e}"));
        let wanted: usize = unit.modules.iter().map(|m| m.1.min(most)).sum();
        assert_eq!(report.mutants.len(), wanted, "{name}");
        let [killed, equivalent, bounded, survived] = report.counts();
        println!("{name}: {killed} killed, {equivalent} equivalent in {:.1} s", report.seconds);
        assert!(killed > 0 && bounded + survived == 0, "{name}: {:#?}", report.mutants);
        for t in &report.mutants {
            if let Fate::Killed { by, cycles, .. } = &t.fate {
                assert!(unit.checks.iter().any(|c| c.name == *by) && *cycles > 0, "{t:?}");
            }
        }
    }
}

/// A check that asks for nothing kills nothing; the solver tells apart what can be noticed and what cannot, and calls nothing
/// equivalent that a check kills.
#[test]
fn a_check_that_looks_away_is_found() {
    const MOST: usize = MODULES[0].1;
    const BLIND: &[&Check] =
        &[&Check { name: "none", design: float::SINGLE_TO_HALF.design, run: |dut| dut.tick_many(100) }];
    static UNIT: Unit =
        Unit { name: "blind", what: "a unit without a test", modules: MODULES, contexts: &[], checks: BLIND };
    let blind = of(&UNIT, MOST).unwrap();
    let [killed, equivalent, bounded, survived] = blind.counts();
    assert_eq!((killed, equivalent + bounded + survived), (0, MOST));
    assert!(survived > 0, "{:#?}", blind.mutants);
    let told = |t: &Tried| matches!(&t.fate, Fate::Survived { reason } if reason.contains("can answer differently"));
    assert!(blind.mutants.iter().any(told), "{:#?}", blind.mutants);
    let plan = Plan { most: MOST, prove: false, ..Plan::default() };
    let tested = run(Unit::named("to_half").unwrap(), &plan, &|_, _, _| ()).unwrap();
    for (t, b) in tested.mutants.iter().zip(&blind.mutants) {
        assert_eq!((&t.mutant.cell, &t.mutant.port, &t.mutant.mode), (&b.mutant.cell, &b.mutant.port, &b.mutant.mode));
        let killed = matches!(t.fate, Fate::Killed { .. });
        assert!(!(killed && matches!(b.fate, Fate::Equivalent { .. } | Fate::Bounded { .. })), "{t:#?} {b:#?}");
    }
}

/// What never ends is a hang, and no endless test.
#[test]
fn a_check_that_waits_for_ever_is_stopped() {
    const WAITING: &[&Check] = &[&Check {
        name: "waiting",
        design: float::SINGLE_TO_HALF.design,
        run: |dut| {
            // every FP16 number comes out as it went in, in the end
            let [single, half] = ["single", "half"].map(|p| dut.find(p).unwrap());
            for h in (0..0x7c00u16).step_by(37) {
                dut.set(single, widen(h).to_bits().into());
                while dut.get(half) != u64::from(h) {
                    dut.tick();
                }
            }
        },
    }];
    static UNIT: Unit =
        Unit { name: "waiting", what: "a unit that is waited for", modules: MODULES, contexts: &[], checks: WAITING };
    let report = run(&UNIT, &Plan { prove: false, ..Plan::default() }, &|_, _, _| ()).unwrap();
    let hung = |t: &&Tried| matches!(t.fate, Fate::Killed { how: "hang", cycles, .. } if cycles > 20_000);
    assert!(report.mutants.iter().filter(hung).count() > 0, "{:#?}", report.mutants);
}

#[test]
fn a_check_that_fails_anyway_kills_nothing() {
    const FAILING: &[&Check] =
        &[&Check { name: "failing", design: float::SINGLE_TO_HALF.design, run: |_| panic!("on any design") }];
    static UNIT: Unit =
        Unit { name: "failing", what: "a unit with a broken test", modules: MODULES, contexts: &[], checks: FAILING };
    let text = of(&UNIT, 4).unwrap_err().to_string();
    assert!(text.contains("failing fails with no mutant active") && text.contains("on any design"), "{text}");
}

#[test]
fn no_mutant_is_no_pass() {
    static UNIT: Unit = Unit {
        name: "nothing",
        what: "a unit without mutants",
        modules: &[],
        contexts: &[],
        checks: &[&float::SINGLE_TO_HALF],
    };
    assert!(of(&UNIT, 1).unwrap_err().to_string().contains("no mutant is no pass"));
}

/// The same design and seed make the same mutants, another seed makes others.
#[test]
fn the_seed_decides() {
    const CHECKS: &[&Check] =
        &[&Check { name: "none", design: float::SINGLE_TO_HALF.design, run: |dut| dut.tick_many(1) }];
    static UNIT: Unit = Unit { name: "seeded", what: "a unit", modules: MODULES, contexts: &[], checks: CHECKS };
    let mutants = |seed| list(&UNIT, &Plan { seed, ..Plan::default() }).unwrap();
    let first = mutants(1);
    assert_eq!(first.len(), 4);
    assert_eq!(first, mutants(1));
    assert_ne!(first, mutants(2));
}
