//! Random numbers of every class, and FP16 by integer arithmetic: the references of the checks.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }

    /// A binary32 pattern: mostly anything, often an edge of the format, or few significant bits (for ties).
    pub fn single(&mut self) -> u32 {
        const EDGES: [u32; 16] = [
            0,
            1,
            2,
            0x7f_fffe,
            0x7f_ffff,
            0x80_0000,
            0x80_0001,
            0x3f80_0000,
            0x3f7f_ffff,
            0x3f80_0001,
            0x7f7f_ffff,
            0x7f7f_fffe,
            0x7f80_0000,
            0x7fc0_0000,
            0x7f80_0001,
            0x7f00_0000,
        ];
        let r = self.bits();
        let sign = (r as u32) & 0x8000_0000;
        match (r >> 32) % 8 {
            0 => EDGES[self.below(16) as usize] | sign,
            1 => sign | (self.bits() as u32 & 0x7f_ffff) >> self.below(23),
            2 => sign | ((self.below(254) as u32 + 1) << 23) | (0x7f_ffff & (0x7f_ffff << self.below(24))),
            3 => sign | ((self.below(254) as u32 + 1) << 23) | (1 << self.below(23)),
            4 => sign | ((118 + self.below(20) as u32) << 23) | (self.bits() as u32 & 0x7f_ffff),
            _ => self.bits() as u32,
        }
    }

    /// A binary16 pattern, with every class.
    pub fn half(&mut self) -> u16 {
        const EDGES: [u16; 10] = [0, 1, 0x3ff, 0x400, 0x401, 0x3c00, 0x7bff, 0x7c00, 0x7e00, 0x3bff];
        let r = self.bits() as u16;
        match self.below(16) {
            0 => EDGES[self.below(10) as usize] | (r & 0x8000),
            1 => r & 0x83ff,
            2 => (r & 0x8000) | 0x3800 | (r & 0x7ff),
            _ => r,
        }
    }

    /// A finite binary16 pattern of moderate size.
    pub fn moderate_half(&mut self) -> u16 {
        let r = self.bits() as u16;
        (r & 0x83ff) | ((8 + self.below(14) as u16) << 10)
    }
}

/// The one NaN for all NaNs.
pub fn canonical(x: f32) -> u32 {
    if x.is_nan() { 0x7fc0_0000 } else { x.to_bits() }
}

/// FP16 to FP32 by integer arithmetic alone.
pub fn widen(h: u16) -> f32 {
    let sign = if h & 0x8000 != 0 { -1.0f32 } else { 1.0 };
    let (e, f) = ((h >> 10) & 31, (h & 0x3ff) as f32);
    sign * match (e, h & 0x3ff) {
        (31, 0) => f32::INFINITY,
        (31, _) => return f32::NAN,
        (0, _) => f * 2f32.powi(-24),
        _ => (1024.0 + f) * 2f32.powi(e as i32 - 25),
    }
}

/// FP32 to FP16 by counting: the largest of the finite patterns not above `x`, then the nearer one, then the even one.
pub fn narrow(x: f32) -> u16 {
    if x.is_nan() {
        return 0x7e00;
    }
    let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
    let magnitude = x.abs() as f64;
    if magnitude >= 65520.0 {
        return sign | 0x7c00;
    }
    let (mut low, mut high) = (0u16, 0x7c00u16);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if widen(middle) as f64 <= magnitude { low = middle } else { high = middle }
    }
    let next = if low == 0x7bff { 65536.0 } else { widen(low + 1) as f64 };
    let (down, up) = (magnitude - widen(low) as f64, next - magnitude);
    sign | if up < down || (up == down && low & 1 == 1) { low + 1 } else { low }
}
