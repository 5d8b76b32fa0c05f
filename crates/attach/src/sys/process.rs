//! What rtops does to itself: signals and priority.

use nix::{
    errno::Errno,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};

/// Makes a process hear of its children's stops, whatever it was started with, and deaf to a terminal's wish
/// to stop it.
pub(crate) fn default_signals() -> nix::Result<()> {
    let set = |signal, handler| {
        let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
        // SAFETY: neither "default" nor "ignored" is code.
        unsafe { sigaction(signal, &action) }
    };
    // Where it is ignored, or with SA_NOCLDSTOP, no signal tells of a stop.
    set(Signal::SIGCHLD, SigHandler::SigDfl)?;
    for signal in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
        set(signal, SigHandler::SigIgn)?;
    }
    Ok(())
}

/// The highest priority that this process may have, until it is dropped.
#[derive(Debug)]
pub(crate) struct Priority {
    nice: i32,
}

impl Priority {
    /// Goes before all others, where that is allowed; else before as many as possible.
    pub(crate) fn raise() -> Self {
        // SAFETY: it takes numbers.
        let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        if schedule(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, 1).is_err() {
            // SAFETY: it takes numbers. Whoever may not do this goes on as before.
            let _is_allowed = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
        }
        Self { nice }
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        // A lower priority is always allowed.
        let _is_lowered = schedule(0, libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK, 0);
        // SAFETY: it takes numbers.
        let _is_lowered = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, self.nice) };
    }
}

/// Has a thread of this process run only when nobody else wants to. Threads that it starts do the same.
pub(crate) fn idle(tid: i32) -> nix::Result<()> {
    schedule(tid, libc::SCHED_IDLE, 0)
}

/// Takes that back. Not everybody may.
pub(crate) fn not_idle(tid: i32) -> nix::Result<()> {
    schedule(tid, libc::SCHED_OTHER, 0)
}

/// How a thread is scheduled, where it is there.
pub(crate) fn schedule_of(tid: i32) -> Option<Schedule> {
    // SAFETY: it takes a number.
    match unsafe { libc::sched_getscheduler(tid) } {
        libc::SCHED_IDLE => Some(Schedule::Idle),
        libc::SCHED_OTHER => Some(Schedule::Usual),
        ..0 => None,
        _ => Some(Schedule::Chosen),
    }
}

/// When a thread is run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Schedule {
    Usual,
    Idle,
    /// In a way that somebody chose for it.
    Chosen,
}

/// Thread 0 is the one that calls this.
fn schedule(tid: i32, policy: i32, priority: i32) -> nix::Result<()> {
    let parameter = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: `parameter` is a local, which the kernel reads.
    let result = unsafe { libc::sched_setscheduler(tid, policy, &raw const parameter) };
    Errno::result(result).map(drop)
}
