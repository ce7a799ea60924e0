//! exp, log, reciprocal, square root and sigmoid as sequences of exactly defined vector operations.
//!
//! They are generators that append instructions in line, not routines behind CALL: a call would fix rows, columns and
//! strides once per program, cost the fetcher three control instructions per use, and, since a callee cannot know its
//! callers' wait distances, would drain the engine on entry; in line, the scheduler interleaves independent halves, which
//! hides most of the vector engine's latency. They cost 6 (reciprocal), 11 (square root), 13 (exp), 22 (log) and 25 (sigmoid)
//! instructions of 12 words a use.

use systole_isa::instr::VectorOp;

/// An operand of a function step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg {
    /// The function's argument.
    X,
    /// The argument with its sign flipped.
    NegX,
    /// A temporary.
    T(usize),
    /// A temporary with its sign flipped.
    NegT(usize),
    /// A constant.
    F(f32),
    /// Constant bits.
    Bits(u32),
}

/// `t[to] = op(x, y, z)`, elementwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FunctionStep {
    /// Operation.
    pub op: VectorOp,
    /// Temporary written.
    pub to: usize,
    /// Operands.
    pub args: [Arg; 3],
}

/// A function of one variable as straight-line code over temporaries; the result is in the last step's temporary.
#[derive(Clone, Debug)]
pub struct Function {
    /// The code.
    pub steps: Vec<FunctionStep>,
    /// Which plane each temporary should be in so that no step reads two of one plane. The argument is in plane 0.
    pub planes: Vec<u32>,
}

const NEG_ZERO: Arg = Arg::Bits(0x8000_0000);
/// 1.5·2^23: adding it rounds to an integer, which then stands in the low bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 = LN2_HIGH + LN2_LOW; the first has 9 significant bits, so that its product with an exponent is exact.
const LN2_HIGH: f32 = 355.0 / 512.0;
const LN2_LOW: f32 = -2.121_944_4e-4;

struct Code(Function);

impl Code {
    fn new(planes: &[u32]) -> Code {
        Code(Function { steps: Vec::new(), planes: planes.to_vec() })
    }
    fn op(&mut self, op: VectorOp, to: usize, x: Arg, y: Arg, z: Arg) {
        self.0.steps.push(FunctionStep { op, to, args: [x, y, z] });
    }
    fn mad(&mut self, to: usize, x: Arg, y: Arg, z: Arg) {
        self.op(VectorOp::Mad, to, x, y, z);
    }
    fn int(&mut self, op: VectorOp, to: usize, x: Arg, y: Arg) {
        self.op(op, to, x, y, NEG_ZERO);
    }
}

/// Arguments for which [`exp`] is to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpRange {
    /// x ≤ 0, as in softmax; below −87 the result stays near 1.6e-38 (for a softmax: nothing).
    NonPositive,
    /// All x: results saturate near 1.6e-38 below −87 and at 2.4e38 above 88.3. NaN stays NaN.
    Full,
}

/// e^x, at most 2 ulp off. Temporaries 0..4.
///
/// n = round(x/ln 2) by a magic addition; r = x − n·ln 2 in two parts, the first exact; a polynomial on |r| ≤ 0.35; n is
/// added into the exponent. NaN stays NaN.
pub fn exp(range: ExpRange) -> Function {
    use Arg::*;
    let mut c = Code::new(&[1, 0, 0, 1]);
    let (t, m, p, k) = (0, 1, 2, 3);
    c.op(VectorOp::Max, t, X, F(-87.0), NEG_ZERO);
    if range == ExpRange::Full {
        c.op(VectorOp::Min, t, T(t), F(88.3), NEG_ZERO);
    }
    c.mad(m, T(t), F(std::f32::consts::LOG2_E), F(ROUND));
    c.mad(p, T(m), F(1.0), F(-ROUND));
    c.mad(t, T(p), F(-LN2_HIGH), T(t));
    c.mad(t, T(p), F(-LN2_LOW), T(t));
    c.op(VectorOp::Shl23, k, T(m), NEG_ZERO, NEG_ZERO);
    c.mad(p, T(t), F(EXP[0]), F(EXP[1]));
    for &a in &EXP[2..] {
        c.mad(p, T(p), T(t), F(a));
    }
    c.int(VectorOp::IntAdd, p, T(p), T(k));
    c.0
}

/// Coefficients of e^r on |r| ≤ ln2/2, highest power first; the last two are exact.
const EXP: [f32; 7] = [1.381_7e-3, 8.373_3e-3, 4.166_848e-2, 1.666_645e-1, 0.5, 1.0, 1.0];

/// 1/x for 2^-125 ≤ |x| ≤ 2^125, at most 2 ulp off; NaN and Inf give NaN or Inf, never a finite number. Temporaries 0..3.
///
/// An integer subtraction estimates to 6 %; one quadratic step with a shifted constant and one cubic step refine.
pub fn reciprocal() -> Function {
    use Arg::*;
    let mut c = Code::new(&[1, 1, 0]);
    let (y, e, u) = (0, 2, 1);
    c.int(VectorOp::IntSub, y, Bits(RECIPROCAL_MAGIC), X);
    c.mad(e, NegX, T(y), F(RECIPROCAL_STEP));
    c.mad(y, T(e), T(y), NEG_ZERO);
    c.mad(e, NegX, T(y), F(1.0));
    c.mad(u, T(e), T(e), T(e));
    // u and y share a plane: 2 cycles a vector here, against moving one of them.
    c.mad(y, T(u), T(y), T(y));
    c.0
}

const RECIPROCAL_MAGIC: u32 = 0x7ef3_11c7;
const RECIPROCAL_STEP: f32 = 2.0;

/// Natural logarithm of a positive normal number, at most 2 ulp off. Zero, subnormals, negative numbers, Inf and NaN give
/// some finite number: callers that may meet them must detect them elsewhere. Temporaries 0..4.
///
/// x = 2^k·(1 + f), √½ ≤ 1 + f < √2; log(1 + f) = f − f²/2 + f³·P(f) (Cephes' polynomial), and k·ln 2 in two parts.
pub fn log() -> Function {
    use Arg::*;
    let mut c = Code::new(&[0, 1, 1, 0]);
    let (k, f, z, p) = (0, 1, 2, 3);
    c.int(VectorOp::IntAdd, k, X, Bits(0x3f80_0000 - SQRT_HALF));
    c.int(VectorOp::And, f, T(k), Bits(0x007f_ffff));
    c.int(VectorOp::IntAdd, f, T(f), Bits(SQRT_HALF));
    c.mad(f, T(f), F(1.0), F(-1.0));
    c.op(VectorOp::Shr23, k, T(k), NEG_ZERO, NEG_ZERO);
    c.int(VectorOp::Or, k, T(k), Bits(0x4b00_0000));
    c.mad(k, T(k), F(1.0), F(-8_388_735.0));
    c.mad(p, T(f), F(LOG[0]), F(LOG[1]));
    for &a in &LOG[2..] {
        c.mad(p, T(p), T(f), F(a));
    }
    c.mad(z, T(f), T(f), NEG_ZERO);
    c.mad(p, T(p), T(f), NEG_ZERO);
    c.mad(p, T(p), T(z), NEG_ZERO);
    c.mad(p, T(k), F(LN2_LOW), T(p));
    c.mad(p, T(z), F(-0.5), T(p));
    c.mad(p, T(f), F(1.0), T(p));
    c.mad(p, T(k), F(LN2_HIGH), T(p));
    c.0
}

const SQRT_HALF: u32 = 0x3f35_04f3;
/// Cephes' logf, highest power first.
const LOG: [f32; 9] = [
    7.037_683_6e-2,
    -1.151_461e-1,
    1.167_699_9e-1,
    -1.242_014_1e-1,
    1.424_932_3e-1,
    -1.666_805_7e-1,
    2.000_071_5e-1,
    -2.499_999_4e-1,
    3.333_333e-1,
];

/// √x for x ≥ 0, at most 2 ulp off; exactly 0 at 0. A subnormal x gives something between 0 and its root, a negative one, Inf
/// or NaN some number that means nothing: sums of squares of finite numbers are none of these. Temporaries 0..3.
///
/// An integer subtraction estimates y ≈ 1/√x to 3.5 %; one step with tuned constants (Moroz et al., *Modified Fast Inverse Square
/// Root*, Computation 2021) to 0.07 %; then s = x·y is refined with its residual, cubically. Products with x come before
/// products with y: y² would overflow where x is 0.
pub fn sqrt() -> Function {
    use Arg::*;
    let mut c = Code::new(&[1, 0, 0]);
    let (y, s, e) = (0, 1, 2);
    c.op(VectorOp::Shr1, y, X, NEG_ZERO, NEG_ZERO);
    c.int(VectorOp::IntSub, y, Bits(ROOT_MAGIC), T(y));
    c.mad(s, X, T(y), NEG_ZERO);
    c.mad(e, NegT(s), T(y), F(ROOT_STEP));
    c.mad(y, T(y), F(ROOT_FACTOR), NEG_ZERO);
    c.mad(y, T(y), T(e), NEG_ZERO);
    c.mad(s, X, T(y), NEG_ZERO);
    c.mad(e, NegT(s), T(y), F(1.0));
    c.mad(y, T(e), F(0.375), F(0.5));
    c.mad(y, T(y), T(e), NEG_ZERO);
    c.mad(s, T(s), T(y), T(s));
    c.0
}

const ROOT_MAGIC: u32 = 0x5f1f_fff9;
const ROOT_STEP: f32 = 2.389_244_6;
const ROOT_FACTOR: f32 = 0.703_952_25;

/// 1/(1 + e^(−x)), at most 2 ulp off; below −87 it stays near 1.6e-38. NaN stays NaN. Temporaries 0..7.
///
/// With e = e^(−|x|) it is c/(1 + e), where c is 1, or e if x is negative: nothing cancels. A quotient z that is good to 2^-16 is
/// refined by its residual, z + y·(c − z − e·z), which never meets the rounded 1 + e: c − z is exact, since z lies between c/2 and
/// 2c, and the rounding of e·z counts for little. So what is left is e's own error and one rounding.
pub fn sigmoid() -> Function {
    use Arg::*;
    let Function { steps, mut planes } = exp(ExpRange::NonPositive);
    let (d, e, c, negative) = (0, 2, 3, planes.len());
    let (y, r, z) = (negative + 1, negative + 2, negative + 3);
    planes.extend([0, 0, 1, 0]);
    let mut code = Code::new(&planes);
    code.int(VectorOp::Or, negative, X, Bits(0x8000_0000));
    let argument = |a: Arg| if a == X { T(negative) } else { a };
    code.0.steps.extend(steps.into_iter().map(|s| FunctionStep { args: s.args.map(argument), ..s }));
    code.mad(d, T(e), F(1.0), F(1.0));
    code.op(VectorOp::SelectNegative, c, X, T(e), F(1.0));
    code.int(VectorOp::IntSub, y, Bits(RECIPROCAL_MAGIC), T(d));
    code.mad(r, NegT(d), T(y), F(RECIPROCAL_STEP));
    code.mad(y, T(r), T(y), NEG_ZERO);
    code.mad(r, NegT(d), T(y), F(ABOVE_ONE));
    code.mad(y, T(r), T(y), T(y));
    code.mad(z, T(c), T(y), NEG_ZERO);
    code.mad(r, T(z), F(-1.0), T(c));
    code.mad(r, NegT(e), T(z), T(r));
    code.mad(z, T(r), T(y), T(z));
    code.0
}

/// Newton's step for a reciprocal, which would end a little below it, ends a little above: at least ½ for 1 + e ≤ 2, where the
/// distance to 1 is exact.
const ABOVE_ONE: f32 = 1.0 + 1.0 / 65_536.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// One vector operation on FP32 bits.
    fn scalar(op: VectorOp, x: u32, y: u32, z: u32) -> u32 {
        let (fx, fy, fz) = (f32::from_bits(x), f32::from_bits(y), f32::from_bits(z));
        match op {
            VectorOp::Mad => (fx * fy + fz).to_bits(),
            VectorOp::Max if fx.is_nan() || fy.is_nan() => systole_isa::NAN32,
            VectorOp::Max => fx.max(fy).to_bits(),
            VectorOp::Min if fx.is_nan() || fy.is_nan() => systole_isa::NAN32,
            VectorOp::Min => fx.min(fy).to_bits(),
            VectorOp::SelectNegative => [z, y][(x >> 31) as usize],
            VectorOp::IntAdd => x.wrapping_add(y),
            VectorOp::IntSub => x.wrapping_sub(y),
            VectorOp::And => x & y,
            VectorOp::Or => x | y,
            VectorOp::Shl23 => x << 23,
            VectorOp::Shr23 => x >> 23,
            VectorOp::Shr1 => x >> 1,
            op => unimplemented!("{op:?}"),
        }
    }

    fn eval(f: &Function, x: f32) -> f32 {
        let mut t = [0u32; 16];
        for s in &f.steps {
            let value = |a: Arg| match a {
                Arg::X => x.to_bits(),
                Arg::NegX => x.to_bits() ^ 0x8000_0000,
                Arg::T(i) => t[i],
                Arg::NegT(i) => t[i] ^ 0x8000_0000,
                Arg::F(v) => v.to_bits(),
                Arg::Bits(b) => b,
            };
            t[s.to] = scalar(s.op, value(s.args[0]), value(s.args[1]), value(s.args[2]));
        }
        f32::from_bits(t[f.steps.last().unwrap().to])
    }

    /// Distance of `got` from `want` in units of the last place of `want` rounded to FP32.
    fn ulps(got: f32, want: f64) -> f64 {
        let w = want as f32;
        let ulp = (f32::from_bits(w.abs().to_bits() + 1) - w.abs()) as f64;
        (got as f64 - want).abs() / ulp
    }

    fn worst(f: &Function, xs: impl Iterator<Item = f32>, exact: impl Fn(f64) -> f64) -> (f64, f32, f64) {
        let (mut worst, mut at, mut sum, mut n) = (0.0, 0.0, 0.0, 0);
        for x in xs {
            let e = ulps(eval(f, x), exact(x as f64));
            sum += e;
            n += 1;
            if e > worst {
                (worst, at) = (e, x);
            }
        }
        (worst, at, sum / n as f64)
    }

    fn line(low: f32, high: f32, n: usize) -> impl Iterator<Item = f32> {
        (0..=n).map(move |i| low + (high - low) * (i as f32 / n as f32))
    }

    /// Every bit pattern between two positive numbers, thinned.
    fn bits(low: f32, high: f32, step: usize) -> impl Iterator<Item = f32> {
        (low.to_bits()..=high.to_bits()).step_by(step).map(f32::from_bits)
    }

    #[test]
    fn exp_is_within_2_ulp() {
        for (range, low, high) in [(ExpRange::NonPositive, -86.9, 0.0), (ExpRange::Full, -86.9, 88.2)] {
            let f = exp(range);
            let (e, at, mean) = worst(&f, line(low, high, 2_000_000).chain(line(-1.0, 0.0, 500_000)), f64::exp);
            println!("exp {range:?}: worst {e:.3} ulp at {at}, mean {mean:.3}, {} instructions", f.steps.len());
            assert!(e <= 2.0, "{e} at {at}");
            assert_eq!(eval(&f, 0.0), 1.0);
            assert!(eval(&f, f32::NAN).is_nan());
            assert!(eval(&f, -1e30) < 2e-38 && eval(&f, f32::NEG_INFINITY) < 2e-38);
        }
    }

    #[test]
    fn reciprocal_is_within_2_ulp() {
        let f = reciprocal();
        let (e, at, mean) = worst(&f, bits(1.0, 4.0, 7), |x| 1.0 / x);
        println!("reciprocal: worst {e:.3} ulp at {at}, mean {mean:.3}, {} instructions", f.steps.len());
        assert!(e <= 2.0, "{e} at {at}");
        let (e, at, _) = worst(&f, bits(2.4e-38, 4.2e37, 1009).map(|x| -x), |x| 1.0 / x);
        assert!(e <= 2.0, "{e} at {at}");
        assert!(!eval(&f, f32::NAN).is_finite() && !eval(&f, f32::INFINITY).is_finite());
    }

    #[test]
    fn sigmoid_is_within_2_ulp() {
        let f = sigmoid();
        let truth = |x: f64| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) };
        let both = |low, high, step| bits(low, high, step).flat_map(|x| [x, -x]);
        let (e, at, mean) = worst(&f, both(1e-6, 86.9, 97).chain(line(-20.0, 0.0, 1_000_000)), truth);
        println!("sigmoid: worst {e:.3} ulp at {at}, mean {mean:.3}, {} instructions", f.steps.len());
        assert!(e <= 2.0, "{e} at {at}");
        assert_eq!(eval(&f, 0.0), 0.5);
        assert_eq!((eval(&f, f32::INFINITY), eval(&f, 1e30)), (1.0, 1.0));
        assert_eq!(eval(&f, f32::NEG_INFINITY), eval(&f, -87.0));
        assert!(eval(&f, f32::NAN).is_nan() && eval(&f, -f32::NAN).is_nan());
    }

    #[test]
    fn sqrt_is_within_2_ulp() {
        let f = sqrt();
        for (low, high, step) in [(1.0, 4.0, 7), (1.2e-38, 3.4e38, 1009)] {
            let (e, at, mean) = worst(&f, bits(low, high, step), f64::sqrt);
            println!("sqrt {low}..{high}: worst {e:.3} ulp at {at}, mean {mean:.3}, {} instructions", f.steps.len());
            assert!(e <= 2.0, "{e} at {at}");
        }
        assert_eq!(eval(&f, 0.0), 0.0);
        for x in bits(1e-45, 1.17e-38, 997) {
            let root = eval(&f, x);
            assert!((0.0..=1.1 * x.sqrt()).contains(&root), "{root} for {x}");
        }
    }

    #[test]
    fn log_is_within_2_ulp() {
        let f = log();
        for (low, high, step) in [(0.5, 2.0, 7), (1.0, 4096.0, 37), (1.2e-38, 3e38, 1009)] {
            let (e, at, mean) = worst(&f, bits(low, high, step).filter(|&x| x != 1.0), f64::ln);
            println!("log {low}..{high}: worst {e:.3} ulp at {at}, mean {mean:.3}, {} instructions", f.steps.len());
            assert!(e <= 2.0, "{e} at {at}");
        }
        assert_eq!(eval(&f, 1.0), 0.0);
    }
}
