//! Scopes: the part of the process that a tracked future belongs to.

use std::{
    marker::PhantomData,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use crate::{
    entry::{ScopeId, TaskId},
    local::{LOCAL, Local},
};

impl ScopeId {
    /// The scope of everything that was made in no other.
    pub const NONE: Self = Self(0);

    /// Makes a scope that nothing belongs to yet.
    #[must_use]
    pub fn fresh() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        Self(LAST.fetch_add(1, Relaxed).wrapping_add(1))
    }

    /// Returns the scope that futures made on this thread now belong to.
    #[must_use]
    pub fn current() -> Self {
        LOCAL.with(|local| local.scope.get())
    }

    /// Makes futures that are made on this thread belong to the scope, until the guard is dropped.
    #[must_use]
    pub fn enter(self) -> Entered {
        Entered {
            outer: LOCAL.with(|local| local.scope.replace(self)),
            _of_this_thread: PhantomData,
        }
    }
}

/// Keeps a thread inside a scope until it is dropped.
#[derive(Debug)]
pub struct Entered {
    outer: ScopeId,
    _of_this_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        LOCAL.with(|local| local.scope.set(self.outer));
    }
}

/// Returns the innermost tracked future that this thread is polling;
/// [`TaskId::NONE`] if there is none.
#[inline]
#[must_use]
pub fn current_task() -> TaskId {
    LOCAL.with(|local| local.current.get())
}

/// Returns the kernel's number of this thread.
#[inline]
#[must_use]
pub fn current_thread() -> i32 {
    LOCAL.with(Local::tid)
}
