//! An update by itself, on a device: gradients are written where a backward pass would leave them, and a training step whose
//! compute segment does nothing updates the weights.

use systole::compile::{self, Compiled, Recipe, TensorPlace};
use systole::driver::Device;
use systole::driver::device::DeviceOptions;
use systole::driver::requests::{Block, Registers, StepReply, StepRequest};
use systole::driver::session::{Session, Weights};
use systole::graph::Model;
use systole::run::schedule::Schedule;
use systole::run::{LossScale, TrainOptions};

pub struct Bench {
    pub session: Session,
    pub lr: f32,
    pub momentum: f32,
    pub schedule: Schedule,
    updates: u64,
    nothing: u32,
}

fn block(p: &TensorPlace) -> Block {
    Block { space: p.space, addr: p.addr.0, columns: p.cols, rows: p.rows, pitch: p.pitch as i32 }
}

impl Bench {
    /// A network on `device` at loss scale 2^`scale`. Weights are filled from `start`, layer by layer, the rest being zero.
    pub fn new(device: &str, model: &str, recipe: Recipe, scale: i32, start: &[f32]) -> Bench {
        let device = Device::open(&DeviceOptions { name: device.into(), ..DeviceOptions::default() }).unwrap();
        let model = Model::mlp(model).unwrap();
        let compiled = compile::network(&model.graph, 8, recipe, device.info.machine).unwrap();
        let weights = Weights::from(split(&compiled, start));
        let options = TrainOptions { loss_scale: LossScale::Static(scale), ..TrainOptions::default() };
        let mut session = Session::start(device, compiled, &weights, &[options.scaler()], 0).unwrap();
        let mut segments: Vec<_> = session.compiled().segments.iter().map(|s| (s.addr, s.words)).collect();
        // the end of a segment is a segment
        let end = segments[0].0 + segments[0].1 - 2;
        segments.push((end, 2));
        session.device().link.segments(&segments).unwrap();
        let nothing = segments.len() as u32 - 1;
        Bench { session, lr: 0.1, momentum: 0.0, schedule: Schedule::default(), updates: 0, nothing }
    }

    /// One update with these gradients, which are scaled already and must be exact in FP16.
    pub fn update(&mut self, scaled: &[f32]) -> StepReply {
        let segment = self.session.compiled().phases[0].update;
        let scalars = self.scalars();
        self.updates += 1;
        self.step(scaled, segment, false, scalars)
    }

    /// What the scalar registers hold for the next update.
    pub fn scalars(&self) -> Vec<(u32, u32)> {
        let lr = self.schedule.rate(self.lr, self.updates);
        self.session.compiled().phases[0].recipe.scalars(lr, self.momentum, self.updates)
    }

    pub fn step(&mut self, scaled: &[f32], segment: u32, more: bool, scalars: Vec<(u32, u32)>) -> StepReply {
        let values = split(self.session.compiled(), scaled);
        let places: Vec<_> = self.session.compiled().parameters.iter().map(|p| p.gradient).collect();
        let link = &mut self.session.device().link;
        for (place, values) in places.iter().zip(values) {
            let half = |v: f32| {
                let h = half::f16::from_f32(v);
                assert_eq!(h.to_f32(), v, "gradients of these tests are exact");
                h.to_bits().to_le_bytes()
            };
            link.write(block(place), &values.into_iter().flat_map(half).collect::<Vec<u8>>()).unwrap();
        }
        let registers = Registers { address: Vec::new(), scalar: scalars };
        let (compute, deadline) = (self.nothing, 10_000_000);
        let request = StepRequest {
            scaler: 0,
            compute,
            update: segment,
            more,
            early: false,
            chained: false,
            inv_batch: 0.125,
            deadline,
            registers,
        };
        let ticket = link.step(&request).unwrap();
        link.step_reply(ticket).unwrap()
    }

    /// The master weights, one after the other.
    pub fn masters(&mut self) -> Vec<f32> {
        self.session.weights().unwrap().masters.concat()
    }
}

fn split(compiled: &Compiled, values: &[f32]) -> Vec<Vec<f32>> {
    let mut rest = values.iter().copied().chain(std::iter::repeat(0.0));
    compiled.parameters.iter().map(|p| rest.by_ref().take(p.shape.iter().product()).collect()).collect()
}
