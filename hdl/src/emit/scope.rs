//! Collects a block and its children into a tree of plain data.

use rust_hdl_core::ast::Verilog;
use rust_hdl_core::atom::{Atom, AtomKind, is_atom_signed};
use rust_hdl_core::prelude::{Block, Probe};
use rust_hdl_core::type_descriptor::{TypeDescriptor, TypeKind};

/// What a signal is to the module that declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Input,
    Output,
    InOut,
    Local,
    Constant,
}

/// One signal of a block.
#[derive(Debug, Clone)]
pub(super) struct Signal {
    pub name: String,
    pub role: Role,
    pub width: usize,
    pub signed: bool,
    /// Its value, for constants, in rust-hdl's notation (`8'h1f`).
    pub value: String,
}

/// One block: its signals, children and code.
#[derive(Debug)]
pub(super) struct Scope {
    pub name: String,
    pub signals: Vec<Signal>,
    pub children: Vec<Scope>,
    /// Enum labels (`State::Idle`), value and width.
    pub labels: Vec<(String, usize, usize)>,
    pub code: Verilog,
}

#[derive(Default)]
struct Collector {
    open: Vec<Scope>,
    namespace: Vec<String>,
    done: Option<Scope>,
}

pub(super) fn collect(block: &dyn Block, top: &str) -> Scope {
    let mut collector = Collector::default();
    block.accept(top, &mut collector);
    collector.done.expect("the block opened no scope")
}

fn labels_of(t: &TypeDescriptor, out: &mut Vec<(String, usize, usize)>) {
    match &t.kind {
        TypeKind::Enum(names) => {
            let width = usize::BITS as usize - (names.len().max(2) - 1).leading_zeros() as usize;
            for (value, name) in names.iter().enumerate() {
                let label = (name.replace("::", "$"), value, width);
                if !out.contains(&label) {
                    out.push(label);
                }
            }
        }
        TypeKind::Composite(fields) => fields.iter().for_each(|f| labels_of(&f.kind, out)),
        _ => {}
    }
}

impl Probe for Collector {
    fn visit_start_scope(&mut self, name: &str, node: &dyn Block) {
        let name =
            if self.namespace.is_empty() { name.to_string() } else { format!("{}${name}", self.namespace.join("$")) };
        self.open.push(Scope { name, signals: vec![], children: vec![], labels: vec![], code: node.hdl() });
    }

    fn visit_start_namespace(&mut self, name: &str, _node: &dyn Block) {
        self.namespace.push(name.to_string());
    }

    fn visit_end_namespace(&mut self, _name: &str, _node: &dyn Block) {
        self.namespace.pop();
    }

    fn visit_atom(&mut self, name: &str, atom: &dyn Atom) {
        let name =
            if self.namespace.is_empty() { name.to_string() } else { format!("{}${name}", self.namespace.join("$")) };
        let role = match atom.kind() {
            AtomKind::InputParameter => Role::Input,
            AtomKind::OutputParameter | AtomKind::OutputPassthrough => Role::Output,
            AtomKind::InOutParameter => Role::InOut,
            AtomKind::Constant => Role::Constant,
            _ => Role::Local,
        };
        let value = if role == Role::Constant { format!("{:x}", atom.verilog()) } else { String::new() };
        let scope = self.open.last_mut().expect("an atom outside any scope");
        labels_of(&atom.descriptor(), &mut scope.labels);
        scope.signals.push(Signal { name, role, width: atom.bits(), signed: is_atom_signed(atom), value });
    }

    fn visit_end_scope(&mut self, _name: &str, _node: &dyn Block) {
        let scope = self.open.pop().expect("scopes are nested");
        match self.open.last_mut() {
            Some(parent) => {
                // A parent names the states of its own registers, not those that its rooms keep to themselves.
                if scope.children.is_empty() && scope.signals.iter().any(|s| s.name == "q") {
                    for label in &scope.labels {
                        if !parent.labels.contains(label) {
                            parent.labels.push(label.clone());
                        }
                    }
                }
                parent.children.push(scope);
            }
            None => self.done = Some(scope),
        }
    }
}
