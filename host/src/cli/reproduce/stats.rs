//! Means, deviations, and what follows from them.

use super::experiment::{Measure, Network, Variant};
use super::table::Row;

/// Mean and sample standard deviation of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) n: usize,
    pub(super) mean: f64,
    /// 0 for a single value.
    pub(super) deviation: f64,
}

impl Spread {
    /// Of these values, if there are any.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let values: Vec<f64> = values.into_iter().collect();
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        let deviation = if n > 1 { (squares / (n - 1) as f64).sqrt() } else { 0.0 };
        (n > 0).then_some(Spread { n, mean, deviation })
    }

    /// As a factor.
    pub(super) fn times(&self) -> String {
        format!("{:.3} ± {:.3}", self.mean, self.deviation)
    }
}

/// The rows of a variant, in the order of their seeds.
pub(super) fn of<'a>(rows: &'a [Row], variant: &Variant) -> Vec<&'a Row> {
    let name = variant.name();
    rows.iter().filter(|r| r.variant == name).collect()
}

/// Whether a variant has as many rows as seeds.
pub(super) fn has(rows: &[Row], variant: &Variant, seeds: u64) -> bool {
    of(rows, variant).len() as u64 >= seeds
}

/// A value's spread over the rows that have it.
pub(super) fn over(rows: &[&Row], value: impl Fn(&Row) -> Option<f64>) -> Option<Spread> {
    Spread::of(rows.iter().filter_map(|r| value(r)))
}

/// What a network is judged by: accuracy or a share in percent, nats, or a score.
pub(super) fn value(measure: Measure, row: &Row) -> Option<f64> {
    match measure {
        Measure::Accuracy => row.test_accuracy.map(|a| 100.0 * a),
        Measure::Loss => row.test_loss,
        Measure::Score | Measure::Found => row.score,
    }
}

/// What a scale loses or keeps: the loss of the test rows, or where there is none the score, less being better.
pub(super) fn judged(row: &Row) -> Option<f64> {
    row.test_loss.or(row.score.map(|s| -s))
}

/// Differences of a variant to FP32 of the same seed, which starts from the same weights and sees the same batches.
pub(super) fn paired(rows: &[Row], variant: &Variant, value: impl Fn(&Row) -> Option<f64>) -> Vec<f64> {
    let fp32 = of(rows, &Variant::Fp32);
    let of_seed = |seed| fp32.iter().find(|r| r.seed == seed).and_then(|r| value(r));
    of(rows, variant).iter().filter_map(|r| Some(value(r)? - of_seed(r.seed)?)).collect()
}

/// How a static scale ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Swept {
    pub(super) exponent: i32,
    /// Runs that did not end by themselves.
    pub(super) stopped: usize,
    pub(super) train_loss: Option<Spread>,
    /// Of the test rows; for a GAN the score with its sign changed.
    pub(super) judged: Option<Spread>,
    /// Whether FP32's result is kept: no run stopped, and the mean test loss is at most two standard deviations (over FP32's
    /// seeds) above that of FP32 on the same seeds.
    pub(super) kept: bool,
}

/// Every static scale that has a row, from the smallest on.
pub(super) fn sweep(network: &Network, rows: &[Row]) -> Vec<Swept> {
    let fp32 = over(&of(rows, &Variant::Fp32), judged);
    let tolerance = fp32.map_or(0.0, |s| 2.0 * s.deviation);
    let mut exponents: Vec<i32> = network.sweep.clone();
    let named = network.compared().into_iter().filter_map(|v| if let Variant::Scale(e) = v { Some(e) } else { None });
    exponents.extend(named);
    exponents.sort_unstable();
    exponents.dedup();
    let of_exponent = |exponent| {
        let variant = Variant::Scale(exponent);
        let found = of(rows, &variant);
        let stopped = found.iter().filter(|r| !r.finished()).count();
        let worse = Spread::of(paired(rows, &variant, judged));
        let kept = stopped == 0 && worse.is_some_and(|w| w.mean <= tolerance);
        let (train_loss, judged) = (over(&found, |r| r.train_loss), over(&found, judged));
        (!found.is_empty()).then_some(Swept { exponent, stopped, train_loss, judged, kept })
    };
    exponents.into_iter().filter_map(of_exponent).collect()
}

/// Whether every cell of the sweep has its row, FP32's included; until then the headroom is not known.
pub(super) fn sweep_is_whole(network: &Network, rows: &[Row]) -> bool {
    let swept = network.sweep.iter().all(|&e| has(rows, &Variant::Scale(e), network.sweep_seeds));
    swept && [Variant::Scale(0), Variant::Fp32].iter().all(|v| has(rows, v, network.seeds))
}

/// Bits below scale 1 at which FP32's result is still kept: down to the last scale before the first that loses it. `None` where
/// scale 1 loses it already.
pub(super) fn headroom(sweep: &[Swept]) -> Option<i32> {
    let below = sweep.iter().rev().filter(|s| s.exponent <= 0);
    below.take_while(|s| s.kept).map(|s| -s.exponent).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_those_of_a_sample() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([3.0]), Some(Spread { n: 1, mean: 3.0, deviation: 0.0 }));
        // squares 4, 0, 4 over n − 1
        assert_eq!(Spread::of([1.0, 3.0, 5.0]), Some(Spread { n: 3, mean: 3.0, deviation: 2.0 }));
    }

    #[test]
    fn headroom_ends_at_the_first_scale_that_loses() {
        let at = |exponent, kept| Swept { exponent, stopped: 0, train_loss: None, judged: None, kept };
        let all = [at(-12, true), at(-8, false), at(-4, true), at(0, true), at(8, false)];
        assert_eq!(headroom(&all), Some(4));
        assert_eq!(headroom(&all[2..]), Some(4));
        assert_eq!(headroom(&[at(0, false), at(4, true)]), None);
    }

    #[test]
    fn differences_are_taken_seed_by_seed() {
        let row = |variant: &Variant, seed, loss| Row {
            variant: variant.name(),
            seed,
            test_loss: loss,
            outcome: "finished".into(),
            ..Row::default()
        };
        let rows = [
            row(&Variant::Fp32, 0, Some(1.0)),
            row(&Variant::Fp32, 1, Some(2.0)),
            row(&Variant::Mixed, 1, Some(2.5)),
            row(&Variant::Mixed, 0, None),
        ];
        assert_eq!(paired(&rows, &Variant::Mixed, |r| r.test_loss), [0.5]);
    }
}
