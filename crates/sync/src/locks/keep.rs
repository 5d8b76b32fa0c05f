//! A guard and the `Arc` of the lock that it borrows from.

#![expect(
    unsafe_code,
    reason = "the guard borrows from what the `Arc` beside it keeps alive"
)]

use std::{
    future::Future,
    ops::{Deref, DerefMut},
    sync::Arc,
};

/// A guard and what keeps its lock alive.
///
/// Guards of tokio's that own an `Arc` want one of tokio's lock, which here is a part of another.
pub(crate) struct Keep<G, L: ?Sized> {
    // Dropped before the lock that it borrows from.
    guard: G,
    lock: Arc<L>,
}

impl<G, L: ?Sized + 'static> Keep<G, L> {
    /// Takes the lock, or fails.
    ///
    /// # Safety
    /// Nothing but the guard may be left of the reference that `take` is given.
    pub(crate) unsafe fn try_new<E>(
        lock: Arc<L>,
        take: impl FnOnce(&'static L) -> Result<G, E>,
    ) -> Result<Self, E> {
        // SAFETY: the lock stays where it is for as long as the `Arc`, which is dropped after
        // the guard: here if `take` fails or panics, else by the order of the fields.
        let guard = take(unsafe { extend(&lock) })?;
        Ok(Self { guard, lock })
    }

    /// Takes the lock, when it is its turn.
    ///
    /// # Safety
    /// Nothing but the guard may be left of the reference that `take` is given.
    pub(crate) unsafe fn new<F: Future<Output = G>>(
        lock: Arc<L>,
        take: impl FnOnce(&'static L) -> F,
    ) -> impl Future<Output = Self> {
        // SAFETY: the lock stays where it is for as long as the `Arc`. The future below has both,
        // and drops what it awaits, or the guard, before what it captured first.
        let guard = take(unsafe { extend(&lock) });
        Captured { guard, lock }.resolve()
    }
}

/// A future that borrows from what the `Arc` beside it keeps alive.
struct Captured<F, L: ?Sized> {
    // Dropped before the lock that it borrows from.
    guard: F,
    lock: Arc<L>,
}

impl<F: Future, L: ?Sized> Captured<F, L> {
    async fn resolve(self) -> Keep<F::Output, L> {
        // The later of two variables is dropped first, and before both what is awaited.
        let Self { guard, lock } = self;
        let guard = guard.await;
        Keep { guard, lock }
    }
}

impl<G, L: ?Sized> Keep<G, L> {
    pub(crate) fn lock(&self) -> &Arc<L> {
        &self.lock
    }

    pub(crate) fn guard(&self) -> &G {
        &self.guard
    }

    /// Makes another guard of the guard.
    pub(crate) fn map<H>(self, map: impl FnOnce(G) -> H) -> Keep<H, L> {
        let Self { guard, lock } = self;
        // Should it panic, the guard is dropped in there.
        let guard = map(guard);
        Keep { guard, lock }
    }

    /// Makes another guard of the guard, or leaves it as it was.
    pub(crate) fn try_map<H>(
        self,
        map: impl FnOnce(G) -> Result<H, G>,
    ) -> Result<Keep<H, L>, Self> {
        let Self { guard, lock } = self;
        match map(guard) {
            Ok(guard) => Ok(Keep { guard, lock }),
            Err(guard) => Err(Self { guard, lock }),
        }
    }

    /// A second guard of the same lock, if there is one.
    pub(crate) fn split(&mut self, split: impl FnOnce(&mut G) -> Option<G>) -> Option<Self> {
        Some(Self {
            guard: split(&mut self.guard)?,
            lock: Arc::clone(&self.lock),
        })
    }

    /// Makes one guard of two of the same lock.
    pub(crate) fn merge(&mut self, other: Self, merge: impl FnOnce(&mut G, G)) {
        let Self { guard, lock } = other;
        merge(&mut self.guard, guard);
        drop(lock);
    }
}

impl<G, L: ?Sized, E> Keep<Result<G, E>, L> {
    pub(crate) fn transpose(self) -> Result<Keep<G, L>, E> {
        let Self { guard, lock } = self;
        guard.map(|guard| Keep { guard, lock })
    }
}

impl<G: Deref, L: ?Sized> Deref for Keep<G, L> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut, L: ?Sized> DerefMut for Keep<G, L> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

/// # Safety
/// What is left of the reference has to go before the last `Arc` does.
unsafe fn extend<L: ?Sized + 'static>(lock: &Arc<L>) -> &'static L {
    // SAFETY: an `Arc` points to a value that is there until the last one is dropped, and whose
    // place does not change; the caller sees to the rest.
    unsafe { &*Arc::as_ptr(lock) }
}
