//! Installing the handler once, and whether it is in force.
#![expect(unsafe_code, reason = "sigaction and signal masks take pointers")]

use std::{
    ffi::c_int,
    io, mem, ptr,
    sync::{
        Mutex, PoisonError,
        atomic::{
            AtomicPtr,
            Ordering::{Acquire, Release},
        },
    },
};

use super::handler;
use crate::Refusal;

/// What was in force before ours; set before our handler can run, and never freed.
static FORMER: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());
/// Whether our handler was installed.
static INSTALLED: Mutex<bool> = Mutex::new(false);

/// Installs the handler, unless that was done before. It is never taken away: somebody may have
/// chained to it.
pub(crate) fn install() -> Result<(), Refusal> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if *installed {
        return Ok(());
    }
    FORMER.store(Box::into_raw(Box::new(in_force()?)), Release);
    let ours = libc::sigaction {
        sa_sigaction: handler::address(),
        sa_mask: blocked_in_handler(),
        sa_flags: libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK,
        sa_restorer: None,
    };
    // SAFETY: `ours` is initialized, and its handler is an `extern "C"` function of the SA_SIGINFO form
    // that is async-signal-safe (see its module).
    if unsafe { libc::sigaction(libc::SIGTRAP, &raw const ours, ptr::null_mut()) } != 0 {
        return Err(last_error());
    }
    *installed = true;
    Ok(())
}

/// Whether our handler is in force.
pub(crate) fn is_in_place() -> Result<(), Refusal> {
    if in_force()?.sa_sigaction == handler::address() {
        Ok(())
    } else {
        Err(Refusal::HandlerReplaced)
    }
}

/// Whether a trap of this thread would get to our handler. Two system calls, no lock.
pub(crate) fn may_step() -> Result<(), Refusal> {
    is_in_place()?;
    // SAFETY: all-zero is a valid sigset_t; the call only writes the present mask to it.
    let is_blocked = unsafe {
        let mut mask: libc::sigset_t = mem::zeroed();
        let error = libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &raw mut mask);
        if error != 0 {
            return Err(Refusal::System(error));
        }
        libc::sigismember(&raw const mask, libc::SIGTRAP) != 0
    };
    if is_blocked {
        return Err(Refusal::SignalBlocked);
    }
    Ok(())
}

/// What was in force before ours. Async-signal-safe.
pub(super) fn former() -> Option<&'static libc::sigaction> {
    // SAFETY: null, or a leaked box that is never written to.
    unsafe { FORMER.load(Acquire).as_ref() }
}

fn in_force() -> Result<libc::sigaction, Refusal> {
    // SAFETY: all-zero is a valid sigaction: integers, a mask and an absent function pointer.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: only writes the present action to `action`.
    match unsafe { libc::sigaction(libc::SIGTRAP, ptr::null(), &raw mut action) } {
        0 => Ok(action),
        _ => Err(last_error()),
    }
}

fn last_error() -> Refusal {
    Refusal::System(io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

/// Everything waits while the handler runs, for another handler's frame might not fit on a small
/// alternate stack. Faults are excepted: a blocked one would kill without the host's crash handler.
fn blocked_in_handler() -> libc::sigset_t {
    const FAULTS: [c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
    // SAFETY: all-zero is a valid sigset_t, and both calls write only to it.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&raw mut set);
        for fault in FAULTS {
            libc::sigdelset(&raw mut set, fault);
        }
        set
    }
}
