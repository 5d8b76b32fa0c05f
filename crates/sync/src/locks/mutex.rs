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

/// Like [`tokio::sync::Mutex`], but it knows who holds it and who waits.
///
/// A claim names the task and thread that took the lock, and the line in the source.
///
/// Differences from tokio's: the type is 88 bytes larger; the guards that own an `Arc` require
/// `T: 'static`; `lock` and `lock_owned` are functions that return a future, not `async fn`, as
/// only such functions know the caller's line.
pub struct Mutex<T: ?Sized> {
    ledger: Ledger<1>,
    inner: tokio::sync::Mutex<T>,
}

impl<T: ?Sized> Mutex<T> {
    /// Like [`tokio::sync::Mutex::new`].
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

    /// Like [`tokio::sync::Mutex::const_new`].
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

    /// Like [`tokio::sync::Mutex::lock`], with the same cancel safety.
    #[track_caller]
    pub fn lock(&self) -> impl Future<Output = MutexGuard<'_, T>> {
        self.lock_at(Location::caller())
    }

    fn lock_at(&self, site: &'static Location<'static>) -> impl Future<Output = MutexGuard<'_, T>> {
        Guard::wait(&self.ledger, self.inner.lock(), self, Wish::exclusive(site))
    }

    /// Like [`tokio::sync::Mutex::blocking_lock`].
    ///
    /// # Panics
    /// If called on a thread that polls tasks.
    #[track_caller]
    pub fn blocking_lock(&self) -> MutexGuard<'_, T> {
        block_on(self.lock())
    }

    /// Like [`tokio::sync::Mutex::try_lock`].
    ///
    /// # Errors
    /// If the lock is held.
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

    /// Like [`tokio::sync::Mutex::lock_owned`], with the same cancel safety.
    #[track_caller]
    pub fn lock_owned(self: Arc<Self>) -> impl Future<Output = OwnedMutexGuard<T>>
    where
        T: 'static,
    {
        let site = Location::caller();
        // SAFETY: the future returns the guard and nothing else.
        unsafe { owned::take(self, move |lock| lock.lock_at(site), Guard::owning) }
    }

    /// Like [`tokio::sync::Mutex::blocking_lock_owned`].
    ///
    /// # Panics
    /// If called on a thread that polls tasks.
    #[track_caller]
    pub fn blocking_lock_owned(self: Arc<Self>) -> OwnedMutexGuard<T>
    where
        T: 'static,
    {
        block_on(self.lock_owned())
    }

    /// Like [`tokio::sync::Mutex::try_lock_owned`].
    ///
    /// # Errors
    /// If the lock is held.
    #[track_caller]
    pub fn try_lock_owned(self: Arc<Self>) -> Result<OwnedMutexGuard<T>, TryLockError>
    where
        T: 'static,
    {
        let site = Location::caller();
        // SAFETY: it returns the guard, or an error that borrows nothing.
        unsafe { owned::try_take(self, |lock| lock.try_lock_at(site)) }
    }

    /// Like [`tokio::sync::Mutex::get_mut`].
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }

    /// Like [`tokio::sync::Mutex::into_inner`].
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
