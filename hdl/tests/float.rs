//! The float units, Verilated, against the host's arithmetic and integer references.

use systole_checks::{Check, float};

#[test]
fn fadd() {
    float::FADD.pass();
}

#[test]
fn fmul() {
    float::FMUL.pass();
}

#[test]
fn half_to_single() {
    float::HALF_TO_SINGLE.pass();
}

#[test]
fn single_to_half() {
    float::SINGLE_TO_HALF.pass();
}

#[test]
fn the_arrays_path() {
    float::THE_ARRAYS_PATH.iter().for_each(Check::pass);
}
