//! tokio's locks, each with a ledger.
//!
//! Every lock is tokio's own with a [`Ledger`](crate::ledger::Ledger), and every guard is tokio's
//! own with a claim in that ledger.

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
