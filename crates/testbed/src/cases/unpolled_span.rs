//! Like `futurelock` and `buffered_pool`, but the unpolled futures are tracked as spans, and the
//! locks are tokio's own: the spans exist, and nobody polls them.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use rtops_agent::Track;
use tokio::{
    sync::{Mutex, Semaphore},
    time::sleep,
};

use crate::variant::{Variant, keep, runtime};

pub(crate) fn run(_: Variant) {
    runtime(2).block_on(async {
        let store = Arc::new(Mutex::new(0));
        let pool = Arc::new(Semaphore::new(4));
        rtops_agent::spawn(flush(store.clone()));
        rtops_agent::spawn(session(store));
        rtops_agent::spawn(job(pool));
        keep().await;
    });
}

async fn flush(store: Arc<Mutex<u64>>) {
    let mut number = store.lock().await;
    sleep(Duration::from_millis(300)).await;
    *number += 1;
}

async fn session(store: Arc<Mutex<u64>>) {
    sleep(Duration::from_millis(50)).await;
    let mut pending = Box::pin(write(store.clone()).tracked("pending write"));
    tokio::select! {
        () = &mut pending => {}
        () = sleep(Duration::from_millis(50)) => {
            write(store.clone()).await; // STUCK session: its own span has the lock
        }
    }
}

async fn write(store: Arc<Mutex<u64>>) {
    let mut number = store.lock().await;
    *number += 1;
}

async fn job(pool: Arc<Semaphore>) {
    let mut rows = stream::iter(0..100)
        .map(|number| select_row(pool.clone(), number).tracked("select row"))
        .buffer_unordered(5);
    while let Some(_row) = rows.next().await {
        let _connection = pool.acquire().await; // STUCK job: waits for what its own spans have
        sleep(Duration::from_millis(5)).await;
    }
}

async fn select_row(pool: Arc<Semaphore>, number: u64) -> u64 {
    let _connection = pool.acquire().await;
    sleep(Duration::from_millis(10 + number)).await; // STUCK select_row: not polled
    number
}
