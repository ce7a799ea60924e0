//! Results of the FPGA flow as a table, and one processing element through the same flow, for comparison with other units.

use std::path::Path;

use serde::{Deserialize, Serialize};
use systole_hdl::board::pe_verilog;
use systole_isa::machine::Machine;

use super::report::Summary;
use super::{Board, Built, Flow, Progress, Stage};
use crate::error::{Error, Result};

/// The clock that a processing element is asked for, above what it can reach, so that routing tries its best.
const PE_MHZ: f64 = 100.0;

/// One line of `docs/bench/fpga.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// A board's name, or `pe`.
    pub design: String,
    /// nextpnr's name of the FPGA.
    pub device: String,
    /// Speed grade.
    pub speed: u8,
    /// N; 1 for a processing element.
    pub lanes: u32,
    /// V; 0 for a processing element.
    pub vector_lanes: u32,
    /// Four-input tables, from synthesis.
    pub lut4: u32,
    /// Logic cells (`TRELLIS_COMB`), from routing.
    pub logic_cells: u32,
    /// Flip-flops.
    pub flip_flops: u32,
    /// 18×18 multipliers.
    pub multipliers: u32,
    /// Block RAMs.
    pub block_rams: u32,
    /// The clock that routing reached.
    pub mhz: f64,
    /// The clock that it was asked for.
    pub wanted_mhz: f64,
    /// nextpnr's seed.
    pub seed: u32,
    /// Versions.
    pub tools: String,
    /// Wall clock of all stages.
    pub seconds: f64,
    /// The most memory that a stage used.
    pub peak_mib: u64,
    /// What bounds the clock.
    pub longest_path: String,
}

impl Row {
    /// A board's.
    pub fn of_board(board: &Board, built: &Built, flow: &Flow) -> Row {
        let m = board.machine();
        let row = Row::new(&board.name, &built.summary, &built.stages, flow);
        Row {
            device: board.fpga.device.clone(),
            speed: board.fpga.speed,
            lanes: m.lanes,
            vector_lanes: m.vector_lanes,
            ..row
        }
    }

    fn new(design: &str, summary: &Summary, stages: &[Stage], flow: &Flow) -> Row {
        let u = summary.used;
        let tenth = |x: f64| (x * 10.0).round() / 10.0;
        Row {
            design: design.into(),
            device: String::new(),
            speed: 0,
            lanes: 1,
            vector_lanes: 0,
            lut4: u.lut4,
            logic_cells: u.logic_cells,
            flip_flops: u.flip_flops,
            multipliers: u.multipliers,
            block_rams: u.block_rams,
            mhz: tenth(summary.mhz),
            wanted_mhz: tenth(summary.wanted_mhz),
            seed: flow.seed,
            tools: flow.tools.versions.clone(),
            seconds: tenth(stages.iter().map(|s| s.seconds).sum()),
            peak_mib: stages.iter().filter_map(|s| s.peak_kib).max().unwrap_or(0) / 1024,
            longest_path: summary.critical.clone(),
        }
    }

    /// In words.
    pub fn text(&self) -> String {
        format!(
            "{}: {} logic cells ({} tables), {} flip-flops, {} multipliers, {} block RAMs, {:.1} MHz\n longest path {}",
            self.design,
            self.logic_cells,
            self.lut4,
            self.flip_flops,
            self.multipliers,
            self.block_rams,
            self.mhz,
            self.longest_path
        )
    }
}

/// Puts a row into a table: in the place of the same design's, else at its end.
///
/// # Errors
/// The file cannot be read or written, or is another table.
pub fn record(path: &Path, row: &Row) -> Result<()> {
    let bad = |e: csv::Error| Error::Malformed { path: path.into(), format: "FPGA table", reason: e.to_string() };
    let mut rows: Vec<Row> = Vec::new();
    if path.is_file() {
        let mut reader = csv::Reader::from_path(path).map_err(bad)?;
        rows = reader.deserialize().collect::<Result<_, csv::Error>>().map_err(bad)?;
    }
    match rows.iter_mut().find(|r| r.design == row.design) {
        Some(old) => *old = row.clone(),
        None => rows.push(row.clone()),
    }
    let mut writer = csv::Writer::from_path(path).map_err(bad)?;
    rows.iter().try_for_each(|r| writer.serialize(r)).map_err(bad)?;
    writer.flush().map_err(Error::io("write", path))
}

/// One processing element alone, with registers before its inputs and behind its outputs: LFE5U-85F, speed 6. Its adder
/// takes `adder_latency` cycles.
///
/// # Errors
/// As [`Flow::build`].
pub fn processing_element(flow: &Flow, adder_latency: u32, progress: &mut dyn Progress) -> Result<Row> {
    let text = pe_verilog(adder_latency).map_err(|e| Error::Setup {
        what: "the processing element".into(),
        reason: e.to_string(),
        help: "this is a bug worth reporting".into(),
    })?;
    let wrapper = registered(&text, "pe").ok_or_else(|| Error::Setup {
        what: "the processing element".into(),
        reason: "its ports were not understood".into(),
        help: "this is a bug worth reporting".into(),
    })?;
    let (stages, summary) = flow.unit("pe", &(text + &wrapper), "registered", PE_MHZ, progress)?;
    let name =
        if adder_latency == Machine::DEFAULT.adder_latency { "pe".into() } else { format!("pe-l{adder_latency}") };
    let row = Row::new(&name, &summary, &stages, flow);
    Ok(Row { device: "85k".into(), speed: 6, ..row })
}

/// A module `registered` around `module`, with a register at each port but the clock.
fn registered(text: &str, module: &str) -> Option<String> {
    let header = text.split_once(&format!("module {module} ("))?.1.split_once(");")?.0;
    let (mut ports, mut nets, mut clocked, mut pins) =
        (vec!["input logic clock".to_string()], String::new(), String::new(), vec![".clock(clock)".to_string()]);
    for port in header.split(',').map(str::trim) {
        let (direction, rest) = port.split_once(char::is_whitespace)?;
        let name = rest.split_whitespace().last()?;
        let range = rest.split_whitespace().find(|w| w.starts_with('[')).unwrap_or("");
        if name == "clock" {
            continue;
        }
        ports.push(format!("{direction} logic {range} {name}"));
        nets += &format!("  logic {range} r_{name};\n");
        pins.push(format!(".{name}(r_{name})"));
        clocked += &match direction {
            "input" => format!("    r_{name} <= {name};\n"),
            _ => format!("    {name} <= r_{name};\n"),
        };
    }
    Some(format!(
        "module registered ({});\n{nets}  {module} inner ({});\n  always_ff @(posedge clock) begin\n{clocked}  end\nendmodule\n",
        ports.join(", "),
        pins.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_gets_a_register() {
        let text = "module pe (\n  input  logic clock,\n  input  logic [19:0] act,\n  output logic [1:0] tag_out\n);\nendmodule\n";
        let wrapper = registered(text, "pe").unwrap();
        assert!(wrapper.contains("input logic [19:0] act") && wrapper.contains("r_act <= act;"), "{wrapper}");
        assert!(wrapper.contains("tag_out <= r_tag_out;") && wrapper.contains(".tag_out(r_tag_out)"), "{wrapper}");
    }

    #[test]
    fn a_design_has_one_line() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("fpga.csv");
        let row = |design: &str, mhz| Row {
            design: design.into(),
            device: "85k".into(),
            speed: 6,
            lanes: 8,
            vector_lanes: 4,
            lut4: 1,
            logic_cells: 2,
            flip_flops: 3,
            multipliers: 4,
            block_rams: 5,
            mhz,
            wanted_mhz: 50.0,
            seed: 1,
            tools: "yosys 0.70, nextpnr-ecp5 0.11".into(),
            seconds: 1.5,
            peak_mib: 6,
            longest_path: String::new(),
        };
        for r in [row("a", 50.0), row("b", 51.0), row("a", 52.0)] {
            record(&path, &r).unwrap();
        }
        let rows: Vec<Row> = csv::Reader::from_path(&path).unwrap().deserialize().map(|r| r.unwrap()).collect();
        assert_eq!(rows, [row("a", 52.0), row("b", 51.0)]);
    }
}
