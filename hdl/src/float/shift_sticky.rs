//! A shift to the right that tells whether it lost a one.

use rust_hdl_core::prelude::*;

/// `y = x >> by`, by at most 31; `lost`: a one was shifted out. Combinational, for `W` of 16 or more: each step looks at what
/// it drops, which costs less than a mask of `by` ones beside the shifter.
#[derive(LogicBlock, Default)]
pub struct ShiftSticky<const W: usize> {
    /// What is shifted.
    pub x: Signal<In, Bits<W>>,
    /// How far.
    pub by: Signal<In, Bits<5>>,
    /// The shifted bits, zeros above.
    pub y: Signal<Out, Bits<W>>,
    /// A one was shifted out.
    pub lost: Signal<Out, Bit>,
    d8: Signal<Local, Bits<W>>,
    d4: Signal<Local, Bits<W>>,
    d2: Signal<Local, Bits<W>>,
    d1: Signal<Local, Bits<W>>,
    lost16: Signal<Local, Bit>,
    lost8: Signal<Local, Bit>,
    lost4: Signal<Local, Bit>,
    lost2: Signal<Local, Bit>,
    lost1: Signal<Local, Bit>,
}

impl<const W: usize> Logic for ShiftSticky<W> {
    #[hdl_gen]
    fn update(&mut self) {
        self.d8.next = self.x.val();
        self.lost16.next = false;
        if self.by.val().get_bit(4) {
            self.d8.next = self.x.val() >> 16;
            self.lost16.next = self.x.val().get_bits::<16>(0).any();
        }
        self.d4.next = self.d8.val();
        self.lost8.next = false;
        if self.by.val().get_bit(3) {
            self.d4.next = self.d8.val() >> 8;
            self.lost8.next = self.d8.val().get_bits::<8>(0).any();
        }
        self.d2.next = self.d4.val();
        self.lost4.next = false;
        if self.by.val().get_bit(2) {
            self.d2.next = self.d4.val() >> 4;
            self.lost4.next = self.d4.val().get_bits::<4>(0).any();
        }
        self.d1.next = self.d2.val();
        self.lost2.next = false;
        if self.by.val().get_bit(1) {
            self.d1.next = self.d2.val() >> 2;
            self.lost2.next = self.d2.val().get_bits::<2>(0).any();
        }
        self.y.next = self.d1.val();
        self.lost1.next = false;
        if self.by.val().get_bit(0) {
            self.y.next = self.d1.val() >> 1;
            self.lost1.next = self.d1.val().get_bit(0);
        }
        self.lost.next = self.lost16.val() | self.lost8.val() | self.lost4.val() | self.lost2.val() | self.lost1.val();
    }
}
