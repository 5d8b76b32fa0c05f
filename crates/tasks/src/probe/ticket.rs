//! The mark on an entry that says that a dump wants its next poll.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Release},
};

/// The place where a dump leaves its wish, and a poll takes it.
pub(crate) struct Ticket(AtomicU64);

/// A wish: the dump, the entry's number in it, and why the poll happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Wish {
    pub(crate) dump: DumpNumber,
    pub(crate) index: u32,
    pub(crate) cause: Cause,
}

/// Why a probed poll happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cause {
    /// The task was due to be polled anyway.
    Natural,
    /// The dump woke the task.
    Asked,
}

/// Tells dumps apart, so that a ticket of an earlier one is never taken for one of the
/// present dump.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct DumpNumber(u32);

impl DumpNumber {
    const BITS: u32 = 31;
    /// The number of no dump: see [`Ticket::nudge`].
    pub(crate) const NONE: Self = Self(0);

    /// Returns the number after this one. Never 0, so that no wish is encoded as 0.
    pub(crate) const fn next(self) -> Self {
        let next = (self.0 + 1) & ((1 << Self::BITS) - 1);
        Self(if next == 0 { 1 } else { next })
    }

    pub(crate) const fn first() -> Self {
        Self(1)
    }
}

impl Wish {
    fn raw(self) -> u64 {
        let asked = u64::from(self.cause == Cause::Asked);
        let dump = (u64::from(self.dump.0) << 1) | asked;
        (dump << 32) | u64::from(self.index)
    }
}

impl Ticket {
    pub(crate) const fn none() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline]
    pub(crate) fn is_some(&self) -> bool {
        self.0.load(Acquire) != 0
    }

    pub(crate) fn put(&self, wish: Wish) {
        self.0.store(wish.raw(), Release);
    }

    /// Whether a wish or a nudge is there: the task was woken for a dump, or will be.
    pub(crate) fn is_due(&self) -> bool {
        !matches!(self.0.load(Acquire), 0 | ECHO)
    }

    /// Notes that a poll that only a dump asked for has ended. If nothing has woken the task, its
    /// next poll is no progress either: whoever polls it may do so twice in a row.
    pub(crate) fn leave_echo(&self) {
        let _wish = self.0.compare_exchange(0, ECHO, AcqRel, Acquire);
    }

    /// Puts back a wish that a poll has taken and could not fulfill, unless there is a newer one.
    pub(crate) fn put_back(&self, wish: Wish) {
        let _newer = self.0.compare_exchange(0, wish.raw(), AcqRel, Acquire);
    }

    pub(crate) fn take(&self) -> Option<Wish> {
        let raw = self.0.swap(0, AcqRel);
        let (high, low) = ((raw >> 32) as u32, raw as u32);
        (raw != 0).then_some(Wish {
            dump: DumpNumber(high >> 1),
            index: low,
            cause: if high & 1 == 1 {
                Cause::Asked
            } else {
                Cause::Natural
            },
        })
    }

    /// Turns a wish that no poll has taken yet from [`Cause::Natural`] into [`Cause::Asked`].
    pub(crate) fn mark_asked(&self, wish: Wish) {
        let natural = (u64::from(wish.dump.0) << 33) | u64::from(wish.index);
        let asked = natural | (1 << 32);
        // On failure, a poll has taken the wish, and there is nothing to mark.
        let _taken = self.0.compare_exchange(natural, asked, AcqRel, Acquire);
    }
}

impl Ticket {
    /// Withdraws a dump's wish. If the task was asked and has not been polled yet, that poll is
    /// still caused by the dump.
    pub(crate) fn withdraw(&self, dump: DumpNumber) {
        let raw = self.0.load(Acquire);
        if raw >> 33 == u64::from(dump.0) {
            // On failure, a poll has taken the wish or a nudge has marked it. There is no need to
            // retry, as a wish of a closed dump has the effect of a nudge.
            let _taken = self.0.compare_exchange(raw, raw & NUDGE, AcqRel, Acquire);
        }
    }

    /// Notes that the task is about to be polled because a dump woke something inside it. If no
    /// wish is there, leaves one of no dump, so that the poll does not change the age of the task's
    /// wait. Its index is the number of polls in a row that may follow from it.
    pub(crate) fn nudge(&self, hops: u32) {
        let nudge = NUDGE | u64::from(hops);
        let left = self.0.compare_exchange(0, nudge, AcqRel, Acquire);
        if let Err(wish) = left {
            let marked = if wish == ECHO { nudge } else { wish | NUDGE };
            // On failure, a poll has taken the wish, and there is nothing to mark.
            let _taken = self.0.compare_exchange(wish, marked, AcqRel, Acquire);
        }
    }
}

/// How many polls in a row count as caused by one wake from a dump. Containers yield after a poll
/// or two. A task that wakes itself forever is polled for its own sake.
pub(crate) const MAX_HOPS: u32 = 4;
/// The bit for [`Cause::Asked`], and nothing else.
const NUDGE: u64 = 1 << 32;
/// The index of a wish that [`Ticket::leave_echo`] left.
pub(crate) const ECHO_INDEX: u32 = u32::MAX;
const ECHO: u64 = NUDGE | ECHO_INDEX as u64;

#[cfg(test)]
mod tests {
    use super::{Cause, DumpNumber, Ticket, Wish};

    #[test]
    fn a_wish_survives_the_packing() {
        let ticket = Ticket::none();
        let mut wish = Wish {
            dump: DumpNumber((1 << 31) - 1),
            index: u32::MAX,
            cause: Cause::Natural,
        };
        ticket.put(wish);
        ticket.mark_asked(wish);
        wish.cause = Cause::Asked;
        assert_eq!(ticket.take(), Some(wish));
        assert_eq!(ticket.take(), None);
        assert_eq!(wish.dump.next(), DumpNumber::first());
    }

    #[test]
    fn a_wish_that_is_withdrawn_leaves_a_nudge_where_a_poll_is_due() {
        let ticket = Ticket::none();
        let mut wish = Wish {
            dump: DumpNumber::first(),
            index: 7,
            cause: Cause::Natural,
        };
        ticket.put(wish);
        ticket.withdraw(DumpNumber::first().next());
        assert!(ticket.is_some());
        ticket.withdraw(DumpNumber::first());
        assert!(!ticket.is_some());
        wish.cause = Cause::Asked;
        ticket.put(wish);
        ticket.withdraw(DumpNumber::first());
        assert_eq!(ticket.take().map(|wish| wish.dump), Some(DumpNumber::NONE));
    }

    #[test]
    fn a_nudge_adds_to_a_wish_or_is_one_of_no_dump() {
        let ticket = Ticket::none();
        ticket.nudge(3);
        let nudge = ticket.take().expect("a nudge is a wish");
        assert_eq!((nudge.dump, nudge.cause), (DumpNumber::NONE, Cause::Asked));
        assert_eq!(nudge.index, 3);
        let mut wish = Wish {
            dump: DumpNumber::first(),
            index: 7,
            cause: Cause::Natural,
        };
        ticket.put(wish);
        ticket.nudge(3);
        wish.cause = Cause::Asked;
        assert_eq!(ticket.take(), Some(wish));
    }
}
