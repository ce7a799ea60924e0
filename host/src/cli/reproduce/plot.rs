//! Pictures of a network's results, as SVG.

use std::path::Path;

use half::f16;

use super::experiment::{Measure, Network, Variant};
use super::stats::{self, Spread};
use super::table::Results;
use crate::error::Result;
use crate::exponents::Exponents;
use crate::npy::write_atomically;
use crate::report::histogram;
use crate::report::svg::{BLUE, Chart, Kind, MUTED, ORANGE, PALE, RED, Series};
use crate::run::samples::grid;

/// Colours of the table's variants, in its order.
const COLORS: [plotters::style::RGBColor; 5] = [MUTED, BLUE, ORANGE, RED, PALE];

/// Writes all pictures that there are results for; returns their names, each with what it shows.
pub(super) fn write(out: &Path, network: &Network, results: &Results) -> Result<Vec<(String, &'static str)>> {
    let mut written = Vec::new();
    let mut put = |what: &str, text: &'static str, svg: Option<String>| -> Result<()> {
        let Some(svg) = svg else { return Ok(()) };
        let name = format!("{}-{what}.svg", network.name);
        write_atomically(&out.join(&name), svg.as_bytes())?;
        written.push((name, text));
        Ok(())
    };
    put("loss", "Mean loss of the test rows by epoch", curves(network, results))?;
    put("scales", "Loss of the test rows at static loss scales", sweep(network, results))?;
    for (kind, title) in [
        ("weights", "FP32 training: weights"),
        ("weight-gradients", "FP32 training: weight gradients"),
        ("activation-gradients", "FP32 training: activation gradients"),
    ] {
        let e = exponents(results, kind);
        put(kind, title, (e.nonzero() > 0).then(|| histogram(title, &e, None)))?;
    }
    for (variant, what, title) in [
        (Variant::Fp32, "samples-fp32", "Samples of the FP32 run of seed 0"),
        (Variant::Mixed, "samples-mixed", "Samples of the run in mixed precision"),
        (Variant::Scale(0), "samples-scale-1", "Samples of the run with loss scale 1"),
        (Variant::HalfMasters, "samples-fp16-masters", "Samples of the run with FP16 master weights"),
    ] {
        put(what, title, samples(results, &variant.name()))?;
    }
    Ok(written)
}

/// The images of a generator's run.
fn samples(results: &Results, variant: &str) -> Option<String> {
    let images: Vec<_> = results.images.iter().filter(|i| i.variant == variant).collect();
    let (width, digits) = images.first().map(|i| (i.width, i.pixels.len()))?;
    let level = |pixels: &str, at: usize| u8::from_str_radix(pixels.get(2 * at..2 * at + 2)?, 16).ok();
    let grey = |level: Option<u8>| f16::from_f32(f32::from(level.unwrap_or(0)) / 255.0);
    let values: Vec<f16> =
        images.iter().flat_map(|i| (0..digits / 2).map(move |at| grey(level(&i.pixels, at)))).collect();
    Some(grid(&values, &[1, digits / 2 / width.max(1), width.max(1)]))
}

/// The histogram of one kind of value.
pub(super) fn exponents(results: &Results, kind: &str) -> Exponents {
    let mut e = Exponents::default();
    for bin in results.bins.iter().filter(|b| b.kind == kind) {
        match bin.exponent {
            Some(x) => *e.bins.entry(x).or_default() += bin.count,
            None => e.zeros += bin.count,
        }
    }
    e
}

/// Round numbers that an axis from `low` to `high` is labelled with.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let step = 10f64.powf(((high - low) / 6.0).log10().ceil());
    let step = [0.2, 0.5, 1.0].into_iter().map(|f| f * step).find(|s| (high - low) / s <= 7.0).unwrap_or(step);
    let first = (low / step).ceil() as i64;
    (first..).map(|i| i as f64 * step).take_while(|&t| t <= high).collect()
}

fn chart(title: &str, x: &str, series: Vec<Series>, marks: (&'static str, Vec<f64>)) -> Option<String> {
    let points = || series.iter().flat_map(|s| &s.points).map(|p| p.1);
    let label = |v: &f64| format!("{v:.3}");
    let (low, high) = (points().fold(f64::INFINITY, f64::min), points().fold(f64::NEG_INFINITY, f64::max));
    let margin = 0.06 * (high - low).max(1e-3);
    let y_range = Some((low - margin, high + margin));
    (low <= high).then(|| Chart { title, x, series, y_range, y_label: &label, ticks, marks }.draw())
}

/// Each variant's mean over its seeds after every epoch.
fn curves(network: &Network, results: &Results) -> Option<String> {
    let variants = network.compared();
    let names: Vec<String> = variants.iter().map(short).collect();
    let mut series = Vec::new();
    for ((variant, name), color) in variants.iter().zip(&names).zip(COLORS) {
        let id = variant.name();
        let last = results.points.iter().filter(|p| p.variant == id).map(|p| p.epoch).max().unwrap_or(0);
        let mean = |epoch: u32| {
            let of_epoch = results.points.iter().filter(|p| p.variant == id && p.epoch == epoch);
            let losses = of_epoch.filter_map(|p| p.test_loss).filter(|l| l.is_finite());
            Spread::of(losses).map(|s| (f64::from(epoch), s.mean))
        };
        let points: Vec<(f64, f64)> = (1..=last).filter_map(mean).collect();
        if !points.is_empty() {
            series.push(Series { name, points, color, kind: Kind::Line(2) });
        }
    }
    chart("Test loss", "epoch", series, ("", Vec::new()))
}

/// Names for a legend.
fn short(v: &Variant) -> String {
    match v {
        Variant::Fp32 => "FP32".into(),
        Variant::Mixed => "mixed".into(),
        Variant::Scale(0) => "scale 1".into(),
        Variant::Scale(e) => format!("2^{e}"),
        Variant::HalfMasters => "FP16 masters".into(),
        Variant::HalfSums => "FP16 sums".into(),
        Variant::Search(flags) => flags.clone(),
    }
}

/// Final loss against the exponent of the scale, with that of FP32 as a line.
fn sweep(network: &Network, results: &Results) -> Option<String> {
    let all = stats::sweep(network, &results.rows);
    let (first, last) = (f64::from(all.first()?.exponent), f64::from(all.last()?.exponent));
    let at = |s: &stats::Swept, v: Option<Spread>| v.map(|v| (f64::from(s.exponent), v.mean));
    let fp32 = stats::over(&stats::of(&results.rows, &Variant::Fp32), stats::judged)?.mean;
    let series = vec![
        Series { name: "FP32", points: vec![(first, fp32), (last, fp32)], color: MUTED, kind: Kind::Line(1) },
        Series {
            name: "mixed precision",
            points: all.iter().filter(|s| s.stopped == 0).filter_map(|s| at(s, s.judged)).collect(),
            color: BLUE,
            kind: Kind::Dots,
        },
    ];
    let stopped = all.iter().filter(|s| s.stopped > 0).map(|s| f64::from(s.exponent)).collect();
    let title =
        if network.measure == Measure::Score { "Score by loss scale, times −1" } else { "Test loss by loss scale" };
    chart(title, "log2 of the static loss scale", series, ("stopped", stopped))
}

#[cfg(test)]
mod tests {
    #[test]
    fn axes_have_a_few_round_labels() {
        for (low, high) in [(0.0, 1.0), (1.71, 1.74), (0.05, 2.4), (-16.0, 16.0), (0.0312, 0.0313)] {
            let t = super::ticks(low, high);
            assert!((3..=8).contains(&t.len()) && t.iter().all(|v| (low..=high).contains(v)), "{low} {high}: {t:?}");
        }
    }
}
