//! Systole's firmware on the soft core: everything that decides anything is in the library `systole-firmware`.
#![no_std]
#![no_main]

mod logger;
mod machine;
mod start;

use systole_firmware::Firmware;

/// Called by the start-up code with a zeroed `.bss` and a stack.
#[unsafe(no_mangle)]
extern "C" fn firmware_main() -> ! {
    let mut firmware = Firmware::new(machine::Machine::take());
    loop {
        firmware.poll();
    }
}
