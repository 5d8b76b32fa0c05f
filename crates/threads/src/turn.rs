//! Captures take turns, because all of them use the same slots.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use crate::sys;

/// 1 while a capture has the turn. This is not a `Mutex`, which could
/// neither time out nor be reset after fork.
static BUSY: AtomicU32 = AtomicU32::new(0);

/// The right to capture threads. At most one exists.
pub(crate) struct Turn(());

impl Turn {
    /// Waits for the turn; `None` if another capture had it until `deadline`.
    pub(crate) fn begin(deadline: Instant) -> Option<Self> {
        while BUSY
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            sys::wait(&BUSY, 1, left);
        }
        Some(Self(()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        BUSY.store(0, Ordering::Release);
        sys::wake(&BUSY);
    }
}

/// Ends the turn that a thread of the parent had at the fork, because this child
/// doesn't have that thread. Async-signal-safe.
pub(crate) fn reset() {
    BUSY.store(0, Ordering::Release);
}
