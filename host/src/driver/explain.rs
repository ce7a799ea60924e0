//! The device's error codes and traps in words.

use systole_isa::frame::ErrorCode;
use systole_isa::regs::Trap;

/// An [`ErrorCode`] with its two details, as a sentence's end.
pub fn error(code: u32, a: u32, b: u32) -> String {
    match ErrorCode::from_u32(code) {
        Some(ErrorCode::UnknownKind) => format!("it does not know request kind {a:#04x}"),
        Some(ErrorCode::BadLength) => format!("the request is {a} bytes or elements long, {b} were expected"),
        Some(ErrorCode::BadSpace) => format!("no memory or format {a:#x}"),
        Some(ErrorCode::OutOfRange) => format!("address {a:#x} is beyond the memory's {b:#x} elements"),
        Some(ErrorCode::BadSegment) => format!("segment {a} is not defined"),
        Some(ErrorCode::BadScaler) => format!("loss scaler {a} does not take the state given (word {b})"),
        Some(ErrorCode::Trap) => trap(a, b),
        Some(ErrorCode::Deadline) => format!("the engines did not finish within {a} cycles (segment status {b:#x})"),
        Some(ErrorCode::Version) => format!("it speaks link protocol {a} and instruction set {b}"),
        Some(ErrorCode::BadRegister) => format!("register {a} in pair {b} cannot be written"),
        Some(ErrorCode::NotReady) => {
            "it is not in a state to do this (aborted, or something is not uploaded yet)".into()
        }
        Some(ErrorCode::NoBaud) if b == 0 => "it has no UART whose rate could change".into(),
        Some(ErrorCode::NoBaud) => {
            let cycles = |d: u32| f64::from(d) / 65536.0;
            format!("its UART needs {} clock cycles a bit, {:.2} were asked for", cycles(b), cycles(a))
        }
        None => format!("error code {code} with details {a:#x}, {b:#x}"),
    }
}

fn trap(register: u32, info: u32) -> String {
    let what = match Trap::from_u8(register as u8) {
        Some(Trap::Opcode) => "an unknown instruction",
        Some(Trap::ProgramCounter) => "the program counter left program memory",
        Some(Trap::Stack) => "a loop or return stack overflowed or underflowed",
        Some(Trap::Range) => "an address beyond the end of its memory",
        Some(Trap::Stride) => "a stride that the memories do not serve",
        Some(Trap::Size) => "a size of zero, or a block too large for the accumulators",
        None => "an unknown trap",
    };
    format!("the program trapped at word {:#x}: {what} ({info:#x})", register >> 16)
}
