//! A child that is forked while threads are held can hold its own, and the parent's go on.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "fork and waitpid")]

mod common;

use std::time::{Duration, Instant};

use common::{Worker, capture, capturer, hold, own_tid, wait_until};
use rtops_threads::{HoldError, Missing, reset_after_fork};

#[test]
fn a_child_forked_during_a_hold_is_not_stuck_and_neither_is_the_parent() {
    let worker = Worker::spawn(|released| {
        released.recv().unwrap_err();
    });
    // Only parked threads may be held where libc's fork is called: it takes the allocator's locks.
    common::wait_until("the thread is parked", || {
        std::fs::read_to_string(format!("/proc/self/task/{}/stat", worker.tid))
            .unwrap()
            .contains(") S")
    });
    let held = hold(&[]);
    // SAFETY: the child only holds and captures, which glibc's allocator allows there, and ends by
    // _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let busy = capturer().hold(&[], Instant::now() + Duration::from_millis(20));
        reset_after_fork();
        drop(held);
        let ok = busy.err() == Some(HoldError::Busy)
            && capture(own_tid()).unwrap_err() == Missing::Myself
            && holds_a_new_thread();
        // SAFETY: ends the child without running the test harness's exit handlers.
        unsafe { libc::_exit(i32::from(!ok)) };
    }
    let whole = held.is_whole();
    drop(held);
    assert!(child > 0 && whole);
    capture(worker.tid).unwrap();
    let mut status = 0;
    // SAFETY: waits for our own child.
    wait_until("the child ends", || unsafe {
        libc::waitpid(child, &raw mut status, libc::WNOHANG) == child
    });
    assert!(
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        "{status:x}"
    );
}

fn holds_a_new_thread() -> bool {
    let worker = Worker::spawn(|released| {
        released.recv().unwrap_err();
    });
    let held = hold(&[]);
    held.is_whole() && held.threads().len() == 1 && held.threads()[0].tid == worker.tid
}
