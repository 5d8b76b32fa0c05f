//! The allocator that counts.
#![expect(
    unsafe_code,
    reason = "an allocator is an unsafe trait; each call is passed on as it came"
)]

use std::alloc::{GlobalAlloc, Layout};

use super::tally::Shard;

/// Passes each call on to another allocator and counts what it did.
///
/// It takes no lock, allocates nothing and needs no destructor when a thread ends, so that it works
/// wherever the allocator inside does: before `main`, in threads that end, and in a signal handler.
/// A block costs two additions when it comes and two when it goes, some nanoseconds, to numbers that
/// few threads share; they are 66 KiB in all. A failed call counts as none.
///
/// The numbers are those of the process: of two such allocators, the sum.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting<A>(A);

impl<A> Counting<A> {
    /// Counts what this allocator does.
    pub const fn new(inner: A) -> Self {
        Self(inner)
    }
}

// SAFETY: each method gives the caller what the allocator inside answers to the same call, which
// has the same contract. Counting touches atomics and a thread-local without a destructor: it
// neither allocates nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`, which is that of the one inside.
        let block = unsafe { self.0.alloc(layout) };
        if !block.is_null() {
            Shard::mine().comes(layout.size());
        }
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is that of the one inside.
        let block = unsafe { self.0.alloc_zeroed(layout) };
        if !block.is_null() {
            Shard::mine().comes(layout.size());
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        Shard::mine().goes(layout.size());
        // SAFETY: the block came from the allocator inside, as all that this one gives out do, and
        // the layout is the one that it came with.
        unsafe { self.0.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the block came from the allocator inside, with this layout, and the caller keeps
        // the contract about the new size.
        let moved = unsafe { self.0.realloc(block, layout, new_size) };
        if !moved.is_null() {
            Shard::mine().changes(layout.size(), new_size);
        }
        moved
    }
}
