//! The loss scaler as it runs: five hundred steps through link, firmware, fetcher and flags, each overflowing or not as a
//! trace says, on the hardware and on the model.

use systole::driver::Device;
use systole::driver::device::DeviceOptions;
use systole::driver::product::upload_program;
use systole::driver::requests::{Block, Registers, StepRequest};
use systole_isa::flag;
use systole_isa::frame::scaler as word;
use systole_isa::frame::step::Outcome;
use systole_isa::instr::{Control, Instr, Sync, Vector, VectorOp};
use systole_isa::operand::{Addr, Base, Dest, Modifiers, Source, View};
use systole_isa::regs::Space;

const STEPS: usize = 500;
/// The scalar register that a step's gradient comes from.
const GRADIENT: u8 = 4;

/// One instruction as a segment.
fn segment(program: &mut Vec<u32>, v: Vector) -> (u32, u32) {
    let start = program.len() as u32;
    program.extend_from_slice(&Instr::Vector(v).encode());
    program.extend_from_slice(&Instr::Control(Control::End).encode());
    (start, program.len() as u32 - start)
}

struct Rig(Device);

impl Rig {
    /// *compute* writes the register as an FP16 weight gradient; *update* counts itself in FP32 memory.
    fn new(device: &str) -> Rig {
        let mut d = Device::open(&DeviceOptions { name: device.into(), ..DeviceOptions::default() })
            .unwrap_or_else(|e| panic!("{device}: {e}"));
        let at = |offset| View::new(Base::at(Addr::new(0, offset)), 1, 0);
        let compute = Vector {
            sync: Sync { flag: Some(flag::WEIGHT_GRADIENT as u8), ..Sync::default() },
            op: VectorOp::Mad,
            rows: 1,
            cols: 1,
            x: Source::Sreg(GRADIENT, Modifiers::default()),
            y: Source::ONE,
            z: Source::NEG_ZERO,
            d: Dest::Hmem(at(0)),
            copy: None,
            recurrent: false,
        };
        let count = Source::Smem(at(0), Modifiers::default());
        let update = Vector { sync: Sync::default(), x: count, z: Source::ONE, d: Dest::Smem(at(0)), ..compute };
        let mut program = Vec::new();
        let segments = [segment(&mut program, compute), segment(&mut program, update)];
        upload_program(&mut d.link, &program).expect("a program");
        d.link.segments(&segments).expect("segments");
        d.link.fill(Block::line(Space::Smem, 0, 1), 0).expect("a count");
        Rig(d)
    }

    /// The scale's exponent after every step, and how many updates there were.
    fn run(&mut self, state: &[u32; word::WORDS], overflows: impl Fn(usize) -> bool) -> (Vec<i32>, f32) {
        let link = &mut self.0.link;
        link.scaler_set(0, state).expect("a scaler");
        let mut all = Vec::new();
        for i in 0..STEPS {
            // the largest FP32 number is finite, and not in FP16
            let gradient = if overflows(i) { f32::MAX } else { 1.0 };
            let scalar = vec![(u32::from(GRADIENT), gradient.to_bits())];
            let request = StepRequest {
                scaler: 0,
                compute: 0,
                update: 1,
                early: false,
                chained: false,
                more: false,
                inv_batch: 1.0,
                deadline: 1_000_000,
                registers: Registers { address: Vec::new(), scalar },
            };
            let ticket = link.step(&request).expect("a step");
            let reply = link.step_reply(ticket).expect("its reply");
            let want = if overflows(i) { Outcome::SkippedGradient } else { Outcome::Updated };
            assert_eq!(reply.outcome, want, "step {i}");
            all.push(reply.exponent_next);
        }
        let count = link.read(Block::line(Space::Smem, 0, 1)).expect("the count");
        (all, f32::from_le_bytes([count[0], count[1], count[2], count[3]]))
    }
}

fn state(change: &[(usize, i32)]) -> [u32; word::WORDS] {
    let mut w = [0; word::WORDS];
    let base = [
        (word::MODE, 2),
        (word::EXPONENT, 16),
        (word::GROWTH, 1),
        (word::BACKOFF, 1),
        (word::INTERVAL, 2000),
        (word::FLOOR, -60),
        (word::CAP, 60),
        (word::HYSTERESIS, 1),
        (word::HYSTERESIS_LEFT, 1),
    ];
    base.iter().chain(change).for_each(|&(i, v)| w[i] = v as u32);
    w
}

#[test]
fn recorded_traces_of_pytorch() {
    let text = include_str!("../../firmware/tests/data/gradscaler_traces.json");
    let traces: serde_json::Value = serde_json::from_str(text).expect("JSON");
    for (device, names) in [("rtl", ["first steps", "random 4%"].as_slice()), ("model", &["bursts", "random 1%"])] {
        let mut rig = Rig::new(device);
        let mut updates = 0.0;
        for name in names {
            let find = |t: &&serde_json::Value| t["name"] == *name;
            let t = traces["traces"].as_array().expect("traces").iter().find(find).expect("recorded");
            let exponent = |v: &serde_json::Value| v.as_f64().expect("a number").log2() as i32;
            let overflows: Vec<u64> =
                t["overflow_steps"].as_array().expect("steps").iter().map(|v| v.as_u64().expect("a step")).collect();
            let runs = t["scale_after_step_rle"].as_array().expect("runs");
            let want: Vec<i32> = runs
                .iter()
                .flat_map(|r| std::iter::repeat_n(exponent(&r[0]), r[1].as_u64().expect("a length") as usize))
                .take(STEPS)
                .collect();
            let start = state(&[
                (word::EXPONENT, exponent(&t["init_scale"])),
                (word::INTERVAL, t["growth_interval"].as_u64().expect("steps") as i32),
            ]);
            let (got, count) = rig.run(&start, |i| overflows.contains(&(i as u64)));
            assert_eq!(got, want, "{device}, {name}");
            let skipped = overflows.iter().filter(|&&s| s < STEPS as u64).count();
            updates += (STEPS - skipped) as f32;
            assert_eq!(count, updates, "{device}, {name}: a skipped update does not run");
        }
    }
}

/// Megatron-LM's `DynamicGradScaler.update`, as its documentation has it, in floating point.
struct Megatron {
    scale: f64,
    min: f64,
    growth_interval: u32,
    hysteresis: i32,
    growth_tracker: u32,
    hysteresis_tracker: i32,
}

impl Megatron {
    fn update(&mut self, found_inf: bool) {
        if found_inf {
            self.growth_tracker = 0;
            self.hysteresis_tracker -= 1;
            if self.hysteresis_tracker <= 0 {
                self.scale = (self.scale * 0.5).max(self.min);
            }
        } else {
            self.growth_tracker += 1;
            if self.growth_tracker == self.growth_interval {
                self.growth_tracker = 0;
                self.hysteresis_tracker = self.hysteresis;
                self.scale *= 2.0;
            }
        }
    }
}

#[test]
fn megatrons_hysteresis() {
    // about one overflow in five, from a fixed generator
    let overflows = |i: usize| (i as u32).wrapping_mul(2_654_435_761).rotate_left(9) % 5 == 0;
    assert!((70..130).contains(&(0..STEPS).filter(|&i| overflows(i)).count()));
    for (device, hysteresis) in [("rtl", 3), ("model", 2)] {
        let start = state(&[
            (word::INTERVAL, 6),
            (word::FLOOR, 12),
            (word::HYSTERESIS, hysteresis),
            (word::HYSTERESIS_LEFT, hysteresis),
            (word::HYSTERESIS_MODE, 1),
        ]);
        let mut megatron = Megatron {
            scale: 65536.0,
            min: 4096.0,
            growth_interval: 6,
            hysteresis,
            growth_tracker: 0,
            hysteresis_tracker: hysteresis,
        };
        let want: Vec<i32> = (0..STEPS)
            .map(|i| {
                megatron.update(overflows(i));
                megatron.scale.log2() as i32
            })
            .collect();
        assert!(want.iter().any(|&e| e > 16) || want.contains(&12));
        assert_eq!(Rig::new(device).run(&start, overflows).0, want, "{device}");
    }
}
