//! Barrel rotators over N lanes, four stages of two-way multiplexers (stages that an N below 16 does not need vanish).

use super::many;
use rust_hdl_core::prelude::*;

/// `y[i] = x[(i + by) mod N]`: from bank order to lane order. The widest turn comes first: where only the first V lanes are read,
/// the last stages then have V + 1 and V + 3 lanes instead of N.
#[derive(LogicBlock)]
pub struct RotateDown<const W: usize> {
    /// What is rotated.
    pub x: Vec<Signal<In, Bits<W>>>,
    /// By how many lanes; below N.
    pub by: Signal<In, Bits<4>>,
    /// The rotated lanes.
    pub y: Vec<Signal<Out, Bits<W>>>,
    a: Vec<Signal<Local, Bits<W>>>,
    b: Vec<Signal<Local, Bits<W>>>,
    c: Vec<Signal<Local, Bits<W>>>,
    _n: usize,
}

impl<const W: usize> RotateDown<W> {
    /// A rotator of `n` lanes.
    pub fn new(n: usize) -> Self {
        RotateDown { x: many(n), by: Default::default(), y: many(n), a: many(n), b: many(n), c: many(n), _n: n }
    }
}

impl<const W: usize> Logic for RotateDown<W> {
    #[hdl_gen]
    fn update(&mut self) {
        for n in self._n..(self._n + 1) {
            for i in 0..self._n {
                if self.by.val().get_bit(3) {
                    self.a[i].next = self.x[(i + 8) % n].val();
                } else {
                    self.a[i].next = self.x[i].val();
                }
                if self.by.val().get_bit(2) {
                    self.b[i].next = self.a[(i + 4) % n].val();
                } else {
                    self.b[i].next = self.a[i].val();
                }
                if self.by.val().get_bit(1) {
                    self.c[i].next = self.b[(i + 2) % n].val();
                } else {
                    self.c[i].next = self.b[i].val();
                }
                if self.by.val().get_bit(0) {
                    self.y[i].next = self.c[(i + 1) % n].val();
                } else {
                    self.y[i].next = self.c[i].val();
                }
            }
        }
    }
}

/// `y[(i + by) mod N] = x[i]`: from lane order to bank order.
#[derive(LogicBlock)]
pub struct RotateUp<const W: usize> {
    /// What is rotated.
    pub x: Vec<Signal<In, Bits<W>>>,
    /// By how many lanes; below N.
    pub by: Signal<In, Bits<4>>,
    /// The rotated lanes.
    pub y: Vec<Signal<Out, Bits<W>>>,
    a: Vec<Signal<Local, Bits<W>>>,
    b: Vec<Signal<Local, Bits<W>>>,
    c: Vec<Signal<Local, Bits<W>>>,
    _n: usize,
}

impl<const W: usize> RotateUp<W> {
    /// A rotator of `n` lanes.
    pub fn new(n: usize) -> Self {
        RotateUp { x: many(n), by: Default::default(), y: many(n), a: many(n), b: many(n), c: many(n), _n: n }
    }
}

impl<const W: usize> Logic for RotateUp<W> {
    #[hdl_gen]
    fn update(&mut self) {
        for n in self._n..(self._n + 1) {
            for i in 0..self._n {
                if self.by.val().get_bit(0) {
                    self.a[i].next = self.x[(i + 15) % n].val();
                } else {
                    self.a[i].next = self.x[i].val();
                }
                if self.by.val().get_bit(1) {
                    self.b[i].next = self.a[(i + 14) % n].val();
                } else {
                    self.b[i].next = self.a[i].val();
                }
                if self.by.val().get_bit(2) {
                    self.c[i].next = self.b[(i + 12) % n].val();
                } else {
                    self.c[i].next = self.b[i].val();
                }
                if self.by.val().get_bit(3) {
                    self.y[i].next = self.c[(i + 8) % n].val();
                } else {
                    self.y[i].next = self.c[i].val();
                }
            }
        }
    }
}
