//! The trap flag, and which thread runs.
#![expect(unsafe_code, reason = "reads and writes flags and segment registers")]

use std::arch::asm;

/// The bit of the flags register.
pub(super) const TRAP_FLAG: i64 = 1 << 8;

/// From the second instruction behind this on, each one is followed by a trap.
#[inline(always)]
pub(crate) fn trap_flag_on() {
    // SAFETY: pushes and pops one word; the handler for the traps is in place, see `may_step`.
    unsafe { asm!("pushfq", "or qword ptr [rsp], {flag}", "popfq", flag = const TRAP_FLAG) };
}

/// No trap follows the instruction behind this. Changes nothing where the flag is off.
#[inline(always)]
pub(crate) fn trap_flag_off() {
    // SAFETY: pushes and pops one word, and leaves all other flags as they are.
    unsafe { asm!("pushfq", "and qword ptr [rsp], {others}", "popfq", others = const !TRAP_FLAG) };
}

/// What tells this thread from all others that run: the ABI has every thread keep the address of
/// its own control block there.
#[inline(always)]
pub(crate) fn thread_pointer() -> u64 {
    let pointer: u64;
    // SAFETY: the ABI has the thread pointer itself stored at %fs:0, in every thread.
    unsafe {
        asm!(
            "mov {}, qword ptr fs:[0]",
            out(reg) pointer,
            options(nostack, readonly, preserves_flags)
        );
    }
    pointer
}
