//! Guards that own an `Arc` of their lock, made from guards that borrow it.
//!
//! tokio's guards that own an `Arc` require an `Arc` of tokio's lock, which here is
//! part of another type.

#![expect(
    unsafe_code,
    reason = "the guard borrows from what the `Arc` beside it keeps alive"
)]

use std::{future::Future, sync::Arc};

use super::Guard;

/// A guard with the `Arc` that keeps its lock alive.
type Owned<const N: usize, G, L> = Guard<'static, N, G, Arc<L>>;

/// Takes the lock, or fails.
///
/// # Safety
/// Only the guard may keep the reference that is passed to `take`.
pub(super) unsafe fn try_take<const N: usize, G, L: ?Sized + 'static, M, E>(
    lock: Arc<L>,
    take: impl FnOnce(&'static L) -> Result<Guard<'static, N, G, M>, E>,
) -> Result<Owned<N, G, L>, E> {
    // SAFETY: the lock does not move while the `Arc` exists, and the `Arc` is dropped after the
    // guard: here if `take` fails or panics, otherwise by the order of a guard's fields.
    let guard = take(unsafe { extend(&lock) })?;
    Ok(Guard::owning(lock, guard))
}

/// Takes the lock when it is its turn. `own` makes the output keep the `Arc`.
///
/// # Safety
/// Only the guard may keep the reference that is passed to `take`, and the guard must be dropped
/// before the `Arc`, as in [`Guard::owning`].
pub(super) unsafe fn take<L: ?Sized + 'static, F: Future, O>(
    lock: Arc<L>,
    take: impl FnOnce(&'static L) -> F,
    own: impl FnOnce(Arc<L>, F::Output) -> O,
) -> impl Future<Output = O> {
    // SAFETY: the lock does not move while the `Arc` exists. The future below holds both, and drops
    // what it awaits, or the guard, before what it captured.
    let guard = take(unsafe { extend(&lock) });
    Captured { guard, lock }.resolve(own)
}

/// A future that borrows from what its `Arc` keeps alive.
struct Captured<F, L: ?Sized> {
    // Dropped before the lock that it borrows from.
    guard: F,
    lock: Arc<L>,
}

impl<F: Future, L: ?Sized> Captured<F, L> {
    async fn resolve<O>(self, own: impl FnOnce(Arc<L>, F::Output) -> O) -> O {
        // The awaited future is dropped before the variables.
        let Self { guard, lock } = self;
        let guard = guard.await;
        own(lock, guard)
    }
}

/// # Safety
/// The reference must not outlive the last `Arc`.
unsafe fn extend<L: ?Sized + 'static>(lock: &Arc<L>) -> &'static L {
    // SAFETY: an `Arc` points to a value that exists until the last `Arc` is dropped, and that does
    // not move; the caller ensures the rest.
    unsafe { &*Arc::as_ptr(lock) }
}
