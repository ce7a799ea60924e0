//! Operands at which something changes: the idea of TestFloat's level 2, every weighty exponent with significands that have
//! one or two bits set or clear, or a run of ones at either end.

/// Significand fields of 23 bits: 0, all ones, one bit, all but one bit, runs of ones from either end, and (at `level` 2) two bits
/// and all but two bits.
pub fn fractions(level: u32) -> Vec<u32> {
    const ALL: u32 = 0x7f_ffff;
    let mut out = vec![0, ALL, 0x2a_aaaa, 0x55_5555];
    for i in 0..23 {
        out.extend([1 << i, ALL ^ (1 << i), ALL >> i, ALL << i & ALL]);
        if level > 1 {
            out.extend((0..i).flat_map(|j| [1 << i | 1 << j, ALL ^ (1 << i | 1 << j)]));
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// FP32 numbers of these exponent fields with these fractions, both signs.
pub fn singles(exponents: impl IntoIterator<Item = u32>, fractions: &[u32]) -> Vec<u32> {
    let mut out = Vec::new();
    for e in exponents {
        for &f in fractions {
            out.extend([e << 23 | f, 1 << 31 | e << 23 | f]);
        }
    }
    out
}

/// Exponent fields where classes, alignment, rounding to FP16 and the borders of FP32 lie.
pub const EXPONENTS: [u32; 44] = [
    0, 1, 2, 3, 11, 22, 23, 24, 25, 26, 63, 64, 78, 79, 100, 101, 102, 103, 104, 111, 112, 113, 114, 124, 125, 126,
    127, 128, 129, 130, 137, 138, 141, 142, 143, 144, 150, 151, 152, 190, 204, 252, 253, 254,
];

/// Zero, infinity and NaNs of both signs.
pub const SPECIALS: [u32; 8] =
    [0, 1 << 31, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0000, 0x7f80_0001, 0xffff_ffff];

/// FP16 numbers: every exponent with fractions of few bits or long runs, both signs; Inf and NaN included.
pub fn halves() -> Vec<u16> {
    let fractions = [0u16, 1, 2, 3, 0x0ff, 0x155, 0x1ff, 0x200, 0x201, 0x2aa, 0x300, 0x3fe, 0x3ff];
    let mut out: Vec<u16> = (0..32u16).flat_map(|e| fractions.map(|f| e << 10 | f)).collect();
    out.extend((0..10).map(|i| 1u16 << i));
    out.sort_unstable();
    out.dedup();
    out.iter().flat_map(|&h| [h, h | 0x8000]).collect()
}

/// SplitMix64: a random word for a seed and a case number, so that a case needs none of those before it.
pub fn random(seed: u64, index: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0xd134_2543_de82_ef95)
        .wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grids_are_as_large_as_they_claim() {
        assert!(fractions(1).len() > 80 && fractions(2).len() > 500);
        assert!(halves().len() > 800);
        let mut e = EXPONENTS.to_vec();
        e.dedup();
        assert_eq!(e.len(), EXPONENTS.len());
    }
}
