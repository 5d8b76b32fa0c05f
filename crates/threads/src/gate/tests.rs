//! The gate and its places, with the test in both parts: the holding thread's and the handler's.
#![allow(clippy::unwrap_used)]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::*;

const TID: Tid = Tid::new(7);
const HINTS: StackHints = StackHints {
    alternate_end: 9,
    thread_pointer: 10,
};
const REGISTERS: HeldRegisters = HeldRegisters {
    ip: 1,
    sp: 2,
    bp: 3,
    rbx: 4,
    r12: 5,
    r13: 6,
    r14: 7,
    r15: 8,
};

/// Tests take turns, as holds do.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn closed() -> Gate {
    Gate::close(in_a_while())
}

fn in_a_while() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[test]
fn a_called_thread_waits_until_the_gate_opens() {
    let _alone = alone();
    let mut gate = closed();
    let pass = gate.call(TID).unwrap();
    assert_eq!(gate.standing(pass), Standing::Called);
    let seen = gate.arrived();
    let visitor = thread::spawn(move || enter(pass, TID).unwrap().wait(REGISTERS, HINTS));
    gate.wait(seen, 1, in_a_while());
    assert_eq!(gate.standing(pass), Standing::Held);
    let (registers, hints) = gate.told(pass).unwrap();
    assert_eq!(registers, REGISTERS);
    assert_eq!((hints.alternate_end, hints.thread_pointer), (9, 10));
    assert!(!visitor.is_finished());
    drop(gate);
    visitor.join().unwrap();
}

#[test]
fn a_call_is_for_one_thread_and_is_followed_once() {
    let _alone = alone();
    let mut gate = closed();
    let pass = gate.call(TID).unwrap();
    assert!(enter(pass, Tid::new(8)).is_none());
    let visit = enter(pass, TID).unwrap();
    assert!(enter(pass, TID).is_none());
    drop(gate);
    visit.wait(REGISTERS, HINTS);
}

#[test]
fn who_comes_after_the_hold_goes_on_at_once() {
    let _alone = alone();
    let mut gate = closed();
    let (early, late) = (gate.call(TID).unwrap(), gate.call(TID).unwrap());
    drop(gate);
    // Its place was not needed since.
    enter(early, TID).unwrap().wait(REGISTERS, HINTS);

    let mut gate = closed();
    gate.call(TID).unwrap();
    let next = gate.call(TID).unwrap();
    assert!(enter(late, TID).is_none(), "the place has another call");
    assert_eq!(gate.standing(next), Standing::Called);
}

#[test]
fn a_visitor_leaves_when_the_time_is_up_and_that_is_seen() {
    let _alone = alone();
    let mut gate = Gate::close(Instant::now() + Duration::from_millis(1));
    let pass = gate.call(TID).unwrap();
    enter(pass, TID).unwrap().wait(REGISTERS, HINTS);
    assert_eq!(gate.standing(pass), Standing::Left);
    assert!(gate.is_closed(), "for the others");
}

#[test]
fn a_place_that_a_late_visitor_fills_is_not_given_to_another() {
    let _alone = alone();
    let mut gate = closed();
    let late = gate.call(TID).unwrap();
    let visit = enter(late, TID).unwrap();
    drop(gate);
    let mut gate = closed();
    let next = gate.call(TID).unwrap();
    assert_ne!(late.as_raw() & 0xffff, next.as_raw() & 0xffff);
    visit.wait(REGISTERS, HINTS);
    drop(gate);
    let mut gate = closed();
    let next = gate.call(TID).unwrap();
    assert_eq!(late.as_raw() & 0xffff, next.as_raw() & 0xffff);
}

#[test]
fn places_run_out() {
    let _alone = alone();
    let mut gate = closed();
    let calls = std::iter::from_fn(|| gate.call(TID)).count();
    assert_eq!(calls, PLACES);
}

#[test]
fn foreign_values_call_nobody() {
    for raw in [0, 1, u64::MAX, Pass::MAGIC << 32] {
        assert_eq!(Pass::from_raw(raw), None);
    }
    let no_such_place = Pass::from_raw(Pass::MAGIC << 48 | 0xffff).unwrap();
    assert!(enter(no_such_place, TID).is_none());
}
