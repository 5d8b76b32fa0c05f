//! Catching wakers that are cloned, in the copy.
//!
//! The function that tokio's wakers have for that is diverted to [`entry`], which notes the stack.
//! A leaf that is polled again clones only if its waker is another one, so every waker that is
//! stored anywhere gets another vtable, equal but for its address.
//!
//! [`caught`] runs inside of polls, with any lock held: it uses atomics, and sends a record.
#![expect(unsafe_code, reason = "a function that replaces another one")]

use std::{
    arch::naked_asm,
    ptr,
    sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering::Relaxed},
    task::{RawWaker, RawWakerVTable},
};

use rtops_snapshot::{Copy, Poller};

use super::memory::{Memory, read, write};
use crate::{
    layout::{CLONE, REFERENCE, STATE, WAKER_WORDS},
    record::Tag,
};

/// A longer stack is cut here, in bytes.
const LONGEST: usize = 256 << 10;

/// The stack and frame pointer when the function was entered.
static STACK: AtomicUsize = AtomicUsize::new(0);
static FRAME: AtomicUsize = AtomicUsize::new(0);
/// Where the function begins that is replaced.
static CLONES: AtomicUsize = AtomicUsize::new(0);
/// The vtable that all stored wakers have now.
static VTABLE: AtomicPtr<RawWakerVTable> = AtomicPtr::new(ptr::null_mut());
/// The number of the cell that is polled, and who sends; no number while nothing is to be noted.
static CELL: AtomicU64 = AtomicU64::new(NOBODY);
static COPY: AtomicPtr<Copy<'static>> = AtomicPtr::new(ptr::null_mut());
const NOBODY: u64 = u64::MAX;

/// Puts the hook in place: `vtable` is that of tokio's wakers, `other` memory for its double.
pub(super) fn install(
    copy: &mut Copy<'_>,
    vtable: usize,
    other: &'static mut [u64],
    pages: &mut [u64],
) -> Option<()> {
    let double = other.get_mut(..WAKER_WORDS)?;
    {
        let memory = Memory { copy };
        for (word, place) in double.iter_mut().enumerate() {
            *place = memory.word(vtable + 8 * word)? as u64;
        }
        let double = double.as_ptr().addr();
        memory.each_piece(pages, |piece| {
            for (address, word) in piece.words(8) {
                if word == vtable {
                    // SAFETY: a word of private memory. Where it is not that of a waker, it is stale,
                    // or the process does not care for its value: nothing else points there.
                    unsafe { write(address, double) };
                }
            }
        });
    }
    let clones = double
        .get(CLONE)
        .copied()
        .and_then(|word| usize::try_from(word).ok())?;
    CLONES.store(clones, Relaxed);
    VTABLE.store(double.as_mut_ptr().cast(), Relaxed);
    // SAFETY: it is tokio's function of that kind, as the canaries will show, and no shorter than the
    // count of references takes; `entry` does the same.
    unsafe { copy.divert(clones, entry as *const () as usize) }
}

/// Runs a poll of this cell, noting what it registers.
pub(super) fn noting<R>(copy: *const Copy<'_>, cell: u64, poll: impl FnOnce() -> R) -> R {
    COPY.store(copy.cast_mut().cast(), Relaxed);
    CELL.store(cell, Relaxed);
    let result = poll();
    CELL.store(NOBODY, Relaxed);
    result
}

/// Keeps the registers, and goes on in [`caught`].
#[unsafe(naked)]
unsafe extern "C" fn entry() {
    naked_asm!(
        "mov qword ptr [rip + {stack}], rsp",
        "mov qword ptr [rip + {frame}], rbp",
        "jmp {caught}",
        stack = sym STACK,
        frame = sym FRAME,
        caught = sym caught,
    )
}

/// Does what tokio does for a waker that is cloned, and notes the stack.
unsafe fn caught(header: *const ()) -> RawWaker {
    // SAFETY: what tokio's function takes is the header, whose state counts the references.
    unsafe {
        let state = header.addr() + STATE;
        write(state, read(state).wrapping_add(REFERENCE));
    }
    note();
    // SAFETY: the double lives as long as the copy.
    let vtable = unsafe { &*VTABLE.load(Relaxed) };
    RawWaker::new(header, vtable)
}

fn note() {
    let (cell, stack) = (CELL.load(Relaxed), STACK.load(Relaxed));
    let Some(base) = Poller::base().filter(|base| cell != NOBODY && stack < *base) else {
        return;
    };
    let words = [
        Tag::Leaf as u64,
        cell,
        CLONES.load(Relaxed) as u64,
        stack as u64,
        FRAME.load(Relaxed) as u64,
        base as u64,
    ];
    // SAFETY: from the stack pointer at the entry up to the base of the poll it is this stack.
    let bytes = unsafe {
        let start = ptr::with_exposed_provenance::<u8>(stack);
        std::slice::from_raw_parts(start, (base - stack).min(LONGEST))
    };
    // SAFETY: `noting` was called with a copy that lives until the poll is over.
    if let Some(copy) = unsafe { COPY.load(Relaxed).as_ref() } {
        copy.send(&[super::bytes(&words), bytes]);
    }
}
