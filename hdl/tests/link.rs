//! The link engine in Verilated RTL against the crates `cobs` and `crc32fast`.

use systole_checks::link;

#[test]
fn frames_arrive_whole() {
    link::FRAMES_ARRIVE_WHOLE.pass();
}

#[test]
fn damage_never_reaches_the_ring() {
    link::DAMAGE_NEVER_REACHES_THE_RING.pass();
}

#[test]
fn a_full_ring_drops_whole_frames_and_says_so() {
    link::A_FULL_RING_DROPS_WHOLE_FRAMES_AND_SAYS_SO.pass();
}

#[test]
fn a_ring_fills_to_the_last_word() {
    link::A_RING_FILLS_TO_THE_LAST_WORD.pass();
}

#[test]
fn sent_frames_decode() {
    link::SENT_FRAMES_DECODE.pass();
}

#[test]
fn the_bus_has_precedence_over_the_mover() {
    link::THE_BUS_HAS_PRECEDENCE_OVER_THE_MOVER.pass();
}

#[test]
fn counters_go_around() {
    link::COUNTERS_GO_AROUND.pass();
}
