//! Modules: prints scopes from the leaves up and merges the equal ones.

use super::EmitError;
use super::kernel::{Kernel, Resolved, Step, targets_of};
use super::nets::{Net, nets_of};
use super::scope::{Role, Scope};
use rust_hdl_core::ast::Verilog;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

#[derive(Default)]
struct Printer {
    /// Module text without its name, to that name.
    known: HashMap<String, String>,
    taken: BTreeSet<String>,
    modules: Vec<String>,
    /// Text of foreign cores and black boxes, each once.
    foreign: Vec<String>,
    faults: Vec<String>,
}

/// Prints `root` and all below it.
pub(super) fn print(root: &Scope, top: &str) -> Result<String, EmitError> {
    let mut p = Printer::default();
    p.taken.insert(top.to_string());
    p.scope(root, top, Some(top));
    if !p.faults.is_empty() {
        p.faults.sort();
        p.faults.dedup();
        return Err(EmitError { faults: p.faults });
    }
    let mut out = format!("// {top}: generated from RustHDL by systole-hdl; do not edit.\n\n");
    for m in p.modules.iter().chain(&p.foreign) {
        out.push_str(m.trim_end());
        out.push_str("\n\n");
    }
    Ok(out)
}

/// The reset value of a plain `DFF`, if this scope is one: such a child becomes a register of its parent.
fn flip_flop(scope: &Scope) -> Option<&str> {
    let Verilog::Custom(code) = &scope.code else { return None };
    let names: Vec<_> = scope.signals.iter().map(|s| s.name.as_str()).collect();
    if names != ["d", "q", "clock"] || !scope.children.is_empty() {
        return None;
    }
    let words: Vec<_> = code.split_whitespace().collect();
    match words[..] {
        [
            "initial",
            "begin",
            "q",
            "=",
            init,
            "end",
            "always",
            "@(posedge",
            "clock)",
            "begin",
            "q",
            "<=",
            "d;",
            "end",
        ] => init.trim_end_matches(';').split_once("'h").map(|(_, digits)| digits),
        _ => None,
    }
}

fn range(width: usize) -> String {
    if width == 1 { String::new() } else { format!("[{}:0] ", width - 1) }
}

fn kind(net: &Net) -> String {
    format!("logic {}{}", if net.signed { "signed " } else { "" }, range(net.width))
}

/// Renames rust-hdl's `a$3` to `a_3` in hand-written text.
fn rename(code: &str, index: &HashMap<String, usize>, nets: &[Net]) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_') {
        let (before, from) = rest.split_at(at);
        let end = from.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '$')).unwrap_or(from.len());
        out.push_str(before);
        let word = &from[..end];
        match index.get(word) {
            Some(&id) if word.contains('$') => out.push_str(&nets[id].print),
            _ => out.push_str(word),
        }
        rest = &from[end..];
    }
    out + rest
}

fn steps_text(steps: &[Step], nets: &[Net], depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    for (i, s) in steps.iter().enumerate() {
        match s {
            Step::Assign { target, part, value, .. } => {
                let name = &nets[*target].print;
                let _ = match part {
                    None => writeln!(out, "{pad}{name} = {value};"),
                    Some((low, 1)) => writeln!(out, "{pad}{name}[{low}] = {value};"),
                    Some((low, w)) => writeln!(out, "{pad}{name}[{}:{low}] = {value};", low + w - 1),
                };
            }
            Step::If { test, then, other, .. } => {
                let chained = out.ends_with("else ") && i == 0;
                let _ = writeln!(out, "{}if ({test}) begin", if chained { "" } else { &pad });
                steps_text(then, nets, depth + 1, out);
                match other.as_slice() {
                    [] => {
                        let _ = writeln!(out, "{pad}end");
                    }
                    [Step::If { .. }] => {
                        let _ = write!(out, "{pad}end else ");
                        steps_text(other, nets, depth, out);
                    }
                    _ => {
                        let _ = writeln!(out, "{pad}end else begin");
                        steps_text(other, nets, depth + 1, out);
                        let _ = writeln!(out, "{pad}end");
                    }
                }
            }
            Step::Case { test, arms, .. } => {
                let _ = writeln!(out, "{pad}case ({test})");
                for (label, body) in arms {
                    let _ = writeln!(out, "{pad}  {label}: begin");
                    steps_text(body, nets, depth + 2, out);
                    let _ = writeln!(out, "{pad}  end");
                }
                let _ = writeln!(out, "{pad}endcase");
            }
            Step::Comment(text) => {
                let _ = writeln!(out, "{pad}// {text}");
            }
        }
    }
}

/// A group of exactly one whole assignment, comments aside.
fn single(group: &[Step]) -> Option<(usize, &String, Option<usize>, &BTreeSet<usize>)> {
    let mut code = group.iter().filter(|s| !matches!(s, Step::Comment(_)));
    match (code.next(), code.next()) {
        (Some(Step::Assign { target, part: None, value, alias, reads }), None) => Some((*target, value, *alias, reads)),
        _ => None,
    }
}

/// `pe$3` to `pe`.
fn base_name(instance: &str) -> String {
    let parts: Vec<_> = instance.split('$').filter(|p| p.parse::<usize>().is_err()).collect();
    if parts.is_empty() { "block".into() } else { parts.join("_") }
}

impl Printer {
    fn fault(&mut self, path: &str, what: &str) {
        self.faults.push(format!("{path}: {what}"));
    }

    /// Prints a scope (unless an equal one is known) and returns its module's name.
    fn scope(&mut self, scope: &Scope, path: &str, name: Option<&str>) -> String {
        if let Verilog::Blackbox(b) = &scope.code {
            self.add_foreign(&b.code);
            return b.name.clone();
        }
        let kinds: Vec<Option<String>> = scope
            .children
            .iter()
            .map(|c| match flip_flop(c) {
                Some(_) => None,
                None => Some(self.scope(c, &format!("{path}.{}", c.name), None)),
            })
            .collect();
        let (nets, index) = nets_of(scope);
        let mut resolved = Resolved::default();
        if let Verilog::Combinatorial(block) = &scope.code {
            let (r, faults) = Kernel::new(scope, &nets, &index).resolve_all(block);
            faults.iter().for_each(|f| self.fault(path, f));
            self.check_driven(scope, &nets, &r, path);
            resolved = r;
        }
        let text = self.body(scope, &nets, &index, &kinds, &resolved);
        if name.is_none() {
            if let Some(known) = self.known.get(&text) {
                return known.clone();
            }
        }
        let name = match name {
            Some(n) => n.to_string(),
            None => self.fresh(resolved.module_name.unwrap_or_else(|| base_name(&scope.name))),
        };
        self.modules.push(format!("module {name} {text}endmodule"));
        self.known.insert(text, name.clone());
        name
    }

    fn fresh(&mut self, base: String) -> String {
        let mut name = base.clone();
        let mut n = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{base}_{n}");
            n += 1;
        }
        name
    }

    fn add_foreign(&mut self, text: &str) {
        let text = text.trim().to_string();
        if !text.is_empty() && !self.foreign.contains(&text) {
            self.foreign.push(text);
        }
    }

    fn check_driven(&mut self, scope: &Scope, nets: &[Net], r: &Resolved, path: &str) {
        for (id, net) in nets.iter().enumerate() {
            if !net.is_target() || r.written.contains(&id) {
                continue;
            }
            match &net.port {
                Some((child, port)) => {
                    let what = format!("input `{port}` of `{}` is not driven", scope.children[*child].name);
                    self.fault(path, &what);
                }
                None if net.role == Role::Output => self.fault(path, &format!("output `{}` is not driven", net.print)),
                None if r.read.contains(&id) => self.fault(path, &format!("`{}` is read but never driven", net.print)),
                None => {}
            }
        }
    }

    /// Ports and contents of a module: all but its name.
    fn body(
        &mut self,
        scope: &Scope,
        nets: &[Net],
        index: &HashMap<String, usize>,
        kinds: &[Option<String>],
        resolved: &Resolved,
    ) -> String {
        let mut out = String::from("(\n");
        let ports: Vec<String> = nets
            .iter()
            .filter(|n| n.port.is_none())
            .filter_map(|n| {
                let direction = match n.role {
                    Role::Input => "input  ",
                    Role::Output => "output ",
                    Role::InOut => return Some(format!("  inout  wire {}{}", range(n.width), n.print)),
                    _ => return None,
                };
                Some(format!("  {direction}{}{}", kind(n), n.print))
            })
            .collect();
        out.push_str(&ports.join(",\n"));
        out.push_str("\n);\n");
        if let Verilog::Wrapper(w) = &scope.code {
            self.add_foreign(&w.cores);
            let _ = writeln!(out, "{}", rename(w.code.trim_end(), index, nets));
            return out.replace("output logic", "output wire");
        }
        self.constants(scope, nets, index, &mut out);

        // What the instances and registers take over instead of a net of its own: plain wiring, and a register's input.
        let mut absorbed: BTreeMap<usize, String> = BTreeMap::new();
        for g in &resolved.groups {
            let Some((target, value, alias, reads)) = single(g) else { continue };
            let Some((child, port)) = &nets[target].port else { continue };
            let register = kinds[*child].is_none() && port == "d";
            if !resolved.read.contains(&target) && (register || alias.is_some() || reads.is_empty()) {
                absorbed.insert(target, value.clone());
            }
        }
        self.declarations(scope, nets, kinds, resolved, &absorbed, &mut out);

        for g in &resolved.groups {
            let mut targets = BTreeSet::new();
            g.iter().for_each(|s| targets_of(s, &mut targets));
            if targets.iter().all(|t| absorbed.contains_key(t)) {
                continue;
            }
            match single(g) {
                Some((target, value, ..)) => {
                    for s in g {
                        if let Step::Comment(text) = s {
                            let _ = writeln!(out, "  // {text}");
                        }
                    }
                    let _ = writeln!(out, "  assign {} = {value};", nets[target].print);
                }
                None => {
                    out.push_str("  always_comb begin\n");
                    steps_text(g, nets, 2, &mut out);
                    out.push_str("  end\n");
                }
            }
        }
        self.registers(scope, nets, index, kinds, &absorbed, &mut out);
        for (i, child) in scope.children.iter().enumerate() {
            let Some(kind) = &kinds[i] else { continue };
            let pins: Vec<String> = nets
                .iter()
                .enumerate()
                .filter_map(|(id, n)| match &n.port {
                    Some((c, port)) if *c == i => {
                        let outer = absorbed.get(&id).unwrap_or(&n.print);
                        Some(format!("    .{}({outer})", port.replace('$', "_")))
                    }
                    _ => None,
                })
                .collect();
            let _ = writeln!(out, "  {kind} {} (\n{}\n  );", child.name.replace('$', "_"), pins.join(",\n"));
        }
        if let Verilog::Custom(code) = &scope.code {
            for line in rename(code.trim(), index, nets).lines() {
                let _ = writeln!(out, "  {}", line.trim_end());
            }
        }
        out
    }

    fn constants(&mut self, scope: &Scope, nets: &[Net], index: &HashMap<String, usize>, out: &mut String) {
        for s in scope.signals.iter().filter(|s| s.role == Role::Constant) {
            let digits = s.value.split_once("'h").map_or("0", |(_, d)| d);
            let net = &nets[index[&s.name]];
            let _ = writeln!(out, "  localparam {}{} = {}'h{digits};", kind(net), net.print, s.width);
        }
        if matches!(scope.code, Verilog::Combinatorial(_)) {
            for (label, value, width) in &scope.labels {
                let _ = writeln!(
                    out,
                    "  localparam logic {}{} = {width}'d{value};",
                    range(*width),
                    label.replace('$', "_")
                );
            }
        }
    }

    fn declarations(
        &mut self,
        scope: &Scope,
        nets: &[Net],
        kinds: &[Option<String>],
        resolved: &Resolved,
        absorbed: &BTreeMap<usize, String>,
        out: &mut String,
    ) {
        let custom = !matches!(scope.code, Verilog::Combinatorial(_));
        for (id, n) in nets.iter().enumerate() {
            let used = custom || resolved.read.contains(&id) || resolved.written.contains(&id);
            let declare = match &n.port {
                None => n.role == Role::Local && used,
                Some((_, port)) if absorbed.contains_key(&id) || (port == "clock" && !used) => false,
                // A register's own declaration carries its initial value.
                Some((child, port)) if kinds[*child].is_none() && port == "q" => {
                    let init = flip_flop(&scope.children[*child]).unwrap_or("0");
                    let _ = writeln!(out, "  {}{} = {}'h{init};", kind(n), n.print, n.width);
                    false
                }
                Some(_) => true,
            };
            if declare {
                let _ = writeln!(out, "  {}{};", kind(n), n.print);
            }
        }
    }

    /// One `always_ff` for all the plain flip-flops of one clock.
    fn registers(
        &mut self,
        scope: &Scope,
        nets: &[Net],
        index: &HashMap<String, usize>,
        kinds: &[Option<String>],
        absorbed: &BTreeMap<usize, String>,
        out: &mut String,
    ) {
        let mut by_clock: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (i, child) in scope.children.iter().enumerate() {
            if kinds[i].is_some() {
                continue;
            }
            let id = |port: &str| index[&format!("{}${port}", child.name)];
            let wire = |port: &str| absorbed.get(&id(port)).map_or(nets[id(port)].print.as_str(), |v| v.as_str());
            by_clock.entry(wire("clock")).or_default().push(format!("    {} <= {};\n", nets[id("q")].print, wire("d")));
        }
        for (clock, lines) in by_clock {
            let _ = writeln!(out, "  always_ff @(posedge {clock}) begin\n{}  end", lines.concat());
        }
    }
}
