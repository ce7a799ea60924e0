//! The float units against the host's arithmetic and integer references.

use crate::design::{Check, Design, Dut};
use crate::number::{Random, canonical, narrow, widen};
use rust_hdl_core::prelude::*;
use systole_hdl::float::*;

const SEED: u64 = 0x5157_01e0_2026;
const CASES: usize = 2_000_000;

/// FP32 addition of the vector engine.
pub const FADD: Check = Check {
    name: "float::fadd",
    design: || Design::of(Fadd::default(), "fadd_top"),
    run: |dut| binary(dut, &["x", "y"], &["z"], FADD_LATENCY, |x, y| x + y),
};

/// FP32 multiplication of the vector engine.
pub const FMUL: Check = Check {
    name: "float::fmul",
    design: || Design::of(Fmul::default(), "fmul_top"),
    run: |dut| binary(dut, &["a", "b"], &["p"], FMUL_LATENCY, |x, y| x * y),
};

/// FP16 to FP32, with an exponent added, where the result is no subnormal.
pub const HALF_TO_SINGLE: Check = Check {
    name: "float::half_to_single",
    design: || Design::combinational(HalfToSingle::default(), "half_to_single_top"),
    run: half_to_single,
};

/// FP32 to FP16 with the flag that a write-back raises.
pub const SINGLE_TO_HALF: Check = Check {
    name: "float::single_to_half",
    design: || Design::of(SingleToHalf::default(), "single_to_half_top"),
    run: single_to_half,
};

/// A PE's path from FP16 operands to the sum, with an adder of the usual latency, of a shorter and of a longer one.
pub const THE_ARRAYS_PATH: [Check; 3] = [
    Check { name: "float::the_arrays_path, latency 3", design: || path_of(3), run: |dut| path(dut, 3) },
    Check { name: "float::the_arrays_path, latency 2", design: || path_of(2), run: |dut| path(dut, 2) },
    Check { name: "float::the_arrays_path, latency 4", design: || path_of(4), run: |dut| path(dut, 4) },
];

/// Operand pairs: independent, or near each other in magnitude (cancellation, ties).
fn pairs(mut random: Random, count: usize) -> impl Iterator<Item = (u32, u32)> {
    (0..count).map(move |_| {
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
}

fn binary(dut: &mut Dut, ins: &[&str], outs: &[&str], latency: usize, f: impl Fn(f32, f32) -> f32) {
    let cases = pairs(Random(SEED), CASES);
    let stimuli = |block: &[(u32, u32)]| block.iter().flat_map(|(a, b)| [*a as u64, *b as u64]).collect();
    dut.compare([ins, outs], latency, cases, stimuli, |(a, b), got| {
        let expected = canonical(f(f32::from_bits(*a), f32::from_bits(*b)));
        (got[0] as u32 != expected).then(|| format!("{a:08x}, {b:08x} give {:08x}, not {expected:08x}", got[0]))
    });
}

fn half_to_single(dut: &mut Dut) {
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
    let stimuli = |block: &[(u16, i8, u32)]| block.iter().flat_map(|(h, o, _)| [*h as u64, *o as u8 as u64]).collect();
    dut.compare([&["half", "offset"], &["single"]], 0, cases, stimuli, |(half, offset, expected), got| {
        (got[0] as u32 != *expected)
            .then(|| format!("{half:04x} * 2^{offset} gives {:08x}, not {expected:08x}", got[0]))
    });
}

fn single_to_half(dut: &mut Dut) {
    let mut random = Random(SEED);
    let random = (0..CASES / 2).map(move |_| random.single());
    let mut cases: Vec<u32> = vec![];
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
    let cases = random.chain(cases);
    let stimuli = |block: &[u32]| block.iter().map(|x| *x as u64).collect();
    dut.compare([&["single"], &["half", "nonfinite"]], TO_HALF_LATENCY, cases, stimuli, |x, got| {
        let expected = narrow(f32::from_bits(*x));
        let bad = expected & 0x7c00 == 0x7c00;
        (got[0] as u16 != expected || (got[1] == 1) != bad)
            .then(|| format!("{x:08x} gives {:04x} and {}, not {expected:04x} and {bad}", got[0], got[1]))
    });
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

fn path_of(l: usize) -> Design {
    Design::of(Chain::new(l), &format!("chain_{l}_top"))
}

fn path(dut: &mut Dut, l: usize) {
    let mut random = Random(SEED ^ 1);
    let mut c = 0f32;
    let cases = (0..CASES).map(move |_| {
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
        c = c32 + widen(a) * widen(b);
        (a, b, c32)
    });
    // The sum arrives PRODUCT_LATENCY cycles after the operands.
    let lag = PRODUCT_LATENCY;
    let stimuli = |block: &[(u16, u16, f32)]| {
        let at = |t: usize| block.get(t).copied().unwrap_or_default();
        (0..block.len() + lag)
            .flat_map(|t| [at(t).0 as u64, at(t).1 as u64, at(t.wrapping_sub(lag)).2.to_bits() as u64])
            .collect()
    };
    dut.compare([&["a", "b", "c"], &["z"]], lag + l, cases, stimuli, |(a, b, c), got| {
        let expected = canonical(c + widen(*a) * widen(*b));
        (got[0] as u32 != expected)
            .then(|| format!("{a:04x} * {b:04x} + {:08x} gives {:08x}, not {expected:08x}", c.to_bits(), got[0]))
    });
}
