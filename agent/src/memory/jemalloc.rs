//! jemalloc, linked by `tikv-jemallocator` or brought in by a library.
//!
//! All calls go through its one function `mallctl`. Refreshing the figures takes the locks of each
//! arena for a moment, and purging takes those of one arena's free pages. A thread that allocates
//! small blocks has a cache of its own and seldom waits.
#![expect(unsafe_code, reason = "a function in C that is found at run time")]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    mem::transmute,
    ptr,
};

use rtops_protocol::{Allocator, TrimCall};

use super::{
    ask, bytes, count, give_back,
    symbols::exported,
    weak::{first, weak},
};

const NAME: &str = "jemalloc";

type Mallctl = unsafe extern "C" fn(
    name: *const c_char,
    old: *mut c_void,
    old_length: *mut usize,
    new: *mut c_void,
    new_length: usize,
) -> c_int;

/// Returns what jemalloc reports about its heap, if it is there.
pub(super) fn figures() -> Option<Allocator> {
    let jemalloc = Jemalloc::find()?;
    Some(ask(NAME, |allocator| jemalloc.fill(allocator)))
}

/// Gives back the free pages of all arenas, if jemalloc is there.
pub(super) fn trim() -> Option<TrimCall> {
    let jemalloc = Jemalloc::find()?;
    // 4096 stands for all arenas (`MALLCTL_ARENAS_ALL`).
    Some(give_back(NAME, "arena.4096.purge", || {
        jemalloc.call(c"arena.4096.purge")
    }))
}

struct Jemalloc(Mallctl);

impl Jemalloc {
    fn find() -> Option<Self> {
        let address = first([
            weak!("_rjem_mallctl"),
            weak!("mallctl"),
            exported(c"mallctl"),
        ])?;
        // SAFETY: both names are jemalloc's own names for this function.
        Some(Self(unsafe {
            transmute::<*const c_void, Mallctl>(address)
        }))
    }

    fn fill(&self, allocator: &mut Allocator) {
        // Without this, the figures are those of the last request. Version 5 and later.
        self.refresh();
        let page = self.size(c"arenas.page").unwrap_or(0);
        let pages = |name| Some(self.size(name)?.saturating_mul(page));
        let active = pages(c"stats.arenas.4096.pactive");
        let dirty = pages(c"stats.arenas.4096.pdirty");
        let muzzy = pages(c"stats.arenas.4096.pmuzzy");
        let metadata = self.size(c"stats.metadata");
        let allocated = self.size(c"stats.allocated");
        if active.is_none() {
            let note = "it is older than version 5, and says nothing";
            allocator.notes.push(note.to_owned());
            return;
        }
        allocator.kept = dirty.map(|dirty| dirty.saturating_add(muzzy.unwrap_or(0)));
        allocator.in_use = allocated.or(active);
        let parts = [active, allocator.kept, metadata];
        allocator.held = Some(parts.into_iter().flatten().fold(0, u64::saturating_add));
        if allocated.is_none() {
            let note = "it was built without statistics: what is in use counts whole pages; the \
                        feature `stats` of tikv-jemallocator makes it exact";
            allocator.notes.push(note.to_owned());
        }
        let named = [
            ("pages in use", active),
            ("dirty pages", dirty),
            ("muzzy pages", muzzy),
            ("metadata", metadata),
            ("mapped", self.size(c"stats.mapped")),
            ("retained", self.size(c"stats.retained")),
        ];
        let named = named.into_iter();
        let figures = named.filter_map(|(name, value)| Some(bytes(name, value?)));
        allocator.figures = figures.collect();
        let arenas = self.number(c"arenas.narenas");
        allocator
            .figures
            .extend(arenas.map(|arenas| count("arenas", arenas)));
    }

    fn refresh(&self) {
        let mut epoch = 1_u64;
        // SAFETY: the name ends with a zero byte, and its value is a u64, which is read
        // from `epoch`.
        unsafe {
            (self.0)(
                c"epoch".as_ptr(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::from_mut(&mut epoch).cast(),
                size_of::<u64>(),
            );
        }
    }

    /// Calls a command that takes and returns nothing.
    fn call(&self, name: &CStr) -> Result<(), i32> {
        // SAFETY: the name ends with a zero byte, and null means that nothing is taken or returned.
        let status = unsafe {
            (self.0)(
                name.as_ptr(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                0,
            )
        };
        if status == 0 { Ok(()) } else { Err(status) }
    }

    /// Reads a `size_t`.
    fn size(&self, name: &CStr) -> Option<u64> {
        self.read::<usize>(name)?.try_into().ok()
    }

    /// Reads an `unsigned`.
    fn number(&self, name: &CStr) -> Option<u64> {
        self.read::<u32>(name).map(u64::from)
    }

    /// Reads a figure. Returns `None` if there is none of this name, or it has another size.
    fn read<T: Copy + Default>(&self, name: &CStr) -> Option<T> {
        let mut value = T::default();
        let mut length = size_of::<T>();
        // SAFETY: the name ends with a zero byte, and no more than `length` bytes are written, to
        // an integer, for which any bytes are valid.
        let status = unsafe {
            (self.0)(
                name.as_ptr(),
                ptr::from_mut(&mut value).cast(),
                &raw mut length,
                ptr::null_mut(),
                0,
            )
        };
        (status == 0 && length == size_of::<T>()).then_some(value)
    }
}
