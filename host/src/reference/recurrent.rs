//! GRU and LSTM over a sequence, forward and backward, with initial state 0.

use super::Real;
use super::ops::Operands;
use super::product::{affine_of, by_input, by_parameters, transposed};

fn sigmoid<T: Real>(x: T) -> T {
    (T::of(1.0) + (T::of(0.0) - x).exp()).recip()
}

/// What the backward pass of a step needs of the forward pass: state and cell before it, the gates' activations, and for a GRU the
/// recurrent half of its candidate.
struct Step<T> {
    h: Vec<T>,
    cell: Vec<T>,
    gates: Vec<T>,
    q: Vec<T>,
}

/// Output `[rows, steps, hidden]`, gradient by the input, gradients by the four parameters, for the output's gradient `dy`; zeros
/// without one.
///
/// GRU (gates r, z, n): `h = (1 − z)·n + z·h`, `n = tanh(Wx + b + r·(Uh + c))`. LSTM (i, f, g, o): `c = f·c + i·g`,
/// `h = o·tanh c`.
pub fn run<T: Real>(lstm: bool, o: &Operands<T>, hidden: usize, dy: Option<&[T]>) -> (Vec<T>, Vec<T>, Vec<Vec<T>>) {
    let (zero, one) = (T::of(0.0), T::of(1.0));
    let (steps, inputs) = (o.shapes[0][0], o.shapes[0][1]);
    let gates = if lstm { 4 } else { 3 };
    let [w, u, b, c] = [0, 1, 2, 3].map(|i| o.parameters[i]);
    let (wt, ut) = (transposed(w, inputs), transposed(u, hidden));
    let mut y = vec![zero; o.rows * steps * hidden];
    let mut dx = vec![zero; o.x[0].len()];
    let mut dp: Vec<Vec<T>> = o.parameters.iter().map(|p| vec![zero; p.len()]).collect();
    for row in 0..o.rows {
        let x = |t: usize| &o.x[0][(row * steps + t) * inputs..][..inputs];
        let at = |t: usize| (row * steps + t) * hidden;
        let mut tape: Vec<Step<T>> = Vec::with_capacity(steps);
        let (mut h, mut cell) = (vec![zero; hidden], vec![zero; hidden]);
        for t in 0..steps {
            let (p, q) = (affine_of(x(t), &wt, b), affine_of(&h, &ut, c));
            let mut a = vec![zero; gates * hidden];
            let before = (h.clone(), cell.clone());
            for j in 0..hidden {
                let k = |g: usize| g * hidden + j;
                let s = |g: usize| sigmoid(p[k(g)] + q[k(g)]);
                if lstm {
                    (a[k(0)], a[k(1)], a[k(3)]) = (s(0), s(1), s(3));
                    a[k(2)] = (p[k(2)] + q[k(2)]).tanh();
                    cell[j] = a[k(1)] * cell[j] + a[k(0)] * a[k(2)];
                    h[j] = a[k(3)] * cell[j].tanh();
                } else {
                    (a[k(0)], a[k(1)]) = (s(0), s(1));
                    a[k(2)] = (p[k(2)] + a[k(0)] * q[k(2)]).tanh();
                    h[j] = (one - a[k(1)]) * a[k(2)] + a[k(1)] * h[j];
                }
            }
            y[at(t)..at(t) + hidden].copy_from_slice(&h);
            tape.push(Step { h: before.0, cell: before.1, gates: a, q });
        }
        let Some(dy) = dy else { continue };
        let (mut dh, mut dc) = (vec![zero; hidden], vec![zero; hidden]);
        for (t, Step { h, cell, gates: a, q }) in tape.iter().enumerate().rev() {
            let (mut da, mut dq) = (vec![zero; gates * hidden], vec![zero; gates * hidden]);
            let mut before = vec![zero; hidden];
            for j in 0..hidden {
                let d = dh[j] + dy[at(t) + j];
                let k = |g: usize| g * hidden + j;
                if lstm {
                    let [i, f, g, o] = [0, 1, 2, 3].map(|g| a[k(g)]);
                    let tc = (f * cell[j] + i * g).tanh();
                    let dcell = dc[j] + d * o * (one - tc * tc);
                    da[k(0)] = dcell * g * i * (one - i);
                    da[k(1)] = dcell * cell[j] * f * (one - f);
                    da[k(2)] = dcell * i * (one - g * g);
                    da[k(3)] = d * tc * o * (one - o);
                    dc[j] = dcell * f;
                    (0..4).for_each(|g| dq[k(g)] = da[k(g)]);
                } else {
                    let [r, z, n] = [0, 1, 2].map(|g| a[k(g)]);
                    let dn = d * (one - z) * (one - n * n);
                    da[k(0)] = dn * q[k(2)] * r * (one - r);
                    da[k(1)] = d * (h[j] - n) * z * (one - z);
                    da[k(2)] = dn;
                    (0..2).for_each(|g| dq[k(g)] = da[k(g)]);
                    dq[k(2)] = dn * r;
                    before[j] = d * z;
                }
            }
            let e = (row * steps + t) * inputs;
            by_input(&mut dx[e..e + inputs], &da, w, gates * hidden);
            by_input(&mut before, &dq, u, gates * hidden);
            let [dw, du, db, dc] = &mut dp[..] else { unreachable!("four parameters") };
            by_parameters(dw, db, &da, x(t));
            by_parameters(du, dc, &dq, h);
            dh = before;
        }
    }
    (y, dx, dp)
}
