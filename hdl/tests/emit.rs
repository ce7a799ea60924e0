//! The emitter: what it prints means what the Rust means, and what cannot be printed is refused.

use rust_hdl_core::prelude::*;
use rust_hdl_widgets::prelude::*;
use systole_checks::number::Random;
use systole_checks::{Design, ports};
use systole_hdl::comment;
use systole_hdl::emit::{emit_verilog, try_emit_verilog};

#[derive(Copy, Clone, PartialEq, Debug, LogicState)]
enum State {
    Idle,
    Run,
    Done,
}

#[derive(Copy, Clone, PartialEq, Debug, Default, LogicStruct)]
struct Pair {
    low: Bits<5>,
    high: Bits<3>,
}

/// The expressions that rust-hdl's own printer gets wrong, and a few more.
#[derive(LogicBlock, Default)]
struct Traps {
    clock: Signal<In, Clock>,
    a: Signal<In, Bits<16>>,
    b: Signal<In, Bits<16>>,
    c: Signal<In, Bits<16>>,
    n: Signal<In, Bits<5>>,
    masked: Signal<Out, Bit>,
    sum_mul: Signal<Out, Bits<32>>,
    wrap_eq: Signal<Out, Bit>,
    cast_sum: Signal<Out, Bits<32>>,
    cast_not: Signal<Out, Bits<32>>,
    shifted: Signal<Out, Bits<16>>,
    greater: Signal<Out, Bit>,
    bits_of_sum: Signal<Out, Bits<8>>,
    dynamic: Signal<Out, Bits<16>>,
    one_bit: Signal<Out, Bit>,
    field: Signal<Out, Bits<3>>,
    less: Signal<Out, Bit>,
    widened: Signal<Out, Signed<32>>,
    replaced: Signal<Out, Bits<16>>,
    late: Signal<Out, Bits<16>>,
    state: Signal<Out, Bits<2>>,
    total: Signal<Out, Bits<16>>,
    order: Signal<Local, Bits<16>>,
    pair: Signal<Local, Pair>,
    step: DFF<State>,
    parts: Vec<Signal<Local, Bits<16>>>,
    _n: usize,
}

impl Logic for Traps {
    #[hdl_gen]
    fn update(&mut self) {
        comment!("module traps");
        dff_setup!(self, clock, step);
        self.masked.next = ((self.a.val() & self.b.val()) == self.c.val()) & (self.n.val() != 3);
        self.sum_mul.next = (self.a.val() + self.b.val()) * self.c.val();
        self.wrap_eq.next = self.a.val() + 1 == self.b.val();
        self.cast_sum.next = bit_cast::<32, 16>(self.a.val() + self.b.val());
        self.cast_not.next = bit_cast::<32, 16>(!self.a.val());
        self.shifted.next = (self.a.val() + 1) >> 1;
        self.greater.next = (self.a.val() + 1) > self.b.val();
        self.bits_of_sum.next = (self.a.val() + self.b.val()).get_bits::<8>(6);
        self.dynamic.next = self.a.val() >> self.n.val();
        self.one_bit.next = self.a.val().get_bit(self.n.val().index());
        self.pair.next.low = self.a.val().get_bits::<5>(0);
        self.pair.next.high = self.b.val().get_bits::<3>(4);
        self.field.next = self.pair.val().high;
        self.less.next = signed_cast(self.a.val()) < signed_cast(self.b.val());
        self.widened.next = signed_bit_cast::<32, 16>(signed_cast(self.a.val()));
        self.replaced.next = self.a.val().replace_bit(self.n.val().index(), self.b.val().get_bit(0));
        // Rust reads the final value of `order`, wherever the read stands.
        self.order.next = self.a.val();
        self.late.next = self.order.val();
        if self.n.val().get_bit(0) {
            self.order.next = self.b.val();
        }
        match self.step.q.val() {
            State::Idle => {
                if self.n.val() == 1 {
                    self.step.d.next = State::Run;
                }
            }
            State::Run => self.step.d.next = State::Done,
            State::Done => self.step.d.next = State::Idle,
        }
        self.state.next = 0.into();
        if self.step.q.val() == State::Run {
            self.state.next = 1.into();
        } else if self.step.q.val() == State::Done {
            self.state.next = 2.into();
        }
        self.parts[0].next = self.a.val();
        for i in 1..self._n {
            self.parts[i].next = self.parts[i - 1].val() + self.b.val();
        }
        for i in self._n..(self._n + 1) {
            self.total.next = self.parts[i - 1].val();
        }
    }
}

#[derive(LogicBlock, Default)]
struct Latch {
    a: Signal<In, Bit>,
    q: Signal<Out, Bit>,
}

impl Logic for Latch {
    #[hdl_gen]
    fn update(&mut self) {
        if self.a.val() {
            self.q.next = true;
        }
    }
}

#[test]
fn a_latch_is_refused() {
    let mut block = Latch::default();
    block.connect_all();
    let e = try_emit_verilog(&block, "top").unwrap_err();
    assert!(e.faults[0].contains("latch: `q`"), "{e}");
}

fn traps() -> Traps {
    let mut block = Traps { parts: vec![Default::default(); 4], _n: 4, ..Default::default() };
    block.connect_all();
    block
}

#[test]
fn registers_are_inlined_and_names_are_plain() {
    let text = emit_verilog(&traps(), "traps_top");
    println!("{text}");
    assert!(text.contains("module traps_top ("));
    assert!(text.contains("localparam logic [1:0] State_Run = 2'd1;"));
    assert!(text.contains("always_ff @(posedge clock)"));
}

#[test]
fn verilated_expressions_mean_what_rust_means() {
    let mut module = Design { optimise: systole_verilator::Optimise::Quick, ..Design::of(traps(), "traps_top") }.load();
    let outputs = [
        "masked",
        "sum_mul",
        "wrap_eq",
        "cast_sum",
        "cast_not",
        "shifted",
        "greater",
        "bits_of_sum",
        "dynamic",
        "one_bit",
        "field",
        "less",
        "widened",
        "replaced",
        "late",
        "total",
    ];
    let (inputs, outs) = (ports(&module, &["a", "b", "c", "n"]), ports(&module, &outputs));
    let mut random = Random(0xe1);
    let mut stimuli = vec![[0xffffu64, 1, 1, 0], [0x8001, 0x8001, 0, 1], [0xffff, 0, 0, 31], [4, 6, 4, 3]];
    for _ in 0..20_000 {
        let a = random.bits() & 0xffff;
        let b = [a.wrapping_add(1) & 0xffff, random.bits() & 0xffff, random.bits() & 7][random.below(3) as usize];
        stimuli.push([a, b, [a & b, random.bits() & 0xffff][random.below(2) as usize], random.below(32)]);
    }
    let flat: Vec<u64> = stimuli.iter().flatten().copied().collect();
    let got = module.run_vectors(None, &inputs, &outs, &flat, 0);
    for (v, got) in stimuli.iter().zip(got.chunks(outputs.len())) {
        let (a, b, c, n) = (v[0] as u16, v[1] as u16, v[2] as u16, v[3] as u32);
        let sum = a.wrapping_add(b);
        let shl = |x: u16| x.checked_shl(n).unwrap_or(0);
        let expected: [u64; 16] = [
            ((a & b) == c && n != 3) as u64,
            sum as u64 * c as u64,
            (a.wrapping_add(1) == b) as u64,
            sum as u64,
            !a as u64,
            (a.wrapping_add(1) >> 1) as u64,
            (a.wrapping_add(1) > b) as u64,
            (sum >> 6) as u64 & 0xff,
            a.checked_shr(n).unwrap_or(0) as u64,
            a.checked_shr(n).unwrap_or(0) as u64 & 1,
            (b as u64 >> 4) & 7,
            ((a as i16) < (b as i16)) as u64,
            a as i16 as i32 as u32 as u64,
            ((a & !shl(1)) | shl(b & 1)) as u64,
            if n & 1 == 1 { b } else { a } as u64,
            a.wrapping_add(b.wrapping_mul(3)) as u64,
        ];
        for (i, name) in outputs.iter().enumerate() {
            assert_eq!(got[i], expected[i], "{name} of {a:04x}, {b:04x}, {c:04x}, {n}");
        }
    }
}
