//! The guards of a [`Mutex`].

use std::sync::Arc;

use super::{Mutex, guard_as_value_mut, keep::Keep};
use crate::{claim::Wish, ledger::Held};

/// As [`tokio::sync::MutexGuard`].
#[must_use = "if unused the Mutex will immediately unlock"]
#[clippy::has_significant_drop]
pub struct MutexGuard<'a, T: ?Sized> {
    held: Held<'a, 1>,
    inner: tokio::sync::MutexGuard<'a, T>,
    lock: &'a Mutex<T>,
}

/// As [`tokio::sync::MappedMutexGuard`].
#[must_use = "if unused the Mutex will immediately unlock"]
#[clippy::has_significant_drop]
pub struct MappedMutexGuard<'a, T: ?Sized> {
    held: Held<'a, 1>,
    inner: tokio::sync::MappedMutexGuard<'a, T>,
}

/// As [`tokio::sync::OwnedMutexGuard`].
#[must_use = "if unused the Mutex will immediately unlock"]
#[clippy::has_significant_drop]
pub struct OwnedMutexGuard<T: ?Sized + 'static> {
    pub(super) inner: Keep<MutexGuard<'static, T>, Mutex<T>>,
}

/// As [`tokio::sync::OwnedMappedMutexGuard`].
#[must_use = "if unused the Mutex will immediately unlock"]
#[clippy::has_significant_drop]
pub struct OwnedMappedMutexGuard<T: ?Sized, U: ?Sized + 'static = T> {
    inner: Keep<MappedMutexGuard<'static, U>, Mutex<T>>,
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    #[inline]
    pub(super) fn new(
        lock: &'a Mutex<T>,
        inner: tokio::sync::MutexGuard<'a, T>,
        wish: Wish,
    ) -> Self {
        Self {
            held: lock.ledger.take(wish),
            inner,
            lock,
        }
    }

    /// As [`tokio::sync::MutexGuard::map`].
    pub fn map<U: ?Sized, F>(this: Self, f: F) -> MappedMutexGuard<'a, U>
    where
        F: FnOnce(&mut T) -> &mut U,
    {
        let Self { held, inner, .. } = this;
        let inner = tokio::sync::MutexGuard::map(inner, f);
        MappedMutexGuard { held, inner }
    }

    /// As [`tokio::sync::MutexGuard::try_map`].
    ///
    /// # Errors
    /// The guard itself, when `f` returns `None`.
    pub fn try_map<U: ?Sized, F>(this: Self, f: F) -> Result<MappedMutexGuard<'a, U>, Self>
    where
        F: FnOnce(&mut T) -> Option<&mut U>,
    {
        let Self { held, inner, lock } = this;
        match tokio::sync::MutexGuard::try_map(inner, f) {
            Ok(inner) => Ok(MappedMutexGuard { held, inner }),
            Err(inner) => Err(Self { held, inner, lock }),
        }
    }

    /// As [`tokio::sync::MutexGuard::mutex`].
    pub fn mutex(this: &Self) -> &'a Mutex<T> {
        this.lock
    }
}

impl<'a, T: ?Sized> MappedMutexGuard<'a, T> {
    /// As [`tokio::sync::MappedMutexGuard::map`].
    pub fn map<U, F>(this: Self, f: F) -> MappedMutexGuard<'a, U>
    where
        F: FnOnce(&mut T) -> &mut U,
    {
        let Self { held, inner } = this;
        let inner = tokio::sync::MappedMutexGuard::map(inner, f);
        MappedMutexGuard { held, inner }
    }

    /// As [`tokio::sync::MappedMutexGuard::try_map`].
    ///
    /// # Errors
    /// The guard itself, when `f` returns `None`.
    pub fn try_map<U, F>(this: Self, f: F) -> Result<MappedMutexGuard<'a, U>, Self>
    where
        F: FnOnce(&mut T) -> Option<&mut U>,
    {
        let Self { held, inner } = this;
        match tokio::sync::MappedMutexGuard::try_map(inner, f) {
            Ok(inner) => Ok(MappedMutexGuard { held, inner }),
            Err(inner) => Err(Self { held, inner }),
        }
    }
}

impl<T: ?Sized> OwnedMutexGuard<T> {
    /// As [`tokio::sync::OwnedMutexGuard::map`].
    pub fn map<U: ?Sized, F>(this: Self, f: F) -> OwnedMappedMutexGuard<T, U>
    where
        F: FnOnce(&mut T) -> &mut U,
    {
        let inner = this.inner.map(|guard| MutexGuard::map(guard, f));
        OwnedMappedMutexGuard { inner }
    }

    /// As [`tokio::sync::OwnedMutexGuard::try_map`].
    ///
    /// # Errors
    /// The guard itself, when `f` returns `None`.
    pub fn try_map<U: ?Sized, F>(this: Self, f: F) -> Result<OwnedMappedMutexGuard<T, U>, Self>
    where
        F: FnOnce(&mut T) -> Option<&mut U>,
    {
        match this.inner.try_map(|guard| MutexGuard::try_map(guard, f)) {
            Ok(inner) => Ok(OwnedMappedMutexGuard { inner }),
            Err(inner) => Err(Self { inner }),
        }
    }

    /// As [`tokio::sync::OwnedMutexGuard::mutex`].
    pub fn mutex(this: &Self) -> &Arc<Mutex<T>> {
        this.inner.lock()
    }
}

impl<T: ?Sized, U: ?Sized> OwnedMappedMutexGuard<T, U> {
    /// As [`tokio::sync::OwnedMappedMutexGuard::map`].
    pub fn map<S, F>(this: Self, f: F) -> OwnedMappedMutexGuard<T, S>
    where
        F: FnOnce(&mut U) -> &mut S,
    {
        let inner = this.inner.map(|guard| MappedMutexGuard::map(guard, f));
        OwnedMappedMutexGuard { inner }
    }

    /// As [`tokio::sync::OwnedMappedMutexGuard::try_map`].
    ///
    /// # Errors
    /// The guard itself, when `f` returns `None`.
    pub fn try_map<S, F>(this: Self, f: F) -> Result<OwnedMappedMutexGuard<T, S>, Self>
    where
        F: FnOnce(&mut U) -> Option<&mut S>,
    {
        let mapped = this
            .inner
            .try_map(|guard| MappedMutexGuard::try_map(guard, f));
        match mapped {
            Ok(inner) => Ok(OwnedMappedMutexGuard { inner }),
            Err(inner) => Err(Self { inner }),
        }
    }
}

guard_as_value_mut!(['a, T: ?Sized] MutexGuard<'a, T> => T);
guard_as_value_mut!(['a, T: ?Sized] MappedMutexGuard<'a, T> => T);
guard_as_value_mut!([T: ?Sized] OwnedMutexGuard<T> => T);
guard_as_value_mut!([T: ?Sized, U: ?Sized] OwnedMappedMutexGuard<T, U> => U);
