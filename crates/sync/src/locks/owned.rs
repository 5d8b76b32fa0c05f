//! Guards that own an `Arc` of their lock, made of ones that borrow it.
//!
//! Guards of tokio's that own an `Arc` want one of tokio's lock, which here is a part of another.

#![expect(
    unsafe_code,
    reason = "the guard borrows from what the `Arc` beside it keeps alive"
)]

use std::{future::Future, sync::Arc};

use super::Guard;

/// A guard, and the `Arc` that keeps its lock alive.
type Owned<const N: usize, G, L> = Guard<'static, N, G, Arc<L>>;

/// Takes the lock, or fails.
///
/// # Safety
/// Nothing but the guard may be left of the reference that `take` is given.
pub(super) unsafe fn try_take<const N: usize, G, L: ?Sized + 'static, M, E>(
    lock: Arc<L>,
    take: impl FnOnce(&'static L) -> Result<Guard<'static, N, G, M>, E>,
) -> Result<Owned<N, G, L>, E> {
    // SAFETY: the lock stays where it is for as long as the `Arc`, which is dropped after the
    // guard: here if `take` fails or panics, else by the order of a guard's fields.
    let guard = take(unsafe { extend(&lock) })?;
    Ok(Guard::owning(lock, guard))
}

/// Takes the lock, when it is its turn; `own` makes the outcome keep the `Arc`.
///
/// # Safety
/// Nothing but the guard may be left of the reference that `take` is given, and the guard must
/// go before the `Arc`, as it does in [`Guard::owning`].
pub(super) unsafe fn take<L: ?Sized + 'static, F: Future, O>(
    lock: Arc<L>,
    take: impl FnOnce(&'static L) -> F,
    own: impl FnOnce(Arc<L>, F::Output) -> O,
) -> impl Future<Output = O> {
    // SAFETY: the lock stays where it is for as long as the `Arc`. The future below has both,
    // and drops what it awaits, or the guard, before what it captured first.
    let guard = take(unsafe { extend(&lock) });
    Captured { guard, lock }.resolve(own)
}

/// A future that borrows from what the `Arc` beside it keeps alive.
struct Captured<F, L: ?Sized> {
    // Dropped before the lock that it borrows from.
    guard: F,
    lock: Arc<L>,
}

impl<F: Future, L: ?Sized> Captured<F, L> {
    async fn resolve<O>(self, own: impl FnOnce(Arc<L>, F::Output) -> O) -> O {
        // What is awaited is dropped before the variables.
        let Self { guard, lock } = self;
        let guard = guard.await;
        own(lock, guard)
    }
}

/// # Safety
/// What is left of the reference has to go before the last `Arc` does.
unsafe fn extend<L: ?Sized + 'static>(lock: &Arc<L>) -> &'static L {
    // SAFETY: an `Arc` points to a value that is there until the last one is dropped, and whose
    // place does not change; the caller sees to the rest.
    unsafe { &*Arc::as_ptr(lock) }
}
