//! A synchronous signal that is blocked ends the process: a thread that blocks SIGTRAP, or comes to
//! do so while it is stepped, lives.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "signal masks")]

mod common;

use std::{
    mem::{self, MaybeUninit},
    ptr,
};

use common::{refused, stepped, stepper, still_works, work};
use rtops_step::{End, Refusal};

fn all_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: fills the set.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn mask(how: i32) {
    let set = all_signals();
    // SAFETY: reads an initialized set.
    let error = unsafe { libc::pthread_sigmask(how, &raw const set, ptr::null_mut()) };
    assert_eq!(error, 0);
}

#[test]
fn a_thread_that_blocks_the_signal_is_refused() {
    let stepper = stepper();
    mask(libc::SIG_BLOCK);
    refused(&stepper, Refusal::SignalBlocked);
    mask(libc::SIG_UNBLOCK);
    still_works(&stepper);
}

#[test]
fn a_closure_that_comes_to_block_the_signal_is_stepped_up_to_there() {
    let stepper = stepper();
    let ways: [fn(); 3] = [
        || {
            mask(libc::SIG_BLOCK);
            work(10);
            mask(libc::SIG_UNBLOCK);
        },
        || {
            let (set, now) = (
                all_signals(),
                libc::timespec {
                    tv_sec: 0,
                    tv_nsec: 1,
                },
            );
            // SAFETY: no descriptors; reads an initialized set and time.
            unsafe { libc::ppoll(ptr::null_mut(), 0, &raw const now, &raw const set) };
        },
        || {
            // SAFETY: reads an initialized action and restores the former one.
            unsafe {
                let mut action: libc::sigaction = mem::zeroed();
                action.sa_sigaction = libc::SIG_DFL;
                let mut before = mem::zeroed();
                libc::sigaction(libc::SIGTRAP, &raw const action, &raw mut before);
                work(10);
                libc::sigaction(libc::SIGTRAP, &raw const before, ptr::null_mut());
            }
        },
    ];
    for way in ways {
        let ((), trace) = stepped(&stepper, way);
        assert_eq!(trace.end, End::Unsafe);
        still_works(&stepper);
    }
}
