//! All that is relied on of tokio's private memory layout.
//!
//! Seen in tokio 1.40 to 1.54, `runtime/task/{core,state,list,raw}.rs`. What varies with features
//! and compilers is learned from the canaries: the number and order of the words in a vtable, the
//! offsets of the scheduler, the number and the trailer, and where in the trailer the links are.

/// Cells start at a multiple of this: the size of two cache lines, against false sharing.
pub(crate) const ALIGNMENT: usize = 128;

/// Offsets in the header, which has a C layout.
pub(crate) const STATE: usize = 0;
/// The pointer to the vtable for the type of future and scheduler.
pub(crate) const VTABLE: usize = 16;
/// The number of the list that owns the task; 0 for one of a blocking pool.
pub(crate) const OWNER: usize = 24;

/// Bits of the state.
pub(crate) const RUNNING: usize = 1;
/// The future has returned.
pub(crate) const COMPLETE: usize = 1 << 1;
/// It is in a queue, or will be polled again.
pub(crate) const NOTIFIED: usize = 1 << 2;
/// There is a `JoinHandle`, which counts as a reference.
pub(crate) const JOIN_INTEREST: usize = 1 << 3;
/// It was aborted.
pub(crate) const CANCELLED: usize = 1 << 5;
/// The count of references is above these bits.
pub(crate) const REFERENCES: u32 = 6;
/// One reference.
pub(crate) const REFERENCE: usize = 1 << REFERENCES;

/// The position of `poll` in the vtable.
pub(crate) const POLL: usize = 0;
/// The functions in a vtable, and its words: the rest are the offsets of the trailer, the scheduler
/// and the number. `tokio_unstable` may add one behind them, which is not looked at.
pub(crate) const FUNCTIONS: usize = 7;
pub(crate) const WORDS: usize = FUNCTIONS + 3;
/// No offset in a cell is larger.
pub(crate) const LARGEST_CELL: usize = 1 << 24;
/// What the trailer is searched for the links in, in bytes.
pub(crate) const TRAILER: usize = 64;

/// The position of `clone` in a waker's vtable, which is of the standard library, and its length.
pub(crate) const CLONE: usize = 0;
pub(crate) const WAKE_BY_REF: usize = 2;
pub(crate) const WAKER_WORDS: usize = 4;

/// The references to a task that idles: one of the list that owns it, one of whoever joins it, and
/// those of its wakers.
pub(crate) const fn wakers(state: usize) -> usize {
    let joined = if state & JOIN_INTEREST == 0 { 0 } else { 1 };
    (state >> REFERENCES).saturating_sub(1 + joined)
}

/// Whether it waits to be woken.
pub(crate) const fn is_idle(state: usize) -> bool {
    state & (RUNNING | COMPLETE | NOTIFIED) == 0
}

/// What was learned from the canaries.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Learned {
    /// The words of a vtable, one bit each: whether it is the address of a function.
    pub(crate) functions: u32,
    /// The positions of the offsets of the trailer and of the task's number.
    pub(crate) trailer: usize,
    pub(crate) id: usize,
    /// Where in the trailer the link to the previous task is; that to the next one follows.
    pub(crate) links: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_tells_the_wakers_and_whether_it_idles() {
        assert_eq!(wakers((3 * REFERENCE) | JOIN_INTEREST), 1);
        assert_eq!(wakers((2 * REFERENCE) | JOIN_INTEREST), 0);
        assert_eq!(wakers(REFERENCE), 0);
        assert_eq!(wakers(0), 0);
        assert!(is_idle(REFERENCE | JOIN_INTEREST | CANCELLED));
        assert!(!is_idle(REFERENCE | RUNNING) && !is_idle(REFERENCE | NOTIFIED));
    }
}
