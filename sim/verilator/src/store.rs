//! Folders that appear whole or not at all, and are made once however many processes want them.
//!
//! A folder is made under another name, gets a `stamp` with the size and SHA-256 of each file, and is renamed into place.
//! A folder whose files no longer match its stamp is made again.

use crate::{Error, Options, Result};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

const STAMP: &str = "stamp";
/// How long to wait for another process that makes the same folder; every step of such a process has a limit below this.
const LOCK_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Folders whose contents this process has hashed already; later uses check sizes only.
static HASHED: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// Makes sure that the folder `dest` holds what `make` puts into it: made once however many processes want it, whole or not at all.
/// `make` gets another folder, which takes the name `dest` when it returns. `what` completes "waiting for a process that is …".
///
/// # Errors
/// What `make` returns, a file operation that fails, or another process that takes more than half an hour.
pub fn ensure(options: &Options, dest: &Path, what: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if intact(dest) {
        return Ok(());
    }
    let parent = dest.parent().expect("a store folder has a parent");
    fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    let name = dest.file_name().expect("a store folder has a name").to_string_lossy();
    let _lock = lock(options, &parent.join(format!(".{name}.lock")), what)?;
    if intact(dest) {
        return Ok(());
    }
    if dest.exists() {
        options.say(&format!("{} is damaged: making it again", dest.display()));
        remove(dest)?;
    }
    let temporary = parent.join(format!(".{name}.tmp"));
    remove(&temporary)?; // left by a process that was killed: the lock is ours, so nobody else uses it
    fs::create_dir_all(&temporary).map_err(Error::io("create", &temporary))?;
    make(&temporary)?;
    write_stamp(&temporary)?;
    fs::rename(&temporary, dest).map_err(Error::io("rename into place", dest))?;
    HASHED.lock().unwrap_or_else(|e| e.into_inner()).insert(dest.to_path_buf());
    Ok(())
}

/// Removes a folder if it is there.
pub(crate) fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", dir)(e)),
        _ => Ok(()),
    }
}

fn lock(options: &Options, path: &Path, purpose: &str) -> Result<File> {
    let file = File::options().create(true).append(true).open(path).map_err(Error::io("open lock", path))?;
    let begun = Instant::now();
    let mut announced = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::Error(e)) => return Err(Error::io("lock", path)(e)),
            Err(fs::TryLockError::WouldBlock) => {}
        }
        if !announced && begun.elapsed() > Duration::from_secs(1) {
            options.say(&format!("waiting for another process that is {purpose}"));
            announced = true;
        }
        if begun.elapsed() > LOCK_LIMIT {
            return Err(Error::LockTimeout {
                purpose: format!("is {purpose}"),
                path: path.into(),
                waited: begun.elapsed(),
            });
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Whether every file that the stamp lists is there with its size and, once per process, its hash.
fn intact(dir: &Path) -> bool {
    let Ok(stamp) = fs::read_to_string(dir.join(STAMP)) else {
        return false;
    };
    let deep = !HASHED.lock().unwrap_or_else(|e| e.into_inner()).contains(dir);
    let sound = |line: &str| {
        let mut parts = line.splitn(3, ' ');
        let (Some(hash), Some(size), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return false;
        };
        let path = dir.join(name);
        fs::metadata(&path).is_ok_and(|m| size.parse() == Ok(m.len()))
            && (!deep || hash_file(&path).is_ok_and(|h| h == hash))
    };
    let mut lines = stamp.lines();
    // The last line proves that the stamp itself is complete.
    let whole = lines.next_back() == Some("end") && lines.all(sound);
    if whole && deep {
        HASHED.lock().unwrap_or_else(|e| e.into_inner()).insert(dir.to_path_buf());
    }
    whole
}

fn write_stamp(dir: &Path) -> Result<()> {
    let mut names = Vec::new();
    walk(dir, &mut names).map_err(Error::io("list", dir))?;
    names.sort();
    let mut text = String::new();
    for path in names {
        let size = fs::metadata(&path).map_err(Error::io("read", &path))?.len();
        let name = path.strip_prefix(dir).expect("walk stays inside").to_string_lossy().into_owned();
        text += &format!("{} {size} {name}\n", hash_file(&path)?);
    }
    let path = dir.join(STAMP);
    fs::write(&path, text + "end\n").map_err(Error::io("write", path))
}

fn walk(dir: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            walk(&path, into)?;
        } else if kind.is_file() {
            into.push(path); // links have no contents of their own
        }
    }
    Ok(())
}

/// SHA-256 of a file, in hexadecimal.
pub(crate) fn hash_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(Error::io("read", path))? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// Two hexadecimal digits a byte, as hashes are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Copies a folder's files and folders.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::io("create", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("list", from))? {
        let entry = entry.map_err(Error::io("list", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_tree(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(Error::io("copy", &source))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn made_once_by_many_and_again_when_damaged() {
        let root = tempfile::tempdir().unwrap();
        let options = Options::new(root.path()).quiet();
        let dest = root.path().join("thing");
        let made = AtomicU32::new(0);
        let make = |dir: &Path| {
            made.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(50));
            fs::write(dir.join("file"), "text").map_err(Error::io("write", dir))
        };
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| ensure(&options, &dest, "making a thing", make).unwrap());
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
        fs::write(dest.join("file"), "longer text").unwrap();
        ensure(&options, &dest, "making a thing", make).unwrap();
        assert_eq!(made.load(Ordering::SeqCst), 2);
        // Same size, other bytes: found by the first use in a process.
        fs::write(dest.join("file"), "tex!").unwrap();
        HASHED.lock().unwrap().clear();
        ensure(&options, &dest, "making a thing", make).unwrap();
        assert_eq!(made.load(Ordering::SeqCst), 3);
        assert_eq!(fs::read_to_string(dest.join("file")).unwrap(), "text");
    }

    #[test]
    fn a_failed_make_leaves_nothing_in_place() {
        let root = tempfile::tempdir().unwrap();
        let options = Options::new(root.path()).quiet();
        let dest = root.path().join("thing");
        let fail = |_: &Path| Err(Error::HashMismatch { what: "thing".into(), detail: String::new() });
        assert!(ensure(&options, &dest, "making a thing", fail).is_err());
        assert!(!dest.exists());
    }
}
