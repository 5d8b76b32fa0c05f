//! The guards of a [`RwLock`].
//!
//! The methods are written once for guards that borrow the lock and guards that own an `Arc` of it.

use std::sync::Arc;

use super::{Guard, RwLock, rwlock::SLOTS};
use crate::claim::Mode;

/// Like [`tokio::sync::RwLockReadGuard`].
pub type RwLockReadGuard<'a, T> = Reader<'a, T, ()>;

/// Like [`tokio::sync::RwLockWriteGuard`].
pub type RwLockWriteGuard<'a, T> = Writer<'a, T, ()>;

/// Like [`tokio::sync::RwLockMappedWriteGuard`].
pub type RwLockMappedWriteGuard<'a, T> = MappedWriter<'a, T, ()>;

/// Like [`tokio::sync::OwnedRwLockReadGuard`].
pub type OwnedRwLockReadGuard<T, U = T> = Reader<'static, U, Arc<RwLock<T>>>;

/// Like [`tokio::sync::OwnedRwLockWriteGuard`].
pub type OwnedRwLockWriteGuard<T> = Writer<'static, T, Arc<RwLock<T>>>;

/// Like [`tokio::sync::OwnedRwLockMappedWriteGuard`].
pub type OwnedRwLockMappedWriteGuard<T, U = T> = MappedWriter<'static, U, Arc<RwLock<T>>>;

type Reader<'a, T, L> = Guard<'a, SLOTS, tokio::sync::RwLockReadGuard<'a, T>, L>;
type Writer<'a, T, L> = Guard<'a, SLOTS, tokio::sync::RwLockWriteGuard<'a, T>, L>;
type MappedWriter<'a, T, L> = Guard<'a, SLOTS, tokio::sync::RwLockMappedWriteGuard<'a, T>, L>;

impl<'a, T: ?Sized, L> Reader<'a, T, L> {
    /// Like [`tokio::sync::RwLockReadGuard::map`].
    pub fn map<F, U: ?Sized>(this: Self, f: F) -> Reader<'a, U, L>
    where
        F: FnOnce(&T) -> &U,
    {
        this.map_inner(|inner| tokio::sync::RwLockReadGuard::map(inner, f))
    }

    /// Like [`tokio::sync::RwLockReadGuard::try_map`].
    ///
    /// # Errors
    /// Returns the guard if `f` returns `None`.
    pub fn try_map<F, U: ?Sized>(this: Self, f: F) -> Result<Reader<'a, U, L>, Self>
    where
        F: FnOnce(&T) -> Option<&U>,
    {
        this.try_map_inner(|inner| tokio::sync::RwLockReadGuard::try_map(inner, f))
    }
}

impl<'a, T: ?Sized, L> Writer<'a, T, L> {
    /// Like [`tokio::sync::RwLockWriteGuard::map`].
    pub fn map<F, U: ?Sized>(this: Self, f: F) -> MappedWriter<'a, U, L>
    where
        F: FnOnce(&mut T) -> &mut U,
    {
        this.map_inner(|inner| tokio::sync::RwLockWriteGuard::map(inner, f))
    }

    /// Like [`tokio::sync::RwLockWriteGuard::try_map`].
    ///
    /// # Errors
    /// Returns the guard if `f` returns `None`.
    pub fn try_map<F, U: ?Sized>(this: Self, f: F) -> Result<MappedWriter<'a, U, L>, Self>
    where
        F: FnOnce(&mut T) -> Option<&mut U>,
    {
        this.try_map_inner(|inner| tokio::sync::RwLockWriteGuard::try_map(inner, f))
    }

    /// Like [`tokio::sync::RwLockWriteGuard::into_mapped`].
    pub fn into_mapped(this: Self) -> MappedWriter<'a, T, L> {
        this.map_inner(tokio::sync::RwLockWriteGuard::into_mapped)
    }

    /// Like [`tokio::sync::RwLockWriteGuard::downgrade`]. It remains the same claim.
    pub fn downgrade(self) -> Reader<'a, T, L> {
        self.held.set_share(Mode::Shared, 1);
        self.map_inner(tokio::sync::RwLockWriteGuard::downgrade)
    }

    /// Like [`tokio::sync::RwLockWriteGuard::downgrade_map`].
    pub fn downgrade_map<F, U: ?Sized>(this: Self, f: F) -> Reader<'a, U, L>
    where
        F: FnOnce(&T) -> &U,
    {
        let reader = this.map_inner(|inner| tokio::sync::RwLockWriteGuard::downgrade_map(inner, f));
        reader.held.set_share(Mode::Shared, 1);
        reader
    }

    /// Like [`tokio::sync::RwLockWriteGuard::try_downgrade_map`].
    ///
    /// # Errors
    /// Returns the guard if `f` returns `None`.
    pub fn try_downgrade_map<F, U: ?Sized>(this: Self, f: F) -> Result<Reader<'a, U, L>, Self>
    where
        F: FnOnce(&T) -> Option<&U>,
    {
        let reader =
            this.try_map_inner(|inner| tokio::sync::RwLockWriteGuard::try_downgrade_map(inner, f))?;
        reader.held.set_share(Mode::Shared, 1);
        Ok(reader)
    }
}

impl<'a, T: ?Sized, L> MappedWriter<'a, T, L> {
    /// Like [`tokio::sync::RwLockMappedWriteGuard::map`].
    pub fn map<F, U: ?Sized>(this: Self, f: F) -> MappedWriter<'a, U, L>
    where
        F: FnOnce(&mut T) -> &mut U,
    {
        this.map_inner(|inner| tokio::sync::RwLockMappedWriteGuard::map(inner, f))
    }

    /// Like [`tokio::sync::RwLockMappedWriteGuard::try_map`].
    ///
    /// # Errors
    /// Returns the guard if `f` returns `None`.
    pub fn try_map<F, U: ?Sized>(this: Self, f: F) -> Result<MappedWriter<'a, U, L>, Self>
    where
        F: FnOnce(&mut T) -> Option<&mut U>,
    {
        this.try_map_inner(|inner| tokio::sync::RwLockMappedWriteGuard::try_map(inner, f))
    }
}

impl<G, T: ?Sized> Guard<'static, SLOTS, G, Arc<RwLock<T>>> {
    /// Like [`tokio::sync::OwnedRwLockReadGuard::rwlock`], also for the guards for writing.
    pub fn rwlock(this: &Self) -> &Arc<RwLock<T>> {
        &this.lock
    }
}
