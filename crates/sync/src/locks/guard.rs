//! The guard that all locks share.

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

/// A guard of tokio's, and the claim of whoever took it.
///
/// Each lock has names for its own: [`MutexGuard`](crate::MutexGuard) and so on. `G` is tokio's
/// guard. `L` is what is known of the lock: a reference to it, the `Arc` that keeps it alive, or
/// nothing.
#[must_use = "if unused the lock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct Guard<'a, const N: usize, G, L = ()> {
    // The order counts: the claim ends before the lock is free for the next holder, and both
    // before the lock goes with its last `Arc`.
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

    /// The guard, when it is its turn; who waits for it is known until then.
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

    /// The same claim with another guard of tokio's.
    pub(super) fn map_inner<H>(self, map: impl FnOnce(G) -> H) -> Guard<'a, N, H, L> {
        // Where it panics, what is left of `self` goes in the order of the fields.
        let inner = map(self.inner);
        Guard {
            held: self.held,
            inner,
            lock: self.lock,
        }
    }

    /// The same claim with another guard of tokio's, or all as it was.
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

    /// The same guard with something else that is known of its lock.
    pub(super) fn with_lock<M>(self, lock: M) -> Guard<'a, N, G, M> {
        Guard {
            held: self.held,
            inner: self.inner,
            lock,
        }
    }
}

impl<const N: usize, G, L: ?Sized> Guard<'static, N, G, Arc<L>> {
    /// A guard of a lock that lives as long as the `Arc` does.
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
