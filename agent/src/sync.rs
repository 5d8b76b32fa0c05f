//! Drop-in replacements for tokio's locks that know who holds them and who waits.
//!
//! ```
//! use rtops_agent::sync::Mutex; // in place of tokio::sync::Mutex
//!
//! static CACHE: Mutex<Vec<u32>> = Mutex::const_new(Vec::new());
//!
//! # async fn example() {
//! CACHE.lock().await.push(1);
//! # }
//! ```
//!
//! For a task that waits, `rtops stack` then prints
//! `held by task 17 "flush" for 2m 10s, taken at src/cache.rs:41:20`.
//!
//! Methods and guards are those of tokio's types. Taking a free lock costs about 10 to 25
//! nanoseconds more. A claim belongs to the task that took the lock, wherever its guard is now. The
//! locks of tokio and the standard library report nothing.

pub use rtops_sync::{
    MappedMutexGuard, Mutex, MutexGuard, OwnedMappedMutexGuard, OwnedMutexGuard,
    OwnedRwLockMappedWriteGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, OwnedSemaphorePermit,
    RwLock, RwLockMappedWriteGuard, RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphorePermit,
};
pub use tokio::sync::{AcquireError, TryAcquireError, TryLockError};
