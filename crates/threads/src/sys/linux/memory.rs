//! Memory for the copies, and futexes to wait for them.
#![expect(unsafe_code, reason = "system calls on raw memory")]

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// Reserves `len` bytes of zeroed memory that is never given back; untouched pages cost nothing.
pub(crate) fn map(len: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no existing memory.
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

/// Gives the pages back to the kernel; the memory stays usable and reads as zeroes.
pub(crate) fn discard(start: NonNull<u8>, len: usize) {
    // SAFETY: the caller got this memory from `map` and holds no reference into it. Where pages are
    // locked in memory this fails, and they simply stay.
    unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_DONTNEED) };
}

/// Sleeps until [`wake`], for `timeout` at most, or not at all if `word` is no longer `seen`.
pub(crate) fn wait(word: &AtomicU32, seen: u32, timeout: Duration) {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: both pointers are valid during the call. Time-out, EINTR and EAGAIN all mean "look again".
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

/// What ended a [`wait_until`].
pub(crate) enum Woken {
    /// A wake, another value, or anything: look at the word again.
    LookAgain,
    /// The time is up, or the kernel doesn't let us wait.
    GiveUp,
}

/// Sleeps until [`wake`], or until `until` as [`monotonic`] has it, or not at all if `word` is no longer
/// `seen`. Async-signal-safe; may change errno.
pub(crate) fn wait_until(word: &AtomicU32, seen: u32, until: u64) -> Woken {
    const SECOND: u64 = 1_000_000_000;
    let until = libc::timespec {
        tv_sec: libc::time_t::try_from(until / SECOND).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::try_from(until % SECOND).unwrap_or(0),
    };
    // Unlike FUTEX_WAIT, this takes a point in time, so that no interruption makes the wait longer.
    let operation = libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: both pointers are valid during the call; the second word isn't used by this operation.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            operation,
            seen,
            &raw const until,
            ptr::null_mut::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    };
    // SAFETY: errno's location is valid in every thread.
    match (result, unsafe { *libc::__errno_location() }) {
        (0, _) | (_, libc::EINTR | libc::EAGAIN) => Woken::LookAgain,
        _ => Woken::GiveUp,
    }
}

/// Nanoseconds of the monotonic clock at `instant`, or a little less.
pub(crate) fn monotonic(instant: Instant) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes to `now` only.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let left = instant.saturating_duration_since(Instant::now());
    let now = Duration::new(
        now.tv_sec.try_into().unwrap_or(0),
        now.tv_nsec.try_into().unwrap_or(0),
    );
    u64::try_from(now.saturating_add(left).as_nanos()).unwrap_or(u64::MAX)
}

/// Wakes whoever is in [`wait`] or [`wait_until`]. Async-signal-safe; may change errno.
pub(crate) fn wake(word: &AtomicU32) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the kernel only uses the address as a key.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, i32::MAX) };
}
