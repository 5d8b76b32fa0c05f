//! The signal handler: it notes where the stepped thread is, before each of its instructions.
//!
//! It runs between any two instructions of the stepped closure, with any lock held, and anywhere else
//! for traps of others. It doesn't allocate, lock, unwind, panic, format or use thread-local variables.
//! All that it calls:
//!
//! - `active::of_this_thread`, `active::give_up`, `Recording::note`: atomics, and plain stores into
//!   memory that was allocated and touched before
//! - `Code::instruction`: a binary search, and a read of at most 16 bytes at the instruction pointer,
//!   within a mapping that is readable and executable
//! - `thread_pointer`: one instruction
//! - for a trap that isn't ours: what `chain` lists
//!
//! The rules that keep the process alive:
//!
//! - The kernel clears the trap flag for handlers, this one and all others, and their return brings it
//!   back. So only the stepped closure itself is stepped.
//! - A trap that can't be delivered ends the process: nothing that blocks SIGTRAP or replaces the
//!   handler may run with the flag set. Nor may what makes a thread or a process, which inherits the
//!   flag, and is not the thread that we know. `instruction` and `syscalls` say what that is; before
//!   such an instruction the flag is cleared here.
//! - A flag that somebody saved with the registers of the stepped thread, as a signal handler can, and
//!   brings back later, is cleared at its first trap, unless somebody handles such traps.
//! - Each way out clears the flag: the bound, such an instruction, another stack, and the end of the
//!   closure, which `Stepping` also sees to without us.
//! - All signals but faults are blocked while it runs, and it runs on the alternate stack if there is
//!   one, so it needs some kilobytes of stack at most once.
#![expect(unsafe_code, reason = "signal context, raw registers")]

use std::ffi::{c_int, c_void};

use libc::{siginfo_t, ucontext_t};

use super::{
    chain::{chain, has_former_handler},
    processor::{TRAP_FLAG, thread_pointer},
};
use crate::{
    Machine, active,
    recording::{Next, Recording},
};

/// `si_code` of a trap that the trap flag causes.
const TRAP_TRACE: c_int = 2;

/// The handler, as sigaction takes and returns it.
pub(super) fn address() -> libc::sighandler_t {
    on_trap as *const () as libc::sighandler_t
}

extern "C" fn on_trap(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let thread = thread_pointer();
    // SAFETY: the kernel passes a valid ucontext_t, which is ours to change until we return.
    let machine = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
    // SAFETY: it is this thread's, and the reference ends with this function.
    let recording = unsafe { active::of_this_thread(thread) };
    // Without the flag it is not the stepped code that was interrupted, but a handler of others.
    let is_stepped = register(machine, libc::REG_EFL) as i64 & TRAP_FLAG != 0;
    let ours = recording.filter(|_| is_stepped);
    if let Some(recording) = ours {
        // For foreign traps, too: one of ours may have been merged with it.
        note(recording, machine, thread);
    }
    // SAFETY: the kernel passes a valid siginfo_t to a handler with SA_SIGINFO.
    let code = unsafe { (*info).si_code };
    match ours {
        Some(_) if code == TRAP_TRACE => {}
        None if code == TRAP_TRACE && is_stepped && !has_former_handler() => clear(machine),
        _ => chain(signal, info, context),
    }
}

fn note(recording: &Recording, machine: &mut [i64], thread: u64) {
    let next = recording.note(&Machine {
        ip: register(machine, libc::REG_RIP),
        sp: register(machine, libc::REG_RSP),
        number: register(machine, libc::REG_RAX),
    });
    if next == Next::Stop {
        clear(machine);
        active::give_up(thread);
    }
}

fn clear(machine: &mut [i64]) {
    let index = usize::try_from(libc::REG_EFL);
    if let Some(flags) = index.ok().and_then(|index| machine.get_mut(index)) {
        *flags &= !TRAP_FLAG;
    }
}

fn register(machine: &[i64], index: c_int) -> u64 {
    usize::try_from(index)
        .ok()
        .and_then(|index| machine.get(index))
        .map_or(0, |value| *value as u64)
}
