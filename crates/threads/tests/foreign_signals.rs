//! Tests that a former handler of the same signal keeps working: it
//! sees every signal that isn't ours.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "a signal handler of the test's own")]

mod common;

use std::{
    ffi::{c_int, c_void},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering},
    },
};

use common::{Worker, capture, wait_until};
use rtops_threads::Tid;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static LAST_VALUE: AtomicUsize = AtomicUsize::new(0);
static SIGNAL_WAS_BLOCKED: AtomicBool = AtomicBool::new(false);
static OTHER_WAS_BLOCKED: AtomicBool = AtomicBool::new(true);

extern "C" fn former(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: errno's location is valid; the kernel passes a valid siginfo_t; `mask` is written
    // before it is read.
    unsafe {
        *libc::__errno_location() = libc::EDOM;
        LAST_VALUE.store((*info).si_value().sival_ptr.addr(), Ordering::Relaxed);
        let mut mask = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask);
        SIGNAL_WAS_BLOCKED.store(
            libc::sigismember(&raw const mask, signal) == 1,
            Ordering::Relaxed,
        );
        let other = libc::sigismember(&raw const mask, libc::SIGTERM) == 1;
        OTHER_WAS_BLOCKED.store(other, Ordering::Relaxed);
    }
    CALLS.fetch_add(1, Ordering::Release);
}

fn install_former() {
    // SAFETY: `former` is async-signal-safe and of the SA_SIGINFO form.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = former as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(
            libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut()),
            0
        );
    }
}

/// Sends SIGURG as another part of the program would.
fn send(tid: Tid) {
    // SAFETY: tgkill takes numbers only.
    let result =
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid.as_raw(), libc::SIGURG) };
    assert_eq!(result, 0);
}

fn queue_to_process(value: usize) {
    let value = libc::sigval {
        sival_ptr: std::ptr::without_provenance_mut(value),
    };
    // SAFETY: sigqueue doesn't follow the pointer in the value.
    let result = unsafe { libc::sigqueue(libc::getpid(), libc::SIGURG, value) };
    assert_eq!(result, 0);
}

#[test]
fn foreign_signals_reach_the_former_handler_and_ours_do_not() {
    install_former();
    common::capturer();
    let errno = Arc::new(AtomicI32::new(0));
    let seen = Arc::clone(&errno);
    let worker = Worker::spawn(move |released| {
        // SAFETY: errno's location is valid.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: as above; read again each time, because handlers change it.
        unsafe { errno.write_volatile(libc::ENOTTY) };
        while common::is_needed(&released) {
            // SAFETY: as above.
            seen.store(unsafe { errno.read_volatile() }, Ordering::Relaxed);
        }
    });

    for expected in 1..=20 {
        capture(worker.tid).unwrap();
        send(worker.tid);
        wait_until("the former handler is called", || {
            CALLS.load(Ordering::Acquire) == expected
        });
    }
    capture(worker.tid).unwrap();
    assert_eq!(
        CALLS.load(Ordering::Acquire),
        20,
        "captures are none of its business"
    );
    assert!(SIGNAL_WAS_BLOCKED.load(Ordering::Relaxed));
    assert!(
        !OTHER_WAS_BLOCKED.load(Ordering::Relaxed),
        "it has the mask that it asked for"
    );
    wait_until("errno is read", || errno.load(Ordering::Relaxed) != 0);
    assert_eq!(
        errno.load(Ordering::Relaxed),
        libc::ENOTTY,
        "the handler restores errno"
    );
    drop(worker);

    queue_to_process(0xabcd);
    wait_until("the former handler is called", || {
        CALLS.load(Ordering::Acquire) == 21
    });
    assert_eq!(LAST_VALUE.load(Ordering::Relaxed), 0xabcd);
}
