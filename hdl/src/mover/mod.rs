//! The mover: registers 0x300 to 0x3ff, and rows of elements between rings and memories, one transfer at a time.
//!
//! ```text
//!  to memory:  RX ring --words--> queue (4) --element--> [bytes to FP16] --> out --> mv_w or program memory
//!                                   fill value -------------------------^
//!  to ring:    mv_r (M cycles) or program memory (2) --> gather --> queue (4) --> TX ring
//!
//!            start, sizes not zero             last element passed         queue, pipeline and `out` empty
//!   +------+ ---------------------> +--------+ ------------------> +-------+ --------------------> Idle
//!   | Idle |                        | Moving |                     | Drain |
//!   +------+ <------ abort -------- +--------+ <-- abort also here +-------+
//! ```
//!
//! One element (a byte, a half or a word) passes per cycle where everything is granted. Both directions share the queue and the
//! address generator: `address` walks a row, `row_address` is the start of the row. An element out of range is not accessed: it
//! sets the error bit; towards the ring it counts as zero.
//!
//! Towards memory the ring is read ahead of the need, by at most four words behind the last one used. Registers may be written
//! only while the mover is not busy, except that a start is then ignored.

pub mod limits;
pub mod to_half;

use crate::control::memory::LutRam;
use crate::memory::many;
use limits::Limits;
use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use systole_isa::machine::Machine;
use to_half::ToHalf;

/// What the mover is doing.
#[derive(Copy, Clone, PartialEq, Debug, LogicState)]
pub enum State {
    /// Nothing.
    Idle,
    /// Elements remain to be passed.
    Moving,
    /// The last ones are on their way.
    Drain,
}

/// The mover of one machine.
#[derive(LogicBlock, Default)]
pub struct Mover {
    /// The clock.
    pub clock: Signal<In, Clock>,
    /// Forget the transfer.
    pub abort: Signal<In, Bit>,

    /// Register port: an access.
    pub sel: Signal<In, Bit>,
    /// It is a write.
    pub we: Signal<In, Bit>,
    /// Byte offset from the registers' base.
    pub addr: Signal<In, Bits<12>>,
    /// Value to write.
    pub wdata: Signal<In, Bits<32>>,
    /// Value read, from the cycle after `sel`.
    pub rdata: Signal<Out, Bits<32>>,

    /// Read a word of the RX ring.
    pub rx_req: Signal<Out, Bit>,
    /// Its byte offset, a multiple of 4 within the ring.
    pub rx_addr: Signal<Out, Bits<16>>,
    /// Granted; the word comes in the next cycle.
    pub rx_gnt: Signal<In, Bit>,
    /// The word.
    pub rx_rdata: Signal<In, Bits<32>>,
    /// Write a word of the TX ring.
    pub tx_req: Signal<Out, Bit>,
    /// Its byte offset, a multiple of 4 within the ring.
    pub tx_addr: Signal<Out, Bits<16>>,
    /// The word.
    pub tx_wdata: Signal<Out, Bits<32>>,
    /// It is taken.
    pub tx_gnt: Signal<In, Bit>,

    /// Read an element (count 1).
    pub r_req: Signal<Out, Bit>,
    /// Of smem.
    pub r_smem: Signal<Out, Bit>,
    /// Its address.
    pub r_addr: Signal<Out, Bits<20>>,
    /// Granted; the element comes M cycles later: [`Machine::memory_latency`].
    pub r_gnt: Signal<In, Bit>,
    /// Lane 0 of the plane that was read.
    pub r_rdata: Signal<In, Bits<32>>,
    /// Write an element (count 1).
    pub w_req: Signal<Out, Bit>,
    /// To smem.
    pub w_smem: Signal<Out, Bit>,
    /// Its address.
    pub w_addr: Signal<Out, Bits<20>>,
    /// Lane 0.
    pub w_wdata: Signal<Out, Bits<32>>,
    /// It is taken.
    pub w_gnt: Signal<In, Bit>,

    /// Write a word of program memory; always taken.
    pub pm_we: Signal<Out, Bit>,
    /// Its address.
    pub pm_waddr: Signal<Out, Bits<16>>,
    /// Its value.
    pub pm_wdata: Signal<Out, Bits<32>>,
    /// Read a word of program memory.
    pub pm_req: Signal<Out, Bit>,
    /// Its address.
    pub pm_raddr: Signal<Out, Bits<16>>,
    /// Granted; the word comes in the next cycle.
    pub pm_gnt: Signal<In, Bit>,
    /// The word.
    pub pm_rdata: Signal<In, Bits<32>>,

    limits: Limits,

    held: DFF<Bits<32>>,
    ring: DFF<Bits<32>>,
    base: DFF<Bits<20>>,
    sizes: DFF<Bits<32>>,
    pitch: DFF<Bits<20>>,
    in_smem: DFF<Bit>,
    in_program: DFF<Bit>,
    to_ring: DFF<Bit>,
    bytes: DFF<Bit>,
    fill: DFF<Bit>,
    scale: DFF<Bits<8>>,
    error: DFF<Bit>,

    state: DFF<State>,
    column: DFF<Bits<16>>,
    row: DFF<Bits<16>>,
    address: DFF<Bits<20>>,
    row_address: DFF<Bits<20>>,
    ring_at: DFF<Bits<16>>,

    queue: LutRam<32, 2>,
    head: DFF<Bits<2>>,
    tail: DFF<Bits<2>>,
    fill_level: DFF<Bits<3>>,
    arriving: DFF<Bit>,
    part: DFF<Bits<2>>,

    out_valid: DFF<Bit>,
    out_address: DFF<Bits<20>>,
    out_data: DFF<Bits<32>>,

    /// Elements on their way, a stage a cycle: bit 0 there is one, bit 1 it does not exist, bit 2 it is the last.
    way: Vec<DFF<Bits<3>>>,
    /// A read waits for its grant here, at memory latencies above two: bit 0 there is one, bit 1 it is the last.
    asking: Vec<DFF<Bits<2>>>,
    asked_at: Vec<DFF<Bits<20>>>,
    asks: Signal<Local, Bits<2>>,
    /// Elements, or words of the ring, that were asked for and have not come.
    in_flight: DFF<Bits<3>>,
    from_program: DFF<Bits<32>>,
    low_half: DFF<Bits<16>>,
    have_low: DFF<Bit>,
    convert: ToHalf,

    own: Signal<Local, Bit>,
    register: Signal<Local, Bits<3>>,
    value: Signal<Local, Bits<32>>,
    status: Signal<Local, Bits<2>>,
    start: Signal<Local, Bit>,
    moving: Signal<Local, Bit>,
    exists: Signal<Local, Bit>,
    last_column: Signal<Local, Bits<16>>,
    last_row: Signal<Local, Bits<16>>,
    row_ends: Signal<Local, Bit>,
    ends: Signal<Local, Bit>,
    next_row: Signal<Local, Bits<20>>,
    step: Signal<Local, Bit>,
    take: Signal<Local, Bit>,
    drained: Signal<Local, Bit>,
    word: Signal<Local, Bits<32>>,
    word_byte: Signal<Local, Bits<8>>,
    word_half: Signal<Local, Bits<16>>,
    element: Signal<Local, Bits<32>>,
    word_ends: Signal<Local, Bit>,
    available: Signal<Local, Bit>,
    out_free: Signal<Local, Bit>,
    waiting: Signal<Local, Bits<3>>,
    departing: Signal<Local, Bits<3>>,
    landing: Signal<Local, Bits<3>>,
    asked: Signal<Local, Bit>,
    came: Signal<Local, Bit>,
    room: Signal<Local, Bit>,
    push: Signal<Local, Bit>,
    pop: Signal<Local, Bit>,
    pushed: Signal<Local, Bits<32>>,
    read_ok: Signal<Local, Bit>,
    /// An element that exists is asked for, and where.
    wanted: Signal<Local, Bit>,
    wanted_at: Signal<Local, Bits<20>>,
    /// The memory it lies in grants it.
    granted: Signal<Local, Bit>,
    /// The element at hand may be passed on: it is granted, or may wait for its grant elsewhere, or does not exist.
    accepted: Signal<Local, Bit>,
    read_taken: Signal<Local, Bit>,
    gotten: Signal<Local, Bits<32>>,
    ring_next: Signal<Local, Bits<16>>,
    _m: usize,
    _waits: usize,
}

impl Mover {
    /// The mover of `machine`.
    pub fn new(machine: &Machine) -> Self {
        let m = machine.memory_latency as usize;
        let waits = usize::from(m > 2);
        Mover {
            limits: Limits::new(machine),
            way: many(m),
            asking: many(waits),
            asked_at: many(waits),
            _m: m,
            _waits: waits,
            ..Default::default()
        }
    }
}

impl Logic for Mover {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            held,
            ring,
            base,
            sizes,
            pitch,
            in_smem,
            in_program,
            to_ring,
            bytes,
            fill,
            scale,
            error,
            state,
            column,
            row,
            address,
            row_address,
            ring_at,
            head,
            tail,
            fill_level,
            arriving,
            part,
            out_valid,
            out_address,
            out_data,
            in_flight,
            from_program,
            low_half,
            have_low
        );
        clock!(self, clock, queue);

        // Where the element at hand lies, and which one it is.
        self.limits.smem.next = self.in_smem.q.val();
        self.limits.in_program.next = self.in_program.q.val();
        self.limits.address.next = self.address.q.val();
        self.exists.next = self.limits.exists.val();
        self.last_column.next = self.sizes.q.val().get_bits::<16>(0) - 1;
        self.last_row.next = self.sizes.q.val().get_bits::<16>(16) - 1;
        self.row_ends.next = self.column.q.val() == self.last_column.val();
        self.ends.next = self.row_ends.val() & (self.row.q.val() == self.last_row.val());
        self.next_row.next = self.row_address.q.val() + self.pitch.q.val();
        self.moving.next = self.state.q.val() == State::Moving;

        // Ring to memory: the element at the queue's head, its conversion, and the register in front of the memories.
        self.word.next = self.queue.read_data.val();
        self.word_half.next = self.word.val().get_bits::<16>(0);
        if self.part.q.val().get_bit(1) {
            self.word_half.next = self.word.val().get_bits::<16>(16);
        }
        self.word_byte.next = self.word_half.val().get_bits::<8>(0);
        if self.part.q.val().get_bit(0) {
            self.word_byte.next = self.word_half.val().get_bits::<8>(8);
        }
        self.convert.raw.next = self.word_byte.val();
        self.convert.scale.next = self.scale.q.val();
        self.element.next = self.word.val();
        self.word_ends.next = true;
        self.part.d.next = bits::<2>(0);
        if self.fill.q.val() {
            self.element.next = self.ring.q.val();
        } else if self.bytes.q.val() {
            self.element.next = bit_cast::<32, 16>(self.convert.half.val());
            self.word_ends.next = self.part.q.val() == 3;
        } else if !self.in_smem.q.val() & !self.in_program.q.val() {
            self.element.next = bit_cast::<32, 16>(self.word_half.val());
            self.word_ends.next = self.part.q.val().get_bit(1);
        }
        self.available.next = (self.fill_level.q.val() != 0) | self.fill.q.val();
        self.out_free.next = !self.out_valid.q.val() | self.in_program.q.val() | self.w_gnt.val();
        self.take.next = self.moving.val() & !self.to_ring.q.val() & self.available.val() & self.out_free.val();
        if self.state.q.val() != State::Idle {
            self.part.d.next = self.part.q.val();
        }
        if self.take.val() & self.bytes.q.val() {
            self.part.d.next = self.part.q.val() + 1;
        } else if self.take.val() & !self.word_ends.val() {
            self.part.d.next = bits::<2>(2);
        } else if self.take.val() {
            self.part.d.next = bits::<2>(0);
        }
        if self.out_free.val() {
            self.out_valid.d.next = self.take.val() & self.exists.val();
        }
        if self.take.val() {
            self.out_address.d.next = self.address.q.val();
            self.out_data.d.next = self.element.val();
        }
        self.w_req.next = self.out_valid.q.val() & !self.in_program.q.val();
        self.w_smem.next = self.in_smem.q.val();
        self.w_addr.next = self.out_address.q.val();
        self.w_wdata.next = self.out_data.q.val();
        self.pm_we.next = self.out_valid.q.val() & self.in_program.q.val();
        self.pm_waddr.next = self.out_address.q.val().get_bits::<16>(0);
        self.pm_wdata.next = self.out_data.q.val();

        // Memory to ring: requests while the queue has room for all that is on its way.
        self.waiting.next = self.fill_level.q.val() + self.in_flight.q.val();
        self.room.next = self.waiting.val() < 4;
        self.read_ok.next = self.moving.val() & self.to_ring.q.val() & self.room.val();
        self.wanted.next = self.read_ok.val() & self.exists.val();
        self.wanted_at.next = self.address.q.val();
        self.granted.next = self.r_gnt.val();
        if self.in_program.q.val() {
            self.granted.next = self.pm_gnt.val();
        }
        self.asks.next = bits::<2>(0);
        self.accepted.next = self.granted.val() | !self.exists.val();
        for i in 0..self._waits {
            // Who is granted depends on all that ask, and what is next on the grant: here the two are a cycle apart.
            self.asking[i].clock.next = self.clock.val();
            self.asked_at[i].clock.next = self.clock.val();
            self.asking[i].d.next = self.asking[i].q.val();
            self.asked_at[i].d.next = self.asked_at[i].q.val();
            self.asks.next = self.asking[i].q.val();
            self.wanted.next = self.asks.val().get_bit(0);
            self.wanted_at.next = self.asked_at[i].q.val();
            self.accepted.next = !self.asks.val().get_bit(0);
        }
        self.read_taken.next = self.read_ok.val() & self.accepted.val();
        self.r_req.next = self.wanted.val() & !self.in_program.q.val();
        self.r_smem.next = self.in_smem.q.val();
        self.r_addr.next = self.wanted_at.val();
        self.pm_req.next = self.wanted.val() & self.in_program.q.val();
        self.pm_raddr.next = self.wanted_at.val().get_bits::<16>(0);
        self.departing.next = bit_cast::<3, 1>(self.read_taken.val().into())
            | (bit_cast::<3, 1>((!self.exists.val()).into()) << 1)
            | (bit_cast::<3, 1>(self.ends.val().into()) << 2);
        self.way[0].d.next = self.departing.val();
        for i in 0..self._waits {
            if self.asks.val().get_bit(0) {
                self.way[0].d.next = bits::<3>(0);
                if self.granted.val() {
                    self.way[0].d.next = (bit_cast::<3, 2>(self.asks.val()) & 1)
                        | (bit_cast::<3, 1>(self.asks.val().get_bit(1).into()) << 2);
                    self.asking[i].d.next = bits::<2>(0);
                }
            } else if self.read_taken.val() & self.exists.val() {
                self.way[0].d.next = bits::<3>(0);
                self.asking[i].d.next =
                    bit_cast::<2, 1>(self.read_taken.val().into()) | (bit_cast::<2, 1>(self.ends.val().into()) << 1);
                self.asked_at[i].d.next = self.address.q.val();
            }
        }
        for i in 1..self._m {
            self.way[i].d.next = self.way[i - 1].q.val();
        }
        for i in 0..self._m {
            self.way[i].clock.next = self.clock.val();
            self.landing.next = self.way[i].q.val();
        }
        if self.in_program.q.val() {
            // Program memory answers after two: what has landed there does not go on.
            self.landing.next = self.way[1].q.val();
            for i in 2..self._m {
                self.way[i].d.next = bits::<3>(0);
            }
        }
        if self.way[0].q.val().get_bit(0) & self.in_program.q.val() {
            self.from_program.d.next = self.pm_rdata.val();
        }
        self.gotten.next = self.r_rdata.val();
        if self.landing.val().get_bit(1) {
            self.gotten.next = bits::<32>(0);
        } else if self.in_program.q.val() {
            self.gotten.next = self.from_program.q.val();
        }

        // The queue's input: a word of the ring, a gathered pair of halves, or a word of memory.
        self.push.next = self.arriving.q.val();
        self.pushed.next = self.rx_rdata.val();
        if self.landing.val().get_bit(0) {
            self.push.next = true;
            self.pushed.next = self.gotten.val();
            if !self.in_smem.q.val() & !self.in_program.q.val() {
                if self.have_low.q.val() {
                    self.pushed.next = (bit_cast::<32, 16>(self.gotten.val().get_bits::<16>(0)) << 16)
                        | bit_cast::<32, 16>(self.low_half.q.val());
                    self.have_low.d.next = false;
                } else {
                    self.push.next = self.landing.val().get_bit(2);
                    self.pushed.next = bit_cast::<32, 16>(self.gotten.val().get_bits::<16>(0));
                    self.low_half.d.next = self.gotten.val().get_bits::<16>(0);
                    self.have_low.d.next = !self.landing.val().get_bit(2);
                }
            }
        }
        self.queue.write_enable.next = self.push.val();
        self.queue.write_address.next = self.tail.q.val();
        self.queue.write_data.next = self.pushed.val();
        self.queue.read_address.next = self.head.q.val();

        // The rings.
        self.rx_req.next = self.moving.val() & !self.to_ring.q.val() & !self.fill.q.val() & self.room.val();
        self.rx_addr.next = self.ring_at.q.val() & self.limits.rx_mask.val();
        self.arriving.d.next = self.rx_req.val() & self.rx_gnt.val();
        self.tx_req.next = self.to_ring.q.val() & (self.fill_level.q.val() != 0) & (self.state.q.val() != State::Idle);
        self.tx_addr.next = self.ring_at.q.val() & self.limits.tx_mask.val();
        self.tx_wdata.next = self.queue.read_data.val();
        self.ring_next.next = self.ring_at.q.val() + 4;
        self.asked.next = self.read_taken.val() | (self.rx_req.val() & self.rx_gnt.val());
        self.came.next = self.landing.val().get_bit(0) | self.arriving.q.val();
        if self.asked.val() & !self.came.val() {
            self.in_flight.d.next = self.in_flight.q.val() + 1;
        }
        if self.came.val() & !self.asked.val() {
            self.in_flight.d.next = self.in_flight.q.val() - 1;
        }
        if (self.rx_req.val() & self.rx_gnt.val()) | (self.tx_req.val() & self.tx_gnt.val()) {
            self.ring_at.d.next = self.ring_next.val();
        }
        self.pop.next =
            (self.take.val() & self.word_ends.val() & !self.fill.q.val()) | (self.tx_req.val() & self.tx_gnt.val());
        if self.push.val() {
            self.tail.d.next = self.tail.q.val() + 1;
        }
        if self.pop.val() {
            self.head.d.next = self.head.q.val() + 1;
        }
        if self.push.val() & !self.pop.val() {
            self.fill_level.d.next = self.fill_level.q.val() + 1;
        }
        if self.pop.val() & !self.push.val() {
            self.fill_level.d.next = self.fill_level.q.val() - 1;
        }

        // From element to element.
        self.step.next = self.take.val() | self.read_taken.val();
        self.drained.next = (self.in_flight.q.val() == 0)
            & !self.out_valid.q.val()
            & (!self.to_ring.q.val() | (self.fill_level.q.val() == 0));
        if self.step.val() {
            if !self.exists.val() {
                self.error.d.next = true;
            }
            self.address.d.next = self.address.q.val() + 1;
            self.column.d.next = self.column.q.val() + 1;
            if self.row_ends.val() {
                self.column.d.next = bits::<16>(0);
                self.row.d.next = self.row.q.val() + 1;
                self.address.d.next = self.next_row.val();
                self.row_address.d.next = self.next_row.val();
            }
            if self.ends.val() {
                self.state.d.next = State::Drain;
            }
        }
        if (self.state.q.val() == State::Drain) & self.drained.val() {
            self.state.d.next = State::Idle;
        }

        // Registers.
        self.own.next = self.sel.val() & (self.addr.val().get_bits::<4>(8) == 3);
        self.register.next = self.addr.val().get_bits::<3>(2);
        if self.addr.val().get_bits::<3>(5) != 0 {
            self.register.next = bits::<3>(7);
        }
        self.status.next = bits::<2>(1);
        if self.state.q.val() == State::Idle {
            self.status.next = bits::<2>(0);
        }
        self.value.next = bits::<32>(0);
        self.start.next = false;
        match self.register.val().index() {
            0 => {
                self.value.next = self.ring.q.val();
            }
            1 => {
                self.value.next = bit_cast::<32, 20>(self.base.q.val());
            }
            2 => {
                self.value.next = self.sizes.q.val();
            }
            3 => {
                self.value.next = bit_cast::<32, 20>(self.pitch.q.val());
            }
            4 => {
                self.value.next = bit_cast::<32, 2>(self.status.val());
                if self.error.q.val() {
                    self.value.next = bit_cast::<32, 2>(self.status.val()) | 2;
                }
            }
            _ => {}
        }
        self.rdata.next = self.held.q.val();
        if self.sel.val() {
            self.held.d.next = bits::<32>(0);
        }
        if self.own.val() & !self.we.val() {
            self.held.d.next = self.value.val();
        }
        if self.own.val() & self.we.val() & (self.state.q.val() == State::Idle) {
            match self.register.val().index() {
                0 => {
                    self.ring.d.next = self.wdata.val();
                }
                1 => {
                    self.base.d.next = self.wdata.val().get_bits::<20>(0);
                }
                2 => {
                    self.sizes.d.next = self.wdata.val();
                }
                3 => {
                    self.pitch.d.next = self.wdata.val().get_bits::<20>(0);
                }
                4 => {
                    self.start.next = true;
                }
                _ => {}
            }
        }
        if self.start.val() {
            self.in_smem.d.next = self.wdata.val().get_bits::<3>(0) == 1;
            self.in_program.d.next = self.wdata.val().get_bits::<3>(0) == 2;
            self.to_ring.d.next = self.wdata.val().get_bit(3);
            self.bytes.d.next =
                self.wdata.val().get_bit(4) & (self.wdata.val().get_bits::<3>(0) == 0) & !self.wdata.val().get_bit(5);
            self.fill.d.next = self.wdata.val().get_bit(5) & !self.wdata.val().get_bit(3);
            self.scale.d.next = self.wdata.val().get_bits::<8>(8);
            self.error.d.next = self.wdata.val().get_bits::<3>(0) > 2;
            self.column.d.next = bits::<16>(0);
            self.row.d.next = bits::<16>(0);
            self.address.d.next = self.base.q.val();
            self.row_address.d.next = self.base.q.val();
            self.ring_at.d.next = self.ring.q.val().get_bits::<16>(0);
            self.head.d.next = bits::<2>(0);
            self.tail.d.next = bits::<2>(0);
            self.fill_level.d.next = bits::<3>(0);
            self.have_low.d.next = false;
            if (self.sizes.q.val().get_bits::<16>(0) != 0)
                & (self.sizes.q.val().get_bits::<16>(16) != 0)
                & (self.wdata.val().get_bits::<3>(0) < 3)
            {
                self.state.d.next = State::Moving;
            }
        }
        if self.abort.val() {
            self.state.d.next = State::Idle;
            self.out_valid.d.next = false;
            for i in 0..self._m {
                self.way[i].d.next = bits::<3>(0);
            }
            for i in 0..self._waits {
                self.asking[i].d.next = bits::<2>(0);
            }
            self.in_flight.d.next = bits::<3>(0);
            self.arriving.d.next = false;
        }
    }
}
