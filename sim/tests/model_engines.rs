//! Both engines of the model against plain arithmetic on the same inputs.

mod model_support;

use model_support::{Rng, canonical, element, half_of, single_of};
use systole_isa::instr::{Gemm, Init, Mask, Output, Sync, Vector, VectorOp};
use systole_isa::machine::Machine;
use systole_isa::operand::{Addr, Base, Dest, Modifiers, Source, View};
use systole_isa::regs::Trap;
use systole_isa::{NAN16, NAN32};
use systole_sim::model::memory::{IN_MASK, IN_SMEM, Memory};
use systole_sim::model::simd::Level;
use systole_sim::model::{gemm, vector};

const OUT: Addr = Addr::new(1, 8000);
const MASK: u32 = 100;

/// FP16 bits: mostly small numbers, some anything.
fn half_bits(rng: &mut Rng, wild: bool) -> u16 {
    let any = rng.next() as u16;
    if wild && rng.below(8) == 0 { any } else { any & 0xbfff | 0x2000 }
}

fn filled(machine: Machine, seed: u64, wild: bool) -> Memory {
    println!("seed {seed}");
    let mut rng = Rng(seed);
    let mut m = Memory::new(machine);
    m.half.iter_mut().for_each(|h| *h = half_bits(&mut rng, wild));
    m.single.iter_mut().for_each(|s| *s = rng.next() as u32);
    m.mask.iter_mut().for_each(|b| *b = rng.below(2) == 1);
    m
}

fn at(plane: u32, offset: u32) -> Base {
    Base::at(Addr::new(plane, offset))
}

fn product(m: u16, k: u16, n: u16) -> Gemm {
    Gemm {
        sync: Sync::default(),
        m,
        k,
        n,
        m_block: 4,
        n_group: 2,
        acc_base: 0,
        x: View::new(at(0, 3), 1, k as i16 + 3),
        w: View::new(at(1, 5), 1, n as i16 + 2),
        init: Init::Zero,
        out: Output::Single(View::new(Base::at(OUT), 1, n as i16 + 1)),
        relu: false,
        mask: Mask::None,
    }
}

/// The naive triple loop: FP32 sums, not yet canonical.
fn sums(m: &Memory, g: &Gemm, from: impl Fn(usize, usize) -> f32) -> Vec<Vec<f32>> {
    let h = |v: &View, r, c| half::f16::from_bits(half_of(m, element(v, r, c))).to_f32();
    let one = |i: usize, j: usize| {
        let bias = |b: Base, i| h(&View::new(b, 1, 0), 0, i);
        let mut acc = match g.init {
            Init::Zero => 0.0,
            Init::BiasPerColumn(b) => bias(b, j),
            Init::BiasPerRow(b) => bias(b, i),
            Init::Accumulators => from(i, j),
        };
        for k in 0..g.k as usize {
            acc += h(&g.x, i, k) * h(&g.w, k, j);
        }
        acc
    };
    (0..g.m as usize).map(|i| (0..g.n as usize).map(|j| one(i, j)).collect()).collect()
}

/// Checks results, mask and flag of a GEMM that has run on `after` against the definition on `before`.
fn check(before: &Memory, after: &Memory, g: &Gemm, sums: &[Vec<f32>], offender: Option<u32>) {
    // The engine writes column groups, blocks of rows, column tiles, rows, lanes, in this order, outermost first.
    let lanes = after.machine.lanes as usize;
    let place = |i: usize, j: usize| (j / lanes / g.n_group as usize, i / g.m_block as usize, j / lanes, i, j);
    let mut first = None;
    for (i, row) in sums.iter().enumerate() {
        for (j, &sum) in row.iter().enumerate() {
            let v = if g.relu && !(sum > 0.0 || sum.is_nan()) { 0.0 } else { sum };
            let (view, single) = match &g.out {
                Output::Half(v) => (v, false),
                Output::Single(v) => (v, true),
                Output::Keep => unreachable!(),
            };
            let to = element(view, i, j);
            let bit = |b: &Base| element(&View { base: *b, ..*view }, i, j) as usize;
            let masked = matches!(&g.mask, Mask::Apply(b) if !before.mask[bit(b)]);
            let (got, want, value) = if single {
                let want = if masked { 0 } else { canonical(v) };
                (single_of(after, to), want, f32::from_bits(want))
            } else {
                let h = half::f16::from_f32(v);
                let h = if h.is_nan() { NAN16 } else { h.to_bits() };
                let want = if masked { 0 } else { h };
                (half_of(after, to).into(), want.into(), half::f16::from_bits(want).to_f32())
            };
            assert_eq!(got, want, "({i}, {j}) of {g:?}");
            if let Mask::Write(b) = &g.mask {
                assert_eq!(after.mask[bit(b)], value > 0.0, "mask ({i}, {j}) of {g:?}");
            }
            if !value.is_finite() && first.is_none_or(|(earlier, _)| place(i, j) < earlier) {
                first = Some((place(i, j), to | if single { IN_SMEM } else { 0 }));
            }
        }
    }
    assert_eq!(offender, first.map(|(_, address)| address), "{g:?}");
}

fn run_and_check(before: &Memory, g: &Gemm) {
    let want = sums(before, g, |_, _| unreachable!());
    for level in Level::available() {
        let mut after = clone(before);
        after.level = level;
        let offender = gemm::run(&mut after, g).expect("legal");
        check(before, &after, g, &want, offender);
    }
}

fn clone(m: &Memory) -> Memory {
    let mut c = Memory::new(m.machine);
    c.half.clone_from(&m.half);
    c.single.clone_from(&m.single);
    c.mask.clone_from(&m.mask);
    c.accumulators.clone_from(&m.accumulators);
    c.sregs = m.sregs;
    c
}

#[test]
fn gemm_is_the_triple_loop_for_all_shapes() {
    for (seed, (m, k, n)) in
        [(1, 1, 1), (3, 5, 2), (4, 16, 8), (9, 7, 17), (8, 33, 32), (17, 12, 49), (2, 64, 70)].into_iter().enumerate()
    {
        for wild in [false, true] {
            let before = filled(Machine::DEFAULT, seed as u64, wild);
            for half in [false, true] {
                let mut g = product(m, k, n);
                if let (true, Output::Single(v)) = (half, g.out) {
                    g.out = Output::Half(v);
                }
                run_and_check(&before, &g);
                run_and_check(&before, &Gemm { relu: true, mask: Mask::Write(at(0, MASK)), ..g });
                run_and_check(&before, &Gemm { mask: Mask::Apply(at(0, MASK)), ..g });
                run_and_check(&before, &Gemm { init: Init::BiasPerColumn(at(0, 9)), ..g });
                run_and_check(&before, &Gemm { init: Init::BiasPerRow(at(1, 9)), relu: true, ..g });
            }
        }
    }
}

#[test]
fn transposed_operands_and_results() {
    let before = filled(Machine::DEFAULT, 11, true);
    // Pitches that are 1 modulo the lanes: read by column.
    let (m, k, n) = (13u16, 21u16, 37u16);
    let mut g = product(m, k, n);
    g.x = View::new(at(0, 2), 17, 1);
    g.w = View::new(at(1, 4), 25, 1);
    run_and_check(&before, &g);
    g.w = View::new(at(1, 20_000), -7, 300);
    run_and_check(&before, &g);
    g.x = View::new(at(0, 2), 9, 401);
    g.out = Output::Half(View::new(Base::at(OUT), 17, 1));
    run_and_check(&before, &Gemm { mask: Mask::Write(at(0, MASK)), relu: true, ..g });
    run_and_check(&before, &Gemm { mask: Mask::Apply(at(0, MASK)), ..g });
}

#[test]
fn sums_kept_and_taken_up_again_are_one_chain() {
    let mut memory = filled(Machine::DEFAULT, 5, false);
    let (m, n) = (6, 20);
    let whole = Gemm { m_block: 8, n_group: 3, acc_base: 10, ..product(m, 40, n) };
    let want = sums(&memory, &whole, |_, _| unreachable!());
    let before = clone(&memory);
    let mut first = Gemm { k: 15, out: Output::Keep, ..whole };
    first.sync.flag = Some(0);
    assert_eq!(gemm::run(&mut memory, &first), Ok(None));
    let mut second = Gemm { k: 25, init: Init::Accumulators, ..whole };
    second.x.base.addr = second.x.base.addr.offset_by(15);
    second.w.base.addr = second.w.base.addr.offset_by(15 * whole.w.strides.outer as i32);
    let offender = gemm::run(&mut memory, &second).expect("legal");
    check(&before, &memory, &whole, &want, offender);
}

#[test]
fn zero_signs_survive_as_in_ieee() {
    let mut m = Memory::new(Machine::DEFAULT);
    // −1 · +0 = −0 : +0 + −0 = +0, but a bias of −0 stays −0.
    m.half[3] = 0xbc00;
    let g = Gemm { out: Output::Half(View::new(Base::at(OUT), 1, 1)), ..product(1, 1, 1) };
    gemm::run(&mut m, &g).expect("legal");
    assert_eq!(half_of(&m, OUT.0), 0);
    m.half[9] = 0x8000;
    gemm::run(&mut m, &Gemm { init: Init::BiasPerRow(at(0, 9)), ..g }).expect("legal");
    assert_eq!(half_of(&m, OUT.0), 0x8000);
    gemm::run(&mut m, &Gemm { init: Init::BiasPerRow(at(0, 9)), relu: true, ..g }).expect("legal");
    assert_eq!(half_of(&m, OUT.0), 0);
}

#[test]
fn gemm_traps() {
    let mut m = filled(Machine::DEFAULT, 2, false);
    let plane = Machine::DEFAULT.hmem_plane();
    let g = product(3, 4, 5);
    let mut trap = |g: Gemm| {
        let half = m.half.clone();
        let stop = gemm::run(&mut m, &g).expect_err("illegal");
        assert!(m.half == half, "a trap writes nothing");
        (stop.trap, stop.info)
    };
    let x = View::new(at(1, plane - 6), 1, 4);
    assert_eq!(trap(Gemm { x, ..g }), (Trap::Range, Addr::new(1, plane).0));
    let w = View::new(at(0, 2), 1, -1);
    assert_eq!(trap(Gemm { w, ..g }), (Trap::Range, Addr::MASK));
    let mask = Mask::Write(at(0, Machine::DEFAULT.mask_bits - 2));
    assert_eq!(trap(Gemm { mask, ..g }), (Trap::Range, Machine::DEFAULT.mask_bits | IN_MASK));
    let bias = Init::BiasPerColumn(at(0, plane - 4));
    assert_eq!(trap(Gemm { init: bias, ..g }), (Trap::Range, plane));
    let x = View::new(at(0, 0), 2, 4);
    assert_eq!(trap(Gemm { x, ..g }), (Trap::Stride, x.strides.to_bits()));
    let x = View::new(at(0, 0), 0, 4);
    assert_eq!(trap(Gemm { x, ..g }).0, Trap::Stride);
    assert_eq!(trap(Gemm { m_block: 129, n_group: 2, ..g }).0, Trap::Size);
    assert_eq!(trap(Gemm { m_block: 2, out: Output::Keep, ..g }).0, Trap::Size);
}

/// What an operation must give, element by element.
fn plain(op: VectorOp, x: u32, y: u32, z: u32) -> u32 {
    let f = f32::from_bits;
    let truth = |b: bool| if b { 1.0f32.to_bits() } else { 0 };
    let nan = f(x).is_nan() || f(y).is_nan();
    // IEEE's total order, with NaN out of the way.
    let larger = f(x).total_cmp(&f(y)).is_gt();
    match op {
        VectorOp::Mad => {
            let p = f(x) * f(y);
            canonical(p + f(z))
        }
        VectorOp::Max | VectorOp::Min if nan => NAN32,
        VectorOp::Max => {
            if larger {
                x
            } else {
                y
            }
        }
        VectorOp::Min => {
            if larger {
                y
            } else {
                x
            }
        }
        VectorOp::SelectNegative => {
            if f(x).is_sign_negative() {
                y
            } else {
                z
            }
        }
        VectorOp::SelectPositive => {
            if f(x) > 0.0 {
                y
            } else {
                z
            }
        }
        VectorOp::GreaterEqual => truth(f(x) >= f(y)),
        VectorOp::Equal => truth(f(x) == f(y)),
        VectorOp::IntAdd => x.wrapping_add(y),
        VectorOp::IntSub => x.wrapping_sub(y),
        VectorOp::And => x & y,
        VectorOp::Or => x | y,
        VectorOp::Xor => x ^ y,
        VectorOp::Shl23 => x.wrapping_shl(23),
        VectorOp::Shr23 => x / (1 << 23),
        VectorOp::Shr1 => x / 2,
    }
}

#[test]
fn every_vector_operation_at_every_level() {
    let special = [
        0,
        1 << 31,
        1,
        0x8000_0001,
        0x3f80_0000,
        0xbf80_0000,
        0x7f80_0000,
        0xff80_0000,
        NAN32,
        0x7f80_0001,
        0xffff_ffff,
        0x0080_0000,
        0x007f_ffff,
        0x7f7f_ffff,
        0x477f_e000,
    ];
    let mut rng = Rng(77);
    println!("seed 77");
    let mut cases: Vec<[u32; 3]> = Vec::new();
    for &x in &special {
        for &y in &special {
            cases.extend(special.iter().map(|&z| [x, y, z]));
        }
    }
    cases.extend((0..20_000).map(|_| [0; 3].map(|_| rng.next() as u32)));
    let column = |i: usize| cases.iter().map(|c| c[i]).collect::<Vec<u32>>();
    let (x, y, z) = (column(0), column(1), column(2));
    for level in Level::available() {
        for op in VectorOp::ALL {
            let mut d = vec![0; cases.len()];
            let mut bad = None;
            vector::apply(level, op, &x, &y, &z, &mut d, &mut bad);
            for (c, &got) in cases.iter().zip(&d) {
                assert_eq!(got, plain(op, c[0], c[1], c[2]), "{op:?} of {c:08x?} at {level:?}");
            }
            assert_eq!(bad, d.iter().position(|&v| !f32::from_bits(v).is_finite()));
        }
    }
}

fn single(offset: u32, inner: i16, outer: i16) -> Source {
    Source::Smem(View::new(at(0, offset), inner, outer), Modifiers::default())
}

fn add(rows: u16, cols: u16, x: Source, z: Source, d: Dest) -> Vector {
    let sync = Sync::default();
    Vector { sync, op: VectorOp::Mad, rows, cols, x, y: Source::ONE, z, d, copy: None, recurrent: false }
}

#[test]
fn rows_reduce_in_ascending_order() {
    let mut m = filled(Machine::DEFAULT, 4, false);
    m.single.iter_mut().for_each(|v| *v &= 0xbfff_ffff);
    let (rows, cols) = (23, 11);
    let sum = View::new(at(1, 0), 1, 0);
    let mut v = add(rows, cols, single(40, 1, 16), Source::Smem(sum, Modifiers::default()), Dest::Smem(sum));
    v.recurrent = true;
    let start = m.machine.smem_plane() as usize;
    let want: Vec<u32> = (0..cols as usize)
        .map(|c| {
            let first = f32::from_bits(m.single[start + c]);
            let rows = (0..rows as usize).map(|r| f32::from_bits(m.single[40 + 16 * r + c]));
            canonical(rows.fold(first, |acc, v| v + acc))
        })
        .collect();
    vector::run(&mut m, &v, 0).expect("legal");
    assert_eq!(m.single[start..start + cols as usize], want);
}

#[test]
fn modifiers_scale_broadcast_copy_and_flag() {
    let mut m = Memory::new(Machine::DEFAULT);
    m.half[..4].copy_from_slice(&[0xc000, 0x0001, 0xfc00, 0xfe01]);
    let all = Modifiers { neg: true, scaled: true, abs: true };
    let x = Source::Hmem(View::new(at(0, 0), 1, 0), all);
    let v = add(1, 4, x, Source::NEG_ZERO, Dest::Smem(View::new(at(0, 0), 1, 0)));
    let offender = vector::run(&mut m, &v, -3).expect("legal");
    let want = [(-0.25f32).to_bits(), (-(2f32.powi(-27))).to_bits(), 0xff80_0000, NAN32];
    assert_eq!(m.single[..4], want);
    assert_eq!(offender, Some(2 | IN_SMEM));
    // 70000 fits FP32, its FP16 copy overflows.
    m.single[10] = 70000f32.to_bits();
    let mut v = add(2, 8, single(10, 0, 0), Source::NEG_ZERO, Dest::Smem(View::new(at(0, 20), 1, 8)));
    v.copy = Some(View::new(at(1, 30), 1, 8));
    assert_eq!(vector::run(&mut m, &v, 0), Ok(Some(Addr::new(1, 30).0)));
    assert!(m.single[20..36].iter().all(|&s| s == 70000f32.to_bits()));
    // Selected bits pass unchanged, NaN payloads included.
    m.single[0] = 0x7fab_cdef;
    m.sregs[3] = 0xffab_cdef;
    let mut v = add(1, 1, Source::Imm(1), Source::Imm(0), Dest::Sreg(4));
    v.op = VectorOp::SelectPositive;
    v.y = single(0, 1, 1);
    vector::run(&mut m, &v, 0).expect("legal");
    assert_eq!(m.sregs[4], 0x7fab_cdef);
    v.y = Source::Sreg(3, Modifiers { abs: true, ..Modifiers::default() });
    vector::run(&mut m, &v, 0).expect("legal");
    assert_eq!(m.sregs[4], 0x7fab_cdef);
}

#[test]
fn long_rows_and_wrapping_addresses() {
    let mut m = filled(Machine::DEFAULT, 9, false);
    let want: Vec<u32> = m.single[..9000].iter().map(|v| v ^ 1).collect();
    let mut v = add(3, 3000, single(0, 1, 3000), Source::ONE, Dest::Smem(View::new(at(1, 0), 1, 3000)));
    (v.op, v.y) = (VectorOp::Xor, Source::Imm(1));
    vector::run(&mut m, &v, 0).expect("legal");
    let plane = m.machine.smem_plane() as usize;
    assert_eq!(m.single[plane..plane + 9000], want);
    // In planes of full size, an address runs from the end of one into the other.
    let machine = Machine { smem_words: 1 << 20, ..Machine::DEFAULT };
    let mut m = Memory::new(machine);
    m.single[(1 << 19) - 1] = 5;
    m.single[1 << 19] = 6;
    let mut v = add(1, 2, single((1 << 19) - 1, 1, 0), Source::ONE, Dest::Smem(View::new(at(0, 0), 1, 0)));
    (v.op, v.y) = (VectorOp::Or, Source::Imm(0));
    vector::run(&mut m, &v, 0).expect("legal");
    assert_eq!(m.single[..2], [5, 6]);
}

#[test]
fn vector_traps() {
    let mut m = Memory::new(Machine::DEFAULT);
    let plane = m.machine.smem_plane();
    let out = Dest::Smem(View::new(at(0, 0), 1, 8));
    let v = add(4, 8, single(plane - 20, 1, 8), single(plane - 5, 1, 0), out);
    let stop = vector::run(&mut m, &v, 0).expect_err("out of range");
    // z leaves the memory in row 0, x only in row 2.
    assert_eq!((stop.trap, stop.info), (Trap::Range, plane | IN_SMEM));
    let v = add(1, 8, single(0, 3, 1), Source::ONE, out);
    assert_eq!(vector::run(&mut m, &v, 0).expect_err("stride").trap, Trap::Stride);
    let v = add(1, 8, single(0, 0, 1), Source::ONE, Dest::Smem(View::new(at(0, 0), 0, 8)));
    assert_eq!(vector::run(&mut m, &v, 0).expect_err("broadcast write").trap, Trap::Stride);
}
