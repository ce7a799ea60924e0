//! The nets of a module and their printed names.

use super::scope::{Role, Scope, Signal};
use std::collections::{BTreeSet, HashMap};

/// A signal as a module sees it: its own, or a port of one of its children.
#[derive(Debug, Clone)]
pub(super) struct Net {
    pub print: String,
    pub width: usize,
    pub signed: bool,
    pub role: Role,
    /// Index of the child whose port this is, and the port's name in Rust.
    pub port: Option<(usize, String)>,
}

impl Net {
    /// Must this module drive it?
    pub fn is_target(&self) -> bool {
        matches!((self.port.is_some(), self.role), (false, Role::Output | Role::Local) | (true, Role::Input))
    }
}

/// Words of SystemVerilog that a Rust field may well be called; a net of that name is printed with `_n` behind it.
const KEYWORDS: &[&str] = &[
    "alias",
    "always",
    "and",
    "assert",
    "assign",
    "assume",
    "before",
    "begin",
    "bind",
    "bit",
    "buf",
    "byte",
    "case",
    "cell",
    "clocking",
    "context",
    "cover",
    "cross",
    "default",
    "design",
    "disable",
    "dist",
    "do",
    "edge",
    "end",
    "event",
    "expect",
    "export",
    "final",
    "first_match",
    "for",
    "force",
    "forever",
    "fork",
    "function",
    "generate",
    "global",
    "initial",
    "inside",
    "instance",
    "int",
    "integer",
    "interface",
    "intersect",
    "join",
    "large",
    "library",
    "local",
    "logic",
    "longint",
    "medium",
    "modport",
    "module",
    "nand",
    "negedge",
    "new",
    "nor",
    "not",
    "null",
    "or",
    "packed",
    "parameter",
    "posedge",
    "priority",
    "program",
    "property",
    "protected",
    "pure",
    "rand",
    "real",
    "reg",
    "release",
    "repeat",
    "restrict",
    "return",
    "scalared",
    "sequence",
    "shortint",
    "signed",
    "small",
    "solve",
    "specify",
    "string",
    "strong",
    "supply0",
    "supply1",
    "table",
    "tagged",
    "task",
    "this",
    "time",
    "timeunit",
    "tran",
    "tri",
    "type",
    "typedef",
    "union",
    "unique",
    "unsigned",
    "until",
    "untyped",
    "use",
    "var",
    "vectored",
    "virtual",
    "void",
    "wait",
    "wand",
    "weak",
    "while",
    "wildcard",
    "wire",
    "with",
    "within",
    "wor",
    "xnor",
    "xor",
];

/// The nets of a scope: its own signals, then its children's ports; with an index by Rust name.
pub(super) fn nets_of(scope: &Scope) -> (Vec<Net>, HashMap<String, usize>) {
    let mut nets = vec![];
    let mut index = HashMap::new();
    let mut taken: BTreeSet<String> = scope.labels.iter().map(|(n, ..)| n.replace('$', "_")).collect();
    let mut add = |name: String, s: &Signal, port: Option<(usize, String)>| {
        let mut print = name.replace('$', "_");
        if KEYWORDS.contains(&print.as_str()) {
            print.push_str("_n");
        }
        while !taken.insert(print.clone()) {
            print.push_str("_n");
        }
        index.insert(name, nets.len());
        nets.push(Net { print, width: s.width, signed: s.signed, role: s.role, port });
    };
    // Ports first, so that a clash of names never renames a port.
    let is_port = |s: &&Signal| matches!(s.role, Role::Input | Role::Output | Role::InOut);
    scope.signals.iter().filter(is_port).for_each(|s| add(s.name.clone(), s, None));
    scope.signals.iter().filter(|s| !is_port(s)).for_each(|s| add(s.name.clone(), s, None));
    for (i, child) in scope.children.iter().enumerate() {
        for s in child.signals.iter().filter(is_port) {
            add(format!("{}${}", child.name, s.name), s, Some((i, s.name.clone())));
        }
    }
    (nets, index)
}
