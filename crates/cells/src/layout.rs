//! Everything that is relied on in tokio's private memory layout, by version.
//!
//! Taken from `runtime/task/{core,raw,state,list}.rs` of tokio 1.20 to 1.54, the range in
//! `version.rs`. The header has a C layout. The vtable has its functions first and then its
//! offsets, in declaration order. The place of the links in a trailer varies with features
//! and compilers, and is learned from the cells themselves.

/// The form of cells in some versions of tokio.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The offset in the header of the next task in a queue.
    pub(crate) queue_next: u64,
    /// The offset in the header of the vtable for the type of future and scheduler.
    pub(crate) vtable: u64,
    /// The offset in the header of the number of the list that owns the task; the number is 0
    /// for a closure on a blocking pool.
    pub(crate) owner: u64,
    /// The number of functions in a vtable; the last one shuts a task down.
    pub(crate) functions: usize,
    /// The index of the function that takes a task's output, or
    /// registers the waker of whoever awaits it.
    pub(crate) join: usize,
    /// The offsets that follow the functions.
    pub(crate) offsets: Offsets,
}

/// The offsets that a vtable has after its functions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Offsets {
    /// None: the links to the neighbours in the owner's list are in
    /// the header, right after the state.
    None,
    /// The offset of the trailer, which has the links.
    Trailer,
    /// The offsets of the trailer, the scheduler and the number; the future follows the number.
    All,
}

/// All layouts, newest first.
pub(crate) static LAYOUTS: [Layout; 3] = [
    // 1.23 and later.
    Layout {
        queue_next: 8,
        vtable: 16,
        owner: 24,
        functions: 7,
        join: 3,
        offsets: Offsets::All,
    },
    // 1.21 and 1.22.
    Layout {
        queue_next: 8,
        vtable: 16,
        owner: 24,
        functions: 8,
        join: 2,
        offsets: Offsets::Trailer,
    },
    // 1.20.
    Layout {
        queue_next: 24,
        vtable: 32,
        owner: 40,
        functions: 8,
        join: 2,
        offsets: Offsets::None,
    },
];

/// The offset of the state, the first word of the header.
pub(crate) const STATE: u64 = 0;
/// The offset of the links in a header that has them: to the previous cell, then to the next.
pub(crate) const HEADER_LINKS: u64 = 8;
/// How much of a trailer is searched for the links, in bytes.
pub(crate) const TRAILER: u64 = 64;
/// The smallest size of a header.
pub(crate) const SMALLEST_HEADER: u64 = 32;
/// The most bytes between the scheduler and the number: a blocking pool's scheduler has hooks.
pub(crate) const LARGEST_SCHEDULER: u64 = 256;
/// Offsets in a cell are smaller than this.
pub(crate) const LARGEST_CELL: u64 = 1 << 24;
/// Numbers of owners and tasks, which count up from 1, are smaller than this.
pub(crate) const LARGEST_NUMBER: u64 = 1 << 48;

/// The number of words in a waker's vtable, which is the
/// standard library's: clone, wake, wake by reference, drop.
pub(crate) const WAKER_WORDS: u64 = 4;

/// The first word of a cell: its state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct State(pub(crate) u64);

impl State {
    const RUNNING: u64 = 1;
    const COMPLETE: u64 = 1 << 1;
    const NOTIFIED: u64 = 1 << 2;
    const JOIN_INTEREST: u64 = 1 << 3;
    const CANCELLED: u64 = 1 << 5;
    const REFERENCE: u64 = 1 << 6;
    /// More references than any cell has. What allocators leave in freed memory, pointers and
    /// scrambled pointers, reads as a larger count.
    const MOST_REFERENCES: u64 = 1 << 24;

    /// Whether a real cell can be in this state.
    pub(crate) const fn is_possible(self) -> bool {
        let ends = self.is_running() && self.is_complete();
        !ends && self.references() > 0 && self.references() < Self::MOST_REFERENCES
    }

    pub(crate) const fn references(self) -> u64 {
        self.0 / Self::REFERENCE
    }

    pub(crate) const fn is_running(self) -> bool {
        self.0 & Self::RUNNING != 0
    }

    pub(crate) const fn is_complete(self) -> bool {
        self.0 & Self::COMPLETE != 0
    }

    /// Whether it is in a queue, or will be polled again.
    pub(crate) const fn is_notified(self) -> bool {
        self.0 & Self::NOTIFIED != 0
    }

    /// Whether there is a `JoinHandle`, which counts as a reference.
    pub(crate) const fn has_join_handle(self) -> bool {
        self.0 & Self::JOIN_INTEREST != 0
    }

    /// Returns the most wakers and abort handles that there can be: the other references to an
    /// idle task are those of the list that owns it and of its `JoinHandle`.
    pub(crate) const fn wakers(self) -> u64 {
        let joined = if self.has_join_handle() { 1 } else { 0 };
        self.references().saturating_sub(1 + joined)
    }

    /// Returns the state with one more reference.
    pub(crate) const fn with_one_more(self) -> Self {
        Self(self.0.wrapping_add(Self::REFERENCE))
    }

    /// Returns the state that a runtime finds on shutdown, even of a task that is being polled.
    /// The added references keep the cell from being freed.
    pub(crate) const fn kept(self) -> Self {
        Self((self.0 & !Self::RUNNING) + 4 * Self::REFERENCE)
    }

    /// Returns the state that a worker finds when it takes the task out of its queue. One of
    /// the two added references outlives the poll.
    pub(crate) const fn queued(self) -> Self {
        Self((self.0 & !Self::CANCELLED | Self::NOTIFIED) + 2 * Self::REFERENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_tells_the_wakers() {
        let state = |references: u64, flags: u64| State(references << 6 | flags);
        assert_eq!(state(3, State::JOIN_INTEREST).wakers(), 1);
        assert_eq!(state(2, State::JOIN_INTEREST).wakers(), 0);
        assert_eq!(state(1, 0).wakers(), 0);
        assert_eq!(state(0, 0).wakers(), 0);
    }

    #[test]
    fn what_allocators_leave_is_no_state() {
        // A freed cell; a pointer into a heap; one that glibc has
        // scrambled; both running and complete.
        for word in [0x3f, 0x5555_5577_2310, 0x7fff_f7e2_3ce0 >> 12, 3 << 6 | 3] {
            assert!(!State(word).is_possible(), "{word:#x}");
        }
        assert!(State(2 << 6 | 8).is_possible());
    }
}
