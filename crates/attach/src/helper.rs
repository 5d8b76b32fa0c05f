//! The helper process: answers a request and holds the copy.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        prctl,
        signal::Signal,
        socket::{getsockopt, sockopt::PeerCredentials},
        time::TimeSpec,
    },
    unistd::getppid,
};
use rtops_files::bounded;
use rtops_image::{Pid, Tid};

use crate::{
    EndedEarly, NoCopy, Refusal, Step, cgroup,
    copy::Copied,
    freezer::Freezer,
    stop::release_late,
    sys,
    tracee::Bell,
    wire::{Reply, Request},
};

/// How often free memory is checked while there is a copy.
const TICK: Duration = Duration::from_millis(20);

/// The argument that makes the program a helper.
pub(crate) const ARGUMENT: &str = "--rtops-attach-helper";

/// The most bytes that are read of a process's arguments.
const MAX_START: usize = 4096;

/// Becomes the helper that [`freeze`](crate::freeze()) starts, if this process was started as one,
/// and then does not return. A program that freezes processes calls this before anything else,
/// while it has one thread and no open files, unless it names another program in
/// [`Options::helper`](crate::Options::helper).
pub fn run_helper_if_asked() {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == ARGUMENT)
    {
        let code = match run() {
            Ok(()) => 0,
            // The caller has been told why, or no longer exists.
            Err(_) => 1,
        };
        std::process::exit(code);
    }
}

/// Returns whether a process is a helper that anybody started, or has ended
/// by now. Either way it will soon stop tracing.
#[must_use]
pub fn is_helper(pid: Pid) -> bool {
    let Ok(arguments) = File::open(format!("/proc/{pid}/cmdline")) else {
        return true;
    };
    let start = bounded::read(arguments, MAX_START).unwrap_or_default();
    let mut arguments = start.bytes.split(|byte| *byte == 0);
    arguments.nth(1) == Some(ARGUMENT.as_bytes())
}

fn run() -> Result<(), Refusal> {
    let exchange = Step::Exchange.failed();
    sys::default_signals().map_err(Step::Prepare.failed())?;
    let socket = io::stdin().as_fd().try_clone_to_owned();
    let socket = socket.map_err(Step::Exchange.failed_io())?;
    end_with_parent(&socket).map_err(&exchange)?;
    let bell = Bell::new().map_err(Step::Prepare.failed())?;
    let Some(request) = Request::receive(&socket).map_err(&exchange)? else {
        return Err(exchange(Errno::EPROTO));
    };
    let mut freezer = Freezer::new(request, &bell)?;
    let outcome = match freezer.freeze() {
        Ok(outcome) => outcome,
        Err(refusal) => return Reply::Refused(refusal).send(&socket).map_err(&exchange),
    };
    let reply = Reply::Frozen(outcome.frozen);
    let sent = reply.send(&socket);
    // Close its descriptors as early as possible.
    drop(reply);
    if let Some(copy) = outcome.copy {
        // The thread that asked may end before the picture is used up. From here on, the end of the
        // socket says that nobody needs it.
        prctl::set_pdeathsig(None).map_err(Step::Prepare.failed())?;
        let mut hold = Hold {
            freezer,
            copy,
            late: outcome.late,
            bell: &bell,
            socket: &socket,
        };
        hold.until_nobody_needs_it(request.pid)?;
    }
    sent.map_err(exchange)
}

/// Makes this process end with its parent, and fails if the parent has already ended.
fn end_with_parent(socket: &OwnedFd) -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let parent = getsockopt(socket, PeerCredentials)?.pid();
    if getppid().as_raw() == parent {
        Ok(())
    } else {
        Err(Errno::ESRCH)
    }
}

/// A copy that somebody reads.
struct Hold<'h> {
    freezer: Freezer<'h>,
    copy: Copied,
    /// Threads of the target that are still in uninterruptible sleep.
    late: Vec<Tid>,
    bell: &'h Bell,
    socket: &'h OwnedFd,
}

impl Hold<'_> {
    /// Waits for the end of the socket, then ends the copy. Ends it
    /// earlier if it costs too much memory.
    fn until_nobody_needs_it(&mut self, target: Pid) -> Result<(), Refusal> {
        let free_at_first = cgroup::free(target);
        let ended_early = loop {
            self.freezer.wait_for_the_end(&self.late)?;
            let mut polled = [
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                self.bell.poll_fd(),
            ];
            // Whatever this returns, everything is checked below.
            let _is_ready = ppoll(&mut polled, Some(TimeSpec::from(TICK)), None);
            let [socket, _] = polled;
            if self.copy.has_ended() {
                break Some(EndedEarly::Killed);
            }
            if socket.any() == Some(true) {
                break None;
            }
            self.bell.silence();
            release_late(&mut self.late);
            if is_half_used(free_at_first, cgroup::free(target)) {
                break Some(EndedEarly::Memory);
            }
        };
        // Sent first, so that a reader who finds the memory gone knows why.
        let sent = ended_early.map_or(Ok(()), |why| Reply::Ended(why).send(self.socket));
        self.freezer.end_copy(&mut self.copy);
        sent.map_err(Step::Exchange.failed())
    }
}

/// Returns whether half of the memory that was free at first is used. Failing to read it now is no
/// reason to end: the target may have ended.
fn is_half_used(at_first: Result<u64, NoCopy>, now: Result<u64, NoCopy>) -> bool {
    match (at_first, now) {
        (Ok(at_first), Ok(now)) => now < at_first / 2,
        (_, Err(NoCopy::OomGroup)) => true,
        _ => false,
    }
}
