//! What is recorded about those who hold a resource or wait for it.

use std::panic::Location;

use rtops_tasks::{Monotonic, current_task, current_thread};

/// What can be held and waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// One holder.
    Mutex,
    /// One writer or several readers.
    RwLock,
    /// As many holders as there are permits.
    Semaphore,
    /// A set of tasks, which are its holders.
    JoinSet,
}

/// Whether others can hold the same resource at the same time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Others can't.
    Exclusive,
    /// Others can, in the same mode.
    Shared,
}

/// A record that somebody holds a resource or waits for it.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The tracked future that took it or waits; 0 outside of any.
    pub task: u64,
    /// The thread that took it or began to wait.
    pub tid: i32,
    /// When it was taken, or the wait began.
    pub since: Monotonic,
    /// The place in the source where it was taken or waited for.
    pub site: &'static Location<'static>,
    /// Whether others can hold it at the same time.
    pub mode: Mode,
    /// The number of permits; 1 for locks.
    pub permits: u32,
}

/// What a claim is for, before its beginning is known.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) site: &'static Location<'static>,
    pub(crate) mode: Mode,
    pub(crate) permits: u32,
}

impl Wish {
    pub(crate) const fn exclusive(site: &'static Location<'static>) -> Self {
        Self {
            site,
            mode: Mode::Exclusive,
            permits: 1,
        }
    }

    pub(crate) const fn shared(site: &'static Location<'static>, permits: u32) -> Self {
        Self {
            site,
            mode: Mode::Shared,
            permits,
        }
    }

    /// Makes a claim for the current task and thread.
    #[inline]
    pub(crate) fn claim(self) -> Claim {
        Claim {
            task: current_task().get(),
            tid: current_thread(),
            since: Monotonic::now(),
            site: self.site,
            mode: self.mode,
            permits: self.permits,
        }
    }
}
