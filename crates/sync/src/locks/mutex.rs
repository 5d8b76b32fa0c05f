//! A mutex that knows its holder.

#![expect(
    unsafe_code,
    reason = "guards that own an `Arc` are made of ones that borrow"
)]

use std::{any::type_name, fmt, future::Future, panic::Location, sync::Arc};

use tokio::sync::TryLockError;

use super::{Guard, MutexGuard, OwnedMutexGuard, blocking::block_on, owned};
use crate::{
    claim::{Kind, Wish},
    ledger::Ledger,
};

/// As [`tokio::sync::Mutex`], and it is known who holds it and who waits.
///
/// The claim is that of the task and thread that took the lock, and of the line that did.
///
/// What differs from tokio's: the type is larger, by 88 bytes; the guards that own an `Arc`
/// want a `T: 'static`; `lock` and `lock_owned` are functions that return a future instead of
/// `async fn`, as only so the caller's line is known.
pub struct Mutex<T: ?Sized> {
    ledger: Ledger<1>,
    inner: tokio::sync::Mutex<T>,
}

impl<T: ?Sized> Mutex<T> {
    /// As [`tokio::sync::Mutex::new`].
    #[track_caller]
    pub fn new(value: T) -> Self
    where
        T: Sized,
    {
        Self {
            ledger: Ledger::new(Kind::Mutex, type_name::<T>, Location::caller()),
            inner: tokio::sync::Mutex::new(value),
        }
    }

    /// As [`tokio::sync::Mutex::const_new`].
    #[track_caller]
    pub const fn const_new(value: T) -> Self
    where
        T: Sized,
    {
        Self {
            ledger: Ledger::new(Kind::Mutex, type_name::<T>, Location::caller()),
            inner: tokio::sync::Mutex::const_new(value),
        }
    }

    /// As [`tokio::sync::Mutex::lock`], with the same cancel safety.
    #[track_caller]
    pub fn lock(&self) -> impl Future<Output = MutexGuard<'_, T>> {
        self.lock_at(Location::caller())
    }

    fn lock_at(&self, site: &'static Location<'static>) -> impl Future<Output = MutexGuard<'_, T>> {
        Guard::wait(&self.ledger, self.inner.lock(), self, Wish::exclusive(site))
    }

    /// As [`tokio::sync::Mutex::blocking_lock`].
    ///
    /// # Panics
    /// On a thread that polls tasks.
    #[track_caller]
    pub fn blocking_lock(&self) -> MutexGuard<'_, T> {
        block_on(self.lock())
    }

    /// As [`tokio::sync::Mutex::try_lock`].
    ///
    /// # Errors
    /// When the lock is held.
    #[track_caller]
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, TryLockError> {
        self.try_lock_at(Location::caller())
    }

    fn try_lock_at(
        &self,
        site: &'static Location<'static>,
    ) -> Result<MutexGuard<'_, T>, TryLockError> {
        let inner = self.inner.try_lock()?;
        Ok(Guard::new(&self.ledger, inner, self, Wish::exclusive(site)))
    }

    /// As [`tokio::sync::Mutex::lock_owned`], with the same cancel safety.
    #[track_caller]
    pub fn lock_owned(self: Arc<Self>) -> impl Future<Output = OwnedMutexGuard<T>>
    where
        T: 'static,
    {
        let site = Location::caller();
        // SAFETY: the future gives the guard and nothing else.
        unsafe { owned::take(self, move |lock| lock.lock_at(site), Guard::owning) }
    }

    /// As [`tokio::sync::Mutex::blocking_lock_owned`].
    ///
    /// # Panics
    /// On a thread that polls tasks.
    #[track_caller]
    pub fn blocking_lock_owned(self: Arc<Self>) -> OwnedMutexGuard<T>
    where
        T: 'static,
    {
        block_on(self.lock_owned())
    }

    /// As [`tokio::sync::Mutex::try_lock_owned`].
    ///
    /// # Errors
    /// When the lock is held.
    #[track_caller]
    pub fn try_lock_owned(self: Arc<Self>) -> Result<OwnedMutexGuard<T>, TryLockError>
    where
        T: 'static,
    {
        let site = Location::caller();
        // SAFETY: it gives the guard, or an error that borrows nothing.
        unsafe { owned::try_take(self, |lock| lock.try_lock_at(site)) }
    }

    /// As [`tokio::sync::Mutex::get_mut`].
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }

    /// As [`tokio::sync::Mutex::into_inner`].
    pub fn into_inner(self) -> T
    where
        T: Sized,
    {
        self.inner.into_inner()
    }
}

impl<T> From<T> for Mutex<T> {
    #[track_caller]
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Default> Default for Mutex<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
