//! Walks the dynamic loader's list.
#![expect(
    unsafe_code,
    reason = "dl_iterate_phdr hands out raw pointers to headers and segments"
)]

use std::{
    ffi::{CStr, c_int, c_void},
    mem::offset_of,
    ops::Range,
};

use libc::{Elf64_Phdr, dl_phdr_info};

use super::elf;
use crate::{ModuleKind, sys::Generation};

/// The most program headers of a plausible object.
const MAX_HEADERS: usize = 256;

/// An entry of the loader's list. It borrows from the loader and lives as long as the callback.
pub(super) struct Object<'a> {
    pub(super) name: &'a [u8],
    pub(super) load_bias: u64,
    pub(super) headers: &'a [Elf64_Phdr],
    pub(super) kind: ModuleKind,
}

impl<'a> Object<'a> {
    /// Returns the memory at these addresses (as stated in the file), if
    /// it lies in one readable segment.
    pub(super) fn bytes(&self, svma: Range<u64>) -> Option<&'a [u8]> {
        let (address, len) = self.place(svma)?;
        // SAFETY: `place` checked that the range lies inside a readable PT_LOAD segment. The loader
        // mapped that segment and won't unmap it, because its lock is held while an `Object`
        // exists. Unwind tables and notes are in read-only segments that nobody writes to.
        Some(unsafe { std::slice::from_raw_parts(address, len) })
    }

    /// Like [`Object::bytes`], but for as long as the process lives: only for the main executable.
    pub(super) fn static_bytes(&self, svma: Range<u64>) -> Option<&'static [u8]> {
        if self.kind != ModuleKind::MainExecutable {
            return None;
        }
        let (address, len) = self.place(svma)?;
        // SAFETY: as in `bytes`; and the main executable's segments stay mapped until exec or exit.
        Some(unsafe { std::slice::from_raw_parts(address, len) })
    }

    fn place(&self, svma: Range<u64>) -> Option<(*const u8, usize)> {
        let segment = elf::segment_of(self.headers, svma.start)?;
        if svma.end > segment.end || svma.start > svma.end {
            return None;
        }
        let address = self.load_bias.wrapping_add(svma.start);
        let len = usize::try_from(svma.end - svma.start).ok()?;
        // No slice is longer than `isize::MAX`, and the segment must not wrap around.
        isize::try_from(len).ok()?;
        address.checked_add(svma.end - svma.start)?;
        let address = usize::try_from(address)
            .ok()
            .filter(|&address| address != 0)?;
        Some((std::ptr::with_exposed_provenance(address), len))
    }
}

/// Calls `visit` for every loaded object while the loader's lock is
/// held, so `visit` must neither allocate nor panic.
pub(super) fn for_each<F: FnMut(&Object<'_>)>(visit: F) {
    let mut walk = Walk {
        visit,
        // SAFETY: getauxval has no preconditions.
        main_headers: unsafe { libc::getauxval(libc::AT_PHDR) },
        // SAFETY: as above.
        vdso: unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) },
    };
    // SAFETY: the callback's type matches `Walk<F>`, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(on_object::<F>), (&raw mut walk).cast()) };
}

/// Returns how often modules were loaded and unloaded; `None` if this libc doesn't report it.
pub(super) fn generation() -> Option<Generation> {
    let mut generation = None;
    // SAFETY: the callback expects a pointer to an `Option<Generation>`, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(on_first), (&raw mut generation).cast()) };
    generation
}

struct Walk<F> {
    visit: F,
    main_headers: u64,
    vdso: u64,
}

unsafe extern "C" fn on_object<F: FnMut(&Object<'_>)>(
    info: *mut dl_phdr_info,
    size: usize,
    walk: *mut c_void,
) -> c_int {
    if size < offset_of!(dl_phdr_info, dlpi_adds) {
        return 1;
    }
    // SAFETY: the loader passes a valid `info` whose first `size` bytes are set. The check above
    // ensures that they include the fields read below, which exist in every libc.
    let (bias, name, headers, count) = unsafe {
        (
            (*info).dlpi_addr,
            (*info).dlpi_name,
            (*info).dlpi_phdr,
            usize::from((*info).dlpi_phnum),
        )
    };
    // SAFETY: `for_each` passed a `Walk<F>` of the same `F` and doesn't touch it meanwhile.
    let walk = unsafe { &mut *walk.cast::<Walk<F>>() };
    if headers.is_null() || count > MAX_HEADERS {
        return 0;
    }
    let name = if name.is_null() {
        &[]
    } else {
        // SAFETY: a non-null `dlpi_name` is a C string that lives as long as the object is loaded.
        unsafe { CStr::from_ptr(name) }.to_bytes()
    };
    let is_main = headers.addr() as u64 == walk.main_headers;
    // SAFETY: the loader says that there are `count` program headers, for as long as it is locked.
    let headers = unsafe { std::slice::from_raw_parts(headers, count) };
    let vdso = walk.vdso.wrapping_sub(bias);
    let kind = if is_main {
        ModuleKind::MainExecutable
    } else if walk.vdso != 0 && elf::segment_of(headers, vdso).is_some() {
        ModuleKind::Vdso
    } else {
        ModuleKind::Library
    };
    (walk.visit)(&Object {
        name,
        load_bias: bias,
        headers,
        kind,
    });
    0
}

unsafe extern "C" fn on_first(info: *mut dl_phdr_info, size: usize, result: *mut c_void) -> c_int {
    if size >= offset_of!(dl_phdr_info, dlpi_subs) + size_of::<u64>() {
        // SAFETY: `info` is valid for `size` bytes, which contain both counters; `generation`
        // passed a pointer to an `Option<Generation>`.
        unsafe {
            let generation = Generation {
                added: (*info).dlpi_adds,
                removed: (*info).dlpi_subs,
            };
            *result.cast::<Option<Generation>>() = Some(generation);
        }
    }
    1
}
