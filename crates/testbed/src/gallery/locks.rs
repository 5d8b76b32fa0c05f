//! The locks that tasks use.
//!
//! All cases import them from here: `rtops_agent::sync` has the
//! same types, which know their holders.

pub(crate) use rtops_agent::sync::{
    Mutex, OwnedMutexGuard, OwnedRwLockReadGuard, RwLock, Semaphore,
};
