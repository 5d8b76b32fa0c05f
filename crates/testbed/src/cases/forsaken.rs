//! Tasks wait for somebody who never came, and for somebody who is gone.

use std::sync::Arc;

use tokio::sync::{Barrier, Notify};

use crate::variant::{Variant, keep, runtime};

pub(crate) fn run(variant: Variant) {
    runtime(2).block_on(start(variant));
}

async fn start(variant: Variant) {
    let all = Arc::new(Barrier::new(3));
    variant.spawn(shard(all.clone()));
    variant.spawn(shard(all));
    let reloaded = Arc::new(Notify::new());
    variant.spawn(watch(reloaded));
    keep().await;
}

async fn shard(all: Arc<Barrier>) {
    all.wait().await; // STUCK shard: the third one was never started
}

async fn watch(reloaded: Arc<Notify>) {
    reloaded.notified().await; // STUCK watch: who would tell it is gone
}
