//! The guards of a [`Mutex`].

use std::sync::Arc;

use super::{Guard, Mutex};

/// Like [`tokio::sync::MutexGuard`].
pub type MutexGuard<'a, T> = Guard<'a, 1, tokio::sync::MutexGuard<'a, T>, &'a Mutex<T>>;

/// Like [`tokio::sync::MappedMutexGuard`].
pub type MappedMutexGuard<'a, T> = Guard<'a, 1, tokio::sync::MappedMutexGuard<'a, T>>;

/// Like [`tokio::sync::OwnedMutexGuard`].
pub type OwnedMutexGuard<T> = Guard<'static, 1, tokio::sync::MutexGuard<'static, T>, Arc<Mutex<T>>>;

/// Like [`tokio::sync::OwnedMappedMutexGuard`].
pub type OwnedMappedMutexGuard<T, U = T> =
    Guard<'static, 1, tokio::sync::MappedMutexGuard<'static, U>, Arc<Mutex<T>>>;

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// Like [`tokio::sync::MutexGuard::map`].
    pub fn map<U: ?Sized, F>(this: Self, f: F) -> MappedMutexGuard<'a, U>
    where
        F: FnOnce(&mut T) -> &mut U,
    {
        this.map_inner(|inner| tokio::sync::MutexGuard::map(inner, f))
            .with_lock(())
    }

    /// Like [`tokio::sync::MutexGuard::try_map`].
    ///
    /// # Errors
    /// Returns the guard if `f` returns `None`.
    pub fn try_map<U: ?Sized, F>(this: Self, f: F) -> Result<MappedMutexGuard<'a, U>, Self>
    where
        F: FnOnce(&mut T) -> Option<&mut U>,
    {
        let mapped = this.try_map_inner(|inner| tokio::sync::MutexGuard::try_map(inner, f))?;
        Ok(mapped.with_lock(()))
    }

    /// Like [`tokio::sync::MutexGuard::mutex`].
    pub fn mutex(this: &Self) -> &'a Mutex<T> {
        this.lock
    }
}

impl<T: ?Sized> OwnedMutexGuard<T> {
    /// Like [`tokio::sync::OwnedMutexGuard::map`].
    pub fn map<U: ?Sized, F>(this: Self, f: F) -> OwnedMappedMutexGuard<T, U>
    where
        F: FnOnce(&mut T) -> &mut U,
    {
        this.map_inner(|inner| tokio::sync::MutexGuard::map(inner, f))
    }

    /// Like [`tokio::sync::OwnedMutexGuard::try_map`].
    ///
    /// # Errors
    /// Returns the guard if `f` returns `None`.
    pub fn try_map<U: ?Sized, F>(this: Self, f: F) -> Result<OwnedMappedMutexGuard<T, U>, Self>
    where
        F: FnOnce(&mut T) -> Option<&mut U>,
    {
        this.try_map_inner(|inner| tokio::sync::MutexGuard::try_map(inner, f))
    }

    /// Like [`tokio::sync::OwnedMutexGuard::mutex`].
    pub fn mutex(this: &Self) -> &Arc<Mutex<T>> {
        &this.lock
    }
}

/// Methods of guards that borrow and of guards that own.
impl<'a, T: ?Sized, L> Guard<'a, 1, tokio::sync::MappedMutexGuard<'a, T>, L> {
    /// Like [`tokio::sync::MappedMutexGuard::map`].
    pub fn map<U, F>(this: Self, f: F) -> Guard<'a, 1, tokio::sync::MappedMutexGuard<'a, U>, L>
    where
        F: FnOnce(&mut T) -> &mut U,
    {
        this.map_inner(|inner| tokio::sync::MappedMutexGuard::map(inner, f))
    }

    /// Like [`tokio::sync::MappedMutexGuard::try_map`].
    ///
    /// # Errors
    /// Returns the guard if `f` returns `None`.
    pub fn try_map<U, F>(
        this: Self,
        f: F,
    ) -> Result<Guard<'a, 1, tokio::sync::MappedMutexGuard<'a, U>, L>, Self>
    where
        F: FnOnce(&mut T) -> Option<&mut U>,
    {
        this.try_map_inner(|inner| tokio::sync::MappedMutexGuard::try_map(inner, f))
    }
}
