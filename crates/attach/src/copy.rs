//! A copy of a process, which stays stopped until it is killed.

use nix::{
    errno::Errno,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
    },
    unistd,
};
use rtops_image::Pid;

use crate::{
    Refusal, Step,
    points::point,
    proc::Status,
    sys::{self, Stop},
    tracee::{Bell, Tracee, ended_or},
};

/// A copy. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) pid: Pid,
    /// The copy's PID in the target's namespace, if the target has to reap it as its child.
    pub(crate) to_reap: Option<i32>,
    is_reaped: bool,
}

impl Copied {
    /// Takes charge of a copy that was just created.
    pub(crate) const fn new(pid: Pid) -> Self {
        Self {
            pid,
            to_reap: None,
            is_reaped: false,
        }
    }

    /// Waits until the copy has stopped, and ties its life to this
    /// process. The target must be released before.
    pub(crate) fn settle(&mut self, target: Pid, bell: &Bell) -> Result<(), Refusal> {
        let stop = Tracee::new(self.pid.main_thread(), bell).wait()?;
        if stop != Stop::Asked {
            return Err(Step::Copy.failed()(Errno::EPROTO));
        }
        point();
        ptrace::setoptions(
            sys::traced(self.pid.main_thread()),
            Options::PTRACE_O_EXITKILL,
        )
        .map_err(ended_or(&Step::Copy.failed()))?;
        point();
        // If memory runs short, the kernel kills the copy first. If this
        // fails, memory is still watched.
        let _is_said = std::fs::write(format!("/proc/{}/oom_score_adj", self.pid), "1000");
        // The first process of a namespace, or a subreaper, becomes its parent.
        let status = Status::of(&self.pid.to_string()).map_err(|_| Refusal::Ended)?;
        if status.number("PPid") == u64::try_from(target.as_raw()).ok() {
            self.to_reap = status.own_number();
        }
        Ok(())
    }

    /// Returns whether something else killed it. Its memory is gone some time before it can be
    /// reaped, but nothing else makes it leave its stop.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.is_reaped |= matches!(
            sys::poll(self.pid.main_thread()),
            Ok(Some(Stop::Ended)) | Err(_)
        );
        let status = Status::of(&self.pid.to_string());
        self.is_reaped || status.map_or(true, |status| status.state() != Some('t'))
    }

    /// Kills it, and waits until its memory is freed.
    pub(crate) fn end(&mut self, bell: &Bell) {
        if self.is_reaped {
            return;
        }
        self.is_reaped = true;
        let _is_there = kill(unistd::Pid::from_raw(self.pid.as_raw()), Signal::SIGKILL);
        let tracee = Tracee::new(self.pid.main_thread(), bell);
        while !matches!(tracee.wait(), Ok(Stop::Ended) | Err(_)) {}
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        if !self.is_reaped {
            // A caller that had the time to wait for it has called `end`.
            let _is_there = kill(unistd::Pid::from_raw(self.pid.as_raw()), Signal::SIGKILL);
        }
    }
}
