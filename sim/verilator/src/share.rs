//! Modules that occur often, as one function each.
//!
//! Verilator inlines modules until the design is one long list of assignments: 64 processing elements are 64 copies of the same code, each
//! run once a cycle, and more than a first-level cache holds. A module that is kept apart is a function instead, if its copies are alike to
//! the letter; so its inputs must stay signals of its own (Verilator would read through them what drives them, which differs from copy to
//! copy), and no pass over the whole design may name its temporaries apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A module is worth a function from so many copies on.
const COPIES: usize = 3;
/// And from so many characters of Verilog on, with all that it holds.
const SIZE: usize = 1200;
/// What keeps copies alike: no temporaries that are numbered through the design.
pub(crate) const FLAGS: &[&str] = &["-fno-dfg-scoped"];

/// One module of the Verilog text that our emitter writes: a port, an instance and the end are lines of their own.
#[derive(Default)]
struct Module<'a> {
    bytes: usize,
    inputs: Vec<&'a str>,
    children: Vec<&'a str>,
}

fn modules(verilog: &str) -> BTreeMap<&str, Module<'_>> {
    let mut all: BTreeMap<&str, Module> = BTreeMap::new();
    let mut current = None;
    for line in verilog.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), current) {
            (["module", name, ..], _) => {
                all.insert(name, Module::default());
                current = Some(*name);
            }
            (["endmodule", ..], _) => current = None,
            (words, Some(name)) => {
                let module = all.get_mut(name).expect("inserted at its first line");
                module.bytes += line.len();
                match words {
                    ["input", .., port] => module.inputs.push(port.trim_end_matches(',')),
                    [child, _, "("] => module.children.push(child),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    all
}

/// Characters of a module with all that it holds. (Modules of other files count nothing.)
fn size(all: &BTreeMap<&str, Module>, name: &str) -> usize {
    all.get(name).map_or(0, |m| m.bytes + m.children.iter().map(|c| size(all, c)).sum::<usize>())
}

/// How often each module's code stands in the design where that of the `shared` ones stands there once.
fn copies<'a>(
    all: &BTreeMap<&'a str, Module<'a>>,
    top: &'a str,
    shared: &BTreeSet<&'a str>,
) -> BTreeMap<&'a str, usize> {
    let mut count = BTreeMap::new();
    let mut todo = vec![top];
    while let Some(name) = todo.pop() {
        let n: &mut usize = count.entry(name).or_default();
        *n += 1;
        if let Some(module) = all.get(name).filter(|_| *n == 1 || !shared.contains(name)) {
            todo.extend(&module.children);
        }
    }
    count
}

/// Modules below `top` that are worth a function of their own, and their inputs but for the clocks.
fn worth<'a>(verilog: &'a str, top: &'a str) -> Vec<(&'a str, Vec<&'a str>)> {
    let all = modules(verilog);
    let mut shared = BTreeSet::new();
    loop {
        let next = copies(&all, top, &shared)
            .into_iter()
            .filter(|(name, copies)| *copies >= COPIES && !shared.contains(name) && size(&all, name) >= SIZE)
            .max_by_key(|(name, copies)| copies * size(&all, name));
        match next {
            Some((name, _)) => shared.insert(name),
            None => break,
        };
    }
    shared.into_iter().map(|name| (name, all[name].inputs.clone())).collect()
}

/// Verilator's configuration that shares the code of `top`'s modules; `clocks` are the names that clocks have in them.
pub(crate) fn configuration(verilog: &str, top: &str, clocks: &[String]) -> String {
    let mut text = String::from("`verilator_config\n");
    for (module, inputs) in worth(verilog, top) {
        let _ = writeln!(text, "no_inline -module \"{module}\"");
        for input in inputs.iter().filter(|i| !clocks.iter().any(|c| c == *i)) {
            let _ = writeln!(text, "public_flat_rd -module \"{module}\" -var \"{input}\"");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_module_that_occurs_often_is_shared() {
        let long = "  assign y = a;\n".repeat(SIZE / 15);
        let leaf = format!(
            "module leaf (\n  input  logic clock,\n  input  logic [3:0] a,\n  output logic y\n);\n{long}endmodule\n"
        );
        let node = "module node (\n  input  logic clock\n);\n  leaf one (\n  );\nendmodule\n";
        let instance =
            |module: &str, n: usize| (0..n).map(|i| format!("  {module} i_{i} (\n  );\n")).collect::<String>();
        let top = |inside: String| format!("{leaf}{node}module top (\n  input  logic clock\n);\n{inside}endmodule\n");
        let shared = |inside: String| {
            let text = top(inside);
            worth(&text, "top").into_iter().map(|(m, _)| m.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(shared(instance("node", 4)), ["node"]);
        assert_eq!(shared(instance("node", 2)), [""; 0]);
        // two nodes and two leaves: four leaves
        assert_eq!(shared(instance("node", 2) + &instance("leaf", 2).replace("i_", "l_")), ["leaf"]);
        let text = configuration(&top(instance("leaf", 3)), "top", &["clock".into()]);
        let expected = "`verilator_config\nno_inline -module \"leaf\"\npublic_flat_rd -module \"leaf\" -var \"a\"\n";
        assert_eq!(text, expected);
    }
}
