//! Tests that a child that is forked in the middle of a capture can capture.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "fork and waitpid")]

mod common;

use std::time::{Duration, Instant};

use common::{Worker, capturer, own_tid, wait_until};
use rtops_threads::{Missing, reset_after_fork};

#[test]
fn a_child_forked_during_a_capture_is_not_stuck() {
    let worker = Worker::spawn(|released| {
        released.recv().unwrap_err();
    });
    let mut child = 0;
    capturer().capture(&[worker.tid], common::deadline(), |_, result| {
        result.unwrap();
        // SAFETY: the child only captures, which glibc's allocator
        // permits there, and ends by _exit.
        child = unsafe { libc::fork() };
        if child == 0 {
            let status = i32::from(!captures_in_child());
            // SAFETY: ends the child without running the test harness's exit handlers.
            unsafe { libc::_exit(status) };
        }
    });
    assert!(child > 0);
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

fn captures_in_child() -> bool {
    let short = || Instant::now() + Duration::from_millis(20);
    let mut results = Vec::new();
    capturer().capture(&[own_tid()], short(), |_, result| {
        results.push(result.err())
    });
    reset_after_fork();
    let long = Instant::now() + Duration::from_secs(20);
    capturer().capture(&[own_tid()], long, |_, result| results.push(result.err()));
    results == [Some(Missing::Busy), Some(Missing::Myself)]
}
