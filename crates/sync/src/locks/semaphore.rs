//! A semaphore that knows who holds its permits.

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

/// Like [`tokio::sync::Semaphore`], but it knows who holds its permits and who waits for some.
///
/// A claim names the task and thread that took the permits, and the line in the source. Permits
/// forgotten with `forget` no longer belong to anybody: they are gone, unless somebody gives them
/// back with `add_permits`. A permit leaked with `mem::forget` stays held forever.
///
/// Differences from tokio's: the type is 208 bytes larger, and methods to await are functions that
/// return a future, not `async fn`, as only such functions know the caller's line.
pub struct Semaphore {
    ledger: Ledger<SLOTS>,
    inner: tokio::sync::Semaphore,
}

/// Like [`tokio::sync::SemaphorePermit`].
pub type SemaphorePermit<'a> = Permit<'a, &'a Semaphore>;

/// Like [`tokio::sync::OwnedSemaphorePermit`].
pub type OwnedSemaphorePermit = Permit<'static, Arc<Semaphore>>;

type Permit<'a, L> = Guard<'a, SLOTS, tokio::sync::SemaphorePermit<'a>, L>;

/// Names the type of no value, as a semaphore guards none.
const fn no_value() -> &'static str {
    ""
}

impl Semaphore {
    /// Like [`tokio::sync::Semaphore::MAX_PERMITS`].
    pub const MAX_PERMITS: usize = tokio::sync::Semaphore::MAX_PERMITS;

    /// Like [`tokio::sync::Semaphore::new`].
    ///
    /// # Panics
    /// If there are more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    #[track_caller]
    #[must_use]
    pub fn new(permits: usize) -> Self {
        Self {
            ledger: Ledger::new(Kind::Semaphore, no_value, Location::caller()),
            inner: tokio::sync::Semaphore::new(permits),
        }
    }

    /// Like [`tokio::sync::Semaphore::const_new`].
    ///
    /// # Panics
    /// If there are more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    #[track_caller]
    #[must_use]
    pub const fn const_new(permits: usize) -> Self {
        Self {
            ledger: Ledger::new(Kind::Semaphore, no_value, Location::caller()),
            inner: tokio::sync::Semaphore::const_new(permits),
        }
    }

    /// Like [`tokio::sync::Semaphore::available_permits`].
    pub fn available_permits(&self) -> usize {
        self.inner.available_permits()
    }

    /// Like [`tokio::sync::Semaphore::add_permits`].
    ///
    /// # Panics
    /// If there would be more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    pub fn add_permits(&self, n: usize) {
        self.inner.add_permits(n);
    }

    /// Like [`tokio::sync::Semaphore::forget_permits`].
    pub fn forget_permits(&self, n: usize) -> usize {
        self.inner.forget_permits(n)
    }

    /// Like [`tokio::sync::Semaphore::acquire`], with the same cancel safety.
    ///
    /// # Errors
    /// If the semaphore is closed.
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<SemaphorePermit<'_>, AcquireError>> {
        let wish = Wish::shared(Location::caller(), 1);
        self.waiting(self.inner.acquire(), wish)
    }

    /// Like [`tokio::sync::Semaphore::acquire_many`], with the same cancel safety.
    ///
    /// # Errors
    /// If the semaphore is closed.
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

    /// Like [`tokio::sync::Semaphore::try_acquire`].
    ///
    /// # Errors
    /// If the semaphore is closed or has no permit left.
    #[track_caller]
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Like [`tokio::sync::Semaphore::try_acquire_many`].
    ///
    /// # Errors
    /// If the semaphore is closed or has too few permits left.
    #[track_caller]
    pub fn try_acquire_many(&self, n: u32) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        let inner = self.inner.try_acquire_many(n)?;
        Ok(self.permit(inner, Wish::shared(Location::caller(), n)))
    }

    /// Blocks like [`tokio::sync::Semaphore`]'s method of this name.
    ///
    /// # Errors
    /// If the semaphore is closed.
    ///
    /// # Panics
    /// If called on a thread that polls tasks.
    #[track_caller]
    pub fn blocking_acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        block_on(self.acquire())
    }

    /// Blocks like [`tokio::sync::Semaphore`]'s method of this name.
    ///
    /// # Errors
    /// If the semaphore is closed.
    ///
    /// # Panics
    /// If called on a thread that polls tasks.
    #[track_caller]
    pub fn blocking_acquire_many(&self, n: u32) -> Result<SemaphorePermit<'_>, AcquireError> {
        block_on(self.acquire_many(n))
    }

    /// Like [`tokio::sync::Semaphore::acquire_owned`], with the same cancel safety.
    ///
    /// # Errors
    /// If the semaphore is closed.
    #[track_caller]
    pub fn acquire_owned(
        self: Arc<Self>,
    ) -> impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>> {
        let wish = Wish::shared(Location::caller(), 1);
        let take =
            move |semaphore: &'static Self| semaphore.waiting(semaphore.inner.acquire(), wish);
        // SAFETY: the future returns the permit, or an error that borrows nothing.
        unsafe { owned::take(self, take, own) }
    }

    /// Like [`tokio::sync::Semaphore::acquire_many_owned`], with the same cancel safety.
    ///
    /// # Errors
    /// If the semaphore is closed.
    #[track_caller]
    pub fn acquire_many_owned(
        self: Arc<Self>,
        n: u32,
    ) -> impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>> {
        let site = Location::caller();
        // SAFETY: the future returns the permit, or an error that borrows nothing.
        unsafe { owned::take(self, move |lock| lock.acquire_many_at(n, site), own) }
    }

    /// Like [`tokio::sync::Semaphore::try_acquire_owned`].
    ///
    /// # Errors
    /// If the semaphore is closed or has no permit left.
    #[track_caller]
    pub fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_acquire_many_owned(1)
    }

    /// Like [`tokio::sync::Semaphore::try_acquire_many_owned`].
    ///
    /// # Errors
    /// If the semaphore is closed or has too few permits left.
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
        // SAFETY: it returns the permit, or an error that borrows nothing.
        unsafe { owned::try_take(self, take) }
    }

    /// Blocks like [`tokio::sync::Semaphore`]'s method of this name.
    ///
    /// # Errors
    /// If the semaphore is closed.
    ///
    /// # Panics
    /// If called on a thread that polls tasks.
    #[track_caller]
    pub fn blocking_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, AcquireError> {
        block_on(self.acquire_owned())
    }

    /// Blocks like [`tokio::sync::Semaphore`]'s method of this name.
    ///
    /// # Errors
    /// If the semaphore is closed.
    ///
    /// # Panics
    /// If called on a thread that polls tasks.
    #[track_caller]
    pub fn blocking_acquire_many_owned(
        self: Arc<Self>,
        n: u32,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        block_on(self.acquire_many_owned(n))
    }

    /// Like [`tokio::sync::Semaphore::close`].
    pub fn close(&self) {
        self.inner.close();
    }

    /// Like [`tokio::sync::Semaphore::is_closed`].
    pub fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Methods of permits that borrow the semaphore and of permits that own an `Arc` of it.
impl<L> Permit<'_, L> {
    /// Like [`tokio::sync::SemaphorePermit::forget`]. Ends the claim.
    pub fn forget(self) {
        self.inner.forget();
    }

    /// Like [`tokio::sync::SemaphorePermit::merge`]. The claim of `self` remains.
    ///
    /// # Panics
    /// If `other` belongs to another semaphore.
    #[track_caller]
    pub fn merge(&mut self, other: Self) {
        self.inner.merge(other.inner);
        drop(other.held);
        self.tell_permits();
    }

    /// Like [`tokio::sync::SemaphorePermit::split`]. Both claims belong to whoever took `self`.
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

    /// Like [`tokio::sync::SemaphorePermit::num_permits`].
    pub fn num_permits(&self) -> usize {
        self.inner.num_permits()
    }
}

impl SemaphorePermit<'_> {
    /// Like [`tokio::sync::SemaphorePermit::semaphore`].
    pub fn semaphore(&self) -> &Semaphore {
        self.lock
    }
}

impl OwnedSemaphorePermit {
    /// Like [`tokio::sync::OwnedSemaphorePermit::semaphore`].
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
