//! GRU and LSTM over a sequence, forward and backward, with initial state 0.

use super::Real;
use super::ops::Operands;

fn sigmoid<T: Real>(x: T) -> T {
    (T::of(1.0) + (T::of(0.0) - x).exp()).recip()
}

/// Output `[rows, steps, hidden]`, gradient by the input, gradients by the four parameters, for the output's gradient `dy`.
///
/// GRU (gates r, z, n): `h = (1 − z)·n + z·h`, `n = tanh(Wx + b + r·(Uh + c))`. LSTM (i, f, g, o): `c = f·c + i·g`,
/// `h = o·tanh c`.
pub fn run<T: Real>(lstm: bool, o: &Operands<T>, hidden: usize, dy: &[T]) -> (Vec<T>, Vec<T>, Vec<Vec<T>>) {
    let zero = T::of(0.0);
    let one = T::of(1.0);
    let (steps, inputs) = (o.shapes[0][0], o.shapes[0][1]);
    let gates = if lstm { 4 } else { 3 };
    let [w, u, b, c] = [0, 1, 2, 3].map(|i| o.parameters[i]);
    let mut y = vec![zero; o.rows * steps * hidden];
    let mut dx = vec![zero; o.x[0].len()];
    let mut dp: Vec<Vec<T>> = o.parameters.iter().map(|p| vec![zero; p.len()]).collect();
    for row in 0..o.rows {
        let x = |t: usize| &o.x[0][(row * steps + t) * inputs..][..inputs];
        let at = |t: usize| (row * steps + t) * hidden;
        // Per step: state before it, cell before it, pre-activations of both halves.
        let mut tape: Vec<(Vec<T>, Vec<T>, Vec<T>, Vec<T>)> = Vec::new();
        let (mut h, mut cell) = (vec![zero; hidden], vec![zero; hidden]);
        for t in 0..steps {
            let affine = |m: &[T], v: &[T], bias: &[T]| -> Vec<T> {
                let dot = |g: usize| (0..v.len()).fold(bias[g], |a, i| a + m[g * v.len() + i] * v[i]);
                (0..gates * hidden).map(dot).collect()
            };
            let (p, q) = (affine(w, x(t), b), affine(u, &h, c));
            tape.push((h.clone(), cell.clone(), p.clone(), q.clone()));
            for j in 0..hidden {
                let s = |g: usize| sigmoid(p[g * hidden + j] + q[g * hidden + j]);
                if lstm {
                    cell[j] = s(1) * cell[j] + s(0) * (p[2 * hidden + j] + q[2 * hidden + j]).tanh();
                    h[j] = s(3) * cell[j].tanh();
                } else {
                    let n = (p[2 * hidden + j] + s(0) * q[2 * hidden + j]).tanh();
                    h[j] = (one - s(1)) * n + s(1) * h[j];
                }
                y[at(t) + j] = h[j];
            }
        }
        let (mut dh, mut dc) = (vec![zero; hidden], vec![zero; hidden]);
        for t in (0..steps).rev() {
            let (h, cell, p, q) = &tape[t];
            let (mut da, mut dq) = (vec![zero; gates * hidden], vec![zero; gates * hidden]);
            let mut before = vec![zero; hidden];
            for j in 0..hidden {
                let d = dh[j] + dy[at(t) + j];
                let k = |g: usize| g * hidden + j;
                let s = |g: usize| sigmoid(p[k(g)] + q[k(g)]);
                if lstm {
                    let g = (p[k(2)] + q[k(2)]).tanh();
                    let tc = (s(1) * cell[j] + s(0) * g).tanh();
                    let dcell = dc[j] + d * s(3) * (one - tc * tc);
                    da[k(0)] = dcell * g * s(0) * (one - s(0));
                    da[k(1)] = dcell * cell[j] * s(1) * (one - s(1));
                    da[k(2)] = dcell * s(0) * (one - g * g);
                    da[k(3)] = d * tc * s(3) * (one - s(3));
                    dc[j] = dcell * s(1);
                    (0..4).for_each(|g| dq[k(g)] = da[k(g)]);
                } else {
                    let (r, z) = (s(0), s(1));
                    let n = (p[k(2)] + r * q[k(2)]).tanh();
                    let dn = d * (one - z) * (one - n * n);
                    da[k(0)] = dn * q[k(2)] * r * (one - r);
                    da[k(1)] = d * (h[j] - n) * z * (one - z);
                    da[k(2)] = dn;
                    (0..2).for_each(|g| dq[k(g)] = da[k(g)]);
                    dq[k(2)] = dn * r;
                    before[j] = d * z;
                }
            }
            for g in 0..gates * hidden {
                for (i, &v) in x(t).iter().enumerate() {
                    let e = (row * steps + t) * inputs + i;
                    dx[e] = dx[e] + da[g] * w[g * inputs + i];
                    dp[0][g * inputs + i] = dp[0][g * inputs + i] + da[g] * v;
                }
                for j in 0..hidden {
                    before[j] = before[j] + dq[g] * u[g * hidden + j];
                    dp[1][g * hidden + j] = dp[1][g * hidden + j] + dq[g] * h[j];
                }
                dp[2][g] = dp[2][g] + da[g];
                dp[3][g] = dp[3][g] + dq[g];
            }
            dh = before;
        }
    }
    (y, dx, dp)
}
