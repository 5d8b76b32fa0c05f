//! The helper's work, from the first look at a process until it resumes.

use std::{
    fs::File,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use nix::errno::Errno;
use rtops_image::{Pid, Tid, live::Mapping};

use crate::{
    How, Injection as Choice, NoCopy, Refusal, Step, Threads, account,
    code::Code,
    copy::Copied,
    filter,
    inject::{self, Failure, Injection, Tools},
    options::hard_limit,
    pages::{self, NotRead, Pages, Pieces, Source},
    points::point,
    preflight::{self, Preflight},
    proc,
    stop::{Stopped, Thread},
    sys::{self, Priority},
    tracee::{Bell, has_ended},
    watchdog::Watchdog,
    wire::{self, Frozen, Request},
};

/// If a process has at most this many bytes of memory of its own, its copy is read at once: that
/// takes 1 ms per MiB, and a look reads most of it anyway.
const SMALL: u64 = 8 << 20;
/// The longest time for that: only the user who asked waits for it.
const READING: Duration = Duration::from_secs(2);
/// The time limit for what is left to do after the target has resumed, or there is no copy.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// The time limit while late threads are traced. A late thread stops when it
/// leaves the place where it was, and resumes as soon as this process sees it,
/// which is at once unless this process is stopped itself.
const WITH_LATE: Duration = Duration::from_secs(1);
/// The code segment of 32-bit code.
const CODE_32: u64 = 0x23;
/// How many threads are tried if only one is to be stopped.
const TRIES: usize = 8;
/// How often, and with which pause in between, a target is made to reap its child.
const REAPS: usize = 50;
const BETWEEN_REAPS: Duration = Duration::from_millis(4);

/// What was frozen, and what to keep until nobody needs it any more.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) frozen: Frozen,
    pub(crate) copy: Option<Copied>,
    pub(crate) late: Vec<Tid>,
}

/// What is known when a process has resumed.
struct Taken {
    threads: Vec<Thread>,
    late: Vec<Tid>,
    pause: Duration,
    went_on: Duration,
}

/// Freezes processes.
#[derive(Debug)]
pub(crate) struct Freezer<'b> {
    request: Request,
    bell: &'b Bell,
    watchdog: Watchdog,
    code: Option<Code>,
    frame_size: usize,
}

impl<'b> Freezer<'b> {
    pub(crate) fn new(request: Request, bell: &'b Bell) -> Result<Self, Refusal> {
        Ok(Self {
            request,
            bell,
            watchdog: Watchdog::new()?,
            code: None,
            frame_size: sys::frame_size().map_err(Step::Prepare.failed())?,
        })
    }

    const fn pid(&self) -> Pid {
        self.request.pid
    }

    /// Freezes the process.
    pub(crate) fn freeze(&mut self) -> Result<Outcome, Refusal> {
        let result = self.try_to_freeze();
        match result {
            // Its threads have ended but the process goes on, so it called `exec`.
            Err(Refusal::Ended) if !has_ended(self.pid().main_thread()) => {
                Err(Refusal::OtherProgram)
            }
            other => other,
        }
    }

    fn try_to_freeze(&mut self) -> Result<Outcome, Refusal> {
        let preflight = preflight::check(&self.request)?;
        let pid = self.pid();
        let maps = proc::maps(pid)
            .map_err(|_| preflight::why_not_traced(pid, pid.main_thread(), Errno::EPERM))?;
        let maps = Mapping::parse_all(&maps);
        preflight.check_mappings(&self.request, maps.len())?;
        self.code = Code::find(pid, &maps);
        let mut room = preflight.room(&self.request)?;
        point();
        self.watchdog.arm(hard_limit(self.request.max_pause))?;
        let priority = Priority::raise();
        let mut stopped = self.stop(&maps, &preflight)?;
        let is_32 = |thread: &Thread| thread.registers.cs == CODE_32;
        if stopped.threads.iter().any(is_32) {
            return Err(Refusal::OtherArchitecture);
        }
        let failure = match self.copy(&mut stopped, &maps, &preflight) {
            Ok((copy, taken)) => {
                drop(priority);
                return self.finish_copy(copy, taken, &preflight);
            }
            Err(failure) => failure,
        };
        let why = match failure {
            Failure::NoCopy(why) => why,
            Failure::Refused(refusal) => return Err(refusal),
        };
        preflight.check_reading(&self.request, why)?;
        if self.request.threads == Threads::One {
            drop(stopped);
            stopped = Stopped::all(pid, self.bell, self.request.max_pause)?;
        }
        let (maps, taken) = self.read_standing(stopped, &mut room)?;
        drop(priority);
        self.finish_standing(why, &maps, &taken, room)
    }

    fn stop(&self, maps: &[Mapping], preflight: &Preflight) -> Result<Stopped<'b>, Refusal> {
        let limit = self.request.max_pause;
        if self.request.threads == Threads::One && preflight.no_copy.is_none() {
            for tid in candidates(self.pid()) {
                let Some(stopped) = Stopped::one(self.pid(), tid, self.bell, limit)? else {
                    continue;
                };
                if inject::usable(self.pid(), &stopped.threads, maps).is_some() {
                    return Ok(stopped);
                }
            }
        }
        Stopped::all(self.pid(), self.bell, limit)
    }

    fn tools(&self) -> Result<Tools<'b>, Failure> {
        Ok(Tools {
            bell: self.bell,
            code: self.code.ok_or(Failure::NoCopy(NoCopy::NoCode))?,
            frame_size: self.frame_size,
            pid: self.pid(),
        })
    }

    /// Makes the process copy itself and resumes it.
    fn copy(
        &mut self,
        stopped: &mut Stopped<'b>,
        maps: &[Mapping],
        preflight: &Preflight,
    ) -> Result<(Copied, Taken), Failure> {
        if let Some(why) = preflight.no_copy {
            return Err(Failure::NoCopy(why));
        }
        let tools = self.tools()?;
        let used = inject::usable(self.pid(), &stopped.threads, maps);
        let used = used.ok_or(Failure::NoCopy(NoCopy::NoThread))?.clone();
        match filter::check(used.tid, tools.code, used.registers.rsp) {
            Err(NoCopy::SeccompUnread) if self.request.injection == Choice::Always => {}
            other => other.map_err(Failure::NoCopy)?,
        }
        // The first process of a namespace inherits orphans, so a go-between would not help.
        let (mut injection, copy, between) = if preflight.own_number == 1 {
            let (injection, copy) = Injection::clone_directly(tools, &used)?;
            (injection, copy, None)
        } else {
            let (injection, copy, between) = Injection::clone_by_go_between(tools, &used)?;
            (injection, copy, Some(between))
        };
        let mut copy = Copied::new(copy);
        point();
        stopped.read_vectors()?;
        // The other threads resume later: while they run, this would have to wait for a processor.
        if let Some(between) = between {
            injection.see_off(between)?;
        }
        injection.restore()?;
        drop(injection);
        let (threads, late) = stopped.release_all();
        let (pause, went_on) = (stopped.since.elapsed(), wire::monotonic());
        point();
        self.must_come_by(&late)?;
        copy.settle(self.pid(), self.bell)?;
        let taken = Taken {
            threads,
            late,
            pause,
            went_on,
        };
        Ok((copy, taken))
    }

    fn finish_copy(
        &mut self,
        mut copy: Copied,
        taken: Taken,
        preflight: &Preflight,
    ) -> Result<Outcome, Refusal> {
        let pid = copy.pid;
        let failed = Step::Proc.failed_io();
        let text = proc::maps(pid).map_err(&failed)?;
        let auxv = proc::auxv(pid).map_err(&failed)?;
        let own = preflight.load.own_bytes();
        // A reader can't look after late threads.
        let is_small = own <= SMALL && !preflight.load.is_shared();
        let kept = if is_small && taken.late.is_empty() {
            read_copy(copy.pid, &Mapping::parse_all(&text))
        } else {
            None
        };
        let (memory, pieces, bytes) = match kept {
            Some(kept) => kept,
            None => {
                let memory = File::open(format!("/proc/{pid}/mem"));
                (
                    memory.map_err(Step::Memory.failed_io())?.into(),
                    Vec::new(),
                    own,
                )
            }
        };
        let is_held = pieces.is_empty();
        // Without it, all memory is read.
        let pagemap = File::open(format!("/proc/{pid}/pagemap"));
        let pagemap = pagemap.ok().filter(|_| is_held).map(OwnedFd::from);
        let account = account::write(&text, &auxv, &taken.threads, &pieces);
        let frozen = Frozen {
            how: How::Copied,
            pause: taken.pause,
            went_on: taken.went_on,
            copied_bytes: bytes,
            threads_not_stopped: taken.late.len() as u64,
            account: account.map_err(&failed)?,
            memory,
            pagemap,
            is_held,
        };
        if !is_held {
            self.end_copy(&mut copy);
        }
        Ok(Outcome {
            frozen,
            copy: is_held.then_some(copy),
            late: taken.late,
        })
    }

    fn read_standing(
        &mut self,
        mut stopped: Stopped<'b>,
        pages: &mut Pages,
    ) -> Result<(Vec<u8>, Taken), Refusal> {
        let allowed = self.request.max_pause;
        let until = stopped.since + allowed;
        let failed = Step::Proc.failed_io();
        let text = proc::maps(self.pid()).map_err(&failed)?;
        stopped.read_vectors()?;
        let maps = Mapping::parse_all(&text);
        if pages::mapped(&maps) > pages::MOST_MAPPED {
            return Err(Refusal::NotInTime { allowed });
        }
        point();
        let pid = self.pid();
        match pages.read(pid, &Source::Standing(pid), &maps, until) {
            Ok(()) => {}
            Err(NotRead::NotInTime) => return Err(Refusal::NotInTime { allowed }),
            Err(NotRead::Io(error)) => return Err(Step::Memory.failed_io()(error)),
        }
        point();
        let (threads, late) = stopped.release_all();
        let (pause, went_on) = (stopped.since.elapsed(), wire::monotonic());
        self.must_come_by(&late)?;
        let taken = Taken {
            threads,
            late,
            pause,
            went_on,
        };
        Ok((text, taken))
    }

    fn finish_standing(
        &self,
        why: NoCopy,
        text: &[u8],
        taken: &Taken,
        pages: Pages,
    ) -> Result<Outcome, Refusal> {
        let failed = Step::Proc.failed_io();
        // It does not change as long as the program runs.
        let auxv = proc::auxv(self.pid()).map_err(&failed)?;
        let copied_bytes = pages.length();
        let (memory, pieces) = pages.into_file().map_err(Step::Memory.failed_io())?;
        let account = account::write(text, &auxv, &taken.threads, &pieces);
        let frozen = Frozen {
            how: How::ReadStanding(why),
            pause: taken.pause,
            went_on: taken.went_on,
            copied_bytes,
            threads_not_stopped: taken.late.len() as u64,
            account: account.map_err(&failed)?,
            memory,
            pagemap: None,
            is_held: false,
        };
        Ok(Outcome {
            frozen,
            copy: None,
            late: Vec::new(),
        })
    }

    /// Ends a copy, and makes the target reap it if it is the target's child.
    pub(crate) fn end_copy(&mut self, copy: &mut Copied) {
        copy.end(self.bell);
        if let Some(child) = copy.to_reap {
            // Otherwise it stays a zombie unless the target happens to reap it. A
            // thread that was resumed a moment ago, or was notified of this end,
            // may not be back in its system call yet.
            for _ in 0..REAPS {
                match self.reap(child) {
                    Ok(false) => thread::sleep(BETWEEN_REAPS),
                    Ok(true) | Err(_) => break,
                }
            }
        }
    }

    /// Makes the target wait for its child; returns whether the child is gone.
    fn reap(&mut self, child: i32) -> Result<bool, Failure> {
        let limit = self.request.max_pause;
        let maps = proc::maps(self.pid()).map_err(|_| Refusal::Ended)?;
        let maps = Mapping::parse_all(&maps);
        self.watchdog.arm(hard_limit(limit))?;
        let _priority = Priority::raise();
        let mut is_reaped = false;
        for tid in candidates(self.pid()) {
            let Some(mut stopped) = Stopped::one(self.pid(), tid, self.bell, limit)? else {
                continue;
            };
            let Some(thread) = inject::usable(self.pid(), &stopped.threads, &maps).cloned() else {
                continue;
            };
            let call = inject::wait_for(child, libc::WNOHANG);
            // 0 means that it has not ended yet. On an error there is no such child any more.
            is_reaped = Injection::call(self.tools()?, &thread, call)? != 0;
            stopped.release_all();
            break;
        }
        self.watchdog.arm(AFTERWARDS)?;
        Ok(is_reaped)
    }

    /// Sets a time limit for the work that is left. While threads remain
    /// traced, this must be called again and again.
    pub(crate) fn must_come_by(&mut self, late: &[Tid]) -> Result<(), Refusal> {
        let limit = if late.is_empty() {
            AFTERWARDS
        } else {
            WITH_LATE
        };
        self.watchdog.arm(limit)
    }

    /// Removes the limit, unless threads remain traced.
    pub(crate) fn wait_for_the_end(&mut self, late: &[Tid]) -> Result<(), Refusal> {
        if late.is_empty() {
            self.watchdog.disarm()
        } else {
            self.watchdog.arm(WITH_LATE)
        }
    }
}

/// Reads a small copy. `None` if it turns out to be large or slow, or can't be read.
fn read_copy(copy: Pid, maps: &[Mapping]) -> Option<(OwnedFd, Pieces, u64)> {
    if pages::mapped(maps) > pages::MOST_MAPPED {
        return None;
    }
    let source = Source::Copy(File::open(format!("/proc/{copy}/mem")).ok()?);
    let mut pages = Pages::of_copy().ok()?;
    let until = Instant::now() + READING;
    pages.read(copy, &source, maps, until).ok()?;
    let bytes = pages.length();
    let (file, pieces) = pages.into_file().ok()?;
    Some((file, pieces, bytes))
}

/// Returns the threads to try if only one is to be stopped, the best first.
fn candidates(pid: Pid) -> Vec<Tid> {
    let threads = proc::threads(pid).unwrap_or_default();
    let mut waiting: Vec<(bool, Tid)> = threads
        .into_iter()
        .filter_map(|tid| {
            let call = proc::waits_in(pid, tid)?;
            Some((call != libc::SYS_futex, tid))
        })
        .collect();
    waiting.sort_unstable();
    waiting.truncate(TRIES);
    waiting.into_iter().map(|(_, tid)| tid).collect()
}
