//! Long runs of programs: their output heard while they run, a limit, and what they took.

use crate::process::{Job, tail};
use crate::{Error, Result};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What one run of a program took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    /// Wall clock.
    pub seconds: f64,
    /// Most memory in use at once, in KiB, where the system tells (Linux).
    pub peak_kib: Option<u64>,
}

impl Job<'_> {
    /// Runs to the end or to the deadline; all that it prints goes to `log` and, line by line, to `hear`. In errors it is called
    /// `name`, and they quote the log's end.
    pub fn follow(
        mut self,
        name: &str,
        log: &Path,
        ends_well: impl Fn(ExitStatus) -> bool,
        hear: &mut dyn FnMut(&str),
    ) -> Result<Took> {
        let file = File::create(log).map_err(Error::io("create", log))?;
        let copy = file.try_clone().map_err(Error::io("create", log))?;
        self.command.stdin(Stdio::null()).stdout(file).stderr(copy);
        let mut child = self.command.spawn().map_err(|e| self.missing(e))?;
        let begun = Instant::now();
        let mut follow = Follow::new(log)?;
        let mut peak = None;
        let status = loop {
            peak = peak_kib(child.id()).or(peak);
            follow.lines(hear)?;
            match child.try_wait().map_err(|e| self.missing(e))? {
                Some(status) => break Some(status),
                None if begun.elapsed() > self.limit => break None,
                None => std::thread::sleep(Duration::from_millis(100)),
            }
        };
        if status.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        follow.lines(hear)?;
        let output = || tail(&std::fs::read_to_string(log).unwrap_or_default(), 25);
        match status {
            Some(status) if ends_well(status) => Ok(Took { seconds: begun.elapsed().as_secs_f64(), peak_kib: peak }),
            Some(status) => Err(Error::ProgramFailed {
                program: name.into(),
                purpose: format!("finish (log: {})", log.display()),
                status: status.to_string(),
                output: output(),
                help: format!("read {}", log.display()),
            }),
            None => Err(Error::TimedOut {
                program: name.into(),
                purpose: self.purpose.into(),
                limit: self.limit,
                output: output(),
            }),
        }
    }
}

/// The most memory that a process has had, from Linux.
fn peak_kib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}

/// Reads a growing file line by line.
struct Follow {
    file: File,
    at: u64,
    rest: Vec<u8>,
    path: PathBuf,
}

impl Follow {
    fn new(path: &Path) -> Result<Follow> {
        Ok(Follow {
            file: File::open(path).map_err(Error::io("open", path))?,
            at: 0,
            rest: Vec::new(),
            path: path.into(),
        })
    }

    fn lines(&mut self, hear: &mut dyn FnMut(&str)) -> Result<()> {
        let mut fresh = Vec::new();
        self.file.seek(SeekFrom::Start(self.at)).map_err(Error::io("read", &self.path))?;
        self.at += self.file.read_to_end(&mut fresh).map_err(Error::io("read", &self.path))? as u64;
        self.rest.extend(fresh);
        while let Some(end) = self.rest.iter().position(|&b| b == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            hear(String::from_utf8_lossy(&line).trim_end());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_log_is_heard_line_by_line() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("log");
        std::fs::write(&path, "one\ntw").unwrap();
        let mut heard = Vec::new();
        let mut follow = Follow::new(&path).unwrap();
        follow.lines(&mut |l| heard.push(l.to_string())).unwrap();
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        follow.lines(&mut |l| heard.push(l.to_string())).unwrap();
        assert_eq!(heard, ["one", "two", "three"]);
    }
}
