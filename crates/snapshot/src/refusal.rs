//! Why there is no copy.

use std::time::Duration;

use rtops_threads::HoldError;

/// Why no copy was made. Each is a sentence without a full stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no code for this platform.
    #[error("a process can be copied on Linux x86_64 only")]
    Unsupported,
    /// It would stop the process for too long.
    #[error(
        "its threads would stand still for about {} ms, and {} ms are allowed",
        .estimate.as_millis().max(1), .allowed.as_millis()
    )]
    TooLong {
        /// For how long, by the memory that it uses.
        estimate: Duration,
        /// The limit.
        allowed: Duration,
    },
    /// A debugger gets the traps of the copy.
    #[error("a debugger or tracer is attached to the process")]
    Traced,
    /// Locked memory would fault once for each page.
    #[error("the process has locked its memory (mlock), and would have to fault it in again")]
    MemoryLocked,
    /// Guarded calls are left by a jump that a shadow stack forbids.
    #[error("the process runs with a shadow stack (CET)")]
    ShadowStack,
    /// Its cgroup would be killed as a whole if memory ran short.
    #[error("its cgroup is killed as a whole when memory is short (memory.oom.group)")]
    OomGroup,
    /// There is hardly any memory left.
    #[error("its cgroup has only {free_mib} MiB of memory left")]
    LittleMemory {
        /// How much, in MiB.
        free_mib: u64,
    },
    /// More mappings than the copy can look at.
    #[error("the process has {0} memory mappings, more than are looked at")]
    TooManyMappings(usize),
    /// Its threads can't be stopped.
    #[error("its threads can't be stopped: {0}")]
    Hold(#[from] HoldError),
    /// Somebody else makes one.
    #[error("another copy of the process is being used")]
    Busy,
    /// The process could not be cloned.
    #[error("the system does not let the process be cloned: {0}")]
    Clone(std::io::Error),
    /// Something that is needed before the clone failed.
    #[error("the system refused what a copy needs: {0}")]
    System(std::io::Error),
    /// /proc does not show what is needed.
    #[error("{0} can't be read")]
    Unreadable(&'static str),
    /// The copy could not be made harmless, and ended at once.
    #[error("the copy can't be made harmless here: {0}")]
    Harmful(&'static str),
    /// The copy was killed before it was ready.
    #[error("the copy was killed by the system before it was ready (signal {0})")]
    Killed(i32),
    /// There was no time left.
    #[error("there was no time left for it")]
    NoTime,
}
