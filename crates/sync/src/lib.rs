//! Locks that know who holds them and who waits.
//!
//! A stack says where a task waits, not for whom. The types here replace tokio's (feature `tokio`)
//! and keep a ledger: each lock records who took it, when and where in the source, and who waits
//! for it. [`contended`] reads the ledgers of all locks that somebody waits for.
//!
//! # What it costs
//!
//! A lock keeps its ledger in itself while nobody waits. Taking it writes a handful of atomics and
//! reads the coarse clock, without an allocation, another lock or anything global. The first wait
//! for a lock allocates what others can read, which is freed with the lock.
//!
//! # What can't be known
//!
//! - Who holds a guard *now*: the claim stays with the task and thread that took the lock, even if
//!   its guard has been sent elsewhere.
//! - Whether a guard still exists: a guard that was leaked, with `mem::forget` or in a cycle of
//!   `Arc`s, holds its lock forever, and is shown as its holder. If the task that took the lock has
//!   ended, this is the likely cause.
//! - Anything about tokio's own types, and the locks of the standard library and other crates.
#![cfg_attr(
    not(feature = "tokio"),
    expect(dead_code, reason = "only locks note single holders")
)]

mod claim;
mod ledger;
#[cfg(feature = "tokio")]
mod locks;
mod members;
mod resource;
mod slot;
mod waiting;

pub use claim::{Claim, Kind, Mode};
#[cfg(feature = "tokio")]
pub use locks::{
    Guard, MappedMutexGuard, Mutex, MutexGuard, OwnedMappedMutexGuard, OwnedMutexGuard,
    OwnedRwLockMappedWriteGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, OwnedSemaphorePermit,
    RwLock, RwLockMappedWriteGuard, RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphorePermit,
};
pub use members::Members;
pub use resource::{Contended, contended};
