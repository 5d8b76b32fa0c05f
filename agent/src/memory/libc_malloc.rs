//! `malloc` of the C library, which `std::alloc::System` uses.
//!
//! Only glibc reports anything about it. Its functions are looked up at run time: a program that is
//! linked to `mallinfo2` does not start with glibc before 2.33, and musl has none of them.
//!
//! `mallinfo2` locks one arena after the other and walks its lists of free chunks meanwhile, which
//! costs a cache miss or two per chunk. `malloc_trim` does the same and gives back the whole pages
//! in each chunk. A thread that allocates in that arena and finds nothing in its own cache has to
//! wait. A GiB of which half is free takes seconds if the chunks are small, and a tenth of a second
//! if they are a few kilobytes. So the figures of a large heap are left out unless somebody asks
//! for them at that price.
//!
//! Neither function takes a second arena lock or calls back, and a thread that holds an arena lock
//! is inside `malloc` and waits for nobody, so there is no deadlock. If rtops stops a thread inside
//! `malloc` to copy the process, both are delayed by that pause; the thread then goes on.
#![expect(unsafe_code, reason = "functions of libc that are found at run time")]

#[cfg(target_env = "gnu")]
pub(super) use gnu::{figures, trim};

#[cfg(target_env = "gnu")]
mod gnu {
    use std::{
        ffi::{c_int, c_void},
        fs,
        mem::transmute,
    };

    use rtops_protocol::{Allocator, HeapWalk, TrimCall};

    use crate::memory::{
        ask, bytes, count, give_back,
        symbols::{exported, in_one_object},
    };

    const NAME: &str = "glibc malloc";
    /// The anonymous memory up to which a heap is small, in KiB. A walk of it takes tens of
    /// milliseconds, or a few hundred if all of it is free in the smallest chunks.
    const SMALL: u64 = 256 << 10;

    /// Returns what glibc reports about its heap.
    pub(in crate::memory) fn figures(walk: HeapWalk) -> Allocator {
        ask(NAME, |allocator| {
            let address = exported(c"mallinfo2");
            if address.is_null() {
                let note = "this glibc is older than 2.33, which has no figures of its heap";
                allocator.notes.push(note.to_owned());
                return;
            }
            if walk == HeapWalk::IfSmall && anonymous().is_none_or(|kibibytes| kibibytes > SMALL) {
                let note = "it was not asked, as the heap may be large and threads that allocate \
                            wait meanwhile; `rtops memstats --walk` asks it all the same";
                allocator.notes.push(note.to_owned());
                return;
            }
            // SAFETY: a function of this name is glibc's, or replaces it: it takes no argument
            // and returns this struct.
            let mallinfo2: extern "C" fn() -> libc::mallinfo2 =
                unsafe { transmute::<*const c_void, _>(address) };
            fill(allocator, &mallinfo2());
            if !in_one_object(exported(c"malloc"), address) {
                let note = "another library's malloc is used in place of it";
                allocator.notes.push(note.to_owned());
            }
        })
    }

    /// Returns the anonymous memory of this process, in KiB, which no heap in memory exceeds.
    fn anonymous() -> Option<u64> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix("RssAnon:"))?;
        value.split_ascii_whitespace().next()?.parse().ok()
    }

    fn fill(allocator: &mut Allocator, info: &libc::mallinfo2) {
        let size = |size: usize| size as u64;
        allocator.held = Some(size(info.arena.saturating_add(info.hblkhd)));
        allocator.in_use = Some(size(info.uordblks.saturating_add(info.hblkhd)));
        allocator.kept = Some(size(info.fordblks));
        allocator.figures = vec![
            bytes("mapped one by one", size(info.hblkhd)),
            count("blocks mapped one by one", size(info.hblks)),
            count("free pieces", size(info.ordblks)),
            bytes("free at the top", size(info.keepcost)),
        ];
    }

    /// Gives back the whole pages inside free chunks, and the top of the heap.
    pub(in crate::memory) fn trim() -> Option<TrimCall> {
        let address = exported(c"malloc_trim");
        if address.is_null() {
            return None;
        }
        // SAFETY: a function of this name is glibc's, or replaces it: it takes the number of bytes
        // to leave at the top, and returns whether there was something to give back.
        let malloc_trim: extern "C" fn(usize) -> c_int =
            unsafe { transmute::<*const c_void, _>(address) };
        Some(give_back(NAME, "malloc_trim(0)", || {
            malloc_trim(0);
            Ok(())
        }))
    }
}

#[cfg(not(target_env = "gnu"))]
pub(super) fn figures(_: rtops_protocol::HeapWalk) -> rtops_protocol::Allocator {
    super::ask("malloc", |allocator| {
        let note = "this C library has no figures of its heap";
        allocator.notes.push(note.to_owned());
    })
}

#[cfg(not(target_env = "gnu"))]
pub(super) fn trim() -> Option<rtops_protocol::TrimCall> {
    None
}
