//! The caller's side: starts the helper and owns what it has frozen.

use std::{
    fs::File,
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair},
        time::TimeSpec,
    },
};
use rtops_image::{
    Pid,
    live::{Memory, Parts},
};

use crate::{
    NoCopy, Options, Refusal, Step,
    account::Account,
    helper::ARGUMENT,
    wire::{self, Reply, Request},
};

/// The time allowed for the checks before the pause and for reading a
/// small copy after it, on a slow machine.
const BESIDE_THE_PAUSE: Duration = Duration::from_secs(30);
/// The time allowed for ending a copy: the kernel frees its memory, and
/// a thread of the target may have to reap it.
const ENDING: Duration = Duration::from_secs(10);

/// A process as it was at one instant.
#[derive(Debug)]
pub struct Frozen {
    /// How its memory was obtained.
    pub how: How,
    /// How long it was stopped: from when the first thread was told to
    /// stop until the last one resumed.
    pub pause: Duration,
    /// When the last thread resumed.
    pub went_on: Instant,
    /// How many bytes of its own memory it has, or how many of them were read.
    pub copied_bytes: u64,
    /// The number of threads about which nothing is known: they were in uninterruptible sleep
    /// (state D, as in `vfork`), and the rest was frozen without them.
    pub threads_not_stopped: u64,
    /// The parts of an image. If the memory is [`Kept`](Memory::Kept), it has the pages that are
    /// the process's own, which differ from those in a file. For a mapping without a file or of a
    /// deleted file, these are all pages, with zeros where it was never touched. For any other file
    /// they are the pages that were written to, and the rest has to be read from the file.
    pub parts: Parts,
    /// The copy, if the memory is in one; dropping this ends it. `None` if all memory was read.
    pub held: Option<Held>,
}

/// How the memory of a frozen process was obtained.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum How {
    /// It is in a copy, or was read from one.
    Copied,
    /// It was read while the process was stopped, because no copy could be made.
    ReadStanding(NoCopy),
}

/// Why a copy ended before it was dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndedEarly {
    /// The target has used half of the memory that was free.
    Memory,
    /// Something else killed it, such as the kernel when memory was short.
    Killed,
}

/// Freezes a process: stops its threads, reads their registers, has it copied, and resumes it. If
/// the process can't be copied, it is read while it is stopped.
///
/// A helper process does the work; see [`Options::helper`]. Blocks until the target resumes, and a
/// little longer for a small target, whose copy is read and ended.
///
/// # Errors
///
/// If freezing would do harm or is not possible. The target is unharmed in any case.
pub fn freeze(pid: Pid, options: &Options) -> Result<Frozen, Refusal> {
    let begun = Instant::now();
    let mut helper = Helper::start(options)?;
    helper.ask(pid, options)?;
    let limit = options.hard_limit();
    match helper.answer(limit.saturating_add(BESIDE_THE_PAUSE))? {
        Some(Reply::Frozen(frozen)) => take(pid, frozen, helper),
        Some(Reply::Refused(refusal)) => Err(refusal),
        Some(Reply::Ended(_)) | None => Err(helper.why_it_ended(begun, limit)),
    }
}

fn take(pid: Pid, frozen: wire::Frozen, helper: Helper) -> Result<Frozen, Refusal> {
    let account = Account::read(frozen.account).map_err(Step::Exchange.failed_io())?;
    let memory = File::from(frozen.memory);
    let held = frozen.is_held.then_some(Held { helper });
    Ok(Frozen {
        how: frozen.how,
        pause: frozen.pause,
        went_on: {
            let ago = wire::monotonic().saturating_sub(frozen.went_on);
            let now = Instant::now();
            now.checked_sub(ago).unwrap_or(now)
        },
        copied_bytes: frozen.copied_bytes,
        threads_not_stopped: frozen.threads_not_stopped,
        parts: Parts {
            pid,
            maps: account.maps,
            auxv: account.auxv,
            memory: if held.is_some() {
                Memory::Process(memory)
            } else {
                Memory::Kept {
                    file: memory,
                    pieces: account.pieces,
                }
            },
            pagemap: frozen.pagemap.map(File::from),
            threads: account.threads,
            root: PathBuf::from(format!("/proc/{pid}/root")),
        },
        held,
    })
}

/// A stopped copy. Dropping this ends it and returns once its memory is freed.
#[derive(Debug)]
pub struct Held {
    helper: Helper,
}

impl Held {
    /// Ends the copy, and returns once its memory is freed. If it had already ended, returns why:
    /// reads since then found no memory.
    #[must_use]
    pub fn end(mut self) -> Option<EndedEarly> {
        // The helper checks one last time, and sends nothing if all is well.
        self.helper.say_that_it_is_over();
        match self.helper.answer(ENDING) {
            Ok(Some(Reply::Ended(why))) => Some(why),
            // Without the helper there is no copy.
            _ if !self.helper.has_ended_well() => Some(EndedEarly::Killed),
            _ => None,
        }
    }
}

/// The process that freezes another one. It ends when this is dropped.
#[derive(Debug)]
struct Helper {
    process: Child,
    socket: Option<OwnedFd>,
}

impl Helper {
    fn start(options: &Options) -> Result<Self, Refusal> {
        let failed = Step::Helper.failed();
        // A message arrives whole or not at all.
        let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
        let (here, there) =
            socketpair(family, kind, None, SockFlag::SOCK_CLOEXEC).map_err(failed)?;
        let mut command = Command::new(&options.helper);
        command
            .arg0("rtops")
            .arg(ARGUMENT)
            .env_clear()
            .stdin(Stdio::from(there))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Keys typed at a terminal must neither stop nor interrupt it.
            .process_group(0);
        #[cfg(debug_assertions)]
        if let Some(wanted) = std::env::var_os(crate::points::POINT_VARIABLE) {
            command.env(crate::points::POINT_VARIABLE, wanted);
        }
        let process = command.spawn().map_err(Step::Helper.failed_io())?;
        Ok(Self {
            process,
            socket: Some(here),
        })
    }

    fn ask(&self, pid: Pid, options: &Options) -> Result<(), Refusal> {
        let Some(socket) = &self.socket else {
            return Err(Refusal::HelperKilled);
        };
        match Request::new(pid, options).send(socket) {
            Err(Errno::EPIPE) => Err(Refusal::HelperKilled),
            other => other.map_err(Step::Exchange.failed()),
        }
    }

    /// Waits for an answer; `None` if the helper has ended.
    fn answer(&self, most: Duration) -> Result<Option<Reply>, Refusal> {
        if !self.is_readable(most) {
            return Err(Step::Exchange.failed()(Errno::ETIMEDOUT));
        }
        match self.receive() {
            Err(Errno::ECONNRESET) => Ok(None),
            other => other.map_err(Step::Exchange.failed()),
        }
    }

    fn is_readable(&self, most: Duration) -> bool {
        let Some(socket) = &self.socket else {
            return false;
        };
        let end = Instant::now() + most;
        loop {
            let mut polled = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            let left = end.saturating_duration_since(Instant::now());
            match ppoll(&mut polled, Some(TimeSpec::from(left)), None) {
                Err(Errno::EINTR) => {}
                other => return other.is_ok_and(|ready| ready > 0),
            }
        }
    }

    fn receive(&self) -> nix::Result<Option<Reply>> {
        self.socket.as_ref().map_or(Ok(None), Reply::receive)
    }

    fn say_that_it_is_over(&self) {
        if let Some(socket) = &self.socket {
            // If it no longer exists, this is found below.
            let _is_there = shutdown(socket.as_raw_fd(), Shutdown::Write);
        }
    }

    fn has_ended_well(&mut self) -> bool {
        self.ends_within(ENDING) && self.process.wait().is_ok_and(|status| status.success())
    }

    /// Explains why the helper ended without an answer.
    fn why_it_ended(&mut self, begun: Instant, limit: Duration) -> Refusal {
        self.socket = None;
        match self.process.wait() {
            Ok(status) if status.signal() == Some(libc::SIGKILL) => {
                if begun.elapsed() >= limit {
                    Refusal::BrokenOff { limit }
                } else {
                    Refusal::HelperKilled
                }
            }
            Ok(status) if status.signal().is_some() => Refusal::HelperKilled,
            // For example, a program that does not call `run_helper_if_asked`.
            _ => Step::Exchange.failed()(Errno::EPROTO),
        }
    }

    /// Returns whether it ends on its own in time.
    fn ends_within(&mut self, most: Duration) -> bool {
        let end = Instant::now() + most;
        let mut pause = Duration::from_micros(50);
        loop {
            match self.process.try_wait() {
                Ok(None) if Instant::now() < end => std::thread::sleep(pause),
                Ok(None) => return false,
                _ => return true,
            }
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.socket = None;
        if !self.ends_within(ENDING) {
            // It may be stopped. When it is killed, the kernel ends the copy too.
            let _is_there = self.process.kill();
            let _is_reaped = self.process.wait();
        }
    }
}
