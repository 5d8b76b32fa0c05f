//! The guards of a [`RwLock`](super::RwLock) that borrow it.

use super::{guard_as_value, guard_as_value_mut, rwlock::SLOTS};
use crate::{
    claim::{Mode, Wish},
    ledger::{Held, Ledger},
};

/// As [`tokio::sync::RwLockReadGuard`].
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    held: Held<'a, SLOTS>,
    inner: tokio::sync::RwLockReadGuard<'a, T>,
}

/// As [`tokio::sync::RwLockWriteGuard`].
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    held: Held<'a, SLOTS>,
    inner: tokio::sync::RwLockWriteGuard<'a, T>,
}

/// As [`tokio::sync::RwLockMappedWriteGuard`].
#[must_use = "if unused the RwLock will immediately unlock"]
#[clippy::has_significant_drop]
pub struct RwLockMappedWriteGuard<'a, T: ?Sized> {
    held: Held<'a, SLOTS>,
    inner: tokio::sync::RwLockMappedWriteGuard<'a, T>,
}

impl<'a, T: ?Sized> RwLockReadGuard<'a, T> {
    #[inline]
    pub(super) fn new(
        ledger: &'a Ledger<SLOTS>,
        inner: tokio::sync::RwLockReadGuard<'a, T>,
        wish: Wish,
    ) -> Self {
        let held = ledger.take(wish);
        Self { held, inner }
    }

    /// As [`tokio::sync::RwLockReadGuard::map`].
    pub fn map<F, U: ?Sized>(this: Self, f: F) -> RwLockReadGuard<'a, U>
    where
        F: FnOnce(&T) -> &U,
    {
        let Self { held, inner } = this;
        let inner = tokio::sync::RwLockReadGuard::map(inner, f);
        RwLockReadGuard { held, inner }
    }

    /// As [`tokio::sync::RwLockReadGuard::try_map`].
    ///
    /// # Errors
    /// The guard itself, when `f` returns `None`.
    pub fn try_map<F, U: ?Sized>(this: Self, f: F) -> Result<RwLockReadGuard<'a, U>, Self>
    where
        F: FnOnce(&T) -> Option<&U>,
    {
        let Self { held, inner } = this;
        match tokio::sync::RwLockReadGuard::try_map(inner, f) {
            Ok(inner) => Ok(RwLockReadGuard { held, inner }),
            Err(inner) => Err(Self { held, inner }),
        }
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    #[inline]
    pub(super) fn new(
        ledger: &'a Ledger<SLOTS>,
        inner: tokio::sync::RwLockWriteGuard<'a, T>,
        wish: Wish,
    ) -> Self {
        let held = ledger.take(wish);
        Self { held, inner }
    }

    /// As [`tokio::sync::RwLockWriteGuard::map`].
    pub fn map<F, U: ?Sized>(this: Self, f: F) -> RwLockMappedWriteGuard<'a, U>
    where
        F: FnOnce(&mut T) -> &mut U,
    {
        let Self { held, inner } = this;
        let inner = tokio::sync::RwLockWriteGuard::map(inner, f);
        RwLockMappedWriteGuard { held, inner }
    }

    /// As [`tokio::sync::RwLockWriteGuard::try_map`].
    ///
    /// # Errors
    /// The guard itself, when `f` returns `None`.
    pub fn try_map<F, U: ?Sized>(this: Self, f: F) -> Result<RwLockMappedWriteGuard<'a, U>, Self>
    where
        F: FnOnce(&mut T) -> Option<&mut U>,
    {
        let Self { held, inner } = this;
        match tokio::sync::RwLockWriteGuard::try_map(inner, f) {
            Ok(inner) => Ok(RwLockMappedWriteGuard { held, inner }),
            Err(inner) => Err(Self { held, inner }),
        }
    }

    /// As [`tokio::sync::RwLockWriteGuard::into_mapped`].
    pub fn into_mapped(this: Self) -> RwLockMappedWriteGuard<'a, T> {
        let Self { held, inner } = this;
        let inner = tokio::sync::RwLockWriteGuard::into_mapped(inner);
        RwLockMappedWriteGuard { held, inner }
    }

    /// As [`tokio::sync::RwLockWriteGuard::downgrade`]. It stays the same claim.
    pub fn downgrade(self) -> RwLockReadGuard<'a, T> {
        let Self { held, inner } = self;
        held.set_share(Mode::Shared, 1);
        let inner = inner.downgrade();
        RwLockReadGuard { held, inner }
    }

    /// As [`tokio::sync::RwLockWriteGuard::downgrade_map`].
    pub fn downgrade_map<F, U: ?Sized>(this: Self, f: F) -> RwLockReadGuard<'a, U>
    where
        F: FnOnce(&T) -> &U,
    {
        let Self { held, inner } = this;
        let inner = tokio::sync::RwLockWriteGuard::downgrade_map(inner, f);
        held.set_share(Mode::Shared, 1);
        RwLockReadGuard { held, inner }
    }

    /// As [`tokio::sync::RwLockWriteGuard::try_downgrade_map`].
    ///
    /// # Errors
    /// The guard itself, when `f` returns `None`.
    pub fn try_downgrade_map<F, U: ?Sized>(this: Self, f: F) -> Result<RwLockReadGuard<'a, U>, Self>
    where
        F: FnOnce(&T) -> Option<&U>,
    {
        let Self { held, inner } = this;
        match tokio::sync::RwLockWriteGuard::try_downgrade_map(inner, f) {
            Ok(inner) => {
                held.set_share(Mode::Shared, 1);
                Ok(RwLockReadGuard { held, inner })
            }
            Err(inner) => Err(Self { held, inner }),
        }
    }
}

impl<'a, T: ?Sized> RwLockMappedWriteGuard<'a, T> {
    /// As [`tokio::sync::RwLockMappedWriteGuard::map`].
    pub fn map<F, U: ?Sized>(this: Self, f: F) -> RwLockMappedWriteGuard<'a, U>
    where
        F: FnOnce(&mut T) -> &mut U,
    {
        let Self { held, inner } = this;
        let inner = tokio::sync::RwLockMappedWriteGuard::map(inner, f);
        RwLockMappedWriteGuard { held, inner }
    }

    /// As [`tokio::sync::RwLockMappedWriteGuard::try_map`].
    ///
    /// # Errors
    /// The guard itself, when `f` returns `None`.
    pub fn try_map<F, U: ?Sized>(this: Self, f: F) -> Result<RwLockMappedWriteGuard<'a, U>, Self>
    where
        F: FnOnce(&mut T) -> Option<&mut U>,
    {
        let Self { held, inner } = this;
        match tokio::sync::RwLockMappedWriteGuard::try_map(inner, f) {
            Ok(inner) => Ok(RwLockMappedWriteGuard { held, inner }),
            Err(inner) => Err(Self { held, inner }),
        }
    }
}

guard_as_value!(['a, T: ?Sized] RwLockReadGuard<'a, T> => T);
guard_as_value_mut!(['a, T: ?Sized] RwLockWriteGuard<'a, T> => T);
guard_as_value_mut!(['a, T: ?Sized] RwLockMappedWriteGuard<'a, T> => T);
