//! Points that need not be met, each with the reason why.

use std::path::Path;

use serde::Deserialize;
use wildmatch::WildMatch;

use super::counts::{Kind, Point};
use crate::error::{Error, Result};

/// A waiver: `*` in module and signal stands for anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    module: String,
    #[serde(default)]
    signal: Option<String>,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    waiver: Vec<Entry>,
}

/// An entry, read, and how many points it has taken out.
struct Waiver {
    entry: Entry,
    module: WildMatch,
    signal: Option<WildMatch>,
    points: usize,
}

impl Waiver {
    fn of(entry: Entry) -> Waiver {
        let (module, signal) = (WildMatch::new(&entry.module), entry.signal.as_deref().map(WildMatch::new));
        Waiver { entry, module, signal, points: 0 }
    }

    fn fits(&self, point: &Point, met: bool) -> bool {
        let name = point.what.split(['[', ':']).next().unwrap_or_default();
        self.module.matches(&point.module)
            && self
                .signal
                .as_ref()
                .is_none_or(|s| !met && point.kind == Kind::Toggle && (s.matches(name) || s.matches(&point.what)))
    }
}

/// What a file waives.
#[derive(Default)]
pub(super) struct Waivers(Vec<Waiver>);

impl Waivers {
    /// Those of a TOML file.
    pub(super) fn read(path: &Path) -> Result<Waivers> {
        let malformed = |reason: String| Error::Malformed { path: path.into(), format: "waivers", reason };
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let file: File = toml::from_str(&text).map_err(|e| malformed(e.to_string()))?;
        if let Some(entry) = file.waiver.iter().find(|w| w.reason.trim().is_empty()) {
            return Err(malformed(format!("the waiver of {} gives no reason", entry.module)));
        }
        Ok(Waivers(file.waiver.into_iter().map(Waiver::of).collect()))
    }

    /// Whether a point does not count. A waiver without a signal takes all lines and bits of its modules out, one with a signal
    /// the bits that were not met.
    pub(super) fn cover(&mut self, point: &Point, met: bool) -> bool {
        let Some(waiver) = self.0.iter_mut().find(|w| w.fits(point, met)) else { return false };
        waiver.points += 1;
        true
    }

    /// Each waiver with how many points it has taken out.
    pub(super) fn used(&self) -> Vec<super::Waived> {
        let of = |w: &Waiver| super::Waived {
            module: w.entry.module.clone(),
            signal: w.entry.signal.clone().unwrap_or_else(|| "*".into()),
            reason: w.entry.reason.clone(),
            points: w.points,
        };
        self.0.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(module: &str, kind: Kind, what: &str) -> Point {
        Point { module: module.into(), kind, line: 1, column: 1, what: what.into() }
    }

    #[test]
    fn a_waiver_covers_what_it_names() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("w.toml");
        std::fs::write(
            &path,
            "[[waiver]]\nmodule = \"VexRiscv*\"\nreason = \"not ours\"\n[[waiver]]\nmodule = \"pe\"\nsignal = \"spare*\"\nreason = \"unused\"\n",
        )
        .unwrap();
        let mut w = Waivers::read(&path).unwrap();
        assert!(w.cover(&point("VexRiscv_cache", Kind::Line, "if"), true));
        assert!(w.cover(&point("pe", Kind::Toggle, "spare[3]:0->1"), false));
        assert!(!w.cover(&point("pe", Kind::Toggle, "spare[4]:0->1"), true), "met, and so it counts");
        assert!(!w.cover(&point("pe", Kind::Line, "if"), false));
        assert!(!w.cover(&point("pe", Kind::Toggle, "act[3]:0->1"), false));
        assert_eq!(w.used().iter().map(|w| w.points).collect::<Vec<_>>(), [1, 1]);
        std::fs::write(&path, "[[waiver]]\nmodule = \"pe\"\nreason = \" \"\n").unwrap();
        assert!(matches!(Waivers::read(&path), Err(Error::Malformed { .. })));
    }
}
