//! The guards of a [`RwLock`] that own an `Arc` of it.

use std::sync::Arc;

use super::{
    RwLock, RwLockMappedWriteGuard, RwLockReadGuard, RwLockWriteGuard, guard_as_value,
    guard_as_value_mut, keep::Keep,
};

/// As [`tokio::sync::OwnedRwLockReadGuard`].
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct OwnedRwLockReadGuard<T: ?Sized, U: ?Sized + 'static = T> {
    pub(super) inner: Keep<RwLockReadGuard<'static, U>, RwLock<T>>,
}

/// As [`tokio::sync::OwnedRwLockWriteGuard`].
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct OwnedRwLockWriteGuard<T: ?Sized + 'static> {
    pub(super) inner: Keep<RwLockWriteGuard<'static, T>, RwLock<T>>,
}

/// As [`tokio::sync::OwnedRwLockMappedWriteGuard`].
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct OwnedRwLockMappedWriteGuard<T: ?Sized, U: ?Sized + 'static = T> {
    inner: Keep<RwLockMappedWriteGuard<'static, U>, RwLock<T>>,
}

impl<T: ?Sized, U: ?Sized> OwnedRwLockReadGuard<T, U> {
    /// As [`tokio::sync::OwnedRwLockReadGuard::map`].
    pub fn map<F, V: ?Sized>(this: Self, f: F) -> OwnedRwLockReadGuard<T, V>
    where
        F: FnOnce(&U) -> &V,
    {
        let inner = this.inner.map(|guard| RwLockReadGuard::map(guard, f));
        OwnedRwLockReadGuard { inner }
    }

    /// As [`tokio::sync::OwnedRwLockReadGuard::try_map`].
    ///
    /// # Errors
    /// The guard itself, when `f` returns `None`.
    pub fn try_map<F, V: ?Sized>(this: Self, f: F) -> Result<OwnedRwLockReadGuard<T, V>, Self>
    where
        F: FnOnce(&U) -> Option<&V>,
    {
        let mapped = this
            .inner
            .try_map(|guard| RwLockReadGuard::try_map(guard, f));
        match mapped {
            Ok(inner) => Ok(OwnedRwLockReadGuard { inner }),
            Err(inner) => Err(Self { inner }),
        }
    }

    /// As [`tokio::sync::OwnedRwLockReadGuard::rwlock`].
    pub fn rwlock(this: &Self) -> &Arc<RwLock<T>> {
        this.inner.lock()
    }
}

impl<T: ?Sized> OwnedRwLockWriteGuard<T> {
    /// As [`tokio::sync::OwnedRwLockWriteGuard::map`].
    pub fn map<F, U: ?Sized>(this: Self, f: F) -> OwnedRwLockMappedWriteGuard<T, U>
    where
        F: FnOnce(&mut T) -> &mut U,
    {
        let inner = this.inner.map(|guard| RwLockWriteGuard::map(guard, f));
        OwnedRwLockMappedWriteGuard { inner }
    }

    /// As [`tokio::sync::OwnedRwLockWriteGuard::try_map`].
    ///
    /// # Errors
    /// The guard itself, when `f` returns `None`.
    pub fn try_map<F, U: ?Sized>(
        this: Self,
        f: F,
    ) -> Result<OwnedRwLockMappedWriteGuard<T, U>, Self>
    where
        F: FnOnce(&mut T) -> Option<&mut U>,
    {
        let mapped = this
            .inner
            .try_map(|guard| RwLockWriteGuard::try_map(guard, f));
        match mapped {
            Ok(inner) => Ok(OwnedRwLockMappedWriteGuard { inner }),
            Err(inner) => Err(Self { inner }),
        }
    }

    /// As [`tokio::sync::OwnedRwLockWriteGuard::into_mapped`].
    pub fn into_mapped(this: Self) -> OwnedRwLockMappedWriteGuard<T> {
        let inner = this.inner.map(RwLockWriteGuard::into_mapped);
        OwnedRwLockMappedWriteGuard { inner }
    }

    /// As [`tokio::sync::OwnedRwLockWriteGuard::downgrade`]. It stays the same claim.
    pub fn downgrade(self) -> OwnedRwLockReadGuard<T> {
        let inner = self.inner.map(RwLockWriteGuard::downgrade);
        OwnedRwLockReadGuard { inner }
    }

    /// As [`tokio::sync::OwnedRwLockWriteGuard::downgrade_map`].
    pub fn downgrade_map<F, U: ?Sized>(this: Self, f: F) -> OwnedRwLockReadGuard<T, U>
    where
        F: FnOnce(&T) -> &U,
    {
        let inner = this
            .inner
            .map(|guard| RwLockWriteGuard::downgrade_map(guard, f));
        OwnedRwLockReadGuard { inner }
    }

    /// As [`tokio::sync::OwnedRwLockWriteGuard::try_downgrade_map`].
    ///
    /// # Errors
    /// The guard itself, when `f` returns `None`.
    pub fn try_downgrade_map<F, U: ?Sized>(
        this: Self,
        f: F,
    ) -> Result<OwnedRwLockReadGuard<T, U>, Self>
    where
        F: FnOnce(&T) -> Option<&U>,
    {
        let mapped = this
            .inner
            .try_map(|guard| RwLockWriteGuard::try_downgrade_map(guard, f));
        match mapped {
            Ok(inner) => Ok(OwnedRwLockReadGuard { inner }),
            Err(inner) => Err(Self { inner }),
        }
    }

    /// As [`tokio::sync::OwnedRwLockWriteGuard::rwlock`].
    pub fn rwlock(this: &Self) -> &Arc<RwLock<T>> {
        this.inner.lock()
    }
}

impl<T: ?Sized, U: ?Sized> OwnedRwLockMappedWriteGuard<T, U> {
    /// As [`tokio::sync::OwnedRwLockMappedWriteGuard::map`].
    pub fn map<F, V: ?Sized>(this: Self, f: F) -> OwnedRwLockMappedWriteGuard<T, V>
    where
        F: FnOnce(&mut U) -> &mut V,
    {
        let inner = this
            .inner
            .map(|guard| RwLockMappedWriteGuard::map(guard, f));
        OwnedRwLockMappedWriteGuard { inner }
    }

    /// As [`tokio::sync::OwnedRwLockMappedWriteGuard::try_map`].
    ///
    /// # Errors
    /// The guard itself, when `f` returns `None`.
    pub fn try_map<F, V: ?Sized>(
        this: Self,
        f: F,
    ) -> Result<OwnedRwLockMappedWriteGuard<T, V>, Self>
    where
        F: FnOnce(&mut U) -> Option<&mut V>,
    {
        let mapped = this
            .inner
            .try_map(|guard| RwLockMappedWriteGuard::try_map(guard, f));
        match mapped {
            Ok(inner) => Ok(OwnedRwLockMappedWriteGuard { inner }),
            Err(inner) => Err(Self { inner }),
        }
    }

    /// As [`tokio::sync::OwnedRwLockMappedWriteGuard::rwlock`].
    pub fn rwlock(this: &Self) -> &Arc<RwLock<T>> {
        this.inner.lock()
    }
}

guard_as_value!([T: ?Sized, U: ?Sized] OwnedRwLockReadGuard<T, U> => U);
guard_as_value_mut!([T: ?Sized] OwnedRwLockWriteGuard<T> => T);
guard_as_value_mut!([T: ?Sized, U: ?Sized] OwnedRwLockMappedWriteGuard<T, U> => U);
