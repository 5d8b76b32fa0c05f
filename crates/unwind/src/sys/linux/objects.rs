//! Walking the dynamic loader's list: the only unsafe code of this crate.
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

/// More program headers than this are not believed.
const MAX_HEADERS: usize = 256;

/// One entry of the loader's list. It borrows from the loader and lives as long as the callback.
pub(super) struct Object<'a> {
    pub(super) name: &'a [u8],
    pub(super) load_bias: u64,
    pub(super) headers: &'a [Elf64_Phdr],
    pub(super) kind: ModuleKind,
}

impl<'a> Object<'a> {
    /// The memory at these addresses (as the file states them), if it lies in one readable segment.
    pub(super) fn bytes(&self, svma: Range<u64>) -> Option<&'a [u8]> {
        let (address, len) = self.place(svma)?;
        // SAFETY: `place` checked that the range lies inside a readable PT_LOAD segment. The loader
        // mapped that segment and, as its lock is held while an `Object` exists, won't unmap it.
        // Unwind tables and notes are in read-only segments that nobody writes to.
        Some(unsafe { std::slice::from_raw_parts(address, len) })
    }

    /// As [`Object::bytes`], for as long as the process lives: of the main executable only.
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
        // `isize::MAX` bounds every slice, and the segment must not wrap around.
        isize::try_from(len).ok()?;
        address.checked_add(svma.end - svma.start)?;
        let address = usize::try_from(address)
            .ok()
            .filter(|&address| address != 0)?;
        Some((std::ptr::with_exposed_provenance(address), len))
    }
}

/// Calls `visit` for every loaded object while the loader's lock is held: `visit` must not allocate
/// and must not panic.
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

/// How often modules came and went; `None` when this libc doesn't say.
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
    // SAFETY: the loader passes a valid `info` whose first `size` bytes are set, checked above to
    // reach past the fields read below; all fields up to there exist in every libc.
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
    // SAFETY: the loader says that `count` program headers are there, for as long as it is locked.
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
