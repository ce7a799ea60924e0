//! What synthesis and routing report, in numbers and in words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an FPGA has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Capacity {
    /// Logic cells: a four-input table each (nextpnr's `TRELLIS_COMB`).
    pub logic_cells: u32,
    /// 18×18 multipliers.
    pub multipliers: u32,
    /// Block RAMs of 18 kbit.
    pub block_rams: u32,
}

impl Capacity {
    /// Of an ECP5 named by its thousands of cells. The 12k is a 25k with another name.
    pub fn of(size: &str) -> Option<Capacity> {
        let (logic_cells, multipliers, block_rams) = match size {
            "12k" | "25k" => (24_288, 28, 56),
            "45k" => (43_848, 72, 108),
            "85k" => (83_640, 156, 208),
            _ => return None,
        };
        Some(Capacity { logic_cells, multipliers, block_rams })
    }
}

/// What a design takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Utilisation {
    /// Four-input tables that synthesis made, those inside carry chains and distributed RAM not counted.
    pub lut4: u32,
    /// Logic cells, all kinds. Before routing: what the tables, carry chains (two each) and distributed RAMs (six each) come to.
    pub logic_cells: u32,
    /// Flip-flops.
    pub flip_flops: u32,
    /// 18×18 multipliers.
    pub multipliers: u32,
    /// Block RAMs.
    pub block_rams: u32,
}

impl Utilisation {
    /// From the counts of `stat -json` of yosys, after synthesis for ECP5.
    pub fn of_netlist(stat: &Value) -> Option<Utilisation> {
        let cells = stat.get("design")?.get("num_cells_by_type")?;
        let count = |kind: &str| cells.get(kind).and_then(Value::as_u64).unwrap_or(0) as u32;
        Some(Utilisation {
            lut4: count("LUT4"),
            logic_cells: count("LUT4") + 2 * count("CCU2C") + 6 * count("TRELLIS_DPR16X4"),
            flip_flops: count("TRELLIS_FF"),
            multipliers: count("MULT18X18D"),
            block_rams: count("DP16KD"),
        })
    }

    /// What does not fit, in words.
    pub fn excess(&self, has: &Capacity) -> Option<String> {
        let over = [
            (self.logic_cells, has.logic_cells, "logic cells"),
            (self.multipliers, has.multipliers, "multipliers"),
            (self.block_rams, has.block_rams, "block RAMs"),
        ];
        let lines: Vec<String> = over
            .iter()
            .filter(|(need, room, _)| need > room)
            .map(|(need, room, what)| format!("{need} {what} are needed and there are {room}"))
            .collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }

    /// In words.
    pub fn text(&self, has: &Capacity) -> String {
        let part =
            |used: u32, room: u32| format!("{used} of {room} ({:.0} %)", 100.0 * f64::from(used) / f64::from(room));
        format!(
            "logic cells  {}, {} flip-flops\nmultipliers  {}\nblock RAMs   {}",
            part(self.logic_cells, has.logic_cells),
            self.flip_flops,
            part(self.multipliers, has.multipliers),
            part(self.block_rams, has.block_rams)
        )
    }
}

/// What routing reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What the design takes.
    pub used: Utilisation,
    /// The clock that it reaches, in MHz.
    pub mhz: f64,
    /// The clock that it was to reach.
    pub wanted_mhz: f64,
    /// The longest path, in words.
    pub critical: String,
}

impl Summary {
    /// From `--report` of nextpnr. `lut4` comes from synthesis, which alone counts them.
    pub fn of_report(report: &Value, lut4: u32) -> Option<Summary> {
        let cells = report.get("utilization")?;
        let count =
            |kind: &str| cells.get(kind).and_then(|c| c.get("used")).and_then(Value::as_u64).unwrap_or(0) as u32;
        let used = Utilisation {
            lut4,
            logic_cells: count("TRELLIS_COMB"),
            flip_flops: count("TRELLIS_FF"),
            multipliers: count("MULT18X18D"),
            block_rams: count("DP16KD"),
        };
        // one clock does all the work; a pad's clock that only feeds the PLL has no paths
        let (mhz, wanted_mhz) = report
            .get("fmax")?
            .as_object()?
            .values()
            .filter_map(|c| Some((c.get("achieved")?.as_f64()?, c.get("constraint")?.as_f64()?)))
            .min_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)))?;
        let critical = report
            .get("critical_paths")
            .and_then(Value::as_array)
            .and_then(|paths| paths.iter().filter_map(critical_path).max_by(|a, b| a.0.total_cmp(&b.0)))
            .map_or_else(String::new, |(_, text)| text);
        Some(Summary { used, mhz, wanted_mhz, critical })
    }

    /// Timing is met.
    pub fn met(&self) -> bool {
        self.mhz >= self.wanted_mhz
    }

    /// In words.
    pub fn text(&self, has: &Capacity) -> String {
        let room = 100.0 * (self.mhz / self.wanted_mhz - 1.0);
        let verdict =
            if self.met() { format!("met, {room:.0} % to spare") } else { format!("MISSED by {:.0} %", -room) };
        format!(
            "{}\nclock        {:.1} MHz reached, {:.1} wanted: {verdict}\nlongest path {}",
            self.used.text(has),
            self.mhz,
            self.wanted_mhz,
            self.critical
        )
    }
}

/// Length in ns and a sentence, if the path lies within one clock.
fn critical_path(path: &Value) -> Option<(f64, String)> {
    let (from, to) = (path.get("from")?.as_str()?, path.get("to")?.as_str()?);
    if from == "<async>" || to == "<async>" {
        return None;
    }
    let parts = path.get("path")?.as_array()?;
    let mut by_kind: BTreeMap<&str, f64> = BTreeMap::new();
    for part in parts {
        let kind = part.get("type").and_then(Value::as_str).unwrap_or("logic");
        *by_kind.entry(kind).or_default() += part.get("delay")?.as_f64()?;
    }
    let routing = by_kind.get("routing").copied().unwrap_or(0.0);
    let total: f64 = by_kind.values().sum();
    let name = |end: &str, at: Option<&Value>| {
        let cell = at.and_then(|p| p.get(end)).and_then(|e| e.get("cell")).and_then(Value::as_str).unwrap_or("?");
        plain(cell).to_string()
    };
    let text = format!(
        "{total:.1} ns ({:.1} logic, {routing:.1} wires) from {} to {}",
        total - routing,
        name("from", parts.first()),
        name("to", parts.last())
    );
    Some((total, text))
}

/// A cell's name without what synthesis hangs on.
fn plain(cell: &str) -> &str {
    ["_TRELLIS_FF", "_LUT4", "_CCU2C", "_PFUMX", "_L6MUX21", "$"]
        .iter()
        .filter_map(|mark| cell.find(mark))
        .filter(|&at| at > 0)
        .min()
        .map_or(cell, |at| &cell[..at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report_is_read_and_told() {
        let report = json!({
            "utilization": {
                "TRELLIS_COMB": {"available": 83640, "used": 41820}, "TRELLIS_FF": {"available": 83640, "used": 17000},
                "MULT18X18D": {"available": 156, "used": 78}, "DP16KD": {"available": 208, "used": 104}
            },
            "fmax": {"$glbnet$clk": {"achieved": 400.0, "constraint": 25.0}, "$glbnet$core": {"achieved": 48.0, "constraint": 50.0}},
            "critical_paths": [
                {"from": "<async>", "to": "posedge core", "path": [{"delay": 90.0, "type": "routing"}]},
                {"from": "posedge core", "to": "posedge core", "path": [
                    {"delay": 0.5, "type": "clk-to-q", "from": {"cell": "soc.a_TRELLIS_FF_Q_1"}, "to": {"cell": "soc.a_TRELLIS_FF_Q_1"}},
                    {"delay": 12.0, "type": "routing", "from": {"cell": "x"}, "to": {"cell": "y"}},
                    {"delay": 8.3, "type": "logic", "from": {"cell": "y"}, "to": {"cell": "soc.b.lane$12_LUT4_Z"}}]}
            ]
        });
        let summary = Summary::of_report(&report, 40000).unwrap();
        assert_eq!((summary.mhz, summary.wanted_mhz, summary.met()), (48.0, 50.0, false));
        assert_eq!(summary.critical, "20.8 ns (8.8 logic, 12.0 wires) from soc.a to soc.b.lane");
        let text = summary.text(&Capacity::of("85k").unwrap());
        assert!(text.contains("41820 of 83640 (50 %)") && text.contains("MISSED by 4 %"), "{text}");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let stat =
            json!({"design": {"num_cells_by_type": {"LUT4": 24000, "CCU2C": 200, "DP16KD": 57, "MULT18X18D": 3}}});
        let used = Utilisation::of_netlist(&stat).unwrap();
        let excess = used.excess(&Capacity::of("25k").unwrap()).unwrap();
        assert!(
            excess.contains("24400 logic cells") && excess.contains("57 block RAMs") && !excess.contains("multipliers")
        );
        assert_eq!(used.excess(&Capacity::of("85k").unwrap()), None);
    }
}
