//! The counting allocator.
#![expect(
    unsafe_code,
    reason = "an allocator is an unsafe trait; each call is passed on as it came"
)]

use std::alloc::{GlobalAlloc, Layout};

use super::tally::Shard;

/// Passes each call on to another allocator and counts what it did.
///
/// It takes no lock, allocates nothing and needs no destructor when a thread ends. So it works
/// wherever the inner allocator does: before `main`, in threads that are ending, and in a
/// signal handler. A block costs two additions when it is allocated and two when it is freed, a
/// few nanoseconds, to counters that few threads share. The counters take 66 KiB in all. A
/// failed call is not counted.
///
/// The counts are for the whole process: two such allocators add to the same ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting<A>(A);

impl<A> Counting<A> {
    /// Creates an allocator that counts what `inner` does.
    pub const fn new(inner: A) -> Self {
        Self(inner)
    }
}

// SAFETY: each method returns what the inner allocator returns for the same call, which has the
// same contract. Counting touches atomics and a thread-local without a destructor: it neither
// allocates nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`, which is the inner allocator's.
        let block = unsafe { self.0.alloc(layout) };
        if !block.is_null() {
            Shard::mine().comes(layout.size());
        }
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the inner allocator's.
        let block = unsafe { self.0.alloc_zeroed(layout) };
        if !block.is_null() {
            Shard::mine().comes(layout.size());
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        Shard::mine().goes(layout.size());
        // SAFETY: the block came from the inner allocator, as all blocks from this one
        // do, with this layout.
        unsafe { self.0.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the block came from the inner allocator, with this layout, and the caller keeps
        // the contract about the new size.
        let moved = unsafe { self.0.realloc(block, layout, new_size) };
        if !moved.is_null() {
            Shard::mine().changes(layout.size(), new_size);
        }
        moved
    }
}
