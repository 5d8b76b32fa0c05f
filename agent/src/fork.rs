//! What a forked child inherits, and must not touch: the socket and the connections.
//!
//! The child of a `fork` has the parent's descriptors and memory but none of its threads. Here
//! the descriptors that the agent opens are noted, so that the child can close them at once: it
//! must not answer for the parent, nor keep its clients waiting for an end of file.
#![expect(
    unsafe_code,
    reason = "pthread_atfork, and closing descriptors whose owners do not exist in the child"
)]

use std::{
    os::fd::{AsFd, AsRawFd},
    sync::atomic::{
        AtomicBool, AtomicI32,
        Ordering::{Relaxed, SeqCst},
    },
};

/// Listener, inotify, eventfd, directory, and the clients, with room to spare.
const MAX_DESCRIPTORS: usize = 32;

static DESCRIPTORS: [AtomicI32; MAX_DESCRIPTORS] = [const { AtomicI32::new(-1) }; MAX_DESCRIPTORS];
static FORKED: AtomicBool = AtomicBool::new(false);

/// A descriptor that a forked child closes, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Noted(Option<usize>);

/// Notes a descriptor. The caller drops the note before it closes the descriptor.
pub(crate) fn note(descriptor: &impl AsFd) -> Noted {
    let raw = descriptor.as_fd().as_raw_fd();
    Noted(
        DESCRIPTORS
            .iter()
            .position(|place| place.compare_exchange(-1, raw, Relaxed, Relaxed).is_ok()),
    )
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some(place) = self.0.and_then(|number| DESCRIPTORS.get(number)) {
            place.store(-1, Relaxed);
        }
    }
}

/// Whether this process is a child that was forked while its parent had an agent.
pub(crate) fn is_forked_child() -> bool {
    FORKED.load(SeqCst)
}

/// Has every later forked child call `in_child`.
pub(crate) fn watch() {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if !WATCHED.swap(true, SeqCst) {
        // SAFETY: `in_child` is a function for the whole life of the process and calls only what
        // a child of a multi-threaded process may call. Failure (no memory) is harmless here.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    }
}

/// Runs in the child, before `fork` returns there. Atomics and `close` only: any lock may be held
/// for ever by a thread that does not exist here.
extern "C" fn in_child() {
    FORKED.store(true, SeqCst);
    rtops_tasks::abandon();
    rtops_threads::reset_after_fork();
    rtops_step::reset_after_fork();
    for place in &DESCRIPTORS {
        let descriptor = place.swap(-1, Relaxed);
        if descriptor >= 0 {
            // SAFETY: the agent of the parent opened it, and nothing in this child owns it: the
            // owners live on the stacks of threads that were not copied, or in a state that
            // `start` and `stop` refuse to touch in a forked child.
            unsafe { libc::close(descriptor) };
        }
    }
}
