//! Captures and holds take turns: a thread that is held can't answer a capture.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use crate::sys;

/// 1 while somebody has the turn. Not a `Mutex`, which could neither time out nor be reset after fork.
static BUSY: AtomicU32 = AtomicU32::new(0);

/// The right to signal threads: at most one exists.
pub(crate) struct Turn(());

impl Turn {
    /// Waits for it; `None` when another one lasted until `deadline`.
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

/// Ends the turn of a thread that doesn't exist in this forked child. Async-signal-safe.
pub(crate) fn reset() {
    BUSY.store(0, Ordering::Release);
}
