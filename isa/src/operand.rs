//! Element addresses, strides and the operands of instructions.

/// A linear element address in `hmem` or `smem`: bit 19 is the plane, bits 18:0 the offset within it.
///
/// The element lies in bank `offset mod N` of its plane. Arithmetic on addresses wraps at 20 bits; an access beyond the
/// end of the plane traps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Addr(pub u32);

impl Addr {
    /// Width of an address in bits.
    pub const BITS: u32 = 20;
    /// All address bits.
    pub const MASK: u32 = (1 << Addr::BITS) - 1;
    /// The bit that names the plane.
    pub const PLANE_BIT: u32 = 1 << 19;

    /// The address of `offset` in `plane` (0 or 1).
    pub const fn new(plane: u32, offset: u32) -> Addr {
        Addr(((plane & 1) << 19) | (offset & (Addr::PLANE_BIT - 1)))
    }
    /// The plane, 0 or 1.
    pub const fn plane(self) -> u32 {
        (self.0 >> 19) & 1
    }
    /// The offset within the plane.
    pub const fn offset(self) -> u32 {
        self.0 & (Addr::PLANE_BIT - 1)
    }
    /// This address moved by `delta` elements, wrapping at 20 bits.
    pub const fn offset_by(self, delta: i32) -> Addr {
        Addr(self.0.wrapping_add(delta as u32) & Addr::MASK)
    }
}

/// An address as an instruction holds it: an immediate base plus an address register (0: none).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Base {
    /// Immediate part, 20 bits.
    pub addr: Addr,
    /// Address register that the fetcher adds, `0..16`; register 0 is zero.
    pub areg: u8,
}

impl Base {
    /// An immediate address.
    pub const fn at(addr: Addr) -> Base {
        Base { addr, areg: 0 }
    }
    /// An immediate address plus address register `areg`.
    pub const fn indexed(addr: Addr, areg: u8) -> Base {
        Base { addr, areg }
    }
    /// The low 24 bits of an address word.
    pub const fn to_bits(self) -> u32 {
        (self.addr.0 & Addr::MASK) | ((self.areg as u32 & 0xf) << 20)
    }
    /// Reads the low 24 bits of an address word.
    pub const fn from_bits(w: u32) -> Base {
        Base { addr: Addr(w & Addr::MASK), areg: ((w >> 20) & 0xf) as u8 }
    }
}

/// Steps of a two-dimensional view, in elements. Element (r, c) of a view lies at `base + r*outer + c*inner`.
///
/// `inner` is the direction along the lanes. It must be ≡ 1 (mod N), which is free of bank conflicts at every alignment, or 0
/// (a broadcast; vector-engine reads only). Anything else traps with [`crate::regs::Trap::Stride`]. `outer` is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Strides {
    /// Step between neighbouring lanes.
    pub inner: i16,
    /// Step between rows (the slow axis).
    pub outer: i16,
}

impl Strides {
    /// Packs into a stride word: inner in bits 15:0, outer in bits 31:16.
    pub const fn to_bits(self) -> u32 {
        (self.inner as u16 as u32) | ((self.outer as u16 as u32) << 16)
    }
    /// Unpacks a stride word.
    pub const fn from_bits(w: u32) -> Strides {
        Strides { inner: w as u16 as i16, outer: (w >> 16) as u16 as i16 }
    }
}

/// A strided two-dimensional view of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct View {
    /// Where element (0, 0) lies.
    pub base: Base,
    /// Steps between elements.
    pub strides: Strides,
}

impl View {
    /// A view from its parts.
    pub const fn new(base: Base, inner: i16, outer: i16) -> View {
        View { base, strides: Strides { inner, outer } }
    }
}

/// Sign and scale modifiers of a vector operand, applied in the order abs, neg (and, for `hmem`, scale).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Modifiers {
    /// Flip bit 31 of the (FP32) operand. Bit 24 of the address word.
    pub neg: bool,
    /// Multiply an `hmem` operand by 2^EXP (register [`crate::regs::EXP`]) as it is loaded; exact. Bit 25.
    pub scaled: bool,
    /// Clear bit 31 of the operand before `neg`. Bit 26.
    pub abs: bool,
}

impl Modifiers {
    pub(crate) const fn to_bits(self) -> u32 {
        ((self.neg as u32) << 24) | ((self.scaled as u32) << 25) | ((self.abs as u32) << 26)
    }
    pub(crate) const fn from_bits(w: u32) -> Modifiers {
        Modifiers { neg: w >> 24 & 1 == 1, scaled: w >> 25 & 1 == 1, abs: w >> 26 & 1 == 1 }
    }
}

/// A source operand of the vector engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// FP16 elements of `hmem`, converted to FP32 (exact; any NaN becomes [`crate::NAN32`]).
    Hmem(View, Modifiers),
    /// 32-bit elements of `smem`, as they are. `scaled` must be false.
    Smem(View, Modifiers),
    /// The same 32 bits for every element.
    Imm(u32),
    /// A scalar register, broadcast. `scaled` must be false.
    Sreg(u8, Modifiers),
}

impl Source {
    /// An FP32 constant.
    pub const fn f32(v: f32) -> Source {
        Source::Imm(v.to_bits())
    }
    /// −0: the identity of IEEE addition, for an operand that is not used.
    pub const NEG_ZERO: Source = Source::Imm(0x8000_0000);
    /// 1.0: the identity of multiplication.
    pub const ONE: Source = Source::Imm(0x3f80_0000);
}

/// Where a vector instruction writes its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dest {
    /// Rounded to FP16 (nearest even) into `hmem`.
    Hmem(View),
    /// The 32 bits as they are into `smem`.
    Smem(View),
    /// Into a scalar register; the instruction must have one row and one column.
    Sreg(u8),
    /// Nowhere (only the FP16 copy is wanted).
    None,
}
