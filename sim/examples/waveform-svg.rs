//! Draws one product in the array from a trace: `waveform-svg TRACE.fst OUT.svg [ROWS]`.
//!
//! Shows PE (0, 0) and the whole of column 0 from the first activation in the trace until the last of ROWS sums has left the
//! array: how each row of X meets the weight, and how its sum comes out below.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use systole_hdl::array::{P_IN, p_out};
use systole_sim::rtl::wave::{Wave, half, operand, partial_sum};

/// The adder's latency in the default machine, whose traces this draws.
const L: usize = systole_isa::machine::Machine::DEFAULT.adder_latency as usize;

const LEFT: f32 = 190.0;
const CELL: f32 = 58.0;
const ROW: f32 = 34.0;
const TOP: f32 = 64.0;
/// One per row of X that is followed through the array; readable on light and dark.
const COLOURS: [&str; 5] = ["#2b7bba", "#d1710a", "#3a923a", "#b3367a", "#7c5bb0"];

/// A line of the drawing: what it is called, its values, and the cycles after an activation at which that row of X is there.
struct Line {
    label: String,
    note: &'static str,
    values: BTreeMap<u64, u64>,
    show: fn(u64) -> f32,
    after: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [trace, out, rest @ ..] = &arguments[..] else {
        eprintln!("waveform-svg TRACE.fst OUT.svg [ROWS]");
        std::process::exit(2);
    };
    let rows = rest.first().and_then(|r| r.parse().ok()).unwrap_or(3usize).clamp(1, COLOURS.len());
    match draw(Path::new(trace), rows).and_then(|svg| Ok(std::fs::write(out, svg)?)) {
        Ok(()) => (),
        Err(e) => {
            eprintln!("error: {e}");
            std::process::exit(1);
        }
    }
}

fn draw(trace: &Path, rows: usize) -> Result<String, Box<dyn std::error::Error>> {
    let mut wave = Wave::open(trace)?;
    let n = wave.lanes();
    let mut read = |name: &str| wave.samples(&format!("matrix.array.{name}"));
    let valid = read("act_valid_0")?;
    let starts: Vec<u64> = valid.iter().filter(|(_, v)| **v == 1).map(|(c, _)| *c).take(rows).collect();
    let (Some(&first), Some(&last)) = (starts.first(), starts.last()) else {
        return Err("no activation in this trace".into());
    };
    let p = P_IN as u64;
    let single = |bits: u64| f32::from_bits(bits as u32);
    let mut lines = vec![
        Line { label: "act_0".into(), note: "X, FP16", values: read("act_0")?, show: half, after: 0 },
        Line {
            label: "psum_in_0".into(),
            note: "sum into column 0, FP32",
            values: read("psum_in_0")?,
            show: single,
            after: p,
        },
        Line { label: "pe_0.act".into(), note: "one register on", values: read("pe_0.act")?, show: operand, after: 1 },
        Line {
            label: "pe_0.store_weight".into(),
            note: "the weight it meets",
            values: read("pe_0.store_weight")?,
            show: operand,
            after: 1,
        },
        Line {
            label: "pe_0.product_p".into(),
            note: "exact product",
            values: read("pe_0.product_p")?,
            show: partial_sum,
            after: 1 + p,
        },
        Line {
            label: "pe_0.psum".into(),
            note: "the sum it is added to",
            values: read("pe_0.psum")?,
            show: partial_sum,
            after: 1 + p,
        },
    ];
    for i in 0..n as u64 {
        let label = format!("pe_{}.psum_out", i * n as u64);
        let values = read(&label)?;
        let after = 1 + p + (i + 1) * L as u64;
        lines.push(Line { label, note: "rounded once, passed down", values, show: partial_sum, after });
    }
    lines.push(Line {
        label: "psum_out_0".into(),
        note: "sum out of column 0, FP32",
        values: read("psum_out_0")?,
        show: single,
        after: p_out(n, L) as u64,
    });
    let end = last + p_out(n, L) as u64 + 1;
    let (width, height) = (LEFT + (end - first + 1) as f32 * CELL + 10.0, TOP + lines.len() as f32 * ROW + 20.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#fbfbf8\"/>\n\
         <g fill=\"#333\">\n<text x=\"10\" y=\"24\" font-size=\"14\" font-weight=\"bold\">Column 0 of a {n}×{n} array, cycle by cycle</text>\n"
    );
    for cycle in first..=end {
        let x = LEFT + (cycle - first) as f32 * CELL;
        writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#777\">{cycle}</text>",
            x + CELL / 2.0,
            TOP - 10.0
        )?;
        writeln!(svg, "<path d=\"M{x} {}V{}\" stroke=\"#ddd\"/>", TOP - 4.0, height - 14.0)?;
    }
    for (i, line) in lines.iter().enumerate() {
        let y = TOP + i as f32 * ROW;
        writeln!(svg, "<text x=\"10\" y=\"{}\" font-family=\"monospace\">{}</text>", y + 14.0, line.label)?;
        writeln!(svg, "<text x=\"10\" y=\"{}\" font-size=\"10\" fill=\"#777\">{}</text>", y + 27.0, line.note)?;
        let mut cycle = first;
        while cycle <= end {
            let Some(&bits) = line.values.get(&cycle) else { break };
            let whose = |c: u64| starts.iter().position(|s| s + line.after == c);
            let mine = whose(cycle);
            let mut until = cycle;
            while until < end
                && mine.is_none()
                && whose(until + 1).is_none()
                && line.values.get(&(until + 1)) == Some(&bits)
            {
                until += 1;
            }
            let (x, w) = (LEFT + (cycle - first) as f32 * CELL, (until - cycle + 1) as f32 * CELL);
            let (colour, opacity) = mine.map_or(("#999", "0.08"), |r| (COLOURS[r], "0.22"));
            let ink = if mine.is_some() { "#111" } else { "#aaa" };
            writeln!(
                svg,
                "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"22\" rx=\"3\" fill=\"{colour}\" fill-opacity=\"{opacity}\" stroke=\"{colour}\"/>",
                x + 1.5,
                y + 4.0,
                w - 3.0
            )?;
            writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"{ink}\" font-size=\"11\">{}</text>",
                x + w / 2.0,
                y + 19.0,
                number((line.show)(bits))
            )?;
            cycle = until + 1;
        }
    }
    Ok(svg + "</g>\n</svg>\n")
}

/// Six significant digits at most, and a proper minus sign.
fn number(v: f32) -> String {
    let text = if v == 0.0 || (0.001..10_000.0).contains(&v.abs()) {
        let text = format!("{v:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    } else {
        format!("{v:.2e}")
    };
    text.replace('-', "−")
}
