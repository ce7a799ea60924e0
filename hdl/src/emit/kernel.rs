//! Kernels: loops unrolled, names resolved, every assignment printed; then grouped by the signals they assign.

use super::nets::Net;
use super::scope::Scope;
use rust_hdl_core::ast::{
    VerilogBlock, VerilogBlockOrConditional as Else, VerilogConditional, VerilogExpression as Ast, VerilogLink,
    VerilogLinkDetails, VerilogStatement,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A statement with all names resolved.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Assign {
        target: usize,
        /// First bit and width, for a part of the target.
        part: Option<(usize, usize)>,
        value: String,
        reads: BTreeSet<usize>,
        /// The value is exactly this net.
        alias: Option<usize>,
    },
    If {
        test: String,
        reads: BTreeSet<usize>,
        then: Vec<Step>,
        other: Vec<Step>,
    },
    Case {
        test: String,
        reads: BTreeSet<usize>,
        arms: Vec<(String, Vec<Step>)>,
    },
    Comment(String),
}

/// What a kernel becomes.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// Statement groups, each a process of its own.
    pub groups: Vec<Vec<Step>>,
    pub read: BTreeSet<usize>,
    pub written: BTreeSet<usize>,
    /// From `comment!("module …")`.
    pub module_name: Option<String>,
}

/// Resolution of one kernel.
pub(super) struct Kernel<'a> {
    nets: &'a [Net],
    index: &'a HashMap<String, usize>,
    labels: HashMap<String, (String, usize)>,
    loops: Vec<(String, usize)>,
    reads: BTreeSet<usize>,
    faults: Vec<String>,
}

impl<'a> Kernel<'a> {
    pub fn new(scope: &Scope, nets: &'a [Net], index: &'a HashMap<String, usize>) -> Self {
        let labels = scope.labels.iter().map(|(n, _, w)| (n.clone(), (n.replace('$', "_"), *w))).collect();
        Kernel { nets, index, labels, loops: vec![], reads: BTreeSet::new(), faults: vec![] }
    }

    pub(super) fn fault(&mut self, what: &str) {
        self.faults.push(what.to_string());
    }

    pub(super) fn loop_value(&self, name: &str) -> Option<usize> {
        self.loops.iter().rev().find(|(n, _)| n == name).map(|(_, v)| *v)
    }

    pub(super) fn label(&self, name: &str) -> Option<(String, usize)> {
        self.labels.get(name).cloned()
    }

    pub(super) fn read(&mut self, name: &str) -> Option<(String, usize, bool)> {
        let id = *self.index.get(name)?;
        self.reads.insert(id);
        let net = &self.nets[id];
        Some((net.print.clone(), net.width, net.signed))
    }

    /// `pe[i*n+1].a.next` to `pe$9$a`.
    pub(super) fn resolve(&mut self, raw: &str) -> String {
        let mut s = raw.replace("::", "$").replace('.', "$").replace(' ', "");
        s = s.trim_start_matches('$').trim_end_matches("$next").to_string();
        while let Some(open) = s.find('[') {
            let Some(close) = s[open..].find(']').map(|c| c + open) else { break };
            let index = s[open + 1..close].to_string();
            let value = match index_value(&index, &self.loops) {
                Some(v) if v >= 0 => v,
                _ => {
                    self.fault(&format!("index `{index}` in `{raw}` is not a number at emission"));
                    0
                }
            };
            s = format!("{}${value}{}", &s[..open], &s[close + 1..]);
        }
        s
    }

    fn value(&mut self, e: &Ast, width: usize) -> (String, BTreeSet<usize>) {
        self.reads.clear();
        let text = self.expression(e).fit(width).bare();
        (text, std::mem::take(&mut self.reads))
    }

    fn target(&mut self, e: &Ast) -> Option<usize> {
        let Ast::Signal(raw) = e else {
            self.fault("an assignment to something that is no signal");
            return None;
        };
        let name = self.resolve(raw);
        let Some(&id) = self.index.get(&name) else {
            self.fault(&format!("assignment to `{name}`, which is no signal of this block"));
            return None;
        };
        if !self.nets[id].is_target() {
            self.fault(&format!("assignment to `{name}`, which something else drives"));
            return None;
        }
        Some(id)
    }

    fn assign(&mut self, target: &Ast, value: &Ast, part: Option<(usize, usize)>, out: &mut Vec<Step>) {
        let Some(target) = self.target(target) else { return };
        let width = part.map_or(self.nets[target].width, |p| p.1);
        let (text, reads) = self.value(value, width);
        let alias = reads.iter().copied().find(|&r| part.is_none() && self.nets[r].print == text);
        out.push(Step::Assign { target, part, value: text, reads, alias });
    }

    fn block(&mut self, block: &VerilogBlock, out: &mut Vec<Step>) {
        for s in block {
            self.statement(s, out);
        }
    }

    fn nested(&mut self, block: &VerilogBlock) -> Vec<Step> {
        let mut out = vec![];
        self.block(block, &mut out);
        out
    }

    fn conditional(&mut self, c: &VerilogConditional) -> Step {
        let (test, reads) = self.value(&c.test, 1);
        let then = self.nested(&c.then);
        let mut other = vec![];
        match &c.otherwise {
            Else::Block(b) => self.block(b, &mut other),
            Else::Conditional(s) => self.statement(s, &mut other),
            Else::None => {}
        }
        Step::If { test, reads, then, other }
    }

    fn statement(&mut self, s: &VerilogStatement, out: &mut Vec<Step>) {
        match s {
            VerilogStatement::Assignment(target, value) => self.assign(target, value, None, out),
            VerilogStatement::SliceAssignment { base, width, offset, replacement } => {
                let low = match offset {
                    Ast::Literal(l) => super::expr::literal_value(l).map(|v| v as usize),
                    _ => None,
                };
                match low {
                    Some(low) => self.assign(base, replacement, Some((low, *width)), out),
                    None => self.fault("a bit assigned at a position known only at run time: use replace_bit"),
                }
            }
            VerilogStatement::If(c) => {
                let step = self.conditional(c);
                out.push(step);
            }
            VerilogStatement::Match(m) => {
                self.reads.clear();
                let test = self.expression(&m.test);
                let reads = std::mem::take(&mut self.reads);
                let width = test.width_or(32);
                let mut arms = vec![];
                for (i, case) in m.cases.iter().enumerate() {
                    let body = self.nested(&case.block);
                    let name = self.resolve(&case.condition);
                    let last = i + 1 == m.cases.len();
                    let label = if name == "default" || (last && !m.cases.iter().any(|c| c.condition == "default")) {
                        // Rust matches are exhaustive: the last arm takes every code that no label has.
                        "default".to_string()
                    } else if let Some((text, _)) = self.label(&name) {
                        text
                    } else if let Some(v) = integer(&name) {
                        format!("{width}'d{v}")
                    } else {
                        self.fault(&format!("`{name}` is not a pattern that can be printed"));
                        continue;
                    };
                    arms.push((label, body));
                }
                out.push(Step::Case { test: test.bare(), reads, arms });
            }
            VerilogStatement::Loop(l) => {
                for v in l.from.as_usize()..l.to.as_usize() {
                    self.loops.push((l.index.clone(), v));
                    self.block(&l.block, out);
                    self.loops.pop();
                }
            }
            VerilogStatement::Comment(text) => {
                let text = text.trim().trim_start_matches("crate :: comment ! (\"").replace('\n', " ");
                out.push(Step::Comment(text));
            }
            VerilogStatement::Link(links) => links.iter().for_each(|l| self.link(l, out)),
            VerilogStatement::Macro(block) => self.block(block, out),
        }
    }

    fn link(&mut self, link: &VerilogLink, out: &mut Vec<Step>) {
        let name =
            |side: &str, d: &VerilogLinkDetails| Ast::Signal(format!("{side}.{}", d.my_name.trim_start_matches('.')));
        match link {
            VerilogLink::Forward(d) => self.assign(&name(&d.other_name, d), &name(&d.owner_name, d), None, out),
            VerilogLink::Backward(d) => self.assign(&name(&d.owner_name, d), &name(&d.other_name, d), None, out),
            VerilogLink::Bidirectional(_) => self.fault("bidirectional links are not supported"),
        }
    }

    /// Resolves a whole kernel; the second value lists its faults.
    pub fn resolve_all(mut self, block: &VerilogBlock) -> (Resolved, Vec<String>) {
        let mut steps = self.nested(block);
        let mut done = Resolved::default();
        if let Some(Step::Comment(text)) = steps.first() {
            if let Some(name) = text.strip_prefix("module ") {
                done.module_name = Some(name.trim().to_string());
                steps.remove(0);
            }
        }
        for s in &steps {
            reads_of(s, &mut done.read);
            targets_of(s, &mut done.written);
        }
        for group in group(steps) {
            self.order(group, &mut done.groups);
        }
        for g in &done.groups {
            self.check_latches(g);
        }
        self.faults.dedup();
        (done, self.faults)
    }

    /// Puts `group` into `out`, taking apart what reads a signal before that signal's last write.
    fn order(&mut self, group: Vec<Step>, out: &mut Vec<Vec<Step>>) {
        let group = drop_overwritten(group);
        let (mut position, mut hazard) = (0, None);
        let (mut first_read, mut last_write) = (BTreeMap::new(), BTreeMap::new());
        walk(&group, &mut |step| {
            position += 1;
            match step {
                Step::Assign { target, reads, .. } => {
                    for r in reads {
                        first_read.entry(*r).or_insert(position);
                    }
                    last_write.insert(*target, position);
                }
                Step::If { reads, .. } | Step::Case { reads, .. } => {
                    for r in reads {
                        first_read.entry(*r).or_insert(position);
                    }
                }
                Step::Comment(_) => {}
            }
        });
        for (net, write) in &last_write {
            if first_read.get(net).is_some_and(|read| read <= write) {
                hazard = Some(*net);
                break;
            }
        }
        match hazard {
            None => out.push(group),
            Some(net) => {
                let alone = project(&group, &|t| t == net);
                let mut reads = BTreeSet::new();
                alone.iter().for_each(|s| reads_of(s, &mut reads));
                if reads.contains(&net) {
                    self.fault(&format!("`{}` depends on itself", self.nets[net].print));
                    return;
                }
                out.push(drop_overwritten(alone));
                self.order(project(&group, &|t| t != net), out);
            }
        }
    }

    fn check_latches(&mut self, group: &[Step]) {
        let mut targets = BTreeSet::new();
        group.iter().for_each(|s| targets_of(s, &mut targets));
        let set = assigned(group, self.nets);
        for t in targets {
            if !set.get(&t).is_some_and(|bits| bits.iter().all(|b| *b)) {
                self.fault(&format!(
                    "latch: `{}` is not assigned on every path (assign a default first)",
                    self.nets[t].print
                ));
            }
        }
    }
}

impl super::expr::Printed {
    fn width_or(&self, default: usize) -> usize {
        self.width().unwrap_or(default)
    }
}

fn integer(s: &str) -> Option<u64> {
    let s = s.replace('_', "");
    if let Some(hex) = s.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    if let Some(bin) = s.strip_prefix("0b") {
        return u64::from_str_radix(bin, 2).ok();
    }
    s.trim_end_matches(|c: char| c.is_alphabetic()).parse().ok().or(match s.as_str() {
        "true" => Some(1),
        "false" => Some(0),
        _ => None,
    })
}

/// Value of an index expression over loop variables: `+ - * / %` and parentheses.
fn index_value(text: &str, loops: &[(String, usize)]) -> Option<i64> {
    fn sum(s: &mut &[u8], loops: &[(String, usize)]) -> Option<i64> {
        let mut v = product(s, loops)?;
        while let [op @ (b'+' | b'-'), rest @ ..] = *s {
            *s = rest;
            let r = product(s, loops)?;
            v = if *op == b'+' { v + r } else { v - r };
        }
        Some(v)
    }
    fn product(s: &mut &[u8], loops: &[(String, usize)]) -> Option<i64> {
        let mut v = term(s, loops)?;
        while let [op @ (b'*' | b'/' | b'%'), rest @ ..] = *s {
            *s = rest;
            let r = term(s, loops)?;
            v = match op {
                b'*' => v * r,
                b'/' => v.checked_div(r)?,
                _ => v.checked_rem(r)?,
            };
        }
        Some(v)
    }
    fn term(s: &mut &[u8], loops: &[(String, usize)]) -> Option<i64> {
        if let [b'(', rest @ ..] = *s {
            *s = rest;
            let v = sum(s, loops)?;
            return match *s {
                [b')', rest @ ..] => {
                    *s = rest;
                    Some(v)
                }
                _ => None,
            };
        }
        let n = s.iter().position(|c| !c.is_ascii_alphanumeric() && *c != b'_').unwrap_or(s.len());
        let word = std::str::from_utf8(&s[..n]).ok()?;
        *s = &s[n..];
        match loops.iter().rev().find(|(name, _)| name == word) {
            Some((_, v)) => Some(*v as i64),
            None => word.trim_end_matches("usize").trim_end_matches('_').parse().ok(),
        }
    }
    let mut s = text.as_bytes();
    sum(&mut s, loops).filter(|_| s.is_empty())
}

fn walk(steps: &[Step], f: &mut impl FnMut(&Step)) {
    for s in steps {
        f(s);
        match s {
            Step::If { then, other, .. } => {
                walk(then, f);
                walk(other, f);
            }
            Step::Case { arms, .. } => arms.iter().for_each(|(_, b)| walk(b, f)),
            _ => {}
        }
    }
}

pub(super) fn targets_of(step: &Step, out: &mut BTreeSet<usize>) {
    walk(std::slice::from_ref(step), &mut |s| {
        if let Step::Assign { target, .. } = s {
            out.insert(*target);
        }
    });
}

pub(super) fn reads_of(step: &Step, out: &mut BTreeSet<usize>) {
    walk(std::slice::from_ref(step), &mut |s| match s {
        Step::Assign { reads, .. } | Step::If { reads, .. } | Step::Case { reads, .. } => out.extend(reads),
        Step::Comment(_) => {}
    });
}

/// Statements that share a target stay together, in order.
fn group(steps: Vec<Step>) -> Vec<Vec<Step>> {
    let mut groups: Vec<Option<(Vec<Step>, BTreeSet<usize>)>> = vec![];
    let mut owner: HashMap<usize, usize> = HashMap::new();
    let mut comments = vec![];
    for s in steps {
        if let Step::Comment(_) = s {
            comments.push(s);
            continue;
        }
        let mut targets = BTreeSet::new();
        targets_of(&s, &mut targets);
        let mut into: Vec<usize> = targets.iter().filter_map(|t| owner.get(t).copied()).collect();
        into.sort_unstable();
        into.dedup();
        let home = into.first().copied().unwrap_or_else(|| {
            groups.push(Some((vec![], BTreeSet::new())));
            groups.len() - 1
        });
        // Groups hold disjoint targets, so appending one to another keeps every signal's order.
        for &g in into.iter().skip(1) {
            let (steps, targets) = groups[g].take().expect("an owner is alive");
            owner.extend(targets.iter().map(|t| (*t, home)));
            let into = groups[home].as_mut().expect("alive");
            into.0.extend(steps);
            into.1.extend(targets);
        }
        let into = groups[home].as_mut().expect("alive");
        into.0.append(&mut comments);
        into.0.push(s);
        owner.extend(targets.iter().map(|t| (*t, home)));
        into.1.extend(targets);
    }
    groups.into_iter().flatten().map(|g| g.0).collect()
}

/// Removes plain assignments that a later unconditional one overwrites.
fn drop_overwritten(group: Vec<Step>) -> Vec<Step> {
    let mut overwritten = BTreeSet::new();
    let mut kept: Vec<Step> = vec![];
    for s in group.into_iter().rev() {
        if let Step::Assign { target, part, .. } = &s {
            if overwritten.contains(target) {
                continue;
            }
            if part.is_none() {
                overwritten.insert(*target);
            }
        }
        kept.push(s);
    }
    kept.reverse();
    kept
}

/// What of `steps` assigns the signals that `keep` names.
fn project(steps: &[Step], keep: &impl Fn(usize) -> bool) -> Vec<Step> {
    let mut out = vec![];
    for s in steps {
        match s {
            Step::Assign { target, .. } if keep(*target) => out.push(s.clone()),
            Step::If { test, reads, then, other } => {
                let (then, other) = (project(then, keep), project(other, keep));
                if !(then.is_empty() && other.is_empty()) {
                    out.push(Step::If { test: test.clone(), reads: reads.clone(), then, other });
                }
            }
            Step::Case { test, reads, arms } => {
                let arms: Vec<_> = arms.iter().map(|(l, b)| (l.clone(), project(b, keep))).collect();
                if arms.iter().any(|(_, b)| !b.is_empty()) {
                    out.push(Step::Case { test: test.clone(), reads: reads.clone(), arms });
                }
            }
            _ => {}
        }
    }
    out
}

type Bits = HashMap<usize, Vec<bool>>;

/// The bits of each signal that every path through `steps` assigns.
fn assigned(steps: &[Step], nets: &[Net]) -> Bits {
    fn merge(a: Bits, b: &Bits) -> Bits {
        a.into_iter()
            .filter_map(|(t, x)| b.get(&t).map(|y| (t, x.iter().zip(y).map(|(p, q)| *p && *q).collect())))
            .collect()
    }
    let mut set = Bits::new();
    for s in steps {
        let more = match s {
            Step::Assign { target, part, .. } => {
                let width = nets[*target].width;
                let (low, n) = part.unwrap_or((0, width));
                Bits::from([(*target, (0..width).map(|b| b >= low && b < low + n).collect())])
            }
            Step::If { then, other, .. } => merge(assigned(then, nets), &assigned(other, nets)),
            Step::Case { arms, .. } => {
                let mut all = arms.iter().map(|(_, b)| assigned(b, nets));
                let first = all.next().unwrap_or_default();
                all.fold(first, |a, b| merge(a, &b))
            }
            Step::Comment(_) => continue,
        };
        for (t, bits) in more {
            let mine = set.entry(t).or_insert_with(|| vec![false; bits.len()]);
            mine.iter_mut().zip(bits).for_each(|(m, b)| *m |= b);
        }
    }
    set
}
