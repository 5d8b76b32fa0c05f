//! The one place from which this crate's code enters the kernel inside the copy. The filter lets
//! through what comes from here, and nothing else that matters.
#![expect(unsafe_code, reason = "system calls")]

use std::{arch::naked_asm, ptr, time::Duration};

/// Makes a system call; an error is a negative errno.
///
/// # Safety
/// As the system call demands.
#[unsafe(naked)]
pub(super) unsafe extern "sysv64" fn syscall(
    number: libc::c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> isize {
    naked_asm!(
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, qword ptr [rsp + 8]",
        "syscall",
        "ret",
    )
}

/// The address that the kernel sees such a call come from: that behind the instruction.
pub(super) fn gate() -> Option<u64> {
    const WITH_RETURN: [u8; 3] = [0x0f, 0x05, 0xc3];
    let start = syscall as *const u8;
    // SAFETY: the function above is longer than that.
    let code = unsafe { std::slice::from_raw_parts(start, 28) };
    let at = code.windows(3).position(|bytes| bytes == WITH_RETURN)?;
    Some((start.addr() + at + 2) as u64)
}

/// Ends the calling process at once.
pub(super) fn exit(status: i32) -> ! {
    loop {
        // SAFETY: ends the process, and nothing of it is needed any more.
        unsafe { syscall(libc::SYS_exit_group, status as usize, 0, 0, 0, 0, 0) };
    }
}

/// Sleeps until `word` is no longer `seen`, or until a moment, or a signal.
pub(super) fn futex_wait(word: &std::sync::atomic::AtomicU32, seen: u32, until: Nanos) {
    let moment = libc::timespec {
        tv_sec: (until.0 / NANOS) as libc::time_t,
        tv_nsec: (until.0 % NANOS) as libc::c_long,
    };
    // SAFETY: both outlive the call. WAIT_BITSET takes a moment of CLOCK_MONOTONIC.
    unsafe {
        syscall(
            libc::SYS_futex,
            ptr::from_ref(word).addr(),
            libc::FUTEX_WAIT_BITSET as usize,
            seen as usize,
            (&raw const moment).addr(),
            0,
            libc::FUTEX_BITSET_MATCH_ANY as usize,
        )
    };
}

/// Wakes whoever waits for `word`.
pub(super) fn futex_wake(word: &std::sync::atomic::AtomicU32) {
    let all = i32::MAX as usize;
    // SAFETY: takes only the address.
    unsafe {
        syscall(
            libc::SYS_futex,
            ptr::from_ref(word).addr(),
            libc::FUTEX_WAKE as usize,
            all,
            0,
            0,
            0,
        )
    };
}

const NANOS: u64 = 1_000_000_000;

/// A moment of CLOCK_MONOTONIC, in nanoseconds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Nanos(pub(crate) u64);

impl Nanos {
    pub(crate) fn now() -> Self {
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: only writes to `now`. The filter lets the call through where the vDSO has to make it.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        Self(now.tv_sec as u64 * NANOS + now.tv_nsec as u64)
    }

    pub(crate) fn after(self, time: Duration) -> Self {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(time))
    }
}
