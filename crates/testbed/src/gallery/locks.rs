//! The locks of tasks.
//!
//! All cases take them from here: `rtops_agent::sync` has the same types, which know who holds
//! them.

pub(crate) use rtops_agent::sync::{
    Mutex, OwnedMutexGuard, OwnedRwLockReadGuard, RwLock, Semaphore,
};
