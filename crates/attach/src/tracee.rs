//! A single thread that this process traces.

use std::{
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        ptrace,
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        time::TimeSpec,
    },
};
use rtops_image::Tid;

use crate::{
    Refusal, Step,
    points::point,
    proc::Status,
    sys::{self, Stop},
};

/// Becomes readable when a traced thread has stopped or ended.
#[derive(Debug)]
pub(crate) struct Bell(SignalFd);

impl Bell {
    pub(crate) fn new() -> nix::Result<Self> {
        let signals = SigSet::from(Signal::SIGCHLD);
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&signals, flags).map(Self)
    }

    /// Returns an entry for a caller that polls other descriptors too.
    pub(crate) fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(self.0.as_fd(), PollFlags::POLLIN)
    }

    /// Waits until it rings, for at most this long.
    pub(crate) fn wait(&self, most: Duration) {
        // Whatever the outcome, the caller looks at the thread again.
        let _rings = ppoll(&mut [self.poll_fd()], Some(TimeSpec::from(most)), None);
        self.silence();
    }

    /// Resets the bell, so that it rings again only if something new happens.
    pub(crate) fn silence(&self) {
        let _rang = self.0.read_signal();
    }

    /// Waits until a thread stops or ends. `None` if it does neither in time.
    pub(crate) fn wait_for(&self, tid: Tid, until: Instant) -> nix::Result<Option<Stop>> {
        loop {
            if let Some(stop) = sys::poll(tid)? {
                return Ok(Some(stop));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.wait(left);
        }
    }
}

/// A stopped thread that is made to run system calls.
#[derive(Debug)]
pub(crate) struct Tracee<'b> {
    pub(crate) tid: Tid,
    bell: &'b Bell,
    /// A signal that arrived and can't be blocked. It is sent again at the end.
    pub(crate) held_back: Option<i32>,
}

impl<'b> Tracee<'b> {
    pub(crate) const fn new(tid: Tid, bell: &'b Bell) -> Self {
        Self {
            tid,
            bell,
            held_back: None,
        }
    }

    /// Runs until something other than a signal happens. There is no time limit here, because the
    /// kernel kills this process at the hard limit.
    fn run(&mut self, go_on: impl Fn(Tid) -> nix::Result<()>) -> Result<Stop, Refusal> {
        let failed = Step::Copy.failed();
        loop {
            go_on(self.tid).map_err(ended_or(&failed))?;
            point();
            let stop = self.wait()?;
            point();
            match stop {
                Stop::Ended => return Err(Refusal::Ended),
                Stop::Signal(signal) => self.held_back = Some(signal),
                Stop::JobControl => {}
                other => return Ok(other),
            }
        }
    }

    /// Runs until it enters or leaves a system call, or clones.
    pub(crate) fn run_to_call(&mut self) -> Result<Stop, Refusal> {
        self.run(sys::go_on_to_call)
    }

    /// Runs until it clones or ends.
    pub(crate) fn run_to_event(&mut self) -> Result<Stop, Refusal> {
        self.run(sys::go_on)
    }

    /// Runs until it is about to return from its current system call,
    /// where the kernel restarts interrupted calls.
    pub(crate) fn run_to_return(&mut self) -> Result<Stop, Refusal> {
        ptrace::interrupt(sys::traced(self.tid)).map_err(ended_or(&Step::Copy.failed()))?;
        point();
        self.run(sys::go_on)
    }

    /// Waits until it stops or ends.
    pub(crate) fn wait(&self) -> Result<Stop, Refusal> {
        /// How often to check whether it has ended: the kernel does not report the end of a main
        /// thread before all other threads are reaped.
        const WHILE: Duration = Duration::from_millis(5);
        loop {
            let stop = self.bell.wait_for(self.tid, Instant::now() + WHILE);
            match stop.map_err(ended_or(&Step::Copy.failed()))? {
                Some(stop) => return Ok(stop),
                None if has_ended(self.tid) => return Ok(Stop::Ended),
                None => {}
            }
        }
    }
}

/// Returns whether a thread has ended, reaped or not.
pub(crate) fn has_ended(tid: Tid) -> bool {
    let status = Status::of(&tid.to_string());
    status.map_or(true, |status| {
        matches!(status.state(), None | Some('Z' | 'X'))
    })
}

/// Maps an error: a thread that no longer exists has ended; anything else failed.
pub(crate) fn ended_or(failed: &impl Fn(Errno) -> Refusal) -> impl Fn(Errno) -> Refusal {
    move |error| match error {
        Errno::ESRCH | Errno::ECHILD => Refusal::Ended,
        other => failed(other),
    }
}
