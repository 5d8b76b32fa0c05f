//! Memory for the copies, and futexes to wait for them.
#![expect(unsafe_code, reason = "system calls on raw memory")]

use std::{
    io,
    ptr::{self, NonNull},
    sync::atomic::AtomicU32,
    time::Duration,
};

/// Reserves `len` bytes of zeroed memory that is never unmapped; untouched pages cost nothing.
pub(crate) fn map(len: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a new anonymous mapping at an address that the kernel
    // chooses touches no existing memory.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// Returns the pages to the kernel; the memory stays usable and reads as zeroes.
pub(crate) fn discard(start: NonNull<u8>, len: usize) {
    // SAFETY: the caller got this memory from `map` and holds no reference into it. If pages are
    // locked in memory, this fails and they stay.
    unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_DONTNEED) };
}

/// Sleeps until [`wake`], for at most `timeout`, or not at all if `word` is no longer `seen`.
pub(crate) fn wait(word: &AtomicU32, seen: u32, timeout: Duration) {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: both pointers are valid during the call. Time-out, EINTR
    // and EAGAIN all mean "look again".
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation,
            seen,
            &raw const timeout,
        );
    }
}

/// Wakes all threads in [`wait`]. Async-signal-safe; may change errno.
pub(crate) fn wake(word: &AtomicU32) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the kernel only uses the address as a key.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, i32::MAX) };
}
