//! From Hugo.

use std::{collections::HashMap, sync::Arc};

use rtops_agent::Track;
use tokio::sync::Notify;

use crate::locks::{Mutex, OwnedMutexGuard, RwLock};

/// hugo#3251. A map has a lock for each URL. Locking a URL keeps the map locked until the URL's
/// lock is taken, and unlocking a URL locks the map. A second request for a URL waits in the first
/// step, and the first request in the second step.
pub(crate) fn remote_locks() {
    let locks = Arc::new(RemoteLocks::default());
    let fetch = async move {
        let fetched = locks.lock("/feed").await;
        let again = Arc::clone(&locks);
        let refetch = async move {
            drop(again.lock("/feed").await);
        };
        tokio::spawn(refetch.tracked("fetch again"));
        // In a service, the second request comes by chance.
        locks.is_locked.notified().await;
        locks.unlock("/feed", fetched).await;
    };
    tokio::spawn(fetch.tracked("fetch"));
}

#[derive(Default)]
struct RemoteLocks {
    urls: RwLock<HashMap<&'static str, Arc<Mutex<()>>>>,
    /// Notifies the first request once the second one has locked the map.
    is_locked: Notify,
}

impl RemoteLocks {
    async fn lock(&self, url: &'static str) -> OwnedMutexGuard<()> {
        let mut urls = self.urls.write().await;
        if urls.contains_key(url) {
            self.is_locked.notify_one();
        }
        let lock = Arc::clone(urls.entry(url).or_default());
        lock.lock_owned().await // LEAK hugo-3251
    }

    async fn unlock(&self, url: &str, guard: OwnedMutexGuard<()>) {
        let urls = self.urls.read().await; // LEAK hugo-3251
        if urls.contains_key(url) {
            drop(guard);
        }
    }
}
