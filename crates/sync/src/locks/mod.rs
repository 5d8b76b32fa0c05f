//! Tokio's locks, each with a book.
//!
//! Every lock is tokio's own and a [`Ledger`](crate::ledger::Ledger) beside it, every guard is
//! tokio's own and a claim in that book.

mod blocking;
mod guard;
mod mutex;
mod mutex_guard;
mod owned;
mod rwlock;
mod rwlock_guard;
mod semaphore;

pub use guard::Guard;
pub use mutex::Mutex;
pub use mutex_guard::{MappedMutexGuard, MutexGuard, OwnedMappedMutexGuard, OwnedMutexGuard};
pub use rwlock::RwLock;
pub use rwlock_guard::{
    OwnedRwLockMappedWriteGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard,
    RwLockMappedWriteGuard, RwLockReadGuard, RwLockWriteGuard,
};
pub use semaphore::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
