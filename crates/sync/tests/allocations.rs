//! Locks allocate nothing while nobody waits for them.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used)]
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use rtops_sync::{Mutex, MutexGuard, RwLock, Semaphore};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
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

fn now<F: Future>(future: F) -> F::Output {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("somebody holds the lock"),
    }
}

/// The only test of this binary, as others would allocate meanwhile.
#[test]
fn a_lock_that_nobody_waits_for_allocates_nothing() {
    let mutex = Arc::new(Mutex::new((1, 2)));
    let lock = Arc::new(RwLock::new(0));
    let semaphore = Arc::new(Semaphore::new(9));
    let count = || {
        let before = ALLOCATIONS.load(Relaxed);
        for _ in 0..100 {
            drop(now(mutex.lock()));
            drop(mutex.blocking_lock());
            drop(MutexGuard::map(mutex.try_lock().unwrap(), |pair| {
                &mut pair.0
            }));
            drop(now(mutex.clone().lock_owned()));
            let held = mutex.try_lock().unwrap();
            assert!(mutex.try_lock().is_err());
            drop(held);
            let readers = [
                now(lock.read()),
                now(lock.read()),
                now(lock.read()),
                now(lock.read()),
            ];
            drop(readers);
            drop(now(lock.write()).downgrade());
            let mut permit = now(semaphore.acquire_many(3)).unwrap();
            let part = permit.split(1);
            drop((permit, part));
            drop(now(semaphore.clone().acquire_owned()).unwrap());
        }
        ALLOCATIONS.load(Relaxed) - before
    };
    // The first round may set up things that a thread allocates only once.
    count();
    assert_eq!(count(), 0);
}
