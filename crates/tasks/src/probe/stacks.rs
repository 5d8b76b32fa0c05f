//! Where a thread's own stack is, and how to read another one.
//!
//! A future may be polled on a stack that is not its thread's: coroutines, such as the fibers of
//! wasmtime, have stacks of their own, and nobody says where these end. The memory next to one may
//! be unmapped at any time, so only the kernel can read it.
#![expect(
    unsafe_code,
    reason = "pthread's attributes of a thread, and system calls that read memory"
)]

#[cfg(target_os = "linux")]
use std::{fs, mem::MaybeUninit, ptr};

use crate::local::Local;

/// How often a thread looks for its stack. The main thread's grows.
const MAX_LOOKS: u8 = 8;

/// A part of a thread's own stack that is mapped while the thread runs. Empty if not known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnStack {
    low: u64,
    high: u64,
    looks: u8,
}

impl OwnStack {
    pub(crate) const UNKNOWN: Self = Self {
        low: 0,
        high: 0,
        looks: 0,
    };

    /// Whether everything from `sp` to `end` is in it.
    pub(super) const fn holds(self, sp: u64, end: u64) -> bool {
        self.low <= sp && sp <= end && end < self.high
    }
}

/// Finds this thread's own stack if needed, and returns whether the caller is on it.
///
/// Not for use in `Waker::clone`: it may allocate, and on the main thread it reads /proc/self/maps.
#[inline(never)]
pub(super) fn look(local: &Local) -> bool {
    let here = 0_u8;
    let here = std::hint::black_box(&raw const here).addr() as u64;
    let known = local.own_stack.get();
    if known.holds(here, here) {
        return true;
    }
    if known.looks == MAX_LOOKS {
        return false;
    }
    let (low, high) = own_stack(local).unwrap_or_default();
    let found = OwnStack {
        low,
        high,
        looks: known.looks + 1,
    };
    local.own_stack.set(found);
    found.holds(here, here)
}

#[cfg(target_os = "linux")]
fn own_stack(local: &Local) -> Option<(u64, u64)> {
    if u32::try_from(local.tid()) == Ok(std::process::id()) {
        main_stack(&fs::read("/proc/self/maps").ok()?)
    } else {
        thread_stack()
    }
}

#[cfg(not(target_os = "linux"))]
fn own_stack(_: &Local) -> Option<(u64, u64)> {
    None
}

/// Finds the stack that the kernel made, as far as it has grown. Its size limit would not do, as
/// other memory may be mapped in its way later.
#[cfg(target_os = "linux")]
fn main_stack(maps: &[u8]) -> Option<(u64, u64)> {
    let stack = rtops_types::MapsLine::all(maps).find(|line| line.name == b"[stack]")?;
    Some((stack.addresses.start, stack.addresses.end))
}

/// Finds the stack that pthread_create made or was given. All of it is mapped.
#[cfg(target_os = "linux")]
fn thread_stack() -> Option<(u64, u64)> {
    let mut attributes = MaybeUninit::uninit();
    let (mut low, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the attributes are read and destroyed only if they were filled in, and all
    // pointers are to locals.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let found =
            libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut size) == 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        if !found {
            return None;
        }
    }
    let low = low.addr() as u64;
    Some((low, low.checked_add(size as u64)?))
}

/// Copies up to `words` words from `sp` on, on a stack about which nothing is known but that this
/// thread runs on it. Returns how many could be read.
///
/// If the kernel can't be asked, copies only words in the page of `sp`.
///
/// # Safety
/// The page of `sp` is mapped and stays so, as for a stack pointer, and `words` words
/// are writable at `to`.
pub(super) unsafe fn copy_other(sp: u64, to: *mut u64, words: usize) -> usize {
    // SAFETY: the caller's promise is passed on.
    let by_kernel = unsafe { copy_by_kernel(sp, to, words) };
    if by_kernel > 0 {
        return by_kernel;
    }
    let words = words.min(words_in_page(sp));
    // SAFETY: these words are in the page of `sp`, and the caller vouches for that and for `to`.
    unsafe { super::arch::copy_words(sp, to, words) };
    words
}

/// Returns the number of whole words from `sp` to the end of its page. No page is
/// smaller than 4096.
fn words_in_page(sp: u64) -> usize {
    const PAGE: u64 = 4096;
    usize::try_from((PAGE - sp % PAGE) / size_of::<u64>() as u64).unwrap_or(0)
}

/// Asks the kernel to copy, which stops at unmapped memory. Copies nothing if system calls are
/// filtered, as the filter might end the process for this call.
///
/// # Safety
/// `words` words are writable at `to`.
#[cfg(target_os = "linux")]
unsafe fn copy_by_kernel(sp: u64, to: *mut u64, words: usize) -> usize {
    let Ok(from) = usize::try_from(sp) else {
        return 0;
    };
    let length = words * size_of::<u64>();
    let local = libc::iovec {
        iov_base: to.cast(),
        iov_len: length,
    };
    let remote = libc::iovec {
        iov_base: ptr::without_provenance_mut(from),
        iov_len: length,
    };
    // SAFETY: errno's location is valid in every thread. The first call takes no pointer. The
    // second writes where the caller says, and memory that can't be read is an error, not a fault.
    let copied = unsafe {
        let errno = *libc::__errno_location();
        let copied = if libc::prctl(libc::PR_GET_SECCOMP) == 0 {
            let (local, remote) = (&raw const local, &raw const remote);
            libc::process_vm_readv(libc::getpid(), local, 1, remote, 1, 0)
        } else {
            0
        };
        *libc::__errno_location() = errno;
        copied
    };
    usize::try_from(copied).unwrap_or(0) / size_of::<u64>()
}

#[cfg(not(target_os = "linux"))]
unsafe fn copy_by_kernel(_: u64, _: *mut u64, _: usize) -> usize {
    0
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{ptr, thread};

    use super::{copy_other, look, main_stack, words_in_page};
    use crate::local::LOCAL;

    const PAGE: usize = 4096;

    #[test]
    fn a_thread_finds_its_own_stack_and_takes_nothing_else_for_it() {
        let looks = || {
            assert!(LOCAL.with(look));
            let known = LOCAL.with(|local| local.own_stack.get());
            let (local, boxed) = (0_u8, Box::new(0_u8));
            let local = (&raw const local).addr() as u64;
            let boxed = (&raw const *boxed).addr() as u64;
            assert!(known.holds(local, local + 1));
            assert!(!known.holds(local + 1, local), "the end is below");
            assert!(!known.holds(boxed, boxed) && !known.holds(local, u64::MAX));
            assert!(!known.holds(boxed.min(local), boxed.max(local)));
        };
        looks();
        thread::spawn(looks).join().unwrap();
    }

    #[test]
    fn the_main_stack_is_the_mapping_of_that_name() {
        let maps = b"7ff0-7ff8 rw-p 00000000 00:00 0 \n\
            7ffc1000-7ffe2000 rw-p 00000000 00:00 0                  [stack]\n\
            7fff1000-7fff3000 r--p 00000000 00:00 0                  [vvar]\n";
        assert_eq!(main_stack(maps), Some((0x7ffc_1000, 0x7ffe_2000)));
        assert_eq!(main_stack(b"7ff0 rw-p 00000000 00:00 0 [stack]\n"), None);
        assert_eq!(main_stack(b""), None);
    }

    #[test]
    fn a_copy_of_another_stack_ends_where_nothing_is_mapped() {
        // SAFETY: a new mapping, of which a part is unmapped again; the rest is written only here.
        let start = unsafe {
            let (access, flags) = (
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            );
            let start = libc::mmap(ptr::null_mut(), 3 * PAGE, access, flags, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            assert_eq!(libc::munmap(start.byte_add(2 * PAGE), PAGE), 0);
            ptr::write_bytes(start.cast::<u8>(), 7, 2 * PAGE);
            start
        };
        let mut copy = vec![0_u64; PAGE];
        let left = PAGE + 64;
        let sp = (start.addr() + 2 * PAGE - left) as u64;
        // SAFETY: the page of `sp` is mapped, and the copy has room.
        let words = unsafe { copy_other(sp, copy.as_mut_ptr(), copy.len()) };
        assert_eq!(words, left / 8);
        assert!(
            copy[..words]
                .iter()
                .all(|word| *word == 0x0707_0707_0707_0707)
        );
        assert!(copy[words..].iter().all(|word| *word == 0));
    }

    #[test]
    fn the_rest_of_a_page_is_at_least_a_word() {
        assert_eq!(words_in_page(0x1000), 512);
        assert_eq!(words_in_page(0x1ff8), 1);
    }
}
