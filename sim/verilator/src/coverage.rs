//! Counts of lines and toggles: those of all instances of one design in this process, added up in one file.
//!
//! A file has a line for each point, `C '…' 17`; the text between the quotes tells the points apart.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Points and how often each was met.
type Counts = BTreeMap<String, u64>;

/// What this process has counted, by the folder it goes to.
static COUNTED: Mutex<Option<HashMap<PathBuf, Counts>>> = Mutex::new(None);

/// A line of a file: what tells its point from others, and how often that was met.
pub fn point(line: &str) -> Option<(&str, u64)> {
    let (point, count) = line.strip_prefix("C '")?.rsplit_once("' ")?;
    Some((point, count.parse().ok()?))
}

/// Adds what `write` leaves in the file that it is given, and writes the sum to this process' file in `folder`.
///
/// # Errors
/// A folder that cannot be written.
pub(crate) fn add(folder: &Path, top: &str, write: impl FnOnce(&CStr)) -> io::Result<()> {
    let own = folder.join(format!("{top}-{}.dat", std::process::id()));
    let fresh = own.with_extension("new");
    let name = CString::new(fresh.clone().into_os_string().into_encoded_bytes())?;
    let mut counted = COUNTED.lock().unwrap_or_else(|e| e.into_inner());
    let counts = counted.get_or_insert_default().entry(folder.into()).or_default();
    write(&name);
    for line in std::fs::read_to_string(&fresh)?.lines().filter(|l| l.starts_with("C '")) {
        let (point, count) = point(line).ok_or_else(|| io::Error::other(format!("no count in {line:?}")))?;
        match counts.get_mut(point) {
            Some(sum) => *sum += count,
            None => drop(counts.insert(point.into(), count)),
        }
    }
    let mut out = io::BufWriter::new(std::fs::File::create(&fresh)?);
    writeln!(out, "# SystemC::Coverage-3")?;
    counts.iter().try_for_each(|(point, count)| writeln!(out, "C '{point}' {count}"))?;
    out.flush()?;
    std::fs::rename(&fresh, &own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_add_up() {
        let room = tempfile::tempdir().unwrap();
        for n in [2, 3] {
            let text = format!("# SystemC::Coverage-3\nC 'a' {n}\nC 'b' 0\n");
            add(room.path(), "soc", |to| std::fs::write(to.to_str().unwrap(), text).unwrap()).unwrap();
        }
        let files: Vec<_> = std::fs::read_dir(room.path()).unwrap().map(|f| f.unwrap().path()).collect();
        assert_eq!(files.len(), 1);
        assert_eq!(std::fs::read_to_string(&files[0]).unwrap(), "# SystemC::Coverage-3\nC 'a' 5\nC 'b' 0\n");
    }
}
