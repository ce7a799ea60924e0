//! The shim's functions as Rust sees them: names and types here and in `shim.cpp` change together, with
//! [`crate::shim::INTERFACE`].

use crate::ports::{Direction, PortInfo};
use crate::shim;
use libloading::Library;
use std::ffi::{CStr, c_char, c_int, c_void};

/// A model, as the shim passes it.
pub(crate) type Handle = *mut c_void;

/// A port, as the shim lays it out.
#[repr(C)]
pub(crate) struct RawPort {
    name: *const c_char,
    pub data: *mut c_void,
    pub width: u32,
    direction: u32,
}

impl RawPort {
    pub fn describe(&self) -> PortInfo {
        // SAFETY: names are string literals of the shim, and only the shim makes ports.
        let name = unsafe { CStr::from_ptr(self.name) }.to_string_lossy().into_owned();
        let direction = match self.direction {
            0 => Direction::Input,
            1 => Direction::Output,
            _ => Direction::InOut,
        };
        PortInfo { name, width: self.width, direction }
    }
}

/// Declares the table of functions and how each is looked up: `systole_<name>`.
macro_rules! calls {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The shim's functions, looked up once per model.
        pub(crate) struct Calls {
            $(pub $name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl Calls {
            /// Looks all functions up, once the interface's number is known to be this crate's.
            pub fn resolve(library: &Library) -> Result<Calls, String> {
                // SAFETY: the symbol's type has been this one in every interface.
                let interface = unsafe { symbol::<unsafe extern "C" fn() -> u32>(library, "interface")?() };
                if interface != shim::INTERFACE {
                    return Err(format!("its interface is {interface}, this crate's is {}", shim::INTERFACE));
                }
                // SAFETY: these are the types of this interface's functions.
                unsafe { Ok(Calls { $($name: symbol(library, stringify!($name))?,)* }) }
            }
        }
    };
}

calls! {
    top: fn() -> *const c_char;
    port_count: fn() -> u32;
    clock_count: fn() -> u32;
    clock: fn(u32) -> u32;
    can_trace: fn() -> c_int;
    new: fn(c_int, *const *const c_char) -> Handle;
    free: fn(Handle);
    ports: fn(Handle) -> *const RawPort;
    cycles: fn(Handle) -> *const u64;
    message: fn(Handle) -> *const c_char;
    state: fn(Handle) -> c_int;
    set_time: fn(Handle, u64);
    time: fn(Handle) -> u64;
    set_half_period: fn(Handle, u64);
    eval: fn(Handle) -> c_int;
    tick: fn(Handle, u32, u64) -> c_int;
    tick_until: fn(Handle, u32, u32, u64, u64) -> c_int;
    run_vectors: fn(Handle, u32, *const u32, usize, *const u32, usize, *const u64, u64, u64, *mut u64) -> c_int;
    trace_open: fn(Handle, *const c_char) -> c_int;
    trace_enable: fn(Handle, c_int);
    trace_close: fn(Handle);
}

/// Writes counts of lines and toggles to a file.
pub(crate) type WriteCoverage = unsafe extern "C" fn(Handle, *const c_char);

/// The function that a design has if it keeps such counts.
pub(crate) fn write_coverage(library: &Library) -> Option<WriteCoverage> {
    // SAFETY: the symbol's type has been this one ever since there is one.
    unsafe { symbol::<WriteCoverage>(library, "write_coverage").ok() }
}

/// # Safety
/// `T` is a function pointer of the symbol's type.
unsafe fn symbol<T: Copy>(library: &Library, name: &str) -> Result<T, String> {
    let name = format!("systole_{name}");
    // SAFETY: the caller's.
    let found = unsafe { library.get::<T>(name.as_bytes()) };
    found.map(|s| *s).map_err(|e| format!("it lacks {name}: {e}"))
}
