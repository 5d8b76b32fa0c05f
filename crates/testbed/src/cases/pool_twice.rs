//! Each of the tasks that have a connection of a pool wants a second one.

use std::sync::Arc;

use rtops_testbed::FOREVER;
use tokio::{
    sync::{Barrier, Semaphore},
    time::timeout,
};

use crate::variant::{Variant, keep, runtime};

const CONNECTIONS: usize = 2;

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(async move {
        let pool = Arc::new(Semaphore::new(CONNECTIONS));
        let all = Arc::new(Barrier::new(CONNECTIONS));
        for _ in 0..CONNECTIONS {
            variant.spawn(copy(pool.clone(), all.clone()));
        }
        drop(all);
        keep().await;
        drop(pool);
    });
}

async fn copy(pool: Arc<Semaphore>, all: Arc<Barrier>) {
    let source = pool.acquire().await;
    all.wait().await;
    let target = timeout(FOREVER, pool.acquire()).await; // STUCK copy: so does the other one
    drop((source, target));
}
