//! A floorplan: the sites of block RAMs and multipliers, fixed before the rest is placed.
//!
//! An ECP5 has its block RAMs in a few rows. A machine that fills them leaves a placer that moves cells one by one no free site to
//! improve with: whatever RAM comes last lies where there was room, far from its bank, and its wires cross everything else. On
//! the LFE5U-85F with N = 8 that doubles the length of all wires. So the sites are chosen together, as an assignment problem:
//! of all ways to give every such cell a site, the one with the shortest wires to the logic around it (Kuhn 1955; Munkres 1957).
//! Logic then moves to its RAMs, and the RAMs can follow once more: each round starts from a placement with the last round's sites.
//!
//! `systole board floorplan` makes `floorplan.toml` beside a `board.toml`; building uses what is there. Cells are found by name,
//! and one that is not found is left to the placer: a floorplan that has aged costs speed, never a result.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use pathfinding::kuhn_munkres::kuhn_munkres_min;
use pathfinding::matrix::Matrix;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::description::size;
use crate::error::{Error, Result};

/// The kinds of cell whose sites are fixed.
const KINDS: [&str; 2] = ["DP16KD", "MULT18X18D"];
/// A net with more pins reaches everywhere; it pulls nobody.
const WIDE: usize = 2000;

/// Sites of cells, by their names in the netlist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floorplan {
    /// Site of each cell, as nextpnr names it: `X4/Y22/EBR0`.
    #[serde(default)]
    sites: BTreeMap<String, String>,
}

/// What an assignment found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Assigned {
    /// Cells with a site.
    pub cells: usize,
    /// Length of their wires to other cells as they were placed, in tiles.
    pub before: i64,
    /// The same in the new sites.
    pub after: i64,
}

/// One place for a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Site {
    name: String,
    x: i64,
    y: i64,
}

impl Floorplan {
    /// Reads a floorplan; `path` names it in errors.
    ///
    /// # Errors
    /// It is no TOML of cells and sites.
    pub fn parse(text: &str, path: &Path) -> Result<Floorplan> {
        toml::from_str(text).map_err(|e| Error::Malformed {
            path: path.into(),
            format: "floorplan.toml",
            reason: e.to_string().trim_end().to_string(),
        })
    }

    /// As text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("names are text")
    }

    /// Nothing is fixed.
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }

    /// Writes the sites into a netlist in yosys' JSON format. Returns how many of its cells were found there, and how many it names.
    pub fn apply(&self, netlist: &mut Value) -> (usize, usize) {
        let mut found = 0;
        let mut sites: HashMap<String, &String> = self.sites.iter().map(|(name, site)| (plain(name), site)).collect();
        for module in netlist["modules"].as_object_mut().into_iter().flat_map(|m| m.values_mut()) {
            for (name, cell) in module["cells"].as_object_mut().into_iter().flatten() {
                let kind = cell["type"].as_str().unwrap_or_default();
                if !KINDS.contains(&kind) {
                    continue;
                }
                // taken out: two names may be alike without their levels, and a site holds one cell
                if let Some(site) = sites.remove(&plain(name)) {
                    cell["attributes"]["BEL"] = Value::from(site.as_str());
                    found += 1;
                }
            }
        }
        (found, self.sites.len())
    }

    /// The best sites on `device` for the block RAMs and multipliers of a placed design, as nextpnr writes it.
    ///
    /// # Errors
    /// It is not such a file, or the device is unknown, in words.
    pub fn of_placement(placed: &Value, device: &str) -> std::result::Result<(Floorplan, Assigned), String> {
        let module = placed["modules"].as_object().and_then(|m| m.values().next()).ok_or("no module")?;
        let cells = module["cells"].as_object().ok_or("no cells")?;
        let mut at: HashMap<&str, (i64, i64)> = HashMap::new();
        let mut pins: HashMap<u64, Vec<&str>> = HashMap::new();
        for (name, cell) in cells {
            let bel = cell["attributes"]["NEXTPNR_BEL"].as_str().unwrap_or_default();
            at.insert(name, place(bel).ok_or_else(|| format!("cell {name} is not placed"))?);
            for net in nets(cell) {
                pins.entry(net).or_default().push(name);
            }
        }
        let (mut plan, mut total) = (Floorplan::default(), Assigned::default());
        for kind in KINDS {
            let sites = sites(device, kind).ok_or_else(|| format!("the sites of {device} are not known"))?;
            let mine: Vec<(&String, &Value)> = cells.iter().filter(|(_, c)| c["type"] == kind).collect();
            let is_mine = |name: &str| cells[name]["type"] == kind;
            if mine.is_empty() {
                continue;
            }
            let mut cost = Matrix::new(mine.len(), sites.len(), 0i64);
            for (row, (name, cell)) in mine.iter().enumerate() {
                let mut seen: Vec<u64> = nets(cell).collect();
                seen.sort_unstable();
                seen.dedup();
                for net in seen {
                    let others = pins[&net].iter().filter(|n| !is_mine(n)).map(|n| at[n]);
                    let Some(frame) = Frame::around(others).filter(|f| f.pins <= WIDE) else { continue };
                    for (column, site) in sites.iter().enumerate() {
                        cost[(row, column)] += frame.reach(site.x, site.y);
                    }
                }
                let bel = cell["attributes"]["NEXTPNR_BEL"].as_str().unwrap_or_default();
                let now = sites.iter().position(|s| s.name == bel);
                total.before +=
                    cost[(row, now.ok_or_else(|| format!("cell {name} is at {bel}: no site of {device}"))?)];
            }
            let (length, chosen) = kuhn_munkres_min(&cost);
            total.after += length;
            total.cells += mine.len();
            plan.sites.extend(mine.iter().zip(chosen).map(|((name, _), s)| ((*name).clone(), sites[s].name.clone())));
        }
        Ok((plan, total))
    }
}

/// The rectangle around pins.
struct Frame {
    pins: usize,
    x: (i64, i64),
    y: (i64, i64),
}

impl Frame {
    fn around(pins: impl Iterator<Item = (i64, i64)>) -> Option<Frame> {
        let mut frame: Option<Frame> = None;
        for (x, y) in pins {
            let f = frame.get_or_insert(Frame { pins: 0, x: (x, x), y: (y, y) });
            f.pins += 1;
            f.x = (f.x.0.min(x), f.x.1.max(x));
            f.y = (f.y.0.min(y), f.y.1.max(y));
        }
        frame
    }

    /// How much it grows when one more pin is there.
    fn reach(&self, x: i64, y: i64) -> i64 {
        let beyond = |v: i64, (low, high): (i64, i64)| (low - v).max(v - high).max(0);
        beyond(x, self.x) + beyond(y, self.y)
    }
}

/// A cell's name without its levels: yosys calls the same multiplier after a port or after the wire behind it, `mul.p` or `mul_p`.
fn plain(name: &str) -> String {
    name.replace('.', "_")
}

/// The wires at a cell.
fn nets(cell: &Value) -> impl Iterator<Item = u64> + '_ {
    let ports = cell["connections"].as_object().into_iter().flat_map(|c| c.values());
    ports.flat_map(|bits| bits.as_array().into_iter().flatten()).filter_map(Value::as_u64)
}

/// Column and row of a site's name.
fn place(bel: &str) -> Option<(i64, i64)> {
    let mut parts = bel.split('/');
    let x = parts.next()?.strip_prefix('X')?.parse().ok()?;
    Some((x, parts.next()?.strip_prefix('Y')?.parse().ok()?))
}

/// All sites for a kind of cell. Rows and columns as in Project Trellis' database: four block RAMs or two pairs of multipliers
/// every nine columns, but for the gap that the clock tree takes.
fn sites(device: &str, kind: &str) -> Option<Vec<Site>> {
    let (blocks, before_gap, gap, ram_rows, multiplier_rows): (i64, i64, i64, &[i64], &[i64]) = match size(device) {
        "12k" | "25k" => (7, 3, 11, &[25, 37], &[13]),
        "45k" => (9, 4, 11, &[10, 34, 58], &[22, 46]),
        "85k" => (13, 7, 11, &[22, 46, 70, 82], &[10, 34, 58]),
        _ => return None,
    };
    let (rows, offsets, stem): (_, [(i64, u32); 4], _) = match kind {
        "DP16KD" => (ram_rows, [(0, 0), (2, 1), (4, 2), (6, 3)], "EBR"),
        "MULT18X18D" => (multiplier_rows, [(0, 0), (1, 1), (4, 4), (5, 5)], "MULT18_"),
        _ => return None,
    };
    let column = |block: i64| 4 + 9 * block + if block >= before_gap { gap - 9 } else { 0 };
    let mut all = Vec::new();
    for &y in rows {
        for block in 0..blocks {
            for (offset, z) in offsets {
                let x = column(block) + offset;
                all.push(Site { name: format!("X{x}/Y{y}/{stem}{z}"), x, y });
            }
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::Board;
    use super::super::report::Capacity;
    use super::*;

    #[test]
    fn each_device_has_as_many_sites_as_it_has_blocks() {
        for device in ["12k", "25k", "45k", "85k", "um5g-85k"] {
            let has = Capacity::of(device.strip_prefix("um5g-").unwrap_or(device)).unwrap();
            for (kind, count) in KINDS.into_iter().zip([has.block_rams, has.multipliers]) {
                let sites = sites(device, kind).unwrap();
                let names: BTreeSet<&str> = sites.iter().map(|s| s.name.as_str()).collect();
                assert_eq!((sites.len(), names.len()), (count as usize, count as usize), "{device} {kind}");
                assert!(sites.iter().all(|s| place(&s.name) == Some((s.x, s.y))));
            }
        }
        assert!(sites("5k", "DP16KD").is_none());
    }

    #[test]
    fn the_floorplans_of_this_repository_name_sites_of_their_devices_once() {
        for board in Board::all() {
            let device = &board.fpga.device;
            let known: BTreeSet<String> =
                KINDS.iter().flat_map(|k| sites(device, k).unwrap()).map(|site| site.name).collect();
            let used: BTreeSet<&String> = board.floorplan.sites.values().collect();
            assert_eq!(used.len(), board.floorplan.sites.len(), "{}: a site is named twice", board.name);
            assert!(used.iter().all(|s| known.contains(*s)), "{}: {used:?}", board.name);
            assert_eq!(board.floorplan, Floorplan::parse(&board.floorplan.to_toml(), Path::new("again")).unwrap());
        }
    }

    /// RAMs in sites of their own, each with a wire to some tables.
    fn design(rams: &[(usize, Vec<(i64, i64)>)], all: &[Site]) -> Value {
        let mut cells = serde_json::Map::new();
        let cell = |kind: &str, bel: String, net: usize| json!({"type": kind, "attributes": {"NEXTPNR_BEL": bel}, "connections": {"P": [net]}});
        for (net, (site, tables)) in rams.iter().enumerate() {
            cells.insert(format!("ram.{net}"), cell("DP16KD", all[*site].name.clone(), net));
            for (i, (x, y)) in tables.iter().enumerate() {
                cells.insert(format!("table.{net}.{i}"), cell("TRELLIS_COMB", format!("X{x}/Y{y}/SLICEA.LUT0"), net));
            }
        }
        json!({"modules": {"top": {"cells": cells}}})
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn wires_never_grow_and_no_site_is_taken_twice(
            start in Just((0..56usize).collect::<Vec<_>>()).prop_shuffle(),
            tables in prop::collection::vec(prop::collection::vec((1..70i64, 1..49i64), 1..4), 1..40),
        ) {
            let all = sites("25k", "DP16KD").unwrap();
            let rams: Vec<_> = start.into_iter().zip(tables).collect();
            let (plan, total) = Floorplan::of_placement(&design(&rams, &all), "25k").unwrap();
            prop_assert!(total.after <= total.before);
            prop_assert_eq!(total.cells, rams.len());
            let used: BTreeSet<&String> = plan.sites.values().collect();
            prop_assert_eq!(used.len(), rams.len());
            // nobody gains by moving to a site that is free, and no two by changing places
            let site_of = |net: usize| all.iter().find(|s| s.name == plan.sites[&format!("ram.{net}")]).unwrap();
            let length = |net: usize, s: &Site| {
                Frame::around(rams[net].1.iter().copied()).unwrap().reach(s.x, s.y)
            };
            for a in 0..rams.len() {
                for free in all.iter().filter(|s| !used.contains(&s.name)) {
                    prop_assert!(length(a, free) >= length(a, site_of(a)));
                }
                for b in 0..a {
                    let (here, there) = (site_of(a), site_of(b));
                    prop_assert!(length(a, here) + length(b, there) <= length(a, there) + length(b, here));
                }
            }
        }
    }

    #[test]
    fn sites_go_to_cells_by_name_whatever_their_levels() {
        let plan = Floorplan::parse(
            "[sites]\n\"a.mul.p\" = \"X4/Y10/MULT18_0\"\n\"gone\" = \"X4/Y22/EBR0\"\n",
            Path::new("f"),
        )
        .unwrap();
        let mut netlist = json!({"modules": {"top": {"cells": {
            "a.mul_p": {"type": "MULT18X18D", "attributes": {}}, "a_mul.p": {"type": "MULT18X18D", "attributes": {}}, "a.mul_q": {"type": "LUT4", "attributes": {}},
        }}}});
        assert_eq!(plan.apply(&mut netlist), (1, 2));
        assert_eq!(netlist["modules"]["top"]["cells"]["a.mul_p"]["attributes"]["BEL"], "X4/Y10/MULT18_0");
        assert_eq!(netlist["modules"]["top"]["cells"]["a.mul_q"]["attributes"], json!({}));
    }

    #[test]
    fn what_is_no_placed_design_is_said() {
        assert!(Floorplan::of_placement(&json!({}), "85k").is_err());
        let unplaced = json!({"modules": {"top": {"cells": {"a": {"type": "LUT4", "attributes": {}}}}}});
        assert_eq!(Floorplan::of_placement(&unplaced, "85k").unwrap_err(), "cell a is not placed");
        let all = sites("85k", "DP16KD").unwrap();
        let placed = design(&[(0, vec![(1, 1)])], &all);
        assert_eq!(Floorplan::of_placement(&placed, "5k").unwrap_err(), "the sites of 5k are not known");
        assert!(Floorplan::parse("[sites]\na = 1\n", Path::new("f")).is_err());
    }
}
