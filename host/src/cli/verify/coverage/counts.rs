//! The counts that a design leaves behind: Verilator's coverage files, a line a point.
//!
//! ```text
//! C '␁page␂v_toggle/array␁f␂soc.v␁l␂812␁n␂9␁o␂act[3]:0->1␁h␂soc.array…' 17
//! ```
//!
//! `␁` and `␂` are the bytes 1 and 2. Only the instance (`h`) tells the points of two instances of one module apart; here they count as
//! one, which is exercised if any of them is.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};

/// What is counted at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// A block of statements ran, or a branch was taken.
    Line,
    /// A bit rose or fell.
    Toggle,
}

/// A place in a design.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Point {
    /// The module.
    pub module: String,
    /// What is counted.
    pub kind: Kind,
    /// Line of the emitted Verilog.
    pub line: u32,
    /// Column there.
    pub column: u32,
    /// `act[3]:0->1`, or which branch.
    pub what: String,
}

/// How often each point was met.
pub(super) type Counts = BTreeMap<Point, u64>;

/// Adds the counts of a file.
pub(super) fn add(counts: &mut Counts, path: &Path) -> Result<()> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut found = false;
    for (number, line) in text.lines().enumerate().filter(|(_, l)| l.starts_with("C '")) {
        found = true;
        let (point, count) = parse(line).ok_or_else(|| Error::Malformed {
            path: path.into(),
            format: "coverage",
            reason: format!("line {} is no point with a count", number + 1),
        })?;
        if let Some(point) = point {
            *counts.entry(point).or_default() += count;
        }
    }
    if found {
        Ok(())
    } else {
        Err(Error::Malformed { path: path.into(), format: "coverage", reason: "no point in it".into() })
    }
}

/// A point and its count; no point for kinds that are not asked for.
fn parse(line: &str) -> Option<(Option<Point>, u64)> {
    let (keys, count) = systole_verilator::coverage::point(line)?;
    let mut point = Point { module: String::new(), kind: Kind::Line, line: 0, column: 0, what: String::new() };
    let mut known = false;
    for pair in keys.split('\u{1}').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('\u{2}')?;
        match key {
            "page" => {
                let (page, module) = value.split_once('/')?;
                (known, point.kind) = match page {
                    "v_line" | "v_branch" => (true, Kind::Line),
                    "v_toggle" => (true, Kind::Toggle),
                    _ => (false, Kind::Line),
                };
                point.module = module.into();
            }
            "l" => point.line = value.parse().ok()?,
            "n" => point.column = value.parse().ok()?,
            "o" => point.what = value.into(),
            _ => {}
        }
    }
    Some((known.then_some(point), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(module: &str, what: &str, instance: &str, count: u64) -> String {
        format!(
            "C '\u{1}f\u{2}soc.v\u{1}l\u{2}12\u{1}n\u{2}9\u{1}page\u{2}{module}\u{1}o\u{2}{what}\u{1}h\u{2}{instance}' {count}\n"
        )
    }

    #[test]
    fn instances_of_a_module_count_as_one() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a.dat");
        let text = format!(
            "# SystemC::Coverage-3\n{}{}{}{}",
            line("v_toggle/pe", "act[3]:0->1", "soc.pe_0", 2),
            line("v_toggle/pe", "act[3]:0->1", "soc.pe_1", 3),
            line("v_branch/pe", "if", "soc.pe_0", 0),
            line("v_user/pe", "cover", "soc.pe_0", 7),
        );
        std::fs::write(&path, text).unwrap();
        let mut counts = Counts::new();
        add(&mut counts, &path).unwrap();
        add(&mut counts, &path).unwrap();
        let all: Vec<(Kind, &str, u64)> = counts.iter().map(|(p, &n)| (p.kind, p.what.as_str(), n)).collect();
        assert_eq!(all, [(Kind::Line, "if", 0), (Kind::Toggle, "act[3]:0->1", 10)]);
    }

    #[test]
    fn what_is_no_coverage_is_refused() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a.dat");
        for text in ["", "# SystemC::Coverage-3\n", "C 'nonsense' x\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(add(&mut Counts::new(), &path), Err(Error::Malformed { .. })), "{text:?}");
        }
    }
}
