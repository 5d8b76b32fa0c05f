//! Signals that come while a closure is stepped are handled as ever, at full speed, and lose no step.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "signal handlers and timers")]

mod common;

use std::{
    ptr,
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use common::{SetOnDrop, stepper, whole, work};
use rtops_threads::{Signal, Tid};

static ALARMS: AtomicUsize = AtomicUsize::new(0);
static STEPPED_HANDLERS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_alarm(_: i32) {
    ALARMS.fetch_add(1, Relaxed);
    if common::trap_flag_is_on() {
        STEPPED_HANDLERS.fetch_add(1, Relaxed);
    }
}

/// Sends this process SIGALRM all the time, until it is dropped.
struct Storm;

impl Storm {
    fn new() -> Self {
        // SAFETY: the handler is async-signal-safe.
        unsafe { libc::signal(libc::SIGALRM, on_alarm as *const () as usize) };
        Self::every(200);
        Self
    }

    fn every(microseconds: i64) {
        let interval = libc::timeval {
            tv_sec: 0,
            tv_usec: microseconds,
        };
        let timer = libc::itimerval {
            it_interval: interval,
            it_value: interval,
        };
        // SAFETY: reads an initialized timer.
        let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) };
        assert_eq!(set, 0);
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        Self::every(0);
    }
}

#[test]
fn signals_are_handled_at_full_speed_and_lose_no_step() {
    let stepper = stepper();
    let capturer = rtops_threads::install(Signal::URGENT).unwrap();
    let (_, quiet) = whole(&stepper, || work(50));
    let _storm = Storm::new();
    // SAFETY: gettid has no preconditions.
    let tid = Tid::new(unsafe { libc::gettid() });
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = SetOnDrop(&done);
        let captures = scope.spawn(|| {
            let mut captures = 0;
            while !done.load(SeqCst) {
                let deadline = Instant::now() + Duration::from_secs(60);
                capturer.capture(&[tid], deadline, |_, result| {
                    captures += usize::from(!result.unwrap().bytes.is_empty());
                });
            }
            captures
        });
        let before = ALARMS.load(Relaxed);
        common::wait_until("there were many signals", || {
            let (sum, trace) = whole(&stepper, || work(50));
            assert_eq!(sum, 1225);
            assert_eq!(
                (trace.steps, trace.calls.len()),
                (quiet.steps, quiet.calls.len())
            );
            ALARMS.load(Relaxed) > before + 50
        });
        drop(end);
        assert!(captures.join().unwrap() > 0);
    });
    assert_eq!(STEPPED_HANDLERS.load(Relaxed), 0);
}
