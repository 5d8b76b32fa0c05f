//! Installs the handler once, and sends signals that carry a cookie.
#![expect(unsafe_code, reason = "sigaction and system calls that take pointers")]

use std::{
    ffi::c_int,
    io, mem, ptr,
    sync::{
        Mutex,
        atomic::{AtomicI32, AtomicPtr, Ordering},
    },
};

use super::handler;
use crate::{InstallError, Signal, Tid, slot::Cookie};

/// The action before ours; set before our handler can run, and never freed.
static FORMER: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());
/// The signal for which the handler is installed.
static INSTALLED: Mutex<Option<Signal>> = Mutex::new(None);
/// The ID of this process, which the handler compares with a signal's sender; set by [`note_pid`].
static PID: AtomicI32 = AtomicI32::new(0);

/// Installs the handler, unless that has been done already.
pub(crate) fn install(signal: Signal) -> Result<(), InstallError> {
    let mut installed = INSTALLED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(earlier) = *installed {
        return if earlier == signal {
            Ok(())
        } else {
            Err(InstallError::OtherSignal)
        };
    }
    let former = query(signal).map_err(InstallError::Refused)?;
    FORMER.store(Box::into_raw(Box::new(former)), Ordering::Release);
    let ours = libc::sigaction {
        sa_sigaction: handler::address(),
        sa_mask: blocked_in_handler(),
        sa_flags: libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK,
        sa_restorer: None,
    };
    // SAFETY: `ours` is initialized, and its handler is an `extern "C"` function of the SA_SIGINFO
    // form that is async-signal-safe (see its module).
    if unsafe { libc::sigaction(signal.number(), &raw const ours, ptr::null_mut()) } != 0 {
        return Err(InstallError::Refused(io::Error::last_os_error()));
    }
    *installed = Some(signal);
    Ok(())
}

/// Returns whether the current handler is still ours.
pub(crate) fn handler_in_place(signal: Signal) -> bool {
    query(signal).is_ok_and(|action| action.sa_sigaction == handler::address())
}

/// Queues the signal with `cookie` to one thread of this process.
pub(crate) fn send(signal: Signal, tid: Tid, cookie: Cookie) -> io::Result<()> {
    let info = QueuedInfo {
        signal: signal.number(),
        errno: 0,
        code: libc::SI_QUEUE,
        padding: 0,
        pid: pid(),
        // SAFETY: getuid has no preconditions.
        uid: unsafe { libc::getuid() },
        value: cookie.as_raw(),
        rest: [0; 12],
    };
    // SAFETY: the kernel reads one siginfo_t, and `QueuedInfo` has its size and layout.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_tgsigqueueinfo,
            pid(),
            tid.as_raw(),
            signal.number(),
            &raw const info,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Returns the ID of the calling thread. Async-signal-safe.
pub(crate) fn current_tid() -> Tid {
    // SAFETY: gettid has no preconditions and cannot fail.
    Tid::new(unsafe { libc::gettid() })
}

/// Records the ID of this process for the handler. Called before each
/// capture, because fork changes it.
pub(crate) fn note_pid() {
    // SAFETY: getpid has no preconditions and cannot fail.
    PID.store(unsafe { libc::getpid() }, Ordering::Relaxed);
}

/// Returns the ID of this process, as of the last [`note_pid`].
pub(super) fn pid() -> i32 {
    PID.load(Ordering::Relaxed)
}

/// Returns the action before ours. Async-signal-safe.
pub(super) fn former() -> Option<&'static libc::sigaction> {
    // SAFETY: null, or a leaked box that is never written to.
    unsafe { FORMER.load(Ordering::Acquire).as_ref() }
}

fn query(signal: Signal) -> io::Result<libc::sigaction> {
    // SAFETY: all-zero is a valid sigaction: integers, a mask and an absent function pointer.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: only writes the current action to `action`.
    match unsafe { libc::sigaction(signal.number(), ptr::null(), &raw mut action) } {
        0 => Ok(action),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns the signals that are blocked while the handler runs: all, because another handler's
/// frame might not fit on a small alternate stack, except for faults, which when blocked would kill
/// the process without calling the host's crash handler.
fn blocked_in_handler() -> libc::sigset_t {
    const FAULTS: [c_int; 5] = [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGTRAP,
    ];
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

/// `siginfo_t` as rt_sigqueueinfo(2) fills it; libc's type hides these fields.
#[repr(C)]
struct QueuedInfo {
    signal: c_int,
    errno: c_int,
    code: c_int,
    padding: c_int,
    pid: libc::pid_t,
    uid: libc::uid_t,
    value: u64,
    rest: [u64; 12],
}

const _: () = assert!(size_of::<QueuedInfo>() == size_of::<libc::siginfo_t>());
