//! What is noted of those who hold a resource or wait for it.

use std::panic::Location;

use rtops_tasks::{Monotonic, current_task, current_thread};

/// What can be held and waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// One holder at a time.
    Mutex,
    /// One writer or several readers.
    RwLock,
    /// Permits.
    Semaphore,
    /// A set of tasks, its holders.
    JoinSet,
}

/// Whether others can hold the same at the same time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// No.
    Exclusive,
    /// Yes, in the same mode.
    Shared,
}

/// Somebody holds something, or waits for it.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The tracked future that took it or waits; 0 outside of all.
    pub task: u64,
    /// The thread that did, at that time.
    pub tid: i32,
    /// Since when.
    pub since: Monotonic,
    /// Where in the source.
    pub site: &'static Location<'static>,
    /// Whether others can hold it at the same time.
    pub mode: Mode,
    /// How many permits; 1 for locks.
    pub permits: u32,
}

/// What a claim is for, before it is known when it begins.
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

    /// The claim of whoever runs now.
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
