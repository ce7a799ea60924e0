//! Other libraries' training step, from `tests/peers`: a workspace of its own and a Python script, because no test needs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use systole_verilator::Options;

use super::Workload;
use crate::error::{Error, Result};

/// What another library took for a workload.
pub(super) struct Peer {
    pub library: String,
    /// Of the fastest repetition, and of the one in the middle.
    pub us_per_step: f64,
    pub us_median: f64,
}

/// A network and the steps of one repetition.
pub(super) type Work<'a> = (&'a Workload, usize);

/// Builds candle's step where that has not been done, and times it on one thread: `rounds` repetitions for each workload, in their
/// order.
pub(super) fn candle(work: &[Work], rounds: usize) -> Result<Vec<Peer>> {
    let manifest = folder().join("Cargo.toml");
    let mut command = Command::new("cargo");
    command.args(["run", "--release", "--quiet", "--manifest-path"]).arg(&manifest).arg("--");
    command.env("RAYON_NUM_THREADS", "1");
    let help = format!("try cargo build --release --manifest-path {}; it fetches crates", manifest.display());
    measure(command, &manifest, help, work, rounds)
}

/// Times the steps of PyTorch and NumPy with the Python that has them: each library's workloads in their order.
pub(super) fn python(python: &str, work: &[Work], rounds: usize) -> Result<Vec<Peer>> {
    let script = folder().join("python_peers.py");
    let mut command = Command::new(python);
    command.arg(&script);
    let help = format!("{python} needs PyTorch and NumPy: {python} -m pip install torch numpy");
    measure(command, &script, help, work, rounds)
}

fn folder() -> PathBuf {
    Options::workspace().root.join("tests/peers")
}

/// Runs `command`, which `source` belongs to, on the workloads.
fn measure(mut command: Command, source: &Path, help: String, work: &[Work], rounds: usize) -> Result<Vec<Peer>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |reason: String| Error::Setup {
        what: "the comparison with another library".into(),
        reason,
        help: help.clone(),
    };
    if !source.is_file() {
        return Err(failed(format!("{} is not there", source.display())));
    }
    for (w, steps) in work {
        command.arg(format!("{}:{}:{steps}:{rounds}", w.model.trim_start_matches("mlp:"), w.batch));
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|e| failed(format!("{program} does not start: {e}")))?;
    if !output.status.success() {
        return Err(failed(format!("{program} ends with {}", output.status)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let peers: Option<Vec<Peer>> = text.lines().map(parse).collect();
    peers
        .filter(|p| !p.is_empty() && p.len() % work.len() == 0)
        .ok_or_else(|| failed(format!("{program} prints {text:?}")))
}

/// `library fastest median`.
fn parse(line: &str) -> Option<Peer> {
    let mut words = line.split_whitespace();
    let library = words.next()?.to_string();
    Some(Peer { library, us_per_step: words.next()?.parse().ok()?, us_median: words.next()?.parse().ok()? })
}
