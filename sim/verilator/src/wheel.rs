//! Fetches a pinned Python package, hash-checked by pip, into a folder.

use crate::process::{Job, tail};
use crate::{Error, Options, Result, store};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A package, its exact version and the SHA-256 of each platform's wheel.
pub(crate) struct Wheel<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub sha256: &'a [&'a str],
    /// What serves instead of the package, as advice; may be empty.
    pub instead: &'a str,
}

/// Bounds one download; pip's own limits on silence and retries lie far below.
const LIMIT: Duration = Duration::from_secs(300);
const PYTHON_HELP: &str = "install Python 3 with pip (Debian: python3-pip, or python3-venv)";

impl Wheel<'_> {
    /// The package as a line of pip's requirements, with every hash that may match.
    fn requirement(&self) -> String {
        let hashes: String = self.sha256.iter().map(|h| format!(" --hash=sha256:{h}")).collect();
        format!("{}=={}{hashes}\n", self.name, self.version)
    }
}

/// Fetches packages into a scratch folder beside `home`, lets `take` pick what is wanted from the folder that they are installed
/// in, and clears the scratch folder, also after a failure.
pub(crate) fn fetch_into(
    options: &Options,
    wheels: &[Wheel],
    home: &Path,
    take: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let scratch = home.with_extension("fetch");
    store::remove(&scratch)?;
    std::fs::create_dir_all(&scratch).map_err(Error::io("create", &scratch))?;
    let result = fetch_all(options, wheels, &scratch, &[]).and_then(|()| take(&scratch.join("site")));
    let cleared = store::remove(&scratch);
    result.and(cleared)
}

/// Installs several packages together: a program and all that it needs, each pinned, none resolved by pip. The first one's
/// name stands for all of them in messages, and its `instead` is the advice.
fn fetch_all(options: &Options, wheels: &[Wheel], into: &Path, extra: &[OsString]) -> Result<()> {
    let first = wheels.first().expect("something to fetch");
    let what = format!("{} {}", first.name, first.version);
    options.step(&format!("fetching {what}"), || {
        let pip = pip(into)?;
        let requirements = into.join("requirements.txt");
        let lines: String = wheels.iter().map(Wheel::requirement).collect();
        std::fs::write(&requirements, lines).map_err(Error::io("write", &requirements))?;
        let mut command = Command::new(&pip);
        command
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--no-input",
                "--disable-pip-version-check",
                "--no-deps",
                "--no-compile",
            ])
            .args(["--only-binary", ":all:", "--require-hashes", "--timeout", "20", "--retries", "2", "--target"])
            .args([into.join("site").as_path(), Path::new("-r"), &requirements])
            .args(extra)
            .env_remove("PYTHONPATH");
        let done = Job { command, purpose: &format!("fetch {what}"), limit: LIMIT, help: PYTHON_HELP }.finish()?;
        if done.status.success() {
            return Ok(());
        }
        let output = done.output();
        if output.contains("DO NOT MATCH THE HASHES") {
            return Err(Error::HashMismatch { what: what.clone(), detail: tail(&output, 12) });
        }
        let help = format!("check the network; fetched tools are kept, so this is needed once{}", first.instead);
        Err(Error::Fetch { what: what.clone(), detail: tail(&output, 12), help })
    })
}

/// A Python that has pip: the system's, else that of a virtual environment made for this.
fn pip(scratch: &Path) -> Result<PathBuf> {
    let python = PathBuf::from("python3");
    let mut command = Command::new(&python);
    command.args(["-m", "pip", "--version"]);
    let asked =
        Job { command, purpose: "fetch pinned tools", limit: Duration::from_secs(60), help: PYTHON_HELP }.finish()?;
    if asked.status.success() {
        return Ok(python);
    }
    let folder = scratch.join("venv");
    let mut command = Command::new(&python);
    command.args(["-m", "venv"]).arg(&folder);
    Job { command, purpose: "make a virtual environment with pip", limit: Duration::from_secs(120), help: PYTHON_HELP }
        .succeed()?;
    Ok(folder.join("bin/python3"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wheel made on the spot and offered from a folder: no network.
    const MAKE_WHEEL: &str = r#"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + "/tiny-1.0-py3-none-any.whl", "w") as z:
    z.writestr("tiny/data.txt", "hello")
    z.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    z.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    z.writestr("tiny-1.0.dist-info/RECORD", "")
"#;

    #[test]
    fn only_the_pinned_bytes_are_installed() {
        let root = tempfile::tempdir().unwrap();
        let options = Options::new(root.path()).quiet();
        assert!(Command::new("python3").args(["-c", MAKE_WHEEL]).arg(root.path()).status().unwrap().success());
        let from_here: Vec<OsString> = vec!["--no-index".into(), "--find-links".into(), root.path().into()];
        let hash = crate::store::hash_file(&root.path().join("tiny-1.0-py3-none-any.whl")).unwrap();

        let other = "0".repeat(64);
        let fetch = |wheel: Wheel| fetch_all(&options, &[wheel], root.path(), &from_here);
        let error =
            fetch(Wheel { name: "tiny", version: "1.0", sha256: &[&other], instead: "; or set THIS" }).unwrap_err();
        assert!(matches!(&error, Error::HashMismatch { detail, .. } if detail.contains(&hash)), "{error}");
        assert!(!root.path().join("site").exists());

        fetch(Wheel { name: "tiny", version: "1.0", sha256: &[&other, &hash], instead: "; or set THIS" }).unwrap();
        assert_eq!(std::fs::read_to_string(root.path().join("site/tiny/data.txt")).unwrap(), "hello");

        let error =
            fetch(Wheel { name: "absent", version: "1.0", sha256: &[&hash], instead: "; or set THIS" }).unwrap_err();
        assert!(matches!(error, Error::Fetch { .. }), "{error}");
        assert!(error.help().contains("or set THIS"));
    }
}
