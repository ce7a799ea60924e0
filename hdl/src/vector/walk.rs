//! Addresses of a strided view, V elements at a time.

use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Walks a view: `addr` is that of lane 0. `load` takes a view, `go_on` goes on by V columns, or to the next row's start with
/// `row_end`.
#[derive(LogicBlock)]
pub struct Walk {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Take base and strides; wins over `go_on`.
    pub load: Signal<In, Bit>,
    /// Address word of the view (low 20 bits).
    pub base: Signal<In, Bits<32>>,
    /// Stride word of the view: inner, outer << 16.
    pub strides: Signal<In, Bits<32>>,
    /// Go on.
    pub go_on: Signal<In, Bit>,
    /// The vector at `addr` is its row's last.
    pub row_end: Signal<In, Bit>,
    /// Address of lane 0.
    pub addr: Signal<Out, Bits<20>>,
    /// `(inner − 1)/N`.
    pub q: Signal<Out, Bits<16>>,
    /// The inner stride.
    pub inner: Signal<Out, Bits<16>>,
    less: Signal<Local, Bits<16>>,
    less_wide: Signal<Local, Bits<32>>,
    inner_wide: Signal<Local, Bits<20>>,
    step: Signal<Local, Bits<20>>,
    outer_wide: Signal<Local, Bits<20>>,
    next_row: Signal<Local, Bits<20>>,
    next_vector: Signal<Local, Bits<20>>,
    at: DFF<Bits<20>>,
    row: DFF<Bits<20>>,
    inner_q: DFF<Bits<16>>,
    outer_q: DFF<Bits<16>>,
    lanes: Constant<Bits<4>>,
    vector: Constant<Bits<4>>,
}

impl Walk {
    /// For N banks and V lanes, both powers of two.
    pub fn new(n: usize, v: usize) -> Walk {
        Walk {
            clock: Default::default(),
            load: Default::default(),
            base: Default::default(),
            strides: Default::default(),
            go_on: Default::default(),
            row_end: Default::default(),
            addr: Default::default(),
            q: Default::default(),
            inner: Default::default(),
            less: Default::default(),
            less_wide: Default::default(),
            inner_wide: Default::default(),
            step: Default::default(),
            outer_wide: Default::default(),
            next_row: Default::default(),
            next_vector: Default::default(),
            at: Default::default(),
            row: Default::default(),
            inner_q: Default::default(),
            outer_q: Default::default(),
            lanes: Constant::new(bits(n.trailing_zeros() as u64)),
            vector: Constant::new(bits(v.trailing_zeros() as u64)),
        }
    }
}

impl Logic for Walk {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module vector_walk");
        dff_setup!(self, clock, at, row, inner_q, outer_q);
        self.inner_wide.next = bit_cast::<20, 16>(self.inner_q.q.val());
        if self.inner_q.q.val().get_bit(15) {
            self.inner_wide.next = bit_cast::<20, 16>(self.inner_q.q.val()) | 0xf0000;
        }
        self.outer_wide.next = bit_cast::<20, 16>(self.outer_q.q.val());
        if self.outer_q.q.val().get_bit(15) {
            self.outer_wide.next = bit_cast::<20, 16>(self.outer_q.q.val()) | 0xf0000;
        }
        self.less.next = self.inner_q.q.val() - 1;
        self.less_wide.next = bit_cast::<32, 16>(self.less.val());
        if self.less.val().get_bit(15) {
            self.less_wide.next = bit_cast::<32, 16>(self.less.val()) | 0xffff0000u64;
        }
        self.q.next = bit_cast::<16, 32>(self.less_wide.val() >> self.lanes.val());
        self.step.next = self.inner_wide.val() << self.vector.val();
        self.next_row.next = self.row.q.val() + self.outer_wide.val();
        self.next_vector.next = self.at.q.val() + self.step.val();
        if self.load.val() {
            self.at.d.next = self.base.val().get_bits::<20>(0);
            self.row.d.next = self.base.val().get_bits::<20>(0);
            self.inner_q.d.next = self.strides.val().get_bits::<16>(0);
            self.outer_q.d.next = self.strides.val().get_bits::<16>(16);
        } else if self.go_on.val() {
            if self.row_end.val() {
                self.at.d.next = self.next_row.val();
                self.row.d.next = self.next_row.val();
            } else {
                self.at.d.next = self.next_vector.val();
            }
        }
        self.addr.next = self.at.q.val();
        self.inner.next = self.inner_q.q.val();
    }
}
