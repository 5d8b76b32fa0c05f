//! What takes from a copy the means to do harm, apart from system calls.
#![expect(unsafe_code, reason = "prctl, mprotect, scheduling")]

use super::{Status, syscall::syscall};
use crate::environment::{Mapping, Use};

/// Lower than anything that has work to do for others.
const NICENESS: usize = 10;

/// Has this process end with the thread that made it.
pub(super) fn die_with(parent: i32) -> Result<(), Status> {
    let signal = libc::SIGKILL as usize;
    // SAFETY: neither call takes a pointer.
    let present = unsafe {
        syscall(
            libc::SYS_prctl,
            libc::PR_SET_PDEATHSIG as usize,
            signal,
            0,
            0,
            0,
            0,
        );
        syscall(libc::SYS_getppid, 0, 0, 0, 0, 0, 0)
    };
    // Otherwise it ended before it was to be told.
    if present == parent as isize {
        Ok(())
    } else {
        Err(Status::NoTime)
    }
}

/// Gives the copy a name of its own, and has it wait behind those that serve.
pub(super) fn step_back() {
    let name = c"rtops-copy";
    let normal = libc::sched_param { sched_priority: 0 };
    // SAFETY: reads the name and the parameter. Where one of these is refused, nothing depends on it.
    unsafe {
        syscall(
            libc::SYS_prctl,
            libc::PR_SET_NAME as usize,
            name.as_ptr().addr(),
            0,
            0,
            0,
            0,
        );
        let policy = libc::SCHED_OTHER as usize;
        syscall(
            libc::SYS_sched_setscheduler,
            0,
            policy,
            (&raw const normal).addr(),
            0,
            0,
            0,
        );
        let process = libc::PRIO_PROCESS as usize;
        syscall(libc::SYS_setpriority, process, 0, NICENESS, 0, 0, 0);
    }
}

/// Has the copy leave no core behind, wherever it may crash: the system's handler for those would run.
pub(super) fn leave_no_core() {
    // SAFETY: takes no pointer.
    unsafe {
        syscall(
            libc::SYS_prctl,
            libc::PR_SET_DUMPABLE as usize,
            0,
            0,
            0,
            0,
            0,
        )
    };
}

/// Keeps what is written in the copy from others that have the same memory, and devices from being
/// looked at. `ours` stays as it is.
pub(super) fn protect(mappings: &[Mapping], ours: (usize, usize)) -> Result<(), Status> {
    for mapping in mappings {
        if mapping.start < ours.1 && ours.0 < mapping.end {
            continue;
        }
        let protection = if mapping.is(Use::DEVICE) {
            libc::PROT_NONE
        } else if mapping.is(Use::SHARED) && mapping.is(Use::WRITE) {
            libc::PROT_READ
        } else {
            continue;
        };
        let length = mapping.end - mapping.start;
        // SAFETY: takes no right that our own code or data needs: those are never shared.
        let result = unsafe {
            syscall(
                libc::SYS_mprotect,
                mapping.start,
                length,
                protection as usize,
                0,
                0,
                0,
            )
        };
        if result != 0 {
            return Err(Status::NotProtected);
        }
    }
    Ok(())
}

/// Writes to code.
///
/// # Safety
/// Whoever runs the code at `address` can do with what is put there.
pub(super) unsafe fn write_code(address: usize, code: &[u8]) -> Option<()> {
    const PAGE: usize = 4096;
    let start = address & !(PAGE - 1);
    let length = (address + code.len()).next_multiple_of(PAGE) - start;
    let (read_run, all) = (libc::PROT_READ | libc::PROT_EXEC, 7);
    // SAFETY: the caller's; the pages are those of the copy alone once they are written to.
    unsafe {
        if syscall(libc::SYS_mprotect, start, length, all, 0, 0, 0) != 0 {
            return None;
        }
        let to = std::ptr::with_exposed_provenance_mut::<u8>(address);
        std::ptr::copy_nonoverlapping(code.as_ptr(), to, code.len());
        syscall(
            libc::SYS_mprotect,
            start,
            length,
            read_run as usize,
            0,
            0,
            0,
        );
    }
    Some(())
}

/// Code that jumps to `to` from wherever it is.
pub(super) fn jump(to: usize) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = (to as u64).to_le_bytes();
    // mov rax, imm64; jmp rax.
    [0x48, 0xb8, a, b, c, d, e, f, g, h, 0xff, 0xe0]
}
