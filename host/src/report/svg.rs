//! A line chart as SVG text, on plotters; colours by name, so that a style sheet inside each picture can exchange them on a
//! dark screen.

use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Size of a picture.
const SIZE: (u32, u32) = (640, 320);

const TEXT: RGBColor = RGBColor(0x1f, 0x29, 0x37);
pub(crate) const MUTED: RGBColor = RGBColor(0x6b, 0x72, 0x80);
const GRID: RGBColor = RGBColor(0xe5, 0xe7, 0xeb);
const GROUND: RGBColor = RGBColor(0xff, 0xff, 0xff);
pub(crate) const BLUE: RGBColor = RGBColor(0x25, 0x63, 0xeb);
pub(crate) const PALE: RGBColor = RGBColor(0xbf, 0xdb, 0xfe);
pub(crate) const ORANGE: RGBColor = RGBColor(0xd9, 0x77, 0x06);
/// Of the phases of a GAN, in their order.
pub(crate) const PHASES: [RGBColor; 2] = [BLUE, ORANGE];
pub(crate) const RED: RGBColor = RGBColor(0xdc, 0x26, 0x26);

/// Light colour and what becomes of it on a dark screen.
const DARK: [(&str, &str); 8] = [
    ("#1F2937", "#e5e7eb"),
    ("#6B7280", "#9ca3af"),
    ("#E5E7EB", "#2d3748"),
    ("#FFFFFF", "#161b26"),
    ("#2563EB", "#60a5fa"),
    ("#BFDBFE", "#274674"),
    ("#D97706", "#fbbf24"),
    ("#DC2626", "#f87171"),
];

/// How a series is drawn.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A line of this width.
    Line(u32),
    /// A line with a dot at each point.
    Dots,
}

/// One series.
pub(crate) struct Series<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) color: RGBColor,
    pub(crate) kind: Kind,
}

/// A linear axis with labels at places of its own.
struct Axis {
    range: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;
    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.range.map(value, limit)
    }
    fn key_points<H: KeyPointHint>(&self, _: H) -> Vec<f64> {
        self.ticks.clone()
    }
    fn range(&self) -> std::ops::Range<f64> {
        self.range.range()
    }
}

/// A chart.
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) series: Vec<Series<'a>>,
    /// Ends of the vertical axis; `None`: from the data.
    pub(crate) y_range: Option<(f64, f64)>,
    pub(crate) y_label: &'a dyn Fn(&f64) -> String,
    /// Where the vertical axis has labels, from its ends.
    pub(crate) ticks: fn(f64, f64) -> Vec<f64>,
    /// Short strokes at the foot, with their name.
    pub(crate) marks: (&'static str, Vec<f64>),
}

impl Chart<'_> {
    /// Draws it.
    pub(crate) fn draw(&self) -> String {
        let points = || self.series.iter().flat_map(|s| &s.points);
        let fold = |f: fn(f64, f64) -> f64, start, get: fn(&(f64, f64)) -> f64| points().map(get).fold(start, f);
        let x0 = fold(f64::min, f64::INFINITY, |p| p.0).min(0.0);
        let x1 = fold(f64::max, 1.0, |p| p.0);
        let (y0, y1) = self.y_range.unwrap_or_else(|| {
            let (low, high) = (fold(f64::min, f64::INFINITY, |p| p.1), fold(f64::max, f64::NEG_INFINITY, |p| p.1));
            let margin = ((high - low) * 0.06).max(0.05);
            if low <= high { (low - margin, high + margin) } else { (0.0, 1.0) }
        });
        picture(self.title, |root| self.draw_on(root, x0..x1, y0..y1))
    }

    fn draw_on(&self, root: &Area, x: std::ops::Range<f64>, y: std::ops::Range<f64>) -> Drawn {
        let mut legend: Vec<(&str, RGBColor)> = self.series.iter().map(|s| (s.name, s.color)).collect();
        if !self.marks.1.is_empty() {
            legend.push((self.marks.0, RED));
        }
        head(root, self.title, &legend)?;
        let foot = y.start;
        let ticks = (self.ticks)(y.start, y.end);
        let height = (y.end - y.start) * 0.045;
        let mut chart = frame(root).build_cartesian_2d(x, Axis { range: y.into(), ticks })?;
        style(&mut chart.configure_mesh())
            .x_desc(self.x)
            .x_labels(8)
            .y_labels(12)
            .x_label_formatter(&|v| format!("{v:.0}"))
            .y_label_formatter(self.y_label)
            .draw()?;
        for s in &self.series {
            let width = match s.kind {
                Kind::Line(width) => width,
                Kind::Dots => 2,
            };
            chart.draw_series(LineSeries::new(s.points.iter().copied(), s.color.stroke_width(width)))?;
            if matches!(s.kind, Kind::Dots) {
                chart.draw_series(s.points.iter().map(|&p| Circle::new(p, 3, s.color.filled())))?;
            }
        }
        let stroke = |&at: &f64| PathElement::new(vec![(at, foot), (at, foot + height)], RED.stroke_width(2));
        chart.draw_series(self.marks.1.iter().map(stroke))?;
        Ok(())
    }
}

/// Where a picture is drawn, and what may go wrong.
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(crate) type Drawn = Result<(), Box<dyn std::error::Error>>;

/// What `draw` draws, as SVG text.
pub(crate) fn picture(title: &str, draw: impl FnOnce(&Area) -> Drawn) -> String {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        let all = || -> Drawn {
            root.fill(&GROUND)?;
            draw(&root)?;
            Ok(root.present()?)
        };
        all().expect("text always takes more text");
    }
    finish(&text, title)
}

/// A chart's margins: room for the title above, for labels below and at the left.
pub(crate) fn frame<'a, 'b>(root: &'a Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(root);
    builder.margin_top(44).margin_right(22).margin_bottom(8).margin_left(6).x_label_area_size(40).y_label_area_size(58);
    builder
}

/// A chart's grid and letters.
pub(crate) fn style<'a, 'b, X: Ranged, Y: Ranged>(
    mesh: &'b mut MeshStyle<'a, 'b, X, Y, SVGBackend<'a>>,
) -> &'b mut MeshStyle<'a, 'b, X, Y, SVGBackend<'a>> {
    let letters = || ("sans-serif", 15).into_font().color(&MUTED);
    mesh.light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(letters())
        .axis_desc_style(letters())
}

/// The title, and a legend at the right of the same line.
pub(crate) fn head(root: &Area, title: &str, legend: &[(&str, RGBColor)]) -> Drawn {
    let title_style = ("sans-serif", 19).into_font().style(FontStyle::Bold).color(&TEXT);
    root.draw_text(title, &title_style.pos(Pos::new(HPos::Left, VPos::Center)), (14, 22))?;
    let style = ("sans-serif", 15).into_font().color(&MUTED).pos(Pos::new(HPos::Right, VPos::Center));
    let mut right = SIZE.0 as i32 - 22;
    for &(name, color) in legend.iter().rev() {
        root.draw_text(name, &style, (right, 22))?;
        // widths of text are the viewer's to know: this is an upper bound for usual fonts
        right -= (name.chars().count() as f64 * 7.2) as i32 + 8;
        root.draw(&Rectangle::new([(right - 12, 20), (right, 24)], color.filled()))?;
        right -= 26;
    }
    Ok(())
}

/// Makes the picture scale, gives it a name for screen readers, and the style of a dark screen.
fn finish(text: &str, title: &str) -> String {
    let dark: String = DARK
        .iter()
        .map(|(light, dark)| format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}"))
        .collect();
    let start = text.find("<svg").unwrap_or(0);
    let end = text[start..].find('>').map_or(text.len(), |n| start + n + 1);
    let (w, h) = SIZE;
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" role=\"img\" aria-label=\"{title}\">\
         <style>text{{font-family:system-ui,sans-serif}}@media (prefers-color-scheme:dark){{{dark}}}</style>{}",
        &text[end..]
    )
}
