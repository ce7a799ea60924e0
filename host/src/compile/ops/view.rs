//! Views of tensors with any number of axes, and how one elementwise operation on them becomes instructions with two axes.
//!
//! The device keeps an image `[channels, height, width]` as `[height][width][batch][channels]`, a sequence `[steps, features]`
//! as `[steps][batch][features]` and a vector as `[batch][features]`; the pitch of the last axis is ≡ 1 (mod N) and leaves at
//! least one column free. So all leading axes together are the rows of one matrix whose columns are the channels: a
//! convolution's positions, a sequence's steps and a batch's samples are rows of a product alike.

/// What a view is a view of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A planned tensor.
    Tensor(usize),
    /// The current slot's input.
    Input,
    /// The current slot's labels.
    Labels,
    /// The current slot's dropout masks.
    Masks,
}

/// Element (i, j, …) lies at `offset + i·strides[0] + j·strides[1] + …` from the start of `place`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nd {
    pub(crate) place: Place,
    pub(crate) offset: u32,
    pub(crate) dims: Vec<u32>,
    pub(crate) strides: Vec<u32>,
}

impl Nd {
    /// Every `step`-th index of `axis` from `start`, `count` of them.
    pub(crate) fn slice(&self, axis: usize, start: u32, count: u32, step: u32) -> Nd {
        let mut v = self.clone();
        v.offset += start * v.strides[axis];
        v.dims[axis] = count;
        v.strides[axis] *= step;
        v
    }

    /// `count` indices of `axis` from `start`.
    pub(crate) fn range(&self, axis: usize, start: u32, count: u32) -> Nd {
        self.slice(axis, start, count, 1)
    }

    /// One index of `axis`, which disappears.
    pub(crate) fn index(&self, axis: usize, at: u32) -> Nd {
        let mut v = self.slice(axis, at, 1, 1);
        v.dims.remove(axis);
        v.strides.remove(axis);
        v
    }

    /// Axes in another order.
    pub(crate) fn permute(&self, axes: &[usize]) -> Nd {
        let pick = |of: &[u32]| axes.iter().map(|&a| of[a]).collect();
        Nd { dims: pick(&self.dims), strides: pick(&self.strides), ..self.clone() }
    }

    /// A new axis in front of `axis`, along which nothing changes.
    pub(crate) fn repeat(&self, axis: usize, count: u32) -> Nd {
        let mut v = self.clone();
        v.dims.insert(axis, count);
        v.strides.insert(axis, 0);
        v
    }

    /// Rows, their pitch, columns and their stride, where all leading axes are one.
    pub(crate) fn matrix(&self) -> Option<(u32, u32, u32, u32)> {
        let (&cols, leading) = self.dims.split_last()?;
        let (&col, strides) = self.strides.split_last()?;
        let axes = leading.iter().zip(strides).filter(|a| *a.0 > 1);
        let mut merged: Option<(u32, u32)> = None;
        for (&n, &s) in axes {
            merged = match merged {
                None => Some((n, s)),
                Some((m, t)) if t == s * n => Some((m * n, s)),
                _ => return None,
            };
        }
        let (rows, pitch) = merged.unwrap_or((1, cols.next_multiple_of(16) + 1));
        Some((rows, pitch, cols, col))
    }
}

/// An operand of an elementwise operation.
#[derive(Clone, Debug)]
pub(crate) enum Arg {
    /// A tensor.
    X(Nd),
    /// With its sign flipped.
    Neg(Nd),
    /// Without its sign.
    Abs(Nd),
    /// A constant.
    F(f32),
    /// Constant bits.
    Bits(u32),
    /// A scalar register.
    S(usize),
}

/// No operand: the identity of addition.
pub(crate) const NONE: Arg = Arg::F(-0.0);
/// The identity of multiplication.
pub(crate) const ONE: Arg = Arg::F(1.0);

/// `axes` of several operands, each `(count, strides)`, with one operand's axes merged where all allow it; longest first is
/// not implied.
pub(crate) fn merge(dims: &[u32], strides: &[Vec<u32>]) -> Vec<(u32, Vec<u32>)> {
    let axis = |a: usize| (dims[a], strides.iter().map(|s| s[a]).collect::<Vec<_>>());
    let mut axes: Vec<_> = (0..dims.len()).map(axis).filter(|a| a.0 > 1).collect();
    'again: loop {
        for i in 0..axes.len() {
            for j in 0..axes.len() {
                let fits = i != j
                    && axes[i].0 * axes[j].0 <= 65535
                    && axes[i].1.iter().zip(&axes[j].1).all(|(&a, &b)| a == b * axes[j].0);
                if fits {
                    axes[j].0 *= axes[i].0;
                    axes.remove(i);
                    continue 'again;
                }
            }
        }
        return axes;
    }
}

/// How an operation over merged axes is cut into instructions: `(rows, columns)` as indices of axes; `None` is a single row
/// or column. `legal(axis)` says which axes may run along the lanes.
pub(crate) fn choose(
    axes: &[(u32, Vec<u32>)],
    lanes: u32,
    legal: impl Fn(usize) -> bool,
    fits: impl Fn(usize) -> bool,
) -> (Option<usize>, Option<usize>) {
    let n = |a: Option<usize>| a.map_or(1, |a| axes[a].0 as u64);
    let total: u64 = axes.iter().map(|a| a.0 as u64).product();
    let options = || (0..axes.len()).map(Some).chain([None]);
    let mut best = (u64::MAX, (None, None));
    for inner in options().filter(|i| i.is_none_or(&legal)) {
        for outer in options().filter(|o| (o.is_none() || *o != inner) && o.is_none_or(&fits)) {
            let count = total / (n(inner) * n(outer));
            let cycles = n(outer) * n(inner).div_ceil(lanes as u64) + 2;
            let cost = count * cycles.max(14) + count * 4;
            if cost < best.0 {
                best = (cost, (outer, inner));
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_merge_where_all_operands_are_dense() {
        let dense = vec![vec![12, 4, 1], vec![12, 4, 1]];
        assert_eq!(merge(&[2, 3, 4], &dense), [(24, vec![1, 1])]);
        let pitched = vec![vec![15, 5, 1], vec![12, 4, 1]];
        assert_eq!(merge(&[2, 3, 4], &pitched), [(6, vec![5, 4]), (4, vec![1, 1])]);
        let broadcast = vec![vec![0, 0, 1], vec![12, 4, 1]];
        assert_eq!(merge(&[2, 3, 4], &broadcast), [(6, vec![0, 4]), (4, vec![1, 1])]);
    }

    #[test]
    fn long_axes_lie_along_the_lanes() {
        let axes = [(4, vec![900, 90]), (64, vec![9, 17]), (8, vec![1, 9])];
        let legal = |a: usize| axes[a].1.iter().all(|s| s % 8 == 1);
        assert_eq!(choose(&axes, 8, legal, |_| true), (Some(2), Some(1)));
        assert_eq!(choose(&axes[..1], 8, |_| false, |_| true), (Some(0), None));
    }
}
