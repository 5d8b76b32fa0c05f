//! Answers the system calls that a poll makes: nothing happens, and nothing is ready.

use libc::{EAGAIN, ENOMEM, ENOSYS};

use crate::Unresolved;

/// How often the same call may be answered in a row; code that keeps asking would never end.
pub(crate) const MOST_REPEATS: u32 = 64;

/// The protection of memory that is made usable.
const READ_WRITE: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;

/// The answer to a system call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    /// This value.
    Value(i64),
    /// New memory of this length.
    Memory(u64),
    /// Memory that was reserved here is usable from now on.
    Usable { at: u64, length: u64 },
    /// The time of this clock, written here.
    Time { clock: u64, at: u64 },
    /// This many bytes, the same each time, written here.
    Random { at: u64, length: u64 },
    /// None: the poll ends here, for this reason.
    None(Unresolved),
}

/// Whether a thread waits for others in this system call, whose second argument is `operation`.
pub(crate) fn is_park(number: u64, operation: u64) -> bool {
    match i64::try_from(number).unwrap_or(-1) {
        libc::SYS_futex => matches!(
            i32::try_from(operation & 0x7f).unwrap_or(0),
            libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET
        ),
        libc::SYS_epoll_wait
        | libc::SYS_epoll_pwait
        | libc::SYS_epoll_pwait2
        | libc::SYS_poll
        | libc::SYS_ppoll => true,
        _ => false,
    }
}

/// Returns the answer to the call with this number and these arguments.
pub(crate) fn answer(number: u64, arguments: [u64; 6]) -> Answer {
    let [a, b, c, d, ..] = arguments;
    let is_anonymous = d & libc::MAP_ANONYMOUS as u64 != 0;
    let value = match i64::try_from(number).unwrap_or(-1) {
        libc::SYS_mmap if is_anonymous => return Answer::Memory(b),
        libc::SYS_mprotect if c & READ_WRITE == READ_WRITE => {
            return Answer::Usable { at: a, length: b };
        }
        libc::SYS_clock_gettime => return Answer::Time { clock: a, at: b },
        libc::SYS_getrandom => return Answer::Random { at: a, length: b },
        libc::SYS_futex => match i32::try_from(b & 0x7f).unwrap_or(0) {
            libc::FUTEX_WAIT
            | libc::FUTEX_WAIT_BITSET
            | libc::FUTEX_LOCK_PI
            | libc::FUTEX_WAIT_REQUEUE_PI => return Answer::None(Unresolved::Locked),
            _ => 0,
        },
        libc::SYS_exit
        | libc::SYS_exit_group
        | libc::SYS_kill
        | libc::SYS_tkill
        | libc::SYS_tgkill
        | libc::SYS_execve => return Answer::None(Unresolved::Exit),
        // A write to an eventfd, which wakes somebody, or to standard
        // output or error, which nobody waits for.
        libc::SYS_write if c == 8 || a == 1 || a == 2 => c.cast_signed(),
        libc::SYS_read
        | libc::SYS_write
        | libc::SYS_readv
        | libc::SYS_writev
        | libc::SYS_recvfrom
        | libc::SYS_sendto
        | libc::SYS_recvmsg
        | libc::SYS_sendmsg
        | libc::SYS_recvmmsg
        | libc::SYS_sendmmsg
        | libc::SYS_accept
        | libc::SYS_accept4
        | libc::SYS_clone
        | libc::SYS_clone3
        | libc::SYS_fork
        | libc::SYS_vfork => -i64::from(EAGAIN),
        libc::SYS_close
        | libc::SYS_shutdown
        | libc::SYS_epoll_ctl
        | libc::SYS_sched_yield
        | libc::SYS_nanosleep
        | libc::SYS_clock_nanosleep
        | libc::SYS_madvise
        | libc::SYS_mprotect
        | libc::SYS_munmap => 0,
        libc::SYS_mmap | libc::SYS_mremap => -i64::from(ENOMEM),
        // The heap does not end where it was asked to, so it can't grow. The C library would take
        // an error code for a high address, and so for success.
        libc::SYS_brk => 0,
        _ => -i64::from(ENOSYS),
    };
    Answer::Value(value)
}

/// Returns the time of a clock, as `struct timespec`: it stands still, early, so that
/// nothing that waits for a time is due.
pub(crate) fn time(clock: u64) -> [u8; 16] {
    let seconds: u64 = if clock == libc::CLOCK_REALTIME as u64 {
        1_500_000_000
    } else {
        1
    };
    let mut time = [0; 16];
    for (to, from) in time.iter_mut().zip(seconds.to_le_bytes()) {
        *to = from;
    }
    time
}
