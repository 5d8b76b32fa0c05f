//! Which thread is being stepped: one of the process at a time.
#![expect(
    unsafe_code,
    reason = "the handler finds the recording of its thread through a static pointer"
)]

use std::{
    ptr,
    sync::atomic::{
        AtomicPtr, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

use crate::recording::Recording;

/// The thread pointer of the thread that is stepped; 0 for none. The kernel's number of a thread
/// would take a system call at each step.
static THREAD: AtomicU64 = AtomicU64::new(0);
/// Where that thread's steps go. Set after `THREAD`, and null before it is given up.
static RECORDING: AtomicPtr<Recording> = AtomicPtr::new(ptr::null_mut());

/// The calling thread is the one that is stepped, until this is dropped.
pub(crate) struct Claim(u64);

impl Claim {
    /// `None` while another thread, or an outer closure of this one, is stepped.
    pub(crate) fn new(thread: u64, recording: &Recording) -> Option<Self> {
        THREAD
            .compare_exchange(0, thread, AcqRel, Relaxed)
            .ok()
            .map(|_| {
                RECORDING.store(ptr::from_ref(recording).cast_mut(), Release);
                Self(thread)
            })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        give_up(self.0);
    }
}

/// The recording of the calling thread, if it is the one that is stepped. Async-signal-safe.
///
/// # Safety
/// `thread` is the calling thread's, and the reference is gone before the handler returns: the
/// recording is borrowed by `Stepper::step` further up this thread's stack.
pub(crate) unsafe fn of_this_thread<'a>(thread: u64) -> Option<&'a Recording> {
    if THREAD.load(Relaxed) != thread {
        return None;
    }
    // SAFETY: null, or set by this thread in a `Stepper::step` that has not returned, as the claim
    // is given up before it does.
    unsafe { RECORDING.load(Acquire).as_ref() }
}

/// Ends the claim of a thread, if it is still its own. Async-signal-safe.
pub(crate) fn give_up(thread: u64) {
    if THREAD.load(Relaxed) == thread {
        RECORDING.store(ptr::null_mut(), Relaxed);
        THREAD.store(0, Release);
    }
}

/// Forgets the thread that was stepped in the parent. For the child of a `fork`, before it steps
/// anything; async-signal-safe.
pub fn reset_after_fork() {
    RECORDING.store(ptr::null_mut(), Relaxed);
    THREAD.store(0, Release);
}
