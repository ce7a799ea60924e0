//! One source, several instruction sets: loops that the compiler vectorises are compiled once per level and chosen at run time.
//!
//! The bits do not depend on the level: Rust never contracts a multiplication and an addition into a fused one, and no loop
//! here reorders additions. Where a product is exact (as that of two FP16 numbers in FP32) a fused multiply-add rounds the
//! same sum once, too, so [`mul_add`] may be either.

use std::sync::LazyLock;

/// Vector instructions that the processor offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Whatever the target has at compile time.
    Base,
    /// 256-bit vectors, with fused multiply-add and conversions of FP16.
    Avx2,
    /// 512-bit vectors, with the same.
    Avx512,
}

impl Level {
    /// The widest level of this processor.
    #[inline]
    pub fn best() -> Level {
        static BEST: LazyLock<Level> = LazyLock::new(Level::detect);
        *BEST
    }

    fn detect() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                return Level::Avx512;
            }
            if avx2 {
                return Level::Avx2;
            }
        }
        Level::Base
    }

    /// The levels that this processor can run, narrowest first.
    pub fn available() -> Vec<Level> {
        let all = [Level::Base, Level::Avx2, Level::Avx512];
        let best = all.iter().position(|&l| l == Level::best()).unwrap_or(0);
        all[..=best].to_vec()
    }
}

/// Compiles a function's body once per [`Level`]; the caller passes the level first.
///
/// A level above what the processor has falls back to the best it has. `fn<HW> name(…)` names a constant that the body can
/// ask: whether fused multiply-add and conversions of FP16 are instructions at this level.
macro_rules! leveled {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($args:tt)*) $body:block) => {
        $crate::model::simd::leveled! { $(#[$meta])* $vis fn<_HW> $name($($args)*) $body }
    };
    ($(#[$meta:meta])* $vis:vis fn<$hw:ident> $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        #[inline]
        $vis fn $name(level: $crate::model::simd::Level, $($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body<const $hw: bool>($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) {
                    body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma,f16c")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) {
                    body::<true>($($arg),*)
                }
                let best = $crate::model::simd::Level::best();
                if level == $crate::model::simd::Level::Avx512 && best == level {
                    // SAFETY: the processor has just been found to have these features.
                    #[allow(unsafe_code)]
                    return unsafe { avx512($($arg),*) };
                }
                if level != $crate::model::simd::Level::Base && best != $crate::model::simd::Level::Base {
                    // SAFETY: both levels above `Base` imply AVX2, FMA and F16C.
                    #[allow(unsafe_code)]
                    return unsafe { avx2($($arg),*) };
                }
            }
            body::<false>($($arg),*)
        }
    };
}
pub(crate) use leveled;

/// `a·b + c` where `a·b` is exact: fused where that is an instruction, for then it is the same.
#[inline(always)]
pub fn mul_add<const HW: bool>(a: f32, b: f32, c: f32) -> f32 {
    if HW { a.mul_add(b, c) } else { a * b + c }
}

/// Elements that [`widen8`] and [`narrow8`] take.
pub const EIGHT: usize = 8;

/// Converts slices of one length: eight elements at a time by `eight` where `HW` of [`leveled`] is true, the rest by `one`.
#[inline(always)]
pub fn convert<const HW: bool, A: Copy, B>(
    from: &[A],
    to: &mut [B],
    eight: impl Fn(&[A; EIGHT]) -> [B; EIGHT],
    one: impl Fn(A) -> B,
) {
    let mut done = 0;
    if HW {
        let (eights, into) = (from.as_chunks::<EIGHT>().0, to.as_chunks_mut::<EIGHT>().0);
        for (t, f) in into.iter_mut().zip(eights) {
            *t = eight(f);
        }
        done = EIGHT * eights.len();
    }
    for (t, &f) in to[done..].iter_mut().zip(&from[done..]) {
        *t = one(f);
    }
}

/// Eight FP16 numbers as FP32, exactly; a NaN becomes some NaN. Only where `HW` of [`leveled`] is true.
#[inline(always)]
pub fn widen8(from: &[u16; EIGHT]) -> [f32; EIGHT] {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_loadu_si128, _mm256_cvtph_ps, _mm256_storeu_ps};
        let mut to = [0.0; EIGHT];
        // SAFETY: callers run where `leveled` has found F16C; both arrays are as large as the vectors.
        #[allow(unsafe_code)]
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast())));
        }
        to
    }
    #[cfg(not(target_arch = "x86_64"))]
    from.map(|h| f32::from_bits(super::float::widen(h)))
}

/// Eight FP32 numbers as FP16, nearest even; a NaN becomes some NaN. Only where `HW` of [`leveled`] is true.
#[inline(always)]
pub fn narrow8(from: &[f32; EIGHT]) -> [u16; EIGHT] {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_FROUND_TO_NEAREST_INT, _mm_storeu_si128, _mm256_cvtps_ph, _mm256_loadu_ps};
        let mut to = [0; EIGHT];
        // SAFETY: as in `widen8`.
        #[allow(unsafe_code)]
        unsafe {
            let halves = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(from.as_ptr()));
            _mm_storeu_si128(to.as_mut_ptr().cast(), halves);
        }
        to
    }
    #[cfg(not(target_arch = "x86_64"))]
    from.map(|v| super::float::narrow(v.to_bits()))
}

/// Rows and columns exchanged.
#[inline(always)]
pub fn transpose8(m: &[[u16; EIGHT]; EIGHT]) -> [[u16; EIGHT]; EIGHT] {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        let mut to = [[0; EIGHT]; EIGHT];
        // SAFETY: every x86-64 has SSE2; rows are as large as the vectors.
        #[allow(unsafe_code)]
        unsafe {
            let row = |i: usize| _mm_loadu_si128(m[i].as_ptr().cast());
            // Pairs of rows, then fours, then all eight, each lane beside its partner.
            let pair = |i: usize| (_mm_unpacklo_epi16(row(i), row(i + 1)), _mm_unpackhi_epi16(row(i), row(i + 1)));
            let four = |i: usize| {
                let (a, b) = (pair(i), pair(i + 2));
                [
                    _mm_unpacklo_epi32(a.0, b.0),
                    _mm_unpackhi_epi32(a.0, b.0),
                    _mm_unpacklo_epi32(a.1, b.1),
                    _mm_unpackhi_epi32(a.1, b.1),
                ]
            };
            for (i, (low, high)) in four(0).into_iter().zip(four(4)).enumerate() {
                _mm_storeu_si128(to[2 * i].as_mut_ptr().cast(), _mm_unpacklo_epi64(low, high));
                _mm_storeu_si128(to[2 * i + 1].as_mut_ptr().cast(), _mm_unpackhi_epi64(low, high));
            }
        }
        to
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::array::from_fn(|i| std::array::from_fn(|j| m[j][i]))
}
