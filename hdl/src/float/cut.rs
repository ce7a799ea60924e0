//! A place where a pipeline may be cut: a register, or a wire.

use crate::memory::many;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// `q` is `d`, one cycle later if the pipeline is cut here.
#[derive(LogicBlock)]
pub struct Cut<const W: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// In.
    pub d: Signal<In, Bits<W>>,
    /// Out.
    pub q: Signal<Out, Bits<W>>,
    register: Vec<DFF<Bits<W>>>,
    _cut: usize,
    _wire: usize,
}

impl<const W: usize> Cut<W> {
    /// A register if `cut`, else a wire.
    pub fn new(cut: bool) -> Self {
        let registers = cut as usize;
        Cut {
            clock: Default::default(),
            d: Default::default(),
            q: Default::default(),
            register: many(registers),
            _cut: registers,
            _wire: 1 - registers,
        }
    }
}

impl<const W: usize> Logic for Cut<W> {
    #[hdl_gen]
    fn update(&mut self) {
        for i in 0..self._cut {
            self.register[i].clock.next = self.clock.val();
            self.register[i].d.next = self.d.val();
            self.q.next = self.register[i].q.val();
        }
        for _i in 0..self._wire {
            self.q.next = self.d.val();
        }
    }
}
