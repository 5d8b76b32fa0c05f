//! A fork in another thread, in the middle of a stepped closure: neither side is harmed.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "fork and waitpid")]

mod common;

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

use common::{stepper, still_works, wait_until, whole, work};
use rtops_step::{Refusal, Stepper, reset_after_fork};

#[test]
fn a_child_that_another_thread_forks_can_step() {
    let stepper = stepper();
    let (is_stepped, has_forked) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let forker = scope.spawn(|| {
            wait_until("the closure is stepped", || is_stepped.load(SeqCst));
            // SAFETY: the child only steps, which glibc's allocator allows there, and ends by _exit.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let status = i32::from(!steps_in_child());
                // SAFETY: ends the child without running the test harness's exit handlers.
                unsafe { libc::_exit(status) };
            }
            has_forked.store(true, SeqCst);
            child
        });
        let (sum, _) = whole(&stepper, || {
            is_stepped.store(true, SeqCst);
            let sum = work(10);
            // Waits with one system call, not by spinning, for that takes too many steps.
            while !has_forked.load(SeqCst) {
                thread::sleep(std::time::Duration::from_millis(20));
            }
            sum
        });
        assert_eq!(sum, 45);
        let child = forker.join().unwrap();
        let mut status = 0;
        // SAFETY: waits for our own child.
        wait_until("the child ends", || unsafe {
            libc::waitpid(child, &raw mut status, libc::WNOHANG) == child
        });
        assert!(
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
            "{status:x}"
        );
    });
    still_works(&stepper);
}

fn steps_in_child() -> bool {
    let stepper = Stepper::new().unwrap();
    let before = stepper.step(1, || work(10)).1;
    reset_after_fork();
    let after = stepper.step(1, || work(10)).1;
    (before, after) == (Err(Refusal::Busy), Ok(()))
}
