//! A task holds a lock and waits for a set of tasks that want it.

use std::sync::Arc;

use tokio::{sync::Mutex, task::JoinSet};

use crate::variant::{Variant, keep, runtime};

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async move {
        variant.spawn(import());
        keep().await;
    });
}

async fn import() {
    let total = Arc::new(Mutex::new(0));
    let guard = total.lock().await;
    let mut parts = JoinSet::new();
    for _ in 0..3 {
        parts.spawn(part(total.clone()));
    }
    while parts.join_next().await.is_some() {} // STUCK import: its parts wait for its guard
    drop(guard);
}

async fn part(total: Arc<Mutex<u64>>) {
    *total.lock().await += 1; // STUCK part: the task that waits for it has the lock
}
