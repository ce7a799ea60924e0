//! The units under test, [`COPIES`] of each side by side, so that one clock cycle of the simulator answers as many cases.

use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use systole_hdl::float::*;
use systole_hdl::vector::{LANE_LATENCY, Lane};

/// Units in one simulated top.
pub const COPIES: usize = 4;

fn copies<T: Default>() -> Vec<T> {
    many(COPIES)
}

fn many<T: Default>(n: usize) -> Vec<T> {
    (0..n).map(|_| T::default()).collect()
}

/// FP16 a and b; their product as the PE's adder gets it, read as FP32.
#[derive(LogicBlock)]
pub struct ProductUnit {
    pub clock: Signal<In, Clock>,
    pub a: Vec<Signal<In, Bits<16>>>,
    pub b: Vec<Signal<In, Bits<16>>>,
    pub p: Vec<Signal<Out, Bits<32>>>,
    recode_a: Vec<Recode>,
    recode_b: Vec<Recode>,
    product: Vec<Product>,
    decode: Vec<PsumDecode>,
    _n: usize,
}

impl Default for ProductUnit {
    fn default() -> Self {
        ProductUnit {
            clock: Default::default(),
            a: copies(),
            b: copies(),
            p: copies(),
            recode_a: copies(),
            recode_b: copies(),
            product: copies(),
            decode: copies(),
            _n: COPIES,
        }
    }
}

impl Logic for ProductUnit {
    #[hdl_gen]
    fn update(&mut self) {
        for i in 0..self._n {
            self.product[i].clock.next = self.clock.val();
            self.recode_a[i].half.next = self.a[i].val();
            self.recode_b[i].half.next = self.b[i].val();
            self.product[i].a.next = self.recode_a[i].operand.val();
            self.product[i].b.next = self.recode_b[i].operand.val();
            self.decode[i].psum.next = self.product[i].p.val();
            self.p[i].next = self.decode[i].single.val();
        }
    }
}

/// FP16 a and b, FP32 c; a·b + c by every unit of the array's path.
#[derive(LogicBlock)]
pub struct AddUnit {
    pub clock: Signal<In, Clock>,
    pub a: Vec<Signal<In, Bits<16>>>,
    pub b: Vec<Signal<In, Bits<16>>>,
    pub c: Vec<Signal<In, Bits<32>>>,
    pub z: Vec<Signal<Out, Bits<32>>>,
    recode_a: Vec<Recode>,
    recode_b: Vec<Recode>,
    product: Vec<Product>,
    encode: Vec<PsumEncode>,
    // c meets its product: copy i's registers are at i, n + i, 2n + i …
    line: Vec<DFF<Bits<32>>>,
    add: Vec<PsumAdd>,
    decode: Vec<PsumDecode>,
    _n: usize,
    _wait: usize,
}

impl AddUnit {
    /// With an adder of `latency` cycles.
    pub fn new(latency: usize) -> Self {
        AddUnit {
            clock: Default::default(),
            a: copies(),
            b: copies(),
            c: copies(),
            z: copies(),
            recode_a: copies(),
            recode_b: copies(),
            product: copies(),
            encode: copies(),
            line: many(COPIES * PRODUCT_LATENCY),
            add: (0..COPIES).map(|_| PsumAdd::new(latency)).collect(),
            decode: copies(),
            _n: COPIES,
            _wait: PRODUCT_LATENCY,
        }
    }
}

impl Logic for AddUnit {
    #[hdl_gen]
    fn update(&mut self) {
        for n in self._n..(self._n + 1) {
            for w in self._wait..(self._wait + 1) {
                for i in 0..self._n {
                    self.product[i].clock.next = self.clock.val();
                    self.add[i].clock.next = self.clock.val();
                    self.recode_a[i].half.next = self.a[i].val();
                    self.recode_b[i].half.next = self.b[i].val();
                    self.product[i].a.next = self.recode_a[i].operand.val();
                    self.product[i].b.next = self.recode_b[i].operand.val();
                    self.encode[i].single.next = self.c[i].val();
                    self.line[i].clock.next = self.clock.val();
                    self.line[i].d.next = self.encode[i].psum.val();
                    for s in 1..self._wait {
                        self.line[s * n + i].clock.next = self.clock.val();
                        self.line[s * n + i].d.next = self.line[s * n - n + i].q.val();
                    }
                    self.add[i].x.next = self.line[w * n - n + i].q.val();
                    self.add[i].y.next = self.product[i].p.val();
                    self.decode[i].psum.next = self.add[i].z.val();
                    self.z[i].next = self.decode[i].single.val();
                }
            }
        }
    }
}

/// Both conversions: FP32 to FP16 with its flag, and FP16 to FP32, registered to come out together.
#[derive(LogicBlock)]
pub struct ConvertUnit {
    pub clock: Signal<In, Clock>,
    pub single: Vec<Signal<In, Bits<32>>>,
    pub half: Vec<Signal<Out, Bits<16>>>,
    pub nonfinite: Vec<Signal<Out, Bit>>,
    pub wide: Vec<Signal<Out, Bits<32>>>,
    narrow: Vec<SingleToHalf>,
    widen: Vec<HalfToSingle>,
    first: Vec<DFF<Bits<32>>>,
    second: Vec<DFF<Bits<32>>>,
    _n: usize,
}

impl Default for ConvertUnit {
    fn default() -> Self {
        assert_eq!(TO_HALF_LATENCY, 2, "the registers beside it");
        ConvertUnit {
            clock: Default::default(),
            single: copies(),
            half: copies(),
            nonfinite: copies(),
            wide: copies(),
            narrow: copies(),
            widen: copies(),
            first: copies(),
            second: copies(),
            _n: COPIES,
        }
    }
}

impl Logic for ConvertUnit {
    #[hdl_gen]
    fn update(&mut self) {
        for i in 0..self._n {
            self.narrow[i].clock.next = self.clock.val();
            self.narrow[i].single.next = self.single[i].val();
            self.half[i].next = self.narrow[i].half.val();
            self.nonfinite[i].next = self.narrow[i].nonfinite.val();
            self.widen[i].half.next = self.single[i].val().get_bits::<16>(0);
            self.widen[i].offset.next = bits::<8>(0);
            self.first[i].clock.next = self.clock.val();
            self.first[i].d.next = self.widen[i].single.val();
            self.second[i].clock.next = self.clock.val();
            self.second[i].d.next = self.first[i].q.val();
            self.wide[i].next = self.second[i].q.val();
        }
    }
}

/// Lanes of the vector engine as the engine drives them: operands from `smem`, or x from `hmem` with an exponent added.
#[derive(LogicBlock)]
pub struct LaneUnit {
    pub clock: Signal<In, Clock>,
    pub x: Vec<Signal<In, Bits<32>>>,
    pub y: Vec<Signal<In, Bits<32>>>,
    pub z: Vec<Signal<In, Bits<32>>>,
    /// Operation, as encoded in instructions; 0 is the multiply-add.
    pub op: Vec<Signal<In, Bits<4>>>,
    /// x is FP32 (1) or FP16 (0).
    pub kind: Vec<Signal<In, Bits<2>>>,
    /// Exponent to add to an FP16 x.
    pub exp: Vec<Signal<In, Bits<8>>>,
    pub single: Vec<Signal<Out, Bits<32>>>,
    pub single_bad: Vec<Signal<Out, Bit>>,
    pub half: Vec<Signal<Out, Bits<32>>>,
    pub half_bad: Vec<Signal<Out, Bit>>,
    lane: Vec<Lane>,
    op_reg: Vec<DFF<Bits<4>>>,
    mad_line: Vec<DFF<Bit>>,
    first: Vec<DFF<Bits<32>>>,
    second: Vec<DFF<Bits<32>>>,
    first_bad: Vec<DFF<Bit>>,
    second_bad: Vec<DFF<Bit>>,
    _n: usize,
    _wait: usize,
}

/// Cycles from operands to all of [`LaneUnit`]'s results.
pub const LANE_UNIT_LATENCY: usize = LANE_LATENCY + 1 + TO_HALF_LATENCY;

impl Default for LaneUnit {
    fn default() -> Self {
        LaneUnit {
            clock: Default::default(),
            x: copies(),
            y: copies(),
            z: copies(),
            op: copies(),
            kind: copies(),
            exp: copies(),
            single: copies(),
            single_bad: copies(),
            half: copies(),
            half_bad: copies(),
            lane: copies(),
            op_reg: copies(),
            mad_line: many(COPIES * (LANE_LATENCY + 1)),
            first: copies(),
            second: copies(),
            first_bad: copies(),
            second_bad: copies(),
            _n: COPIES,
            _wait: LANE_LATENCY + 1,
        }
    }
}

impl Logic for LaneUnit {
    #[hdl_gen]
    fn update(&mut self) {
        for n in self._n..(self._n + 1) {
            for w in self._wait..(self._wait + 1) {
                for i in 0..self._n {
                    self.lane[i].clock.next = self.clock.val();
                    self.lane[i].take.next = true;
                    self.lane[i].narrow.next = true;
                    self.lane[i].x.next = self.x[i].val();
                    self.lane[i].y.next = self.y[i].val();
                    self.lane[i].z.next = self.z[i].val();
                    for j in 0..3 {
                        self.lane[i].abs[j].next = false;
                        self.lane[i].neg[j].next = false;
                        self.lane[i].constant[j].next = bits::<32>(0);
                    }
                    for j in 1..3 {
                        self.lane[i].kind[j].next = bits::<2>(1);
                        self.lane[i].exp[j].next = bits::<8>(0);
                    }
                    self.lane[i].kind[0].next = self.kind[i].val();
                    self.lane[i].exp[0].next = self.exp[i].val();
                    self.op_reg[i].clock.next = self.clock.val();
                    self.op_reg[i].d.next = self.op[i].val();
                    self.lane[i].op.next = self.op_reg[i].q.val();
                    self.mad_line[i].clock.next = self.clock.val();
                    self.mad_line[i].d.next = self.op[i].val() == 0;
                    for s in 1..self._wait {
                        self.mad_line[s * n + i].clock.next = self.clock.val();
                        self.mad_line[s * n + i].d.next = self.mad_line[s * n - n + i].q.val();
                    }
                    self.lane[i].mad.next = self.mad_line[w * n - n + i].q.val();
                    self.first[i].clock.next = self.clock.val();
                    self.first[i].d.next = self.lane[i].single.val();
                    self.second[i].clock.next = self.clock.val();
                    self.second[i].d.next = self.first[i].q.val();
                    self.single[i].next = self.second[i].q.val();
                    self.first_bad[i].clock.next = self.clock.val();
                    self.first_bad[i].d.next = self.lane[i].single_bad.val();
                    self.second_bad[i].clock.next = self.clock.val();
                    self.second_bad[i].d.next = self.first_bad[i].q.val();
                    self.single_bad[i].next = self.second_bad[i].q.val();
                    self.half[i].next = self.lane[i].half.val();
                    self.half_bad[i].next = self.lane[i].half_bad.val();
                }
            }
        }
    }
}
