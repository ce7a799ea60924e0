//! Where things are kept and who hears about progress.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Where tools and models are kept, and who hears what is being done.
#[derive(Clone)]
pub struct Options {
    /// The folder whose `target/` holds everything: the workspace's root.
    pub root: PathBuf,
    /// Where whole designs leave what was exercised of them, if they are to count that: `SYSTOLE_COVERAGE`,
    /// below `root`.
    pub coverage: Option<PathBuf>,
    progress: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Options {
    /// Keeps everything below `root/target/`; progress goes to standard error.
    pub fn new(root: impl Into<PathBuf>) -> Options {
        let root = root.into();
        // Tests run in the folders of their packages: what the variable names lies below the root.
        let coverage = std::env::var_os("SYSTOLE_COVERAGE").filter(|v| !v.is_empty()).map(|v| root.join(v));
        Options { root, coverage, progress: Arc::new(|line| eprintln!("{line}")) }
    }

    /// `SYSTOLE_ROOT`, else the nearest folder above the current one whose `Cargo.toml` declares a workspace, else the
    /// current folder.
    pub fn workspace() -> Options {
        if let Some(root) = std::env::var_os("SYSTOLE_ROOT").filter(|v| !v.is_empty()) {
            return Options::new(root);
        }
        let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        let declares = |dir: &&Path| {
            std::fs::read_to_string(dir.join("Cargo.toml")).is_ok_and(|t| t.lines().any(|l| l.trim() == "[workspace]"))
        };
        let root = here.ancestors().find(declares).unwrap_or(&here).to_path_buf();
        Options::new(root)
    }

    /// Sends progress, one line per step, to `hear`.
    pub fn on_progress(mut self, hear: impl Fn(&str) + Send + Sync + 'static) -> Options {
        self.progress = Arc::new(hear);
        self
    }

    /// Says nothing while working.
    pub fn quiet(self) -> Options {
        self.on_progress(|_| ())
    }

    pub(crate) fn say(&self, line: &str) {
        (self.progress)(line);
    }

    /// Runs a step that may be slow: says that it begins, and how long it took.
    pub(crate) fn step<T, E>(&self, what: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.say(&format!("{what} …"));
        let begun = Instant::now();
        let result = work();
        let outcome = if result.is_ok() { "done" } else { "failed" };
        self.say(&format!("{what}: {outcome} in {:.1} s", begun.elapsed().as_secs_f64()));
        result
    }

    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join("target/systole/tools")
    }

    pub(crate) fn models(&self) -> PathBuf {
        self.root.join("target/systole/rtl")
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("root", &self.root).finish_non_exhaustive()
    }
}
