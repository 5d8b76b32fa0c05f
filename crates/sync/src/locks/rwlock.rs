//! A read-write lock that knows its holders.

#![expect(
    unsafe_code,
    reason = "guards that own an `Arc` are made of ones that borrow"
)]

use std::{any::type_name, fmt, future::Future, panic::Location, sync::Arc};

use tokio::sync::TryLockError;

use super::{
    Guard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLockReadGuard, RwLockWriteGuard,
    blocking::block_on, owned,
};
use crate::{
    claim::{Kind, Wish},
    ledger::Ledger,
};

/// The number of holders that have room in the lock. More of them allocate.
pub(super) const SLOTS: usize = 4;

/// Like [`tokio::sync::RwLock`], but it knows who holds it and who waits.
///
/// A claim names the task and thread that took the lock, and the line in the source.
///
/// Differences from tokio's: the type is 208 bytes larger; the guards that own an `Arc` require
/// `T: 'static`; methods to await are functions that return a future, not `async fn`, as only such
/// functions know the caller's line.
pub struct RwLock<T: ?Sized> {
    ledger: Ledger<SLOTS>,
    inner: tokio::sync::RwLock<T>,
}

impl<T: ?Sized> RwLock<T> {
    /// Like [`tokio::sync::RwLock::new`].
    #[track_caller]
    pub fn new(value: T) -> Self
    where
        T: Sized,
    {
        Self {
            ledger: Ledger::new(Kind::RwLock, type_name::<T>, Location::caller()),
            inner: tokio::sync::RwLock::new(value),
        }
    }

    /// Like [`tokio::sync::RwLock::with_max_readers`].
    ///
    /// # Panics
    /// If `max_reads` is larger than tokio allows.
    #[track_caller]
    pub fn with_max_readers(value: T, max_reads: u32) -> Self
    where
        T: Sized,
    {
        Self {
            ledger: Ledger::new(Kind::RwLock, type_name::<T>, Location::caller()),
            inner: tokio::sync::RwLock::with_max_readers(value, max_reads),
        }
    }

    /// Like [`tokio::sync::RwLock::const_new`].
    #[track_caller]
    pub const fn const_new(value: T) -> Self
    where
        T: Sized,
    {
        Self {
            ledger: Ledger::new(Kind::RwLock, type_name::<T>, Location::caller()),
            inner: tokio::sync::RwLock::const_new(value),
        }
    }

    /// Like [`tokio::sync::RwLock::const_with_max_readers`].
    ///
    /// # Panics
    /// If `max_reads` is larger than tokio allows.
    #[track_caller]
    pub const fn const_with_max_readers(value: T, max_reads: u32) -> Self
    where
        T: Sized,
    {
        Self {
            ledger: Ledger::new(Kind::RwLock, type_name::<T>, Location::caller()),
            inner: tokio::sync::RwLock::const_with_max_readers(value, max_reads),
        }
    }

    /// Like [`tokio::sync::RwLock::read`], with the same cancel safety.
    #[track_caller]
    pub fn read(&self) -> impl Future<Output = RwLockReadGuard<'_, T>> {
        self.read_at(Location::caller())
    }

    fn read_at(
        &self,
        site: &'static Location<'static>,
    ) -> impl Future<Output = RwLockReadGuard<'_, T>> {
        Guard::wait(&self.ledger, self.inner.read(), (), Wish::shared(site, 1))
    }

    /// Like [`tokio::sync::RwLock::blocking_read`].
    ///
    /// # Panics
    /// If called on a thread that polls tasks.
    #[track_caller]
    pub fn blocking_read(&self) -> RwLockReadGuard<'_, T> {
        block_on(self.read())
    }

    /// Like [`tokio::sync::RwLock::read_owned`], with the same cancel safety.
    #[track_caller]
    pub fn read_owned(self: Arc<Self>) -> impl Future<Output = OwnedRwLockReadGuard<T>>
    where
        T: 'static,
    {
        let site = Location::caller();
        // SAFETY: the future returns the guard and nothing else.
        unsafe { owned::take(self, move |lock| lock.read_at(site), Guard::owning) }
    }

    /// Like [`tokio::sync::RwLock::try_read`].
    ///
    /// # Errors
    /// If somebody holds it for writing or waits to.
    #[track_caller]
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, TryLockError> {
        self.try_read_at(Location::caller())
    }

    fn try_read_at(
        &self,
        site: &'static Location<'static>,
    ) -> Result<RwLockReadGuard<'_, T>, TryLockError> {
        let inner = self.inner.try_read()?;
        Ok(Guard::new(&self.ledger, inner, (), Wish::shared(site, 1)))
    }

    /// Like [`tokio::sync::RwLock::try_read_owned`].
    ///
    /// # Errors
    /// If somebody holds it for writing or waits to.
    #[track_caller]
    pub fn try_read_owned(self: Arc<Self>) -> Result<OwnedRwLockReadGuard<T>, TryLockError>
    where
        T: 'static,
    {
        let site = Location::caller();
        // SAFETY: it returns the guard, or an error that borrows nothing.
        unsafe { owned::try_take(self, |lock| lock.try_read_at(site)) }
    }

    /// Like [`tokio::sync::RwLock::write`], with the same cancel safety.
    #[track_caller]
    pub fn write(&self) -> impl Future<Output = RwLockWriteGuard<'_, T>> {
        self.write_at(Location::caller())
    }

    fn write_at(
        &self,
        site: &'static Location<'static>,
    ) -> impl Future<Output = RwLockWriteGuard<'_, T>> {
        Guard::wait(&self.ledger, self.inner.write(), (), Wish::exclusive(site))
    }

    /// Like [`tokio::sync::RwLock::blocking_write`].
    ///
    /// # Panics
    /// If called on a thread that polls tasks.
    #[track_caller]
    pub fn blocking_write(&self) -> RwLockWriteGuard<'_, T> {
        block_on(self.write())
    }

    /// Like [`tokio::sync::RwLock::write_owned`], with the same cancel safety.
    #[track_caller]
    pub fn write_owned(self: Arc<Self>) -> impl Future<Output = OwnedRwLockWriteGuard<T>>
    where
        T: 'static,
    {
        let site = Location::caller();
        // SAFETY: the future returns the guard and nothing else.
        unsafe { owned::take(self, move |lock| lock.write_at(site), Guard::owning) }
    }

    /// Like [`tokio::sync::RwLock::try_write`].
    ///
    /// # Errors
    /// If somebody holds it.
    #[track_caller]
    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>, TryLockError> {
        self.try_write_at(Location::caller())
    }

    fn try_write_at(
        &self,
        site: &'static Location<'static>,
    ) -> Result<RwLockWriteGuard<'_, T>, TryLockError> {
        let inner = self.inner.try_write()?;
        Ok(Guard::new(&self.ledger, inner, (), Wish::exclusive(site)))
    }

    /// Like [`tokio::sync::RwLock::try_write_owned`].
    ///
    /// # Errors
    /// If somebody holds it.
    #[track_caller]
    pub fn try_write_owned(self: Arc<Self>) -> Result<OwnedRwLockWriteGuard<T>, TryLockError>
    where
        T: 'static,
    {
        let site = Location::caller();
        // SAFETY: it returns the guard, or an error that borrows nothing.
        unsafe { owned::try_take(self, |lock| lock.try_write_at(site)) }
    }

    /// Like [`tokio::sync::RwLock::get_mut`].
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }

    /// Like [`tokio::sync::RwLock::into_inner`].
    pub fn into_inner(self) -> T
    where
        T: Sized,
    {
        self.inner.into_inner()
    }
}

impl<T> From<T> for RwLock<T> {
    #[track_caller]
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Default> Default for RwLock<T> {
    #[track_caller]
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
