//! The log level of this crate. defmt reads it as each crate is compiled, so what the program's build script says does not
//! count here; without a level, everything below an error would compile to nothing.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=DEFMT_LOG");
    if std::env::var_os("DEFMT_LOG").is_none() {
        println!("cargo:rustc-env=DEFMT_LOG=info");
    }
}
