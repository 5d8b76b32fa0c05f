//! Held threads go on by themselves when the time is up, also when nobody lets them go.
#![allow(clippy::unwrap_used)]

mod common;

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Worker, capturer, is_needed, wait_until};
use rtops_threads::HoldError;

#[test]
fn threads_that_are_never_let_go_wait_until_the_time_is_up_and_no_longer() {
    let counter = Arc::new(AtomicU64::new(0));
    let worker = {
        let counter = Arc::clone(&counter);
        Worker::spawn(move |released| {
            while is_needed(&released) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    // On a busy machine, it takes its time until all are held.
    let mut result = Err(HoldError::NoTime);
    let mut until = Instant::now();
    for milliseconds in [100, 200, 400, 800, 1600, 3200, 6400] {
        until = Instant::now() + Duration::from_millis(milliseconds);
        result = capturer().hold(&[], until);
        if result.is_ok() {
            break;
        }
    }
    let held = ManuallyDrop::new(result.unwrap());
    let at_first = counter.load(Ordering::Relaxed);
    let mut was_whole = false;
    wait_until("the thread goes on", || {
        let count = counter.load(Ordering::Relaxed);
        let is_whole = held.is_whole();
        assert!(count == at_first || !is_whole);
        was_whole |= is_whole;
        count > at_first
    });
    assert!(was_whole && Instant::now() >= until);
    assert!(!held.is_whole());
    assert!(held.threads().iter().any(|it| it.tid == worker.tid));

    // Who has it has the turn.
    let soon = Instant::now() + Duration::from_millis(5);
    assert_eq!(capturer().hold(&[], soon).unwrap_err(), HoldError::Busy);
    drop(ManuallyDrop::into_inner(held));
    drop(common::hold(&[]));
}
