//! What a forked child inherits and must not touch: the socket and the connections.
//!
//! The child of a `fork` has the parent's descriptors and memory but none of its threads. It closes
//! the agent's descriptors at once: it must not answer for the parent, nor keep the parent's
//! clients waiting for an end of file.
#![expect(unsafe_code, reason = "pthread_atfork")]

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::descriptor;

static FORKED: AtomicBool = AtomicBool::new(false);

/// Whether this process is a child that was forked while its parent had an agent.
pub(crate) fn is_forked_child() -> bool {
    FORKED.load(SeqCst)
}

/// Makes every forked child call `in_child` from now on.
pub(crate) fn watch() {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if !WATCHED.swap(true, SeqCst) {
        // SAFETY: `in_child` lives as long as the process and calls only what a child of a
        // multi-threaded process may call. Failure (no memory) is harmless here.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    }
}

/// Runs in the child before `fork` returns there. Uses only atomics and system calls: any lock may
/// be held forever by a thread that does not exist here.
extern "C" fn in_child() {
    FORKED.store(true, SeqCst);
    rtops_tasks::abandon();
    rtops_threads::reset_after_fork();
    descriptor::close_in_child();
}
