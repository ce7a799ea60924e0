//! One source, several instruction sets: loops that the compiler vectorises are compiled once per level and chosen at run time.
//!
//! The bits do not depend on the level: Rust never contracts a multiplication and an addition into a fused one, and no loop
//! here reorders additions.

/// Vector instructions that the processor offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Whatever the target has at compile time.
    Base,
    /// 256-bit vectors.
    Avx2,
    /// 512-bit vectors.
    Avx512,
}

impl Level {
    /// The widest level of this processor.
    #[inline]
    pub fn best() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                return Level::Avx512;
            }
            if is_x86_feature_detected!("avx2") {
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
/// A level above what the processor has falls back to the best it has.
macro_rules! leveled {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name(level: $crate::model::simd::Level, $($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($arg: $ty),*) {
                    body($($arg),*)
                }
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($arg: $ty),*) {
                    body($($arg),*)
                }
                let best = $crate::model::simd::Level::best();
                if level == $crate::model::simd::Level::Avx512 && best == level {
                    // SAFETY: the processor has just been found to have these features.
                    #[allow(unsafe_code)]
                    return unsafe { avx512($($arg),*) };
                }
                if level != $crate::model::simd::Level::Base && best != $crate::model::simd::Level::Base {
                    // SAFETY: both levels above `Base` imply AVX2.
                    #[allow(unsafe_code)]
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}
pub(crate) use leveled;
