//! What a forked child inherits, and must not touch: the socket and the connections.
//!
//! The child of a `fork` has the parent's descriptors and memory but none of its threads. It closes the
//! agent's descriptors at once: it must not answer for the parent, nor keep its clients waiting for
//! an end of file.
#![expect(unsafe_code, reason = "pthread_atfork")]

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::descriptor;

static FORKED: AtomicBool = AtomicBool::new(false);

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

/// Runs in the child, before `fork` returns there. Atomics and system calls only: any lock may be held
/// for ever by a thread that does not exist here.
extern "C" fn in_child() {
    FORKED.store(true, SeqCst);
    rtops_tasks::abandon();
    rtops_threads::reset_after_fork();
    descriptor::close_in_child();
}
