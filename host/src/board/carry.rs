//! Carry chains of a synthesised netlist, packed before placement.
//!
//! A cell `CCU2C` holds two positions of a chain: a four-input table each, and the carry between them. yosys begins every chain
//! at a cell's first position with a constant carry and ends it with a carry that mostly nobody reads. nextpnr then puts a whole
//! cell before the chain, to bring the constant in, and one behind it, to bring the carry out; constants on table inputs cost a
//! wire each. On the machine with N = 8 that is three thousand cells. So, on the netlist between the two programs:
//!
//! 1. the carry that comes in takes one position, and the chain's bits follow it at once: cells are filled, not padded;
//! 2. what nobody reads at the chain's end goes, and a carry that somebody does read takes one position;
//! 3. constants go into the tables;
//! 4. a table that only one position reads becomes part of that position, where it fits: an adder's multiplexer or gate costs
//!    nothing.
//!
//! The rule of (4) comes from the cell (Lattice's FPGA-TN-02201; yosys' `ccu2c_sim.vh`). With table T, its inputs A to D and
//! carry c, a position makes `S = T(A, B, C, D) ^ c` and the next carry `T(A, B, C, D) ? c : T(A, B, 0, 0)`. The second T is the
//! same memory, read with C and D low: a function with inputs on both C and D must agree with itself there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::{Map, Value, json};
use std::path::Path;

use super::build::{NETLIST, read_netlist, write};
use super::small_ram;

/// Part of what a stage is named by: raised with every change of what becomes of a netlist here.
pub const VERSION: &str = "carry chains packed, 1; addresses joined, 1";

/// Packs `netlist.json` in the folder of a synthesis, and counts what it has then: `stat.json`, as yosys' `stat -json` does.
///
/// # Errors
/// The netlist cannot be read, or is not one.
pub fn pack_folder(folder: &Path) -> systole_verilator::Result<()> {
    let path = folder.join(NETLIST);
    let mut netlist = read_netlist(&path)?;
    let bad = |reason| systole_verilator::Error::BadTool { what: "yosys", path: path.clone(), reason };
    let packed = pack(&mut netlist).map_err(bad)?;
    let cells = top(&mut netlist).map_err(bad)?["cells"].as_object_mut();
    let joined = cells.map_or(0, small_ram::join);
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for cell in top(&mut netlist).map_err(bad)?["cells"].as_object().into_iter().flat_map(Map::values) {
        *kinds.entry(cell["type"].as_str().unwrap_or("?")).or_default() += 1;
    }
    let cells: u64 = kinds.iter().filter(|(kind, _)| !kind.starts_with('$')).map(|(_, n)| n).sum();
    let stat = json!({"design": {"num_cells": cells, "num_cells_by_type": kinds}, "carry_chains": packed, "joined_address_pins": joined});
    write(&folder.join("stat.json"), &format!("{stat:#}\n"))?;
    write(&path, &netlist.to_string())
}

/// What packing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Packed {
    /// Chains.
    pub chains: u32,
    /// Chains left as they were: their carry is read half way, or kept out of a position.
    pub kept: u32,
    /// Cells of carry chains before, without those that nextpnr would have added.
    pub cells_before: u32,
    /// Cells of carry chains after; nextpnr adds none.
    pub cells_after: u32,
    /// Tables that became part of a position.
    pub absorbed: u32,
}

/// Packs the carry chains of the top module of a netlist in yosys' JSON format.
///
/// # Errors
/// It is not such a netlist, in words.
pub fn pack(netlist: &mut Value) -> Result<Packed, String> {
    let top = top(netlist)?;
    let mut nets = Nets::of(top)?;
    let ports = &top["ports"];
    for port in ports.as_object().into_iter().flat_map(Map::values) {
        if port["direction"] != "input" {
            port["bits"].as_array().into_iter().flatten().filter_map(Value::as_u64).for_each(|n| nets.used(n, 1));
        }
    }
    let cells = top["cells"].as_object_mut().ok_or("it has no cells")?;
    let chains = chains(cells, &nets);
    let mut packed = Packed { chains: chains.len() as u32, ..Packed::default() };
    let mut pins = PinSearch::default();
    for chain in chains {
        let tapped =
            chain.iter().rev().skip(1).any(|name| net(&cells[name], "COUT").is_some_and(|n| nets.users(n) > 1));
        let barred =
            |name: &String| ["0", "1"].iter().any(|half| cells[name]["parameters"][format!("INJECT1_{half}")] != "NO");
        if tapped || chain.iter().any(barred) {
            packed.kept += 1;
            continue;
        }
        let (first, last) = (&cells[&chain[0]], &cells[&chain[chain.len() - 1]]);
        let start = Net::of(first, "CIN");
        let attributes = first["attributes"].clone();
        let end = net(last, "COUT").filter(|&n| nets.users(n) > 0);
        let mut positions = Vec::new();
        for name in &chain {
            for half in ["0", "1"] {
                positions.push(Position::of(&cells[name], half)?);
            }
        }
        if end.is_none() {
            while positions.last().is_some_and(|p| !p.sum.is_some_and(|n| nets.users(n) > 0)) {
                positions.pop();
            }
        }
        for position in &mut positions {
            packed.absorbed += position.absorb(cells, &mut nets, &mut pins)?;
        }
        let mut row = vec![Placed::carry_in(start)];
        row.extend(positions.iter().map(|p| p.placed(&mut pins)));
        row.extend(end.map(Placed::carry_out));
        if row.len() % 2 == 1 {
            row.push(Placed::nothing());
        }
        packed.cells_before += chain.len() as u32;
        packed.cells_after += row.len() as u32 / 2;
        for name in &chain {
            cells.remove(name);
        }
        let mut carry = None;
        let count = row.len() / 2;
        for (i, pair) in row.chunks(2).enumerate() {
            let out = (i + 1 < count).then(|| nets.fresh());
            cells.insert(format!("{}$chain{i}", chain[0]), cell(pair, carry, out, &attributes));
            carry = out;
        }
    }
    Ok(packed)
}

/// The module that is synthesised.
fn top(netlist: &mut Value) -> Result<&mut Value, String> {
    let modules = netlist["modules"].as_object_mut().ok_or("it has no modules")?;
    let mut modules = modules.values_mut();
    Ok(modules.find(|m| m["attributes"].get("top").is_some()).ok_or("no module has the attribute `top`")?)
}

/// Who drives and who reads a net, by its number.
struct Nets {
    driver: HashMap<u64, String>,
    users: HashMap<u64, u32>,
    next: u64,
}

impl Nets {
    fn of(module: &Value) -> Result<Nets, String> {
        let mut nets = Nets { driver: HashMap::new(), users: HashMap::new(), next: 0 };
        for (name, cell) in module["cells"].as_object().ok_or("it has no cells")? {
            let connections = cell["connections"].as_object().ok_or_else(|| format!("{name} has no connections"))?;
            for (port, bits) in connections {
                let output = cell["port_directions"][port] == "output";
                for bit in bits.as_array().into_iter().flatten().filter_map(Value::as_u64) {
                    nets.next = nets.next.max(bit + 1);
                    if output {
                        nets.driver.insert(bit, name.clone());
                    } else {
                        nets.used(bit, 1);
                    }
                }
            }
        }
        Ok(nets)
    }

    fn users(&self, net: u64) -> u32 {
        self.users.get(&net).copied().unwrap_or(0)
    }

    fn used(&mut self, net: u64, times: i32) {
        let users = self.users.entry(net).or_default();
        *users = users.saturating_add_signed(times);
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

/// The chains, each the names of its cells from the first to the last.
fn chains(cells: &Map<String, Value>, nets: &Nets) -> Vec<Vec<String>> {
    let is_carry = |name: &str| cells[name]["type"] == "CCU2C";
    let mut follows: HashMap<u64, &String> = HashMap::new();
    let mut heads = Vec::new();
    for name in cells.keys().filter(|name| is_carry(name)) {
        let from = net(&cells[name], "CIN");
        let chained = |n: &u64| {
            nets.driver.get(n).is_some_and(|driver| is_carry(driver) && net(&cells[driver], "COUT") == Some(*n))
        };
        // of several that continue one carry, the first goes on; the others begin a chain with what it brings
        match from.filter(chained) {
            Some(carry) if !follows.contains_key(&carry) => drop(follows.insert(carry, name)),
            _ => heads.push(name),
        }
    }
    let walk = |head: &String| {
        let mut chain = vec![head.clone()];
        while let Some(next) = net(&cells[&chain[chain.len() - 1]], "COUT").and_then(|n| follows.get(&n)) {
            chain.push((*next).clone());
        }
        chain
    };
    heads.into_iter().map(walk).collect()
}

/// What a pin is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Net {
    Low,
    High,
    Wire(u64),
}

impl Net {
    /// What a pin of a cell is connected to; one that is not connected, or to an undefined value, is low.
    fn of(cell: &Value, port: &str) -> Net {
        match &cell["connections"][port][0] {
            Value::Number(n) => n.as_u64().map_or(Net::Low, Net::Wire),
            Value::String(s) if s == "1" => Net::High,
            _ => Net::Low,
        }
    }
}

/// The number of the net at a pin, if it is one.
fn net(cell: &Value, port: &str) -> Option<u64> {
    cell["connections"][port][0].as_u64()
}

fn table(cell: &Value, name: &str) -> Result<u16, String> {
    let value = &cell["parameters"][name];
    let parsed = value.as_str().and_then(|s| u32::from_str_radix(s, 2).ok());
    parsed.or(value.as_u64().map(|n| n as u32)).map(|n| n as u16).ok_or_else(|| format!("a cell has no {name}"))
}

const PINS: [&str; 4] = ["A", "B", "C", "D"];

/// A position of a chain as functions of its wires: bit i of a function is its value where wire k has bit k of i.
struct Position {
    wires: Vec<u64>,
    logic: Logic,
    sum: Option<u64>,
}

/// The two functions of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Logic {
    wires: usize,
    /// The carry passes; also the sum, but for the carry.
    pass: u16,
    /// The next carry where it does not pass.
    make: u16,
}

impl Position {
    fn of(cell: &Value, half: &str) -> Result<Position, String> {
        let pins = PINS.map(|p| Net::of(cell, &format!("{p}{half}")));
        let init = table(cell, &format!("INIT{half}"))?;
        let wires = wires_of(&pins);
        let mut logic = Logic { wires: wires.len(), pass: 0, make: 0 };
        for i in 0..1u16 << wires.len() {
            let index = row(&pins, &wires, i);
            logic.pass |= (init >> index & 1) << i;
            logic.make |= (init >> (index & 3) & 1) << i;
        }
        Ok(Position { wires, logic, sum: net(cell, &format!("S{half}")) })
    }

    /// Takes in tables that nobody else reads. Returns how many.
    fn absorb(
        &mut self,
        cells: &mut Map<String, Value>,
        nets: &mut Nets,
        search: &mut PinSearch,
    ) -> Result<u32, String> {
        let mut taken = 0;
        let mut at = 0;
        while at < self.wires.len() {
            let wire = self.wires[at];
            at += 1;
            let is_table = |name: &&String| cells.get(*name).is_some_and(|c| c["type"] == "LUT4");
            let Some(name) = nets.driver.get(&wire).filter(is_table).cloned() else { continue };
            if nets.users(wire) != 1 {
                continue;
            }
            let lut = &cells[&name];
            let pins = PINS.map(|p| Net::of(lut, p));
            let init = table(lut, "INIT")?;
            let inner = wires_of(&pins);
            // this position's wires, the table's in the place of its output
            let with = |through: &[Net]| -> Vec<Net> {
                let replaced = |&w: &u64| if w == wire { through.to_vec() } else { vec![Net::Wire(w)] };
                self.wires.iter().flat_map(replaced).collect()
            };
            let wires = wires_of(&with(&pins));
            if wires.len() > 4 {
                continue;
            }
            let mut logic = Logic { wires: wires.len(), pass: 0, make: 0 };
            for i in 0..1u16 << wires.len() {
                let through = if init >> row(&pins, &wires, i) & 1 == 1 { Net::High } else { Net::Low };
                let old = row(&with(&[through]), &wires, i);
                logic.pass |= (self.logic.pass >> old & 1) << i;
                logic.make |= (self.logic.make >> old & 1) << i;
            }
            if search.find(logic).is_none() {
                continue;
            }
            for pin in pins {
                if let Net::Wire(n) = pin {
                    nets.used(n, -1);
                }
            }
            inner.iter().filter(|w| !self.wires.contains(w)).for_each(|&w| nets.used(w, 1));
            cells.remove(&name);
            (self.wires, self.logic) = (wires, logic);
            taken += 1;
            at = 0;
        }
        Ok(taken)
    }

    fn placed(&self, search: &mut PinSearch) -> Placed {
        let (order, init) =
            search.find(self.logic).expect("it was found when the position was made, or is as yosys made it");
        Placed { pins: order.map(|w| w.map(|k| self.wires[k])), init, sum: self.sum }
    }
}

/// The wires among some pins, each once, in order.
fn wires_of(pins: &[Net]) -> Vec<u64> {
    let wires: BTreeSet<u64> = pins.iter().filter_map(|p| if let Net::Wire(n) = p { Some(*n) } else { None }).collect();
    wires.into_iter().collect()
}

/// The row of a table whose pins are connected so, where wire k of `wires` has bit k of `values`.
fn row(pins: &[Net], wires: &[u64], values: u16) -> u16 {
    pins.iter().enumerate().fold(0, |index, (k, pin)| {
        let high = match pin {
            Net::Low => false,
            Net::High => true,
            Net::Wire(n) => wires.iter().position(|w| w == n).is_some_and(|at| values >> at & 1 == 1),
        };
        index | u16::from(high) << k
    })
}

/// Which wire goes to which pin (`None`: high), and the table.
type Pinning = ([Option<usize>; 4], u16);

/// Finds pins for functions, and remembers them: a design has some hundred different positions.
#[derive(Default)]
struct PinSearch {
    known: BTreeMap<(usize, u16, u16), Option<Pinning>>,
}

impl PinSearch {
    fn find(&mut self, logic: Logic) -> Option<Pinning> {
        let key = (logic.wires, logic.pass, logic.make);
        *self.known.entry(key).or_insert_with(|| {
            let places = |code: usize| [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6 & 3];
            (0..256).map(places).find_map(|pin_of| pinning(logic, &pin_of[..logic.wires]))
        })
    }
}

/// The table if wire k is connected to pin `pin_of[k]`, unless two wires share a pin or the table would have to differ from itself.
fn pinning(logic: Logic, pin_of: &[usize]) -> Option<Pinning> {
    let mut order = [None; 4];
    for (k, &pin) in pin_of.iter().enumerate() {
        if order[pin].replace(k).is_some() {
            return None;
        }
    }
    let index = |values: u16| (0..4).fold(0, |at, pin| at | order[pin].map_or(1, |k: usize| values >> k & 1) << pin);
    let mut rows = [None; 16];
    for values in 0..1u16 << logic.wires {
        rows[usize::from(index(values))] = Some(logic.pass >> values & 1);
    }
    for values in (0..1u16 << logic.wires).filter(|v| logic.pass >> v & 1 == 0) {
        let make = logic.make >> values & 1;
        if *rows[usize::from(index(values) & 3)].get_or_insert(make) != make {
            return None;
        }
    }
    Some((order, (0..16).fold(0, |init, i| init | rows[i].unwrap_or(0) << i)))
}

/// A position with pins.
struct Placed {
    /// Their wires (`None`: high).
    pins: [Option<u64>; 4],
    init: u16,
    sum: Option<u64>,
}

impl Placed {
    /// Makes a carry of what comes from outside, whatever the position before it says.
    fn carry_in(start: Net) -> Placed {
        let (a, init) = match start {
            Net::Low => (None, 0x0000),
            Net::High => (None, 0x000f),
            Net::Wire(n) => (Some(n), 0x000a),
        };
        Placed { pins: [a, None, None, None], init, sum: None }
    }

    /// Shows the carry.
    fn carry_out(to: u64) -> Placed {
        Placed { sum: Some(to), ..Placed::nothing() }
    }

    fn nothing() -> Placed {
        Placed { pins: [None; 4], init: 0, sum: None }
    }
}

/// Two positions as a cell. An undefined value is how this format says that a pin is not connected.
fn cell(pair: &[Placed], carry_in: Option<u64>, carry_out: Option<u64>, attributes: &Value) -> Value {
    let wire = |n: Option<u64>, without: &str| n.map_or(json!([without]), |n| json!([n]));
    let mut connections = Map::new();
    let mut parameters = Map::new();
    for (half, position) in pair.iter().enumerate() {
        for (pin, to) in PINS.iter().zip(position.pins) {
            connections.insert(format!("{pin}{half}"), wire(to, "1"));
        }
        connections.insert(format!("S{half}"), wire(position.sum, "x"));
        parameters.insert(format!("INIT{half}"), json!(format!("{:016b}", position.init)));
        parameters.insert(format!("INJECT1_{half}"), json!("NO"));
    }
    connections.insert("CIN".into(), wire(carry_in, "x"));
    connections.insert("COUT".into(), wire(carry_out, "x"));
    let direction = |port: &str| if ["S0", "S1", "COUT"].contains(&port) { "output" } else { "input" };
    let directions: Map<String, Value> = connections.keys().map(|p| (p.clone(), json!(direction(p)))).collect();
    json!({
        "hide_name": 1, "type": "CCU2C", "parameters": parameters, "attributes": attributes,
        "port_directions": directions, "connections": connections,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a design's wires hold, from the cells themselves: tables, and carries as yosys' model of the cell makes them.
    struct Evaluated<'a> {
        cells: &'a Map<String, Value>,
        nets: Nets,
        known: HashMap<u64, bool>,
    }

    impl Evaluated<'_> {
        fn pin(&mut self, cell: &Value, port: &str) -> bool {
            match Net::of(cell, port) {
                Net::Low => false,
                Net::High => true,
                Net::Wire(n) => self.wire(n),
            }
        }

        fn index(&mut self, cell: &Value, half: &str) -> u16 {
            (0..4).fold(0, |i, k| i | u16::from(self.pin(cell, &format!("{}{half}", PINS[k]))) << k)
        }

        fn wire(&mut self, n: u64) -> bool {
            if let Some(&value) = self.known.get(&n) {
                return value;
            }
            let cells = self.cells;
            let cell = &cells[&self.nets.driver[&n]];
            let value = if cell["type"] == "LUT4" {
                table(cell, "INIT").unwrap() >> self.index(cell, "") & 1 == 1
            } else {
                // a carry that is not connected may be anything: high is the worse for what assumes a zero
                let mut carry = cell["connections"]["CIN"][0] == "x" || self.pin(cell, "CIN");
                let mut sums = Vec::new();
                for half in ["0", "1"] {
                    let (init, i) = (table(cell, &format!("INIT{half}")).unwrap(), self.index(cell, half));
                    let (lut4, lut2) = (init >> i & 1 == 1, init >> (i & 3) & 1 == 1);
                    sums.push(lut4 ^ carry);
                    carry = if lut4 { carry } else { lut2 };
                }
                match net(cell, "COUT") {
                    Some(out) if out == n => carry,
                    _ if net(cell, "S0") == Some(n) => sums[0],
                    _ => sums[1],
                }
            };
            self.known.insert(n, value);
            value
        }
    }

    fn outputs(netlist: &Value, inputs: u64, values: u64) -> Vec<bool> {
        let top = &netlist["modules"]["top"];
        let known = (0..inputs).map(|n| (n + 2, values >> n & 1 == 1)).collect();
        let mut all = Evaluated { cells: top["cells"].as_object().unwrap(), nets: Nets::of(top).unwrap(), known };
        top["ports"]["y"]["bits"].as_array().unwrap().iter().map(|n| all.wire(n.as_u64().unwrap())).collect()
    }

    /// An adder or subtractor as yosys makes its chain, behind tables on all its operands.
    struct Design<'a> {
        bits: u64,
        inputs: u64,
        /// Per table: its content, and from bit 16 a byte for each pin.
        tables: &'a [u64],
        subtract: bool,
        /// Carry in: 0 and 1 constants, else an input.
        start: u64,
        /// Somebody else reads every second table, too.
        shared: bool,
        carry_read: bool,
    }

    impl Design<'_> {
        fn netlist(&self) -> Value {
            let mut cells = Map::new();
            let mut next = self.inputs + 2;
            let mut fresh = || {
                next += 1;
                next - 1
            };
            let (mut out, mut operands) = (Vec::new(), Vec::new());
            for (i, &seed) in self.tables.iter().take(2 * self.bits as usize).enumerate() {
                let wire = fresh();
                let pin = |k: u32| match seed >> (16 + 8 * k) & 0xff {
                    0..=40 => json!(["1"]),
                    n => json!([2 + n % self.inputs]),
                };
                cells.insert(
                    format!("t{i}"),
                    json!({
                        "type": "LUT4", "parameters": {"INIT": format!("{:016b}", seed & 0xffff)},
                        "port_directions": {"A": "input", "B": "input", "C": "input", "D": "input", "Z": "output"},
                        "connections": {"A": pin(0), "B": pin(1), "C": pin(2), "D": pin(3), "Z": [wire]},
                    }),
                );
                if self.shared && i % 2 == 1 {
                    out.push(wire);
                }
                operands.push(wire);
            }
            let mut carry = match self.start {
                0 => json!("0"),
                1 => json!("1"),
                n => json!(2 + n % self.inputs),
            };
            for i in 0..self.bits.div_ceil(2) {
                let (s0, s1, cout) = (fresh(), fresh(), fresh());
                let at = |k: u64| operands.get(k as usize).map_or(json!("0"), |n| json!(n));
                let minus = json!([if self.subtract { "1" } else { "0" }]);
                let input = ["A0", "B0", "C0", "D0", "A1", "B1", "C1", "D1", "CIN"].map(|p| (p, "input"));
                let directions = input.into_iter().chain(["S0", "S1", "COUT"].map(|p| (p, "output")));
                cells.insert(
                    format!("c{i}"),
                    json!({
                        "type": "CCU2C", "attributes": {},
                        "parameters": {
                            "INIT0": "1001011010101010", "INIT1": "1001011010101010",
                            "INJECT1_0": "NO", "INJECT1_1": "NO",
                        },
                        "port_directions": directions.collect::<HashMap<_, _>>(),
                        "connections": {
                            "A0": [at(4 * i)], "B0": [at(4 * i + 1)], "C0": minus, "D0": ["1"],
                            "A1": [at(4 * i + 2)], "B1": [at(4 * i + 3)], "C1": minus, "D1": ["1"],
                            "CIN": [carry], "S0": [s0], "S1": [s1], "COUT": [cout],
                        },
                    }),
                );
                out.push(s0);
                if 2 * i + 1 < self.bits {
                    out.push(s1);
                }
                carry = json!(cout);
            }
            if self.carry_read {
                out.extend(carry.as_u64());
            }
            json!({"modules": {"top": {
                "attributes": {"top": "1"}, "cells": cells, "ports": {"y": {"direction": "output", "bits": out}},
            }}})
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn a_packed_chain_is_the_same_function(
            bits in 1u64..9, inputs in 2u64..9, tables in prop::collection::vec(any::<u64>(), 18), subtract: bool,
            start in 0u64..6, shared: bool, carry_read: bool, values in prop::collection::vec(any::<u64>(), 32),
        ) {
            let before = Design { bits, inputs, tables: &tables, subtract, start, shared, carry_read }.netlist();
            let mut after = before.clone();
            let packed = pack(&mut after).unwrap();
            prop_assert_eq!((packed.chains, packed.kept), (1, 0));
            // one position for the carry in, one for each bit, one for a carry that is read
            let room = if carry_read { bits.next_multiple_of(2) + 2 } else { bits + 1 };
            prop_assert_eq!(u64::from(packed.cells_after), room.div_ceil(2));
            for values in values {
                prop_assert_eq!(outputs(&before, inputs, values), outputs(&after, inputs, values));
            }
        }
    }

    #[test]
    fn a_multiplexer_before_an_adder_costs_nothing() {
        // pins A, B, C, and D high; C ? B : A, and A alone
        let pins = |table: u64| table | 50 << 16 | 51 << 24 | 52 << 32;
        let (mux, wire) = (pins(0xcaca), 0xaaaa | 53 << 16);
        let tables = [wire, mux, wire, mux, wire, mux, wire, mux];
        let design =
            Design { bits: 4, inputs: 8, tables: &tables, subtract: false, start: 0, shared: false, carry_read: false };
        let packed = pack(&mut design.netlist()).unwrap();
        assert_eq!((packed.absorbed, packed.cells_before, packed.cells_after), (8, 2, 3));
    }
}
