//! Which system calls can be stepped over.
//!
//! A short list of those that polls make, not one of those that do harm: whatever is not here ends the
//! stepping. It has none that makes a thread or a process, that changes or waits with signal masks or
//! handlers, that ends the thread, or that takes commands of many kinds (`ioctl`, `fcntl`, `prctl`).

/// Sorted.
const HARMLESS: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_poll,
    libc::SYS_lseek,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_brk,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_sched_yield,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_nanosleep,
    libc::SYS_getpid,
    libc::SYS_sendfile,
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_accept,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_gettimeofday,
    libc::SYS_gettid,
    libc::SYS_time,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_ctl,
    libc::SYS_openat,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_accept4,
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_pipe2,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_recvmmsg,
    libc::SYS_sendmmsg,
    libc::SYS_getcpu,
    libc::SYS_getrandom,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_statx,
];

/// Whether the system call with this number can be stepped over. Async-signal-safe.
pub(super) fn is_harmless(number: u64) -> bool {
    // The kernel looks at the lower half of the register only.
    let number = libc::c_long::from(number as u32);
    HARMLESS.binary_search(&number).is_ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::{HARMLESS as LIST, is_harmless};

    pub(in crate::sys::linux) const HARMLESS: u64 = libc::SYS_getpid as u64;
    pub(in crate::sys::linux) const HARMFUL: u64 = libc::SYS_clone as u64;

    #[test]
    fn the_list_is_sorted_and_has_none_that_does_harm() {
        assert!(LIST.is_sorted_by(|a, b| a < b));
        assert!(is_harmless(HARMLESS));
        assert!(!is_harmless(u64::from(u32::MAX)));
        for harmful in [
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_fork,
            libc::SYS_vfork,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_exit,
            libc::SYS_exit_group,
            libc::SYS_rt_sigaction,
            libc::SYS_rt_sigprocmask,
            libc::SYS_rt_sigreturn,
            libc::SYS_rt_sigsuspend,
            libc::SYS_rt_sigtimedwait,
            libc::SYS_ppoll,
            libc::SYS_pselect6,
            libc::SYS_epoll_pwait,
            libc::SYS_epoll_pwait2,
            libc::SYS_io_uring_enter,
            libc::SYS_ptrace,
            libc::SYS_prctl,
            libc::SYS_arch_prctl,
            libc::SYS_seccomp,
            libc::SYS_tgkill,
            libc::SYS_kill,
        ] {
            assert!(!is_harmless(harmful as u64), "{harmful}");
        }
    }
}
