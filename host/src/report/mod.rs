//! A run in pictures: curves and histograms as SVG in `runs/<name>/plots/`, and `runs/<name>/report.html`, one page that needs
//! nothing else. Both follow the reader's choice of a light or a dark screen.

mod curves;
mod histogram;
mod html;
mod read;
pub(crate) mod svg;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::npy::write_atomically;

pub use histogram::{histogram, words as histogram_in_words};
pub use read::RunData;

/// Name of the page in a run's folder.
pub const FILE: &str = "report.html";

/// What was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Written {
    /// The page.
    pub report: PathBuf,
    /// The pictures, also by themselves.
    pub plots: Vec<PathBuf>,
}

/// Reads a run's folder and writes its page and pictures into it.
///
/// # Errors
/// It is no run's folder, a file in it is damaged, or nothing can be written there.
pub fn write(folder: &Path) -> Result<Written> {
    let run = RunData::load(folder)?;
    let pictures = pictures(&run);
    let page = folder.join(FILE);
    let plots = folder.join("plots");
    std::fs::create_dir_all(&plots).map_err(Error::io("create", &plots))?;
    let mut written = Written { report: page.clone(), plots: Vec::new() };
    for (name, svg) in &pictures {
        let path = plots.join(format!("{name}.svg"));
        write_atomically(&path, svg.as_bytes())?;
        written.plots.push(path);
    }
    write_atomically(&page, html::page(&run, &pictures).as_bytes())?;
    Ok(written)
}

/// Name and SVG of every picture that the run has data for.
fn pictures(run: &RunData) -> Vec<(&'static str, String)> {
    let mut out = curves::all(run);
    let weights = run.all_weights();
    if weights.total() > 0 {
        out.push(("weights", histogram("Weights (FP32 masters)", &weights, None)));
    }
    if let Some((gradient, scale)) = run.last_gradient() {
        out.push(("gradients", histogram("Last gradient, without its scale", gradient, Some(scale))));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::device::DeviceOptions;
    use crate::run::{Silent, TrainOptions, train};

    #[test]
    fn a_run_becomes_a_page_that_needs_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let options = TrainOptions {
            device: DeviceOptions { name: "model".into(), ..DeviceOptions::default() },
            runs: dir.path().into(),
            name: Some("a-b".into()),
            epochs: 2,
            loss_scale_init: 24,
            ..TrainOptions::default()
        };
        let result = train(&options, &mut Silent).unwrap();
        assert!(result.skipped > 0);
        let folder = dir.path().join("a-b");
        let page = std::fs::read_to_string(folder.join(FILE)).unwrap();
        // the only address in it names the language of the pictures
        assert_eq!(page.matches("://").count(), page.matches("http://www.w3.org/2000/svg").count());
        for word in ["<script", "<link", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(word), "{word}");
        }
        let accuracy = format!("{:.2}", 100.0 * result.test_accuracy.unwrap());
        for word in
            ["mlp:64-32-10", accuracy.as_str(), &result.weights_sha256, "prefers-color-scheme", "skipped gradient"]
        {
            assert!(page.contains(word), "{word}");
        }
        assert_eq!(page.matches("<svg").count(), 6);
        // every epoch's test accuracy is a point of its curve, every skip a mark
        let svg = |name: &str| std::fs::read_to_string(folder.join(format!("plots/{name}.svg"))).unwrap();
        assert_eq!(svg("accuracy").matches("<circle").count(), 4);
        assert_eq!(
            svg("loss_scale").matches("#DC2626").count() as u64,
            result.skipped + 3,
            "the style's two, the legend's one, and the marks"
        );
        assert_eq!(write(&folder).unwrap().plots.len(), 6);
        assert_eq!(std::fs::read_to_string(folder.join(FILE)).unwrap(), page);
    }
}
