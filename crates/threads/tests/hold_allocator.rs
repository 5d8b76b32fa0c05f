//! Nothing is allocated or freed while threads are held: one of them may hold the allocator's lock.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "a global allocator with one lock")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

use common::{Worker, is_needed};

/// Allocates with one lock for all threads, and holds it for a while.
struct OneLock(Mutex<()>);

impl OneLock {
    fn locked<T>(&self, work: impl FnOnce() -> T) -> T {
        let _lock = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work();
        for _ in 0..100 {
            std::hint::spin_loop();
        }
        result
    }
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for OneLock {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract.
        self.locked(|| unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        self.locked(|| unsafe { System.dealloc(pointer, layout) });
    }
}

#[global_allocator]
static ALLOCATOR: OneLock = OneLock(Mutex::new(()));

#[test]
fn a_hold_in_a_storm_of_allocations_needs_no_allocator() {
    let _storm = [(); 2].map(|()| {
        Worker::spawn(|released| {
            while is_needed(&released) {
                drop(black_box(Box::new(1)));
            }
        })
    });
    let mut stopped_in_the_allocator = 0;
    while stopped_in_the_allocator < 50 {
        // It fails when it has to wait for one that is held.
        let held = common::hold(&[]);
        let whole = held.is_whole();
        stopped_in_the_allocator += i32::from(ALLOCATOR.0.try_lock().is_err());
        drop(held);
        assert!(whole);
    }
}
