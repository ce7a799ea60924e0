//! Histograms of exponents as pictures and in words: figures 2 and 3 of Micikevicius et al., arXiv 1710.03740.

use plotters::prelude::*;

use super::curves::power_of_two;
use super::svg::{Area, BLUE, Drawn, MUTED, ORANGE, RED, frame, head, picture, style};
use crate::exponents::{Exponents, FP16_LEAST, FP16_LEAST_NORMAL};

/// Least exponent that is drawn; all below it share its bar.
const LEAST: i32 = -40;

/// A bar per binade, its height the share of the values that are not 0, coloured by where FP16 would hold them. `scale`: exponent of
/// the loss scale that the values were divided by; the least value that survived with it is marked.
pub fn histogram(title: &str, e: &Exponents, scale: Option<i32>) -> String {
    picture(title, |root| draw(root, title, e, scale))
}

fn draw(root: &Area, title: &str, e: &Exponents, scale: Option<i32>) -> Drawn {
    head(root, title, &[("FP16 zero", RED), ("subnormal", ORANGE), ("normal", BLUE)])?;
    let (low, high) = e.range().unwrap_or((FP16_LEAST, 0));
    let (first, last) = (low.clamp(LEAST, FP16_LEAST - 2) - 1, high.max(0) + 2);
    let share = |n: u64| 100.0 * n as f64 / e.nonzero().max(1) as f64;
    let count = |x: i32| if x == LEAST { e.between(i32::MIN, LEAST + 1) } else { e.between(x, x + 1) };
    let top = (first..last).map(|x| share(count(x))).fold(1.0, f64::max) * 1.08;
    let mut chart = frame(root).build_cartesian_2d(f64::from(first)..f64::from(last), 0.0..top)?;
    style(&mut chart.configure_mesh())
        .x_desc("magnitude, by binade")
        .disable_x_mesh()
        .x_labels(10)
        .y_labels(6)
        .x_label_formatter(&|v| power_of_two(v.round() as i32))
        .y_label_formatter(&|v| format!("{v:.0} %"))
        .draw()?;
    let bar = |x: i32| {
        let color = match x {
            x if x < FP16_LEAST => RED,
            x if x < FP16_LEAST_NORMAL => ORANGE,
            _ => BLUE,
        };
        let x0 = f64::from(x);
        Rectangle::new([(x0 + 0.08, 0.0), (x0 + 0.92, share(count(x)))], color.filled())
    };
    chart.draw_series((first.max(LEAST)..last).filter(|&x| count(x) > 0).map(bar))?;
    let line = |at: i32| PathElement::new(vec![(f64::from(at), 0.0), (f64::from(at), top)], MUTED.stroke_width(1));
    let least = scale.map(|s| FP16_LEAST - s).filter(|&x| x > first && x != FP16_LEAST);
    chart.draw_series([FP16_LEAST, FP16_LEAST_NORMAL].into_iter().chain(least).map(line))?;
    let style = ("sans-serif", 13).into_font().color(&MUTED);
    let mut note = |at: i32, words: &str| {
        let place = (f64::from(at) + 0.2, top * 0.985);
        chart.draw_series([Text::new(words.to_string(), place, style.clone())]).map(drop)
    };
    note(FP16_LEAST, "FP16 begins")?;
    note(FP16_LEAST_NORMAL, "normal")?;
    if let (Some(at), Some(s)) = (least, scale) {
        note(at, &format!("with scale {}", power_of_two(s)))?;
    }
    Ok(())
}

/// What a histogram shows, in a sentence.
pub fn words(e: &Exponents) -> String {
    let percent = |n: u64| 100.0 * e.share(n);
    let mut out = format!(
        "{} values: {:.2} % are 0, {:.2} % lie below 2⁻²⁴ and {:.2} % in FP16's subnormal range",
        e.total(),
        percent(e.zeros),
        percent(e.below_fp16()),
        percent(e.subnormal())
    );
    if e.nonfinite > 0 {
        out.push_str(&format!(", {:.2} % are infinite or no number", percent(e.nonfinite)));
    }
    out
}
