//! Delays: a tapped shift register, and one in memory for what is wide and needed once.

use crate::memory::{Bank, many};
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// `x ─┬─[ ]─┬─[ ]─┬─ …`: tap d is x of d cycles ago.
#[derive(LogicBlock)]
pub struct DelayLine<const W: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// What is delayed.
    pub x: Signal<In, Bits<W>>,
    /// `len + 1` taps; tap 0 is `x` itself.
    pub tap: Vec<Signal<Out, Bits<W>>>,
    stage: Vec<DFF<Bits<W>>>,
    _len: usize,
    _more: usize,
}

impl<const W: usize> DelayLine<W> {
    /// A line of `len` registers (0: a wire).
    pub fn new(len: usize) -> Self {
        DelayLine {
            clock: Default::default(),
            x: Default::default(),
            tap: many(len + 1),
            stage: many(len),
            _len: len,
            _more: len.min(1),
        }
    }
}

impl<const W: usize> Logic for DelayLine<W> {
    #[hdl_gen]
    fn update(&mut self) {
        self.tap[0].next = self.x.val();
        for i in 0..self._more {
            self.stage[i].d.next = self.x.val();
        }
        for i in 1..self._len {
            self.stage[i].d.next = self.stage[i - 1].q.val();
        }
        for i in 0..self._len {
            self.stage[i].clock.next = self.clock.val();
            self.tap[i + 1].next = self.stage[i].q.val();
        }
    }
}

/// A delay of `d` cycles (3..=127) in a memory of 128 words of 32 bits. It ends in a register: a block RAM's output comes late, and
/// what is delayed here starts long paths.
#[derive(LogicBlock)]
pub struct DelayRam {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// What is delayed.
    pub x: Signal<In, Bits<32>>,
    /// `x` of `d` cycles ago; zero in the first cycles.
    pub y: Signal<Out, Bits<32>>,
    at: DFF<Bits<7>>,
    from: Signal<Local, Bits<7>>,
    back: Constant<Bits<7>>,
    ram: Bank,
    out: DFF<Bits<32>>,
}

impl DelayRam {
    /// A delay of `d` cycles.
    pub fn new(d: usize) -> Self {
        assert!((3..=127).contains(&d));
        DelayRam {
            clock: Default::default(),
            x: Default::default(),
            y: Default::default(),
            at: Default::default(),
            from: Default::default(),
            back: Constant::new(bits(d as u64 - 2)),
            ram: Bank::new(128, 32),
            out: Default::default(),
        }
    }
}

impl Logic for DelayRam {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, at, out);
        clock!(self, clock, ram);
        self.at.d.next = self.at.q.val() + 1;
        self.from.next = self.at.q.val() - self.back.val();
        self.ram.write_address.next = bit_cast::<20, 7>(self.at.q.val());
        self.ram.write_data.next = self.x.val();
        self.ram.write_enable.next = true;
        self.ram.read_address.next = bit_cast::<20, 7>(self.from.val());
        self.out.d.next = self.ram.read_data.val();
        self.y.next = self.out.q.val();
    }
}
