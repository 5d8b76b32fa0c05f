//! A claimed length allocates nothing before the bytes are there.
//!
//! This is the only test, because the counting allocator counts for the whole process.
#![allow(clippy::unwrap_used)]
#![expect(unsafe_code, reason = "an allocator that counts has to be one")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
};

use rtops_protocol::{FrameKind, MAX_REPLY, Reply, Request, write_frame};

struct Counting;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System.alloc` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns a length in the codec's form: 253 and eight bytes.
fn claim(length: u64) -> Vec<u8> {
    let mut bytes = vec![253];
    bytes.extend(length.to_le_bytes());
    bytes
}

#[test]
fn allocations_stay_below_what_a_frame_may_hold() {
    // The largest legitimate allocation: items several times as large in memory as on the wire.
    let limit = 16 * MAX_REPLY as usize;
    let kinds = [FrameKind::REQUEST, FrameKind::REPLY, FrameKind::TRACE_PART];
    for kind in kinds {
        for length in [1 << 16, 1 << 20, 1 << 32, 1 << 40, u64::MAX] {
            // There are fewer messages than that.
            for (first, lead) in (0..32).flat_map(|first| [(first, 0), (first, 1), (first, 3)]) {
                let mut body = vec![first];
                body.extend(vec![0; lead]);
                body.extend(claim(length));
                // Zero bytes make the shortest possible items.
                body.resize(200_000, 0);
                let mut frame = Vec::new();
                write_frame(&mut frame, kind, &body).unwrap();
                LARGEST.store(0, Ordering::Relaxed);
                drop(Reply::receive(&mut frame.as_slice()));
                drop(Request::receive(&mut frame.as_slice()));
                let largest = LARGEST.load(Ordering::Relaxed);
                assert!(
                    largest <= limit,
                    "{kind:?}, message {first}, claim {length}: {largest} bytes"
                );
            }
        }
    }
}
