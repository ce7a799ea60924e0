//! Bits that cannot toggle: those that yosys, told to optimise the whole design, ties to 0 or 1 in every instance of their module. Words
//! are wider than what they carry: a mask's bit, an address, a code of four bits in a bus of 32.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use systole_verilator::formal::{FormalTools, Solver};
use systole_verilator::{Options, vexriscv_verilog};

use super::counts::{Kind, Point};
use crate::error::{Error, Result};

const LIMIT: Duration = Duration::from_secs(1800);
const TOP: &str = "soc";

/// yosys' netlist, as far as it matters here.
#[derive(Deserialize)]
struct Netlist {
    modules: HashMap<String, Module>,
}

#[derive(Deserialize)]
struct Module {
    netnames: HashMap<String, Net>,
}

#[derive(Deserialize)]
struct Net {
    bits: Vec<Bit>,
    #[serde(default)]
    offset: usize,
}

/// A number for a bit that something drives, "0" or "1" for a constant, "x" for one whose driver has been optimised away.
#[derive(Deserialize)]
#[serde(untagged)]
enum Bit {
    Driven(#[allow(dead_code)] u64),
    Tied(String),
}

/// The constant bits of a design.
#[derive(Default)]
pub(super) struct Constants {
    nets: HashMap<String, Net>,
    /// The paths of every module's instances, each with a dot behind it.
    paths: HashMap<String, Vec<String>>,
}

impl Constants {
    /// Asks yosys about the design of this name, `n4v4-<the beginning of its simulator's hash>`.
    pub(super) fn of(design: &str) -> Result<Constants> {
        let options = Options::workspace();
        let failed = |e| Error::from_tool("the constants of a design", e);
        let text = read(&verilog(&options.root, design)?)?;
        let folder = options.root.join("target/systole/coverage");
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let core =
            std::path::absolute(vexriscv_verilog(&options).map_err(failed)?).map_err(Error::io("find", &folder))?;
        let script = format!(
            "read_verilog -sv design.v\nread_verilog -lib {}\nhierarchy -top {TOP}\nproc\nflatten\nmemory_collect\n\
             opt_expr\nopt_clean\nopt_dff\nopt -full\nopt_clean\nwrite_json design.json\n",
            core.display()
        );
        // a program must be there; what it is shows nowhere, since the core writes to its memory
        let files = [("design.v", text.as_str()), ("constants.ys", &script), ("firmware.hex", "0\n")];
        for (name, content) in files {
            let path = folder.join(name);
            std::fs::write(&path, content).map_err(Error::io("write", &path))?;
        }
        let tools = FormalTools::provision(&options, Solver::Yices).map_err(failed)?;
        let log = folder.join("constants.log");
        tools.yosys("constants.ys", &folder, &log, LIMIT).map_err(failed)?;
        let json = folder.join("design.json");
        let netlist: Netlist = serde_json::from_str(&read(&json)?).map_err(|e| Error::Malformed {
            path: json.clone(),
            format: "netlist",
            reason: e.to_string(),
        })?;
        let nets = netlist.modules.into_iter().find(|(name, _)| name == TOP).map(|(_, module)| module.netnames);
        let nets = nets.ok_or_else(|| Error::Malformed {
            path: json,
            format: "netlist",
            reason: format!("it has no module `{TOP}`"),
        })?;
        Ok(Constants { nets, paths: paths(&text) })
    }

    /// Whether a toggle's bit is tied wherever it is.
    pub(super) fn tied(&self, point: &Point) -> bool {
        self.values(point).is_some()
    }

    /// Whether a bit that is tied did toggle: a simulator's values begin as 0, so that those that are 1 rise once.
    pub(super) fn contradicted(&self, point: &Point) -> bool {
        self.values(point).is_some_and(|values| !(values.contains(&"1") && point.what.ends_with(":0->1")))
    }

    /// What a toggle's bit is tied to in each instance of its module.
    fn values(&self, point: &Point) -> Option<Vec<&str>> {
        let (signal, bit) = bit(&point.what).filter(|_| point.kind == Kind::Toggle)?;
        let value = |path: &String| {
            let net = self.nets.get(&format!("{path}{signal}"))?;
            match net.bits.get(bit.checked_sub(net.offset)?)? {
                Bit::Tied(value) if value != "x" => Some(value.as_str()),
                _ => None,
            }
        };
        self.paths.get(&point.module).filter(|paths| !paths.is_empty())?.iter().map(value).collect()
    }
}

/// Signal and bit of `act[3]:0->1` or `go:1->0`; none of memories, whose words have a second index.
fn bit(what: &str) -> Option<(&str, usize)> {
    let (name, _) = what.split_once(':')?;
    match name.split_once('[') {
        None => Some((name, 0)),
        Some((signal, index)) => Some((signal, index.strip_suffix(']')?.parse().ok()?)),
    }
}

/// The instances of every module: lines `  module instance (` of the emitted Verilog.
fn paths(text: &str) -> HashMap<String, Vec<String>> {
    let mut children: HashMap<&str, Vec<(&str, &str)>> = HashMap::new();
    let mut module = "";
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["module", name, ..] => {
                module = name;
                children.entry(name).or_default();
            }
            [kind, name, "("] if line.starts_with("  ") => children.entry(module).or_default().push((kind, name)),
            _ => {}
        }
    }
    let known: HashSet<&str> = children.keys().copied().collect();
    let mut all: HashMap<String, Vec<String>> = HashMap::new();
    let mut left = vec![(TOP, String::new())];
    while let Some((module, path)) = left.pop() {
        for &(kind, name) in children.get(module).into_iter().flatten().filter(|(kind, _)| known.contains(kind)) {
            left.push((kind, format!("{path}{name}.")));
        }
        all.entry(module.into()).or_default().push(path);
    }
    all
}

/// The Verilog of a design among the simulators that are kept.
fn verilog(root: &Path, design: &str) -> Result<PathBuf> {
    let kept = root.join("target/systole/rtl");
    let hash = design.rsplit('-').next().unwrap_or(design);
    let folders = super::entries(&kept)?;
    let found = folders.into_iter().find(|f| f.file_name().is_some_and(|n| n.to_string_lossy().starts_with(hash)));
    found.map(|f| f.join("soc.v")).filter(|f| f.exists()).ok_or_else(|| {
        let why = format!("its Verilog is no longer in {}; run the tests again", kept.display());
        Error::value("--constants", design, why)
    })
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(Error::io("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(module: &str, what: &str) -> Point {
        Point { module: module.into(), kind: Kind::Toggle, line: 1, column: 1, what: what.into() }
    }

    #[test]
    fn a_bit_is_tied_if_it_is_in_every_instance() {
        let text =
            "module a (\n);\nendmodule\nmodule soc (\n  input x\n);\n  a one (\n  );\n  a two (\n  );\nendmodule\n";
        let net = |bits: &str| serde_json::from_str::<Net>(&format!("{{\"bits\": {bits}}}")).unwrap();
        let nets = [
            ("one.w", net("[\"0\", 4, \"0\", \"0\"]")),
            ("two.w", net("[\"0\", \"1\", 5, \"1\"]")),
            ("v", net("[\"x\"]")),
            ("x", net("[\"0\"]")),
        ];
        let constants =
            Constants { nets: nets.into_iter().map(|(n, net)| (n.to_string(), net)).collect(), paths: paths(text) };
        let tied = |module: &str, what: &str| constants.tied(&point(module, what));
        assert!(tied("a", "w[0]:0->1") && tied("soc", "x:1->0"));
        for what in ["w[1]:0->1", "w[2]:0->1", "w[4]:0->1", "mem[0][0]:0->1", "v:0->1"] {
            assert!(!tied("a", what), "{what}");
        }
        assert!(!tied("b", "w[0]:0->1") && !tied("soc", "v:0->1"));
        let contradicted = |what: &str| constants.contradicted(&point("a", what));
        assert!(contradicted("w[0]:0->1") && contradicted("w[3]:1->0") && !contradicted("w[3]:0->1"));
        assert!(!constants.tied(&Point { kind: Kind::Line, ..point("a", "w[0]:0->1") }));
    }
}
