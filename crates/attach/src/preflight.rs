//! Checks that run before a process is touched.

use std::time::Duration;

use rtops_image::{Pid, Tid};

use crate::{
    NoCopy, Refusal, Step, Threads, cgroup, estimate::Load, pages::Pages, proc::Status,
    wire::Request,
};

/// The results for a process that may be frozen.
#[derive(Debug)]
pub(crate) struct Preflight {
    /// Why no copy is made.
    pub(crate) no_copy: Option<NoCopy>,
    pub(crate) load: Load,
    /// Its PID in its own namespace.
    pub(crate) own_number: i32,
    /// Whether a seccomp filter may forbid the calls that make the copy.
    has_filter: bool,
}

/// Refuses a freeze that would do harm or is not possible.
pub(crate) fn check(request: &Request) -> Result<Preflight, Refusal> {
    let pid = request.pid;
    if pid.as_raw() <= 0 {
        return Err(Refusal::NoProcess(pid));
    }
    let status = Status::of(&pid.to_string()).map_err(|_| Refusal::NoProcess(pid))?;
    let (mut no_copy, load) = judge(&status, pid)?;
    if no_copy.is_none() {
        no_copy = cgroup::check(pid, &load).err();
    }
    let preflight = Preflight {
        no_copy,
        load,
        own_number: status.own_number().unwrap_or(pid.as_raw()),
        has_filter: status.number("Seccomp").is_some_and(|mode| mode != 0),
    };
    preflight.check_time(request)?;
    Ok(preflight)
}

/// Judges a process by its status.
fn judge(status: &Status, pid: Pid) -> Result<(Option<NoCopy>, Load), Refusal> {
    let leader = status
        .number("Tgid")
        .and_then(|pid| i32::try_from(pid).ok())
        .map(Pid::new);
    match (leader, status.state()) {
        (Some(leader), _) if leader != pid => {
            return Err(Refusal::IsThread {
                tid: pid.main_thread(),
                pid: leader,
            });
        }
        (_, Some('Z' | 'X') | None) => return Err(Refusal::Ended),
        // A traced process is in state 't'; the tracer is the better reason.
        _ if let Some(tracer) = status.tracer() => return Err(Refusal::Traced(tracer)),
        (_, Some('T' | 't')) => return Err(Refusal::Stopped),
        _ => {}
    }
    let load = Load::of(status).ok_or(Refusal::Kernel)?;
    let no_copy = if status.number("VmLck").is_some_and(|kib| kib != 0) {
        Some(NoCopy::MemoryLocked)
    } else if has_shadow_stack(status) {
        Some(NoCopy::ShadowStack)
    } else {
        None
    };
    Ok((no_copy, load))
}

/// Returns whether the CPU checks returns against a shadow stack, which
/// a signal frame would have to match.
pub(crate) fn has_shadow_stack(status: &Status) -> bool {
    let features = status.field("x86_Thread_features");
    features.is_some_and(|features| features.contains("shstk"))
}

impl Preflight {
    /// Checks that the estimated pause is short enough.
    fn check_time(&self, request: &Request) -> Result<(), Refusal> {
        if let Some(why) = self.no_copy {
            return self.check_reading(request, why);
        }
        let estimate = self.load.of_copying(request.threads == Threads::All);
        check_estimate(estimate, request.max_pause)
    }

    /// Checks the pause again now that the number of mappings is known.
    pub(crate) fn check_mappings(&self, request: &Request, mappings: usize) -> Result<(), Refusal> {
        if self.no_copy.is_some() {
            return Ok(());
        }
        let are_all = request.threads == Threads::All;
        let estimate = self.load.of_copying_mappings(are_all, mappings);
        check_estimate(estimate, request.max_pause)
    }

    /// Allocates memory for what may be read while the process is stopped.
    pub(crate) fn room(&self, request: &Request) -> Result<Pages, Refusal> {
        let may_be_read = self.no_copy.is_some() || self.has_filter;
        let bytes = if may_be_read && self.load.of_reading() <= request.max_pause {
            // The process may have grown a little by then.
            self.load.own_bytes() + self.load.own_bytes() / 8 + (1 << 20)
        } else {
            0
        };
        Pages::of_standing(bytes).map_err(Step::Prepare.failed_io())
    }

    /// Checks that the process may be read while it is stopped.
    pub(crate) fn check_reading(&self, request: &Request, why: NoCopy) -> Result<(), Refusal> {
        let estimate = self.load.of_reading();
        let allowed = request.max_pause;
        if estimate > allowed {
            return Err(Refusal::CantCopy {
                why,
                estimate,
                allowed,
            });
        }
        Ok(())
    }
}

fn check_estimate(estimate: Duration, allowed: Duration) -> Result<(), Refusal> {
    if estimate > allowed {
        return Err(Refusal::TooLong { estimate, allowed });
    }
    Ok(())
}

/// Returns why a thread can't be traced.
pub(crate) fn why_not_traced(pid: Pid, tid: Tid, error: nix::Error) -> Refusal {
    if error != nix::Error::EPERM {
        return Step::Stop.failed()(error);
    }
    match Status::of(&format!("{pid}/task/{tid}")).map(|status| status.tracer()) {
        Ok(Some(tracer)) => Refusal::Traced(tracer),
        _ => Refusal::NoRights { yama: yama() },
    }
}

fn yama() -> i32 {
    let scope = crate::proc::read("/proc/sys/kernel/yama/ptrace_scope");
    scope
        .ok()
        .and_then(|scope| scope.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STATUS: &str = "Tgid:\t7\nState:\tS (sleeping)\nTracerPid:\t0\nVmLck:\t       0 kB\n\
                          VmPTE:\t     100 kB\nRssAnon:\t  1024 kB\nThreads:\t8\nx86_Thread_features:\t\n";

    fn judged(from: &str, to: &str) -> Result<Option<NoCopy>, Refusal> {
        assert!(STATUS.contains(from));
        let status = Status::from_text(&STATUS.replace(from, to));
        judge(&status, Pid::new(7)).map(|(no_copy, _)| no_copy)
    }

    #[test]
    fn what_would_do_harm_is_refused() {
        assert_eq!(judged("7", "7"), Ok(None));
        assert_eq!(judged("State:\tS", "State:\tT"), Err(Refusal::Stopped));
        assert_eq!(judged("State:\tS", "State:\tZ"), Err(Refusal::Ended));
        assert_eq!(
            judged("Pid:\t0", "Pid:\t9"),
            Err(Refusal::Traced(Pid::new(9)))
        );
        assert_eq!(judged("RssAnon", "Rss"), Err(Refusal::Kernel));
        let thread = Refusal::IsThread {
            tid: Tid::new(7),
            pid: Pid::new(5),
        };
        assert_eq!(judged("Tgid:\t7", "Tgid:\t5"), Err(thread));
    }

    #[test]
    fn what_must_not_be_copied_is_found() {
        let locked = judged("VmLck:\t       0", "VmLck:\t      64");
        assert_eq!(locked, Ok(Some(NoCopy::MemoryLocked)));
        let guarded = judged("features:\t", "features:\tshstk wrss");
        assert_eq!(guarded, Ok(Some(NoCopy::ShadowStack)));
    }
}
