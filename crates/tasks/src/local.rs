//! What a thread knows of the tracked future that it polls.

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
/// registers anything, wherever in a thread's life that happens.
pub(crate) struct Local {
    /// The innermost tracked future that this thread is polling; 0 for none.
    pub(crate) current: Cell<TaskId>,
    /// The scope that futures made on this thread belong to.
    pub(crate) scope: Cell<ScopeId>,
    /// The innermost tracked future being polled has made another one in this poll.
    pub(crate) has_made: Cell<bool>,
    /// The innermost probed poll under way on this thread.
    pub(crate) probes: Cell<*mut Place>,
    /// Where the thread's own stack lies, as far as it is known.
    pub(crate) own_stack: Cell<OwnStack>,
    /// This thread is waking a task for a dump.
    pub(crate) asking: Cell<bool>,
    /// The innermost future that this thread polls for a dump alone.
    pub(crate) asked: Cell<Asked>,
    tid: Cell<i32>,
    shard: Cell<u32>,
}

/// A poll that would not be but for a dump.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) task: TaskId,
    /// How many more polls in a row may count as caused by it, if each wakes its task again.
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

/// Where each thread has the number of the innermost tracked future that it polls, in bytes from its thread
/// pointer on. The first thread that asks does not learn it: where another one has it in another place, as in a
/// library that was loaded at run time, nobody can be told.
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

/// Tells threads apart, where nobody compares it with what the kernel says.
#[cfg(not(target_os = "linux"))]
fn number_of_thread() -> i32 {
    static LAST: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
    LAST.fetch_add(1, Relaxed).wrapping_add(1)
}

impl Local {
    /// The kernel's number of this thread.
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

    /// The shard of the registry that this thread puts its entries into.
    #[inline]
    pub(crate) fn shard(&self) -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if self.shard.get() == u32::MAX {
            self.shard.set(NEXT.fetch_add(1, Relaxed) % SHARDS);
        }
        self.shard.get()
    }
}
