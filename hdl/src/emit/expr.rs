//! Expressions: rust-hdl's tree to Verilog text of exactly the width that Rust gives it.

use super::kernel::Kernel;
use rust_hdl_core::ast::{VerilogExpression as Ast, VerilogLiteral, VerilogOp as Op, VerilogOpUnary as Unary};

/// How a printed expression may be used as an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A signal's name: can be indexed.
    Name,
    /// A constant of at most 128 bits, not printed yet.
    Number(u128),
    /// Closed text (`{…}`, `8'(…)`, `x[3]`): needs no parentheses.
    Closed,
    /// Anything else.
    Open,
}

/// A printed expression.
#[derive(Debug, Clone)]
pub(super) struct Printed {
    text: String,
    /// `None`: a bare number, which takes the width of what it meets.
    width: Option<usize>,
    signed: bool,
    form: Form,
}

impl Printed {
    fn new(text: String, width: usize, signed: bool, form: Form) -> Self {
        Printed { text, width: Some(width), signed, form }
    }

    fn number(value: u128, width: Option<usize>) -> Self {
        Printed { text: String::new(), width, signed: false, form: Form::Number(value) }
    }

    /// The text as a whole right-hand side.
    pub fn bare(&self) -> String {
        match self.form {
            Form::Number(v) => number_text(v, self.width, self.signed),
            _ => self.text.clone(),
        }
    }

    /// The text as an operand.
    fn operand(&self) -> String {
        match self.form {
            Form::Open => format!("({})", self.text),
            _ => self.bare(),
        }
    }

    /// The same value in exactly `width` bits: extended (by sign, if signed) or cut.
    pub fn fit(&self, width: usize) -> Printed {
        if let Form::Number(v) = self.form {
            return Printed { width: Some(width), ..Printed::number(mask(v, width), None) }.with_sign(self.signed);
        }
        let own = self.width.expect("only numbers are without width");
        if own == width {
            return self.clone();
        }
        let text = if own < width && !self.signed {
            format!("{{{}'d0, {}}}", width - own, self.bare())
        } else if own > width && self.form == Form::Name && !self.signed {
            select(&self.text, 0, width)
        } else {
            format!("{width}'({})", self.bare())
        };
        Printed::new(text, width, self.signed, Form::Closed)
    }

    /// Its width; `None` for a bare number.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    fn with_sign(mut self, signed: bool) -> Printed {
        self.signed = signed;
        self
    }
}

/// The low `width` bits of `v`.
fn mask(v: u128, width: usize) -> u128 {
    if width >= 128 { v } else { v & ((1u128 << width) - 1) }
}

fn select(name: &str, low: usize, width: usize) -> String {
    match width {
        1 => format!("{name}[{low}]"),
        _ => format!("{name}[{}:{low}]", low + width - 1),
    }
}

fn number_text(v: u128, width: Option<usize>, signed: bool) -> String {
    let s = if signed { "s" } else { "" };
    match width {
        None => v.to_string(),
        Some(w) if w == 1 => format!("{w}'{s}b{v}"),
        Some(w) if v < 256 && !signed => format!("{w}'d{v}"),
        Some(w) => format!("{w}'{s}h{v:x}"),
    }
}

/// The value of a literal, which rust-hdl shows only as text (`32'h1f`, `8'h-1`).
pub(super) fn literal_value(l: &VerilogLiteral) -> Option<u128> {
    let text = format!("{l:x}");
    let digits = text.split_once("'h")?.1;
    match digits.strip_prefix('-') {
        Some(d) => u128::from_str_radix(d, 16).ok().map(u128::wrapping_neg),
        None => u128::from_str_radix(digits, 16).ok(),
    }
}

impl Kernel<'_> {
    /// Prints `e` and notes the signals it reads.
    pub(super) fn expression(&mut self, e: &Ast) -> Printed {
        match e {
            Ast::Paren(inner) => self.expression(inner),
            Ast::Signal(name) => self.name(name),
            Ast::Literal(l) => match literal_value(l) {
                Some(v) => Printed::number(v, None),
                None => {
                    let text = format!("{l:x}");
                    let width = text.split('\'').next().and_then(|w| w.parse().ok()).unwrap_or(1);
                    Printed::new(text, width, false, Form::Closed)
                }
            },
            Ast::Cast(inner, width) => self.expression(inner).fit(*width),
            Ast::Signed(inner) => self.resign(inner, true),
            Ast::Unsigned(inner) => self.resign(inner, false),
            Ast::Unary(op, inner) => self.unary(op, inner),
            Ast::Binary(l, op, r) => self.binary(l, op, r),
            Ast::Index(of, at) => self.slice(of, 1, at),
            Ast::Slice(of, width, at) => self.slice(of, *width, at),
            Ast::IndexReplace(of, at, with) => {
                let (of, at, with) = (self.expression(of), self.expression(at), self.expression(with).fit(1));
                let Some(w) = of.width else {
                    self.fault("replace_bit of a bare number");
                    return of;
                };
                let one = Printed::number(1, Some(w)).bare();
                let text = format!(
                    "({} & (~({one} << {}))) | ({} << {})",
                    of.operand(),
                    at.operand(),
                    with.fit(w).operand(),
                    at.operand()
                );
                Printed::new(text, w, of.signed, Form::Open)
            }
        }
    }

    fn name(&mut self, raw: &str) -> Printed {
        if let Some(v) = self.loop_value(raw) {
            return Printed::number(v as u128, None);
        }
        let raw = self.resolve(raw);
        if let Some((text, width)) = self.label(&raw) {
            return Printed::new(text, width, false, Form::Closed);
        }
        match self.read(&raw) {
            Some((text, width, signed)) => Printed::new(text, width, signed, Form::Name),
            None => {
                self.fault(&format!("`{raw}` is no signal of this block (a Rust constant? wrap it in bits(…))"));
                Printed::number(0, Some(1))
            }
        }
    }

    fn resign(&mut self, inner: &Ast, signed: bool) -> Printed {
        let e = self.expression(inner);
        if e.signed == signed || e.width.is_none() {
            return e.with_sign(signed);
        }
        let f = if signed { "$signed" } else { "$unsigned" };
        let width = e.width.expect("checked");
        Printed::new(format!("{f}({})", e.bare()), width, signed, Form::Closed)
    }

    fn unary(&mut self, op: &Unary, inner: &Ast) -> Printed {
        let e = self.expression(inner);
        let Some(w) = e.width else {
            self.fault("an operator on a bare number");
            return e;
        };
        let (sign, width) = match op {
            Unary::Not => ("~", w),
            Unary::Neg => ("-", w),
            Unary::All => ("&", 1),
            Unary::Any => ("|", 1),
            Unary::Xor => ("^", 1),
        };
        Printed::new(format!("{sign}{}", e.operand()), width, e.signed && width == w, Form::Open)
    }

    fn binary(&mut self, l: &Ast, op: &Op, r: &Ast) -> Printed {
        let (l, r) = (self.expression(l), self.expression(r));
        if let (Form::Number(a), Form::Number(b), None, None) = (l.form, r.form, l.width, r.width) {
            let v = match op {
                Op::Add => a.wrapping_add(b),
                Op::Sub => a.wrapping_sub(b),
                Op::Mul => a.wrapping_mul(b),
                Op::Shl => a << (b & 127),
                Op::Shr => a >> (b & 127),
                Op::BitAnd => a & b,
                Op::BitOr => a | b,
                Op::BitXor => a ^ b,
                Op::Eq => (a == b) as u128,
                Op::Ne => (a != b) as u128,
                Op::Lt => (a < b) as u128,
                Op::Le => (a <= b) as u128,
                Op::Gt => (a > b) as u128,
                Op::Ge => (a >= b) as u128,
                Op::LogicalAnd => (a != 0 && b != 0) as u128,
                Op::LogicalOr => (a != 0 || b != 0) as u128,
            };
            return Printed::number(v, None);
        }
        let sign = match op {
            Op::Add => "+",
            Op::Sub => "-",
            Op::Mul => "*",
            Op::LogicalAnd => "&&",
            Op::LogicalOr => "||",
            Op::BitXor => "^",
            Op::BitAnd => "&",
            Op::BitOr => "|",
            Op::Shl => "<<",
            Op::Shr => ">>",
            Op::Eq => "==",
            Op::Lt => "<",
            Op::Le => "<=",
            Op::Ne => "!=",
            Op::Ge => ">=",
            Op::Gt => ">",
        };
        let join = |l: &Printed, sign: &str, r: &Printed| format!("{} {sign} {}", l.operand(), r.operand());
        match op {
            Op::Shl | Op::Shr => {
                let Some(w) = l.width else {
                    self.fault("a bare number is shifted by a signal: give it a width with bits(…)");
                    return l;
                };
                let sign = if l.signed && matches!(op, Op::Shr) { ">>>" } else { sign };
                // A shift's amount is self-determined: a number there needs no width.
                let amount = if let Form::Number(v) = r.form { v.to_string() } else { r.operand() };
                Printed::new(format!("{} {sign} {amount}", l.operand()), w, l.signed, Form::Open)
            }
            Op::Mul => {
                let (Some(a), Some(b)) = (l.width, r.width) else {
                    self.fault("a product with a bare number: give it a width with bits(…)");
                    return l;
                };
                let signed = l.signed && r.signed;
                Printed::new(join(&l.fit(a + b), sign, &r.fit(a + b)), a + b, signed, Form::Open)
            }
            _ => {
                let w = match (l.width, r.width) {
                    (Some(a), Some(b)) => a.max(b),
                    (a, b) => a.or(b).expect("one of them has a width"),
                };
                let number = |x: &Printed| matches!(x.form, Form::Number(_));
                let signed = (l.signed || number(&l)) && (r.signed || number(&r)) && (l.signed || r.signed);
                let side = |x: &Printed| if number(x) { x.clone().with_sign(signed).fit(w) } else { x.fit(w) };
                let arithmetic = matches!(op, Op::Add | Op::Sub | Op::BitXor | Op::BitAnd | Op::BitOr);
                let width = if arithmetic { w } else { 1 };
                Printed::new(join(&side(&l), sign, &side(&r)), width, signed && arithmetic, Form::Open)
            }
        }
    }

    fn slice(&mut self, of: &Ast, width: usize, at: &Ast) -> Printed {
        let (of, at) = (self.expression(of), self.expression(at));
        let Some(own) = of.width else {
            self.fault("bits of a bare number");
            return of;
        };
        match at.form {
            Form::Number(low) => {
                let low = low as usize;
                if low == 0 && width == own {
                    of
                } else if let Form::Number(v) = of.form {
                    Printed::number(mask(v.checked_shr(low as u32).unwrap_or(0), width), Some(width))
                } else if of.form == Form::Name && low + width <= own {
                    Printed::new(select(&of.text, low, width), width, of.signed, Form::Closed).unsign_select(of.signed)
                } else if low == 0 {
                    of.fit(width)
                } else {
                    Printed::new(format!("{} >> {low}", of.operand()), own, false, Form::Open).fit(width)
                }
            }
            _ if of.form == Form::Name && width == 1 && own > 1 && own == 1 << at.width.unwrap_or(0).min(31) => {
                Printed::new(format!("{}[{}]", of.text, at.bare()), 1, false, Form::Closed)
            }
            _ => Printed::new(format!("{} >> {}", of.operand(), at.operand()), own, false, Form::Open).fit(width),
        }
    }
}

impl Printed {
    /// A part select is unsigned in Verilog, whatever it selects from; `Signed::get_bits` is signed in Rust.
    fn unsign_select(self, signed: bool) -> Printed {
        match (signed, self.width) {
            (true, Some(w)) if w > 1 => Printed::new(format!("$signed({})", self.text), w, true, Form::Closed),
            _ => self.with_sign(false),
        }
    }
}
