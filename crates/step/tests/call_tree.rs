//! The trace of a closure has its calls and instructions, and nothing is allocated for it meanwhile.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "a global allocator that counts")]

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
};

use common::{refused, stepper, still_works, whole};
use rtops_step::{Refusal, Stepper, Trace};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[inline(never)]
fn outer(n: u64) -> u64 {
    black_box(inner(black_box(n)) + 1)
}

#[inline(never)]
fn inner(n: u64) -> u64 {
    black_box(leaf(black_box(n)) + leaf(black_box(n)))
}

#[inline(never)]
fn leaf(n: u64) -> u64 {
    black_box(n + 1)
}

/// The calls whose first instruction is that of `function`, with their numbers.
fn calls_of(trace: &Trace, function: usize) -> Vec<usize> {
    let first = |call: u32| {
        let mut visits = trace.visits.iter().filter(|visit| visit.call == call);
        visits.next().map(|visit| visit.ip)
    };
    let numbers = 0..u32::try_from(trace.calls.len()).unwrap();
    let entered = numbers.filter(|call| first(*call) == Some(function as u64));
    entered.map(|call| call as usize).collect()
}

/// `call` and all around it, outermost last.
fn chain(trace: &Trace, mut call: usize) -> Vec<usize> {
    let mut chain = vec![call];
    while call != 0 {
        call = trace.calls[call].caller as usize;
        chain.push(call);
    }
    chain
}

#[test]
fn calls_are_nested_as_they_were_made() {
    let stepper = stepper();
    let (result, trace) = whole(&stepper, || outer(1));
    assert_eq!(result, 5);
    let (outers, inners) = (
        calls_of(&trace, outer as *const () as usize),
        calls_of(&trace, inner as *const () as usize),
    );
    let leaves = calls_of(&trace, leaf as *const () as usize);
    assert_eq!((outers.len(), inners.len(), leaves.len()), (1, 1, 2));
    for call in leaves {
        let around = chain(&trace, call);
        let wanted = [call, inners[0], outers[0]];
        assert_eq!(around.get(..3), Some(&wanted[..]), "{trace:x?}");
        // The calling instruction is one that ran in the caller.
        let site = trace.calls[call].site;
        let ran = |visit: &rtops_step::Visit| visit.ip == site && visit.call as usize == inners[0];
        assert!(trace.visits.iter().any(ran), "{trace:x?}");
    }
}

#[test]
fn stepping_allocates_nothing() {
    let stepper = stepper();
    drop(black_box(Box::new(1)));
    let before = ALLOCATIONS.get();
    assert!(before > 0, "the counter counts");
    let (result, outcome) = stepper.step(7, || outer(1));
    assert_eq!(ALLOCATIONS.get(), before);
    assert_eq!((result, outcome), (5, Ok(())));
}

#[test]
fn a_trace_that_was_not_taken_is_kept_and_refuses_the_next() {
    let one = stepper();
    let (_, outcome) = one.step(1, || outer(1));
    assert_eq!(outcome, Ok(()));
    let (result, outcome) = one.step(2, || outer(1));
    assert_eq!((result, outcome), (5, Err(Refusal::Busy)));
    assert_eq!(one.take().unwrap().tag, 1);
    still_works(&one);
}

#[test]
fn only_one_closure_is_stepped_at_a_time() {
    let (one, other) = (stepper(), Stepper::new().unwrap());
    let (_, trace) = whole(&one, || refused(&other, Refusal::Busy));
    assert!(trace.calls.len() > 1);
    still_works(&other);
}
