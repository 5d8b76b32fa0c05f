//! Traps that aren't ours: what would have been done without us.
//!
//! Runs in the signal handler. It calls `rt_sigprocmask`, and the former handler; or where that was
//! SIG_DFL, `signal` and `raise`, all of which are async-signal-safe.
#![expect(unsafe_code, reason = "calls handlers by their address")]

use std::{
    ffi::{c_int, c_void},
    ptr,
};

use libc::{siginfo_t, ucontext_t};

use super::signal::former;

/// Hands a trap to whoever had the signal before us.
pub(super) fn chain(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let Some(former) = former() else {
        return;
    };
    // SAFETY: the kernel passes a valid siginfo_t. What it raised itself, for an instruction of the
    // thread, has a positive code, and ends a process that ignores it.
    let is_sent = unsafe { (*info).si_code } <= 0;
    match former.sa_sigaction {
        libc::SIG_IGN if is_sent => {}
        libc::SIG_DFL | libc::SIG_IGN => die(signal),
        _ => {
            restore_mask(signal, former, context);
            call(former, signal, info, context);
        }
    }
}

/// Whether a function of somebody's handled the signal before us.
pub(super) fn has_former_handler() -> bool {
    former().is_some_and(|former| !matches!(former.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN))
}

/// The signal is blocked until the handler returns, and then ends the process, as it would have.
fn die(signal: c_int) {
    // SAFETY: neither has preconditions; errno is of no account any more.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

fn call(former: &libc::sigaction, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let handler = former.sa_sigaction;
    if former.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: somebody installed this address as a handler of this form.
        let handler = unsafe {
            std::mem::transmute::<
                libc::sighandler_t,
                extern "C" fn(c_int, *mut siginfo_t, *mut c_void),
            >(handler)
        };
        handler(signal, info, context);
    } else {
        // SAFETY: likewise, of the form without SA_SIGINFO.
        let handler =
            unsafe { std::mem::transmute::<libc::sighandler_t, extern "C" fn(c_int)>(handler) };
        handler(signal);
    }
}

/// The mask the former handler would run under: that of the interrupted code, its own, and its signal.
fn restore_mask(signal: c_int, former: &libc::sigaction, context: *mut c_void) {
    // SAFETY: the kernel passed a valid ucontext_t, whose mask has only the kernel's 8 bytes; the raw
    // call reads no more. The mask of the interrupted code returns with the handler. errno is saved.
    unsafe {
        let errno = *libc::__errno_location();
        let mut mask = (&raw const (*context.cast::<ucontext_t>()).uc_sigmask)
            .cast::<u64>()
            .read();
        mask |= (&raw const former.sa_mask).cast::<u64>().read();
        if former.sa_flags & libc::SA_NODEFER == 0 {
            mask |= 1 << (signal - 1);
        }
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            ptr::null_mut::<u64>(),
            size_of::<u64>(),
        );
        *libc::__errno_location() = errno;
    }
}
