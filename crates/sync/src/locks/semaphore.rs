//! A semaphore that knows who has its permits.

#![expect(
    unsafe_code,
    reason = "permits that own an `Arc` are made of ones that borrow"
)]

use std::{fmt, future::Future, panic::Location, sync::Arc};

use tokio::sync::{AcquireError, TryAcquireError};

use super::{Guard, blocking::block_on, owned, rwlock::SLOTS};
use crate::{
    claim::{Kind, Mode, Wish},
    ledger::Ledger,
    waiting::Waiting,
};

/// As [`tokio::sync::Semaphore`], and it is known who has its permits and who waits for some.
///
/// The claim is that of the task and thread that took the permits, and of the line that did.
/// Permits that were forgotten with `forget` are nobody's any more: they are gone, or somebody
/// gives them back with `add_permits`. Those of a permit that was leaked with `mem::forget` stay
/// held for ever.
///
/// What differs from tokio's: the type is larger, by 208 bytes, and what is awaited are
/// functions that return a future instead of `async fn`, as only so the caller's line is known.
pub struct Semaphore {
    ledger: Ledger<SLOTS>,
    inner: tokio::sync::Semaphore,
}

/// As [`tokio::sync::SemaphorePermit`].
pub type SemaphorePermit<'a> = Permit<'a, &'a Semaphore>;

/// As [`tokio::sync::OwnedSemaphorePermit`].
pub type OwnedSemaphorePermit = Permit<'static, Arc<Semaphore>>;

type Permit<'a, L> = Guard<'a, SLOTS, tokio::sync::SemaphorePermit<'a>, L>;

/// A semaphore guards no value.
const fn no_value() -> &'static str {
    ""
}

impl Semaphore {
    /// As [`tokio::sync::Semaphore::MAX_PERMITS`].
    pub const MAX_PERMITS: usize = tokio::sync::Semaphore::MAX_PERMITS;

    /// As [`tokio::sync::Semaphore::new`].
    ///
    /// # Panics
    /// When there are more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    #[track_caller]
    #[must_use]
    pub fn new(permits: usize) -> Self {
        Self {
            ledger: Ledger::new(Kind::Semaphore, no_value, Location::caller()),
            inner: tokio::sync::Semaphore::new(permits),
        }
    }

    /// As [`tokio::sync::Semaphore::const_new`].
    ///
    /// # Panics
    /// When there are more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    #[track_caller]
    #[must_use]
    pub const fn const_new(permits: usize) -> Self {
        Self {
            ledger: Ledger::new(Kind::Semaphore, no_value, Location::caller()),
            inner: tokio::sync::Semaphore::const_new(permits),
        }
    }

    /// As [`tokio::sync::Semaphore::available_permits`].
    pub fn available_permits(&self) -> usize {
        self.inner.available_permits()
    }

    /// As [`tokio::sync::Semaphore::add_permits`].
    ///
    /// # Panics
    /// When there would be more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    pub fn add_permits(&self, n: usize) {
        self.inner.add_permits(n);
    }

    /// As [`tokio::sync::Semaphore::forget_permits`].
    pub fn forget_permits(&self, n: usize) -> usize {
        self.inner.forget_permits(n)
    }

    /// As [`tokio::sync::Semaphore::acquire`], with the same cancel safety.
    ///
    /// # Errors
    /// When the semaphore is closed.
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<SemaphorePermit<'_>, AcquireError>> {
        let wish = Wish::shared(Location::caller(), 1);
        self.waiting(self.inner.acquire(), wish)
    }

    /// As [`tokio::sync::Semaphore::acquire_many`], with the same cancel safety.
    ///
    /// # Errors
    /// When the semaphore is closed.
    #[track_caller]
    pub fn acquire_many(
        &self,
        n: u32,
    ) -> impl Future<Output = Result<SemaphorePermit<'_>, AcquireError>> {
        self.acquire_many_at(n, Location::caller())
    }

    fn acquire_many_at(
        &self,
        n: u32,
        site: &'static Location<'static>,
    ) -> impl Future<Output = Result<SemaphorePermit<'_>, AcquireError>> {
        self.waiting(self.inner.acquire_many(n), Wish::shared(site, n))
    }

    fn waiting<'a>(
        &'a self,
        acquire: impl Future<Output = Result<tokio::sync::SemaphorePermit<'a>, AcquireError>>,
        wish: Wish,
    ) -> impl Future<Output = Result<SemaphorePermit<'a>, AcquireError>> {
        let wait = move || self.ledger.wait(wish);
        let done = move |inner| Ok(self.permit(inner?, wish));
        Waiting::new(acquire, wait, done)
    }

    #[inline]
    fn permit<'a>(
        &'a self,
        inner: tokio::sync::SemaphorePermit<'a>,
        wish: Wish,
    ) -> SemaphorePermit<'a> {
        Guard::new(&self.ledger, inner, self, wish)
    }

    /// As [`tokio::sync::Semaphore::try_acquire`].
    ///
    /// # Errors
    /// When the semaphore is closed or has no permit left.
    #[track_caller]
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// As [`tokio::sync::Semaphore::try_acquire_many`].
    ///
    /// # Errors
    /// When the semaphore is closed or has too few permits left.
    #[track_caller]
    pub fn try_acquire_many(&self, n: u32) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        let inner = self.inner.try_acquire_many(n)?;
        Ok(self.permit(inner, Wish::shared(Location::caller(), n)))
    }

    /// As [`tokio::sync::Semaphore`]'s method of this name.
    ///
    /// # Errors
    /// When the semaphore is closed.
    ///
    /// # Panics
    /// On a thread that polls tasks.
    #[track_caller]
    pub fn blocking_acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        block_on(self.acquire())
    }

    /// As [`tokio::sync::Semaphore`]'s method of this name.
    ///
    /// # Errors
    /// When the semaphore is closed.
    ///
    /// # Panics
    /// On a thread that polls tasks.
    #[track_caller]
    pub fn blocking_acquire_many(&self, n: u32) -> Result<SemaphorePermit<'_>, AcquireError> {
        block_on(self.acquire_many(n))
    }

    /// As [`tokio::sync::Semaphore::acquire_owned`], with the same cancel safety.
    ///
    /// # Errors
    /// When the semaphore is closed.
    #[track_caller]
    pub fn acquire_owned(
        self: Arc<Self>,
    ) -> impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>> {
        let wish = Wish::shared(Location::caller(), 1);
        let take =
            move |semaphore: &'static Self| semaphore.waiting(semaphore.inner.acquire(), wish);
        // SAFETY: the future gives the permit, or an error that borrows nothing.
        unsafe { owned::take(self, take, own) }
    }

    /// As [`tokio::sync::Semaphore::acquire_many_owned`], with the same cancel safety.
    ///
    /// # Errors
    /// When the semaphore is closed.
    #[track_caller]
    pub fn acquire_many_owned(
        self: Arc<Self>,
        n: u32,
    ) -> impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>> {
        let site = Location::caller();
        // SAFETY: the future gives the permit, or an error that borrows nothing.
        unsafe { owned::take(self, move |lock| lock.acquire_many_at(n, site), own) }
    }

    /// As [`tokio::sync::Semaphore::try_acquire_owned`].
    ///
    /// # Errors
    /// When the semaphore is closed or has no permit left.
    #[track_caller]
    pub fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_acquire_many_owned(1)
    }

    /// As [`tokio::sync::Semaphore::try_acquire_many_owned`].
    ///
    /// # Errors
    /// When the semaphore is closed or has too few permits left.
    #[track_caller]
    pub fn try_acquire_many_owned(
        self: Arc<Self>,
        n: u32,
    ) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        let site = Location::caller();
        let take = |semaphore: &'static Self| {
            let inner = semaphore.inner.try_acquire_many(n)?;
            Ok(semaphore.permit(inner, Wish::shared(site, n)))
        };
        // SAFETY: it gives the permit, or an error that borrows nothing.
        unsafe { owned::try_take(self, take) }
    }

    /// As [`tokio::sync::Semaphore`]'s method of this name.
    ///
    /// # Errors
    /// When the semaphore is closed.
    ///
    /// # Panics
    /// On a thread that polls tasks.
    #[track_caller]
    pub fn blocking_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, AcquireError> {
        block_on(self.acquire_owned())
    }

    /// As [`tokio::sync::Semaphore`]'s method of this name.
    ///
    /// # Errors
    /// When the semaphore is closed.
    ///
    /// # Panics
    /// On a thread that polls tasks.
    #[track_caller]
    pub fn blocking_acquire_many_owned(
        self: Arc<Self>,
        n: u32,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        block_on(self.acquire_many_owned(n))
    }

    /// As [`tokio::sync::Semaphore::close`].
    pub fn close(&self) {
        self.inner.close();
    }

    /// As [`tokio::sync::Semaphore::is_closed`].
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Of permits that borrow the semaphore and of those that own an `Arc` of it.
impl<L> Permit<'_, L> {
    /// As [`tokio::sync::SemaphorePermit::forget`]. The claim ends.
    pub fn forget(self) {
        self.inner.forget();
    }

    /// As [`tokio::sync::SemaphorePermit::merge`]. The claim is that of `self`.
    ///
    /// # Panics
    /// When `other` is of another semaphore.
    #[track_caller]
    pub fn merge(&mut self, other: Self) {
        self.inner.merge(other.inner);
        drop(other.held);
        self.tell_permits();
    }

    /// As [`tokio::sync::SemaphorePermit::split`]. Both are claims of who took `self`.
    pub fn split(&mut self, n: usize) -> Option<Self>
    where
        L: Clone,
    {
        let inner = self.inner.split(n)?;
        self.tell_permits();
        Some(Self {
            held: self.held.split(permits(&inner)),
            inner,
            lock: self.lock.clone(),
        })
    }

    fn tell_permits(&self) {
        self.held.set_share(Mode::Shared, permits(&self.inner));
    }

    /// As [`tokio::sync::SemaphorePermit::num_permits`].
    pub fn num_permits(&self) -> usize {
        self.inner.num_permits()
    }
}

impl SemaphorePermit<'_> {
    /// As [`tokio::sync::SemaphorePermit::semaphore`].
    pub fn semaphore(&self) -> &Semaphore {
        self.lock
    }
}

impl OwnedSemaphorePermit {
    /// As [`tokio::sync::OwnedSemaphorePermit::semaphore`].
    pub fn semaphore(&self) -> &Arc<Semaphore> {
        &self.lock
    }
}

fn own(
    semaphore: Arc<Semaphore>,
    permit: Result<SemaphorePermit<'static>, AcquireError>,
) -> Result<OwnedSemaphorePermit, AcquireError> {
    Ok(Guard::owning(semaphore, permit?))
}

fn permits(permit: &tokio::sync::SemaphorePermit<'_>) -> u32 {
    u32::try_from(permit.num_permits()).unwrap_or(u32::MAX)
}
