//! All that is relied on of tokio's private memory layout, by version.
//!
//! From `runtime/task/{core,raw,state,list}.rs` of tokio 1.20 to 1.54, as `version.rs` has them. The header has a
//! C layout, and the vtable has its functions first and then its offsets, in the order in which they are declared.
//! What else varies with features and compilers, the place of the links in a trailer, is learned from
//! the cells themselves.

/// A form that cells had in some versions of tokio.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Offsets in the header: the next task in a queue,
    pub(crate) queue_next: u64,
    /// the vtable for the type of future and scheduler,
    pub(crate) vtable: u64,
    /// the number of the list that owns the task; 0 for a closure on a blocking pool.
    pub(crate) owner: u64,
    /// How many functions a vtable has, the last of which shuts a task down,
    pub(crate) functions: usize,
    /// and which of them takes a task's output, or registers the waker of who awaits it.
    pub(crate) join: usize,
    /// Which offsets follow them.
    pub(crate) offsets: Offsets,
}

/// The offsets that a vtable has behind its functions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Offsets {
    /// None: the links to the neighbours in the owner's list are in the header, right behind the state.
    None,
    /// That of the trailer, which has the links.
    Trailer,
    /// Those of the trailer, the scheduler and the number, which the future follows.
    All,
}

/// The newest first.
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

/// The state is the first word of the header.
pub(crate) const STATE: u64 = 0;
/// Where the links are in a header that has them: to the previous cell; that to the next one follows.
pub(crate) const HEADER_LINKS: u64 = 8;
/// What a trailer is searched for the links in, in bytes.
pub(crate) const TRAILER: u64 = 64;
/// The least that a header takes.
pub(crate) const SMALLEST_HEADER: u64 = 32;
/// The most between the scheduler and the number: a blocking pool's scheduler has hooks.
pub(crate) const LARGEST_SCHEDULER: u64 = 256;
/// No offset in a cell is larger.
pub(crate) const LARGEST_CELL: u64 = 1 << 24;
/// The numbers of owners and tasks are counted up from 1.
pub(crate) const LARGEST_NUMBER: u64 = 1 << 48;

/// The words of a waker's vtable, which is of the standard library: clone, wake, wake by reference, drop.
pub(crate) const WAKER_WORDS: u64 = 4;

/// The first word of a cell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct State(pub(crate) u64);

impl State {
    const RUNNING: u64 = 1;
    const COMPLETE: u64 = 1 << 1;
    const NOTIFIED: u64 = 1 << 2;
    const JOIN_INTEREST: u64 = 1 << 3;
    const CANCELLED: u64 = 1 << 5;
    const REFERENCE: u64 = 1 << 6;
    /// More than anybody has. What allocators leave in freed memory, pointers and scrambled pointers,
    /// counts more.
    const MOST_REFERENCES: u64 = 1 << 24;

    /// Whether a cell that is there can be in this state.
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

    /// How many wakers and abort handles there can be at most: a task that idles has one reference of the
    /// list that owns it, one of whoever joins it, and theirs.
    pub(crate) const fn wakers(self) -> u64 {
        let joined = if self.has_join_handle() { 1 } else { 0 };
        self.references().saturating_sub(1 + joined)
    }

    /// The same with one more reference.
    pub(crate) const fn with_one_more(self) -> Self {
        Self(self.0.wrapping_add(Self::REFERENCE))
    }

    /// What a runtime finds that shuts down, even of a task that is polled; who drops references of it does not
    /// free it.
    pub(crate) const fn kept(self) -> Self {
        Self((self.0 & !Self::RUNNING) + 4 * Self::REFERENCE)
    }

    /// What a worker finds that takes the task out of its queue. The reference more outlives the poll.
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
        // Freed; a pointer into a heap; one that glibc has scrambled; both ends of a poll at once.
        for word in [0x3f, 0x5555_5577_2310, 0x7fff_f7e2_3ce0 >> 12, 3 << 6 | 3] {
            assert!(!State(word).is_possible(), "{word:#x}");
        }
        assert!(State(2 << 6 | 8).is_possible());
    }
}
