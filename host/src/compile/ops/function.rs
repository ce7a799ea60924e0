//! A function of one variable as a program of its own: what `systole verify functions` and the accuracy campaign run.

use super::arena::arrange;
use super::elementwise::{sigmoid, tanh};
use super::emitter::Emitter;
use super::view::{Nd, Place};
use crate::compile::build::{append, check};
use crate::compile::cost::Cost;
use crate::compile::functions::{ExpRange, exp, log, reciprocal, sqrt};
use crate::compile::plan::Class;
use crate::compile::{CompileError, PredictedSegment, Segment, TensorPlace};
use systole_isa::machine::Machine;
use systole_isa::operand::Addr;
use systole_isa::regs::Space;

/// A function that the compiler writes in line, as a sequence of vector operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elementary {
    /// e^x on all numbers, [`ExpRange::Full`].
    Exp,
    /// e^x as in softmax, [`ExpRange::NonPositive`].
    ExpNonPositive,
    /// Natural logarithm.
    Log,
    /// 1/x.
    Reciprocal,
    /// Square root.
    Sqrt,
    /// Hyperbolic tangent.
    Tanh,
    /// 1/(1 + e^(−x)).
    Sigmoid,
}

impl Elementary {
    /// All of them.
    pub const ALL: [Elementary; 7] = [
        Elementary::Exp,
        Elementary::ExpNonPositive,
        Elementary::Log,
        Elementary::Reciprocal,
        Elementary::Sqrt,
        Elementary::Tanh,
        Elementary::Sigmoid,
    ];

    /// What tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Elementary::Exp => "exp",
            Elementary::ExpNonPositive => "exp of x <= 0",
            Elementary::Log => "log",
            Elementary::Reciprocal => "reciprocal",
            Elementary::Sqrt => "sqrt",
            Elementary::Tanh => "tanh",
            Elementary::Sigmoid => "sigmoid",
        }
    }

    /// By how many ulp of FP32 a result is off at most, where something is promised of it: measured over all arguments
    /// (`docs/verification/functions.csv`). What layers keep of it, rounded to FP16, is the nearest FP16 number or its neighbour.
    pub const ULPS: f64 = 2.0;

    fn emit(self, e: &mut Emitter, x: &Nd) -> Nd {
        let label = self.name();
        match self {
            Elementary::Exp => e.function(label, &exp(ExpRange::Full), x),
            Elementary::ExpNonPositive => e.function(label, &exp(ExpRange::NonPositive), x),
            Elementary::Log => e.function(label, &log(), x),
            Elementary::Reciprocal => e.function(label, &reciprocal(), x),
            Elementary::Sqrt => e.function(label, &sqrt(), x),
            Elementary::Tanh => tanh(e, label, x),
            Elementary::Sigmoid => sigmoid(e, label, x),
        }
    }
}

/// A compiled function of `input.cols` arguments.
#[derive(Clone, Debug)]
pub struct CompiledFunction {
    /// Program memory from word 0.
    pub program: Vec<u32>,
    /// One segment.
    pub segment: Segment,
    /// The arguments, `[1, count]`: FP16 in `hmem`, or FP32 in `smem`.
    pub input: TensorPlace,
    /// The results, FP32.
    pub single: TensorPlace,
    /// The results rounded to FP16, as a layer keeps them.
    pub half: TensorPlace,
    /// Cost model's view.
    pub predicted: PredictedSegment,
}

/// Compiles a function of `count` arguments that lie in the memory `arguments`, by the same emitters as networks.
///
/// # Errors
/// Where arguments, temporaries and results do not fit into the machine's memories.
pub fn function(
    function: Elementary,
    count: u32,
    arguments: Space,
    machine: Machine,
) -> Result<CompiledFunction, CompileError> {
    if let Some(rule) = machine.invalid() {
        return Err(CompileError::Machine(rule));
    }
    let limit = u64::from(u16::MAX);
    if count == 0 || u64::from(count) > limit {
        return Err(CompileError::Size { what: "the number of arguments".into(), size: count.into(), limit });
    }
    let emit = |places: Option<Vec<Addr>>| {
        let mut e = Emitter::new(Cost::new(machine), 1, places);
        let shape = (1, count, count);
        // the host writes the one and reads the other while no instruction uses them
        let input = e.resident("arguments", Class::Workspace, arguments, Some(0), shape);
        let half = e.resident("rounded results", Class::Workspace, Space::Hmem, Some(1), shape);
        let x = e.whole(input);
        let single = function.emit(&mut e, &x);
        let to = e.whole(half);
        e.copy(function.name(), &single, &to);
        (e, input, single, half)
    };
    let places = {
        let (e, ..) = emit(None);
        arrange(&e.tensors, &e.conflicts, &machine)?
    };
    let (mut e, input, single, half) = emit(Some(places));
    let Place::Tensor(single) = single.place else { unreachable!("functions end in a tensor of their own") };
    let mut program = Vec::new();
    let code = e.segment();
    let (segment, predicted) = append(&mut program, function.name(), &code.finish(), &Cost::new(machine));
    check(&program, &machine)?;
    let [input, single, half] = [input, single, half].map(|t| e.place_of(t));
    Ok(CompiledFunction { program, segment, input, single, half, predicted })
}
