//! The C++ between a Verilated class and Rust: a table of ports, a clock, and a loop for vectors.
//!
//! The fixed part is `shim.cpp`; here only the table is generated.

use crate::ports::{Declared, Direction};
use std::fmt::Write;

/// The C++ class that Verilator is told to write.
pub(crate) const CLASS: &str = "Vdut";
/// Raised with each change of the shim's interface; part of every model's hash.
pub(crate) const INTERFACE: u32 = 1;
/// The fixed part.
pub(crate) const TEXT: &str = include_str!("shim.cpp");

/// What a design that counts lines and toggles has beside it.
pub(crate) const COVERAGE: &str = include_str!("shim_coverage.cpp");

/// The shim of one design: macros and tables first, then the fixed parts.
pub(crate) fn text(top: &str, clocks: &[usize], ports: &[Declared], coverage: bool) -> String {
    let mut out = String::new();
    let quoted = |s: &str| format!("\"{}\"", s.replace('\\', "\\\\").replace('"', "\\\""));
    writeln!(out, "#include \"{CLASS}.h\"").unwrap();
    writeln!(out, "#define SHIM_CLASS {CLASS}\n#define SHIM_INTERFACE {INTERFACE}\n#define SHIM_TOP {}", quoted(top))
        .unwrap();
    writeln!(out, "#define SHIM_PORTS(P) \\").unwrap();
    for port in ports {
        let direction = match port.info.direction {
            Direction::Input => 0,
            Direction::Output => 1,
            Direction::InOut => 2,
        };
        writeln!(out, "  P({}, {}, {}, {direction}) \\", port.member, quoted(&port.info.name), port.info.width)
            .unwrap();
    }
    let clocks: Vec<String> = clocks.iter().map(usize::to_string).collect();
    writeln!(out, "\n#define SHIM_PORT_COUNT {}", ports.len()).unwrap();
    writeln!(out, "#define SHIM_CLOCK_COUNT {}\n#define SHIM_CLOCKS {{{}}}", clocks.len(), clocks.join(", ")).unwrap();
    out + TEXT + if coverage { COVERAGE } else { "" }
}
