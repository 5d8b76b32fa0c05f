//! The guard of all locks.

use std::{
    fmt,
    future::Future,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use crate::{
    claim::Wish,
    ledger::{Held, Ledger},
    waiting::Waiting,
};

/// A guard of tokio's, with the claim of whoever took it.
///
/// Each lock has its own names for it: [`MutexGuard`](crate::MutexGuard) and so on. `G` is tokio's
/// guard. `L` refers to the lock: by reference, by the `Arc` that keeps it alive, or not at all.
#[must_use = "if unused the lock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct Guard<'a, const N: usize, G, L = ()> {
    // The order matters: the claim ends before the lock is free for the next holder, and both
    // before the lock is dropped with its last `Arc`.
    pub(super) held: Held<'a, N>,
    pub(super) inner: G,
    pub(super) lock: L,
}

impl<'a, const N: usize, G, L> Guard<'a, N, G, L> {
    #[inline]
    pub(super) fn new(ledger: &'a Ledger<N>, inner: G, lock: L, wish: Wish) -> Self {
        Self {
            held: ledger.take(wish),
            inner,
            lock,
        }
    }

    /// Returns the guard when it is its turn. Until then, the current task is recorded as waiting.
    pub(super) fn wait(
        ledger: &'a Ledger<N>,
        taken: impl Future<Output = G>,
        lock: L,
        wish: Wish,
    ) -> impl Future<Output = Self>
    where
        L: Copy,
    {
        let wait = move || ledger.wait(wish);
        let done = move |inner| Self::new(ledger, inner, lock, wish);
        Waiting::new(taken, wait, done)
    }

    /// Keeps the claim and replaces tokio's guard.
    pub(super) fn map_inner<H>(self, map: impl FnOnce(G) -> H) -> Guard<'a, N, H, L> {
        // If it panics, the rest of `self` is dropped in the order of the fields.
        let inner = map(self.inner);
        Guard {
            held: self.held,
            inner,
            lock: self.lock,
        }
    }

    /// Keeps the claim and replaces tokio's guard, or leaves everything as it was.
    pub(super) fn try_map_inner<H>(
        self,
        map: impl FnOnce(G) -> Result<H, G>,
    ) -> Result<Guard<'a, N, H, L>, Self> {
        match map(self.inner) {
            Ok(inner) => Ok(Guard {
                held: self.held,
                inner,
                lock: self.lock,
            }),
            Err(inner) => Err(Self { inner, ..self }),
        }
    }

    /// Keeps the guard and replaces its reference to the lock.
    pub(super) fn with_lock<M>(self, lock: M) -> Guard<'a, N, G, M> {
        Guard {
            held: self.held,
            inner: self.inner,
            lock,
        }
    }
}

impl<const N: usize, G, L: ?Sized> Guard<'static, N, G, Arc<L>> {
    /// Makes the guard keep the lock alive with an `Arc`.
    pub(super) fn owning<M>(lock: Arc<L>, guard: Guard<'static, N, G, M>) -> Self {
        guard.with_lock(lock)
    }
}

impl<const N: usize, G: Deref, L> Deref for Guard<'_, N, G, L> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.inner
    }
}

impl<const N: usize, G: DerefMut, L> DerefMut for Guard<'_, N, G, L> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.inner
    }
}

impl<const N: usize, G: fmt::Debug, L> fmt::Debug for Guard<'_, N, G, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<const N: usize, G: fmt::Display, L> fmt::Display for Guard<'_, N, G, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
