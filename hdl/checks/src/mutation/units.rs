//! What is mutated, and which checks are asked.

use super::{Context, Unit};
use crate::design::Check;
use crate::{array, float, link, matrix, vector};

macro_rules! context {
    ($top:literal, $file:literal, $of:expr) => {
        Context { top: $top, text: include_str!($file), file: $file, of: $of }
    };
}

/// Every unit.
pub const UNITS: &[Unit] = &[
    Unit {
        name: "product",
        what: "FP16 operands recoded, their product in the adder's form",
        modules: &[("recode_a", 12), ("product", 30)],
        contexts: &[Context::inside("chain_3_top", &["recode_a", "product"])],
        checks: &[&float::THE_ARRAYS_PATH[0]],
    },
    Unit {
        name: "adder",
        what: "the processing element's adder of partial sums, and the forms of its operands",
        modules: &[("add", 60), ("encode", 8), ("decode", 8)],
        contexts: &[
            context!("adder_context", "contexts/adder.sv", &["add", "encode", "decode"]),
            Context::inside("chain_3_top", &["add", "encode", "decode"]),
        ],
        checks: &[&float::THE_ARRAYS_PATH[0]],
    },
    Unit {
        name: "array",
        what: "a processing element around its adder, its weight store, and the array that they make",
        modules: &[("array_2_3", 12), ("pe", 8), ("store", 4)],
        contexts: &[Context::inside("array_2_3", &["pe", "store"])],
        checks: &[&array::TWO_BY_TWO[1]],
    },
    Unit {
        name: "multiply",
        what: "the vector lane's FP32 multiplier",
        modules: &[("fmul_top", 40), ("to_right", 8)],
        contexts: &[Context::inside("fmul_top", &["to_right"])],
        checks: &[&float::FMUL],
    },
    Unit {
        name: "add",
        what: "the vector lane's FP32 adder",
        modules: &[("fadd_top", 40), ("align", 8)],
        contexts: &[Context::inside("fadd_top", &["align"])],
        checks: &[&float::FADD],
    },
    Unit {
        name: "to_half",
        what: "FP32 to FP16, as in the epilogue and the vector lane",
        modules: &[("single_to_half_top", 30)],
        contexts: &[],
        checks: &[&float::SINGLE_TO_HALF],
    },
    Unit {
        name: "to_single",
        what: "FP16 to FP32 with an exponent added",
        modules: &[("half_to_single_top", 12)],
        contexts: &[],
        checks: &[&float::HALF_TO_SINGLE],
    },
    Unit {
        name: "lane",
        what: "a lane of the vector engine: operands, ALU, and what chooses between results",
        modules: &[("operand", 12), ("alu", 30), ("lane", 24)],
        contexts: &[Context::inside("lane", &["operand", "alu"])],
        checks: &[&vector::PROGRAMS_N4_V4],
    },
    Unit {
        name: "tiler",
        what: "the matrix engine's issue, and the walks of loader and streamer over tiles, rows and addresses",
        modules: &[("issue", 16), ("loader", 36), ("streamer", 40)],
        contexts: &[
            context!("loader_context", "contexts/tiler.sv", &["loader"]),
            context!("streamer_context", "contexts/tiler.sv", &["streamer"]),
        ],
        checks: MATRIX,
    },
    Unit {
        name: "epilogue",
        what: "start values and accumulators, then ReLU, mask, rounding, flags and the write port",
        modules: &[("epilogue", 36), ("columns", 16), ("widen", 4)],
        contexts: &[context!("epilogue_context", "contexts/epilogue.sv", &["epilogue"])],
        checks: MATRIX,
    },
    Unit {
        name: "deframer",
        what: "COBS decoder, ring writer and CRC of the link",
        modules: &[("deframer", 60), ("crc_unit", 10)],
        contexts: &[context!("deframer_context", "contexts/deframer.sv", &["deframer", "crc_unit"])],
        checks: &[
            &link::FRAMES_ARRIVE_WHOLE,
            &link::DAMAGE_NEVER_REACHES_THE_RING,
            &link::A_FULL_RING_DROPS_WHOLE_FRAMES_AND_SAYS_SO,
            &link::A_RING_FILLS_TO_THE_LAST_WORD,
            &link::COUNTERS_GO_AROUND,
        ],
    },
];

/// N = 4: what it computes, what it refuses, and how long it takes; last what takes longest, sizes and addresses at their ends.
const MATRIX: &[&Check] = &[
    &matrix::CYCLES_4,
    &matrix::WAITS_4,
    &matrix::REFUSALS_4,
    &matrix::RANDOM_PRODUCTS_4,
    &matrix::TRAPS_AND_ABORT_4,
    &matrix::FAR_4,
    &matrix::REACH_4,
];
