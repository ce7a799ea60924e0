//! The three products of a dense layer, and the windows that make a convolution of them. The inner loops run along contiguous rows
//! of weights, so that they are compiled to vector instructions; each element's terms are still added one by one in the order of the
//! inputs, as in the plainest loop.

use super::Real;
use crate::graph::Window;

/// `y += a·x`.
fn add<T: Real>(y: &mut [T], a: T, x: &[T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = *y + a * x;
    }
}

/// The transpose of `[rows, cols]`.
pub fn transposed<T: Real>(m: &[T], cols: usize) -> Vec<T> {
    (0..cols).flat_map(|c| m.iter().skip(c).step_by(cols).copied()).collect()
}

/// `y = x·Wᵀ + b` with `Wᵀ` in `t`, `[inputs, outputs]`; x is `[rows, inputs]`, y `[rows, outputs]`.
pub fn affine_of<T: Real>(x: &[T], t: &[T], b: &[T]) -> Vec<T> {
    let (outputs, inputs) = (b.len(), t.len() / b.len());
    let mut y = Vec::with_capacity(x.len() / inputs * outputs);
    for x in x.chunks_exact(inputs) {
        let start = y.len();
        y.extend_from_slice(b);
        x.iter().zip(t.chunks_exact(outputs)).for_each(|(&x, t)| add(&mut y[start..], x, t));
    }
    y
}

/// As [`affine_of`], of W itself, `[outputs, inputs]`.
pub fn affine<T: Real>(x: &[T], w: &[T], b: &[T]) -> Vec<T> {
    affine_of(x, &transposed(w, w.len() / b.len()), b)
}

/// `dx += dy·W`: the gradient by the input, `[rows, inputs]`, of W `[outputs, inputs]`.
pub fn by_input<T: Real>(dx: &mut [T], dy: &[T], w: &[T], outputs: usize) {
    let inputs = w.len() / outputs;
    for (dx, dy) in dx.chunks_exact_mut(inputs).zip(dy.chunks_exact(outputs)) {
        dy.iter().zip(w.chunks_exact(inputs)).for_each(|(&d, w)| add(dx, d, w));
    }
}

/// `dW += dyᵀ·x` and `db += Σ dy` over the rows.
pub fn by_parameters<T: Real>(dw: &mut [T], db: &mut [T], dy: &[T], x: &[T]) {
    let (outputs, inputs) = (db.len(), dw.len() / db.len());
    for (dy, x) in dy.chunks_exact(outputs).zip(x.chunks_exact(inputs)) {
        dy.iter().zip(dw.chunks_exact_mut(inputs)).for_each(|(&d, dw)| add(dw, d, x));
        add(db, T::of(1.0), dy);
    }
}

/// A convolution's geometry: images `[rows, channels, height, width]`, and `[high, wide]` windows on each.
#[derive(Clone, Copy)]
pub struct Windows {
    rows: usize,
    image: [usize; 3],
    places: [usize; 2],
    window: Window,
}

impl Windows {
    /// Of a convolution from images of shape `input` to images of shape `output`, each `[channels, height, width]`.
    pub fn new(rows: usize, input: &[usize], output: &[usize], window: Window) -> Windows {
        Windows { rows, image: [input[0], input[1], input[2]], places: [output[1], output[2]], window }
    }

    /// Calls `f(element of the windows' matrix, element of the images)` for all that lie in an image.
    fn each(&self, mut f: impl FnMut(usize, usize)) {
        let ([c, h, w], [high, wide], k) = (self.image, self.places, self.window.kernel);
        let Window { stride, padding, .. } = self.window;
        let pixel = |o: usize, k: usize, n: usize| (o * stride + k).checked_sub(padding).filter(|&i| i < n);
        let mut row = 0;
        for image in 0..self.rows {
            for (oy, ox) in (0..high).flat_map(|oy| (0..wide).map(move |ox| (oy, ox))) {
                for (channel, ky) in (0..c).flat_map(|channel| (0..k).map(move |ky| (channel, ky))) {
                    let Some(y) = pixel(oy, ky, h) else { continue };
                    let (to, from) = (row + (channel * k + ky) * k, ((image * c + channel) * h + y) * w);
                    (0..k).for_each(|kx| pixel(ox, kx, w).into_iter().for_each(|x| f(to + kx, from + x)));
                }
                row += c * k * k;
            }
        }
    }

    /// The windows as rows of a matrix, `[rows·high·wide, channels·kernel²]`, zeros where they reach over the edge.
    pub fn gather<T: Real>(&self, x: &[T]) -> Vec<T> {
        let [c, k] = [self.image[0], self.window.kernel];
        let mut out = vec![T::of(0.0); self.rows * self.places[0] * self.places[1] * c * k * k];
        self.each(|to, from| out[to] = x[from]);
        out
    }

    /// The adjoint of [`gather`](Windows::gather): adds the windows' elements up in the images.
    pub fn scatter<T: Real>(&self, windows: &[T], images: &mut [T]) {
        self.each(|from, to| images[to] = images[to] + windows[from]);
    }
}

/// `[rows, channels, area]` from `[rows, area, channels]`.
pub fn channels_first<T: Real>(x: &[T], channels: usize, area: usize) -> Vec<T> {
    x.chunks(channels * area).flat_map(|row| transposed(row, channels)).collect()
}

/// `[rows, area, channels]` from `[rows, channels, area]`.
pub fn channels_last<T: Real>(x: &[T], channels: usize, area: usize) -> Vec<T> {
    channels_first(x, area, channels)
}
