//! defmt where the program asks for it, nothing elsewhere.
#![allow(unused_macros, unused_imports)]

macro_rules! info {
    ($($t:tt)*) => {{
        #[cfg(feature = "defmt")]
        defmt::info!($($t)*);
    }};
}
macro_rules! warning {
    ($($t:tt)*) => {{
        #[cfg(feature = "defmt")]
        defmt::warn!($($t)*);
    }};
}
macro_rules! debug {
    ($($t:tt)*) => {{
        #[cfg(feature = "defmt")]
        defmt::debug!($($t)*);
    }};
}
pub(crate) use {debug, info, warning};
