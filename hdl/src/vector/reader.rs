//! One read client: requests the vectors of a source operand ahead of the lanes, and keeps the pointers of their queue.
//!
//! ```text
//!  start ──> Walk ──> req ──gnt──> [1] ──> … ──> [M] push ──> queue (LaneRam per lane) ──> pop
//! ```
//!
//! A slot of the queue is taken with the grant and free again with the pop.

use super::{Walk, many};
use crate::comment;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;

/// Reads one source operand. See the module's text.
#[derive(LogicBlock)]
pub struct Reader {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Forget everything.
    pub abort: Signal<In, Bit>,
    /// An instruction starts (only while no reader is `active`).
    pub start: Signal<In, Bit>,
    /// Word 0 of the instruction.
    pub header: Signal<In, Bits<32>>,
    /// Word 1: rows, columns << 16.
    pub size: Signal<In, Bits<32>>,
    /// The operand's kind: 0 `hmem`, 1 `smem`, else nothing is read.
    pub kind: Signal<In, Bits<2>>,
    /// Address word.
    pub base: Signal<In, Bits<32>>,
    /// Stride word.
    pub strides: Signal<In, Bits<32>>,
    /// A row of a recurrent instruction is wholly written.
    pub row_done: Signal<In, Bit>,
    /// Request, held until granted.
    pub req: Signal<Out, Bit>,
    /// The request is for `smem`.
    pub smem: Signal<Out, Bit>,
    /// Address of lane 0.
    pub addr: Signal<Out, Bits<20>>,
    /// `(inner − 1)/N`.
    pub q: Signal<Out, Bits<16>>,
    /// Inner stride 0.
    pub bcast: Signal<Out, Bit>,
    /// Lanes enabled.
    pub count: Signal<Out, Bits<5>>,
    /// Granted.
    pub gnt: Signal<In, Bit>,
    /// Reads of the current instruction are still to be granted.
    pub active: Signal<Out, Bit>,
    /// This cycle's read data belong into the queue.
    pub push: Signal<Out, Bit>,
    /// Where they go.
    pub tail: Signal<Out, Bits<4>>,
    /// The oldest vector in the queue.
    pub head: Signal<Out, Bits<4>>,
    /// There is one.
    pub avail: Signal<Out, Bit>,
    /// It is taken.
    pub pop: Signal<In, Bit>,
    walk: Walk,
    going: DFF<Bit>,
    hold: DFF<Bit>,
    smem_q: DFF<Bit>,
    recurrent: DFF<Bit>,
    cols: DFF<Bits<16>>,
    cols_left: DFF<Bits<16>>,
    rows_left: DFF<Bits<16>>,
    used: DFF<Bits<5>>,
    coming: Vec<DFF<Bit>>,
    arrives: Signal<Local, Bit>,
    tail_q: DFF<Bits<5>>,
    head_q: DFF<Bits<5>>,
    request: Signal<Local, Bit>,
    granted: Signal<Local, Bit>,
    row_end: Signal<Local, Bit>,
    fewer: Signal<Local, Bits<16>>,
    lanes: Constant<Bits<16>>,
    _m: usize,
}

impl Reader {
    /// For N banks that answer after M cycles, and V lanes.
    pub fn new(n: usize, v: usize, m: usize) -> Reader {
        Reader {
            clock: Default::default(),
            abort: Default::default(),
            start: Default::default(),
            header: Default::default(),
            size: Default::default(),
            kind: Default::default(),
            base: Default::default(),
            strides: Default::default(),
            row_done: Default::default(),
            req: Default::default(),
            smem: Default::default(),
            addr: Default::default(),
            q: Default::default(),
            bcast: Default::default(),
            count: Default::default(),
            gnt: Default::default(),
            active: Default::default(),
            push: Default::default(),
            tail: Default::default(),
            head: Default::default(),
            avail: Default::default(),
            pop: Default::default(),
            walk: Walk::new(n, v),
            going: Default::default(),
            hold: Default::default(),
            smem_q: Default::default(),
            recurrent: Default::default(),
            cols: Default::default(),
            cols_left: Default::default(),
            rows_left: Default::default(),
            used: Default::default(),
            coming: many(m),
            arrives: Default::default(),
            tail_q: Default::default(),
            head_q: Default::default(),
            request: Default::default(),
            granted: Default::default(),
            row_end: Default::default(),
            fewer: Default::default(),
            lanes: Constant::new(bits(v as u64)),
            _m: m,
        }
    }
}

impl Logic for Reader {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module vector_reader");
        dff_setup!(self, clock, going, hold, smem_q, recurrent, cols, cols_left, rows_left, used, tail_q, head_q);
        clock!(self, clock, walk);
        self.request.next = self.going.q.val() & !self.hold.q.val() & !self.used.q.val().get_bit(4);
        self.granted.next = self.request.val() & self.gnt.val();
        self.row_end.next = self.cols_left.q.val() <= self.lanes.val();
        self.fewer.next = self.cols_left.q.val() - self.lanes.val();

        self.walk.load.next = self.start.val();
        self.walk.base.next = self.base.val();
        self.walk.strides.next = self.strides.val();
        self.walk.go_on.next = self.granted.val();
        self.walk.row_end.next = self.row_end.val();

        if self.start.val() {
            self.going.d.next = !self.kind.val().get_bit(1);
            self.hold.d.next = false;
            self.smem_q.d.next = self.kind.val().get_bit(0);
            self.recurrent.d.next = self.header.val().get_bit(28);
            self.cols.d.next = self.size.val().get_bits::<16>(16);
            self.cols_left.d.next = self.size.val().get_bits::<16>(16);
            self.rows_left.d.next = self.size.val().get_bits::<16>(0);
        } else if self.granted.val() {
            self.cols_left.d.next = self.fewer.val();
            if self.row_end.val() {
                self.cols_left.d.next = self.cols.q.val();
                self.rows_left.d.next = self.rows_left.q.val() - 1;
                self.hold.d.next = self.recurrent.q.val();
                if self.rows_left.q.val() == 1 {
                    self.going.d.next = false;
                    self.hold.d.next = false;
                }
            }
        } else if self.row_done.val() {
            self.hold.d.next = false;
        }

        self.coming[0].d.next = self.granted.val();
        for i in 1..self._m {
            self.coming[i].d.next = self.coming[i - 1].q.val();
        }
        for i in 0..self._m {
            self.coming[i].clock.next = self.clock.val();
            self.arrives.next = self.coming[i].q.val();
        }
        if self.arrives.val() {
            self.tail_q.d.next = self.tail_q.q.val() + 1;
        }
        if self.pop.val() {
            self.head_q.d.next = self.head_q.q.val() + 1;
        }
        if self.granted.val() & !self.pop.val() {
            self.used.d.next = self.used.q.val() + 1;
        } else if self.pop.val() & !self.granted.val() {
            self.used.d.next = self.used.q.val() - 1;
        }
        if self.abort.val() {
            self.going.d.next = false;
            self.hold.d.next = false;
            self.used.d.next = bits::<5>(0);
            for i in 0..self._m {
                self.coming[i].d.next = false;
            }
            self.tail_q.d.next = bits::<5>(0);
            self.head_q.d.next = bits::<5>(0);
        }

        self.req.next = self.request.val();
        self.smem.next = self.smem_q.q.val();
        self.addr.next = self.walk.addr.val();
        self.q.next = self.walk.q.val();
        self.bcast.next = self.walk.inner.val() == 0;
        self.count.next = self.cols_left.q.val().get_bits::<5>(0);
        if !self.row_end.val() {
            self.count.next = self.lanes.val().get_bits::<5>(0);
        }
        self.active.next = self.going.q.val();
        self.push.next = self.arrives.val();
        self.tail.next = self.tail_q.q.val().get_bits::<4>(0);
        self.head.next = self.head_q.q.val().get_bits::<4>(0);
        self.avail.next = self.tail_q.q.val() != self.head_q.q.val();
    }
}
