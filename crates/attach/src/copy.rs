//! A copy of a process, which stands still until it is killed.

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

/// A copy. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) pid: Pid,
    /// Where the target has to take note of the end of its child: the number of the copy in the target's
    /// namespace.
    pub(crate) to_reap: Option<i32>,
    is_reaped: bool,
}

impl Copied {
    /// Takes charge of a copy that was just born.
    pub(crate) const fn new(pid: Pid) -> Self {
        Self {
            pid,
            to_reap: None,
            is_reaped: false,
        }
    }

    /// Waits until it stands still, from when on it ends with this process. The target must have let go of it.
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
        // Where memory runs short, it goes before all others. Where that can't be said, it is still watched.
        let _is_said = std::fs::write(format!("/proc/{}/oom_score_adj", self.pid), "1000");
        // The first process of a namespace, or one that takes care of orphans, has it as its child.
        let status = Status::of(&self.pid.to_string()).map_err(|_| Refusal::Ended)?;
        if status.number("PPid") == u64::try_from(target.as_raw()).ok() {
            self.to_reap = status.own_number();
        }
        Ok(())
    }

    /// Whether it was killed by somebody else. Its memory is gone some time before it can be reaped, but nothing
    /// else has it leave the stop that it is in.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.is_reaped |= matches!(
            sys::poll(self.pid.main_thread()),
            Ok(Some(Stop::Ended)) | Err(_)
        );
        let status = Status::of(&self.pid.to_string());
        self.is_reaped || status.map_or(true, |status| status.state() != Some('t'))
    }

    /// Ends it, and waits until it has given back its memory.
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
            // Whoever had the time to wait for it has called `end`.
            let _is_there = kill(unistd::Pid::from_raw(self.pid.as_raw()), Signal::SIGKILL);
        }
    }
}
