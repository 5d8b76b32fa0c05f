//! The options of a freeze.

use std::{path::PathBuf, time::Duration};

/// How to freeze a process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// How long it may be stopped; 100 ms by default. A freeze that is estimated to take longer is
    /// refused. One that takes longer than [`hard_limit`](Self::hard_limit) is broken off.
    pub max_pause: Duration,
    /// Whether the process is made to copy itself.
    pub injection: Injection,
    /// Which threads are stopped.
    pub threads: Threads,
    /// The program to start as the helper, which must call
    /// [`run_helper_if_asked`](crate::run_helper_if_asked) before anything
    /// else. By default it is the running program.
    pub helper: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_pause: Duration::from_millis(100),
            injection: Injection::Auto,
            threads: Threads::All,
            helper: "/proc/self/exe".into(),
        }
    }
}

impl Options {
    /// Returns the time after which the kernel kills the helper and so ends the pause: twice
    /// [`max_pause`](Self::max_pause), and at least 50 ms more than it. The estimate may be off by
    /// that much before the work is lost.
    #[must_use]
    pub fn hard_limit(&self) -> Duration {
        hard_limit(self.max_pause)
    }
}

pub(crate) fn hard_limit(max_pause: Duration) -> Duration {
    max_pause.saturating_add(max_pause.max(Duration::from_millis(50)))
}

/// Whether a process is made to copy itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Injection {
    /// If that is known to be harmless.
    #[default]
    Auto,
    /// Also if its seccomp filter can't be read: if that filter kills on
    /// `clone`, it then kills the process.
    Always,
}

/// Which threads are stopped.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Threads {
    /// All threads: the picture is of one instant.
    #[default]
    All,
    /// Only the thread that makes the copy. No other thread sees an interrupted system call, but
    /// the others write to memory while it is copied, and only this thread's registers are known.
    /// If no copy can be made, all are stopped.
    One,
}
