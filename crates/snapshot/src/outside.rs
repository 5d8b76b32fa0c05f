//! Making a copy, and what the process does with it.
#![expect(unsafe_code, reason = "clone, pidfd, futex")]

use std::{
    fs, io,
    marker::PhantomData,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{
            AtomicU32,
            Ordering::{Acquire, Release},
        },
    },
    thread,
    time::{Duration, Instant},
};

use rtops_threads::{Capturer, HeldThread, HoldError, Tid};

use crate::{
    Copy, Environment, Refusal,
    environment::Mapping,
    inside::{Entry, Nanos, Status, run},
    shared::{MAX_MAPPINGS, MAX_ORDER, Malformed, Shared},
};

/// How often it is looked whether a silent copy still lives.
const LOOK: Duration = Duration::from_millis(20);
/// How often it is tried to stop the threads, and how long to wait after the first failure.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(20);
/// How long a thread may be kept after the copy should have been made.
const RESERVE: Duration = Duration::from_millis(5);

/// Threads that may start before the process stands still.
const NEW_THREADS: usize = 256;

static ONE: Mutex<()> = Mutex::new(());

/// The right to make copies, which one thread has at a time: two would stop the process twice, and take
/// its memory twice.
#[derive(Debug)]
pub struct Turn {
    _one: MutexGuard<'static, ()>,
}

impl Turn {
    /// Waits for it.
    ///
    /// # Errors
    /// When somebody else has it until the deadline.
    pub fn wait(deadline: Instant) -> Result<Self, Refusal> {
        loop {
            let one = match ONE.try_lock() {
                Ok(one) => one,
                Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    return Err(Refusal::Busy);
                }
                Err(TryLockError::WouldBlock) => {
                    thread::sleep(Duration::from_millis(2));
                    continue;
                }
            };
            return Ok(Self { _one: one });
        }
    }
}

/// How a copy is made.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// What stops the threads.
    pub capturer: &'a Capturer,
    /// Threads that need not be stopped: those that only look.
    pub spare: &'a [Tid],
    /// The longest time for which the others may stand still. If it would take longer, by what is
    /// known beforehand, there is no copy.
    pub max_pause: Duration,
    /// When the copy ends at the latest.
    pub deadline: Instant,
}

/// How long things took.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Times {
    /// For how long the threads stood still, the first of them.
    pub pause: Duration,
    /// For how long the copy lived.
    pub lived: Duration,
}

/// The copy did not do all that it was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failed {
    /// Its time was up.
    #[error("its time was up")]
    NoTime,
    /// It was killed, or crashed.
    #[error("it ended early")]
    Lost,
}

/// A copy of this process, until this is dropped. It ends with the thread that made it.
#[derive(Debug)]
pub struct Snapshot<'a> {
    shared: Shared,
    child: Child,
    deadline: Instant,
    made: Instant,
    pause: Duration,
    record: Vec<u8>,
    /// It is bound to the thread that has the turn.
    _turn: PhantomData<&'a Turn>,
}

impl<'a> Snapshot<'a> {
    /// Makes a copy in which `inside` runs, and waits until it is ready.
    ///
    /// # Errors
    /// When there is none, or it could not be made harmless.
    pub fn take(
        _turn: &'a Turn,
        plan: &Plan<'_>,
        inside: impl FnOnce(&mut Copy<'_>),
    ) -> Result<Self, Refusal> {
        let environment = Environment::check()?;
        let estimate = environment.estimate();
        if estimate > plan.max_pause {
            return Err(Refusal::TooLong {
                estimate,
                allowed: plan.max_pause,
            });
        }
        let shared = Shared::map().map_err(Refusal::System)?;
        let room = usize::try_from(environment.threads).unwrap_or(0) + NEW_THREADS;
        let entry = Entry {
            shared: &shared,
            deadline: moment(plan.deadline),
            // SAFETY: getpid has no preconditions.
            parent: unsafe { libc::getpid() },
            unwinder: unwinder(),
        };
        let Cloned {
            child,
            made,
            pause,
            stack_pointers,
        } = clone_soon(plan, &entry, room, inside)?;
        let mut this = Self {
            shared,
            child,
            deadline: plan.deadline,
            made,
            pause,
            record: Vec::new(),
            _turn: PhantomData,
        };
        this.prepare(&stack_pointers)?;
        Ok(this)
    }

    /// Tells the copy what it has to know, and waits for its first word.
    fn prepare(&mut self, stack_pointers: &[usize]) -> Result<(), Refusal> {
        let pid = self.child.pid;
        // Where that is not allowed, the copy is as likely a victim as the process.
        drop(fs::write(format!("/proc/{pid}/oom_score_adj"), "1000"));
        let maps = fs::read(format!("/proc/{pid}/maps"))
            .map_err(|_| Refusal::Unreadable("the maps of the copy in /proc"))?;
        let mappings = Mapping::parse_all(&maps, stack_pointers);
        if mappings.len() > MAX_MAPPINGS {
            return Err(Refusal::TooManyMappings(mappings.len()));
        }
        self.shared.set_mappings(&mappings);
        self.wake_inside();
        match self.receive() {
            Ok(Some(_)) => Ok(()),
            Err(Failed::NoTime) => Err(Refusal::NoTime),
            Ok(None) | Err(Failed::Lost) => Err(match self.child.ended() {
                Some(End::Exited(status)) if status == Status::NoTime as i32 => Refusal::NoTime,
                Some(End::Exited(status)) => Refusal::Harmful(Status::reason(status)),
                Some(End::Killed(signal)) => Refusal::Killed(signal),
                None => Refusal::NoTime,
            }),
        }
    }

    /// The next record that the copy sent; `None` once it has returned and all were taken.
    ///
    /// # Errors
    /// When the copy ended otherwise, or its time was up.
    pub fn receive(&mut self) -> Result<Option<&[u8]>, Failed> {
        loop {
            let seen = self.shared.outward().load(Acquire);
            // Looked at before the ring: what it wrote before its end is not missed.
            let ended = self.child.ended();
            match self.shared.read(&mut self.record) {
                Ok(true) => {
                    self.wake_inside();
                    return Ok(Some(&self.record));
                }
                Ok(false) => {}
                Err(Malformed) => return Err(Failed::Lost),
            }
            match ended {
                Some(End::Exited(0)) => return Ok(None),
                Some(End::Exited(status)) if status == Status::NoTime as i32 => {
                    return Err(Failed::NoTime);
                }
                Some(_) => return Err(Failed::Lost),
                None => {}
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failed::NoTime);
            }
            futex_wait(self.shared.outward(), seen, left.min(LOOK));
        }
    }

    /// Hands the copy words to work on, [`Self::MAX_ORDER`] at most. It must wait for them: it has
    /// said so in a record.
    pub fn order(&mut self, words: &[u64]) {
        self.shared.put_order(words);
        self.wake_inside();
    }

    /// The most words of an order.
    pub const MAX_ORDER: usize = MAX_ORDER;

    fn wake_inside(&self) {
        let inward = self.shared.inward();
        inward.fetch_add(1, Release);
        futex_wake(inward);
    }

    /// Ends the copy, if it has not ended, and says how long all took.
    pub fn end(self) -> Times {
        let (made, pause) = (self.made, self.pause);
        drop(self);
        Times {
            pause,
            lived: made.elapsed(),
        }
    }
}

/// What came of a clone.
struct Cloned {
    child: Child,
    made: Instant,
    pause: Duration,
    /// Those of all threads that were stopped, and of this one.
    stack_pointers: Vec<usize>,
}

/// Tries again where the threads did not stop in time, as on a busy machine.
fn clone_soon(
    plan: &Plan<'_>,
    entry: &Entry<'_>,
    room: usize,
    inside: impl FnOnce(&mut Copy<'_>),
) -> Result<Cloned, Refusal> {
    let mut inside = Some(inside);
    let mut tries = 1;
    loop {
        let copy = |copy: &mut Copy<'_>| {
            if let Some(inside) = inside.take() {
                inside(copy);
            }
        };
        match clone_stopped(plan, entry, room, copy) {
            Err(Refusal::Hold(HoldError::NoTime | HoldError::StillRuns(_)))
                if tries < TRIES && Instant::now() < plan.deadline =>
            {
                thread::sleep(PAUSE * tries);
                tries += 1;
            }
            other => return other,
        }
    }
}

/// Between `hold` and the end of the clone this thread must not allocate or take a lock: a thread that
/// is stopped may have it.
fn clone_stopped(
    plan: &Plan<'_>,
    entry: &Entry<'_>,
    room: usize,
    inside: impl FnOnce(&mut Copy<'_>),
) -> Result<Cloned, Refusal> {
    let begun = Instant::now();
    let mut threads = Vec::with_capacity(room);
    let held = plan
        .capturer
        .hold(plan.spare, begun + plan.max_pause + RESERVE)?;
    // No more than there is room for: that would allocate.
    threads.extend(held.threads().iter().take(threads.capacity()).copied());
    let cloned = clone(entry, &threads, inside);
    let was_whole = held.is_whole();
    let pause = held.since().elapsed();
    drop(held);
    let here = (&raw const pause).addr();
    let stack_pointers = threads.iter();
    let stack_pointers =
        stack_pointers.filter_map(|thread| usize::try_from(thread.registers.sp).ok());
    let stack_pointers = stack_pointers.chain([here]).collect();
    let child = cloned.map_err(Refusal::Clone)?;
    if !was_whole {
        return Err(Refusal::TooLong {
            estimate: pause,
            allowed: plan.max_pause,
        });
    }
    Ok(Cloned {
        child,
        made: begun,
        pause,
        stack_pointers,
    })
}

/// The first process of the copy.
#[derive(Debug)]
struct Child {
    pid: i32,
    /// Names the process also after it has ended and its number has been used again.
    pidfd: OwnedFd,
    ended: Option<End>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Exited(i32),
    Killed(i32),
}

/// In the process: the child. In the copy it does not return. Neither allocates nor locks.
fn clone(
    entry: &Entry<'_>,
    threads: &[HeldThread],
    inside: impl FnOnce(&mut Copy<'_>),
) -> io::Result<Child> {
    let mut pidfd = -1_i32;
    // With no exit signal, its end sends none.
    let flags = (libc::CLONE_FILES | libc::CLONE_PIDFD) as libc::c_ulong;
    // SAFETY: without CLONE_VM it is a fork, without the handlers that libc's runs: the child goes on
    // with a copy of this stack, and never leaves `run`. The kernel writes the descriptor.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags,
            0_usize,
            &raw mut pidfd,
            0_usize,
            0_usize,
        )
    };
    match pid {
        0 => run(entry, threads, inside),
        ..0 => Err(io::Error::last_os_error()),
        // A kernel before 5.2 makes none, and the copy would have no name that stays its own.
        _ if pidfd < 0 => {
            // SAFETY: takes no pointer but a null one; the child was not waited for, so that the number
            // is its own.
            unsafe {
                libc::kill(pid as i32, libc::SIGKILL);
                libc::waitpid(pid as i32, ptr::null_mut(), libc::__WALL);
            }
            Err(io::ErrorKind::Unsupported.into())
        }
        _ => Ok(Child {
            pid: pid as i32,
            // SAFETY: the kernel made it for this process.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
            ended: None,
        }),
    }
}

impl Child {
    /// How it ended, if it has.
    fn ended(&mut self) -> Option<End> {
        self.ended = self.ended.or_else(|| self.wait(libc::WNOHANG));
        self.ended
    }

    fn wait(&self, options: libc::c_int) -> Option<End> {
        // SAFETY: all-zero is a valid siginfo_t, and the call only writes to it.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let options = libc::WEXITED | libc::__WALL | options;
        let fd = self.pidfd.as_raw_fd() as libc::id_t;
        // SAFETY: as above.
        let result = unsafe { libc::waitid(libc::P_PIDFD, fd, &raw mut info, options) };
        if result != 0 {
            // Somebody who waits for all kinds of children was faster.
            let is_gone = io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD);
            return is_gone.then_some(End::Killed(libc::SIGKILL));
        }
        // SAFETY: set by waitid, or still zero.
        let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
        match (pid, info.si_code) {
            (0, _) => None,
            (_, libc::CLD_EXITED) => Some(End::Exited(status)),
            _ => Some(End::Killed(status)),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        // SAFETY: takes no pointer but a null one.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                libc::SIGKILL,
                ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        while self.ended.is_none() {
            self.ended = self.wait(0);
        }
    }
}

/// The function with which libgcc begins to unwind, for panics and exceptions.
fn unwinder() -> Option<usize> {
    // SAFETY: looks a name up.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_Unwind_RaiseException".as_ptr()) };
    Some(found.addr()).filter(|address| *address != 0)
}

fn moment(deadline: Instant) -> Nanos {
    Nanos::now().after(deadline.saturating_duration_since(Instant::now()))
}

fn futex_wait(word: &AtomicU32, seen: u32, time: Duration) {
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(time.subsec_nanos().cast_signed()),
    };
    // SAFETY: both outlive the call; the word is shared with another process, hence no PRIVATE flag.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            seen,
            &raw const time,
        )
    };
}

fn futex_wake(word: &AtomicU32) {
    // SAFETY: takes only the address.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}
