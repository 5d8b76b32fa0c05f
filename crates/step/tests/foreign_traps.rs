//! A former handler of SIGTRAP goes on working: it sees every trap that isn't ours, with the mask that
//! it asked for, and none that is.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "a signal handler of the test's own, and traps")]

mod common;

use std::{
    arch::asm,
    ffi::{c_int, c_void},
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
    thread,
    time::Duration,
};

use common::{SetOnDrop, stepped, still_works, wait_until, whole, work};
use rtops_step::End;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static OTHER_WAS_BLOCKED: AtomicBool = AtomicBool::new(true);

extern "C" fn former(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: `mask` is written before it is read; errno's location is valid.
    unsafe {
        *libc::__errno_location() = libc::EDOM;
        let mut mask = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask);
        let other = libc::sigismember(&raw const mask, libc::SIGTERM) == 1;
        OTHER_WAS_BLOCKED.store(other, Relaxed);
        *libc::__errno_location() = 0;
    }
    CALLS.fetch_add(1, SeqCst);
}

fn install_former() {
    // SAFETY: `former` is async-signal-safe and of the SA_SIGINFO form.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = former as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        let installed = libc::sigaction(libc::SIGTRAP, &raw const action, std::ptr::null_mut());
        assert_eq!(installed, 0);
    }
}

#[inline(never)]
fn breakpoint() {
    // SAFETY: a handler for the signal is in place.
    unsafe { asm!("int3") };
}

fn calls() -> usize {
    CALLS.swap(0, SeqCst)
}

#[test]
fn traps_of_others_reach_the_former_handler_and_ours_do_not() {
    install_former();
    let stepper = common::stepper();
    still_works(&stepper);
    assert_eq!(calls(), 0, "steps are none of its business");

    breakpoint();
    assert_eq!(calls(), 1);
    assert!(!OTHER_WAS_BLOCKED.load(Relaxed));
    // SAFETY: sends a signal to this thread.
    unsafe { libc::raise(libc::SIGTRAP) };
    assert_eq!(calls(), 1);

    // In the middle of a stepped closure: a breakpoint ends the stepping, its trap is the former
    // handler's, and the closure goes on.
    let (sum, trace) = stepped(&stepper, || {
        let before = work(10);
        breakpoint();
        before + work(10)
    });
    assert_eq!((sum, trace.end, calls()), (90, End::Unsafe, 1));

    // A signal from another thread ends nothing. The kernel merges some with a trap of ours: such a
    // trap is a step nevertheless.
    // SAFETY: pthread_self has no preconditions.
    let stepped_thread = unsafe { libc::pthread_self() };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = SetOnDrop(&done);
        scope.spawn(|| {
            while !done.load(SeqCst) {
                // SAFETY: the thread lives until this one is joined.
                unsafe { libc::pthread_kill(stepped_thread, libc::SIGTRAP) };
                thread::sleep(Duration::from_micros(100));
            }
        });
        wait_until("some were handled", || {
            let (sum, _) = whole(&stepper, || work(100));
            assert_eq!(sum, 4950);
            CALLS.load(SeqCst) >= 100
        });
    });
    calls();
    still_works(&stepper);
    assert_eq!(calls(), 0);
}
