//! A bit-exact functional machine at native speed: the same firmware, the same bytes, the same bits as the hardware, without
//! its clock. It shares no code with `hdl` and is held against it by tests.
//!
//! | module | what |
//! |---|---|
//! | [`float`] | FP16 and FP32, rounding, the one NaN |
//! | [`memory`] | memories and strided walks |
//! | [`gemm`] | the matrix engine |
//! | [`vector`] | the vector engine |
//! | [`exec`] | the fetcher: control flow, flags, traps |
//! | [`link`] | frames and rings |
//! | [`registers`] | what firmware sees |
//! | [`simd`] | one source for several instruction sets |
//!
//! Only `rtl` and boards speak for cycles: here, engine counters read zero and the cycle counter is a lower bound that exists
//! so that deadlines pass.

pub mod exec;
pub mod float;
pub mod gemm;
pub mod link;
pub mod memory;
pub mod registers;
pub mod simd;
pub mod vector;

use std::io;
use std::time::Duration;

use systole_firmware::Firmware;
use systole_isa::machine::Machine;
use systole_isa::regs::Space;

use crate::port::{Cell, Inspect, NoSuchCell, Port};
use memory::Bank;
use registers::ModelHardware;

/// Cycles (as the model counts them) that one [`Port::receive`] lets a segment run.
const QUANTUM: u64 = 1 << 26;
/// Polls after which a firmware that always claims to have done something is not believed.
const MAX_POLLS: usize = 1 << 20;

/// Why a model cannot be built or driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The sizes contradict each other.
    #[error("no such machine: {0}")]
    Machine(&'static str),
    /// The firmware gave up.
    #[error("the firmware stopped with code {0:#010x}")]
    Panic(u32),
}

impl From<ModelError> for io::Error {
    fn from(e: ModelError) -> io::Error {
        io::Error::other(e)
    }
}

/// The model as a device.
pub struct Model {
    firmware: Firmware<ModelHardware>,
}

impl Model {
    /// A device that has just been switched on: memories are zero, the firmware announces itself.
    pub fn new(machine: Machine) -> Result<Model, ModelError> {
        if let Some(rule) = machine.invalid() {
            return Err(ModelError::Machine(rule));
        }
        Ok(Model { firmware: Firmware::new(ModelHardware::new(machine)) })
    }

    /// The ablation of an array that accumulates in FP16: every partial sum of a product is rounded to FP16. There is no such
    /// hardware; everything else is as it is.
    pub fn with_half_sums(machine: Machine) -> Result<Model, ModelError> {
        let mut model = Model::new(machine)?;
        model.hardware().memory.half_sums = true;
        Ok(model)
    }

    /// The machine below the firmware.
    pub fn hardware(&mut self) -> &mut ModelHardware {
        self.firmware.hardware()
    }

    /// Lets the firmware run until it has nothing to do, or `quantum` cycles have passed with a segment in flight.
    fn run(&mut self, quantum: u64) -> Result<(), ModelError> {
        let end = self.hardware().cycles().saturating_add(quantum);
        for _ in 0..MAX_POLLS {
            let progress = self.firmware.poll();
            if let Some(code) = self.hardware().panic() {
                return Err(ModelError::Panic(code));
            }
            if !progress && (!self.firmware.busy() || self.hardware().cycles() >= end) {
                break;
            }
        }
        Ok(())
    }
}

impl Port for Model {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (taken, ended) = self.hardware().link.take(rest);
            rest = &rest[taken..];
            if ended {
                self.run(0)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, out: &mut Vec<u8>, _timeout: Duration) -> io::Result<usize> {
        if self.hardware().link.out.is_empty() {
            self.run(QUANTUM)?;
        }
        let before = out.len();
        out.append(&mut self.hardware().link.out);
        Ok(out.len() - before)
    }

    fn name(&self) -> String {
        "model".into()
    }
}

impl Inspect for Model {
    fn peek(&mut self, cell: Cell) -> Result<u32, NoSuchCell> {
        let hw = self.hardware();
        let value = match cell {
            Cell::Hmem(a) => hw.memory.get(Space::Hmem, a.0),
            Cell::Smem(a) => hw.memory.get(Space::Smem, a.0),
            Cell::Program(a) => hw.memory.get(Space::Program, a),
            Cell::Mask(a) => hw.memory.index(Bank::Mask, a).map(|i| hw.memory.mask[i].into()),
            Cell::Sreg(i) => hw.memory.sregs.get(i as usize).copied(),
            Cell::Areg(i) => hw.fetcher.aregs.get(i as usize).copied(),
            Cell::Flag(i) => hw.fetcher.flags.get(i as usize).map(|f| f.set.into()),
        };
        value.ok_or(NoSuchCell(cell))
    }

    fn poke(&mut self, cell: Cell, value: u32) -> Result<(), NoSuchCell> {
        self.peek(cell)?;
        let hw = self.hardware();
        match cell {
            Cell::Hmem(a) => _ = hw.memory.set(Space::Hmem, a.0, value),
            Cell::Smem(a) => _ = hw.memory.set(Space::Smem, a.0, value),
            Cell::Program(a) => _ = hw.memory.set(Space::Program, a, value),
            Cell::Mask(a) => hw.memory.mask[a as usize] = value & 1 == 1,
            Cell::Sreg(i) => hw.memory.sregs[i as usize] = value,
            Cell::Areg(i) => hw.fetcher.set_areg(i as usize, value),
            Cell::Flag(i) => hw.fetcher.flags[i as usize].set = value & 1 == 1,
        }
        Ok(())
    }
}
