//! Linker script, log level, and a hash of the sources that a device reports in its hello.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

fn main() {
    let dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo:rustc-link-search={dir}");
    println!("cargo:rustc-link-arg=-Tsystole.ld");
    println!("cargo:rustc-link-arg=-Tdefmt.x");
    println!("cargo:rerun-if-changed=systole.ld");
    println!("cargo:rerun-if-env-changed=DEFMT_LOG");
    if std::env::var_os("DEFMT_LOG").is_none() {
        println!("cargo:rustc-env=DEFMT_LOG=info");
    }
    let mut files = Vec::new();
    for source in ["src", "../src", "../../isa/src"] {
        println!("cargo:rerun-if-changed={source}");
        collect(&Path::new(&dir).join(source), &mut files);
    }
    files.sort();
    let mut hash = DefaultHasher::new();
    for f in &files {
        std::fs::read(f).expect("a source file that was just listed").hash(&mut hash);
    }
    println!("cargo:rustc-env=SYSTOLE_FIRMWARE_HASH={}", hash.finish() as u32);
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a source folder of the firmware") {
        let path = entry.expect("a readable folder entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
