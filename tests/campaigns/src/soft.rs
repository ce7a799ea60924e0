//! The reference: Berkeley SoftFloat 3, round to nearest even, tininess after rounding as the library is built (no exception
//! flag is compared, so it does not matter). Every NaN is made the hardware's one NaN, since payloads are not part of IEEE 754's
//! word on operations.

use softfloat_sys as sf;

/// The hardware's FP32 NaN.
pub const NAN32: u32 = 0x7fc0_0000;
/// The hardware's FP16 NaN.
pub const NAN16: u16 = 0x7e00;

fn single(bits: u32) -> sf::float32_t {
    sf::float32_t { v: bits }
}

fn canonical(x: sf::float32_t) -> u32 {
    if x.v & 0x7fff_ffff > 0x7f80_0000 { NAN32 } else { x.v }
}

/// FP16 to FP32, exact.
pub fn widen(h: u16) -> u32 {
    // SAFETY: a pure function of its argument, but for the library's sticky exception flags, which nothing here reads.
    canonical(unsafe { sf::f16_to_f32(sf::float16_t { v: h }) })
}

/// FP32 to FP16.
pub fn narrow(x: u32) -> u16 {
    // SAFETY: as in `widen`.
    let h = unsafe { sf::f32_to_f16(single(x)) }.v;
    if h & 0x7fff > 0x7c00 { NAN16 } else { h }
}

/// x · y.
pub fn mul(x: u32, y: u32) -> u32 {
    // SAFETY: as in `widen`.
    canonical(unsafe { sf::f32_mul(single(x), single(y)) })
}

/// x + y.
pub fn add(x: u32, y: u32) -> u32 {
    // SAFETY: as in `widen`.
    canonical(unsafe { sf::f32_add(single(x), single(y)) })
}

/// x · y + z, rounded once.
pub fn fused(x: u32, y: u32, z: u32) -> u32 {
    // SAFETY: as in `widen`.
    canonical(unsafe { sf::f32_mulAdd(single(x), single(y), single(z)) })
}

/// x < y; false with a NaN.
pub fn less(x: u32, y: u32) -> bool {
    // SAFETY: as in `widen`.
    unsafe { sf::f32_lt_quiet(single(x), single(y)) }
}

/// x = y; false with a NaN.
pub fn equal(x: u32, y: u32) -> bool {
    // SAFETY: as in `widen`.
    unsafe { sf::f32_eq(single(x), single(y)) }
}

/// Whether FP32 bits are a NaN.
pub fn is_nan(x: u32) -> bool {
    x & 0x7fff_ffff > 0x7f80_0000
}
