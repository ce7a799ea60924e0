//! A run's curves: loss, accuracy, loss scale, gradient norm.

use super::read::{EpochLine, PhaseLines, RunData, StepLine};
use super::svg::{BLUE, Chart, Kind, ORANGE, PALE, PHASES, Series};

/// Most points of a curve: more than a picture has columns.
const POINTS: usize = 600;

/// Name and SVG of every curve that the run has data for.
pub(super) fn all(run: &RunData) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    if run.steps.is_empty() {
        return out;
    }
    out.push(("loss", loss(run)));
    if run.epochs.iter().any(|e| e.test.1.is_some()) {
        out.push(("accuracy", accuracy(run)));
    }
    out.push(("loss_scale", loss_scale(run)));
    out.extend(gradient_norm(run).map(|svg| ("gradient_norm", svg)));
    out
}

/// A point per bucket of consecutive steps: the mean of those that have a value.
fn thin(steps: &[StepLine], value: impl Fn(&StepLine) -> Option<f64>) -> Vec<(f64, f64)> {
    let bucket = steps.len().div_ceil(POINTS).max(1);
    let mean = |chunk: &[StepLine]| {
        let values: Vec<f64> = chunk.iter().filter_map(&value).filter(|v| v.is_finite()).collect();
        let n = values.len() as f64;
        (n > 0.0).then(|| (chunk[chunk.len() - 1].step as f64, values.iter().sum::<f64>() / n))
    };
    steps.chunks(bucket).filter_map(mean).collect()
}

/// Mean of the last 1/20 of the points, or of 5.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let window = (points.len() / 20).max(5);
    let mean = |i: usize| {
        let part = &points[i.saturating_sub(window - 1)..=i];
        (points[i].0, part.iter().map(|p| p.1).sum::<f64>() / part.len() as f64)
    };
    (0..points.len()).map(mean).collect()
}

/// Decimal logarithms, without what has none.
fn log10(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    points.into_iter().filter(|p| p.1 > 0.0).map(|(x, y)| (x, y.log10())).collect()
}

/// Decimal logarithms of round numbers between two logarithms: 1, 2, 5 times powers of ten, fewer where there are many.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let digits: &[f64] = match high - low {
        d if d < 1.8 => &[1.0, 2.0, 5.0],
        d if d < 3.5 => &[1.0, 3.0],
        _ => &[1.0],
    };
    let decades = low.floor() as i32..=high.ceil() as i32;
    let all = decades.flat_map(|k| digits.iter().map(move |d| f64::from(k) + d.log10()));
    let ticks: Vec<f64> = all.filter(|t| (low..=high).contains(t)).collect();
    if ticks.len() < 2 { vec![low, (low + high) / 2.0, high] } else { ticks }
}

fn percent_ticks(low: f64, _: f64) -> Vec<f64> {
    let step = if low >= 80.0 {
        5
    } else if low >= 50.0 {
        10
    } else {
        20
    };
    (0..=100).step_by(step).map(f64::from).filter(|&t| t >= low).collect()
}

fn whole_ticks(low: f64, high: f64) -> Vec<f64> {
    let step = ((high - low) / 7.0).ceil().max(1.0) as usize;
    (low.ceil() as i32..=high as i32).step_by(step).map(f64::from).collect()
}

/// A number whose decimal logarithm is `v`, in three digits.
fn from_log10(v: &f64) -> String {
    let value = 10f64.powf(*v);
    match value {
        x if x >= 9.99 => format!("{x:.0}"),
        x if x >= 0.999 => format!("{x:.1}"),
        x if x >= 0.0999 => format!("{x:.2}"),
        x if x >= 0.000999 => format!("{x:.3}"),
        x => format!("{x:.0e}"),
    }
}

fn epochs(epochs: &[EpochLine], value: impl Fn(&EpochLine) -> Option<f64>) -> Vec<(f64, f64)> {
    epochs.iter().filter_map(|e| value(e).filter(|v| v.is_finite()).map(|v| (e.steps as f64, v))).collect()
}

fn loss(run: &RunData) -> String {
    let line = |name, points, color, kind| Series { name, points: log10(points), color, kind };
    let phases = run.phases();
    let series = match &phases[..] {
        [PhaseLines { name: None, .. }] => {
            let steps = thin(&run.steps, |s| s.loss);
            let smoothed = smooth(&steps);
            vec![
                line("steps", steps, PALE, Kind::Line(1)),
                line("smoothed", smoothed, BLUE, Kind::Line(2)),
                line("test", epochs(&run.epochs, |e| e.test.0), ORANGE, Kind::Dots),
            ]
        }
        several => {
            let curve = |p: &PhaseLines| smooth(&thin(&p.steps, |s| s.loss));
            let both = several.iter().zip(PHASES);
            both.map(|(p, color)| line(p.name.unwrap_or("others"), curve(p), color, Kind::Line(2))).collect()
        }
    };
    Chart {
        title: "Loss",
        x: "step",
        series,
        y_range: None,
        y_label: &from_log10,
        ticks: log_ticks,
        marks: ("", Vec::new()),
    }
    .draw()
}

fn accuracy(run: &RunData) -> String {
    let percent = |v: Option<f64>| v.map(|v| 100.0 * v);
    let dots = |name, points, color| Series { name, points, color, kind: Kind::Dots };
    let (train, test) = (epochs(&run.epochs, |e| percent(e.train.1)), epochs(&run.epochs, |e| percent(e.test.1)));
    let low = train.iter().chain(&test).map(|p| p.1).fold(100.0, f64::min);
    let series = vec![dots("training", train, BLUE), dots("test", test, ORANGE)];
    let floor = ((low - 2.0) / 10.0).floor().max(0.0) * 10.0;
    Chart {
        title: "Accuracy",
        x: "step",
        series,
        y_range: Some((floor, 100.0 + (100.0 - floor) * 0.02)),
        y_label: &|v| format!("{v:.0} %"),
        ticks: percent_ticks,
        marks: ("", Vec::new()),
    }
    .draw()
}

/// Corners only, so that steps stay steps.
fn scale_corners(steps: &[StepLine]) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut last = f64::NAN;
    for s in steps {
        let y = s.loss_scale.log2();
        if y.is_finite() && y != last {
            if last.is_finite() {
                points.push((s.step as f64, last));
            }
            points.push((s.step as f64, y));
            last = y;
        }
    }
    if let (Some(s), true) = (steps.last(), last.is_finite()) {
        points.push((s.step as f64, last));
    }
    points
}

fn loss_scale(run: &RunData) -> String {
    let phases = run.phases();
    let mut series: Vec<Series> = Vec::new();
    for (p, color) in phases.iter().zip(PHASES) {
        let (name, points) = (p.name.unwrap_or("scale"), scale_corners(&p.steps));
        series.push(Series { name, points, color, kind: Kind::Line(2) });
    }
    let points = series.iter().flat_map(|s| &s.points);
    let (low, high) = points.fold((24.0f64, 0.0f64), |(a, b), p| (a.min(p.1), b.max(p.1)));
    let range = (low.min(high) - 1.5, low.max(high) + 1.5);
    let marks: Vec<f64> = run.skips().map(|s| s.step as f64).collect();
    Chart {
        title: "Loss scale",
        x: "step",
        series,
        y_range: Some(range),
        y_label: &|v| power_of_two(v.round() as i32),
        ticks: whole_ticks,
        marks: ("skipped steps", marks),
    }
    .draw()
}

/// `2^k` with the exponent raised.
pub(super) fn power_of_two(k: i32) -> String {
    let digit = |c: char| match c {
        '-' => '⁻',
        d => ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][d.to_digit(10).unwrap_or(0) as usize],
    };
    format!("2{}", k.to_string().chars().map(digit).collect::<String>())
}

/// Of every step where steps record it, of the last step of each epoch otherwise.
fn gradient_norm(run: &RunData) -> Option<String> {
    let phases = run.phases();
    let mut series: Vec<Series> = Vec::new();
    for (p, color) in phases.iter().zip(PHASES) {
        let steps = log10(thin(&p.steps, |s| s.gradient_norm));
        let ends = log10(epochs(&p.epochs, |e| e.gradient_norm));
        let (points, usual, kind) = match steps.is_empty() {
            false => (steps, "every step", Kind::Line(1)),
            true => (ends, "last step of each epoch", Kind::Dots),
        };
        if !points.is_empty() {
            series.push(Series { name: p.name.unwrap_or(usual), points, color, kind });
        }
    }
    if series.is_empty() {
        return None;
    }
    let chart = Chart {
        title: "Gradient norm",
        x: "step",
        series,
        y_range: None,
        y_label: &from_log10,
        ticks: log_ticks,
        marks: ("", Vec::new()),
    };
    Some(chart.draw())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_are_thinned_by_means() {
        let step = |step| StepLine { step, loss: Some(step as f64), ..StepLine::default() };
        let points = thin(&(1..=1200).map(step).collect::<Vec<_>>(), |s| s.loss);
        assert_eq!(points.len(), 600);
        assert_eq!((points[0], points[599]), ((2.0, 1.5), (1200.0, 1199.5)));
        assert_eq!(smooth(&[(1.0, 2.0), (2.0, 4.0)]), [(1.0, 2.0), (2.0, 3.0)]);
        assert_eq!(power_of_two(-24), "2⁻²⁴");
    }
}
