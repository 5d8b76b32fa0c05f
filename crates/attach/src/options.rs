//! What may be chosen.

use std::{path::PathBuf, time::Duration};

/// How a process is to be frozen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// For how long it may stand still; 100 ms unless said otherwise. What would take longer by estimate is
    /// refused. What takes more than [`hard_limit`](Self::hard_limit) is broken off.
    pub max_pause: Duration,
    /// Whether it is made to copy itself.
    pub injection: Injection,
    /// Which threads are stopped.
    pub threads: Threads,
    /// The program that is started as the helper: it calls
    /// [`run_helper_if_asked`](crate::run_helper_if_asked) before anything else. Unless said otherwise it is
    /// the program that runs.
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
    /// When the kernel ends the helper, and with it the pause: twice the limit, and at least 50 ms more than
    /// it. The estimate may be off by that much without the work having been in vain.
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
    /// Where it is known to be harmless.
    #[default]
    Auto,
    /// Also where its seccomp filter can't be read: a filter that kills for `clone` then kills the process.
    Always,
}

/// Which threads are stopped.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Threads {
    /// All: the picture is of one instant.
    #[default]
    All,
    /// The one that makes the copy: no other sees a system call interrupted, but they write to memory while it
    /// is copied, and only this thread's registers are known. Where no copy can be made, all are stopped.
    One,
}
