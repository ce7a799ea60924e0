//! What the hardware says of a network: every bit of memory against the model over some steps, cycles of a step, bytes by class.

use std::time::Instant;

use systole_isa::frame::step::Outcome;
use systole_isa::regs::Space;

use super::cell::{Prepared, compiled};
use super::table::Machine;
use crate::cli::verify::verify_lockstep;
use crate::compile;
use crate::compile::plan::Class;
use crate::data::{Moment, permutation};
use crate::driver::Device;
use crate::driver::device::DeviceOptions;
use crate::driver::session::{Hyper, Session};
use crate::error::{Error, Result};
use crate::run::{LossScale, TrainOptions, initial_weights};

/// Steps before those whose cycles are counted, and those: the first fill the pipeline of host, link and device.
const BEFORE: usize = 2;
const MEASURED: usize = 4;
/// Clock of the simulated hardware on one core, in Hz: for estimates alone.
const SIMULATED_HZ: f64 = 1e5;

/// The hardware's check of one network.
pub(super) struct Check {
    pub(super) options: TrainOptions,
    pub(super) key: String,
    pub(super) command: String,
    pub(super) steps: u64,
    /// Expected seconds.
    pub(super) seconds: f64,
}

impl Check {
    /// The check that the plan wants, if any.
    pub(super) fn of(p: &Prepared) -> Result<Option<Check>> {
        let (n, steps) = (&p.network, p.network.rtl_steps);
        if steps == 0 {
            return Ok(None);
        }
        let options = n.options("", 0)?;
        let plan = &p.compiled.plan;
        let used = |space: Space, plane| u64::from(plan.plane_words(space, plane) * space.element_bytes());
        let bytes: u64 = [0, 1].into_iter().map(|p| used(Space::Hmem, p) + used(Space::Smem, p)).sum();
        let all = steps + (BEFORE + MEASURED + 1) as u64;
        Ok(Some(Check {
            options,
            key: p.key(&[&n.flags, "rtl", &steps.to_string()]),
            command: format!("systole verify lockstep models/{}.toml {} --steps {steps}", n.name, n.flags),
            steps,
            // after each of a step's two segments all memory in use is read, a byte a cycle
            seconds: (all * p.compiled.predicted_step() + 2 * steps * bytes) as f64 / SIMULATED_HZ,
        }))
    }

    /// Runs it. `advance` is told of every step.
    ///
    /// # Errors
    /// A difference between `rtl` and the model; what training and the link say.
    pub(super) fn run(&self, p: &Prepared, advance: &(dyn Fn(u64) + Sync)) -> Result<Machine> {
        let begun = Instant::now();
        let rtl = || Device::open(&DeviceOptions { name: "rtl".into(), ..DeviceOptions::default() });
        let device = rtl()?;
        let (machine, design) = (device.info.machine, device.info.design_hash);
        let equal = verify_lockstep(device, &self.options, self.steps, None, |c| advance(c.steps))?;
        let compiled = compiled(&p.model, &self.options, machine)?;
        let (plan, macs, program_words) = (compiled.plan.clone(), compiled.macs_per_step, compiled.plan.program_words);
        let cycles = cycles(rtl()?, p, &self.options, compiled)?;
        let bytes = |c: Class| (plan.class_bytes(c), plan.class_bytes_fp32(c));
        let (weights, weights_fp32) = bytes(Class::Weights);
        let (moments, moments_fp32) = bytes(Class::Moments);
        let (activations, activations_fp32) = bytes(Class::Activations);
        let (gradients, gradients_fp32) = bytes(Class::Gradients);
        let (workspace, workspace_fp32) = bytes(Class::Workspace);
        Ok(Machine {
            key: self.key.clone(),
            network: p.network.name.clone(),
            lanes: machine.lanes,
            design: format!("{design:08x}"),
            batch: self.options.batch,
            steps_equal: equal.compared.steps,
            segments: equal.compared.segments,
            elements: equal.compared.elements,
            weights_sha256: equal.weights_sha256,
            cycles,
            macs,
            program_words,
            peak: plan.peak_bytes(),
            peak_fp32: plan.peak_bytes_fp32(),
            weights,
            weights_fp32,
            moments,
            moments_fp32,
            activations,
            activations_fp32,
            gradients,
            gradients_fp32,
            workspace,
            workspace_fp32,
            seconds: (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0,
            command: self.command.clone(),
        })
    }
}

/// Mean cycles of a step from reply to reply, in the steady state. The scale is one at which nothing overflows: a skipped step is
/// shorter.
fn cycles(device: Device, p: &Prepared, options: &TrainOptions, compiled: compile::Compiled) -> Result<u64> {
    let phases = options.of_phases(&p.model);
    let scaler = TrainOptions { loss_scale: LossScale::Static(4), ..options.clone() }.scaler();
    let weights = initial_weights(options, &p.model);
    let mut session = Session::start(device, compiled, &weights, &vec![scaler; phases.len()], p.data.scale)?;
    session.set_schedule(options.schedule(p.data.train.len()));
    session.set_moment(Moment { seed: options.seed, epoch: 1, batch: 0 });
    let mut order = permutation(options.seed, 1, p.data.train.len());
    // the last step has no next batch to send
    order.truncate(options.batch as usize * (BEFORE + MEASURED + 1));
    let hypers: Vec<Hyper> = phases.iter().map(|o| Hyper { lr: o.lr, momentum: o.momentum }).collect();
    let mut passed = Vec::new();
    session.train(&p.data.train, &order, &hypers, |_, _, replies| {
        if let Some(r) = replies.iter().find(|r| r.outcome != Outcome::Updated) {
            return Err(Error::Mismatch {
                what: format!("outcome of a measured step of {}", p.network.name),
                found: format!("{:?}", r.outcome),
                expected: format!("{:?}", Outcome::Updated),
            });
        }
        passed.push(replies.iter().map(|r| u64::from(r.passed)).sum::<u64>());
        Ok(())
    })?;
    Ok(passed[BEFORE..BEFORE + MEASURED].iter().sum::<u64>() / MEASURED as u64)
}
