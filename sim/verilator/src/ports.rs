//! The top module's ports, read from the header that Verilator writes.

use crate::{Error, Result};

/// Which way a port points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Written by the user of the model.
    Input,
    /// Written by the model.
    Output,
    /// Both.
    InOut,
}

/// A port's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// The name as in the Verilog.
    pub name: String,
    /// The width in bits.
    pub width: u32,
    /// Which way it points.
    pub direction: Direction,
}

impl PortInfo {
    /// How many `u64` words of a stimulus or response of [`crate::Module::run_vectors`] this port takes.
    pub fn words(&self) -> usize {
        self.width.div_ceil(64) as usize
    }
}

/// A handle on a port: an index into its model's table. It serves every instance of the same design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Port(pub(crate) u32);

/// A port as the shim declares it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub info: PortInfo,
    /// The C++ member's name.
    pub member: String,
}

/// Finds `VL_IN8(&name,7,0);` and its kin in the model's header.
pub(crate) fn parse_header(top: &str, header: &str) -> Result<Vec<Declared>> {
    let mut ports = Vec::new();
    for statement in header.lines().flat_map(|l| l.split(';')).map(str::trim) {
        let Some((direction, rest)) = split_macro(statement) else {
            continue;
        };
        let bad =
            |reason: &str| Error::UnsupportedPort { top: top.into(), port: statement.into(), reason: reason.into() };
        let inner = rest
            .split_once('(')
            .map(|(_, i)| i)
            .and_then(|i| i.strip_suffix(')'))
            .ok_or_else(|| bad("not understood"))?;
        let fields: Vec<&str> = inner.split(',').map(str::trim).collect();
        let member = fields[0].trim_start_matches('&');
        if member.contains(['(', '[', ' ']) {
            return Err(bad("it is an unpacked array"));
        }
        let bounds =
            fields.get(1).zip(fields.get(2)).and_then(|(m, l)| Some((m.parse::<i64>().ok()?, l.parse::<i64>().ok()?)));
        let (msb, lsb) = bounds.ok_or_else(|| bad("its bounds are not understood"))?;
        let width = (msb - lsb + 1) as u32;
        ports.push(Declared { info: PortInfo { name: verilog_name(member), width, direction }, member: member.into() });
    }
    Ok(ports)
}

fn split_macro(statement: &str) -> Option<(Direction, &str)> {
    let rest = statement.strip_prefix("VL_")?;
    // INOUT before IN: one is a prefix of the other.
    for (prefix, direction) in [("INOUT", Direction::InOut), ("IN", Direction::Input), ("OUT", Direction::Output)] {
        if let Some(rest) = rest.strip_prefix(prefix) {
            let kind = rest.split('(').next()?;
            return matches!(kind, "" | "8" | "16" | "64" | "W").then_some((direction, rest));
        }
    }
    None
}

/// Undoes Verilator's encoding: `__0` and two hexadecimal digits for a character, `__SYM__` before C++ keywords.
fn verilog_name(member: &str) -> String {
    let mut rest = member.strip_prefix("__SYM__").unwrap_or(member);
    let mut name = String::new();
    while let Some(c) = rest.chars().next() {
        let code = rest.strip_prefix("__0").and_then(|r| r.get(..2)).and_then(|h| u8::from_str_radix(h, 16).ok());
        match code {
            Some(code) => {
                name.push(code as char);
                rest = &rest[5..];
            }
            None => {
                name.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_every_kind() {
        let header = "
            // VL_IN8 in a comment is not at the start
            VL_IN8(&clock,0,0);
            VL_IN16(&b,15,0);
            VL_OUT(&o32,31,0);
            VL_OUT64(&o64,39,0);
            VL_INW(&w,99,0,4);
            VL_INOUT8(&pad,8,1);
            VL_IN8(&a__024x,7,0); VL_OUT8(&a__02eb,0,0);
            VL_INLINE_OPT(nothing);";
        let ports = parse_header("top", header).unwrap();
        let row = |d: &Declared| (d.info.name.clone(), d.info.width, d.info.direction);
        let rows: Vec<_> = ports.iter().map(row).collect();
        use Direction::*;
        let expected =
            [("clock", 1, Input), ("b", 16, Input), ("o32", 32, Output), ("o64", 40, Output), ("w", 100, Input)];
        let expected = expected.into_iter().chain([("pad", 8, InOut), ("a$x", 8, Input), ("a.b", 1, Output)]);
        assert_eq!(rows, expected.map(|(n, w, d)| (n.to_string(), w, d)).collect::<Vec<_>>());
        assert_eq!(ports[4].info.words(), 2);
    }

    #[test]
    fn names_with_underscores_survive() {
        assert_eq!(verilog_name("a___05Fb"), "a__b");
        assert_eq!(verilog_name("a_b_0"), "a_b_0");
        assert_eq!(verilog_name("__SYM__class"), "class");
        assert_eq!(verilog_name("weights__0243"), "weights$3");
    }

    #[test]
    fn an_unpacked_port_is_refused_by_name() {
        let error = parse_header("top", "VL_IN8((&x)[4],7,0);").unwrap_err();
        assert!(error.to_string().contains("unpacked"), "{error}");
    }
}
