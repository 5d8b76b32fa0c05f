//! The process that does it.

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

/// How often the memory is looked at while there is a copy.
const TICK: Duration = Duration::from_millis(20);

/// What the program is asked with to be a helper.
pub(crate) const ARGUMENT: &str = "--rtops-attach-helper";

/// How much is read of the arguments of a process.
const MAX_START: usize = 4096;

/// Becomes the helper that [`freeze`](crate::freeze()) starts, if this process was started as one: then it does
/// not return. A program that freezes processes calls this before anything else, while it has one thread and no
/// open files, unless it names another program in [`Options::helper`](crate::Options::helper).
pub fn run_helper_if_asked() {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == ARGUMENT)
    {
        let code = match run() {
            Ok(()) => 0,
            // Whoever asked has heard why, or is not there any more.
            Err(_) => 1,
        };
        std::process::exit(code);
    }
}

/// Whether a process is such a helper, of whomever, or has ended by now: it lets go soon.
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
    // What belongs to it is open no longer than needed.
    drop(reply);
    if let Some(copy) = outcome.copy {
        // The thread that asked may end before the picture is of no more use: from here on the end of the socket
        // says that nobody has any.
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

/// Ends with who started it, even if that has happened already.
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
    /// Threads of the target that have not come out of where no signal reaches them.
    late: Vec<Tid>,
    bell: &'h Bell,
    socket: &'h OwnedFd,
}

impl Hold<'_> {
    /// Waits for the end of the socket, and ends the copy. Ends it before that if it costs too much memory.
    fn until_nobody_needs_it(&mut self, target: Pid) -> Result<(), Refusal> {
        let free_at_first = cgroup::free(target);
        let ended_early = loop {
            self.freezer.wait_for_the_end(&self.late)?;
            let mut polled = [
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                self.bell.poll_fd(),
            ];
            // Whatever it says, all is looked at below.
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
        // First, so that who finds nothing to read any more knows why.
        let sent = ended_early.map_or(Ok(()), |why| Reply::Ended(why).send(self.socket));
        self.freezer.end_copy(&mut self.copy);
        sent.map_err(Step::Exchange.failed())
    }
}

/// Whether half of what was free at first is used. What can't be told any more is no reason to end: the target may
/// have ended.
fn is_half_used(at_first: Result<u64, NoCopy>, now: Result<u64, NoCopy>) -> bool {
    match (at_first, now) {
        (Ok(at_first), Ok(now)) => now < at_first / 2,
        (_, Err(NoCopy::OomGroup)) => true,
        _ => false,
    }
}
