//! Verilog emission: a printer of our own over rust-hdl's syntax tree.
//!
//! rust-hdl's stock printer writes operators without parentheses and casts without truncation, so that a kernel can
//! mean one thing in Rust and another in Verilog. This printer keeps Rust's meaning:
//!
//! * every operand is parenthesised, and every literal carries the width of the value it meets;
//! * the operands of an operator always have equal widths, and each change of width is explicit (`{8'd0, x}`, `x[7:0]`,
//!   `8'(x)`), so no carry survives where Rust drops it;
//! * `x.val()` reads the *final* value of a signal, as in Rust, wherever in the kernel it stands: statements are grouped
//!   by the signals they assign, each group becomes one `always_comb` or `assign`, and a group in which a read would come
//!   before a later write is split;
//! * a signal that is not assigned on every path is an error, as is one that feeds itself inside a kernel;
//! * `DFF`s become `always_ff` registers of the module that owns them; equal modules are merged, bottom-up.
//!
//! The output is SystemVerilog (`logic`, `always_comb`, sized casts), read by Verilator and by `yosys read_verilog -sv`.
//!
//! ```text
//!  Block ──accept──> Scope tree ──kernel──> resolved statements ──module──> text ──merge──> one file
//!        (scope.rs)            (kernel.rs, expr.rs)          (module.rs)
//! ```
//!
//! Names: `$` becomes `_` (`a_in$3` is the port `a_in_3`). A module is named after the first line of its kernel if that
//! is `comment!("module psum_add")`, else after the field that holds its first instance; modules of one name and
//! different contents are numbered (`pe`, `pe_2`).

mod expr;
mod kernel;
mod module;
mod nets;
mod scope;

use rust_hdl_core::prelude::Block;
use std::fmt;

/// Does nothing in Rust; in the emitted Verilog its text becomes a comment. `comment!("module name")` as a kernel's first
/// statement names the module.
#[macro_export]
macro_rules! comment {
    ($text:literal) => {};
}

/// Verilator warnings that emitted text may raise, each with the reason why it is waived.
pub const LINT_WAIVERS: &[(&str, &str)] = &[
    ("DECLFILENAME", "one file holds every module"),
    ("UNUSEDSIGNAL", "kernels leave bits of a wide local, or a child's output, unread"),
    (
        "PROCASSINIT",
        "registers start from their declared value, as an FPGA loads it; there is no reset of a plain register",
    ),
    ("UNUSEDPARAM", "every state of an enum is declared, read or not"),
];

/// A design that cannot be printed faithfully: every fault found, each with the path of its module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmitError {
    /// One line per fault: `top.array.pe: latch: …`.
    pub faults: Vec<String>,
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.faults.join("\n"))
    }
}

impl std::error::Error for EmitError {}

/// Prints a connected block (see `Block::connect_all`) and all below it; the outermost module is named `top`.
pub fn try_emit_verilog(block: &dyn Block, top: &str) -> Result<String, EmitError> {
    let root = scope::collect(block, top);
    module::print(&root, top)
}

/// As [`try_emit_verilog`], for designs known to be sound: panics with the list of faults otherwise.
pub fn emit_verilog(block: &dyn Block, top: &str) -> String {
    try_emit_verilog(block, top).unwrap_or_else(|e| panic!("{top} cannot be emitted:\n{e}"))
}
