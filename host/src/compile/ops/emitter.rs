//! Declares tensors and emits instructions over views of them.
//!
//! A network is emitted twice by the same code: first at address 0, to learn which tensors there are and from which to which
//! instruction each is used; then at the planned addresses.

use super::view::{Arg, NONE, Nd, ONE, Place, choose, merge};
use crate::compile::build::{Builder, Epilogue, Matrix, odd_pitch};
use crate::compile::cost::Cost;
use crate::compile::functions::{self, Function};
use crate::compile::plan::Class;
use crate::compile::{CompileError, TensorPlace};
use systole_isa::instr::{Instr, Sync, Vector, VectorOp};
use systole_isa::operand::{Addr, Base, Dest, Modifiers, Source, View};
use systole_isa::regs::Space;

/// Address register of the input slot.
pub(crate) const INPUT_REGISTER: u8 = 1;
/// Address register of the label slot.
pub(crate) const LABEL_REGISTER: u8 = 2;
/// Address register of the slot's dropout masks.
pub(crate) const MASK_REGISTER: u8 = 3;
/// Largest stride of an instruction.
const MAX_STRIDE: u32 = 32767;

/// A tensor that the emitters asked for: `rows` of `pitch` elements, the first `cols` of which are its own.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) class: Class,
    pub(crate) space: Space,
    pub(crate) plane: Option<u32>,
    pub(crate) rows: u32,
    pub(crate) cols: u32,
    pub(crate) pitch: u32,
    pub(crate) resident: bool,
    /// First and last instruction (over all segments) that touches it.
    pub(crate) used: Option<(usize, usize)>,
}

impl Declared {
    pub(crate) fn words(&self) -> u64 {
        self.rows as u64 * self.pitch as u64
    }
}

/// The state of emission.
pub(crate) struct Emitter {
    pub(crate) builder: Builder,
    pub(crate) batch: u32,
    pub(crate) tensors: Vec<Declared>,
    /// Streamed and stationary operand of each product, and the cycles of a shared plane.
    pub(crate) conflicts: Vec<(usize, usize, u64)>,
    pub(crate) macs: u64,
    pub(crate) error: Option<CompileError>,
    places: Option<Vec<Addr>>,
    next: usize,
    /// Instructions of the segments before this one.
    before: usize,
}

impl Emitter {
    /// The first emission (`places` `None`), or the second at these addresses.
    pub(crate) fn new(cost: Cost, batch: u32, places: Option<Vec<Addr>>) -> Emitter {
        Emitter {
            builder: Builder::new(cost),
            batch,
            tensors: Vec::new(),
            conflicts: Vec::new(),
            macs: 0,
            error: None,
            places,
            next: 0,
            before: 0,
        }
    }

    /// Ends a segment.
    pub(crate) fn segment(&mut self) -> Builder {
        let cost = self.builder.cost;
        let done = std::mem::replace(&mut self.builder, Builder::new(cost));
        self.before += done.steps.len();
        done
    }

    pub(crate) fn lanes(&self) -> u32 {
        self.builder.cost.machine.lanes
    }

    /// FP32 elements in one plane.
    pub(crate) fn smem_plane(&self) -> u32 {
        self.builder.cost.machine.smem_plane()
    }

    fn declare(&mut self, d: Declared) -> usize {
        self.tensors.push(d);
        self.next += 1;
        self.next - 1
    }

    /// A matrix `[rows, cols]` with this pitch.
    pub(crate) fn tensor(
        &mut self,
        name: &str,
        class: Class,
        space: Space,
        plane: Option<u32>,
        (rows, cols, pitch): (u32, u32, u32),
    ) -> usize {
        let resident = matches!(class, Class::Weights | Class::Moments);
        self.declare(Declared { name: name.into(), class, space, plane, rows, cols, pitch, resident, used: None })
    }

    /// As [`Emitter::tensor`], kept from step to step.
    pub(crate) fn resident(
        &mut self,
        name: &str,
        class: Class,
        space: Space,
        plane: Option<u32>,
        shape: (u32, u32, u32),
    ) -> usize {
        let t = self.tensor(name, class, space, plane, shape);
        self.tensors[t].resident = true;
        t
    }

    /// A tensor in the standard layout of `dims`, the last axis being the channels: FP16.
    pub(crate) fn half(&mut self, name: &str, class: Class, dims: &[u32]) -> Nd {
        self.standard(name, class, Space::Hmem, None, dims, 1)
    }

    /// Likewise FP32, in a plane.
    pub(crate) fn single(&mut self, name: &str, plane: u32, dims: &[u32]) -> Nd {
        self.standard(name, Class::Workspace, Space::Smem, Some(plane), dims, 1)
    }

    /// As [`Emitter::single`] without a column to spare, for elementwise operations alone: an image of one channel takes a word
    /// a pixel.
    pub(crate) fn dense(&mut self, name: &str, plane: u32, dims: &[u32]) -> Nd {
        self.standard(name, Class::Workspace, Space::Smem, Some(plane), dims, 0)
    }

    /// `spare` columns at least are free.
    fn standard(&mut self, name: &str, class: Class, space: Space, plane: Option<u32>, dims: &[u32], spare: u32) -> Nd {
        let (&cols, leading) = dims.split_last().expect("tensors have axes");
        let pitch = odd_pitch(cols + spare - 1, self.lanes());
        let rows = leading.iter().product::<u32>();
        let t = self.tensor(name, class, space, plane, (rows, cols, pitch));
        let mut strides = vec![0; dims.len()];
        let mut stride = 1;
        for a in (0..dims.len()).rev() {
            strides[a] = stride;
            stride *= if a + 1 == dims.len() { pitch } else { dims[a] };
        }
        Nd { place: Place::Tensor(t), offset: 0, dims: dims.to_vec(), strides }
    }

    /// All elements of a standard tensor, the free columns included, as one axis beside the others before the last two.
    pub(crate) fn padded(&self, x: &Nd) -> Nd {
        let Place::Tensor(t) = x.place else { return x.clone() };
        let pitch = self.tensors[t].pitch;
        let n = x.dims.len();
        if n < 2 || x.strides[n - 1] != 1 || x.strides[n - 2] != pitch || x.dims[n - 1] != self.tensors[t].cols {
            return x.clone();
        }
        let mut v = x.clone();
        v.dims[n - 1] = pitch;
        v
    }

    /// The tensor as a matrix of its declared rows and columns.
    pub(crate) fn whole(&self, t: usize) -> Nd {
        let d = &self.tensors[t];
        Nd { place: Place::Tensor(t), offset: 0, dims: vec![d.rows, d.cols], strides: vec![d.pitch, 1] }
    }

    /// Marks a tensor as in use by the next instruction.
    pub(crate) fn touch(&mut self, t: usize) {
        let now = self.before + self.builder.steps.len();
        let used = &mut self.tensors[t].used;
        *used = Some(used.map_or((now, now), |(first, last)| (first.min(now), last.max(now))));
    }

    /// Marks a tensor as in use by the instruction before, but not by the next.
    pub(crate) fn touch_last(&mut self, t: usize) {
        let last = (self.before + self.builder.steps.len()).saturating_sub(1);
        let used = &mut self.tensors[t].used;
        *used = Some(used.map_or((last, last), |(first, end)| (first.min(last), end.max(last))));
    }

    fn space(&self, place: Place) -> Space {
        match place {
            Place::Tensor(t) => self.tensors[t].space,
            _ => Space::Hmem,
        }
    }

    fn base(&mut self, place: Place, offset: u32) -> Base {
        match place {
            Place::Tensor(t) => {
                self.touch(t);
                Base::at(self.address(t).offset_by(offset as i32))
            }
            Place::Input => Base::indexed(Addr(offset), INPUT_REGISTER),
            Place::Labels => Base::indexed(Addr(offset), LABEL_REGISTER),
            Place::Masks => Base::indexed(Addr(offset), MASK_REGISTER),
        }
    }

    /// Where a tensor lies; 0 in the first emission.
    pub(crate) fn address(&self, t: usize) -> Addr {
        self.places.as_ref().map_or(Addr(0), |p| p[t])
    }

    /// The tensor's place for the host.
    pub(crate) fn place_of(&self, t: usize) -> TensorPlace {
        let d = &self.tensors[t];
        TensorPlace { space: d.space, addr: self.address(t), rows: d.rows, cols: d.cols, pitch: d.pitch }
    }

    /// A two-dimensional view for emitters that work on matrices. Touches the tensor.
    pub(crate) fn matrix(&mut self, x: &Nd) -> Matrix {
        let (_, row, _, col) = x.matrix().expect("a view of one pitch");
        if row > MAX_STRIDE || col > MAX_STRIDE {
            let limit = MAX_STRIDE as u64;
            self.error.get_or_insert(CompileError::Size {
                what: "a row's pitch".into(),
                size: row.max(col) as u64,
                limit,
            });
        }
        Matrix { space: self.space(x.place), base: self.base(x.place, x.offset), row, col }
    }

    fn source(&mut self, a: &Arg, strides: Option<(u32, u32)>, offset: u32) -> Source {
        let (x, m) = match a {
            Arg::F(v) => return Source::f32(*v),
            Arg::Bits(b) => return Source::Imm(*b),
            Arg::S(r) => return Source::Sreg(*r as u8, Modifiers::default()),
            Arg::X(x) => (x, Modifiers::default()),
            Arg::Neg(x) => (x, Modifiers { neg: true, ..Modifiers::default() }),
            Arg::Abs(x) => (x, Modifiers { abs: true, ..Modifiers::default() }),
        };
        let (outer, inner) = strides.expect("a view has strides");
        let view = View::new(self.base(x.place, x.offset + offset), inner as i16, outer as i16);
        if self.space(x.place) == Space::Hmem { Source::Hmem(view, m) } else { Source::Smem(view, m) }
    }

    /// `d = op(x, y, z)` for every element; views have d's axes.
    pub(crate) fn op(&mut self, label: &str, op: VectorOp, args: [Arg; 3], d: &Nd) {
        self.flagged(label, None, op, args, d);
    }

    /// As [`Emitter::op`], with the flag that a non-finite result sets.
    pub(crate) fn flagged(&mut self, label: &str, flag: Option<usize>, op: VectorOp, args: [Arg; 3], d: &Nd) {
        let views: Vec<Option<&Nd>> = args
            .iter()
            .map(|a| match a {
                Arg::X(x) | Arg::Neg(x) | Arg::Abs(x) => Some(x),
                _ => None,
            })
            .chain([Some(d)])
            .collect();
        debug_assert!(views.iter().flatten().all(|v| v.dims == d.dims), "{label}: views of different shapes");
        let strides: Vec<Vec<u32>> =
            views.iter().map(|v| v.map_or(vec![0; d.dims.len()], |v| v.strides.clone())).collect();
        let axes = merge(&d.dims, &strides);
        let lanes = self.lanes();
        let fits = |a: usize| axes[a].1.iter().all(|&s| s <= MAX_STRIDE);
        let legal = |a: usize| {
            let s = &axes[a].1;
            let sources = (0..3).all(|i| views[i].is_none() || s[i] == 0 || s[i] % lanes == 1);
            fits(a) && sources && s[3] % lanes == 1
        };
        let (outer, inner) = choose(&axes, self.builder.cost.machine.vector_lanes, legal, fits);
        let rest: Vec<usize> = (0..axes.len()).filter(|&a| Some(a) != outer && Some(a) != inner).collect();
        let count: u32 = rest.iter().map(|&a| axes[a].0).product();
        let size = |a: Option<usize>| a.map_or(1, |a| axes[a].0) as u16;
        for i in 0..count {
            let mut left = i;
            let mut offsets = [0u32; 4];
            for &a in rest.iter().rev() {
                let at = left % axes[a].0;
                left /= axes[a].0;
                (0..4).for_each(|k| offsets[k] += at * axes[a].1[k]);
            }
            let stride = |k: usize| {
                let of = |a: Option<usize>, none: u32| a.map_or(none, |a| axes[a].1[k]);
                (of(outer, 0), of(inner, 1))
            };
            let [x, y, z] = [0, 1, 2].map(|k| self.source(&args[k], views[k].map(|_| stride(k)), offsets[k]));
            let (o, n) = stride(3);
            let view = View::new(self.base(d.place, d.offset + offsets[3]), n as i16, o as i16);
            let d = if self.space(d.place) == Space::Hmem { Dest::Hmem(view) } else { Dest::Smem(view) };
            let sync = Sync { flag: flag.map(|f| f as u8), ..Sync::default() };
            let (rows, cols) = (size(outer), size(inner));
            let v = Vector { sync, op, rows, cols, x, y, z, d, copy: None, recurrent: false };
            self.builder.push(Instr::Vector(v), label);
        }
    }

    /// `d = x`.
    pub(crate) fn copy(&mut self, label: &str, x: &Nd, d: &Nd) {
        self.op(label, VectorOp::Mad, [Arg::X(x.clone()), ONE, NONE], d);
    }

    /// `d = v` everywhere.
    pub(crate) fn fill(&mut self, label: &str, v: f32, d: &Nd) {
        self.op(label, VectorOp::Mad, [Arg::F(v), ONE, NONE], d);
    }

    /// `d = x·y + z`.
    pub(crate) fn mad(&mut self, label: &str, x: Arg, y: Arg, z: Arg, d: &Nd) {
        self.op(label, VectorOp::Mad, [x, y, z], d);
    }

    /// `out[M, N] = epilogue(a[M, K] · b[K, N])`; operands as matrices, either of them transposed if so marked.
    pub(crate) fn product(
        &mut self,
        label: &str,
        a: (&Nd, bool),
        b: (&Nd, bool),
        out: &Nd,
        bias: Option<&Nd>,
        e: Epilogue,
    ) {
        let size = |x: &Nd, t: bool| {
            let (r, _, c, _) = x.matrix().expect("products read views of one pitch");
            if t { (c, r) } else { (r, c) }
        };
        let ((m, k), (k2, n)) = (size(a.0, a.1), size(b.0, b.1));
        debug_assert_eq!(k, k2, "{label}");
        debug_assert_eq!(size(out, false), (m, n), "{label}");
        if m.max(k).max(n) > 65535 {
            let what = format!("a size of the product `{label}`");
            self.error.get_or_insert(CompileError::Size { what, size: m.max(k).max(n) as u64, limit: 65535 });
            return;
        }
        self.macs += m as u64 * k as u64 * n as u64;
        if let (Place::Tensor(x), Place::Tensor(y)) = (a.0.place, b.0.place) {
            let tiles = k.div_ceil(self.lanes()) as u64 * n.min(m) as u64;
            self.conflicts.push((x, y, tiles));
        }
        let bias = bias.map(|v| self.base(v.place, v.offset));
        let e = Epilogue { bias, ..e };
        let turned = |m: Matrix, t: bool| if t { m.t() } else { m };
        let (x, y) = (turned(self.matrix(a.0), a.1), turned(self.matrix(b.0), b.1));
        let out = self.matrix(out);
        self.builder.product(label, (m, k, n), x, y, out, e);
    }

    /// A function of x elementwise, FP32; the result is a temporary.
    pub(crate) fn function(&mut self, label: &str, f: &Function, x: &Nd) -> Nd {
        let names: Vec<Nd> =
            f.planes.iter().enumerate().map(|(i, &p)| self.dense(&format!("{label} {i}"), p, &x.dims)).collect();
        for s in &f.steps {
            let arg = |a: functions::Arg| match a {
                functions::Arg::X => Arg::X(x.clone()),
                functions::Arg::NegX => Arg::Neg(x.clone()),
                functions::Arg::T(i) => Arg::X(names[i].clone()),
                functions::Arg::NegT(i) => Arg::Neg(names[i].clone()),
                functions::Arg::F(v) => Arg::F(v),
                functions::Arg::Bits(b) => Arg::Bits(b),
            };
            self.op(label, s.op, s.args.map(arg), &names[s.to]);
        }
        names[f.steps.last().expect("functions have steps").to].clone()
    }
}
