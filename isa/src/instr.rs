//! Instructions and their encoding in 32-bit words.
//!
//! Control instructions take [`CONTROL_WORDS`] words, matrix and vector instructions [`ENGINE_WORDS`]. Word 0 is always
//!
//! ```text
//!  31          19 18   16 15   12 11    8 7       0
//! +--------------+-------+-------+-------+---------+
//! | per opcode   | flag  |wait_v |wait_m | opcode  |
//! +--------------+-------+-------+-------+---------+
//! ```
//!
//! `wait_m = d > 0`: do not start before the d-th most recently *issued* matrix instruction (1: the last one) has written its
//! last result; `wait_v` likewise for vector instructions. Distances count instructions before this one in the order in which
//! the fetcher met them. Both engines complete in order. Within one engine writes after reads and writes after writes are
//! safe without a wait; a read after a write, and everything across engines, needs one.
//!
//! `flag = f > 0`: a non-finite value written by this instruction, as written (FP16 or FP32, to memory or to a scalar
//! register), sets sticky flag `f − 1`. The flag keeps the program address and the element address of its first offender.
//! Within a vector instruction that is the first element in the order of rows and columns (destination before copy); within
//! a GEMM the first in the order in which blocks are written: column groups, row blocks, column tiles, rows, lanes.

use crate::operand::{Base, Dest, Modifiers, Source, Strides, View};

/// Words of a control instruction.
pub const CONTROL_WORDS: usize = 2;
/// Words of a matrix or vector instruction.
pub const ENGINE_WORDS: usize = 12;

/// Opcode values (bits 7:0 of word 0).
pub mod op {
    #![allow(missing_docs)]
    pub const NOP: u32 = 0x00;
    pub const END: u32 = 0x01;
    pub const LOOP: u32 = 0x02;
    pub const END_LOOP: u32 = 0x03;
    pub const CALL: u32 = 0x04;
    pub const RET: u32 = 0x05;
    pub const ASET: u32 = 0x06;
    pub const AADD: u32 = 0x07;
    pub const FENCE: u32 = 0x08;
    pub const GEMM: u32 = 0x40;
    /// Vector opcodes are `VECTOR | VectorOp`.
    pub const VECTOR: u32 = 0x80;
}

/// What an engine instruction waits for and which flag it sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Sync {
    /// Distance (1..=15) of the matrix instruction to wait for; 0: none.
    pub wait_m: u8,
    /// Distance (1..=15) of the vector instruction to wait for; 0: none.
    pub wait_v: u8,
    /// Sticky flag (0..4) that a non-finite written value sets.
    pub flag: Option<u8>,
}

impl Sync {
    const fn to_bits(self) -> u32 {
        let f = match self.flag {
            Some(f) => f as u32 + 1,
            None => 0,
        };
        ((self.wait_m as u32 & 15) << 8) | ((self.wait_v as u32 & 15) << 12) | ((f & 7) << 16)
    }
    const fn from_bits(w: u32) -> Result<Sync, DecodeError> {
        let f = w >> 16 & 7;
        if f > 4 {
            return Err(DecodeError::Flag(f as u8));
        }
        Ok(Sync {
            wait_m: (w >> 8 & 15) as u8,
            wait_v: (w >> 12 & 15) as u8,
            flag: if f == 0 { None } else { Some(f as u8 - 1) },
        })
    }
}

/// Where a GEMM's accumulators start. Bits 20:19 of word 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Init {
    /// +0.
    Zero,
    /// FP16 `bias[n]`, contiguous in `hmem` (one per column).
    BiasPerColumn(Base),
    /// FP16 `bias[m]`, contiguous in `hmem` (one per streamed row).
    BiasPerRow(Base),
    /// What an earlier GEMM of the same M, n, blocks and `acc_base` kept there (same needs as [`Output::Keep`]).
    Accumulators,
}

/// Where a GEMM's results go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// They stay in the accumulator memory at `acc_base`, without any epilogue (needs M ≤ `m_block` and column tiles ≤
    /// `n_group`). A product that is written leaves nothing defined there.
    Keep,
    /// FP16 (round to nearest even) into `hmem`.
    Half(View),
    /// FP32 into `smem`.
    Single(View),
}

/// What happens to the ReLU mask, one bit per element in mask memory. The view's strides are those of the output; the mask's
/// base is its own. Mask addresses have no plane: their bit 19 means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mask {
    /// Mask memory is not touched.
    None,
    /// Store `written value > 0`.
    Write(Base),
    /// Write +0 where the stored bit is clear.
    Apply(Base),
}

/// `Out[m, n] = epilogue(init + Σ_k X[m, k] · W[k, n])`, k ascending, one FP32 rounding per addition.
///
/// X is streamed, W is stationary. Views: X has rows m and lanes k; W has rows k and lanes n; Out has rows m and lanes n.
/// Either may be read transposed by its strides. Sizes are never zero.
///
/// Words: 0 header (20:19 init, 21 write, 22 FP32 out, 23 ReLU, 24 mask write, 25 mask apply) · 1 `m | k<<16` ·
/// 2 `n | m_block<<16 | n_group<<24` (256 is encoded as 0) · 3, 4 X address, strides · 5, 6 W · 7, 8 Out · 9 bias address ·
/// 10 mask address · 11 `acc_base`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gemm {
    /// Waits and flag.
    pub sync: Sync,
    /// Streamed rows, 1..=65535.
    pub m: u16,
    /// Reduction length, 1..=65535.
    pub k: u16,
    /// Stationary columns, 1..=65535.
    pub n: u16,
    /// Streamed rows held in the accumulators at once, 1..=256.
    pub m_block: u16,
    /// Column tiles (of N columns) that share the accumulators, 1..=256; `m_block · n_group + acc_base ≤ acc_rows`.
    pub n_group: u16,
    /// First row of accumulator memory that this instruction uses.
    pub acc_base: u8,
    /// Streamed operand in `hmem`: outer stride over m, inner over k.
    pub x: View,
    /// Stationary operand in `hmem`: outer stride over k, inner over n.
    pub w: View,
    /// Start value.
    pub init: Init,
    /// Destination.
    pub out: Output,
    /// ReLU on the FP32 sum: values not above zero become +0, NaN stays.
    pub relu: bool,
    /// ReLU mask.
    pub mask: Mask,
}

/// Vector operations. All operands are 32-bit per element after loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum VectorOp {
    /// `(x·y) + z`, each rounded to FP32 nearest even, full subnormals.
    Mad = 0,
    /// Larger of x, y; +0 > −0; NaN if either is NaN.
    Max = 1,
    /// Smaller of x, y; −0 < +0; NaN if either is NaN.
    Min = 2,
    /// y where bit 31 of x is set, else z. Bits pass unchanged.
    SelectNegative = 3,
    /// y where x > 0 as FP32 (false for NaN), else z. Bits pass unchanged.
    SelectPositive = 4,
    /// 1.0 where x ≥ y as FP32, else +0.
    GreaterEqual = 5,
    /// 1.0 where x = y as FP32 (−0 = +0, NaN equals nothing), else +0.
    Equal = 6,
    /// x + y modulo 2^32.
    IntAdd = 7,
    /// x − y modulo 2^32.
    IntSub = 8,
    /// Bitwise and.
    And = 9,
    /// Bitwise or.
    Or = 10,
    /// Bitwise exclusive or.
    Xor = 11,
    /// x << 23.
    Shl23 = 12,
    /// x >> 23, zeros shifted in.
    Shr23 = 13,
    /// x >> 1, zeros shifted in.
    Shr1 = 14,
}

impl VectorOp {
    /// All operations, in encoding order.
    pub const ALL: [VectorOp; 15] = [
        VectorOp::Mad,
        VectorOp::Max,
        VectorOp::Min,
        VectorOp::SelectNegative,
        VectorOp::SelectPositive,
        VectorOp::GreaterEqual,
        VectorOp::Equal,
        VectorOp::IntAdd,
        VectorOp::IntSub,
        VectorOp::And,
        VectorOp::Or,
        VectorOp::Xor,
        VectorOp::Shl23,
        VectorOp::Shr23,
        VectorOp::Shr1,
    ];
}

/// One vector instruction: for every row r and column c, `d[r, c] = op(x[r, c], y[r, c], z[r, c])`.
///
/// Elements are produced rows outer, columns inner, V columns at a time. With `recurrent`, row r + 1 is read only after row r
/// is wholly written: a destination with outer stride 0 that is also a source then accumulates over rows in ascending order
/// (this is how every reduction is made). Without it, reading what an earlier row of the same instruction wrote is undefined.
/// Reading and writing the same element at the same (r, c) is always fine; reading at one column what another column of the
/// same row writes (a shift in place, or a broadcast of an element that the row overwrites) is undefined.
///
/// Words: 0 header (20:19 x kind, 22:21 y kind, 24:23 z kind, 26:25 d kind, 27 copy, 28 recurrent; kinds: 0 hmem, 1 smem,
/// 2 immediate — for d: none — 3 scalar register) · 1 `rows | cols<<16` · 2, 3 x address/immediate, strides · 4, 5 y ·
/// 6, 7 z · 8, 9 d · 10, 11 FP16 copy (always `hmem`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vector {
    /// Waits and flag.
    pub sync: Sync,
    /// Operation.
    pub op: VectorOp,
    /// Rows (slow axis), 1..=65535.
    pub rows: u16,
    /// Columns (along the lanes), 1..=65535.
    pub cols: u16,
    /// First source.
    pub x: Source,
    /// Second source.
    pub y: Source,
    /// Third source.
    pub z: Source,
    /// Destination.
    pub d: Dest,
    /// A second destination: the same result rounded to FP16 into `hmem`.
    pub copy: Option<View>,
    /// Row r + 1 waits for row r's writes.
    pub recurrent: bool,
}

/// Control instructions, executed by the fetcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Control {
    /// Does nothing.
    Nop,
    /// End of a segment: it is complete once both engines have finished what it issued.
    End,
    /// Repeat what follows, up to the matching [`Control::EndLoop`], `count` times (≥ 1).
    Loop(u32),
    /// End of a loop body.
    EndLoop,
    /// Continue at a word address of program memory; [`Control::Ret`] comes back.
    Call(u32),
    /// Return from a call.
    Ret,
    /// Address register `.0` := `.1` (20 bits).
    ASet(u8, u32),
    /// Address register `.0` += `.1` (wraps at 20 bits).
    AAdd(u8, i32),
    /// Issue nothing further until both engines are idle.
    Fence,
}

/// Any instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant)]
pub enum Instr {
    /// Executed by the fetcher.
    Control(Control),
    /// Executed by the matrix engine.
    Gemm(Gemm),
    /// Executed by the vector engine.
    Vector(Vector),
}

/// Why words are not an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Unknown opcode.
    Opcode(u8),
    /// Fewer words than the instruction needs.
    Truncated,
    /// Flag selector above 4.
    Flag(u8),
    /// A size of zero.
    ZeroSize,
    /// A reserved bit or an impossible combination.
    Reserved,
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            DecodeError::Opcode(o) => write!(f, "unknown opcode {o:#04x}"),
            DecodeError::Truncated => write!(f, "instruction is cut off by the end of the program"),
            DecodeError::Flag(x) => write!(f, "flag selector {x} is above 4"),
            DecodeError::ZeroSize => write!(f, "a size of the instruction is zero"),
            DecodeError::Reserved => write!(f, "reserved bits are set, or the fields contradict each other"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Encoded words of one instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    words: [u32; ENGINE_WORDS],
    len: usize,
}

impl core::ops::Deref for Words {
    type Target = [u32];
    fn deref(&self) -> &[u32] {
        &self.words[..self.len]
    }
}

const fn enc256(v: u16) -> u32 {
    v as u32 & 0xff
}
/// A size of 1 to 256 in the low byte of a field, where 0 is 256.
pub const fn dec256(v: u32) -> u16 {
    let b = (v & 0xff) as u16;
    if b == 0 { 256 } else { b }
}

fn put_view(w: &mut [u32; ENGINE_WORDS], i: usize, v: View) {
    w[i] |= v.base.to_bits();
    w[i + 1] = v.strides.to_bits();
}
fn get_view(w: &[u32], i: usize) -> View {
    View { base: Base::from_bits(w[i]), strides: Strides::from_bits(w[i + 1]) }
}

impl Control {
    fn words(&self) -> (u32, u32) {
        match *self {
            Control::Nop => (op::NOP, 0),
            Control::End => (op::END, 0),
            Control::Loop(n) => (op::LOOP, n),
            Control::EndLoop => (op::END_LOOP, 0),
            Control::Call(a) => (op::CALL, a),
            Control::Ret => (op::RET, 0),
            Control::ASet(r, v) => (op::ASET | (r as u32 & 15) << 8, v & 0xf_ffff),
            Control::AAdd(r, v) => (op::AADD | (r as u32 & 15) << 8, v as u32 & 0xf_ffff),
            Control::Fence => (op::FENCE, 0),
        }
    }
    fn decode(w0: u32, w1: u32) -> Result<Control, DecodeError> {
        let r = (w0 >> 8 & 15) as u8;
        let used = match w0 & 0xff {
            op::ASET | op::AADD => 0xfff,
            _ => 0xff,
        };
        if w0 & !used != 0 {
            return Err(DecodeError::Reserved);
        }
        Ok(match w0 & 0xff {
            op::NOP => Control::Nop,
            op::END => Control::End,
            op::LOOP if w1 == 0 => return Err(DecodeError::ZeroSize),
            op::LOOP => Control::Loop(w1),
            op::END_LOOP => Control::EndLoop,
            op::CALL => Control::Call(w1),
            op::RET => Control::Ret,
            op::ASET => Control::ASet(r, w1 & 0xf_ffff),
            op::AADD => Control::AAdd(r, ((w1 << 12) as i32) >> 12),
            op::FENCE => Control::Fence,
            o => return Err(DecodeError::Opcode(o as u8)),
        })
    }
}

impl Gemm {
    fn encode(&self) -> [u32; ENGINE_WORDS] {
        let mut w = [0; ENGINE_WORDS];
        let (init, bias) = match self.init {
            Init::Zero => (0, 0),
            Init::BiasPerColumn(b) => (1, b.to_bits()),
            Init::BiasPerRow(b) => (2, b.to_bits()),
            Init::Accumulators => (3, 0),
        };
        let (write, single) = match self.out {
            Output::Keep => (0, 0),
            Output::Half(v) => {
                put_view(&mut w, 7, v);
                (1, 0)
            }
            Output::Single(v) => {
                put_view(&mut w, 7, v);
                (1, 1)
            }
        };
        let (mw, ma, mask) = match self.mask {
            Mask::None => (0, 0, 0),
            Mask::Write(b) => (1, 0, b.to_bits()),
            Mask::Apply(b) => (0, 1, b.to_bits()),
        };
        w[0] = op::GEMM
            | self.sync.to_bits()
            | init << 19
            | write << 21
            | single << 22
            | (self.relu as u32) << 23
            | mw << 24
            | ma << 25;
        w[1] = self.m as u32 | (self.k as u32) << 16;
        w[2] = self.n as u32 | enc256(self.m_block) << 16 | enc256(self.n_group) << 24;
        put_view(&mut w, 3, self.x);
        put_view(&mut w, 5, self.w);
        w[9] = bias;
        w[10] = mask;
        w[11] = self.acc_base as u32;
        w
    }

    fn decode(w: &[u32]) -> Result<Gemm, DecodeError> {
        let (m, k, n) = (w[1] as u16, (w[1] >> 16) as u16, w[2] as u16);
        if m == 0 || k == 0 || n == 0 {
            return Err(DecodeError::ZeroSize);
        }
        let bias = Base::from_bits(w[9]);
        let mask = Base::from_bits(w[10]);
        let out = get_view(w, 7);
        if w[0] >> 26 != 0 || w[11] >> 8 != 0 {
            return Err(DecodeError::Reserved);
        }
        Ok(Gemm {
            sync: Sync::from_bits(w[0])?,
            m,
            k,
            n,
            m_block: dec256(w[2] >> 16),
            n_group: dec256(w[2] >> 24),
            acc_base: w[11] as u8,
            x: get_view(w, 3),
            w: get_view(w, 5),
            init: match w[0] >> 19 & 3 {
                0 => Init::Zero,
                1 => Init::BiasPerColumn(bias),
                2 => Init::BiasPerRow(bias),
                _ => Init::Accumulators,
            },
            out: match w[0] >> 21 & 3 {
                0 => Output::Keep,
                1 => Output::Half(out),
                3 => Output::Single(out),
                _ => return Err(DecodeError::Reserved),
            },
            relu: w[0] >> 23 & 1 == 1,
            mask: match w[0] >> 24 & 3 {
                0 => Mask::None,
                1 => Mask::Write(mask),
                2 => Mask::Apply(mask),
                _ => return Err(DecodeError::Reserved),
            },
        })
    }
}

fn put_source(w: &mut [u32; ENGINE_WORDS], i: usize, s: Source) -> u32 {
    match s {
        Source::Hmem(v, m) => {
            w[i] = m.to_bits();
            put_view(w, i, v);
            0
        }
        Source::Smem(v, m) => {
            w[i] = m.to_bits();
            put_view(w, i, v);
            1
        }
        Source::Imm(x) => {
            w[i] = x;
            2
        }
        Source::Sreg(r, m) => {
            w[i] = m.to_bits() | r as u32 & 15;
            3
        }
    }
}

fn get_source(w: &[u32], i: usize, kind: u32) -> Result<Source, DecodeError> {
    let m = Modifiers::from_bits(w[i]);
    if kind != 2 && w[i] >> 27 != 0 || matches!(kind, 1 | 3) && m.scaled {
        return Err(DecodeError::Reserved);
    }
    Ok(match kind {
        0 => Source::Hmem(get_view(w, i), m),
        1 => Source::Smem(get_view(w, i), m),
        2 => Source::Imm(w[i]),
        _ => Source::Sreg((w[i] & 15) as u8, m),
    })
}

impl Vector {
    fn encode(&self) -> [u32; ENGINE_WORDS] {
        let mut w = [0; ENGINE_WORDS];
        let kx = put_source(&mut w, 2, self.x);
        let ky = put_source(&mut w, 4, self.y);
        let kz = put_source(&mut w, 6, self.z);
        let kd = match self.d {
            Dest::Hmem(v) => {
                put_view(&mut w, 8, v);
                0
            }
            Dest::Smem(v) => {
                put_view(&mut w, 8, v);
                1
            }
            Dest::None => 2,
            Dest::Sreg(r) => {
                w[8] = r as u32 & 15;
                3
            }
        };
        if let Some(v) = self.copy {
            put_view(&mut w, 10, v);
        }
        w[0] = op::VECTOR
            | self.op as u32
            | self.sync.to_bits()
            | kx << 19
            | ky << 21
            | kz << 23
            | kd << 25
            | (self.copy.is_some() as u32) << 27
            | (self.recurrent as u32) << 28;
        w[1] = self.rows as u32 | (self.cols as u32) << 16;
        w
    }

    fn decode(w: &[u32]) -> Result<Vector, DecodeError> {
        let o = (w[0] & 0x7f) as usize;
        let Some(&opcode) = VectorOp::ALL.get(o) else {
            return Err(DecodeError::Opcode(w[0] as u8));
        };
        let (rows, cols) = (w[1] as u16, (w[1] >> 16) as u16);
        if rows == 0 || cols == 0 {
            return Err(DecodeError::ZeroSize);
        }
        let kd = w[0] >> 25 & 3;
        if w[0] >> 29 != 0 || kd == 3 && (rows != 1 || cols != 1) {
            return Err(DecodeError::Reserved);
        }
        Ok(Vector {
            sync: Sync::from_bits(w[0])?,
            op: opcode,
            rows,
            cols,
            x: get_source(w, 2, w[0] >> 19 & 3)?,
            y: get_source(w, 4, w[0] >> 21 & 3)?,
            z: get_source(w, 6, w[0] >> 23 & 3)?,
            d: match kd {
                0 => Dest::Hmem(get_view(w, 8)),
                1 => Dest::Smem(get_view(w, 8)),
                2 => Dest::None,
                _ => Dest::Sreg((w[8] & 15) as u8),
            },
            copy: if w[0] >> 27 & 1 == 1 { Some(get_view(w, 10)) } else { None },
            recurrent: w[0] >> 28 & 1 == 1,
        })
    }
}

/// How many words an instruction with this first word takes.
pub const fn length(word0: u32) -> usize {
    if word0 & 0xff < op::GEMM { CONTROL_WORDS } else { ENGINE_WORDS }
}

impl Instr {
    /// The instruction's words.
    pub fn encode(&self) -> Words {
        match self {
            Instr::Control(c) => {
                let mut words = [0; ENGINE_WORDS];
                (words[0], words[1]) = c.words();
                Words { words, len: CONTROL_WORDS }
            }
            Instr::Gemm(g) => Words { words: g.encode(), len: ENGINE_WORDS },
            Instr::Vector(v) => Words { words: v.encode(), len: ENGINE_WORDS },
        }
    }

    /// Reads the instruction at the start of `w`; [`length`] of `w[0]` says how many words it took.
    pub fn decode(w: &[u32]) -> Result<Instr, DecodeError> {
        let Some(&w0) = w.first() else { return Err(DecodeError::Truncated) };
        if w.len() < length(w0) {
            return Err(DecodeError::Truncated);
        }
        match w0 & 0xff {
            o if o < op::GEMM => Control::decode(w0, w[1]).map(Instr::Control),
            op::GEMM => Gemm::decode(w).map(Instr::Gemm),
            o if o >= op::VECTOR => Vector::decode(w).map(Instr::Vector),
            o => Err(DecodeError::Opcode(o as u8)),
        }
    }
}
