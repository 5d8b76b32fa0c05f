//! Settings of the rtops process itself: signals, priority, and scheduling.

use nix::{
    errno::Errno,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
};

/// Makes this process receive SIGCHLD when its children stop, whatever it was started with, and
/// ignore a terminal's stop signals.
pub(crate) fn default_signals() -> nix::Result<()> {
    let set = |signal, handler| {
        let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
        // SAFETY: SIG_DFL and SIG_IGN install no handler.
        unsafe { sigaction(signal, &action) }
    };
    // If SIGCHLD is ignored or set with SA_NOCLDSTOP, no signal reports a stop.
    set(Signal::SIGCHLD, SigHandler::SigDfl)?;
    for signal in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
        set(signal, SigHandler::SigIgn)?;
    }
    Ok(())
}

/// The highest priority that this process may have, until this value is dropped.
#[derive(Debug)]
pub(crate) struct Priority {
    nice: i32,
}

impl Priority {
    /// Gets real-time priority if that is allowed, else the lowest nice value that is.
    pub(crate) fn raise() -> Self {
        // SAFETY: the call takes only numbers.
        let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        if schedule(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, 1).is_err() {
            // SAFETY: it takes numbers. A process that may not do this continues as before.
            let _is_allowed = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
        }
        Self { nice }
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        // A lower priority is always allowed.
        let _is_lowered = schedule(0, libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK, 0);
        // SAFETY: the call takes only numbers.
        let _is_lowered = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, self.nice) };
    }
}

/// Makes a thread of this process run only when nobody else wants to.
/// Threads that it starts do the same.
pub(crate) fn idle(tid: i32) -> nix::Result<()> {
    schedule(tid, libc::SCHED_IDLE, 0)
}

/// Undoes [`idle`]. Not every user may do this.
pub(crate) fn not_idle(tid: i32) -> nix::Result<()> {
    schedule(tid, libc::SCHED_OTHER, 0)
}

/// Returns how a thread is scheduled; `None` if it does not exist.
pub(crate) fn schedule_of(tid: i32) -> Option<Schedule> {
    // SAFETY: the call takes only a number.
    match unsafe { libc::sched_getscheduler(tid) } {
        libc::SCHED_IDLE => Some(Schedule::Idle),
        libc::SCHED_OTHER => Some(Schedule::Usual),
        ..0 => None,
        _ => Some(Schedule::Chosen),
    }
}

/// How a thread is scheduled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Schedule {
    Usual,
    Idle,
    /// Under a policy that somebody chose for it.
    Chosen,
}

/// Sets the policy of a thread; thread 0 is the caller.
fn schedule(tid: i32, policy: i32, priority: i32) -> nix::Result<()> {
    let parameter = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: `parameter` is a local, which the kernel reads.
    let result = unsafe { libc::sched_setscheduler(tid, policy, &raw const parameter) };
    Errno::result(result).map(drop)
}
