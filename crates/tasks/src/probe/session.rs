//! What the driver of a dump shares with the threads that poll for it.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU8, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    thread::Thread,
};

use super::{
    slots::Slots,
    ticket::{DumpNumber, Wish},
};

/// The dump under way. A polling thread clones it before it polls, in ordinary context.
static CURRENT: Mutex<Option<Arc<Session>>> = Mutex::new(None);

pub(crate) struct Session {
    dump: DumpNumber,
    pub(super) stale: Stale,
    /// Places for the copies of stacks, one for each place where a future waits.
    pub(super) slots: Slots,
    outcomes: Box<[Outcome]>,
    done: AtomicUsize,
    /// The value of `done` at which the driver wants to be woken.
    wake_at: AtomicUsize,
    driver: Thread,
}

/// What happens to the words that earlier calls left on a stack below the frames of a probed poll.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stale {
    /// They stay, and a copy of the stack may hold what another task left there.
    Kept,
    /// The nearest ones are overwritten first.
    Cleared,
}

/// Closes a session when dropped, even if a waker called by the driver panics.
pub(super) struct Opened(Arc<Session>);

impl Opened {
    /// Lets no more polls join the session. Those under way end as before.
    pub(super) fn close(&self) {
        let last = CURRENT
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(last);
    }
}

impl Deref for Opened {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.close();
    }
}

struct Outcome {
    verdict: AtomicU8,
    /// The number of ordinary polls when the probe was made.
    polls: AtomicU64,
    /// Whether a span was polled with the probing waker of the future around it.
    inside: AtomicBool,
}

/// How a probed poll ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// No poll has ended yet.
    Open,
    /// The future waits, and each place where it registered was copied.
    Waits,
    /// The future waits in more places than are copied in one poll.
    WaitsInMore,
    /// The future waits, and no waker was cloned or used in this poll.
    WaitsUnregistered,
    /// The future has ended.
    Ended,
    /// There was no room for all copies, or they are of a part that has ended: the future
    /// must be probed again.
    NoRoom,
}

impl Verdict {
    const fn from_raw(raw: u8) -> Self {
        match raw {
            1 => Self::Waits,
            2 => Self::WaitsUnregistered,
            3 => Self::Ended,
            4 => Self::NoRoom,
            5 => Self::WaitsInMore,
            _ => Self::Open,
        }
    }

    const fn raw(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Waits => 1,
            Self::WaitsUnregistered => 2,
            Self::Ended => 3,
            Self::NoRoom => 4,
            Self::WaitsInMore => 5,
        }
    }
}

impl Session {
    pub(super) fn open(dump: DumpNumber, stale: Stale, targets: usize, slots: Slots) -> Opened {
        let session = Arc::new(Self {
            dump,
            stale,
            slots,
            outcomes: (0..targets)
                .map(|_| Outcome {
                    verdict: AtomicU8::new(0),
                    polls: AtomicU64::new(0),
                    inside: AtomicBool::new(false),
                })
                .collect(),
            done: AtomicUsize::new(0),
            wake_at: AtomicUsize::new(usize::MAX),
            driver: std::thread::current(),
        });
        *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&session));
        Opened(session)
    }

    /// Returns the session that a wish belongs to, if it is under way.
    pub(super) fn of(wish: Wish) -> Option<Arc<Self>> {
        CURRENT
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .filter(|session| session.dump == wish.dump)
            .cloned()
    }

    /// Notes how the poll of a target ended. The copies that it made are in their slots.
    pub(super) fn finish(&self, index: u32, verdict: Verdict, polls: u64) {
        if let Some(outcome) = self.outcomes.get(index as usize) {
            outcome.polls.store(polls, Relaxed);
            outcome.verdict.store(verdict.raw(), Release);
        }
        if self.done.fetch_add(1, AcqRel) + 1 == self.wake_at.load(Acquire) {
            self.driver.unpark();
        }
    }

    /// Notes, before its end is noted, that the poll of a target is part of another's.
    pub(super) fn note_inside(&self, index: u32) {
        if let Some(outcome) = self.outcomes.get(index as usize) {
            outcome.inside.store(true, Relaxed);
        }
    }

    pub(super) fn is_inside(&self, index: usize) -> bool {
        let outcome = self.outcomes.get(index);
        outcome.is_some_and(|outcome| outcome.inside.load(Relaxed))
    }

    pub(super) fn verdict(&self, index: usize) -> Verdict {
        self.outcomes.get(index).map_or(Verdict::Open, |outcome| {
            Verdict::from_raw(outcome.verdict.load(Acquire))
        })
    }

    pub(super) fn polls_at_probe(&self, index: usize) -> u64 {
        self.outcomes
            .get(index)
            .map_or(0, |outcome| outcome.polls.load(Relaxed))
    }

    pub(super) fn reopen(&self, index: usize) {
        if let Some(outcome) = self.outcomes.get(index) {
            outcome.verdict.store(Verdict::Open.raw(), Release);
        }
    }

    pub(super) fn done(&self) -> usize {
        self.done.load(Acquire)
    }

    /// Unparks the driver's thread once `count` polls have ended in total.
    pub(super) fn wake_driver_at(&self, count: usize) {
        self.wake_at.store(count, Release);
    }
}
