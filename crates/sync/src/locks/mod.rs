//! Tokio's locks, each with a book.
//!
//! Every lock is tokio's own and a [`Ledger`](crate::ledger::Ledger) beside it, every guard is
//! tokio's own and a claim in that book. Fields are dropped in the order in which they are
//! declared: the claim of a guard goes before the lock is free for the next.

mod blocking;
mod keep;
mod mutex;
mod mutex_guard;
mod rwlock;
mod rwlock_guard;
mod rwlock_owned;
mod semaphore;

pub use mutex::Mutex;
pub use mutex_guard::{MappedMutexGuard, MutexGuard, OwnedMappedMutexGuard, OwnedMutexGuard};
pub use rwlock::RwLock;
pub use rwlock_guard::{RwLockMappedWriteGuard, RwLockReadGuard, RwLockWriteGuard};
pub use rwlock_owned::{OwnedRwLockMappedWriteGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard};
pub use semaphore::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// What every guard can do as its value does: be followed, and be printed.
macro_rules! guard_as_value {
    ([$($generics:tt)*] $guard:ty => $value:ident) => {
        impl<$($generics)*> std::ops::Deref for $guard {
            type Target = $value;

            fn deref(&self) -> &$value {
                &self.inner
            }
        }

        impl<$($generics)*> std::fmt::Debug for $guard
        where
            $value: std::fmt::Debug,
        {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&**self, f)
            }
        }

        impl<$($generics)*> std::fmt::Display for $guard
        where
            $value: std::fmt::Display,
        {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&**self, f)
            }
        }
    };
}
pub(crate) use guard_as_value;

/// The same for a guard that nobody else has: its value can be changed, too.
macro_rules! guard_as_value_mut {
    ([$($generics:tt)*] $guard:ty => $value:ident) => {
        $crate::locks::guard_as_value!([$($generics)*] $guard => $value);

        impl<$($generics)*> std::ops::DerefMut for $guard {
            fn deref_mut(&mut self) -> &mut $value {
                &mut self.inner
            }
        }
    };
}
pub(crate) use guard_as_value_mut;
