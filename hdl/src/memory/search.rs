//! Finds the element that an access out of range failed on.

use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use systole_isa::machine::Machine;

/// Walks the lanes of the first access that was out of range, one a cycle, to the first lane that is outside. One unit serves
/// all memories: only the first trap of a run is reported, and it is not shown while this is `busy`.
#[derive(LogicBlock)]
pub struct RangeSearch {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Level: forget what was found.
    pub abort: Signal<In, Bit>,
    /// An access was out of range. Ignored after the first.
    pub start: Signal<In, Bit>,
    /// Its memory: 0 and 1 the planes of `hmem`, 2 and 3 of `smem`, 4 mask memory.
    pub room: Signal<In, Bits<3>>,
    /// Offset of its lane 0.
    pub off: Signal<In, Bits<19>>,
    /// `(inner stride − 1) / N`, signed.
    pub q: Signal<In, Bits<16>>,
    /// Looking.
    pub busy: Signal<Out, Bit>,
    /// The element, as `TRAP_INFO` says it: bit 31 `smem`, bit 30 mask memory, bit 19 plane.
    pub info: Signal<Out, Bits<32>>,
    found: DFF<Bit>,
    searching: DFF<Bit>,
    place: DFF<Bits<21>>,
    step: DFF<Bits<21>>,
    which: DFF<Bits<3>>,
    words: Signal<Local, Bits<21>>,
    wide_q: Signal<Local, Bits<21>>,
    tag: Signal<Local, Bits<32>>,
    half_words: Constant<Bits<21>>,
    single_words: Constant<Bits<21>>,
    mask_words: Constant<Bits<21>>,
    shift: Constant<Bits<5>>,
}

impl RangeSearch {
    /// For the memories of `machine`.
    pub fn new(machine: &Machine) -> RangeSearch {
        RangeSearch {
            clock: Default::default(),
            abort: Default::default(),
            start: Default::default(),
            room: Default::default(),
            off: Default::default(),
            q: Default::default(),
            busy: Default::default(),
            info: Default::default(),
            found: Default::default(),
            searching: Default::default(),
            place: Default::default(),
            step: Default::default(),
            which: Default::default(),
            words: Default::default(),
            wide_q: Default::default(),
            tag: Default::default(),
            half_words: Constant::new(bits(machine.hmem_plane() as u64)),
            single_words: Constant::new(bits(machine.smem_plane() as u64)),
            mask_words: Constant::new(bits(machine.mask_bits as u64)),
            shift: Constant::new(bits(machine.lanes.ilog2() as u64)),
        }
    }
}

impl Logic for RangeSearch {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module range_search");
        dff_setup!(self, clock, found, searching, place, step, which);
        self.wide_q.next = bit_cast::<21, 16>(self.q.val());
        if self.q.val().get_bit(15) {
            self.wide_q.next = bit_cast::<21, 16>(self.q.val()) | 0x1f0000;
        }
        self.words.next = self.half_words.val();
        if self.which.q.val().get_bit(1) {
            self.words.next = self.single_words.val();
        }
        if self.which.q.val().get_bit(2) {
            self.words.next = self.mask_words.val();
        }
        if self.searching.q.val() {
            // A place before the first element is negative, and as an unsigned number beyond the last one.
            if self.place.q.val() >= self.words.val() {
                self.searching.d.next = false;
            } else {
                self.place.d.next = self.place.q.val() + self.step.q.val();
            }
        } else if self.start.val() & !self.found.q.val() {
            self.found.d.next = true;
            self.searching.d.next = true;
            self.which.d.next = self.room.val();
            self.place.d.next = bit_cast::<21, 19>(self.off.val());
            self.step.d.next = (self.wide_q.val() << self.shift.val()) + 1;
        }
        if self.abort.val() {
            self.found.d.next = false;
            self.searching.d.next = false;
        }
        self.tag.next = bit_cast::<32, 1>(self.which.q.val().get_bits::<1>(0)) << 19;
        if self.which.q.val().get_bit(1) {
            self.tag.next = (bit_cast::<32, 1>(self.which.q.val().get_bits::<1>(0)) << 19) | 0x80000000u64;
        }
        if self.which.q.val().get_bit(2) {
            self.tag.next = bits::<32>(0x40000000);
        }
        self.busy.next = self.searching.q.val();
        self.info.next = self.tag.val() | bit_cast::<32, 19>(self.place.q.val().get_bits::<19>(0));
    }
}
