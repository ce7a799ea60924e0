//! Gated clocks save time and power and change nothing: the same conversation, with and without them, to the bit and the cycle.

mod rtl_support;

use rtl_support::program::{Generator, half, number};
use rtl_support::{Client, Reply, Request, SHARED, build};
use systole_hdl::soc;
use systole_isa::frame::Kind;
use systole_sim::rtl::{Build, Rtl};
use systole_verilator::{ModelSpec, Options, Verilator, vexriscv_verilog};

const SEED: u64 = 4242;

fn ungated() -> Build {
    let options = Options::workspace();
    let core = vexriscv_verilog(&options).expect("the soft core");
    let text = soc::verilog(&SHARED, 0).expect("the SoC");
    let spec = ModelSpec::new(soc::TOP, text).clock("clock").source(core).allow("fatal").define("SYSTOLE_UNGATED", "1");
    let library = Verilator::provision(&options).and_then(|v| v.build(&spec)).unwrap_or_else(|e| panic!("{e}"));
    Build { library, ..build(SHARED) }
}

/// Random programs on random data; every reply, every memory, and the cycle at which each was read.
fn conversation(build: &Build) -> Vec<(Vec<Reply>, u64)> {
    let mut c = Client::new(Rtl::start(build, None).expect("a device"));
    let mut g = Generator::new(SEED, SHARED);
    let mut log = Vec::new();
    for round in 0..12 {
        let program = g.program(5);
        let words = program.len() as u32;
        let mut requests: Vec<Request> = Vec::new();
        for plane in [0, 1 << 19] {
            let data: Vec<u8> = (0..512).flat_map(|_| half(&mut g.rng, round % 2 == 1).to_le_bytes()).collect();
            requests.push(Request::new(Kind::Write, &[0, plane, 512 | 1 << 16, 512], &data));
            let data: Vec<u8> = (0..256).flat_map(|_| number(&mut g.rng).to_le_bytes()).collect();
            requests.push(Request::new(Kind::Write, &[1, plane, 256 | 1 << 16, 256], &data));
        }
        for (i, part) in program.chunks(256).enumerate() {
            let count = part.len() as u32;
            let data: Vec<u8> = part.iter().flat_map(|w| w.to_le_bytes()).collect();
            requests.push(Request::new(Kind::Write, &[2, 256 * i as u32, count | 1 << 16, count], &data));
        }
        requests.push(Request::new(Kind::Segments, &[1, 0, words], &[]));
        requests.push(Request::new(Kind::Run, &[0, 1_000_000, 0], &[]));
        for plane in [0, 1 << 19] {
            for part in 0..4 {
                requests.push(Request::new(Kind::Read, &[0, plane + 512 * part, 512 | 1 << 16, 512], &[]));
                requests.push(Request::new(Kind::Read, &[1, plane + 256 * part, 256 | 1 << 16, 256], &[]));
            }
        }
        requests.push(Request::new(Kind::Status, &[], &[]));
        let replies = requests.chunks(4).flat_map(|few| c.burst(few)).collect();
        log.push((replies, c.device.speed().cycles));
    }
    log
}

#[test]
fn gated_and_ungated_are_equal_to_the_cycle() {
    println!("seed {SEED}");
    let (gated, free) = (conversation(&build(SHARED)), conversation(&ungated()));
    for (round, (a, b)) in gated.iter().zip(&free).enumerate() {
        assert_eq!(a, b, "round {round}");
    }
    assert!(gated.iter().all(|(replies, _)| replies.len() > 20));
}
