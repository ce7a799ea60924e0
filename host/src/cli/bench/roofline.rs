//! A roofline (Williams, Waterman and Patterson 2009): multiply-accumulates per cycle over multiply-accumulates per byte that
//! crosses the link, under the array's roof and the link's slopes.

use std::path::Path;

use plotters::prelude::*;

use crate::error::{Error, Result};

/// One measurement.
pub(super) struct Point {
    /// What it is.
    pub(super) label: String,
    /// MACs per byte over the link.
    pub(super) intensity: f64,
    /// MACs per cycle.
    pub(super) rate: f64,
}

/// Link rates that are drawn: name, bytes per cycle.
const LINKS: [(&str, f64); 2] = [("simulated port, 1 byte a cycle", 1.0), ("UART, 3 Mbaud at 50 MHz", 0.006)];
const COLOURS: [RGBColor; 4] = [BLUE, RED, MAGENTA, GREEN];

/// Draws the roofline of an array of `lanes` × `lanes`.
pub(super) fn draw(path: &Path, lanes: u32, points: &[Point]) -> Result<()> {
    let failed = |e: String| Error::io("write", path)(std::io::Error::other(e));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    plot(path, f64::from(lanes * lanes), points).map_err(|e| failed(e.to_string()))
}

fn plot(path: &Path, roof: f64, points: &[Point]) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(path, (900, 560)).into_drawing_area();
    root.fill(&WHITE)?;
    let (low, high) = (1f64, 1e5f64);
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .caption("Training steps under the roofs of array and link", ("sans-serif", 20))
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d((low..high).log_scale(), (0.1..2.0 * roof).log_scale())?;
    chart.configure_mesh().x_desc("MACs per byte over the link").y_desc("MACs per cycle").draw()?;
    for (i, (name, bytes)) in LINKS.iter().enumerate() {
        let line = (0..=200).map(|s| {
            let x = low * (high / low).powf(f64::from(s) / 200.0);
            (x, (x * bytes).min(roof))
        });
        let style = BLACK.mix(if i == 0 { 1.0 } else { 0.4 }).stroke_width(2);
        chart
            .draw_series(LineSeries::new(line, style))?
            .label(format!("{roof} MACs a cycle, {name}"))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    for (p, colour) in points.iter().zip(COLOURS.iter().cycle()) {
        chart
            .draw_series([Circle::new((p.intensity, p.rate), 5, colour.filled())])?
            .label(format!("{}: {:.1}", p.label, p.rate))
            .legend(move |(x, y)| Circle::new((x + 9, y), 5, colour.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}
