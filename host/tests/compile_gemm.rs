//! Single products, executed by the model's engines, bit for bit against `acc += f32(a)·f32(b)`.

use half::f16;
use systole::compile::{self, CompileError, GemmSpec, TensorPlace};
use systole_isa::machine::Machine;
use systole_isa::regs::Space;
use systole_sim::model::exec::Fetcher;
use systole_sim::model::memory::Memory;

fn at(p: TensorPlace, r: u32, c: u32) -> u32 {
    p.addr.offset_by((r * p.pitch + c) as i32).0
}

/// FP16 numbers with all exponents, subnormals and signs, from a small generator.
fn values(n: u32, state: &mut u64) -> Vec<u16> {
    let mut next = || {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 40) as u16
    };
    (0..n)
        .map(|_| {
            let b = next();
            if b & 0x7c00 >= 0x5800 { b & 0xa7ff } else { b }
        })
        .collect()
}

fn check(spec: GemmSpec, machine: Machine, seed: u64) {
    let c = compile::gemm(spec, machine).unwrap();
    let mut memory = Memory::new(machine);
    for (i, &w) in c.program.iter().enumerate() {
        assert!(memory.set(Space::Program, i as u32, w));
    }
    let mut state = seed;
    let mut fill = |p: TensorPlace, memory: &mut Memory| {
        let v = values(p.rows * p.cols, &mut state);
        for (i, &h) in v.iter().enumerate() {
            assert!(memory.set(p.space, at(p, i as u32 / p.cols, i as u32 % p.cols), h as u32));
        }
        v.into_iter().map(|h| f16::from_bits(h).to_f32()).collect::<Vec<_>>()
    };
    let (a, b) = (fill(c.a, &mut memory), fill(c.b, &mut memory));
    let bias = c.bias.map(|p| fill(p, &mut memory));
    let mut fetcher = Fetcher::default();
    fetcher.push(c.segments[0].addr, 0);
    fetcher.advance(&mut memory, u64::MAX);
    assert!(fetcher.trapped.is_none());
    let GemmSpec { m, k, n, .. } = spec;
    for i in 0..m {
        for j in 0..n {
            let mut acc = bias.as_ref().map_or(0.0, |b| b[j as usize]);
            for l in 0..k {
                let x = a[if spec.transpose_a { l * m + i } else { i * k + l } as usize];
                let w = b[if spec.transpose_b { j * k + l } else { l * n + j } as usize];
                acc += x * w;
            }
            if spec.relu && (acc <= 0.0) {
                acc = 0.0;
            }
            let want = if spec.half_out { f16::from_f32(acc).to_bits() as u32 } else { acc.to_bits() };
            assert_eq!(memory.get(c.out.space, at(c.out, i, j)), Some(want), "{spec:?} at {i}, {j}");
        }
    }
}

#[test]
fn all_transposes_and_epilogues() {
    let shapes = [(1, 1, 1), (8, 8, 8), (9, 17, 7), (5, 1, 13), (33, 10, 16), (70, 40, 23)];
    for (i, (m, k, n)) in shapes.into_iter().enumerate() {
        for bits in 0..32u32 {
            let on = |b: u32| bits >> b & 1 == 1;
            let [transpose_a, transpose_b, bias, relu, half_out] = [on(0), on(1), on(2), on(3), on(4)];
            let spec = GemmSpec { m, k, n, transpose_a, transpose_b, bias, relu, half_out, cut: 0 };
            for lanes in [4, 8] {
                check(spec, Machine::with_lanes(lanes), (i as u64) << 8 | bits as u64);
            }
        }
    }
}

#[test]
fn sizes_are_refused_by_name() {
    let spec = |m, k, n| GemmSpec { m, k, n, ..GemmSpec::default() };
    let e = compile::gemm(spec(0, 1, 1), Machine::DEFAULT).unwrap_err();
    assert!(matches!(&e, CompileError::Size { what, size: 0, .. } if what == "m"), "{e}");
    let e = compile::gemm(spec(1000, 1000, 8), Machine::DEFAULT).unwrap_err();
    assert!(matches!(&e, CompileError::Memory { tensor, memory: "hmem", .. } if tensor == "A"), "{e}");
}

/// Predicted utilisation of square and thin products; a slower choice of blocking or orientation fails here.
#[test]
fn predictions_reach_the_targets() {
    for (m, k, n, percent) in [(64, 64, 64, 98.0), (128, 128, 128, 99.7), (64, 128, 10, 94.0), (32, 32, 10, 65.0)] {
        let c = compile::gemm(GemmSpec { m, k, n, ..GemmSpec::default() }, Machine::DEFAULT).unwrap();
        let got = c.macs as f64 / 64.0 / c.predicted.cycles as f64 * 100.0;
        assert!(got >= percent, "{m} {k} {n}: {got:.1} %");
    }
}
