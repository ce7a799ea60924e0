//! How long the model takes for a training step's products and updates. Prints; asserts nothing about time.
//! `cargo test --release -p systole-sim --test model_speed -- --ignored --nocapture`

use std::time::Instant;

use systole_isa::instr::{Gemm, Init, Mask, Output, Sync, Vector, VectorOp};
use systole_isa::machine::Machine;
use systole_isa::operand::{Addr, Base, Dest, Modifiers, Source, View};
use systole_sim::model::memory::Memory;
use systole_sim::model::simd::Level;
use systole_sim::model::{gemm, vector};

fn product(m: u16, k: u16, n: u16, x: (i16, i16), w: (i16, i16)) -> Gemm {
    Gemm {
        sync: Sync::default(),
        m,
        k,
        n,
        m_block: 64,
        n_group: 2,
        acc_base: 0,
        x: View::new(Base::at(Addr::new(0, 0)), x.0, x.1),
        w: View::new(Base::at(Addr::new(1, 0)), w.0, w.1),
        init: Init::Zero,
        out: Output::Half(View::new(Base::at(Addr::new(0, 120_000)), 1, n as i16)),
        relu: true,
        mask: Mask::None,
    }
}

/// Forward, weight gradients and activation gradients of `inputs`-`hidden`-`outputs` on `batch` rows, and an SGD update.
fn step(memory: &mut Memory, batch: u16, inputs: u16, hidden: u16, outputs: u16) -> (f64, f64) {
    let pitch = |n: u16| (n.next_multiple_of(8) + 1) as i16;
    let (pi, ph, po) = (pitch(inputs), pitch(hidden), pitch(outputs));
    let products = [
        product(batch, inputs, hidden, (1, pi), (1, ph)),
        product(batch, hidden, outputs, (1, ph), (1, po)),
        product(hidden, batch, outputs, (ph, 1), (1, po)),
        product(batch, outputs, hidden, (1, po), (po, 1)),
        product(inputs, batch, hidden, (pi, 1), (1, ph)),
    ];
    let start = Instant::now();
    for g in &products {
        gemm::run(memory, g).expect("legal");
    }
    let products = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let weights = View::new(Base::at(Addr::new(0, 0)), 1, hidden as i16);
    let update = Vector {
        sync: Sync::default(),
        op: VectorOp::Mad,
        rows: inputs,
        cols: hidden,
        x: Source::Hmem(
            View::new(Base::at(Addr::new(0, 120_000)), 1, hidden as i16),
            Modifiers { scaled: true, ..Modifiers::default() },
        ),
        y: Source::Sreg(0, Modifiers::default()),
        z: Source::Smem(weights, Modifiers::default()),
        d: Dest::Smem(weights),
        copy: Some(View::new(Base::at(Addr::new(1, 0)), 1, hidden as i16)),
        recurrent: false,
    };
    vector::run(memory, &update, -10).expect("legal");
    (products, start.elapsed().as_secs_f64())
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let machine = Machine { hmem_words: 1 << 19, smem_words: 1 << 18, ..Machine::DEFAULT };
    for level in Level::available() {
        let mut memory = Memory::new(machine);
        memory.level = level;
        memory.half.iter_mut().enumerate().for_each(|(i, h)| *h = 0x2c00 + (i as u16 & 0x7ff));
        for (batch, inputs, hidden, outputs) in [(32, 64, 32, 10), (64, 784, 128, 10)] {
            let times: Vec<(f64, f64)> = (0..200).map(|_| step(&mut memory, batch, inputs, hidden, outputs)).collect();
            let best = |f: fn(&(f64, f64)) -> f64| times.iter().map(f).fold(f64::INFINITY, f64::min) * 1e6;
            println!(
                "{level:?}: {inputs}-{hidden}-{outputs}, batch {batch}: products {:.1} us, update {:.1} us",
                best(|t| t.0),
                best(|t| t.1)
            );
        }
    }
}
