//! However a closure ends, the trap flag is off afterwards and the next one can be stepped.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    hint::black_box,
    panic::{catch_unwind, resume_unwind},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};

use common::{SetOnDrop, stepped, stepper, still_works, trap_flag_is_on, wait_until, work};
use rtops_step::{End, MAX_STEPS, Stepper};

#[test]
fn a_closure_that_is_too_long_goes_on_at_full_speed() {
    let stepper = stepper();
    // At some microseconds a step this would take minutes.
    let rounds = 100_000_000;
    let (sum, trace) = stepped(&stepper, || {
        let sum = work(rounds);
        assert!(!trap_flag_is_on());
        sum
    });
    assert_eq!(sum, rounds * (rounds - 1) / 2);
    assert_eq!((trace.end, trace.steps), (End::TooLong, MAX_STEPS));
    still_works(&stepper);
}

#[test]
fn a_closure_that_never_ends_keeps_neither_its_thread_nor_others_from_being_stepped() {
    let stepper = stepper();
    let (has_begun, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        // Also where a check below fails.
        let _end = SetOnDrop(&is_over);
        scope.spawn(|| {
            let spin = || {
                has_begun.store(true, SeqCst);
                while !is_over.load(SeqCst) {
                    std::hint::spin_loop();
                }
            };
            assert_eq!(stepper.step(1, spin).1, Ok(()));
        });
        wait_until("it has begun", || has_begun.load(SeqCst));
        let other = Stepper::new().unwrap();
        wait_until("the bound is reached", || {
            other.step(2, || work(10)).1.is_ok()
        });
        assert_eq!(other.take().unwrap().end, End::Whole);
        // Its own recording is not free before it ends.
        assert!(stepper.step(3, || ()).1.is_err());
    });
    assert_eq!(stepper.take().unwrap().end, End::TooLong);
    still_works(&stepper);
}

#[test]
fn a_panic_goes_through() {
    let stepper = stepper();
    for payload in 0..3_u32 {
        let caught = catch_unwind(|| {
            stepper.step(7, || {
                black_box(work(10));
                resume_unwind(Box::new(payload));
            })
        });
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&payload));
        assert!(!trap_flag_is_on());
        let trace = stepper.take().unwrap();
        assert!(trace.calls.len() > 1, "{trace:?}");
        still_works(&stepper);
    }
}

#[test]
fn a_panic_inside_may_be_caught_inside() {
    let stepper = stepper();
    let (caught, trace) = stepped(&stepper, || {
        let caught = catch_unwind(|| resume_unwind(Box::new(5_u32)));
        let caught: Option<u32> = caught.map_err(|payload| *payload.downcast().unwrap()).err();
        caught
    });
    assert_eq!(caught, Some(5));
    assert_ne!(trace.end, End::Unsafe);
    still_works(&stepper);
}
