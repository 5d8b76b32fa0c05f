//! What the tests of stepping share.
#![allow(clippy::unwrap_used, dead_code)]

use std::{
    hint::black_box,
    ops::Deref,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use rtops_step::{End, Refusal, Stepper, Trace};

/// A stepper, and the right to use it: one closure of a process is stepped at a time.
pub struct Alone {
    stepper: Stepper,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Alone {
    type Target = Stepper;

    fn deref(&self) -> &Stepper {
        &self.stepper
    }
}

pub fn stepper() -> Alone {
    static TURN: Mutex<()> = Mutex::new(());
    Alone {
        _turn: TURN.lock().unwrap_or_else(PoisonError::into_inner),
        stepper: Stepper::new().unwrap(),
    }
}

/// Runs a closure that must be stepped.
#[track_caller]
pub fn stepped<R>(stepper: &Stepper, closure: impl FnOnce() -> R) -> (R, Trace) {
    let (result, outcome) = stepper.step(7, closure);
    assert_eq!(outcome, Ok(()));
    let trace = stepper.take().unwrap();
    assert_eq!(trace.tag, 7);
    (result, trace)
}

/// Runs a closure that must be stepped to its end.
#[track_caller]
pub fn whole<R>(stepper: &Stepper, closure: impl FnOnce() -> R) -> (R, Trace) {
    let (result, trace) = stepped(stepper, closure);
    assert_eq!(trace.end, End::Whole);
    assert!(!trap_flag_is_on());
    (result, trace)
}

/// Shows that stepping still works, here and now.
#[track_caller]
pub fn still_works(stepper: &Stepper) {
    let (sum, trace) = whole(stepper, || work(10));
    assert_eq!(sum, 45);
    assert!(trace.calls.len() > 1, "{trace:?}");
}

/// Runs a closure that must not be stepped.
#[track_caller]
pub fn refused(stepper: &Stepper, why: Refusal) {
    let (result, outcome) = stepper.step(7, || work(10));
    assert_eq!((result, outcome), (45, Err(why)));
    assert_eq!(stepper.take(), None);
}

/// Takes some ten steps a round.
#[inline(never)]
pub fn work(rounds: u64) -> u64 {
    (0..rounds).fold(0, |sum, round| black_box(sum) + round)
}

pub fn trap_flag_is_on() -> bool {
    let flags: u64;
    #[expect(unsafe_code, reason = "reads the flags")]
    // SAFETY: pushes and pops one word.
    unsafe {
        std::arch::asm!("pushfq", "pop {}", out(reg) flags);
    }
    flags & 0x100 != 0
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::yield_now();
    }
}

/// Ends what other threads of a test do, also where a check fails.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

const CHILD: &str = "RTOPS_STEP_TEST_CHILD";

/// In a child that [`in_child`] started: what it is to do.
pub fn role() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Runs the one test of this program again, in a process of its own, and returns the signal that
/// ended it.
#[track_caller]
pub fn in_child(role: &str) -> Option<i32> {
    let status = Command::new(std::env::current_exe().unwrap())
        .env(CHILD, role)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(
        status.success() || status.signal().is_some(),
        "{role}: {status}"
    );
    status.signal()
}
