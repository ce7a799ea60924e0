//! FP16 and FP32: conversions, rounding, the one NaN.

use systole_isa::{NAN16, NAN32};

use super::simd::{EIGHT, convert, leveled, narrow8, widen8};

const SIGN32: u32 = 0x8000_0000;
const INF32: u32 = 0x7f80_0000;
const INF16: u16 = 0x7c00;

/// FP16 to FP32 bits: exact, and any NaN becomes [`NAN32`].
#[inline(always)]
pub fn widen(h: u16) -> u32 {
    let magnitude = (h & 0x7fff) as u32;
    let sign = ((h & 0x8000) as u32) << 16;
    // The FP16 exponent and fraction in FP32's places are the value times 2^-112; FP32 subnormals carry FP16's.
    let scaled = f32::from_bits(magnitude << 13) * f32::from_bits((112 + 127) << 23);
    let finite = scaled.to_bits() | sign;
    let special = if magnitude > INF16 as u32 { NAN32 } else { INF32 | sign };
    if magnitude >= INF16 as u32 { special } else { finite }
}

/// FP32 bits to FP16, nearest even; any NaN becomes [`NAN16`].
#[inline(always)]
pub fn narrow(bits: u32) -> u16 {
    let magnitude = bits & !SIGN32;
    let sign = bits >> 16 & 0x8000;
    // Above 2^-14: rebase the exponent and round by adding half of what is cut off (a little less where that ties to even).
    let odd = magnitude >> 13 & 1;
    let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + odd) >> 13;
    // Below: the adder aligns to 2^-24, the unit of FP16's subnormals, and rounds.
    let tiny = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    let small = if magnitude < 0x3880_0000 { tiny } else { normal };
    let finite = (if magnitude >= 0x4780_0000 { INF16 as u32 } else { small }) | sign;
    if magnitude > INF32 { NAN16 } else { finite as u16 }
}

/// The bits, or [`NAN32`] for any NaN.
#[inline(always)]
pub fn canonical(v: f32) -> u32 {
    if v.is_nan() { NAN32 } else { v.to_bits() }
}

/// Whether FP16 bits are an Inf or a NaN.
#[inline(always)]
pub fn half_nonfinite(h: u16) -> bool {
    h & INF16 == INF16
}

/// Whether FP32 bits are an Inf or a NaN.
#[inline(always)]
pub fn single_nonfinite(bits: u32) -> bool {
    bits & INF32 == INF32
}

/// FP32 bits times 2^`exponent`; Inf and NaN keep their bits.
#[inline(always)]
pub fn scale(bits: u32, power: f32) -> u32 {
    if single_nonfinite(bits) { bits } else { (f32::from_bits(bits) * power).to_bits() }
}

/// 2^`exponent`, exactly, subnormal where need be.
pub fn power_of_two(exponent: i8) -> f32 {
    let e = i32::from(exponent);
    if e >= -126 { f32::from_bits(((e + 127) as u32) << 23) } else { f32::from_bits(1 << (e + 149)) }
}

leveled! {
    /// [`widen`] over rows of `cols` elements, of which the first is `half[at]`, until `to` is full: a row lies `outer` further
    /// on than the one before, an element `inner`.
    pub fn<HW> widen_rows(half: &[u16], at: usize, outer: i32, inner: i32, cols: usize, to: &mut [u32]) {
        for (r, row) in to.chunks_mut(cols).enumerate() {
            let at = at.wrapping_add_signed(r as isize * outer as isize);
            match inner {
                1 => {
                    let from = &half[at..at + row.len()];
                    convert::<HW, _, _>(from, row, |f| widen8(f).map(canonical), widen);
                }
                0 => row.fill(widen(half[at])),
                _ => {
                    for (c, t) in row.iter_mut().enumerate() {
                        *t = widen(half[at.wrapping_add_signed(c as isize * inner as isize)]);
                    }
                }
            }
        }
    }
}

/// [`narrow`] over slices of one length, for bodies of [`leveled`].
#[inline(always)]
pub fn narrow_each<const HW: bool>(from: &[u32], to: &mut [u16]) {
    let one_nan = |h| if h & 0x7fff > INF16 { NAN16 } else { h };
    convert::<HW, _, _>(from, to, |f| narrow8(&f.map(f32::from_bits)).map(one_nan), narrow);
}

leveled! {
    /// [`narrow`] over slices of one length.
    pub fn<HW> narrow_all(from: &[u32], to: &mut [u16]) {
        narrow_each::<HW>(from, to);
    }
}

leveled! {
    /// Bytes times `power`, rounded to FP16; slices of one length.
    pub fn<HW> narrow_bytes(from: &[u8], power: f32, to: &mut [u16]) {
        let scaled = |b| f32::from(b) * power;
        // (a byte times a power of two is no NaN)
        convert::<HW, _, _>(from, to, |f: &[u8; EIGHT]| narrow8(&f.map(scaled)), |b| narrow(scaled(b).to_bits()));
    }
}

/// The first Inf or NaN of FP16 bits.
#[inline(always)]
pub fn first_half_nonfinite(values: &[u16]) -> Option<usize> {
    // Almost always there is none, and that is quick to tell.
    let any = values.iter().fold(false, |any, &h| any | half_nonfinite(h));
    if any { values.iter().position(|&h| half_nonfinite(h)) } else { None }
}

/// The first Inf or NaN of FP32 bits.
#[inline(always)]
pub fn first_single_nonfinite(values: &[u32]) -> Option<usize> {
    let any = values.iter().fold(false, |any, &v| any | single_nonfinite(v));
    if any { values.iter().position(|&v| single_nonfinite(v)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `narrow` must give, from the definition: the nearest of all FP16 values, ties to the even one, in exact arithmetic.
    fn nearest(bits: u32) -> u16 {
        let v = f32::from_bits(bits);
        if v.is_nan() {
            return NAN16;
        }
        let sign = (bits >> 16 & 0x8000) as u16;
        let a = f64::from(v.abs());
        let value = |h: u16| {
            if h == INF16 { 65536.0 } else { half::f16::from_bits(h).to_f64() }
        };
        let (mut low, mut high) = (0u16, INF16);
        while high - low > 1 {
            let mid = low.midpoint(high);
            if value(mid) <= a { low = mid } else { high = mid }
        }
        let (down, up) = (a - value(low), value(high) - a);
        let up_wins = up < down || up == down && high % 2 == 0;
        sign | if up_wins { high } else { low }
    }

    #[test]
    fn widening_is_exact_for_every_half() {
        for h in 0..=u16::MAX {
            let want = half::f16::from_bits(h).to_f32();
            let want = if want.is_nan() { NAN32 } else { want.to_bits() };
            assert_eq!(widen(h), want, "{h:04x}");
        }
    }

    #[test]
    fn narrowing_undoes_widening() {
        for h in 0..=u16::MAX {
            let want = if h & 0x7fff > INF16 { NAN16 } else { h };
            assert_eq!(narrow(widen(h)), want, "{h:04x}");
        }
    }

    #[test]
    fn narrowing_rounds_to_nearest_even_at_every_boundary() {
        // Between every two neighbouring halves lies one tie; its neighbours fall to either side.
        for h in 0..INF16 {
            let low = f64::from(f32::from_bits(widen(h)));
            let high = if h + 1 == INF16 { 65536.0 } else { f64::from(f32::from_bits(widen(h + 1))) };
            let tie = ((low + high) / 2.0) as f32;
            for bits in [tie.to_bits() - 1, tie.to_bits(), tie.to_bits() + 1] {
                for bits in [bits, bits | SIGN32] {
                    assert_eq!(narrow(bits), nearest(bits), "{bits:08x}");
                }
            }
        }
        for bits in [0, 1, 0x007f_ffff, INF32 - 1, INF32, INF32 + 1, NAN32, 0x7fff_ffff] {
            assert_eq!(narrow(bits), nearest(bits), "{bits:08x}");
            assert_eq!(narrow(bits | SIGN32), nearest(bits | SIGN32), "{bits:08x}");
        }
    }

    #[test]
    fn slices_agree_with_scalars_at_every_level() {
        let halves: Vec<u16> = (0..=u16::MAX).collect();
        // A stride that is prime to 2^32 walks through all exponents.
        let singles: Vec<u32> = (0..1u32 << 18).map(|i| i.wrapping_mul(0x9e37_79b1)).collect();
        for level in crate::model::simd::Level::available() {
            let mut wide = vec![0; halves.len()];
            widen_rows(level, &halves, 0, 0, 1, halves.len(), &mut wide);
            assert!(halves.iter().zip(&wide).all(|(&h, &w)| widen(h) == w), "{level:?}");
            let mut small = vec![0; singles.len()];
            narrow_all(level, &singles, &mut small);
            assert!(singles.iter().zip(&small).all(|(&s, &n)| nearest(s) == n), "{level:?}");
        }
    }

    #[test]
    fn powers_of_two_are_exact() {
        for e in i8::MIN..=i8::MAX {
            assert_eq!(f64::from(power_of_two(e)), 2f64.powi(e.into()));
        }
    }
}
