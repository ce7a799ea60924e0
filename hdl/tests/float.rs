//! The float units, Verilated, against the host's arithmetic and integer references.

mod float_common;

use float_common::{Random, canonical, load, narrow, ports, widen};
use rust_hdl_core::prelude::*;
use systole_hdl::float::*;
use systole_verilator::Optimise;

const SEED: u64 = 0x5157_01e0_2026;
const CASES: usize = 2_000_000;

/// Operand pairs: independent, or near each other in magnitude (cancellation, ties).
fn pairs(random: &mut Random, count: usize) -> Vec<(u32, u32)> {
    (0..count)
        .map(|_| {
            let a = random.single();
            let b = match random.below(4) {
                0 => a ^ 0x8000_0000 ^ (1 << random.below(24)),
                1 => (a ^ 0x8000_0000).wrapping_add((random.below(31) as u32) << 23),
                2 => {
                    // A product near the border of the subnormals.
                    let e = 127u32.wrapping_sub(a >> 23 & 255).wrapping_sub(random.below(26) as u32) & 255;
                    (random.bits() as u32 & 0x807f_ffff) | e << 23
                }
                _ => random.single(),
            };
            if random.bits() & 1 == 0 { (a, b) } else { (b, a) }
        })
        .collect()
}

fn binary(block: impl Block, top: &str, ins: [&str; 2], out: &str, latency: usize, f: impl Fn(f32, f32) -> f32) {
    println!("{top}: seed {SEED:#x}, {CASES} cases");
    let mut module = load(block, top, true, Optimise::Speed);
    let cases = pairs(&mut Random(SEED), CASES);
    let stimuli: Vec<u64> = cases.iter().flat_map(|(a, b)| [*a as u64, *b as u64]).collect();
    let (inputs, outputs) = (ports(&module, &ins), ports(&module, &[out]));
    let clock = module.clocks()[0];
    let got = module.run_vectors(clock, &inputs, &outputs, &stimuli, latency as u64);
    let mut wrong = 0;
    for ((a, b), got) in cases.iter().zip(got) {
        let expected = canonical(f(f32::from_bits(*a), f32::from_bits(*b)));
        if got as u32 != expected {
            wrong += 1;
            if wrong < 12 {
                println!("{top}({a:08x}, {b:08x}) = {got:08x}, expected {expected:08x}");
            }
        }
    }
    assert_eq!(wrong, 0, "{top}: wrong results");
}

#[test]
fn fadd() {
    binary(Fadd::default(), "fadd_top", ["x", "y"], "z", FADD_LATENCY, |x, y| x + y);
}

#[test]
fn fmul() {
    binary(Fmul::default(), "fmul_top", ["a", "b"], "p", FMUL_LATENCY, |x, y| x * y);
}

#[test]
fn half_to_single() {
    let mut module = load(HalfToSingle::default(), "half_to_single_top", false, Optimise::Quick);
    let (inputs, outputs) = (ports(&module, &["half", "offset"]), ports(&module, &["single"]));
    let mut cases = vec![];
    for half in 0..=u16::MAX {
        for offset in [0i8, 1, -1, 24, -24, -100, 100, 112, -102] {
            // Only where the result is normal is the operation defined.
            let exact = (widen(half) as f64) * 2f64.powi(offset as i32);
            if !exact.is_finite() || exact == 0.0 || (exact.abs() >= 2f64.powi(-126) && exact.abs() < 2f64.powi(128)) {
                cases.push((half, offset, canonical(exact as f32)));
            }
        }
    }
    assert!(cases.len() > 400_000);
    let stimuli: Vec<u64> = cases.iter().flat_map(|(h, o, _)| [*h as u64, *o as u8 as u64]).collect();
    let got = module.run_vectors(None, &inputs, &outputs, &stimuli, 0);
    for ((half, offset, expected), got) in cases.iter().zip(got) {
        assert_eq!(got as u32, *expected, "{half:04x} · 2^{offset}");
    }
}

#[test]
fn single_to_half() {
    println!("single_to_half: seed {SEED:#x}");
    let mut module = load(SingleToHalf::default(), "single_to_half_top", true, Optimise::Speed);
    let (inputs, outputs) = (ports(&module, &["single"]), ports(&module, &["half", "nonfinite"]));
    let mut random = Random(SEED);
    let mut cases: Vec<u32> = (0..CASES / 2).map(|_| random.single()).collect();
    // Every FP16 number, every midpoint between two, and their neighbours.
    for half in 0..0x7c00u16 {
        let middle =
            ((widen(half) as f64 + if half == 0x7bff { 65536.0 } else { widen(half + 1) as f64 }) / 2.0) as f32;
        for x in [widen(half).to_bits(), middle.to_bits()] {
            for x in [x.saturating_sub(1), x, x + 1] {
                cases.extend([x, x | 0x8000_0000]);
            }
        }
    }
    let stimuli: Vec<u64> = cases.iter().map(|x| *x as u64).collect();
    let clock = module.clocks()[0];
    let got = module.run_vectors(clock, &inputs, &outputs, &stimuli, TO_HALF_LATENCY as u64);
    for (x, got) in cases.iter().zip(got.chunks(2)) {
        let expected = narrow(f32::from_bits(*x));
        assert_eq!(got[0] as u16, expected, "{x:08x}");
        assert_eq!(got[1] == 1, expected & 0x7c00 == 0x7c00, "flag of {x:08x}");
    }
}

/// Every unit of the array's path in a row: recode both, multiply, encode the sum, add, decode.
#[derive(LogicBlock)]
struct Chain {
    clock: Signal<In, Clock>,
    a: Signal<In, Bits<16>>,
    b: Signal<In, Bits<16>>,
    c: Signal<In, Bits<32>>,
    z: Signal<Out, Bits<32>>,
    recode_a: Recode,
    recode_b: Recode,
    product: Product,
    encode: PsumEncode,
    add: PsumAdd,
    decode: PsumDecode,
}

impl Chain {
    fn new(l: usize) -> Chain {
        Chain {
            clock: Default::default(),
            a: Default::default(),
            b: Default::default(),
            c: Default::default(),
            z: Default::default(),
            recode_a: Default::default(),
            recode_b: Default::default(),
            product: Default::default(),
            encode: Default::default(),
            add: PsumAdd::new(l),
            decode: Default::default(),
        }
    }
}

impl Logic for Chain {
    #[hdl_gen]
    fn update(&mut self) {
        self.product.clock.next = self.clock.val();
        self.add.clock.next = self.clock.val();
        self.recode_a.half.next = self.a.val();
        self.recode_b.half.next = self.b.val();
        self.product.a.next = self.recode_a.operand.val();
        self.product.b.next = self.recode_b.operand.val();
        self.encode.single.next = self.c.val();
        self.add.x.next = self.encode.psum.val();
        self.add.y.next = self.product.p.val();
        self.decode.psum.next = self.add.z.val();
        self.z.next = self.decode.single.val();
    }
}

#[test]
fn the_arrays_path() {
    for l in PSUM_LATENCIES {
        the_path(l);
    }
}

fn the_path(l: usize) {
    println!("chain of latency {l}: seed {SEED:#x}, {CASES} cases");
    let mut module = load(Chain::new(l), &format!("chain_{l}_top"), true, Optimise::Speed);
    let mut random = Random(SEED ^ 1);
    let mut cases: Vec<(u16, u16, f32)> = vec![];
    let mut c = 0f32;
    while cases.len() < CASES {
        let (mut a, mut b) = (random.half(), random.half());
        // Sums of products, as the array makes them; then a sum that nearly cancels the product, or ties with it.
        match random.below(8) {
            0 => c = widen(random.half()),
            1 => c = -(widen(a) * widen(b)),
            2 => c = -(widen(a) * widen(b)) + widen(random.half()),
            3 => {
                a = 1 << random.below(15);
                b = 1 << random.below(15);
            }
            4 => c = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN][random.below(5) as usize],
            _ => {}
        }
        let c32 = f32::from_bits(canonical(c));
        cases.push((a, b, c32));
        c = c32 + widen(a) * widen(b);
    }
    // The sum arrives PRODUCT_LATENCY cycles after the operands.
    let lag = PRODUCT_LATENCY;
    let stimuli: Vec<u64> = (0..cases.len())
        .flat_map(|t| {
            let c = if t >= lag { cases[t - lag].2.to_bits() } else { 0 };
            [cases[t].0 as u64, cases[t].1 as u64, c as u64]
        })
        .collect();
    let (inputs, outputs) = (ports(&module, &["a", "b", "c"]), ports(&module, &["z"]));
    let clock = module.clocks()[0];
    let got = module.run_vectors(clock, &inputs, &outputs, &stimuli, (lag + l) as u64);
    let mut wrong = 0;
    for ((a, b, c), got) in cases.iter().zip(got).take(CASES - lag) {
        let expected = canonical(c + widen(*a) * widen(*b));
        if got as u32 != expected {
            wrong += 1;
            if wrong < 12 {
                println!("{a:04x} · {b:04x} + {:08x} = {got:08x}, expected {expected:08x}", c.to_bits());
            }
        }
    }
    assert_eq!(wrong, 0);
}
