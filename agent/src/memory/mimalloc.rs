//! mimalloc, linked by the crate of that name or brought in by a library.
//!
//! A release build does not count what is in use. Each thread has a heap of its own, which no other
//! thread can touch. So only shared memory, what ended threads left, and the heap of the calling
//! thread are given back. Neither call takes a lock that threads wait for.
#![expect(unsafe_code, reason = "functions in C that are found at run time")]

use std::{ffi::c_void, mem::transmute, ptr::null_mut};

use rtops_protocol::{Allocator, TrimCall};

use super::{
    ask, bytes, give_back,
    symbols::exported,
    weak::{first, weak},
};

const NAME: &str = "mimalloc";

/// Arguments: elapsed, user and system time in milliseconds; resident bytes, now and peak;
/// committed bytes, now and peak; page faults.
type ProcessInfo = unsafe extern "C" fn(
    *mut usize,
    *mut usize,
    *mut usize,
    *mut usize,
    *mut usize,
    *mut usize,
    *mut usize,
    *mut usize,
);

/// Returns what mimalloc reports about its heap, if it is there.
pub(super) fn figures() -> Option<Allocator> {
    let address = first([weak!("mi_process_info"), exported(c"mi_process_info")])?;
    // SAFETY: the name is mimalloc's own, and the function has had this type since version 1.
    let process_info = unsafe { transmute::<*const c_void, ProcessInfo>(address) };
    Some(ask(NAME, |allocator| {
        let mut committed = 0;
        let mut most_committed = 0;
        let unwanted = null_mut();
        // SAFETY: two of the pointers are to a `size_t` to write to; null means that a
        // figure is not wanted.
        unsafe {
            process_info(
                unwanted,
                unwanted,
                unwanted,
                unwanted,
                unwanted,
                &raw mut committed,
                &raw mut most_committed,
                unwanted,
            );
        }
        allocator.held = Some(committed as u64);
        allocator.figures = vec![bytes("committed at most", most_committed as u64)];
        let note = "it does not count what is in use; `rtops_agent::alloc::Counting` does";
        allocator.notes.push(note.to_owned());
    }))
}

/// Gives back what it can, if mimalloc is there.
pub(super) fn trim() -> Option<TrimCall> {
    let address = first([weak!("mi_collect"), exported(c"mi_collect")])?;
    // SAFETY: the name is mimalloc's own, and the function has had this type since version 1.
    let collect = unsafe { transmute::<*const c_void, extern "C" fn(bool)>(address) };
    Some(give_back(NAME, "mi_collect(true)", || {
        collect(true);
        Ok(())
    }))
}
