//! Reasons why a process is not frozen.

use std::time::Duration;

use rtops_image::{Pid, Tid};

/// Why a process was not frozen. Each message is a sentence without a full stop that says what
/// would help. The target is unharmed in every case.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No process has this PID.
    #[error("there is no process {0}; \"rtops list\" shows those that there are")]
    NoProcess(Pid),
    /// The number is that of a thread.
    #[error("{tid} is a thread of process {pid}: name the process")]
    IsThread {
        /// The number that was given.
        tid: Tid,
        /// The process.
        pid: Pid,
    },
    /// The process has ended, or its main thread has.
    #[error("the process has ended, or its main thread has: look at another one")]
    Ended,
    /// It is a kernel thread.
    #[error(
        "it is a thread of the kernel, which has no memory of its own: look at another process"
    )]
    Kernel,
    /// It is stopped by job control.
    #[error("the process is stopped (SIGSTOP): let it go on first, with \"kill -CONT\"")]
    Stopped,
    /// Another process traces it.
    #[error("process {0} traces it already: end that debugger or tracer first")]
    Traced(Pid),
    /// The kernel does not allow it to be traced.
    #[error("no permission to trace the process: {}", rights(*yama))]
    NoRights {
        /// The value of `kernel.yama.ptrace_scope`; 0 if there is none.
        yama: i32,
    },
    /// It runs code of another architecture.
    #[error("the process runs 32-bit code, which can't be read: only x86_64 is supported")]
    OtherArchitecture,
    /// It has more threads than any service has.
    #[error(
        "the process has more than {0} threads, which can't be stopped: look from inside, with the agent"
    )]
    TooManyThreads(usize),
    /// It would be stopped for too long.
    #[error(
        "the process would stand still for about {} ms, and {} ms are allowed: allow more with --max-pause",
        ms(*estimate), allowed.as_millis()
    )]
    TooLong {
        /// The estimated pause.
        estimate: Duration,
        /// The limit.
        allowed: Duration,
    },
    /// It can't be copied and is too large to be read while it is stopped.
    #[error(
        "{why}, and reading it while it stands still would take about {} ms, where {} ms are allowed: {}",
        ms(*estimate), allowed.as_millis(), why.way_out()
    )]
    CantCopy {
        /// Why there is no copy.
        why: NoCopy,
        /// The estimated pause.
        estimate: Duration,
        /// The limit.
        allowed: Duration,
    },
    /// A thread did not stop, or memory was not read, within the limit.
    #[error(
        "the process could not be frozen within {} ms, so it was let go: try again, or allow more with --max-pause",
        allowed.as_millis()
    )]
    NotInTime {
        /// The limit.
        allowed: Duration,
    },
    /// The kernel ended the helper at the hard limit.
    #[error(
        "freezing took more than {} ms and was broken off, the process goes on: try again when the machine is less busy, or allow more with --max-pause",
        limit.as_millis()
    )]
    BrokenOff {
        /// The hard limit.
        limit: Duration,
    },
    /// The helper ended early or was killed.
    #[error("the helper that freezes the process was killed, the process goes on: try again")]
    HelperKilled,
    /// It has called `exec`.
    #[error("the process has started another program meanwhile: try again")]
    OtherProgram,
    /// A system call that was needed failed.
    #[error("the system did not let {step}: {}; try again, and report it if it stays so", std::io::Error::from_raw_os_error(*errno))]
    System {
        /// What was tried.
        step: Step,
        /// The error.
        errno: i32,
    },
}

/// Why no copy of a process is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoCopy {
    /// Its seccomp filter can't be read.
    #[error("its seccomp filter can't be read, so it may not be copied")]
    SeccompUnread,
    /// Its seccomp filter denies a system call.
    #[error("its seccomp filter does not allow system call {0}, so it can't be copied")]
    SeccompDenies(u32),
    /// It has locked memory.
    #[error("it has locked its memory (mlock) and would have to fault in what is copied")]
    MemoryLocked,
    /// It has a shadow stack.
    #[error("it has a shadow stack (CET), so it can't be made to copy itself")]
    ShadowStack,
    /// The kernel kills the cgroup as a whole.
    #[error(
        "its cgroup is killed as a whole when memory is short (memory.oom.group), so it is not copied"
    )]
    OomGroup,
    /// There is little memory left.
    #[error("only {0} MiB of memory are left for it, too little for a copy")]
    LittleMemory(u32),
    /// The code that is needed to make system calls was not found.
    #[error("it has no code to make system calls with, so it can't be copied")]
    NoCode,
    /// No thread is in a system call with enough stack left.
    #[error("none of its threads waits in a system call, so it can't be copied")]
    NoThread,
    /// The kernel refused to clone the process.
    #[error("the system does not let it be copied ({})", std::io::Error::from_raw_os_error(*.0))]
    Clone(i32),
}

/// The step that failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Step {
    /// Starting the helper.
    #[error("a helper process be started")]
    Helper,
    /// Talking with the helper.
    #[error("the helper be talked with")]
    Exchange,
    /// Preparing the helper.
    #[error("the helper get ready")]
    Prepare,
    /// Looking at /proc.
    #[error("/proc be read")]
    Proc,
    /// Stopping threads.
    #[error("the threads be stopped")]
    Stop,
    /// Making the copy.
    #[error("a copy be made")]
    Copy,
    /// Reading memory.
    #[error("the memory be read")]
    Memory,
}

impl Step {
    /// Returns a function that makes a refusal of an error at this step.
    pub(crate) fn failed(self) -> impl Fn(nix::Error) -> Refusal {
        move |errno| Refusal::System {
            step: self,
            errno: errno as i32,
        }
    }

    /// Returns a function that makes a refusal of a standard library error at this step.
    pub(crate) fn failed_io(self) -> impl Fn(std::io::Error) -> Refusal {
        move |error| Refusal::System {
            step: self,
            errno: error.raw_os_error().unwrap_or(libc::EIO),
        }
    }
}

impl NoCopy {
    const fn way_out(self) -> &'static str {
        match self {
            Self::SeccompUnread => {
                "run rtops with CAP_SYS_ADMIN outside of the container, allow more with --max-pause, or use --attach always"
            }
            Self::LittleMemory(_) => "give it more memory, or allow more with --max-pause",
            _ => "allow more with --max-pause",
        }
    }
}

const fn rights(yama: i32) -> &'static str {
    match yama {
        0 => {
            "run rtops as root or as the user of the process; root in a container takes --cap-add SYS_PTRACE"
        }
        1 => {
            "run rtops as root (kernel.yama.ptrace_scope is 1), or start the agent in it, which lets rtops do so"
        }
        2 => "run rtops as root (kernel.yama.ptrace_scope is 2)",
        _ => {
            "nobody may, until the next boot (kernel.yama.ptrace_scope is 3); the agent shows what it can from inside"
        }
    }
}

/// Rounds up: a pause that is too long must not look as if it were within the limit.
fn ms(duration: Duration) -> u128 {
    duration.as_nanos().div_ceil(1_000_000)
}
