//! Holding: all other threads wait in the signal handler, so that the process can be copied as it stands.

mod muster;

use std::fmt;
use std::io;
use std::time::Instant;

use self::muster::Muster;
use crate::capture::{Capturer, Missing};
use crate::gate::{Gate, PLACES};
use crate::sys;
use crate::turn::Turn;
use crate::{Tid, sys::MapTable};

/// Why the threads could not be held. All of them go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HoldError {
    /// Threads can't be held on this platform.
    #[error("threads can be held on Linux x86_64 only")]
    Unsupported,
    /// Another hold or capture was under way until the time was up.
    #[error("another capture was under way; try again later")]
    Busy,
    /// Another handler was installed over ours; ours isn't put back.
    #[error("the host has replaced the signal handler")]
    HandlerReplaced,
    /// There are more than can be held.
    #[error("there are {0} threads, and {PLACES} at most can be held")]
    TooManyThreads(
        /// How many, with those that ended meanwhile.
        usize,
    ),
    /// A thread runs and did not come: it blocks the signal, or got no processor.
    #[error("thread {0} went on running; try again later")]
    StillRuns(
        /// Which.
        Tid,
    ),
    /// The time was up before all threads were held.
    #[error("there was no time left to hold the threads")]
    NoTime,
    /// /proc couldn't be read, or the signal couldn't be sent.
    #[error("the threads could not be held: system error {0}")]
    System(
        /// The errno.
        i32,
    ),
}

impl From<io::Error> for HoldError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::System(errno),
            None if error.kind() == io::ErrorKind::Unsupported => Self::Unsupported,
            None => Self::System(0),
        }
    }
}

/// The registers that a thread was interrupted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the processor's")]
pub struct HeldRegisters {
    pub ip: u64,
    pub sp: u64,
    pub bp: u64,
    pub rbx: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
}

/// A thread that waits.
#[derive(Clone, Copy, Debug)]
pub struct HeldThread {
    /// Which.
    pub tid: Tid,
    /// Where it was interrupted.
    pub registers: HeldRegisters,
    /// The end of its stack as far as known, exclusive; 0 if unknown.
    pub stack_end: u64,
}

/// The other threads wait, until this is dropped or the time is up.
///
/// Any of them may have been stopped inside the allocator, or with any lock held. Who has this must
/// not allocate, free, print, or take a lock that others take, or it waits until the time is up; nor call
/// libc's `fork`, which takes the allocator's locks.
///
/// One that is leaked leaves no turn to later holds and captures.
#[must_use = "dropping it lets the threads go on"]
pub struct Held {
    // The first field is the first to be dropped: the rest is freed when the threads can go on.
    gate: Gate,
    _turn: Turn,
    since: Instant,
    until: Instant,
    threads: Vec<HeldThread>,
    others: Vec<(Tid, Missing)>,
    muster: Muster,
    _maps: MapTable,
}

impl Capturer {
    /// Has all other threads wait in the handler until the result is dropped, at most until `until`:
    /// then they go on by themselves, whatever becomes of the caller.
    ///
    /// Threads that are started meanwhile wait, too. Those in `spare` go on, as does the caller. It takes
    /// some 20 ms, and then an error, when a thread that runs doesn't come; a thread that sleeps and can't
    /// be reached is left to sleep, and told by [`Held::others`].
    ///
    /// The child of a `vfork` that a thread of this process waits for shares its memory until it calls
    /// `exec`, and isn't held.
    ///
    /// # Errors
    ///
    /// When not all threads that run could be held. None is held then.
    pub fn hold(&self, spare: &[Tid], until: Instant) -> Result<Held, HoldError> {
        let turn = Turn::begin(until).ok_or(HoldError::Busy)?;
        if !sys::handler_in_place(self.signal) {
            return Err(HoldError::HandlerReplaced);
        }
        sys::note_pid();
        let mut held = Held {
            muster: Muster::new(self.signal, spare, until)?,
            _maps: MapTable::read()?,
            threads: Vec::with_capacity(PLACES),
            others: Vec::with_capacity(PLACES),
            since: Instant::now(),
            until,
            _turn: turn,
            gate: Gate::close(until),
        };
        held.since = held.muster.gather(&mut held.gate)?;
        held.muster
            .report(&held.gate, &held._maps, &mut held.threads, &mut held.others);
        Ok(held)
    }
}

impl Held {
    /// The threads that wait, with the registers they were interrupted with.
    pub fn threads(&self) -> &[HeldThread] {
        &self.threads
    }

    /// Those that do not, and why: asleep with the signal blocked ([`Missing::SignalBlocked`]),
    /// uninterruptible or stopped ([`Missing::NoAnswer`]; it waits when it comes out of the kernel), or
    /// exited.
    pub fn others(&self) -> &[(Tid, Missing)] {
        &self.others
    }

    /// When the first signal was sent.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether all have waited from [`Capturer::hold`] on and still do: false once the time is up or one
    /// was let go.
    pub fn is_whole(&self) -> bool {
        self.muster.is_whole(&self.gate) && Instant::now() < self.until
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("threads", &self.threads)
            .field("others", &self.others)
            .finish_non_exhaustive()
    }
}
