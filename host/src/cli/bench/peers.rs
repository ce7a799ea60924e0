//! Another library's training step, from the workspace `tests/peers`: its own, because it is slow to build and no test needs it.

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

/// Builds the peers where that has not been done, and times them on one thread: `rounds` repetitions of `steps` steps for each
/// workload, in their order.
pub(super) fn measure(workloads: &[(&Workload, usize)], rounds: usize) -> Result<Vec<Peer>> {
    let manifest = Options::workspace().root.join("tests/peers/Cargo.toml");
    let failed = |reason: String| Error::Setup {
        what: "the comparison with another library".into(),
        reason,
        help: format!("try cargo build --release --manifest-path {}; it fetches crates", manifest.display()),
    };
    if !manifest.is_file() {
        return Err(failed(format!("{} is not there", manifest.display())));
    }
    let mut command = Command::new("cargo");
    command.args(["run", "--release", "--quiet", "--manifest-path"]).arg(&manifest).arg("--");
    for (w, steps) in workloads {
        command.arg(format!("{}:{}:{steps}:{rounds}", w.model.trim_start_matches("mlp:"), w.batch));
    }
    let output = command.env("RAYON_NUM_THREADS", "1").stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|e| failed(format!("cargo does not start: {e}")))?;
    if !output.status.success() {
        return Err(failed(format!("cargo ends with {}", output.status)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let peers: Option<Vec<Peer>> = text.lines().map(parse).collect();
    peers.filter(|p| p.len() == workloads.len()).ok_or_else(|| failed(format!("they print {text:?}")))
}

/// `library fastest median`.
fn parse(line: &str) -> Option<Peer> {
    let mut words = line.split_whitespace();
    let library = words.next()?.to_string();
    Some(Peer { library, us_per_step: words.next()?.parse().ok()?, us_median: words.next()?.parse().ok()? })
}
