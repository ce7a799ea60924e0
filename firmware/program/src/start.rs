//! Start-up code and the ends of the road.

use crate::machine;

core::arch::global_asm!(
    r#"
    .section .init, "ax"
    .globl _start
_start:
    .option push
    .option norelax
    la   gp, __global_pointer$
    .option pop
    la   sp, _stack_top
    la   t0, _sbss
    la   t1, _ebss
1:  bgeu t0, t1, 2f
    sw   zero, 0(t0)
    addi t0, t0, 4
    j    1b
2:  call firmware_main
3:  j    3b
"#
);

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    let line = info.location().map_or(0, |l| l.line());
    machine::report_panic(0xdead_0000 | line & 0xffff);
    loop {
        core::hint::spin_loop();
    }
}
