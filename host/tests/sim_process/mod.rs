//! `systole sim` as a process of its own, ended with the test.
#![allow(dead_code)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

pub const SYSTOLE: &str = env!("CARGO_BIN_EXE_systole");
/// Where the RTL is kept.
pub const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

pub struct Sim {
    pub child: Child,
    pub ready: Value,
}

impl Sim {
    /// Starts it and waits until hosts may connect; paths in `args` must be absolute.
    pub fn start(args: &[&str]) -> Sim {
        let mut child = Command::new(SYSTOLE)
            .current_dir(WORKSPACE)
            .args([&["sim", "--json"], args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Sim { child, ready: serde_json::from_str(&line).unwrap() }
    }

    pub fn connect(&self) -> &str {
        self.ready["connect"].as_str().unwrap()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program in `folder`.
pub fn systole(folder: &Path, args: &[&str]) -> Output {
    Command::new(SYSTOLE).current_dir(folder).env("SYSTOLE_ROOT", WORKSPACE).args(args).output().unwrap()
}

/// The one object on stdout of a program that succeeded.
pub fn report(out: &Output) -> Value {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}
