//! What a thread knows about the tracked future that it polls.

use std::{
    cell::Cell,
    ptr,
    sync::atomic::{AtomicI64, AtomicU32, Ordering::Relaxed},
};

use nix::sys::pthread::pthread_self;

use crate::{
    entry::{ScopeId, TaskId},
    probe::{OwnStack, Place},
    registry::SHARDS,
};

/// The state of one thread. It needs no destructor, so reading it never allocates, fails or
/// registers anything, at any time in a thread's life.
pub(crate) struct Local {
    /// The innermost tracked future that this thread is polling; 0 for none.
    pub(crate) current: Cell<TaskId>,
    /// The scope that futures made on this thread belong to.
    pub(crate) scope: Cell<ScopeId>,
    /// Whether the innermost tracked future being polled has made another one in this poll.
    pub(crate) has_made: Cell<bool>,
    /// The innermost probed poll under way on this thread.
    pub(crate) probes: Cell<*mut Place>,
    /// Where the thread's own stack is, as far as it is known.
    pub(crate) own_stack: Cell<OwnStack>,
    /// Whether this thread is waking a task for a dump.
    pub(crate) asking: Cell<bool>,
    /// The innermost future that this thread polls only for a dump.
    pub(crate) asked: Cell<Asked>,
    tid: Cell<i32>,
    shard: Cell<u32>,
}

/// A poll that happens only because of a dump.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) task: TaskId,
    /// How many more polls in a row may count as caused by it, if each one wakes its task again.
    pub(crate) hops: u32,
}

impl Asked {
    pub(crate) const NOTHING: Self = Self {
        task: TaskId::NONE,
        hops: 0,
    };
}

thread_local! {
    pub(crate) static LOCAL: Local = const {
        Local {
            current: Cell::new(TaskId::NONE),
            scope: Cell::new(ScopeId(0)),
            has_made: Cell::new(false),
            probes: Cell::new(ptr::null_mut()),
            own_stack: Cell::new(OwnStack::UNKNOWN),
            asking: Cell::new(false),
            asked: Cell::new(Asked::NOTHING),
            tid: Cell::new(0),
            shard: Cell::new(u32::MAX),
        }
    };
}

/// Returns where each thread keeps the number of the innermost tracked future that it polls, as an
/// offset in bytes from its thread pointer. The first call only notes the offset and returns
/// `None`. Later calls return it if theirs is the same: it can differ between threads in a library
/// that was loaded at run time.
#[must_use]
pub fn polled_at() -> Option<i64> {
    static FIRST: AtomicI64 = AtomicI64::new(0);
    let current = LOCAL.with(|local| ptr::from_ref(&local.current).addr() as u64);
    let here = current.wrapping_sub(pthread_self() as u64) as i64;
    match FIRST.compare_exchange(0, here, Relaxed, Relaxed) {
        Ok(_) => None,
        Err(first) => (first == here).then_some(here),
    }
}

#[cfg(target_os = "linux")]
fn number_of_thread() -> i32 {
    nix::unistd::gettid().as_raw()
}

/// Tells threads apart where nobody compares the number with the kernel's.
#[cfg(not(target_os = "linux"))]
fn number_of_thread() -> i32 {
    static LAST: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
    LAST.fetch_add(1, Relaxed).wrapping_add(1)
}

impl Local {
    /// Returns the kernel's number of this thread.
    #[inline]
    pub(crate) fn tid(&self) -> i32 {
        match self.tid.get() {
            0 => self.learn_tid(),
            tid => tid,
        }
    }

    #[cold]
    fn learn_tid(&self) -> i32 {
        let tid = number_of_thread();
        self.tid.set(tid);
        tid
    }

    /// Returns the registry shard that this thread puts its entries into.
    #[inline]
    pub(crate) fn shard(&self) -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if self.shard.get() == u32::MAX {
            self.shard.set(NEXT.fetch_add(1, Relaxed) % SHARDS);
        }
        self.shard.get()
    }
}
