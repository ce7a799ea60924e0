//! Debian's Rust compiler, for machines where rustup reaches nothing: installed, or unpacked below the tools' folder.
//!
//! It has no core library for the soft core's target, so cargo builds one from the packaged source. That needs an option
//! which stable compilers only take with `RUSTC_BOOTSTRAP`: it is set here, and the firmware itself is plain stable Rust.

use crate::firmware::{TARGET, clean};
use crate::process::Job;
use crate::{Error, Options, Result, store};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const ASK_LIMIT: Duration = Duration::from_secs(60);
const FETCH_LIMIT: Duration = Duration::from_secs(600);
const HELP: &str = "install Debian's rustc-web, cargo-web and rust-web-src, or rustup with the target";

/// A cargo that compiles for the soft core with Debian's compiler.
pub(crate) fn cargo(options: &Options, dir: &Path) -> Result<Command> {
    let mut command = clean("cargo");
    let rustc = match installed() {
        Some(rustc) => rustc,
        None => {
            let home = unpacked(options)?;
            command.env("LD_LIBRARY_PATH", library_folder(&home)?);
            home.join("usr/bin/rustc")
        }
    };
    command
        .env("RUSTC", &rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_UNSTABLE_BUILD_STD", "core,compiler_builtins")
        .env("CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS", "fallback");
    if let Some(lld) = rust_lld(dir) {
        command.env(format!("CARGO_TARGET_{}_LINKER", TARGET.to_uppercase().replace('-', "_")), lld);
    }
    Ok(command)
}

fn ask(program: &str, arguments: &[&str], purpose: &str) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    Job { command, purpose, limit: ASK_LIMIT, help: HELP }.succeed().map(|done| done.stdout)
}

/// The compiler of the installed packages.
fn installed() -> Option<PathBuf> {
    let files = |package| ask("dpkg-query", &["-L", package], "find Debian's compiler").ok();
    files("rust-web-src")?;
    files("rustc-web")?.lines().find(|l| l.ends_with("/bin/rustc")).map(PathBuf::from)
}

/// Where the packages of this machine's architecture put libraries: `usr/lib/x86_64-linux-gnu` and the like.
fn library_folder(home: &Path) -> Result<PathBuf> {
    let lib = home.join("usr/lib");
    let entries = std::fs::read_dir(&lib).map_err(Error::io("list", &lib))?;
    let found = entries.flatten().map(|e| e.path()).find(|p| p.to_string_lossy().ends_with("-linux-gnu"));
    Ok(found.unwrap_or(lib))
}

/// The folder of packages that are unpacked without being installed.
fn unpacked(options: &Options) -> Result<PathBuf> {
    let home = options.tools().join("debian-rust");
    store::ensure(options, &home, "unpacking Debian's Rust compiler", |dir| {
        options.step("unpacking Debian's Rust compiler", || {
            let closure =
                ["--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces"];
            let arguments: Vec<&str> =
                ["depends"].into_iter().chain(closure).chain(["--no-enhances", "rustc-web"]).collect();
            let listing = ask("apt-cache", &arguments, "list the compiler's libraries")?;
            let library = |l: &&str| {
                ["libstd-rust-web", "libllvm", "libz3", "libedit2", "libxml2"].iter().any(|p| l.starts_with(p))
            };
            let packages = listing.lines().filter(library).chain(["rustc-web", "rust-web-src"]);
            let debs = dir.join("debs");
            std::fs::create_dir_all(&debs).map_err(Error::io("create", &debs))?;
            let mut command = Command::new("apt-get");
            command.args(["-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=1", "download"]).args(packages);
            command.current_dir(&debs);
            Job { command, purpose: "fetch Debian's compiler", limit: FETCH_LIMIT, help: HELP }.succeed()?;
            for entry in std::fs::read_dir(&debs).map_err(Error::io("list", &debs))? {
                let mut command = Command::new("dpkg-deb");
                command.arg("-x").arg(entry.map_err(Error::io("list", &debs))?.path()).arg(dir);
                Job { command, purpose: "unpack Debian's compiler", limit: FETCH_LIMIT, help: HELP }.succeed()?;
            }
            store::remove(&debs)
        })
    })?;
    std::path::absolute(&home).map_err(Error::io("find", home))
}

/// The linker that comes with rustup's compiler; without it cargo's default, `rust-lld` on the path, has to do.
fn rust_lld(dir: &Path) -> Option<PathBuf> {
    let mut command = clean("rustc");
    command.args(["--print", "target-libdir"]).current_dir(dir);
    let done = Job { command, purpose: "find rust-lld", limit: ASK_LIMIT, help: HELP }.succeed().ok()?;
    let lld = Path::new(done.stdout.trim()).parent()?.join("bin/rust-lld");
    lld.is_file().then_some(lld)
}
