//! Firmware: compiled, flattened, written as hexadecimal text.

use std::path::{Path, PathBuf};
use systole_verilator::firmware::{build, elf_to_words, write_hex};
use systole_verilator::{Error, Options};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn a_program_becomes_words_from_address_zero() {
    let room = tempfile::tempdir().unwrap();
    let options = Options::new(room.path());
    let image = build(&options, &fixture("blink")).unwrap_or_else(|e| panic!("{e}\nhelp: {}", e.help()));
    let words = image.words().unwrap();
    assert_eq!(words.len(), 0x208 / 4);
    assert_eq!(words[0], 0x0000_1137, "lui sp, 1");
    assert_eq!(words[0x200 / 4..], [0x1234_5678, 0x9abc_def0]);
    assert_eq!(words[0x1fc / 4], 0, "gaps are zero");

    let hex = room.path().join("blink.hex");
    write_hex(&words, &hex).unwrap();
    let text = std::fs::read_to_string(&hex).unwrap();
    assert_eq!(text.lines().count(), words.len());
    assert!(text.starts_with("00001137\n") && text.ends_with("12345678\n9abcdef0\n"));
}

#[test]
fn a_program_that_does_not_compile_shows_the_compilers_words() {
    let room = tempfile::tempdir().unwrap();
    let program = room.path().join("broken");
    std::fs::create_dir_all(program.join("src")).unwrap();
    std::fs::write(
        program.join("Cargo.toml"),
        "[workspace]\n[package]\nname = \"broken\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    )
    .unwrap();
    std::fs::write(program.join("src/main.rs"), "#![no_std]\n#![no_main]\nfn f() { no_such_function() }\n").unwrap();
    let error = build(&Options::new(room.path()).quiet(), &program).unwrap_err();
    assert!(matches!(&error, Error::ProgramFailed { output, .. } if output.contains("no_such_function")), "{error}");
}

#[test]
fn what_is_not_an_elf_is_refused() {
    let error = elf_to_words(&fixture("blink/Cargo.toml")).unwrap_err();
    assert!(matches!(error, Error::Image { .. }), "{error}");
}
