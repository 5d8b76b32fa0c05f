//! Locks that know who holds them and who waits.
//!
//! A stack says where a task waits, not for whom. The types here are used in place of tokio's
//! (feature `tokio`) and keep a book: each lock notes who took it, when and where in the source,
//! and who waits for it. [`contended`] reads the books of all locks that somebody waits for.
//!
//! # What it costs
//!
//! A lock that nobody waits for keeps its book in itself: taking it writes a handful of atomics
//! and reads the coarse clock; there is no allocation, no other lock and nothing global. The first
//! wait for a lock allocates what others can look at; it goes when the lock does.
//!
//! # What can't be known
//!
//! - Who holds a guard *now*: a claim stays that of the task and thread that took the lock, though
//!   its guard may have been sent elsewhere.
//! - Whether a guard still exists: one that was leaked, with `mem::forget` or in a cycle of `Arc`s,
//!   holds its lock for ever, and is shown to. Where the task that took it has ended, that is
//!   likely what happened.
//! - Anything of tokio's own types, and of the locks of the standard library and of other crates.
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
