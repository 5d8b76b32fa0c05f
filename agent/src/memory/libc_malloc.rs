//! `malloc` of the C library, which is what `std::alloc::System` uses.
//!
//! Only glibc says anything of it. Its functions are looked for at run time: a program that is
//! linked to `mallinfo2` does not start where glibc is older than 2.33, and musl has none of them.
//!
//! `mallinfo2` takes the lock of one arena after the other and walks its lists of free pieces meanwhile, a cache miss
//! or two for each; `malloc_trim` does so and gives back the whole pages in each. A thread that allocates in that
//! arena and finds nothing in its own cache waits as long: a GiB of which half is free in small pieces takes seconds,
//! in pieces of some kilobytes a tenth of a second. So the figures of a large heap are left out unless somebody wants
//! them at that price. Neither takes a second lock of that kind or calls back, and who holds such a lock is inside
//! `malloc` and waits for nobody, so there is no circle. A thread that rtops stops for a copy of the process while it
//! is inside `malloc` delays both by that pause, as it goes on by itself.
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
    /// Anonymous memory, in KiB, that a heap is small with: a walk takes some ten milliseconds, or
    /// a few hundred if all of it is free in the smallest pieces.
    const SMALL: u64 = 256 << 10;

    /// What it says of its heap.
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
            // SAFETY: a function of this name in any library is glibc's or stands in for it: no
            // argument, and this struct as its result.
            let mallinfo2: extern "C" fn() -> libc::mallinfo2 =
                unsafe { transmute::<*const c_void, _>(address) };
            fill(allocator, &mallinfo2());
            if !in_one_object(exported(c"malloc"), address) {
                let note = "another library's malloc is used in place of it";
                allocator.notes.push(note.to_owned());
            }
        })
    }

    /// Anonymous memory of this process, in KiB: no heap has more of it in memory.
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

    /// Gives back whole pages inside of free pieces, and the top of the heap.
    pub(in crate::memory) fn trim() -> Option<TrimCall> {
        let address = exported(c"malloc_trim");
        if address.is_null() {
            return None;
        }
        // SAFETY: a function of this name in any library is glibc's or stands in for it: the bytes
        // to leave at the top, and whether there was something to give back.
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
