//! Tests that the handler allocates nothing: the target's threads may hold the allocator's lock.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "a global allocator that counts")]

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    sync::atomic::{AtomicI32, AtomicUsize, Ordering},
};

use common::{Worker, capture, wait_until};

/// The thread whose allocations count.
static WATCHED: AtomicI32 = AtomicI32::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);

struct Counting;

impl Counting {
    fn note(&self) {
        // SAFETY: gettid has no preconditions.
        if WATCHED.load(Ordering::Relaxed) == unsafe { libc::gettid() } {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: forwards every call to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.note();
        // SAFETY: the caller upholds the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.note();
        // SAFETY: the caller upholds the contract.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn captured_threads_allocate_nothing() {
    let worker = Worker::spawn(|released| {
        WATCHED.store(common::own_tid().as_raw(), Ordering::Relaxed);
        drop(black_box(Box::new(1)));
        while common::is_needed(&released) {
            std::hint::spin_loop();
        }
    });
    wait_until("the counter counts", || COUNT.load(Ordering::Relaxed) == 2);
    COUNT.store(0, Ordering::Relaxed);
    for _ in 0..500 {
        assert!(!capture(worker.tid).unwrap().bytes.is_empty());
    }
    assert_eq!(COUNT.load(Ordering::Relaxed), 0);
    WATCHED.store(0, Ordering::Relaxed);
}
